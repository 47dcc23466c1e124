"""Judging a finished run against another: windows paired, verdicts appended; nothing is generated."""

from __future__ import annotations

__all__ = [
    "PATIENCE",
    "JudgeRequest",
    "check_against",
    "check_judge",
    "check_setting",
    "check_sides",
    "judge_endpoint",
    "judge_metrics",
    "judge_run",
]

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evalkit import env
from evalkit.errors import DataError, UsageError
from evalkit.judge import (
    Endpoint,
    JudgeSettings,
    JudgeSummary,
    VerdictStore,
    judge_pairs,
    make_judge,
    summarise_verdicts,
)
from evalkit.leaderboard.answers import require_finished
from evalkit.leaderboard.fingerprint import Mismatch, comparable, describe_mismatches
from evalkit.records import Metric, RunFolder, hold_folder, judging_group, read_run
from evalkit.tasks import NarrationTask
from evalkit.tasks.catalog import task_named

PATIENCE = 60.0
"""Seconds to wait while another process reports the same run, which takes it a few."""
_NOT_COMPARABLE = "NOT comparable, judged on demand: "


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """Who is judged against whom, by whom.

    Args:
        run: Run folder of the model under test.
        against: Run folder or the original's ``merged_result.jsonl`` of the other.
        judge: Judge's name, such as ``openai:gpt-5`` or ``overlap``.
        endpoint: Address and key of a chat judge.
        settings: How it is asked.
        allow_mismatch: Judge runs that are unfinished or differ in more than the model under test, and mark it.
    """

    run: Path
    against: Path
    judge: str
    endpoint: Endpoint = field(default_factory=Endpoint)
    settings: JudgeSettings = field(default_factory=JudgeSettings)
    allow_mismatch: bool = False


def judge_endpoint(base_url: str | None) -> Endpoint:
    """Return address and key of a chat judge, from the command line and the environment."""
    return Endpoint(base_url or env.judge_base_url(), env.judge_key())


def check_against(path: Path) -> None:
    """Refuse what is neither a run folder nor a file.

    Raises:
        UsageError: There is nothing there.
        DataError: It is a folder, but not of a run.
    """
    if not path.exists():
        raise UsageError(f"--against {path} does not exist")
    if path.is_dir():
        RunFolder(path).read_manifest()


def check_judge(task: str, judge: str, endpoint: Endpoint) -> None:
    """Refuse a judge that could not judge, before anything is generated.

    Args:
        task: Name of the benchmark.
        judge: Judge's name.
        endpoint: Address and key of a chat judge.

    Raises:
        UsageError: The benchmark is not judged pairwise, or there is no such judge.
    """
    if not isinstance(task_named(task), NarrationTask):
        raise UsageError(f"task {task} is scored, not judged: leave --judge and --against out")
    make_judge(judge, endpoint)


def check_sides(request: JudgeRequest, notify: Callable[[str], None]) -> tuple[Mismatch, ...]:
    """Return in what the two sides differ besides the model under test; nothing, unless mismatches are allowed.

    Args:
        request: What is to be judged.
        notify: Told where the other side is the run itself, or a file, which says nothing of how it was made.

    Raises:
        UsageError: The runs are of different tasks.
        DataError: A side is unfinished, or the sides differ and `JudgeRequest.allow_mismatch` is false; the text
            names the fields with both values.
    """
    test = RunFolder(request.run).read_manifest()
    if request.run.resolve() == request.against.resolve():
        notify(f"{request.run} is judged against itself: this tells how the judge treats equal texts, no more")
    if not request.allow_mismatch:
        require_finished(read_run(request.run, ticks=False))
    if not request.against.is_dir():
        notify(f"{request.against} names no settings: that it was made in the setting of the run is not checked")
        return ()
    other = RunFolder(request.against).read_manifest()
    if test.task != other.task:
        raise UsageError(
            f"{request.run} is of task {test.task}, {request.against} of task {other.task}: name runs of one task"
        )
    mismatches = tuple(comparable(test.fingerprint, other.fingerprint))
    if not request.allow_mismatch:
        require_finished(read_run(request.against, ticks=False))
        if mismatches:
            raise DataError(
                f"{request.run} and {request.against} differ in more than the model under test: "
                f"{describe_mismatches(mismatches)}; evalkit judge --allow-mismatch goes on and marks the result"
            )
    return mismatches


