"""The pictures of a made-up match, on a raster of 16 x 32 cells: pitch, teams, icons, board, emblems."""

from __future__ import annotations

__all__ = ["COLUMNS", "ROWS", "Raster", "picture"]

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from evalkit_tasks.demo.match import DemoMatch, Moment

Raster: TypeAlias = npt.NDArray[np.uint8]
Colour: TypeAlias = tuple[int, int, int]

ROWS, COLUMNS = 16, 32

_TEAM: Final[tuple[Colour, Colour]] = ((220, 40, 40), (40, 70, 225))
_THIRD: Final[tuple[Colour, ...]] = ((24, 92, 40), (104, 128, 40), (20, 112, 112))
_THIRD_EDGES: Final = (0, 11, 21, COLUMNS)
_CENTRES: Final = (5, 16, 26)
_WHITE: Final[Colour] = (245, 245, 245)
_BLACK: Final[Colour] = (14, 14, 18)

_DIGIT_COLOURS: Final[tuple[Colour, ...]] = (
    (245, 245, 245),
    (250, 220, 30),
    (40, 220, 70),
    (250, 120, 220),
    (20, 20, 24),
)
"""A digit has a colour of its own as well as its shape: eight vision tokens are too few to read shapes alone."""

_DIGITS: Final = (
    (".####.", "##..##", "##..##", "##..##", "##..##", "##..##", "##..##", "##..##", "##..##", ".####."),
    ("..##..", ".###..", "####..", "..##..", "..##..", "..##..", "..##..", "..##..", "######", "######"),
    (".####.", "##..##", "....##", "....##", "...##.", "..##..", ".##...", "##....", "######", "######"),
    (".####.", "##..##", "....##", "....##", "..###.", "..###.", "....##", "....##", "##..##", ".####."),
    ("...###", "..####", ".##.##", "##..##", "##..##", "######", "######", "....##", "....##", "....##"),
)

_ICONS: Final[dict[str, tuple[Colour, tuple[str, ...]]]] = {
    "foul": ((250, 225, 40), (".####.", ".####.", ".####.", ".####.", ".####.")),
    "corner": ((250, 140, 20), ("##....", "####..", "######", "##....", "##....")),
    "save": ((90, 240, 250), ("#.##.#", "#.##.#", "######", "######", ".####.")),
}

_EMBLEMS: Final[tuple[tuple[Colour, Colour, tuple[str, ...]], ...]] = (
    ((16, 40, 96), (240, 240, 250), ("...#...", "..###..", "...#...", "#..#..#", "##.#.##", ".#####.", "..###..")),
    (
        (235, 240, 245),
        (60, 130, 230),
        ("...#...", ".#.#.#.", "..###..", "#######", "..###..", ".#.#.#.", "...#..."),
    ),
    ((90, 60, 30), (240, 210, 150), ("#.....#", ".#...#.", "..#.#..", "...#...", "..#.#..", ".#...#.", "#.....#")),
    (
        (120, 30, 130),
        (250, 200, 60),
        ("#######", "#.....#", "#.###.#", "#.#.#.#", "#.#.#.#", "#.#.#.#", "#######"),
    ),
    (
        (30, 140, 150),
        (250, 250, 210),
        (".......", ".##.##.", "#..#..#", ".......", ".##.##.", "#..#..#", "......."),
    ),
    ((150, 200, 90), (90, 50, 40), ("...#...", "..###..", "..###..", ".#####.", ".#####.", "#######", "#######")),
    ((240, 150, 150), (40, 90, 60), ("##.....", ".##....", "..##...", "...##..", "....##.", ".....##", "......#")),
    ((70, 75, 85), (250, 120, 30), (".......", ".#####.", "#######", "##...##", "#.....#", "#.....#", "#.....#")),
)
"""Ground, ink and shape of each venue's emblem."""

_SIGNS: Final[dict[str, tuple[Colour, Colour, tuple[str, ...]]]] = {
    "clock": (
        (36, 36, 84),
        (250, 250, 235),
        ("..#####..", ".#..#..#.", "#...#...#", "#...#...#", "#...###.#", "#.......#", ".#.....#.", "..#####.."),
    ),
    "replay": (
        (92, 60, 110),
        (180, 255, 120),
        ("...#....#", "..##...##", ".###..###", "####.####", "####.####", ".###..###", "..##...##", "...#....#"),
    ),
    "house": (
        (150, 205, 250),
        (130, 70, 30),
        ("....#....", "...###...", "..#####..", ".#######.", "#########", ".###.###.", ".#.#.#.#.", ".###.###."),
    ),
}


def picture(match: DemoMatch, moment: Moment, wobble: int = 0) -> Raster:
    """Return what a second shows, a uint8 array of shape ``(16, 32, 3)``, RGB.

    Args:
        match: The match.
        moment: One of its seconds.
        wobble: Rows by which the team's disc has moved, -1 to 1.
    """
    kind = moment.kind
    if kind == "card":
        ground, ink, shape = _EMBLEMS[match.venue]
        return _sign(ground, ink, _doubled(shape))
    if kind in _SIGNS:
        return _sign(*_SIGNS[kind])
    if kind == "board":
        return _board(moment.score)
    if kind == "goal":
        return _goal(moment.side)
    return _pitch(moment, wobble)


def _blank(colour: Colour) -> Raster:
    return np.full((ROWS, COLUMNS, 3), colour, dtype=np.uint8)


def _stamp(raster: Raster, shape: Sequence[str], colour: Colour, top: int, left: int) -> None:
    for row, cells in enumerate(shape):
        for column, cell in enumerate(cells):
            if cell == "#":
                raster[top + row, left + column] = colour


def _doubled(shape: Sequence[str]) -> list[str]:
    return [wide for cells in shape for wide in ["".join(cell * 2 for cell in cells)] * 2]


def _sign(ground: Colour, ink: Colour, shape: Sequence[str]) -> Raster:
    raster = _blank(ground)
    _stamp(raster, shape, ink, (ROWS - len(shape)) // 2, (COLUMNS - len(shape[0])) // 2)
    return raster


def _board(score: tuple[int, int]) -> Raster:
    raster = _blank(_TEAM[0])
    raster[:, COLUMNS // 2 :] = _TEAM[1]
    for side, points in enumerate(score):
        shape = [wide for cells in _DIGITS[points] for wide in ["".join(cell * 2 for cell in cells)]]
        _stamp(raster, shape, _DIGIT_COLOURS[points], 3, 2 + side * COLUMNS // 2)
    return raster


def _goal(side: int) -> Raster:
    raster = _blank(_TEAM[side])
    raster[::4] = _WHITE
    raster[:, ::4] = _WHITE
    rows, columns = np.mgrid[0:ROWS, 0:COLUMNS]
    distance = (rows - 7.5) ** 2 + (columns - 15.5) ** 2
    raster[distance <= 20] = _WHITE
    raster[distance <= 5] = _BLACK
    return raster


def _pitch(moment: Moment, wobble: int) -> Raster:
    raster = _blank(_THIRD[0])
    for third in (1, 2):
        raster[:, _THIRD_EDGES[third] : _THIRD_EDGES[third + 1]] = _THIRD[third]
    centre = _CENTRES[moment.third]
    rows, columns = np.mgrid[0:ROWS, 0:COLUMNS]
    raster[(rows - 10 - wobble) ** 2 + (columns - centre) ** 2 <= 18] = _TEAM[moment.side]
    if moment.kind in _ICONS:
        ink, shape = _ICONS[moment.kind]
        _stamp(raster, shape, ink, 0, centre - 3)
    return raster
