"""Score prediction files people already have, or a run folder: by the official rule and strictly."""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.cli.main import EXIT_DONE
from evalkit.cli.output import emit_json, note, say
from evalkit.errors import UsageError, suggest

if TYPE_CHECKING:
    from evalkit.tasks import ScoreSheet


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="prediction files or folders, or a run folder")
    parser.add_argument("--task", required=True, help="benchmark (evalkit list tasks)")
    parser.add_argument("--format", default="official", help="layout and rule (default official)")
    parser.add_argument("--data", metavar="DIR|demo", help="the benchmark's files, where the layout needs them")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    from evalkit.run.plan import data_folder, task_named
    from evalkit.tasks.scoring import sheet_to_json

    task = task_named(args.task)
    if task.formats and args.format not in task.formats:
        known = ", ".join(task.formats)
        hint = suggest(args.format, task.formats)
        raise UsageError(f"task {task.name} has no format {args.format!r}{hint} (known: {known})")
    paths = [Path(path) for path in args.paths]
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path} does not exist")
    data = data_folder(task, args.data) if args.data else None
    predictions, problems = task.read_predictions(args.format, paths, data)
    sheet = task.score(predictions, args.format)
    values = sheet_to_json(sheet)
    found = [_as_json(problem) for problem in problems]
    values["problems"] = found + [problem for problem in values["problems"] if problem not in found]
    if args.json:
        emit_json(values)
    else:
        say(sheet_text(sheet))
        for problem in values["problems"]:
            note(f"{problem['kind']}: {problem['message']}")
    return EXIT_DONE


def _as_json(problem: object) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(problem)  # type: ignore[call-overload,no-any-return]


def sheet_text(sheet: ScoreSheet) -> str:
    """Return a score sheet as a table for people, both scores side by side."""
    from evalkit.report.tables import Column, Table, to_text

    rows = [(name, sheet.source.tasks[name], sheet.strict.tasks.get(name)) for name in sheet.source.tasks]
    rows += [(name, sheet.source.groups[name], sheet.strict.groups.get(name)) for name in sheet.source.groups]
    rows.append(("total", sheet.source.total, sheet.strict.total))
    columns = (
        Column("", text=True),
        Column("Official", "%", digits=2),
        Column("Strict", "%", digits=2),
    )
    notes = (
        f"{sheet.answered} of {sheet.n} questions answered (coverage {100 * sheet.coverage:.2f} %).",
        "Official: the benchmark's own rule and denominator. Strict: unparsed, failed and missing are wrong.",
    )
    return to_text(Table(f"{sheet.task}, format {sheet.format}", columns, tuple(rows), notes, "scores"))
