"""Utility of timed utterances: full worth within a grace, then less, and a price for what nobody needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evalkit.errors import UsageError
from evalkit.utterances.match import Utterance, Window

__all__ = ["UtilityRule", "utility"]


@dataclass(frozen=True, slots=True)
class UtilityRule:
    """What an utterance is worth.

    Args:
        grace: Seconds after a window's start within which an answer is worth 1, >= 0.
        decay: Seconds after the grace in which its worth falls in a line to 0, >= 0; 0 cuts at once.
        price: What an utterance that answers nothing costs, >= 0.

    Raises:
        UsageError: A number is below 0.
    """

    grace: float = 2.0
    decay: float = 10.0
    price: float = 0.1

    def __post_init__(self) -> None:
        if min(self.grace, self.decay, self.price) < 0:
            raise UsageError("grace, decay and price are 0 or more")

    def worth(self, delay: float) -> float:
        """Return what an answer so many seconds after a window's start is worth, 0 to 1; nothing before it."""
        if delay < 0:
            return 0.0
        if delay <= self.grace:
            return 1.0
        return max(0.0, 1.0 - (delay - self.grace) / self.decay) if self.decay else 0.0


def utility(
    utterances: Iterable[Utterance], windows: Sequence[Window], rule: UtilityRule | None = None
) -> float | None:
    """Return the mean worth a window, less the price of utterances that answer nothing; at most 1.

    Utterances are gone through in order of time; each answers the window that starts first of those not answered
    for which it is worth something. A window that nothing answers is worth 0.

    Args:
        utterances: What was said.
        windows: What was due; only their starts count.
        rule: What an utterance is worth.

    Returns:
        ``None`` where nothing was due.
    """
    if not windows:
        return None
    by = rule or UtilityRule()
    waiting = sorted(windows)
    gained = 0.0
    for said in sorted(utterances):
        due = next((one for one in waiting if by.worth(said.at - one.start) > 0), None)
        if due is None:
            gained -= by.price
            continue
        waiting.remove(due)
        gained += by.worth(said.at - due.start)
    return gained / len(windows)
