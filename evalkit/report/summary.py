"""The tables of a report: scores, tasks, judging, set-up and failures, each computed from records alone."""

from __future__ import annotations

__all__ = ["failure_tables", "group_tables", "judge_table", "markdown_report", "score_tables", "setup_table"]

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalkit.records import AnswerRecord, Metric, RunRecords
from evalkit.report.by_model import Row, table_by_model
from evalkit.report.growth import growth_table
from evalkit.report.latency import latency_table, memory_table, stage_table, summarize_ticks, window_table
from evalkit.report.naming import labels_of, short_name
from evalkit.report.payload import outcome
from evalkit.report.per_question import question_stages, question_table, works_when_asked
from evalkit.report.runs import LATENCY_MARKS, Run, differing_fields, load_runs, mismatch_notice
from evalkit.report.scores import coverage_counts, group_label, is_overall, is_timing, scaled, score_name
from evalkit.report.tables import Cell, Column, Estimate, Table, to_markdown
from evalkit.report.verdicts import contests, win_rate
from evalkit.shown import shown_on_one_line

_SHOWN_FAILURES = 200


_SCORE_KINDS = ("strict", "official")
_COUNTED = {"strict": "every question counts", "official": "by the benchmark's own rule"}


def score_tables(runs: Sequence[Run]) -> list[Table]:
    """Return the overall scores in percent and, where there are any, the other overall figures with their unit.

    A row is a figure, a column a run. What the judging table has is not repeated.
    """
    shares: dict[tuple[str, ...], dict[str, Metric]] = {}
    others: dict[tuple[str, ...], dict[str, Metric]] = {}
    for run in runs:
        for metric in run.metrics:
            repeated = bool(metric.group and run.records.verdicts)
            if not is_overall(metric) or is_timing(metric) or repeated or metric.name == "coverage":
                continue
            unit = scaled(metric)[1]
            kept, key = (shares, (_named(metric, run), metric.score or "")) if unit == "%" else (
                others, (_named(metric, run) + (f" ({unit})" if unit else ""),)
            )  # fmt: skip
            kept.setdefault(key, {})[run.label] = metric
    scored = [key for kind in _SCORE_KINDS for key in shares if key[1] == kind]
    rest = [key for key in shares if key[1] not in _SCORE_KINDS]
    made = [
        table_by_model(
            "Scores with 95 % intervals",
            ("Figure", "Score") if scored else ("Figure",),
            [Row(key if scored else key[:1], shares[key]) for key in (*scored, *rest)],
            runs,
            label="scores",
        ),
        table_by_model(
            "Other figures",
            ("Figure",),
            [Row(key, found) for key, found in others.items()],
            runs,
            label="figures",
            value=Column("Value", digits=4),
        ),
    ]
    return [table for table in made if table is not None]


def _named(metric: Metric, run: Run) -> str:
    task = run.records.manifest.task
    return short_name(metric.name, task) if metric.name in labels_of(task) else score_name(metric)


def group_tables(runs: Sequence[Run]) -> list[Table]:
    """Return the scores by sub-task and group, strict and official apart; those without a question are left out.

    The groups come first, in the benchmark's order; each score has its own coverage.
    """
    merged: dict[tuple[str, str], dict[str, dict[str, Metric]]] = {}
    for run in runs:
        for metric in run.metrics:
            if metric.score and metric.group:
                side = merged.setdefault((metric.name, metric.group), {})
                side.setdefault(metric.score, {})[run.label] = metric
    asked = {
        key: sides
        for key, sides in merged.items()
        if any(metric.n for found in sides.values() for metric in found.values())
    }
    made = []
    for kind in _SCORE_KINDS:
        rows = [
            Row((group_label(next(iter(sides[kind].values())), runs[0].records.manifest.task),), sides[kind])
            for sides in asked.values()
            if any(metric.value is not None for metric in sides.get(kind, {}).values())
        ]
        caption = f"{kind.capitalize()} scores by task, {_COUNTED[kind]}, 95 % intervals"
        if kind == "official":
            caption = f"Official scores by task, {_COUNTED[kind]}"
        made.append(table_by_model(caption, ("Task",), rows, runs, label=f"tasks-{kind}"))
    return [table for table in made if table is not None]


def _share(value: float | None) -> float | None:
    return None if value is None else 100 * value


