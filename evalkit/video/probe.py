"""What a video file is: size as displayed, rate, length, codec; leaves its frames to decode and read."""

from __future__ import annotations

__all__ = ["VideoInfo", "describe", "probe", "quarter_turns"]

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from evalkit.video.opened import OpenVideo
from evalkit.video.timeline import pictures_end


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
        duration: Seconds from the first picture until the last one ends, as the container states it where its
            times can be trusted; ``None`` where that is not known.
        frames: Frame count as the container states it where its times can be trusted; `count_frames` counts.
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

    def to_record(self) -> dict[str, Any]:
        """Return everything but the path, as JSON has it."""
        return {
            field.name: str(value) if isinstance(value := getattr(self, field.name), Fraction) else value
            for field in fields(self)
            if field.name != "path"
        }

    @classmethod
    def from_record(cls, path: Path, record: Mapping[str, Any]) -> VideoInfo:
        """Return what `to_record` wrote.

        Raises:
            KeyError: A property is missing.
            ValueError: One is not what it should be.
        """
        fps = record["fps"]
        exact = {"fps": None if fps is None else Fraction(fps), "time_base": Fraction(record["time_base"])}
        names = [field.name for field in fields(cls) if field.name != "path"]
        return cls(path=path, **({name: record[name] for name in names} | exact))


def probe(path: Path | str) -> VideoInfo:
    """Read a file's properties and decode its first frame.

    Raises:
        VideoError: The file is missing, empty, truncated, no video, or no frame of it decodes.
    """
    with OpenVideo(path) as opened:
        return describe(opened)


def describe(opened: OpenVideo) -> VideoInfo:
    """Return the properties of an open file."""
    stream, first, table = opened.stream, opened.first, opened.timeline
    turns = quarter_turns(first.rotation)
    width, height = (first.height, first.width) if turns % 2 else (first.width, first.height)
    rate = stream.average_rate
    if table is not None and (table.paced or not rate):
        rate = 1 / (table.step * opened.base)
    rate = rate or stream.guessed_rate
    return VideoInfo(
        path=opened.path,
        width=width,
        height=height,
        rotation=90 * turns,
        fps=Fraction(rate) if rate else None,
        duration=_duration(opened),
        frames=len(table.times()) if table is not None else stream.frames or None,
        codec=stream.codec_context.name,
        container=opened.container.format.name,
        start_time=float(opened.zero * opened.base),
        time_base=opened.base,
        has_audio=bool(opened.container.streams.audio),
    )


def quarter_turns(rotation: float) -> int:
    """Return how often `numpy.rot90` turns a picture for display.

    Args:
        rotation: Degrees counterclockwise, as the display matrix has them; rounded to a quarter.
    """
    return round(rotation / 90) % 4


def _duration(opened: OpenVideo) -> float | None:
    stream = opened.stream
    if opened.timeline is not None:
        end: int | None = opened.timeline.end
    elif stream.duration:
        end = (stream.start_time or 0) + stream.duration
    else:
        end = pictures_end(opened.path)
    return None if end is None else float((end - opened.zero) * opened.base)
