"""Grading a finished run's replies on its benchmark's rubrics; nothing is generated."""

from __future__ import annotations

__all__ = ["GradeRequest", "grade_metrics", "grade_run", "grading_group"]

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.judge import (
    Endpoint,
    GradeStore,
    GradeSummary,
    JudgeSettings,
    grade_items,
    make_rubric_judge,
    read_human_grades,
    summarise_grades,
)
from evalkit.leaderboard.answers import require_finished
from evalkit.records import Metric, RunFolder, read_run
from evalkit.tasks import GradedTask, RubricTask
from evalkit.tasks.catalog import task_named


@dataclass(frozen=True, slots=True)
class GradeRequest:
    """What is graded, by whom.

    Args:
        run: Run folder.
        judge: ``openai:MODEL``.
        endpoint: Address and key.
        settings: How it is asked.
        draws: Grades each reply gets.
        labels: JSONL of human grades to hold the judge's against.
        allow_mismatch: Grade a run that is unfinished too.
    """

    run: Path
    judge: str
    endpoint: Endpoint = field(default_factory=Endpoint)
    settings: JudgeSettings = field(default_factory=JudgeSettings)
    draws: int = 1
    labels: Path | None = None
    allow_mismatch: bool = False


def grade_run(request: GradeRequest, notify: Callable[[str], None]) -> GradeSummary:
    """Grade a run; grades on record are taken from there.

    Args:
        request: What to grade.
        notify: Told of a torn line, and what becomes of the grades on Ctrl-C.

    Raises:
        UsageError: The benchmark has no rubric, the run has no reply that one is for, or it is a file.
        DataError: The run is unfinished, or a record is malformed.
        JudgeError: The judge cannot go on; grades so far are on record.
        KeyboardInterrupt: Ctrl-C; grades so far are on record.
    """
    if request.run.is_file():
        raise UsageError(
            f"{request.run} is a file: evalkit data import {request.run} --task TASK --model NAME --out RUN makes "
            "the run folder of published replies that is graded"
        )
    run = read_run(request.run, ticks=False)
    task = task_named(run.manifest.task)
    if not isinstance(task, RubricTask):
        raise UsageError(f"task {run.manifest.task} has no rubric: its replies are not graded")
    human = None if request.labels is None else read_human_grades(request.labels)
    judge = make_rubric_judge(request.judge, request.endpoint, request.settings)
    if not request.allow_mismatch:
        require_finished(run)
    items = task.rubric_items(run.answers)
    if not items:
        raise UsageError(f"{request.run} has no reply that {run.manifest.task} grades on a rubric")
    path = RunFolder(request.run).grades_path
    with GradeStore(path) as store:
        for warning in store.warnings:
            notify(f"warning: {warning}")
        try:
            records = grade_items(items, judge, store, draws=request.draws, reasks=request.settings.reasks)
        except KeyboardInterrupt:
            notify(f"grades so far are kept in {path}: the same evalkit judge goes on from there")
            raise
    summary = summarise_grades(records, task.rubrics, human=human)
    figures = task.graded_figures(records, run.answers) if isinstance(task, GradedTask) else {}
    return replace(summary, figures=figures)


def grading_group(judge: str) -> str:
    """Return the group of one grading's rows in ``metrics.json``."""
    return f"graded by {judge}"


def grade_metrics(summary: GradeSummary) -> list[Metric]:
    """Return the figures of a grading as rows of ``metrics.json``, in grades."""
    group = grading_group(summary.name)
    note = f"judge: {summary.judge}; {summary.draws} draws"
    rows = [Metric(name="total", value=summary.total, unit="grade", group=group, note=note)]
    for task, figures in summary.tasks.items():
        whole = Metric(
            name=task,
            value=figures.total,
            unit="grade",
            group=group,
            n=figures.items,
            answered=figures.items - figures.invalid,
            clusters=figures.clusters,
            note=note,
        )
        rows.append(whole)
        for name, scale in figures.scales.items():
            update = {"name": f"{task} {name}", "value": scale.mean, "low": scale.low, "high": scale.high}
            rows.append(whole.model_copy(update=update))
    rows += [
        Metric(name=name, value=value, unit="share", group=group, note=note)
        for name, value in summary.figures.items()
    ]
    rows.append(Metric(name="invalid", value=float(sum(summary.invalid.values())), unit="count", group=group))
    return rows
