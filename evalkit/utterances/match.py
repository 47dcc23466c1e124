"""Utterances matched to gold windows by one explicit rule: each used once, earliest first."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from evalkit.errors import UsageError

__all__ = ["Hit", "Matching", "Utterance", "Window", "match"]


@dataclass(frozen=True, slots=True, order=True)
class Utterance:
    """Something said.

    Args:
        at: Media second at which it was out.
        text: What was said.
    """

    at: float
    text: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """When something should be said.

    Args:
        start: First media second at which it is right.
        end: Last one; equal to ``start`` where the gold is one moment.
        name: What is due.

    Raises:
        UsageError: It ends before it starts, or a bound is no number.
    """

    start: float
    end: float
    name: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end) and self.start <= self.end):
            raise UsageError(
                f"a gold window goes from one second to a later one, not from {self.start} to {self.end}"
            )

    def distance(self, at: float) -> float:
        """Return how far outside the window a moment lies, seconds: below 0 before it, above 0 after it."""
        return at - self.start if at < self.start else max(0.0, at - self.end)


@dataclass(frozen=True, slots=True)
class Hit:
    """A window and the utterance that answers it."""

    window: Window
    utterance: Utterance

    @property
    def offset(self) -> float:
        """Seconds before (below 0) or after the window; 0 inside it."""
        return self.window.distance(self.utterance.at)


@dataclass(frozen=True, slots=True)
class Matching:
    """What answers what.

    Args:
        hits: In order of time.
        missed: Windows that nothing answers, in order.
        unmatched: Utterances that answer nothing, in order.
    """

    hits: tuple[Hit, ...]
    missed: tuple[Window, ...]
    unmatched: tuple[Utterance, ...]


def match(utterances: Iterable[Utterance], windows: Iterable[Window], tolerance: float = 0.0) -> Matching:
    """Match utterances to windows.

    Utterances are gone through in order of time. Each takes, of the windows that are not used yet and that it lies
    in, the one that starts first (of equal starts, the one that ends first); both are then used. An utterance lies
    in a window from ``tolerance`` before its start to ``tolerance`` after its end, bounds included. The order of
    the input does not matter.

    Args:
        utterances: What was said.
        windows: What was due.
        tolerance: Seconds, >= 0.

    Raises:
        UsageError: The tolerance is below 0 or no number.
    """
    if not tolerance >= 0 or not math.isfinite(tolerance):
        raise UsageError(f"a tolerance is 0 s or more, not {tolerance}")
    waiting = sorted(windows)
    hits: list[Hit] = []
    unmatched: list[Utterance] = []
    for said in sorted(utterances):
        fits = (one for one in waiting if one.start - tolerance <= said.at <= one.end + tolerance)
        first = next(fits, None)
        if first is None:
            unmatched.append(said)
            continue
        waiting.remove(first)
        hits.append(Hit(first, said))
    return Matching(tuple(hits), tuple(waiting), tuple(unmatched))
