"""Fetch a benchmark's files, verify or check them, write made-up ones, or take in outputs of other code."""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.cli.main import EXIT_CHECK_FAILED, EXIT_DONE
from evalkit.cli.output import emit_json, note, say
from evalkit.shown import videos_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evalkit.fetch.fetch import FetchReport
    from evalkit.tasks import DemoSize, Problem, Task


_JSON = "print one JSON object and nothing else on stdout"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="fetch|verify|check|demo|import|export")
    _add_fetch(commands.add_parser("fetch", help="bring a benchmark's published files here"))
    verify = commands.add_parser("verify", help="read every file: digests, a second of every video, rows")
    verify.add_argument("task", metavar="TASK", help="a task of `evalkit list tasks`")
    verify.add_argument("--data", metavar="DIR", help="folder of the benchmark (default data/TASK)")
    verify.add_argument("--anew", action="store_true", help="read files again that have not changed since")
    check = commands.add_parser("check", help="look at every row and every video")
    check.add_argument("--data", metavar="DIR|demo", help="folder of the benchmark (default data/TASK)")
    demo = commands.add_parser("demo", help="write the made-up data set into a folder")
    demo.add_argument("--matches", type=int, default=2, metavar="N", help="how many matches (default 2)")
    demo.add_argument("--minutes", type=float, default=1.0, metavar="M", help="length of each (default 1)")
    demo.add_argument("--seed", type=int, default=None, metavar="S", help="other matches than the built-in ones")
    demo.add_argument("--out", metavar="DIR", required=True, help="folder to fill")
    taken = commands.add_parser("import", help="make a run folder of the original code's outputs, to be judged")
    taken.add_argument("file", metavar="FILE", nargs="+", help="such as merged_result.jsonl")
    taken.add_argument("--model", required=True, metavar="NAME", help="what the outputs are called")
    taken.add_argument("--data", metavar="DIR|demo", help="folder of the benchmark (default data/TASK)")
    taken.add_argument("--out", metavar="DIR", required=True, help="run folder to make")
    export = commands.add_parser("export", help="write a run for a hub (parquet) or a tracker (scalars)")
    export.add_argument("run", metavar="RUN", help="run folder")
    export.add_argument(
        "--format", choices=("parquet", "scalars", "tensorboard"), default="parquet", help="default parquet"
    )
    export.add_argument(
        "--out", metavar="DIR|FILE", required=True, help="folder, or a .json or .csv file of scalars"
    )
    for command in (check, demo):
        command.add_argument("named", nargs="?", metavar="TASK", help="a task of `evalkit list tasks`")
        command.add_argument("--task", metavar="TASK", help="the same")
    taken.add_argument("--task", metavar="TASK", required=True, help="a task of `evalkit list tasks`")
    for command in (check, verify):
        command.add_argument(
            "--json", action="store_true", help="print one JSON object and nothing else on stdout"
        )


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", help="a task of `evalkit list tasks`")
    parser.add_argument("--out", metavar="DIR", help="folder to fill (default data/TASK)")
    parser.add_argument("--revision", metavar="R", help="commit, tag or branch of the hub data set")
    parser.add_argument("--limit", type=_count, metavar="N", help="what the first N samples need")
    parser.add_argument("--sample", action="append", default=[], metavar="ID", help="what this one needs")
    parser.add_argument("--keep-archives", action="store_true", help="keep archives that are unpacked")
    parser.add_argument(
        "--web", action="store_true", help="ask yt-dlp for videos that the data set does not have (extra [data])"
    )
    parser.add_argument("--cookies", metavar="FILE", help="cookies for yt-dlp")
    parser.add_argument("--dry-run", action="store_true", help="print files and sizes, and stop")
    parser.add_argument("--json", action="store_true", help=_JSON)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count of 1 or more")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Fetch, verify, check, write or take in data."""
    from evalkit.errors import UsageError
    from evalkit.tasks.catalog import task_named

    if args.action == "export":
        return _export(args)
    named = getattr(args, "named", None)
    if (named is None) == (args.task is None):
        raise UsageError(f"evalkit data {args.action} wants one TASK; `evalkit list tasks` names them")
    task = task_named(named or args.task)
    return {"fetch": _fetch, "verify": _verify, "check": _check, "demo": _demo, "import": _import}[args.action](
        args, task
    )


