"""What is judged: two texts for one window, the two orders, and what needs no judge; asks nobody."""

from __future__ import annotations

__all__ = [
    "EMPTY_RULES",
    "ORDERS",
    "Order",
    "Pair",
    "RuleDecision",
    "Vote",
    "Winner",
    "decide_by_rule",
    "vote_for",
    "winner_of",
]

from dataclasses import dataclass
from typing import Final, Literal

Order = Literal["ab", "ba"]
Vote = Literal["first", "second", "tie", "invalid"]
Winner = Literal["test", "baseline", "tie", "invalid"]

EMPTY_RULES: Final = frozenset({"empty-test", "empty-baseline", "empty-both"})
"""Rules that decide a pair without a judge."""

ORDERS: Final[tuple[Order, Order]] = ("ab", "ba")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts about one window of one video.

    Args:
        id: Unique among the pairs judged together.
        cluster: Video id; windows of one video are not independent.
        start: Start of the window, media seconds.
        end: End of the window, media seconds.
        reference: What the window's transcript says.
        test: Text of the model under test.
        baseline: Text of the model it is held against.
    """

    id: str
    cluster: str
    start: float
    end: float
    reference: str
    test: str
    baseline: str

    def slots(self, order: Order) -> tuple[str, str]:
        """Return the texts in the first and the second slot; ``ab`` shows the model under test first."""
        return (self.test, self.baseline) if order == "ab" else (self.baseline, self.test)


@dataclass(frozen=True, slots=True)
class RuleDecision:
    """A pair decided without a judge.

    Args:
        winner: The side that wins in both orders.
        rule: ``empty-test``, ``empty-baseline`` or ``empty-both``.
    """

    winner: Winner
    rule: str


def decide_by_rule(pair: Pair) -> RuleDecision | None:
    """Decide a pair in which a side said nothing; ``None`` where a judge must be asked.

    An empty candidate is never sent: silence loses to speech, two silences tie. (The official
    ``model_compete/judge.py`` of StreamingVLM sends it, so the judge's taste decides.)
    """
    test, baseline = bool(pair.test.strip()), bool(pair.baseline.strip())
    if test and baseline:
        return None
    if test:
        return RuleDecision("test", "empty-baseline")
    return RuleDecision("baseline", "empty-test") if baseline else RuleDecision("tie", "empty-both")


def winner_of(vote: Vote, order: Order) -> Winner:
    """Turn the slot that was chosen into the side that stood there."""
    if vote == "tie" or vote == "invalid":
        return vote
    return "test" if (vote == "first") == (order == "ab") else "baseline"


def vote_for(winner: Winner, order: Order) -> Vote:
    """Turn a side into the slot it stands in; the inverse of `winner_of`."""
    if winner == "tie" or winner == "invalid":
        return winner
    return "first" if (winner == "test") == (order == "ab") else "second"
