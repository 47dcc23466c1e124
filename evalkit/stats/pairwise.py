"""What a judge's votes say about two models: win rates, position bias, consistency; it never asks a judge."""

from __future__ import annotations

__all__ = ["CONSISTENCY_FLOOR", "PairOutcome", "PairwiseSummary", "Winner", "combined_score", "summarise_pairs"]

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.stats import binomtest

from evalkit.errors import UsageError
from evalkit.stats.one import Estimate, mean_by_cluster

Winner = Literal["test", "baseline", "tie", "invalid"]
"""One verdict: who won, a tie, or a reply that could not be read after all retries."""

CONSISTENCY_FLOOR = 0.8
"""Below this share of pairs with the same verdict in both orders the summary warns."""

_WINNERS = frozenset(get_args(Winner))
_SCORES: dict[str, float] = {"test": 1.0, "tie": 0.5, "baseline": 0.0}


@dataclass(frozen=True, slots=True)
class PairOutcome:
    """Two answers to the same segment, judged in both orders.

    Args:
        pair: Id of the segment.
        cluster: Video it comes from.
        ab: Who won with the model under test shown first; None where that order was not judged.
        ba: Who won with the baseline shown first; None where that order was not judged.
    """

    pair: str
    cluster: str
    ab: Winner | None
    ba: Winner | None


@dataclass(frozen=True, slots=True)
class PairwiseSummary:
    """Every figure of a pairwise table; shares lie between 0 and 1 and are None where nothing can be counted.

    Args:
        pairs: Pairs in all, judged or not.
        judged_pairs: Pairs with a readable verdict in both orders, N.
        verdicts: Single verdicts given, readable or not.
        wins: Judged pairs the model under test won in both orders.
        losses: Judged pairs the baseline won in both orders.
        ties: Judged pairs that are neither.
        tie_rate: ``ties / N``.
        invalid: Single verdicts that could not be read.
        invalid_pairs: Pairs left out because a verdict could not be read.
        skipped: Single verdicts never given.
        skipped_pairs: Pairs left out because an order was not judged.
        win_rate: Mean over judged pairs of 1, one half, 0.
        interval: The same with its interval by video.
        clusters: Videos with a judged pair.
        bound_low: `win_rate` if every unreadable verdict had gone to the baseline.
        bound_high: `win_rate` if every unreadable verdict had gone to the model under test.
        decided_win_rate: ``wins / (wins + losses)``.
        decided_interval: The same with its interval by video.
        win_rate_votes: Votes for the model under test over votes for either, single verdicts, ties and
            unreadable ones left out: the rate LiveCC and StreamingVLM publish.
        win_rate_ties_lost: Votes for the model under test over two votes a pair, so that a tie, an unreadable
            and a missing vote are lost: the published rule of LiveCC and StreamingVLM on LiveSports-3K.
        wins_shown_first: Share of readable verdicts won by the model under test when it was shown first.
        wins_shown_second: The same when it was shown second.
        first_slot_rate: Share of the 2 N verdicts that chose what was shown first.
        second_slot_rate: Share of the 2 N verdicts that chose what was shown second.
        both_first: n_FF, judged pairs in which both orders chose the first shown.
        both_second: n_SS, judged pairs in which both orders chose the second shown.
        position_bias_p: Exact binomial test of n_FF against n_SS.
        consistency: Share of judged pairs with the same verdict in both orders.
        warnings: What a reader must know, in words.
    """

    pairs: int
    judged_pairs: int
    verdicts: int
    wins: int
    losses: int
    ties: int
    tie_rate: float | None
    invalid: int
    invalid_pairs: int
    skipped: int
    skipped_pairs: int
    win_rate: float | None
    interval: Estimate | None
    clusters: int
    bound_low: float | None
    bound_high: float | None
    decided_win_rate: float | None
    decided_interval: Estimate | None
    win_rate_votes: float | None
    win_rate_ties_lost: float | None
    wins_shown_first: float | None
    wins_shown_second: float | None
    first_slot_rate: float | None
    second_slot_rate: float | None
    both_first: int
    both_second: int
    position_bias_p: float | None
    consistency: float | None
    warnings: tuple[str, ...]


def combined_score(ab: Winner, ba: Winner) -> float:
    """Return 1 if the model under test won both orders, 0 if the baseline did, else one half.

    Two verdicts that disagree are a tie (FastChat `llm_judge/show_result.py`).

    Raises:
        UsageError: One of the verdicts is unreadable; such a pair has no score.
    """
    if ab not in _SCORES or ba not in _SCORES:
        raise UsageError(f"a pair with the verdicts {ab!r} and {ba!r} has no score")
    return _SCORES[ab] if ab == ba else 0.5