def check_setting(setting: Mapping[str, Any], against: Path) -> None:
    """Refuse to generate what could not be judged against a run afterwards.

    Args:
        setting: The part of the fingerprint that is known before a model is loaded.
        against: Run folder, or a file, which says nothing of how it was made.

    Raises:
        DataError: The run was made in another setting; the text names the fields with both values.
    """
    if not against.is_dir():
        return
    there = RunFolder(against).read_manifest().fingerprint
    mismatches = comparable(setting, {name: there.get(name) for name in setting})
    if mismatches:
        raise DataError(
            f"this run would differ from {against} in more than the model under test: "
            f"{describe_mismatches(mismatches)}; align the options, or run without --judge and then "
            "evalkit judge --allow-mismatch"
        )


def judge_run(request: JudgeRequest, notify: Callable[[str], None]) -> JudgeSummary:
    """Judge a run; verdicts that are on record are taken from there.

    Sides that differ in more than the model under test, where allowed, are named in the summary's notes and in
    the warnings of the run's ``run.json``.

    Args:
        request: What to judge.
        notify: Told what was not covered or not read, one line each.

    Raises:
        UsageError: The task is not judged pairwise, or nothing can be paired.
        DataError: The sides cannot be compared, or a record is malformed.
        JudgeError: The judge cannot go on.
        KeyboardInterrupt: Ctrl-C; verdicts so far are on record.
    """
    folder = RunFolder(request.run)
    manifest = folder.read_manifest()
    task = task_named(manifest.task)
    settings = replace(request.settings, prompt=getattr(task, "judge_prompt", None))
    judge = make_judge(request.judge, request.endpoint, settings)
    if not isinstance(task, NarrationTask):
        raise UsageError(f"task {manifest.task} is scored, not judged: evalkit score --task {manifest.task} RUN")
    mismatches = check_sides(request, notify)
    data = manifest.data.get("path")
    if not isinstance(data, str):
        raise DataError(f"{folder.manifest_path} does not say where its data are", path=folder.manifest_path)
    paired = task.pair_up(request.run, request.against, Path(data))
    for note in paired.notes:
        notify(note)
    store = VerdictStore(folder.verdicts_path)
    for warning in store.warnings:
        notify(f"warning: {warning}")
    baseline = store.name_of_baseline(paired.baseline_name, paired.baseline_id)
    if baseline != paired.baseline_name:
        notify(f"{folder.path} was judged against another {paired.baseline_name} before: this one is {baseline}")
    try:
        verdicts = judge_pairs(
            paired.pairs,
            judge,
            model_name=manifest.model,
            baseline_name=baseline,
            baseline_id=paired.baseline_id,
            store=store,
        )
    except KeyboardInterrupt:
        notify(f"verdicts so far are kept in {folder.verdicts_path}: the same evalkit judge goes on from there")
        raise
    finally:
        store.close()
    summary = summarise_verdicts(verdicts, uncovered=paired.uncovered)
    if not mismatches:
        return summary
    mark = _NOT_COMPARABLE + describe_mismatches(mismatches)
    _warn_in_manifest(folder, f"against {baseline}: {mark}")
    return replace(summary, notes=(mark, *summary.notes))


def _warn_in_manifest(folder: RunFolder, warning: str) -> None:
    with hold_folder(folder.path, patience=PATIENCE):
        manifest = folder.read_manifest()
        if warning not in manifest.warnings:
            folder.write_manifest(manifest.model_copy(update={"warnings": [*manifest.warnings, warning]}))


def judge_metrics(summary: JudgeSummary) -> list[Metric]:
    """Return the figures of a judgement as rows of ``metrics.json``; shares between 0 and 1."""
    values = summary.to_json()
    interval = values["interval"] or (None, None)
    group = judging_group(summary.baseline, summary.judge)
    marks = [note for note in summary.notes if note.startswith(_NOT_COMPARABLE)]
    judged = "; ".join([f"judge: {summary.judge}", *marks])
    rows = [
        Metric(
            name="win_rate",
            value=values["win_rate"],
            unit="share",
            group=group,
            n=values["pairs"],
            clusters=values["clusters"],
            low=interval[0],
            high=interval[1],
            method=values["interval_method"],
            note="; ".join(filter(None, [judged, values["interval_note"]])),
        )
    ]
    for name in ("win_rate_votes", "win_rate_ties_lost", "decided_win_rate", "consistency", "first_slot_rate"):
        rows.append(
            Metric(name=name, value=values[name], unit="share", group=group, n=values["pairs"], note=judged)
        )
    for name in ("ties", "invalid", "skipped"):
        rows.append(Metric(name=name, value=float(values[name]), unit="count", group=group, note=judged))
    return rows
