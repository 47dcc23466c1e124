"""The same file gives the same pixels every time it is read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from evalkit.stream import FrameFeed, FrameSchedule
from evalkit.video import VideoFrames, write_mp4


def digest(path: Path) -> str:
    pixels = hashlib.sha256()
    with VideoFrames(path, (644, 364)) as source, FrameFeed(FrameSchedule(0, 3, 4), source) as feed:
        for chunk in feed:
            pixels.update(chunk.frames.tobytes())
    return pixels.hexdigest()


def test_reading_a_file_again_gives_the_same_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (45, 80, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    path = tmp_path / "moving.mp4"
    write_mp4(path, (np.roll(picture, (3 * i, 5 * i), (0, 1)) for i in range(75)), fps=25)
    assert len({digest(path) for _ in range(6)}) == 1
