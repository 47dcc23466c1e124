"""Looking at a plan's videos before anything runs: one second of each is decoded."""

from __future__ import annotations

__all__ = ["check_media"]

from collections.abc import Sequence

from evalkit.errors import DecodeError
from evalkit.stream import FrameFeed, FrameSchedule, StreamSample
from evalkit.video import VideoFrames


def check_media(samples: Sequence[StreamSample]) -> list[str]:
    """Decode one second of each video where its samples start.

    Args:
        samples: What is going to run.

    Returns:
        What is wrong, one line per video.
    """
    problems: list[str] = []
    for video, start in {sample.video: sample.start for sample in samples}.items():
        try:
            with VideoFrames(video) as source, FrameFeed(FrameSchedule(start, start + 1, 2), source) as feed:
                next(iter(feed), None)
        except DecodeError as error:
            problems.append(str(error))
    return problems
