"""What a video file is: size as displayed, rate, length, codec; leaves its frames to decode and read."""

from __future__ import annotations

__all__ = ["VideoInfo", "probe", "quarter_turns"]

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from evalkit.video.container import VideoError, open_video, read_packets, video_stream


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


def probe(path: Path | str) -> VideoInfo:
    """Read a file's properties and decode its first frame.

    Raises:
        VideoError: The file is missing, empty, truncated, no video, or no frame of it decodes.
    """
    with open_video(path) as container:
        return stream_info(container, video_stream(container, path), Path(path))


def stream_info(container: InputContainer, stream: VideoStream, path: Path) -> VideoInfo:
    """Describe an open stream; reads on to its first frame, so seek afterwards.

    Raises:
        VideoError: No frame decodes.
    """
    first = _first_frame(container, stream, path)
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


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> av.VideoFrame:
    stream.thread_type = "SLICE"  # frame threads would decode ahead of the one frame wanted
    trouble = "it holds no frame"
    for packet in read_packets(container, stream):
        try:
            for frame in packet.decode():
                return frame
        except av.error.FFmpegError as error:
            trouble = f"no frame of it decodes ({error.strerror})"
    raise VideoError("unreadable", f"{path}: {trouble}", path=path)
