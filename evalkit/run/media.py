"""Looking at a plan's videos before anything runs: what identifies each, and whether a second of it decodes."""

from __future__ import annotations

__all__ = ["check_media", "media_digests"]

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

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


def media_digests(samples: Sequence[StreamSample]) -> dict[str, str]:
    """Return what identifies each video, by its cluster name: a digest of its size, first and last MiB.

    Reading whole games would take longer than many a run; a file cut short or encoded anew differs in these.
    A file that cannot be read is ``unreadable``: its samples will fail.
    """
    return {sample.cluster or sample.id: _digest(sample.video) for sample in samples}


def _digest(path: Path, part: int = 1 << 20) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            digest = hashlib.sha256(f"{size}:".encode())
            for start in (0, max(size - part, 0)):
                file.seek(start)
                digest.update(file.read(part))
    except OSError:
        return "unreadable"
    return f"sha256-ends:{digest.hexdigest()[:32]}"