def _fetch(args: argparse.Namespace, task: Task) -> int:
    """Fetch what the chosen samples need.

    Returns:
        0 where every video is there, 1 where some could not be had.
    """
    from evalkit.fetch.fetch import FetchRequest, fetch
    from evalkit.fetch.web import WebRequest

    out = Path(args.out or Path("data") / task.name)
    web = WebRequest(cookies=args.cookies) if args.web else None
    request = FetchRequest(
        task, out, args.revision, args.limit, tuple(args.sample), args.keep_archives, args.dry_run, web
    )
    report = fetch(request)
    if args.json:
        emit_json(asdict(report) | {"folder": str(out)})
    else:
        for line in _fetched_lines(report, out, dry_run=args.dry_run):
            say(line)
    for text in report.notes:
        note(f"note: {text}")
    return EXIT_CHECK_FAILED if report.absent else EXIT_DONE


def _fetched_lines(report: FetchReport, out: Path, *, dry_run: bool) -> Iterable[str]:
    if dry_run:
        for name, size in report.files:
            yield f"{size / 1e6:12.1f} MB  {name}" if size else f"{'?':>12}     {name}"
    known = sum(size for _, size in report.files)
    verb = "would come" if dry_run else "came"
    yield f"{report.repo} at {report.revision[:12]}: {len(report.files)} files {verb}, {known / 1e6:.1f} MB"
    if not dry_run:
        there = report.videos - len(report.absent)
        yield f"{out}: {there} of {report.videos} videos"
        for name, why in report.absent.items():
            note(f"absent: {name}: {why}")


def _verify(args: argparse.Namespace, task: Task) -> int:
    """Read every file that changed since it was read last.

    Returns:
        0 where all is right, 1 where something is wrong.
    """
    from evalkit.fetch.verify import verify
    from evalkit.tasks.catalog import data_folder

    report = verify(task, data_folder(task, args.data), anew=args.anew)
    problems = [*report.problems, *report.rows]
    if args.json:
        emit_json(asdict(report) | {"folder": str(report.folder)})
    else:
        say(f"{task.name} in {report.folder}: {report.files} files, {report.looked_at} of them read now")
        if report.needed:
            there = report.needed - len(report.absent)
            say(f"{there} of {report.needed} videos")
        for name, why in report.absent.items():
            note(f"absent: {name}: {why}")
        _say_problems(problems)
    return EXIT_CHECK_FAILED if problems else EXIT_DONE


def _say_problems(problems: list[Problem]) -> None:
    for problem in problems:
        note(f"{problem.kind}: {problem.where + ': ' if problem.where else ''}{problem.message}")
    say(f"{len(problems)} problems")


def _check(args: argparse.Namespace, task: Task) -> int:
    from evalkit.tasks.catalog import data_folder

    report = task.check(data_folder(task, args.data))
    if args.json:
        emit_json(asdict(report))
    else:
        say(f"{report.task} in {report.data}: {sum(report.counts.values())} items, {videos_of(report.videos)}")
        for name, count in report.counts.items():
            say(f"  {name:<12} {count}")
        for name, value in report.facts.items():
            say(f"  {name}: {value}")
        _say_problems(list(report.problems))
    return EXIT_CHECK_FAILED if report.problems else EXIT_DONE


def _export(args: argparse.Namespace) -> int:
    from evalkit.records.share import write_parquet, write_scalars, write_tensorboard
    from evalkit.records.tables import RunTables

    run = RunTables(args.run)
    if args.format == "scalars":
        say(f"{write_scalars(run, Path(args.out))}")
    elif args.format == "tensorboard":
        say(f"{write_tensorboard(run, Path(args.out))}")
    else:
        for path in write_parquet(run, Path(args.out)):
            say(f"{path}")
    return EXIT_DONE


def _demo(args: argparse.Namespace, task: Task) -> int:
    task.make_demo(Path(args.out), _demo_size(args))
    say(f"demo data of {task.name}: {args.out}")
    return EXIT_DONE


def _import(args: argparse.Namespace, task: Task) -> int:
    from evalkit.run.imported import import_outputs

    for problem in import_outputs(task, [Path(file) for file in args.file], args.model, args.data, Path(args.out)):
        note(f"{problem.kind}: {problem}")
    say(f"run folder: {args.out}")
    return EXIT_DONE


def _demo_size(args: argparse.Namespace) -> DemoSize | None:
    """Return the size that was asked for, ``None`` where nothing was: the data set that ``--data demo`` names."""
    from evalkit.errors import UsageError
    from evalkit.tasks import DemoSize

    if not math.isfinite(args.minutes):
        raise UsageError(f"--minutes wants a number of minutes, not {args.minutes}")
    size = DemoSize(args.matches, round(60 * args.minutes), args.seed or 0)
    return None if args.seed is None and size == DemoSize() else size
