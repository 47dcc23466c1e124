"""Settings of StreamForest's memory: windows, budgets and when events are joined (no torch)."""

from __future__ import annotations

__all__ = ["StreamForestSettings"]

from dataclasses import dataclass
from typing import Literal

from evalkit.errors import UsageError
from evalkit.memory.ledger import Ledger, Plan
from evalkit.memory.policies import MemoryPolicy


@dataclass(frozen=True, slots=True)
class StreamForestSettings(MemoryPolicy):
    """How a stream's vision features are merged (StreamForest, arXiv 2509.24871; defaults of its release).

    Args:
        short_frames: Frames of the short memory before events are split off.
        short_tokens: Tokens of each of them.
        event_window: Oldest frames of the short memory among which an event ends.
        long_tokens: Tokens of a frame of an event.
        quota: Tokens of all events.
        similarity: Weight of being unlike, in the penalty of joining two events.
        time: Weight of being recent.
        merges: Weight of having been joined before.
        schedule: ``streaming`` joins events as soon as they are too many; ``released`` keeps all of them and joins
            when a question is asked, as the released code does: other pairs, and a memory that grows.
        time_message: Whether a question begins by saying how many frames of how many seconds were seen.
    """

    short_frames: int = 18
    short_tokens: int = 128
    event_window: int = 8
    long_tokens: int = 64
    quota: int = 5120
    similarity: float = 0.4
    time: float = 0.2
    merges: float = 0.4
    schedule: Literal["streaming", "released"] = "streaming"
    time_message: bool = True

    def __post_init__(self) -> None:
        for name in ("short_frames", "short_tokens", "event_window", "long_tokens"):
            if getattr(self, name) < 1:
                raise UsageError(f"memory.{name} must be at least 1, not {getattr(self, name)}")
        if self.long_tokens > self.short_tokens:
            raise UsageError(
                f"memory.long_tokens={self.long_tokens} is more than memory.short_tokens={self.short_tokens}: "
                "events are merged further"
            )
        if self.quota < self.event_window * self.long_tokens:
            raise UsageError(
                f"memory.quota={self.quota} is less than one event of {self.event_window} frames "
                f"({self.event_window * self.long_tokens} tokens)"
            )

    @property
    def rebases(self) -> bool:
        """No: no key is kept between questions."""
        return False

    def plan(self, ledger: Ledger, second: int) -> Plan:
        """Drop nothing by its span."""
        return Plan()

    def most_tokens(self, frame: int) -> int:
        """Return the most tokens a question sees, for frames of so many."""
        short = min(self.short_tokens, frame)
        return self.quota + (self.short_frames + self.event_window - 1) * short + frame
