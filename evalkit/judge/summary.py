"""From verdict records to the figures and the JSON of ``evalkit judge``; evalkit.stats does the statistics."""

from __future__ import annotations

__all__ = ["JudgeSummary", "Usage", "summarise_verdicts", "summarise_votes"]

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from evalkit.errors import NothingCountedError, UsageError
from evalkit.judge.pairs import EMPTY_RULES
from evalkit.judge.votes import RecordedPair, RecordedVotes
from evalkit.records.schema import FallbackRecord, GradeRecord, VerdictRecord

if TYPE_CHECKING:
    from evalkit.stats import PairwiseSummary


@dataclass(frozen=True, slots=True)
class Usage:
    """What judging has cost; reused decisions were paid for by an earlier run.

    Args:
        calls: Requests sent.
        prompt_tokens: Tokens read by the judge.
        completion_tokens: Tokens written by it.
        cost: Price of them; ``None`` where no price was given.
        reused: Decisions taken from the record.
    """

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    reused: int = 0

    @classmethod
    def of(cls, records: Sequence[VerdictRecord] | Sequence[FallbackRecord] | Sequence[GradeRecord]) -> Usage:
        """Add up what these decisions have cost."""
        fresh = [record for record in records if not record.cached]
        asked = [record for record in fresh if record.attempts]
        costs = [record.cost for record in asked if record.cost is not None]
        return cls(
            calls=sum(record.attempts for record in asked),
            prompt_tokens=sum(record.prompt_tokens for record in asked),
            completion_tokens=sum(record.completion_tokens for record in asked),
            cost=sum(costs) if costs and len(costs) == len(asked) else None,
            reused=len(records) - len(fresh),
        )


