"""Run a model on a task and leave a run folder whose records every number can be traced to."""

from __future__ import annotations

__all__ = [
    "add_options",
    "configure",
    "given_options",
    "latency_report",
    "options_of",
    "print_dry_run",
    "run",
    "terminal_report",
]

import argparse
import typing
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.cli.main import EXIT_DONE, EXIT_FAILED_SAMPLES, EXIT_INTERRUPTED
from evalkit.cli.output import emit_json, kept_for_json, note, say
from evalkit.errors import UsageError
from evalkit.run.options import RunOptions, merge_options, parse_assignment, read_config, recorded_options

if TYPE_CHECKING:
    from evalkit.run.plan import RunPlan


def configure(parser: argparse.ArgumentParser) -> None:
    """Add one option per field of `RunOptions`."""
    add_options(parser)


def add_options(parser: argparse.ArgumentParser, without: Container[str] = ()) -> None:
    """Add the options of a run.

    Args:
        parser: Of the command.
        without: Fields of `RunOptions` that it has no option for.
    """
    for name, field in RunOptions.model_fields.items():
        if name == "settings" or name in without:
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
    """Return what is asked for: the command line over the TOML file, over the options of a run to go on with."""
    given = given_options(args)
    begun = recorded_options(Path(args.out)) if args.resume and args.out else {}
    if args.resume and not begun and not any("task" in layer for layer in given):
        raise UsageError(
            f"{args.out} holds no run to go on with"
            if args.out
            else "--resume wants --out RUN, the unfinished run, or the options it was begun with"
        )
    return merge_options([begun, *given])


def given_options(args: argparse.Namespace, without: Container[str] = ()) -> list[Mapping[str, Any]]:
    """Return the options of the TOML file and, to be laid over them, those of the command line.

    Args:
        args: Of a parser that `add_options` was called with.
        without: The same as there.
    """
    names = [name for name in RunOptions.model_fields if name != "settings" and name not in without]
    given: dict[str, Any] = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if "sample" in given:
        given["sample"] = tuple(given["sample"])
    base = read_config(Path(args.config), names) if args.config else {}
    return [base, given, {"settings": dict(parse_assignment(text) for text in args.set)}]


def run(args: argparse.Namespace) -> int:
    """Run, or with ``--dry-run`` only say what would run."""
    from evalkit.run.several import is_several, single_runs
    from evalkit.run.start import prepare, start

    options = options_of(args)
    if is_several(options):
        return _run_several(single_runs(options), as_json=args.json)
    with kept_for_json(args.json):
        plan = prepare(options)
    if plan.options.dry_run:
        return print_dry_run(plan, as_json=args.json)
    with kept_for_json(args.json):
        result = start(plan, note)
    path = result.folder.path
    if result.interrupted:
        note(f"interrupted: go on with evalkit run --resume --out {path}")
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


def _run_several(runs: Sequence[RunOptions], *, as_json: bool) -> int:
    """Run one after the other; each is checked before the first begins."""
    from evalkit.run.start import prepare, start

    with kept_for_json(as_json):
        plans = [prepare(options) for options in runs]
    if plans[0].options.dry_run:
        for plan in plans:
            note(f"would run {plan.options.out}")
        return print_dry_run(plans[0], as_json=as_json)
    failed = 0
    for number, plan in enumerate(plans, start=1):
        note(f"run {number} of {len(plans)}: {plan.options.out}")
        with kept_for_json(as_json):
            result = start(plan, note)
        if result.interrupted:
            note("interrupted: go on with the same options and --resume")
            return EXIT_INTERRUPTED
        failed += len(result.folder.read_manifest().failed)
    paths = [Path(options.out or "") for options in runs]
    parents = list(dict.fromkeys(str(path.parent) for path in paths))
    if as_json:
        emit_json({"folders": parents, "runs": [str(path) for path in paths], "failed": failed})
    else:
        say(terminal_report(paths))
        say(f"folder{'s' if len(parents) > 1 else ''} of runs: {', '.join(parents)}")
    if failed:
        note(f"{failed} samples failed; reasons are in the run.json of each run")
    return EXIT_FAILED_SAMPLES if failed else EXIT_DONE


def latency_report(paths: Sequence[Path]) -> str:
    """Return latency, stages and memory of runs, as text."""
    from evalkit.report.runs import load_runs
    from evalkit.report.summary import latency_tables
    from evalkit.report.tables import to_text

    return "\n".join(to_text(table) for table in latency_tables(load_runs(paths), windows=False))


def terminal_report(paths: Sequence[Path]) -> str:
    """Return the tables that matter at the end of a run, as text."""
    from evalkit.report.runs import load_runs
    from evalkit.report.summary import coverage_table, judge_table, latency_tables, notices, score_tables
    from evalkit.report.tables import to_text
    from evalkit.report.usage import usage_line, usage_of

    runs = load_runs(paths)
    judged = judge_table(runs)
    scored = score_tables(runs) if any(a.kind != "narration" for run in runs for a in run.records.answers) else []
    tables = [*scored, *([judged] if judged else []), coverage_table(runs), *latency_tables(runs, windows=False)]
    usages = [usage for run in runs if (usage := usage_of(run.records.answers)) is not None]
    lines = [f"{usage_line(usage)}\n" for usage in usages]
    return "\n".join([*notices(runs), *(to_text(table) for table in tables), *lines])


def print_dry_run(plan: RunPlan, *, as_json: bool) -> int:
    """Print what would run; see `evalkit.run.start.dry_run`."""
    from evalkit.run.start import dry_run

    facts = dry_run(plan)
    unreadable = facts.pop("unreadable")
    if as_json:
        emit_json(facts)
    else:
        width = max(map(len, facts))
        for name, value in facts.items():
            if name not in ("fingerprint", "problems"):
                say(f"{name:<{width}}  {value}")
        for line in facts["problems"]:
            note(f"warning: {line}")
    return EXIT_FAILED_SAMPLES if unreadable else EXIT_DONE