def judge_table(runs: Sequence[Run]) -> Table | None:
    """Return pairwise judging, one row per run, baseline and judge, or ``None`` where nothing was judged."""
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    for run in runs:
        for contest in () if run.unfinished else contests(run.records.verdicts, run.label):
            one, rate = contest.summary(), win_rate(contest.pairs)
            rows.append(
                (
                    f"{contest.model} vs {contest.baseline}",
                    contest.judge_label,
                    Estimate(*(None if v is None else 100 * v for v in (rate.value, rate.low, rate.high)))
                    if rate
                    else Estimate(None),
                    *(one.wins, one.ties, one.losses, one.invalid_pairs, one.skipped_pairs),
                    *(_share(value) for value in (one.win_rate_votes, one.consistency, one.first_slot_rate)),
                    one.clusters,
                )
            )
            if rate and rate.note:
                notes.append(f"{contest.model}: {rate.note}.")
            notes += [f"{contest.model}: {warning}." for warning in one.warnings]
    columns = (
        *(Column(name, text=True) for name in ("Contest", "Judge")),
        Column("Win rate", "%", digits=2, interval=True),
        *(Column(name) for name in ("Won", "Tied", "Lost", "Invalid", "One order")),
        Column("By votes", "%", digits=2),
        Column("Same winner both ways", "%", digits=1),
        Column("First slot", "%", digits=1),
        Column("Videos"),
    )
    caption = "Pairwise judging in both orders, ties one half, 95 % intervals by video"
    return Table(caption, columns, tuple(rows), tuple(notes), "judging") if rows else None


def _short(value: Any) -> str:
    if value is None or value == "" or value == {}:
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_short(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_short, value))
    return str(value)


def _judges(run: Run) -> str:
    names = dict.fromkeys(
        f"{contest.judge_label} against {contest.baseline}" for contest in contests(run.records.verdicts)
    )
    return ", ".join(names) or "–"


def setup_table(runs: Sequence[Run]) -> Table:
    """Return what ran on what, one row per fact and one column per run."""
    rows: list[tuple[Cell, ...]] = []
    for name in ("status", "started", "finished", "host", "versions", "git", "seeds", "data"):
        label = {"host": "hardware", "git": "code"}.get(name, name).capitalize()
        rows.append((label, *(_short(getattr(run.records.manifest, name)) for run in runs)))
    rows.append(("Judge", *(_judges(run) for run in runs)))
    rows.append(("Samples planned", *(_short(len(run.records.manifest.planned) or None) for run in runs)))
    rows.append(("Answers on record", *(str(len(run.records.answers)) for run in runs)))
    rows.append(("Fingerprint", *(run.records.manifest.fingerprint_digest[:16] for run in runs)))
    columns = (Column("", text=True), *(Column(run.label, text=True) for run in runs))
    return Table("Set-up", columns, tuple(rows), label="setup")


def fingerprint_table(runs: Sequence[Run]) -> Table:
    """Return the fingerprint field by field; where runs differ, the row says so."""
    differing = differing_fields(runs)
    names = sorted({name for run in runs for name in run.records.manifest.fingerprint})
    names.sort(key=lambda name: name not in differing)
    rows = tuple(
        (
            name,
            *(_short(run.records.manifest.fingerprint.get(name)) for run in runs),
            *(["differs" if name in differing else "same"] if len(runs) > 1 else []),
        )
        for name in names
    )
    more = (Column("Runs", text=True),) if len(runs) > 1 else ()
    columns = (Column("Field", text=True), *(Column(run.label, text=True) for run in runs), *more)
    return Table("Fingerprint: what must be the same for runs to compare", columns, rows, label="fingerprint")


def _reason(answer: AnswerRecord) -> str:
    if answer.status == "failed":
        return answer.error or "no reason recorded"
    return answer.unparsed or "no parsed value"


