"""Check a benchmark's files, write its made-up demo data, or take in outputs of the original code."""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.cli.main import EXIT_CHECK_FAILED, EXIT_DONE
from evalkit.cli.output import emit_json, note, say

if TYPE_CHECKING:
    from evalkit.tasks import DemoSize


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="check|demo|import")
    check = commands.add_parser("check", help="look at every row and every video")
    check.add_argument("--data", metavar="DIR|demo", help="folder of the benchmark (default data/TASK)")
    check.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
    demo = commands.add_parser("demo", help="write the made-up data set into a folder")
    demo.add_argument("--matches", type=int, default=2, metavar="N", help="how many matches (default 2)")
    demo.add_argument("--minutes", type=float, default=1.0, metavar="M", help="length of each (default 1)")
    demo.add_argument("--seed", type=int, default=None, metavar="S", help="other matches than the built-in ones")
    demo.add_argument("--out", metavar="DIR", required=True)
    taken = commands.add_parser("import", help="make a run folder of the original code's outputs, to be judged")
    taken.add_argument("file", metavar="FILE", help="such as merged_result.jsonl")
    taken.add_argument("--model", required=True, metavar="NAME", help="what the outputs are called")
    taken.add_argument("--data", metavar="DIR|demo", help="folder of the benchmark (default data/TASK)")
    taken.add_argument("--out", metavar="DIR", required=True, help="run folder to make")
    for command in (check, demo, taken):
        command.add_argument("--task", required=True)


def run(args: argparse.Namespace) -> int:
    """Check, write or take in data."""
    from evalkit.tasks.catalog import data_folder, task_named

    task = task_named(args.task)
    if args.action == "import":
        from evalkit.run.imported import import_outputs

        for problem in import_outputs(task, Path(args.file), args.model, args.data, Path(args.out)):
            note(f"{problem.kind}: {problem}")
        say(f"run folder: {args.out}")
        return EXIT_DONE
    if args.action == "demo":
        task.make_demo(Path(args.out), _demo_size(args))
        say(f"demo data of {task.name}: {args.out}")
        return EXIT_DONE
    report = task.check(data_folder(task, args.data))
    if args.json:
        emit_json(asdict(report))
    else:
        say(f"{report.task} in {report.data}: {sum(report.counts.values())} items, {report.videos} videos")
        for name, count in report.counts.items():
            say(f"  {name:<12} {count}")
        for name, value in report.facts.items():
            say(f"  {name}: {value}")
        for problem in report.problems:
            place = ":".join(str(part) for part in (problem.file, problem.line, problem.field) if part is not None)
            note(f"{problem.kind}: {place + ': ' if place else ''}{problem.message}")
        say(f"{len(report.problems)} problems")
    return EXIT_CHECK_FAILED if report.problems else EXIT_DONE


def _demo_size(args: argparse.Namespace) -> DemoSize | None:
    """Return the size that was asked for, ``None`` where nothing was: the data set that ``--data demo`` names."""
    from evalkit.errors import UsageError
    from evalkit.tasks import DemoSize

    if not math.isfinite(args.minutes):
        raise UsageError(f"--minutes wants a number of minutes, not {args.minutes}")
    size = DemoSize(args.matches, round(60 * args.minutes), args.seed or 0)
    return None if args.seed is None and size == DemoSize() else size
