"""What a video file is: size as displayed, rate, length, codec; leaves its frames to decode and read."""

from __future__ import annotations

__all__ = ["OpenVideo", "ReadPacket", "VideoInfo", "probe", "quarter_turns"]

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from evalkit.video.container import VideoError, open_video, read_packets, video_stream

# FFmpeg's limit. Left to choose, it takes one thread more than there are processors; where those are two, a file
# then takes a quarter longer to decode.
_MOST_THREADS = 16


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Properties of a file's first video stream.

    Pixels are taken as square: a sample aspect ratio other than 1 is ignored, as the published protocols do.

    Args:
        path: The file.
        width: Pixels across as displayed, rotation applied.
        height: Pixels down as displayed, rotation applied.
        rotation: Degrees the stored picture is turned counterclockwise for display: 0, 90, 180 or 270.
        fps: Average frame rate; ``None`` where the container does not tell.
        duration: Seconds of the video stream as the container states it; ``None`` where it does not.
        frames: Frame count as the container states it; `count_frames` counts.
        codec: Name of the decoder (``h264``).
        container: Name of the demuxer (``mov,mp4,m4a,3gp,3g2,mj2``).
        start_time: Container time of media time 0, seconds: where the video stream starts.
        time_base: Seconds per unit of PTS.
        has_audio: Whether there is an audio stream.
    """

    path: Path
    width: int
    height: int
    rotation: int
    fps: Fraction | None
    duration: float | None
    frames: int | None
    codec: str
    container: str
    start_time: float
    time_base: Fraction
    has_audio: bool


class ReadPacket(NamedTuple):
    """A packet and, where it has been decoded already, the frames that came out of the decoder for it."""

    packet: Packet[VideoStream]
    frames: list[av.VideoFrame] | None = None


class OpenVideo:
    """A video file opened for decoding, read as far as its first frame; closes it as a context manager.

    Args:
        path: The file.

    Raises:
        VideoError: The file is missing, empty, truncated, no video, or no frame of it decodes; in the ``with``
            block, errors of FFmpeg too.
    """

    def __init__(self, path: Path | str) -> None:
        with ExitStack() as opening:
            self.container: InputContainer = opening.enter_context(open_video(path))
            self.stream = video_stream(self.container, path)
            self.stream.thread_type = "AUTO"
            self.stream.codec_context.thread_count = min(_processors(), _MOST_THREADS)
            self._read: list[ReadPacket] = []
            first = self._first_frame(Path(path))
            self.info = _describe(self.container, self.stream, first, Path(path))
            self._closing = opening.pop_all()

    def __enter__(self) -> OpenVideo:
        return self

    def __exit__(self, *exc: Any) -> None:
        self._closing.__exit__(*exc)

    def taken(self) -> Iterator[ReadPacket]:
        """Yield the packets read so far, in order, once; none is held any longer than it is needed."""
        while self._read:
            yield self._read.pop(0)

    def _first_frame(self, path: Path) -> av.VideoFrame:
        trouble = "it holds no frame"
        for packet in read_packets(self.container, self.stream):
            frames: list[av.VideoFrame] = []
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                trouble = f"no frame of it decodes ({error.strerror})"
            self._read.append(ReadPacket(packet, frames))
            if frames:
                return frames[0]
        raise VideoError("unreadable", f"{path}: {trouble}", path=path)


def probe(path: Path | str) -> VideoInfo:
    """Read a file's properties and decode its first frame.

    Raises:
        VideoError: The file is missing, empty, truncated, no video, or no frame of it decodes.
    """
    with OpenVideo(path) as opened:
        return opened.info


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _describe(container: InputContainer, stream: VideoStream, first: av.VideoFrame, path: Path) -> VideoInfo:
    turns = quarter_turns(first.rotation)
    width, height = (first.height, first.width) if turns % 2 else (first.width, first.height)
    base = stream.time_base or Fraction(1, av.time_base)
    rate = stream.average_rate or stream.guessed_rate
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        rotation=90 * turns,
        fps=Fraction(rate) if rate else None,
        duration=_duration(container, stream, base),
        frames=stream.frames or None,
        codec=stream.codec_context.name,
        container=container.format.name,
        start_time=float((stream.start_time or 0) * base),
        time_base=base,
        has_audio=bool(container.streams.audio),
    )


def quarter_turns(rotation: float) -> int:
    """Return how often `numpy.rot90` turns a picture for display.

    Args:
        rotation: Degrees counterclockwise, as the display matrix has them; rounded to a quarter.
    """
    return round(rotation / 90) % 4


def _duration(container: InputContainer, stream: VideoStream, base: Fraction) -> float | None:
    if stream.duration:
        return float(stream.duration * base)
    if not container.duration:
        return None
    seconds = container.duration / av.time_base
    # Matroska states where the file ends, counted from time stamp 0.
    ends_at = "matroska" in container.format.name
    return seconds - float((stream.start_time or 0) * base) if ends_at else seconds
