"""Several runs of one task against each other: statistics, speed and what forbids the comparison.

`evalkit.stats` computes, `evalkit.leaderboard.comparison_table` prints.
"""

from __future__ import annotations

__all__ = ["Comparison", "PairRow", "check_comparable", "compare_runs"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

from evalkit.errors import DataError
from evalkit.leaderboard.answers import (
    SEED,
    Aligned,
    ScoredRun,
    align,
    averaged,
    require_finished,
    require_one_model,
    score_runs,
)
from evalkit.leaderboard.fingerprint import Mismatch, comparable, describe_mismatches, fields_named
from evalkit.leaderboard.latency import MedianSeconds, SecondRatio, median_seconds, timed_apart
from evalkit.leaderboard.transcripts import Transcripts, compare_transcripts
from evalkit.records import RunRecords
from evalkit.report.per_question import works_when_asked

if TYPE_CHECKING:
    from evalkit.stats import CompareOptions, Estimate, PairedComparison

_COMPRESSION = "model.compress"


@dataclass(frozen=True, slots=True)
class PairRow:
    """One run against another; differences are A minus B, as shares between 0 and 1.

    Args:
        a: Label of run A.
        b: Label of run B.
        paired: The paired statistics.
        p_holm: p-value after Holm's correction over the table.
        same_model: Whether both are runs of one model in one setting (equal fingerprints).
        flips: Share of questions answered differently, for two runs of one model; else None.
        seconds: Median second of A over that of B; None without ticks or on different machines.
        mismatches: Fields that would have forbidden the comparison.
        transcripts: What the two said, side by side, B before A.
    """

    a: str
    b: str
    paired: PairedComparison
    p_holm: float | None
    same_model: bool
    flips: Estimate | None
    seconds: SecondRatio | None
    mismatches: tuple[Mismatch, ...]
    transcripts: Transcripts


@dataclass(frozen=True, slots=True)
class Comparison:
    """A table of runs compared.

    Args:
        task: Benchmark.
        metric: What is compared.
        runs: The runs, in the order given.
        rows: One per pair, A before B in the order of the runs.
        n: Questions all runs have.
        clusters: Videos they are on.
        unit: What n counts: questions, or windows of narration.
        margin: Of non-inferiority, a share; None where none was stated.
        confidence: Of the intervals.
        power: With which the minimal detectable effect would be found.
        mismatched: Whether runs were compared that should not be (`--allow-mismatch`).
        warnings: What a reader must know, in words.
    """

    task: str
    metric: str
    runs: tuple[ScoredRun, ...]
    rows: tuple[PairRow, ...]
    n: int
    clusters: int
    unit: str
    margin: float | None
    confidence: float
    power: float
    mismatched: bool
    warnings: tuple[str, ...]


def check_comparable(
    runs: Sequence[ScoredRun], aligned: Aligned, *, allow: bool, ignored: Sequence[str] = ()
) -> dict[tuple[str, str], tuple[Mismatch, ...]]:
    """Return for each pair of runs what should forbid comparing them.

    Args:
        runs: The runs.
        aligned: Their common questions.
        allow: Whether to go on in spite of it.
        ignored: Fields that may differ.

    Raises:
        DataError: Something differs and `allow` is false; the text names the fields with both values.
    """
    found: dict[tuple[str, str], tuple[Mismatch, ...]] = {}
    for a, b in combinations(runs, 2):
        fields = comparable(a.records.manifest.fingerprint, b.records.manifest.fingerprint)
        found[a.label, b.label] = tuple(one for one in fields if one.field not in ignored)
    first = runs[0].label
    for (a_label, b_label), fields_of in found.items():
        if aligned.mismatches and a_label == first:
            found[a_label, b_label] = (*fields_of, *aligned.mismatches)
    if not allow:
        for (a_label, b_label), mismatches in found.items():
            if mismatches:
                raise DataError(
                    f"{a_label} and {b_label} differ in more than the model under test: "
                    f"{describe_mismatches(mismatches)}; --allow-mismatch compares them all the same and marks it"
                )
    return found


def compare_runs(
    runs: Mapping[str, RunRecords | Sequence[RunRecords]],
    *,
    options: CompareOptions | None = None,
    metric: str | None = None,
    ignored: Sequence[str] = (),
    allow_mismatch: bool = False,
    baseline: str | None = None,
    judge: str | None = None,
) -> Comparison:
    """Compare every pair of runs on the questions all of them have.

    Args:
        runs: Label to records; two or more. Several records under one label are one model run again (other seeds):
            their scores are averaged per question first, replies and seconds are those of the first.
        options: Margin, confidence, power, draws and seed.
        metric: Which score is compared; the benchmark's headline when absent.
        ignored: Fingerprint fields that may differ, ``code`` for every ``code.*``.
        allow_mismatch: Compare what differs in more than the model under test, and unfinished runs, and mark it.
        baseline: For judged runs, whom they were judged against.
        judge: For judged runs, who judged.

    Raises:
        DataError: No answers, nothing in common, fields that differ, a run that is not finished.
        UsageError: Different tasks, fewer than two runs, a metric or a field that they do not have.
    """
    from evalkit.stats import CompareOptions

    chosen = options or CompareOptions()
    sides = {label: (one,) if isinstance(one, RunRecords) else tuple(one) for label, one in runs.items()}
    every = [records for side in sides.values() for records in side]
    if not allow_mismatch:
        for records in every:
            require_finished(records)
    may_differ = fields_named(ignored, *(records.manifest.fingerprint for records in every))
    if all(len({run.manifest.fingerprint.get(SEED) for run in side}) > 1 for side in sides.values()):
        may_differ |= {SEED}
    scored = _scored(sides, metric=metric, baseline=baseline, judge=judge)
    aligned = align(scored)
    mismatches = check_comparable(scored, aligned, allow=allow_mismatch, ignored=sorted(may_differ))
    rows = _pair_rows(scored, aligned, mismatches, chosen)
    by_label = {run.label: run for run in scored}
    notes = [note for run in scored for note in (*run.notes, *(f"{run.label}: {w}" for w in run.records.warnings))]
    comparison = Comparison(
        task=scored[0].records.manifest.task,
        metric=scored[0].metric,
        runs=tuple(scored),
        rows=tuple(rows),
        n=len(aligned.ids),
        clusters=len(set(aligned.clusters)),
        unit=scored[0].unit,
        margin=chosen.margin,
        confidence=chosen.confidence,
        power=chosen.power,
        mismatched=any(row.mismatches for row in rows),
        warnings=(),
    )
    return replace(comparison, warnings=tuple(dict.fromkeys([*notes, *_warnings(comparison, by_label)])))


def _scored(
    sides: Mapping[str, Sequence[RunRecords]], *, metric: str | None, baseline: str | None, judge: str | None
) -> list[ScoredRun]:
    """Return each label's run, or the mean of its runs."""
    named: dict[str, RunRecords] = {}
    owner: dict[str, str] = {}
    for label, side in sides.items():
        require_one_model(side, label)
        for number, records in enumerate(side, start=1):
            name = label if len(side) == 1 else f"{label}, run {number}"
            named[name], owner[name] = records, label
    scored = score_runs(named, metric=metric, baseline=baseline, judge=judge)
    return [averaged([run for run in scored if owner[run.label] == label], label) for label in sides]


def _pair_rows(
    scored: Sequence[ScoredRun],
    aligned: Aligned,
    mismatches: Mapping[tuple[str, str], tuple[Mismatch, ...]],
    options: CompareOptions,
) -> list[PairRow]:
    """Return one row per pair of runs."""
    from evalkit.stats import compare_all

    ticks = {
        run.label: run.records.ticks for run in scored if run.records.ticks and not works_when_asked(run.records)
    }
    medians = median_seconds(ticks, draws=options.draws, seed=options.seed)
    by_label = {run.label: run for run in scored}
    rows = []
    for pair in compare_all(aligned.scores, aligned.clusters, composition=aligned.composition, options=options):
        a, b = by_label[pair.a], by_label[pair.b]
        same = a.records.manifest.fingerprint_digest == b.records.manifest.fingerprint_digest
        rows.append(
            PairRow(
                a=pair.a,
                b=pair.b,
                paired=pair.comparison,
                p_holm=pair.p_holm,
                same_model=same,
                flips=_flips(a, b, aligned) if same else None,
                seconds=_seconds(a, b, medians, options.confidence),
                mismatches=mismatches[pair.a, pair.b],
                transcripts=compare_transcripts(b, a),
            )
        )
    return rows


def _flips(a: ScoredRun, b: ScoredRun, aligned: Aligned) -> Estimate:
    from evalkit.stats import flip_rate

    return flip_rate(
        [a.answers[id_] for id_ in aligned.ids], [b.answers[id_] for id_ in aligned.ids], aligned.clusters
    )


def _seconds(a: ScoredRun, b: ScoredRun, medians: MedianSeconds | None, confidence: float) -> SecondRatio | None:
    if medians is None or not {a.label, b.label} <= medians.medians.keys():
        return None
    if timed_apart([a.records.manifest, b.records.manifest]) is not None:
        return None
    return medians.ratio(a.label, b.label, confidence=confidence)


def _warnings(comparison: Comparison, runs: Mapping[str, ScoredRun]) -> list[str]:
    lines = [f"{run.label}: {run.repeats.sentence()}" for run in comparison.runs if run.repeats is not None]
    if lines:
        lines.append(
            "intervals hold what videos differ by, not what runs differ by; replies and seconds: first runs"
        )
    for run in runs.values():
        if (videos := run.records.manifest.videos_lacking) is not None:
            lines.append(f"{run.label} is on {videos}; what was asked of the others counts as not answered")
    for row in comparison.rows:
        a, b = runs[row.a], runs[row.b]
        pair = f"{row.a} and {row.b}"
        if row.mismatches:
            lines.append(f"{pair} are NOT comparable, compared on demand: {describe_mismatches(row.mismatches)}")
        apart = timed_apart([a.records.manifest, b.records.manifest])
        if apart is not None and a.records.ticks and b.records.ticks:
            lines.append(f"{pair}: no ratio of seconds, they were timed {apart}")
        idle = [run.label for run in (a, b) if run.records.ticks and works_when_asked(run.records)]
        if idle and apart is None:
            verb = "sees its" if len(idle) == 1 else "see their"
            lines.append(
                f"{pair}: no ratio of seconds, {' and '.join(idle)} {verb} frames only with the question "
                "(evalkit report has the time per question)"
            )
        settings = [run.records.manifest.fingerprint.get(_COMPRESSION) for run in (a, b)]
        if settings[0] != settings[1] and _agree(a, b):
            lines.append(
                f"{pair} differ in compression ({settings[0]} against {settings[1]}) and yet gave the same answer "
                "to every question: check that the compressor took effect"
            )
        if row.transcripts.identical:
            lines.append(f"{pair}: {row.transcripts.same}; the difference is nil and no estimate")
        elif row.paired.note:
            lines.append(f"{pair}: {row.paired.note}")
    return lines


def _agree(a: ScoredRun, b: ScoredRun) -> bool:
    common = a.answers.keys() & b.answers.keys()
    return bool(common) and all(a.answers[id_] == b.answers[id_] for id_ in common)