def failure_tables(runs: Sequence[Run], shown: int = _SHOWN_FAILURES) -> list[Table]:
    """Return what did not end in an answer: reasons with their counts, then the samples that failed.

    Args:
        runs: The runs.
        shown: Samples named at most; a reply that could not be read is with its question.
    """
    failed: dict[tuple[Cell, ...], None] = {}
    reasons: Counter[tuple[str, str, str]] = Counter()
    for run in runs:
        recorded: set[str] = set()
        for answer in run.records.answers:
            state = outcome(answer)
            if state in ("failed", "unparsed"):
                recorded.add(answer.sample)
                reasons[(run.label, state, _reason(answer))] += 1
            if state == "failed":
                failed[(run.label, answer.sample, _reason(answer))] = None
        for one in run.records.manifest.failed:
            if one.sample not in recorded:
                reason = f"{one.reason}: {one.error}" if one.error else one.reason
                reasons[(run.label, "failed", reason)] += 1
                failed[(run.label, one.sample, reason)] = None
    if not reasons:
        return []
    counts = tuple((*key, count) for key, count in reasons.most_common(shown))
    by_reason = tuple(Column(name, text=True) for name in ("Model", "State", "Reason"))
    by_sample = tuple(Column(name, text=True) for name in ("Model", "Sample", "Reason"))
    more = len(failed) - shown
    note = (f"The first {shown} of {len(failed)}; all are in answers.jsonl.",) if more > 0 else ()
    tables = [Table("Reasons", (*by_reason, Column("Answers")), counts, label="reasons")]
    if failed:
        tables.append(Table("Samples that failed", by_sample, tuple(failed)[:shown], note, "failures"))
    return tables


def coverage_table(runs: Sequence[Run]) -> Table:
    """Return the answers of each run by what became of them."""
    columns = (
        Column("Model", text=True),
        *(Column(name) for name in ("Answers", "Answered", "Unparsed", "Failed", "Dropped")),
        Column("Coverage", "%", digits=2),
    )
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        counts = coverage_counts(run.records.answers)
        total = sum(counts.values())
        rows.append((run.label, total, *counts.values(), 100 * counts["answered"] / total if total else None))
    return Table("Answers on record", columns, tuple(rows), label="coverage")


def latency_tables(runs: Sequence[Run], *, windows: bool = True) -> list[Table]:
    """Return latency by question and, of runs that work by the second, latency, stages, memory, real-time factors.

    A run whose model sees its frames only with the questions has no latency by second (`works_when_asked`). Runs
    whose model had several samples under way at once come last, in tables of their own: their seconds are those
    of a model under load.

    Args:
        runs: The runs.
        windows: Whether to tell the real-time factor by windows of the stream, too.
    """
    tables: list[Table] = []
    for state, mark in LATENCY_MARKS.items():
        mine = [run for run in runs if run.records.manifest.latency == state]
        asked = question_table([(run.label, run.records) for run in mine])
        stages = question_stages([(run.label, run.records) for run in mine])
        tables += [replace(one, caption=one.caption + mark) for one in (asked, stages) if one is not None]
        measured = [run for run in mine if run.records.ticks and not works_when_asked(run.records)]
        summaries = [summarize_ticks(run.label, run.records.ticks) for run in measured]
        makers = [latency_table, stage_table, memory_table, *([window_table] if windows else [])]
        made = [make(summaries) for make in makers] if summaries else []
        growth = growth_table(measured)
        made += [growth] if growth is not None else []
        tables += [replace(table, caption=table.caption + mark) for table in made]
    return tables


def notices(runs: Sequence[Run]) -> list[str]:
    """Return what a reader must know before the first number, one line each."""
    differ = mismatch_notice(runs) if len(runs) > 1 else None
    return [*([differ] if differ else []), *(line for run in runs for line in run.notices())]


def summary_tables(runs: Sequence[Run]) -> list[Table]:
    """Return every table of a report but the set-up, in reading order."""
    judged = judge_table(runs)
    return [
        *([judged] if judged else []),
        *score_tables(runs),
        *group_tables(runs),
        coverage_table(runs),
        *latency_tables(runs),
        *failure_tables(runs)[:1],
    ]


def markdown_report(runs: Iterable[Path | RunRecords]) -> str:
    """Return ``report.md`` of one or more runs, given by folder or as read: notices, then every table.

    Raises:
        UsageError: Runs of different tasks, or no run.
        DataError: A folder is not a readable run.
    """
    loaded = load_runs(runs)
    title = f"# {loaded[0].records.manifest.task}: {', '.join(run.label for run in loaded)}"
    lines = [shown_on_one_line(title), "", *(f"> {shown_on_one_line(line)}" for line in notices(loaded)), ""]
    tables = [*summary_tables(loaded), setup_table(loaded), fingerprint_table(loaded)]
    return "\n".join([*lines, *(to_markdown(table.without_gaps()) for table in tables)])
