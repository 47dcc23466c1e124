"""A clock that gives every moment of a second to exactly one stage (no torch)."""

from __future__ import annotations

__all__ = ["STAGES", "Stage", "StageClock"]

import time
from collections.abc import Callable
from typing import Literal, get_args

Stage = Literal[
    "decode", "preprocess", "vision_encode", "compress", "cache", "retrieve", "prefill", "generate", "other"
]
STAGES: tuple[Stage, ...] = get_args(Stage)


class StageClock:
    """Attributes wall time to stages; what is in no named stage is ``other``.

    The stages sum to the total by construction: each reading of the clock ends one stage and begins the next.

    Args:
        synchronise: Called before each reading, so that work queued on a device is counted where it was asked
            for; ``None`` on the CPU.
        now: Clock to read, seconds.
    """

    def __init__(
        self, synchronise: Callable[[], None] | None = None, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._synchronise = synchronise
        self._now = now
        self._stage: Stage = "other"
        self._spent: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)
        self._mark = self._read()

    def _read(self) -> float:
        if self._synchronise is not None:
            self._synchronise()
        return self._now()

    def start(self, credit: dict[Stage, float] | None = None) -> None:
        """Begin a new second.

        Args:
            credit: Seconds already spent on it by stage (frames that were decoded ahead).
        """
        self._spent = dict.fromkeys(STAGES, 0.0)
        for stage, seconds in (credit or {}).items():
            self._spent[stage] += seconds
        self._stage = "other"
        self._mark = self._read()

    def enter(self, stage: Stage) -> None:
        """End the running stage and begin another."""
        now = self._read()
        self._spent[self._stage] += now - self._mark
        self._stage, self._mark = stage, now

    def elapsed(self) -> float:
        """Return the seconds since ``start``, credit included, without ending the running stage."""
        return sum(self._spent.values()) + (self._read() - self._mark)

    def stop(self) -> dict[Stage, float]:
        """End the second and return the seconds spent by stage."""
        self.enter("other")
        return dict(self._spent)
