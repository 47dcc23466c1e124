"""From the pictures of a made-up match to its video; leaves encoding to evalkit.video."""

from __future__ import annotations

__all__ = ["CELL", "FPS", "HEIGHT", "WIDTH", "frames", "make_match_video"]

from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from evalkit.video import write_mp4
from evalkit_tasks.demo.match import DemoMatch
from evalkit_tasks.demo.raster import COLUMNS, ROWS, picture

Pixels: TypeAlias = npt.NDArray[np.uint8]

CELL: Final = 14
"""Pixels a side of a cell; one patch side of Qwen2-VL."""

WIDTH, HEIGHT = COLUMNS * CELL, ROWS * CELL
FPS: Final = 4
_GOP_SECONDS: Final = 4
_WOBBLE: Final = (0, 1, 0, -1)
"""Rows by which the team's disc stands lower in each frame of a second."""


def make_match_video(path: Path, match: DemoMatch) -> None:
    """Write a match as an H.264 file of 448x224 pixels at 4 frames a second.

    Args:
        path: File to write.
        match: What to show.
    """
    write_mp4(path, frames(match), fps=FPS, gop=_GOP_SECONDS * FPS)


def frames(match: DemoMatch) -> Iterator[Pixels]:
    """Yield a match's frames, each a uint8 array of shape ``(224, 448, 3)``, RGB."""
    for moment in match.moments:
        for wobble in _WOBBLE:
            yield picture(match, moment, wobble).repeat(CELL, axis=0).repeat(CELL, axis=1)
