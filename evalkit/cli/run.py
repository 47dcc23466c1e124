"""Run a model on a task and leave a run folder whose records every number can be traced to."""

from __future__ import annotations

__all__ = ["configure", "latency_report", "options_of", "run", "terminal_report"]

import argparse
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.cli.main import EXIT_DONE, EXIT_FAILED_SAMPLES, EXIT_INTERRUPTED
from evalkit.cli.output import emit_json, note, say
from evalkit.errors import NothingCountedError
from evalkit.run.options import RunOptions, merge_options, parse_assignment, read_config

if TYPE_CHECKING:
    from evalkit.judge import JudgeSummary


def configure(parser: argparse.ArgumentParser) -> None:
    """Add one option per field of `RunOptions`."""
    for name, field in RunOptions.model_fields.items():
        if name == "settings":
            continue
        flag = "--" + name.replace("_", "-")
        text = (field.description or "").replace("%", "%%")
        kind = field.annotation
        if kind is bool:
            parser.add_argument(flag, action="store_true", default=None, help=text)
        elif typing.get_origin(kind) is tuple:
            parser.add_argument(flag, action="append", metavar=name.upper(), default=None, help=text)
        else:
            default = "" if field.default is None or field.is_required() else f" (default {field.default})"
            parser.add_argument(flag, metavar=name.upper(), default=None, help=text + default)
    text = RunOptions.model_fields["settings"].description or ""
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", default=[], help=text)
    parser.add_argument(
        "--config",
        metavar="FILE.toml",
        help="options and [memory], [generation], [task] tables; the task's name is `name` in [task]",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")


def options_of(args: argparse.Namespace) -> RunOptions:
    """Return the options of parsed arguments, the command line over the TOML file."""
    names = [name for name in RunOptions.model_fields if name != "settings"]
    given: dict[str, Any] = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if "sample" in given:
        given["sample"] = tuple(given["sample"])
    settings = dict(parse_assignment(text) for text in args.set)
    base = read_config(Path(args.config), names) if args.config else {}
    return merge_options([base, given, {"settings": settings}])


def run(args: argparse.Namespace) -> int:
    """Run, or with ``--dry-run`` only say what would run."""
    from evalkit.run.plan import make_plan

    options = options_of(args)
    if options.judge or options.against:
        _check_judge(options)
    plan = make_plan(options)
    if options.against:
        from evalkit.run.fingerprint import setting_fingerprint
        from evalkit.run.judging import check_setting

        check_setting(setting_fingerprint(plan), Path(options.against))
    if options.dry_run:
        return _dry_run(plan, as_json=args.json)
    from evalkit.run.runner import execute

    for problem in plan.data.problems:
        note(f"warning: {problem}")
    result = execute(plan, note, done=lambda path: _judge_and_report(options, path))
    path = result.folder.path
    if result.interrupted:
        note(f"interrupted: go on with the same options and --resume --out {path}")
        return EXIT_INTERRUPTED
    manifest, metrics = result.folder.read_manifest(), result.folder.read_metrics()
    failed = len(manifest.failed)
    if args.json:
        emit_json(
            {
                "folder": str(path),
                "status": manifest.status,
                "samples": len(manifest.planned),
                "failed": [failure.model_dump() for failure in manifest.failed],
                "fingerprint": manifest.fingerprint_digest,
                "metrics": [] if metrics is None else [m.model_dump() for m in metrics.metrics],
            }
        )
    else:
        say(terminal_report([path]))
        say(f"run folder: {path}")
    if failed:
        note(f"{failed} of {len(manifest.planned)} samples failed; reasons are in {path / 'run.json'}")
    return EXIT_FAILED_SAMPLES if failed else EXIT_DONE


def latency_report(paths: Sequence[Path]) -> str:
    """Return latency, stages and memory of runs, as text."""
    from evalkit.report.runs import load_runs
    from evalkit.report.summary import latency_tables
    from evalkit.report.tables import to_text

    return "\n".join(to_text(table) for table in latency_tables(load_runs(paths))[:3])


def terminal_report(paths: Sequence[Path]) -> str:
    """Return the tables that matter at the end of a run, as text."""
    from evalkit.report.runs import load_runs
    from evalkit.report.summary import coverage_table, judge_table, latency_tables, notices, score_tables
    from evalkit.report.tables import to_text

    runs = load_runs(paths)
    judged = judge_table(runs)
    scored = score_tables(runs) if any(a.kind != "narration" for run in runs for a in run.records.answers) else []
    tables = [*scored, *([judged] if judged else []), coverage_table(runs), *latency_tables(runs)[:3]]
    return "\n".join([*notices(runs), *(to_text(table) for table in tables)])


def _check_judge(options: RunOptions) -> None:
    """Refuse a judge that could not judge, before anything is generated."""
    from evalkit.cli.judge import check_against, judge_endpoint
    from evalkit.errors import UsageError
    from evalkit.judge import make_judge
    from evalkit.tasks import NarrationTask
    from evalkit.tasks.catalog import task_named

    if not options.judge or not options.against:
        raise UsageError("--judge and --against go together: who judges, and against whom")
    if not isinstance(task_named(options.task), NarrationTask):
        raise UsageError(f"task {options.task} is scored, not judged: leave --judge and --against out")
    check_against(Path(options.against))
    make_judge(options.judge, judge_endpoint(options.judge_base_url or options.base_url))


def _judge_and_report(options: RunOptions, path: Path) -> None:
    from evalkit.run.finish import finish_run

    judged: list[JudgeSummary] = []
    try:
        if options.judge:
            judged.append(_judge(options, path))
    except NothingCountedError as finding:
        note(f"NOTICE: not judged: {finding}")
    finally:  # a judge that cannot go on takes nothing from what was generated
        finish_run(path, judged)


def _judge(options: RunOptions, path: Path) -> JudgeSummary:
    from evalkit.cli.judge import judge_endpoint
    from evalkit.run.judging import JudgeRequest, judge_run

    against, judge = Path(options.against or ""), options.judge or ""
    endpoint = judge_endpoint(options.judge_base_url or options.base_url)
    return judge_run(JudgeRequest(path, against, judge, endpoint), note)


def _existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists: where it is going to lie."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())


def _dry_run(plan: Any, *, as_json: bool) -> int:
    import shutil

    from evalkit.run.check import check_out
    from evalkit.run.fingerprint import model_fingerprint, setting_fingerprint
    from evalkit.run.media import check_media

    if plan.options.out:
        check_out(Path(plan.options.out), resume=plan.options.resume)
    plan.model.check()
    problems = check_media(plan.samples)
    questions = sum(len(sample.queries) for sample in plan.samples)
    free = shutil.disk_usage(_existing(Path(plan.options.out or "runs"))).free / 2**30
    facts = {
        "task": plan.task.name,
        "model": plan.model.name,
        **plan.model.facts(),
        "data": str(plan.data_path),
        "samples": len(plan.samples),
        "questions": questions,
        "stream_seconds": plan.stream_seconds,
        "record_mib": round(plan.stream_seconds * 1.6e-3, 1),
        "free_disk_gib": round(free, 1),
        "fingerprint": setting_fingerprint(plan) | model_fingerprint(plan),
        "problems": [str(problem) for problem in plan.data.problems] + problems,
    }
    if as_json:
        emit_json(facts)
    else:
        width = max(map(len, facts))
        for name, value in facts.items():
            if name not in ("fingerprint", "problems"):
                say(f"{name:<{width}}  {value}")
        for line in facts["problems"]:
            note(f"warning: {line}")
    return EXIT_FAILED_SAMPLES if problems else EXIT_DONE