def summarise_pairs(outcomes: Iterable[PairOutcome], *, confidence: float = 0.95) -> PairwiseSummary:
    """Summarise the verdicts on pairs judged in both orders.

    The unit is the pair, its cluster the video. A pair with an unreadable verdict is left out of `win_rate` and
    counted, with bounds on what it could change; a pair judged in one order only is counted as skipped.

    Args:
        outcomes: One per pair.
        confidence: Of the intervals.

    Raises:
        UsageError: No pairs at all, a pair twice, or a verdict that is none of the four.
    """
    pairs = _checked(outcomes)
    first, second = _votes(one.ab for one in pairs), _votes(one.ba for one in pairs)
    votes = first + second
    complete = [one for one in pairs if one.ab is not None and one.ba is not None]
    judged = [one for one in complete if "invalid" not in (one.ab, one.ba)]
    n, slots = len(judged), _slots(judged)
    decided = [one for one in judged if one.ab == one.ba != "tie"]
    wins = sum(one.ab == "test" for one in decided)
    return PairwiseSummary(
        pairs=len(pairs),
        judged_pairs=n,
        verdicts=votes.total(),
        wins=wins,
        losses=len(decided) - wins,
        ties=n - len(decided),
        tie_rate=_share(n - len(decided), n),
        invalid=votes["invalid"],
        invalid_pairs=sum("invalid" in (one.ab, one.ba) for one in pairs),
        skipped=2 * len(pairs) - votes.total(),
        skipped_pairs=sum(None in (one.ab, one.ba) and "invalid" not in (one.ab, one.ba) for one in pairs),
        win_rate=None if not judged else float(np.mean([_score(one) for one in judged])),
        interval=_estimate(judged, confidence),
        clusters=len({one.cluster for one in judged}),
        bound_low=_bound(complete, "baseline"),
        bound_high=_bound(complete, "test"),
        decided_win_rate=_share(wins, len(decided)),
        decided_interval=_estimate(decided, confidence),
        win_rate_votes=_share(votes["test"], votes["test"] + votes["baseline"]),
        win_rate_ties_lost=_share(votes["test"], 2 * len(pairs)),
        wins_shown_first=_share(first["test"], first.total() - first["invalid"]),
        wins_shown_second=_share(second["test"], second.total() - second["invalid"]),
        first_slot_rate=_share(slots.first, 2 * n),
        second_slot_rate=_share(slots.second, 2 * n),
        both_first=slots.both_first,
        both_second=slots.both_second,
        position_bias_p=_binomial_p(slots.both_first, slots.both_second),
        consistency=_share(slots.same, n),
        warnings=_warnings(n, len(decided), slots.same, votes["invalid"], 2 * len(pairs) - votes.total()),
    )


@dataclass(frozen=True, slots=True)
class _Slots:
    """Counts of judged pairs by what was chosen: the first shown or the second, and in both orders."""

    first: int
    second: int
    both_first: int
    both_second: int
    same: int


def _slots(judged: Sequence[PairOutcome]) -> _Slots:
    kinds = Counter((one.ab, one.ba) for one in judged)
    both_first, both_second = kinds["test", "baseline"], kinds["baseline", "test"]
    return _Slots(
        first=sum(count * ((ab == "test") + (ba == "baseline")) for (ab, ba), count in kinds.items()),
        second=sum(count * ((ab == "baseline") + (ba == "test")) for (ab, ba), count in kinds.items()),
        both_first=both_first,
        both_second=both_second,
        same=sum(count for (ab, ba), count in kinds.items() if ab == ba),
    )


def _checked(outcomes: Iterable[PairOutcome]) -> list[PairOutcome]:
    pairs = list(outcomes)
    if not pairs:
        raise UsageError("no judged pairs: nothing to summarise")
    seen: set[str] = set()
    for one in pairs:
        if one.pair in seen:
            raise UsageError(f"pair {one.pair!r} is given twice: one outcome holds both orders")
        seen.add(one.pair)
        for verdict in (one.ab, one.ba):
            if verdict is not None and verdict not in _WINNERS:
                raise UsageError(f"pair {one.pair!r} has the verdict {verdict!r}, not one of {sorted(_WINNERS)}")
    return pairs


def _votes(verdicts: Iterable[Winner | None]) -> Counter[Winner]:
    return Counter(verdict for verdict in verdicts if verdict is not None)


def _binomial_p(both_first: int, both_second: int) -> float | None:
    """Return the exact two-sided p that a judge swayed by neither slot gives such counts; None without any."""
    if not both_first + both_second:
        return None
    return float(binomtest(both_first, both_first + both_second).pvalue)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _score(one: PairOutcome) -> float:
    # Only called on pairs judged in both orders; the check in `combined_score` covers the rest.
    return combined_score(one.ab or "invalid", one.ba or "invalid")


def _estimate(judged: Sequence[PairOutcome], confidence: float) -> Estimate | None:
    if not judged:
        return None
    scores = np.array([_score(one) for one in judged])
    videos = [one.cluster for one in judged]
    return mean_by_cluster(scores, videos, confidence=confidence)


def _bound(complete: Sequence[PairOutcome], winner: Winner) -> float | None:
    """Return the win rate if every unreadable verdict had gone to `winner`."""
    if not complete:
        return None
    filled = [[winner if vote == "invalid" else vote for vote in (one.ab, one.ba)] for one in complete]
    return float(np.mean([combined_score(ab or "invalid", ba or "invalid") for ab, ba in filled]))


def _warnings(judged: int, decided: int, same: int, invalid: int, skipped: int) -> tuple[str, ...]:
    found = []
    if not judged:
        found.append("no pair has a readable verdict in both orders: no win rate")
    elif not decided:
        found.append("every pair is a tie: nothing was decided")
    if judged and same / judged < CONSISTENCY_FLOOR:
        found.append(
            f"consistency {100 * same / judged:.1f} % is below {100 * CONSISTENCY_FLOOR:.0f} %: "
            "the judge often follows the order"
        )
    if invalid:
        found.append(
            f"{invalid} verdict(s) could not be read; the bounds show how far they could move the win rate"
        )
    if skipped:
        found.append(f"{skipped} verdict(s) were never given")
    return tuple(found)
