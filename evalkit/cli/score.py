"""Score prediction files people already have, or a run folder: by the official rule and strictly."""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.cli.judge import add_chat_options, chat_settings
from evalkit.cli.main import EXIT_DONE, EXIT_USAGE
from evalkit.cli.output import emit_json, note, say
from evalkit.errors import DataError, UsageError, suggest
from evalkit.shown import videos_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evalkit import stats
    from evalkit.judge.fallback import FallbackReader
    from evalkit.leaderboard.answers import ScoredRun
    from evalkit.records import Metric
    from evalkit.tasks import Prediction, Problem, ScoreSheet

_SHOWN = 10
"""Problems of one kind that are written out for people."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="prediction files or folders, or a run folder")
    parser.add_argument("--task", help="benchmark (evalkit list tasks); a run folder says its own")
    parser.add_argument("--format", help="layout and rule (default official; evalkit for a run folder)")
    parser.add_argument("--data", metavar="DIR|demo", help="the benchmark's files, where the layout needs them")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    parser.add_argument(
        "--fallback",
        metavar="openai:MODEL",
        help="let a chat model read what the strict parser cannot; strict score only, its share is printed",
    )
    add_chat_options(parser)


def run(args: argparse.Namespace) -> int:
    """Score and print.

    Returns:
        0 done, 2 where records of a run are gone: they count as wrong.
    """
    from dataclasses import asdict

    from evalkit.records import run_folders
    from evalkit.tasks.catalog import data_folder, task_named
    from evalkit.tasks.replies import GONE
    from evalkit.tasks.scoring import sheet_to_json

    paths = [Path(path) for path in args.paths]
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist")
    if (runs := run_folders(paths)) != paths:
        return _score_repeats(paths, runs, args)
    name, layout = _task_and_format(args.task, args.format, paths)
    task = task_named(name)
    if task.formats and layout == "evalkit" and layout not in task.formats and hasattr(task, "pair_up"):
        raise UsageError(
            f"a run of {task.name} is judged, not scored: evalkit judge {paths[0]} --against RUN|FILE --judge "
            "openai:MODEL"
        )
    if task.formats and layout not in task.formats:
        known = ", ".join(task.formats)
        hint = suggest(layout, task.formats)
        raise UsageError(f"task {task.name} has no format {layout!r}{hint} (known: {known})")
    reader = _fallback_reader(args)
    data = data_folder(task, args.data) if args.data else None
    try:
        predictions, problems = task.read_predictions(layout, paths, data)
        _require_rows(paths, layout, predictions, problems)
    except DataError as error:
        others = [one for one in task.formats if one not in (layout, "evalkit")]
        if args.format or layout == "evalkit" or not others:
            raise
        known = " or ".join(f"--format {one}" for one in others)
        raise DataError(f"{error}; read as {layout}, since no --format is named ({known}?)") from error
    if reader is None:
        sheet = task.score(predictions, layout)
    else:
        from evalkit.judge.fallback import fallback_path, score_with_fallback

        sheet = score_with_fallback(task, predictions, layout, reader, fallback_path(paths[0]), note)
    values = sheet_to_json(sheet) | {"intervals": _intervals_to_json(intervals := _intervals(sheet))}
    every = [*problems, *(problem for problem in sheet.problems if problem not in problems)]
    values["problems"] = [asdict(problem) for problem in every]
    if args.json:
        emit_json(values)
    else:
        say(sheet_text(sheet, intervals))
        for line in problem_lines(every):
            note(line)
    return EXIT_USAGE if any(problem.kind == GONE for problem in every) else EXIT_DONE


def _require_rows(
    paths: list[Path], layout: str, predictions: Sequence[Prediction], problems: Sequence[Problem]
) -> None:
    """Refuse files of which nothing could be used: no score stands for them, not even an empty one.

    Raises:
        DataError: No prediction is of the files.
    """
    from evalkit.tasks.scoring import absent

    if layout == "evalkit" or not all(absent(one) for one in predictions):
        return
    names = ", ".join(str(path) for path in paths)
    first = next((str(one) for one in problems if one.kind not in ("other-version", "absent")), "")
    shown = f" (first: {first})" if first else ""
    raise DataError(f"{names}: no reply that can be read as {layout}{shown}", path=paths[0])


def _score_repeats(paths: list[Path], runs: list[Path], args: argparse.Namespace) -> int:
    """Score a folder of runs of one model by their mean, and print how far the runs lie apart."""
    from dataclasses import asdict

    from evalkit.leaderboard.repeats import repeated_score
    from evalkit.records import read_run

    if len(paths) > 1:
        raise UsageError("score one folder of runs at a time; evalkit compare puts several side by side")
    if args.fallback or args.format not in (None, "evalkit"):
        raise UsageError(f"{paths[0]} holds {len(runs)} runs: --fallback and --format are for single ones")
    records = [read_run(path, ticks=False) for path in runs]
    if args.task not in (None, records[0].manifest.task):
        raise UsageError(f"{paths[0]} holds runs of {records[0].manifest.task}, not of {args.task}")
    mean, estimate = repeated_score(records, str(paths[0]))
    if args.json:
        share = {
            key: None if (value := getattr(estimate, key)) is None else 100 * value
            for key in ("value", "low", "high")
        }
        made = {"method": estimate.method, "note": estimate.note, "n": estimate.n, "clusters": estimate.clusters}
        apart = None if mean.repeats is None else asdict(mean.repeats)
        folders = [str(path) for path in runs]
        emit_json(
            {
                "task": records[0].manifest.task,
                "metric": mean.metric,
                "runs": folders,
                "mean": share | made,
                "repeats": apart,
            }
        )
    else:
        say(repeats_text(records[0].manifest.task, [path.name for path in runs], mean, estimate))
    return EXIT_DONE


def repeats_text(task: str, names: list[str], mean: ScoredRun, estimate: stats.Estimate) -> str:
    """Return the scores of several runs and their mean as a table for people."""
    from evalkit.report.tables import Column, Estimate, Table, to_text

    rows: list[tuple[str, Estimate]] = []
    if mean.repeats is not None:
        rows = [(name, Estimate(100 * value)) for name, value in zip(names, mean.repeats.values, strict=True)]
    ends = (None if end is None else 100 * end for end in (estimate.low, estimate.high))
    rows.append(("mean", Estimate(100 * estimate.value, *ends)))
    notes = [
        f"{estimate.n} {mean.unit} on {videos_of(estimate.clusters)}, averaged over the runs per question first.",
        "Interval: 95 %, over videos. What runs differ by stands apart:",
        *([f"{mean.repeats.sentence()}."] if mean.repeats is not None else []),
        *([f"{estimate.note}."] if estimate.note else []),
        *mean.notes,
    ]
    columns = (Column("", text=True), Column(mean.metric, "%", digits=2, interval=True))
    return to_text(Table(f"{task}, {len(names)} runs", columns, tuple(rows), tuple(notes), "scores"))


def _task_and_format(task: str | None, layout: str | None, paths: list[Path]) -> tuple[str, str]:
    """Return the benchmark and the layout of what is to be scored: run folders say both themselves.

    Raises:
        UsageError: The task is not named and no run says it, or runs are of several tasks, or of another one.
        DataError: A run folder cannot be read.
    """
    from evalkit.records import RunFolder

    runs = [path for path in paths if (path / "run.json").is_file()]
    if layout is None:
        layout = "evalkit" if runs else "official"
    said = {RunFolder(path).read_manifest().task: path for path in runs}
    if task is None and len(said) == 1:
        return next(iter(said)), layout
    if len(said) > 1:
        raise UsageError(f"these runs are of several tasks: {', '.join(f'{said[one]} of {one}' for one in said)}")
    if task is None:
        raise UsageError(f"{paths[0]} is no run folder, so name its benchmark with --task")
    if said and task not in said:
        raise UsageError(f"{runs[0]} is a run of {next(iter(said))}, not of {task}: leave --task out")
    return task, layout


def _fallback_reader(args: argparse.Namespace) -> FallbackReader | None:
    """Return who reads what the strict parser cannot, if anyone does.

    Raises:
        UsageError: It could not be asked, or its server is named and it is not.
    """
    if not args.fallback:
        if args.base_url:
            raise UsageError("--base-url is the server of a --fallback openai:MODEL: name that too")
        return None
    from evalkit.judge.fallback import make_fallback_reader
    from evalkit.run.judging import judge_endpoint

    return make_fallback_reader(args.fallback, judge_endpoint(args.base_url), chat_settings(args))


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """Return problems as lines for people, with where each is; of one kind the first few, and how many more."""
    by_kind: dict[str, list[Problem]] = {}
    for problem in problems:
        by_kind.setdefault(problem.kind, []).append(problem)
    lines = []
    for kind, found in by_kind.items():
        lines += [f"{kind}: {one.where + ': ' if one.where else ''}{one.message}" for one in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"{kind}: and {len(found) - _SHOWN:,} more; --json lists all")
    return lines


def _intervals(sheet: ScoreSheet) -> dict[tuple[str, str], Metric]:
    """Return the strict scores with their intervals, by group of rows (``tasks``, ``groups``, none) and name."""
    from evalkit.tasks.metrics import sheet_metrics

    return {(row.group, row.name): row for row in sheet_metrics(sheet) if row.score == "strict"}


def _intervals_to_json(intervals: Mapping[tuple[str, str], Metric]) -> dict[str, object]:
    """Return ``{"total": {...}, "groups": {...}, "tasks": {...}}`` of the strict scores, percentages 0-100."""
    found: dict[str, dict[str, object]] = {"tasks": {}, "groups": {}, "": {}}
    for (group, name), row in intervals.items():
        found[group][name] = {
            key: getattr(row, key) for key in ("value", "low", "high", "method", "note", "n", "clusters")
        }
    return {"total": found[""].get("total"), "groups": found["groups"], "tasks": found["tasks"]}


def sheet_text(sheet: ScoreSheet, intervals: Mapping[tuple[str, str], Metric]) -> str:
    """Return a score sheet as a table for people, both scores side by side, strict ones with their intervals."""
    from evalkit.report.tables import Column, Estimate, Table, to_text

    def strict(group: str, name: str, value: float | None) -> Estimate:
        row = intervals.get((group, name))
        return Estimate(value) if row is None else Estimate(value, row.low, row.high)

    rows = [
        (name, sheet.source.tasks[name], strict("tasks", name, sheet.strict.tasks.get(name)))
        for name in sheet.source.tasks
    ]
    rows += [
        (name, sheet.source.groups[name], strict("groups", name, sheet.strict.groups.get(name)))
        for name in sheet.source.groups
    ]
    rows.append(("total", sheet.source.total, strict("", "total", sheet.strict.total)))
    columns = (
        Column("", text=True),
        Column("Official", "%", digits=2),
        Column("Strict", "%", digits=2, interval=True),
    )
    total = intervals.get(("", "total"))
    notes = [
        f"{sheet.answered} of {sheet.n} questions answered (coverage {100 * sheet.coverage:.2f} %).",
        "Official: the benchmark's own rule and denominator. Strict: unparsed, failed and missing are wrong.",
        "Intervals: 95 %, questions of one video taken together; none where the data cannot carry one.",
        *([f"Total: {total.note}."] if total is not None and total.note else []),
        *_timing_notes(sheet),
        *_fallback_notes(sheet),
    ]
    return to_text(Table(f"{sheet.task}, format {sheet.format}", columns, tuple(rows), tuple(notes), "scores"))


def _timing_notes(sheet: ScoreSheet) -> list[str]:
    """Say of a benchmark of timing what its utterances amount to, by sub-task."""
    lines = []
    for task, found in sheet.facts.get("timing", {}).items():
        lines.append(
            f"{task}: {found['hits']} of {found['golds']} gold times answered, {found['utterances']} utterances; "
            f"{found['false_alarms']} false alarms ({found['early']} early, {found['late']} late), "
            f"{found['false_alarms_per_hour']:.1f} an hour."
        )
    return lines


def _fallback_notes(sheet: ScoreSheet) -> list[str]:
    """Say how much of the strict score rests on a judge's reading, and what that has cost."""
    facts = sheet.facts.get("fallback")
    if facts is None:
        return []
    usage, total = facts["usage"], facts["total_without"]
    cost = "" if usage["cost"] is None else f", cost {usage['cost']:.4f}"
    without = "none" if total is None else f"{total:.2f} %"
    return [
        f"Fallback: {facts['read']} questions ({100 * facts['share']:.2f} % of all) count as answered because a "
        f"judge read the reply; {facts['asked']} were put to it. Strict total without it: {without}.",
        f"Fallback judge: {facts['judge']}; {usage['calls']} calls, {usage['prompt_tokens']} + "
        f"{usage['completion_tokens']} tokens{cost}; {usage['reused']} readings reused.",
    ]