@dataclass(frozen=True, slots=True)
class JudgeSummary:
    """All figures of one model against one baseline.

    Args:
        model: The model under test.
        baseline: The model it is held against.
        judge: Who judged, with its settings; says "not an LLM" where it is none.
        figures: Win rates, bias, consistency and their intervals.
        usage: What it has cost.
        uncovered: Windows that not both sides cover, by name; they were not judged.
        decided_by_rule: Pairs decided without the judge, by rule.
        invalid_reasons: Verdicts that are no vote, by reason.
        notes: What a reader of the figures must know.
    """

    model: str
    baseline: str
    judge: str
    figures: PairwiseSummary
    usage: Usage = field(default_factory=Usage)
    uncovered: tuple[str, ...] = ()
    decided_by_rule: Mapping[str, int] = field(default_factory=dict)
    invalid_reasons: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def alarm(self) -> str:
        """What must not be overlooked: that no win rate could be computed, and why; empty where one could."""
        one = self.figures
        if one.judged_pairs:
            return ""
        reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(self.invalid_reasons).most_common(3))
        why = f" ({reasons})" if reasons else ""
        return f"no win rate: of {one.verdicts} verdicts on {one.pairs} pairs none makes a pair that counts{why}"

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``evalkit judge --json`` prints; shares lie between 0 and 1.

        ``interval`` is ``[low, high]``, or ``null`` with the reason in ``interval_note``. ``skipped`` counts the
        windows that were not judged in both orders; ``skipped_windows`` names those that not both sides cover.
        """
        one = self.figures
        interval = one.interval
        known = interval is not None and interval.low is not None and interval.high is not None
        return {
            "model": self.model,
            "baseline": self.baseline,
            "pairs": one.pairs,
            "verdicts": one.verdicts,
            "win_rate": one.win_rate,
            "win_rate_votes": one.win_rate_votes,
            "win_rate_ties_lost": one.win_rate_ties_lost,
            "decided_win_rate": one.decided_win_rate,
            "wins": one.wins,
            "losses": one.losses,
            "ties": one.ties,
            "invalid": one.invalid,
            "invalid_reasons": dict(self.invalid_reasons),
            "skipped": len(self.uncovered) + one.skipped_pairs,
            "skipped_windows": list(self.uncovered),
            "consistency": one.consistency,
            "first_slot_rate": one.first_slot_rate,
            "position_bias_p": one.position_bias_p,
            "wins_shown_first": one.wins_shown_first,
            "wins_shown_second": one.wins_shown_second,
            "interval": [interval.low, interval.high] if interval is not None and known else None,
            "interval_method": interval.method if interval is not None else "none",
            "interval_note": interval.note if interval is not None else "no pair was judged in both orders",
            "bounds": None if one.bound_low is None else [one.bound_low, one.bound_high],
            "clusters": one.clusters,
            "decided_by_rule": dict(self.decided_by_rule),
            "judge": self.judge,
            "usage": asdict(self.usage),
            "notes": [*self.notes, *one.warnings],
        }


def summarise_verdicts(verdicts: Sequence[VerdictRecord], *, uncovered: Sequence[str] = ()) -> JudgeSummary:
    """Summarise what `judge_pairs` returned.

    Args:
        verdicts: Verdicts of one model against one baseline, up to two per pair.
        uncovered: Names of the windows that not both sides cover and nobody judged.

    Raises:
        NothingCountedError: Not one window is covered by both sides.
        UsageError: No verdicts, or two for one pair and order.
    """
    if not verdicts:
        if not uncovered:
            raise UsageError("no pairs to judge")
        raise NothingCountedError(
            f"no pairs to judge: none of {len(uncovered)} windows is covered by both sides; "
            "let both narrate whole windows of the same videos"
        )
    pairs: dict[str, dict[str, VerdictRecord]] = {}
    for verdict in verdicts:
        orders = pairs.setdefault(verdict.pair, {})
        if verdict.order in orders:
            raise UsageError(f"two verdicts on pair {verdict.pair!r} in order {verdict.order}")
        orders[verdict.order] = verdict
    recorded = [RecordedPair.of(orders) for orders in pairs.values()]
    return _summarise(verdicts, recorded, uncovered)


def summarise_votes(votes: RecordedVotes) -> JudgeSummary:
    """Summarise votes that were read from a file."""
    if votes.verdicts:
        summary = _summarise(votes.verdicts, votes.pairs, ())
        return replace(summary, model=votes.model, baseline=votes.baseline, notes=(*votes.notes, *summary.notes))
    return JudgeSummary(votes.model, votes.baseline, votes.judge, _figures(votes.pairs), notes=votes.notes)


def _figures(pairs: Sequence[RecordedPair]) -> PairwiseSummary:
    from evalkit.stats import PairOutcome, summarise_pairs

    return summarise_pairs(PairOutcome(one.pair, one.cluster, one.ab, one.ba) for one in pairs)


def _summarise(
    verdicts: Sequence[VerdictRecord], pairs: Sequence[RecordedPair], uncovered: Sequence[str]
) -> JudgeSummary:
    ruled = [verdict for verdict in verdicts if verdict.rule in EMPTY_RULES]
    by_rule = Counter(verdict.rule for verdict in ruled if verdict.order == "ab")
    # A pair decided by rule says nothing about how the judge was asked.
    identities = Counter(v.judge for v in verdicts if v.rule not in EMPTY_RULES) or Counter(v.judge for v in ruled)
    notes = [f"{count} pairs decided by rule {rule}, not by the judge" for rule, count in sorted(by_rule.items())]
    if len(identities) > 1:
        notes.append("the judge changed on the way: " + "; ".join(sorted(identities)))
    return JudgeSummary(
        model=verdicts[0].model_name,
        baseline=verdicts[0].baseline_name,
        judge=identities.most_common(1)[0][0],
        figures=_figures(pairs),
        usage=Usage.of(verdicts),
        uncovered=tuple(uncovered),
        decided_by_rule=dict(sorted(by_rule.items())),
        invalid_reasons=dict(sorted(Counter(v.error or v.rule for v in verdicts if v.vote == "invalid").items())),
        notes=tuple(notes),
    )
