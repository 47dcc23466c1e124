"""Reads judged pairs out of verdict records: both orders of a pair together, and the rates plots show."""

from __future__ import annotations

__all__ = ["Contest", "JudgedPair", "contests", "slot_rates", "win_rate"]

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from evalkit.records import VerdictRecord
from evalkit.stats.one import Estimate, mean_by_cluster
from evalkit.stats.pairwise import PairOutcome, PairwiseSummary, summarise_pairs

Result = Literal["test", "baseline", "tie", "invalid", "one order only"]
_SCORE = {"test": 1.0, "tie": 0.5, "baseline": 0.0}


@dataclass(frozen=True)
class JudgedPair:
    """One pair with its votes, ``ab`` before ``ba``.

    ``result`` is a side where both orders chose it and a tie where they did not agree (FastChat's
    ``show_result.py``); an invalid vote makes the pair invalid, a missing order leaves it open.
    """

    pair: str
    cluster: str
    start: float
    end: float
    votes: tuple[VerdictRecord, ...]

    @property
    def result(self) -> Result:
        """What the votes say together."""
        if len(self.votes) < 2:
            return "one order only"
        winners = {vote.winner for vote in self.votes}
        if "invalid" in winners:
            return "invalid"
        return self.votes[0].winner if len(winners) == 1 else "tie"

    def outcome(self) -> PairOutcome:
        """Return the pair as the statistics take it."""
        winners = {vote.order: vote.winner for vote in self.votes}
        return PairOutcome(self.pair, self.cluster, winners.get("ab"), winners.get("ba"))


@dataclass(frozen=True)
class Contest:
    """All pairs of one model against one baseline, as one judge saw them."""

    model: str
    baseline: str
    judge: str
    pairs: tuple[JudgedPair, ...]

    @property
    def baseline_id(self) -> str:
        """What tells the baseline from others of its name; empty where the records do not say."""
        return next((vote.baseline_id for pair in self.pairs for vote in pair.votes), "")

    @property
    def offline(self) -> bool:
        """Whether the judge is the built-in word overlap, which is no language model."""
        return self.judge.startswith("overlap")

    @property
    def judge_label(self) -> str:
        """The judge's name as tables show it."""
        return f"{self.judge} (not an LLM)" if self.offline else self.judge

    def counted(self) -> list[JudgedPair]:
        """Return the pairs that count in the win rate: those with a readable vote in both orders."""
        return [pair for pair in self.pairs if pair.result in _SCORE]

    def summary(self) -> PairwiseSummary:
        """Return every figure of these pairs, as ``evalkit judge`` states them."""
        return summarise_pairs([pair.outcome() for pair in self.pairs])


def contests(verdicts: Sequence[VerdictRecord], model: str | None = None) -> list[Contest]:
    """Group verdicts by baseline and judge; of a pair judged again in an order, the last verdict counts.

    Args:
        verdicts: The records of one run, in the order written.
        model: What to call the model under test; its recorded name by default.
    """
    found: dict[tuple[str, str, str], dict[str, dict[str, VerdictRecord]]] = defaultdict(lambda: defaultdict(dict))
    for verdict in verdicts:
        side = (model or verdict.model_name, verdict.baseline_name, verdict.judge.partition(" (")[0])
        found[side][verdict.pair][verdict.order] = verdict
    return [
        Contest(*side, tuple(_pair(name, orders) for name, orders in pairs.items()))
        for side, pairs in found.items()
    ]


def _pair(name: str, orders: dict[str, VerdictRecord]) -> JudgedPair:
    votes = tuple(orders[order] for order in ("ab", "ba") if order in orders)
    return JudgedPair(name, votes[0].cluster, votes[0].start, votes[0].end, votes)


def win_rate(pairs: Sequence[JudgedPair]) -> Estimate | None:
    """Return the win rate of the model under test, ties one half, with its interval by video.

    Invalid and half-judged pairs are left out (count them beside it); ``None`` where nothing is left.
    """
    counted = [(pair, score) for pair in pairs if (score := _SCORE.get(pair.result)) is not None]
    if not counted:
        return None
    scores = [score for _, score in counted]
    return mean_by_cluster(scores, [pair.cluster for pair, _ in counted])


def slot_rates(pairs: Sequence[JudgedPair]) -> dict[str, Estimate]:
    """Return how the place on the page moves votes: three shares with intervals by video.

    ``shown first`` and ``shown second``: readable votes won by the model under test where it stood there;
    ``first slot``: votes of pairs with two readable ones that chose the first slot. The shares are those of
    `PairwiseSummary` (a tie is a vote for neither).
    """
    rows: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for pair in pairs:
        for vote in pair.votes:
            if vote.winner != "invalid":
                place = "shown first" if vote.order == "ab" else "shown second"
                rows[place].append((float(vote.winner == "test"), vote.cluster))
            if pair.result in _SCORE:
                rows["first slot"].append((float(vote.vote == "first"), vote.cluster))
    return {
        name: mean_by_cluster([score for score, _ in part], [cluster for _, cluster in part])
        for name in ("shown first", "shown second", "first slot")
        if (part := rows.get(name))
    }
