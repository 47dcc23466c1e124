"""Whether a new run is worse than a base by more than a margin: fails, passes, or says that it cannot tell.

What may be concluded from figures is in `gate_rule`; this module takes runs, refuses what may not be compared, and
puts beside the verdict what the runs said and in what they differ.
"""

from __future__ import annotations

__all__ = ["GateResult", "GateRule", "run_gate"]

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.errors import DataError, UsageError
from evalkit.leaderboard.agreement import AGREEMENT, score_agreement
from evalkit.leaderboard.answers import (
    SEED,
    ScoredRun,
    align,
    averaged,
    require_finished,
    require_one_model,
    score_runs,
)
from evalkit.leaderboard.compare import check_comparable
from evalkit.leaderboard.fingerprint import Mismatch, comparable, fields_named, model_changes
from evalkit.leaderboard.gate_rule import GateCheck, Outcome, error_of_look, judge_score, judge_speed, overall
from evalkit.leaderboard.latency import timed_apart
from evalkit.leaderboard.slowdown import slowdown
from evalkit.leaderboard.transcripts import Transcripts, compare_transcripts
from evalkit.records import RunRecords

_BASE, _HEAD = "base", "head"


@dataclass(frozen=True, slots=True)
class GateRule:
    """What a gate holds a head to.

    Args:
        max_drop: Largest drop of the score that is accepted, a share, > 0.
        max_slowdown: Largest lengthening of the median second that is accepted, a share; None leaves speed out.
        metric: What is held; the benchmark's headline when absent, ``agreement`` for the share of replies that are
            the base's.
        look: Which look at a series of heads this is, from 1; None for a gate by itself.
        ignored: Fingerprint fields that may differ, ``code`` for every ``code.*`` where the code is what changed.
        allow_mismatch: Go on although the runs differ in more than the model under test, and mark it.
        baseline: For narrated runs, whom they were judged against.
        judge: For narrated runs, who judged.

    Raises:
        UsageError: A margin that is not positive, or a look before the first.
    """

    max_drop: float
    max_slowdown: float | None = None
    metric: str | None = None
    look: int | None = None
    ignored: tuple[str, ...] = ()
    allow_mismatch: bool = False
    baseline: str | None = None
    judge: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.max_drop <= 1 or (self.max_slowdown is not None and self.max_slowdown <= 0):
            raise UsageError(
                "the margins of a gate are positive: --max-drop in points up to 100, --max-slowdown in %"
            )
        error_of_look(self.look)


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the gate decided.

    Args:
        outcome: ``fail`` if any check failed, else ``cannot tell`` if any could not tell, else ``pass``.
        metric: What the scores are.
        unit: What there is one score of: ``questions``, ``windows``, ``replies`` or ``facts``.
        error: Chance of a wrong verdict that was accepted on either side.
        checks: Score, and speed where it was asked for.
        transcripts: What the two said, side by side.
        changed: Fields of the model under test that differ.
        ignored: Other fields that differ and were named as those that may.
        mismatches: What was compared although it should not be.
        notes: What a reader must know.
    """

    outcome: Outcome
    metric: str
    unit: str
    error: float
    checks: tuple[GateCheck, ...]
    transcripts: Transcripts
    changed: tuple[Mismatch, ...]
    ignored: tuple[Mismatch, ...]
    mismatches: tuple[Mismatch, ...]
    notes: tuple[str, ...]


def run_gate(bases: Sequence[RunRecords], heads: Sequence[RunRecords], rule: GateRule) -> GateResult:
    """Hold runs of a head against runs of a base.

    Several runs of a side are one model run again (other seeds, or for its speed): their scores are averaged per
    question first.

    Args:
        bases: The run to be held against, or several.
        heads: The run in question, or several.
        rule: Margins, and what may differ.

    Raises:
        DataError: A run has no answers or is not finished, or the two may not be compared.
        UsageError: Runs of different tasks, a metric they do not have, or a field that no run has.
    """
    if not bases or not heads:
        raise UsageError("a gate needs a run of the base and one of the head")
    if not rule.allow_mismatch:
        for run in (*bases, *heads):
            require_finished(run)
    fingerprints = [run.manifest.fingerprint for run in (*bases, *heads)]
    may_differ = fields_named(rule.ignored, *fingerprints) | _averaged_fields(bases, heads)
    one_side = (_side(bases, _BASE, rule, bases[0]), _side(heads, _HEAD, rule, bases[0]))
    scored = [averaged(side, label) for side, label in zip(one_side, (_BASE, _HEAD), strict=True)]
    aligned = align(scored)
    found = check_comparable(scored, aligned, allow=rule.allow_mismatch, ignored=sorted(may_differ))
    error = error_of_look(rule.look)
    base, head = (aligned.scores[label] for label in (_BASE, _HEAD))
    checks = [
        judge_score(base, head, aligned.clusters, rule.max_drop, composition=aligned.composition, error=error)
    ]
    if rule.max_slowdown is not None:
        _require_one_machine((*bases, *heads), allow=rule.allow_mismatch)
        checks.append(judge_speed(slowdown(bases, heads, error=error), rule.max_slowdown))
    first = bases[0].manifest.fingerprint, heads[0].manifest.fingerprint
    return GateResult(
        outcome=overall(checks),
        metric=scored[0].metric,
        unit=scored[0].unit,
        error=error,
        checks=tuple(checks),
        transcripts=compare_transcripts(*scored),
        changed=tuple(model_changes(*first)),
        ignored=tuple(one for one in comparable(*first) if one.field in may_differ),
        mismatches=found[_BASE, _HEAD],
        notes=tuple(
            dict.fromkeys([*_repeated(scored), *(n for side in one_side for run in side for n in run.notes)])
        ),
    )


def _repeated(scored: Sequence[ScoredRun]) -> list[str]:
    lines = [f"{run.label}: {run.repeats.sentence()}" for run in scored if run.repeats is not None]
    return [*lines, "answers: those of the first run of either side"] if lines else []


def _averaged_fields(bases: Sequence[RunRecords], heads: Sequence[RunRecords]) -> frozenset[str]:
    """Return the fields that may differ because both sides average over several of their values."""
    seeds = [{run.manifest.fingerprint.get(SEED) for run in side} for side in (bases, heads)]
    return frozenset({SEED}) if all(len(side) > 1 for side in seeds) else frozenset()


def _side(runs: Sequence[RunRecords], label: str, rule: GateRule, reference: RunRecords) -> list[ScoredRun]:
    """Score the runs of one side; they must be one model in one setting, but for the seed.

    Raises:
        DataError: They are not.
    """
    require_one_model(runs, f"--{label}")
    if rule.metric == AGREEMENT:
        return score_agreement(label, runs, reference)
    named = {f"{label} {number}": run for number, run in enumerate(runs, start=1)}
    return score_runs(named, metric=rule.metric, whole=True, baseline=rule.baseline, judge=rule.judge)


def _require_one_machine(runs: Sequence[RunRecords], *, allow: bool) -> None:
    apart = timed_apart([run.manifest for run in runs])
    if apart is not None and not allow:
        raise DataError(f"the runs were timed {apart}: leave --max-slowdown out, or run all alike")
