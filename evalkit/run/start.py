"""A run from its options to its reported folder: what the command line and a call in Python both do."""

from __future__ import annotations

__all__ = ["dry_run", "prepare", "run", "start"]

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.errors import NothingCountedError, UsageError
from evalkit.models.entry import ModelEntry
from evalkit.models.own import OwnEntry
from evalkit.records.tables import RunTables
from evalkit.run.check import check_out
from evalkit.run.fingerprint import model_fingerprint, setting_fingerprint
from evalkit.run.opening import longest_opening
from evalkit.run.options import RunOptions, merge_options
from evalkit.run.plan import RunPlan, make_plan
from evalkit.run.several import is_several
from evalkit.settings import Setting

if TYPE_CHECKING:
    from evalkit.judge import JudgeSummary
    from evalkit.run.runner import RunResult
    from evalkit.run.surroundings import Surroundings

Notify = Callable[[str], None]


def run(
    *,
    model: str | object,
    task: str,
    settings: Mapping[str, Setting] | None = None,
    notify: Notify | None = None,
    **options: Any,
) -> RunTables:
    """Run a model on a task, as ``evalkit run`` does, and return what is on record.

    Args:
        model: A name of ``evalkit list models``, or a model of one's own: a class with ``open`` and ``identity``,
            an object of one, or a `ModelEntry`.
        task: A name of ``evalkit list tasks``.
        settings: ``group.key`` to value, as ``--set`` takes them.
        notify: Told warnings and failed samples, one line each; they go to stderr by default.
        options: The options of ``evalkit run`` by name, with ``_`` for ``-``, such as ``data``, ``checkpoint``,
            ``limit``, ``sample`` (a tuple of ids), ``out``, ``resume`` or ``judge``; see `RunOptions`.

    Returns:
        The run, read back. ``failed`` names the samples that broke; a run stopped by Ctrl-C has the status
        ``interrupted`` and goes on with the same call and ``resume=True``.

    Raises:
        UsageError: An option or setting does not exist or does not fit.
        DataError: The benchmark's files are missing.
        ModelError: The model cannot be made.
    """
    entry = None
    if not isinstance(model, str):
        entry = model if isinstance(model, ModelEntry) else OwnEntry.of(model)
    name = model if isinstance(model, str) else entry.name if entry is not None else ""
    merged = merge_options([{**options, "task": task, "model": name}, {"settings": dict(settings or {})}])
    if is_several(merged):
        raise UsageError("seeds, repeat and beside are several runs: call run once for each seed or turn")
    if merged.dry_run:
        raise UsageError("dry_run leaves no run to return: ask evalkit.run.start.dry_run(make_plan(options))")
    tell = notify or (lambda line: print(line, file=sys.stderr))  # noqa: T201 - where a call's warnings go
    return RunTables(start(prepare(merged, entry), tell).folder.path)


def prepare(options: RunOptions, entry: ModelEntry | None = None) -> RunPlan:
    """Resolve options and refuse what could not be run, or judged afterwards; nothing is loaded.

    Args:
        options: As asked for.
        entry: The model, where it is none of the catalog.

    Raises:
        UsageError: A name, option or setting does not exist or does not fit.
        DataError: The benchmark's files are missing, or the other side was run in another setting.
    """
    if options.judge or options.against:
        _check_judge(options)
    plan = make_plan(options, entry)
    if options.against:
        from evalkit.run.judging import check_setting

        known = setting_fingerprint(plan) | {"model.kind": plan.model.kind}
        check_setting(known, Path(options.against))
    return plan


def start(plan: RunPlan, notify: Notify, around: Surroundings | None = None) -> RunResult:
    """Run a plan, judge it where that was asked for, and report it.

    Args:
        plan: What to run.
        notify: Told warnings and failures, one line each.
        around: What it shares with runs beside it; nothing by default.

    Raises:
        EvalkitError: The run cannot start, or cannot go on.
    """
    from evalkit.run.runner import execute
    from evalkit.run.surroundings import ALONE

    opening = longest_opening(plan)
    for problem in [*plan.data.problems, *([opening.warning] if opening and opening.warning else [])]:
        notify(f"warning: {problem}")
    return execute(
        plan, notify, done=lambda path: _judge_and_report(plan.options, path, notify), around=around or ALONE
    )


def dry_run(plan: RunPlan) -> dict[str, Any]:
    """Return what would run: samples, seconds, space, fingerprint; each video is tried and the model looked at.

    Raises:
        UsageError: The folder is taken, or workers want more GPUs than there are.
        ModelError: The model could not be made.
    """
    from evalkit.run.media import check_media
    from evalkit.run.workers.spread import planned_shares

    if plan.options.out:
        check_out(Path(plan.options.out), resume=plan.options.resume)
    plan.model.check()
    unreadable = check_media(plan.samples)
    opening = longest_opening(plan)
    free = shutil.disk_usage(_existing(Path(plan.options.out or "runs"))).free / 2**30
    return {
        "task": plan.task.name,
        "model": plan.model.name,
        **plan.model.facts(),
        "data": str(plan.data_path),
        "samples": len(plan.samples),
        "questions": sum(len(sample.queries) for sample in plan.samples),
        "stream_seconds": plan.stream_seconds,
        **({} if opening is None else {"previous_text": str(opening)}),
        **(planned_shares(plan) if plan.options.workers else {}),
        "record_mib": round(plan.stream_seconds * 1.6e-3, 1),
        "free_disk_gib": round(free, 1),
        "fingerprint": setting_fingerprint(plan) | model_fingerprint(plan),
        "problems": [
            *map(str, plan.data.problems),
            *([opening.warning] if opening and opening.warning else []),
            *unreadable,
        ],
        "unreadable": len(unreadable),
    }


def _existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists: where it is going to lie."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())


def _check_judge(options: RunOptions) -> None:
    """Refuse a judge that could not judge, before anything is generated."""
    from evalkit.run.judging import check_against, check_judge, judge_endpoint

    if not options.judge or not options.against:
        raise UsageError("--judge and --against go together: who judges, and against whom")
    check_judge(options.task, options.judge, judge_endpoint(options.judge_base_url or options.base_url))
    check_against(Path(options.against))


def _judge_and_report(options: RunOptions, path: Path, notify: Notify) -> None:
    from evalkit.run.finish import finish_run

    judged: list[JudgeSummary] = []
    try:
        if options.judge:
            judged.append(_judge(options, path, notify))
    except NothingCountedError as finding:
        notify(f"NOTICE: not judged: {finding}")
    finally:  # a judge that cannot go on takes nothing from what was generated
        finish_run(path, judged)


def _judge(options: RunOptions, path: Path, notify: Notify) -> JudgeSummary:
    from evalkit.run.judging import JudgeRequest, judge_endpoint, judge_run

    against, judge = Path(options.against or ""), options.judge or ""
    return judge_run(
        JudgeRequest(path, against, judge, judge_endpoint(options.judge_base_url or options.base_url)), notify
    )
