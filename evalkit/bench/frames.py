"""Made-up frames to measure on: noise that costs nothing to make, and a picture that drifts."""

from __future__ import annotations

__all__ = ["DriftingFrames", "SyntheticFrames"]

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from evalkit.stream import FrameBatch, Tick


class SyntheticFrames:
    """Frames of moving noise, made ahead of time so that making them costs nothing; a `FrameSource`.

    Args:
        size: ``(width, height)``.
        seed: Seed of the noise.
    """

    def __init__(self, size: tuple[int, int], seed: int) -> None:
        width, height = size
        rng = np.random.default_rng(seed)
        self._pool: NDArray[np.uint8] = rng.integers(0, 256, (16, height, width, 3), dtype=np.uint8)

    def frames(self, ticks: Iterable[Tick]) -> Iterator[FrameBatch]:
        """Yield frames from a pool of sixteen, in turn."""
        shown = 0
        for tick in ticks:
            count = len(tick.frame_times)
            chosen = np.arange(shown, shown + count) % len(self._pool)
            shown += count
            yield FrameBatch(self._pool[chosen], tick.frame_times)

    def __enter__(self) -> SyntheticFrames:
        """Return the source itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Hold nothing."""


class DriftingFrames:
    """A made-up video: a picture that drifts by two pixels a frame with some noise, cut once in the middle.

    Neighbouring frames are alike and the cut is not, so a cacher's error shows both. A `FrameSource`.

    Args:
        size: ``(width, height)``.
        seed: Seed of the pictures.
        frames: Frames until the cut.
    """

    def __init__(self, size: tuple[int, int], seed: int, frames: int) -> None:
        width, height = size
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (2, -(-height // 28), -(-width // 28), 3), dtype=np.int16)
        self._pictures = coarse.repeat(28, axis=1).repeat(28, axis=2)[:, :height, :width]
        self._noise: NDArray[np.int16] = rng.integers(-8, 9, (16, height, width, 1), dtype=np.int16)
        self._cut = frames

    def frames(self, ticks: Iterable[Tick]) -> Iterator[FrameBatch]:
        """Yield the frames of each tick."""
        shown = 0
        for tick in ticks:
            numbers = range(shown, shown + len(tick.frame_times))
            shown += len(tick.frame_times)
            yield FrameBatch(np.stack([self._frame(number) for number in numbers]), tick.frame_times)

    def _frame(self, number: int) -> NDArray[np.uint8]:
        picture = np.roll(self._pictures[int(number >= self._cut)], 2 * number, axis=1)
        frame: NDArray[np.uint8] = np.clip(picture + self._noise[number % 16], 0, 255).astype(np.uint8)
        return frame

    def __enter__(self) -> DriftingFrames:
        """Return the source itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Hold nothing."""
