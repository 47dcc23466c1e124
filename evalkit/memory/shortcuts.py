"""Shortcut baselines: which of the frames seen so far a question is answered from (no torch).

A benchmark that a model answers as well without frames, or from the last ones alone, measures no memory
(SimpleStream, arXiv 2604.02317). A frame view remembers frames instead of keys: each question is answered by a
fresh prefill of what the view shows, so that nothing of the other frames is left in any cached key.
"""

from __future__ import annotations

__all__ = ["Blind", "FrameView", "RecentFrames", "ShuffledFrames"]

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from evalkit.errors import UsageError
from evalkit.memory.policies import FullAttention


@dataclass(frozen=True)
class FrameView(FullAttention):
    """Full attention over the frames that a question is shown; subtitles all stay."""

    @property
    @abstractmethod
    def remembered(self) -> int | None:
        """Newest frames that must be kept for later questions; ``None`` for all."""

    @abstractmethod
    def show(self, count: int) -> tuple[int, ...]:
        """Return the numbers of the frames shown, in the order shown.

        Args:
            count: Frames to choose from, the oldest has number 0. Frames that are not remembered do not count.
        """


@dataclass(frozen=True)
class Blind(FrameView):
    """No frames: the question alone."""

    @property
    def remembered(self) -> int | None:
        """None of them."""
        return 0

    def show(self, count: int) -> tuple[int, ...]:
        """Show nothing."""
        return ()


@dataclass(frozen=True)
class RecentFrames(FrameView):
    """The last frames before the question.

    Args:
        frames: How many, > 0.
    """

    frames: int = 4

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise UsageError(f"memory.frames must be at least 1, not {self.frames}; use model blind for none")

    @property
    def remembered(self) -> int | None:
        """As many as are shown."""
        return self.frames

    def show(self, count: int) -> tuple[int, ...]:
        """Show the newest frames, in order."""
        return tuple(range(max(0, count - self.frames), count))


@dataclass(frozen=True)
class ShuffledFrames(FrameView):
    """All frames in random order: what is left without the order of time.

    Args:
        order_seed: Seed of the order, which depends on it and on the number of frames alone.
    """

    order_seed: int = 0

    def __post_init__(self) -> None:
        if self.order_seed < 0:
            raise UsageError(f"memory.order_seed must be 0 or more, not {self.order_seed}")

    @property
    def remembered(self) -> int | None:
        """All of them."""
        return None

    def show(self, count: int) -> tuple[int, ...]:
        """Show every frame once, in an order drawn from the seed."""
        drawn = np.random.default_rng([self.order_seed, count]).permutation(count)
        return tuple(int(number) for number in drawn)
