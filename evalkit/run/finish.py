"""What a finished run leaves besides its records: metrics, captions, report.md and plots, from records alone."""

from __future__ import annotations

__all__ = ["finish_run", "latency_metrics", "score_run"]

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evalkit.errors import NothingCountedError
from evalkit.judge import GradeSummary, JudgeSummary
from evalkit.records import (
    AnswerRecord,
    Metric,
    MetricsFile,
    RunRecords,
    collector_paused,
    count_verdicts,
    judging_group,
    missing_verdicts,
    read_run,
    write_atomic,
)
from evalkit.report import build_report, markdown_report, plot_runs, summarize_ticks, write_captions
from evalkit.report.per_question import question_costs, works_when_asked
from evalkit.report.speech import count_words
from evalkit.report.usage import usage_metrics
from evalkit.run.grading import grade_metrics, grading_group
from evalkit.run.judging import judge_metrics
from evalkit.tasks import NarrationTask, ScoreSheet, SubmissionTask
from evalkit.tasks.catalog import task_named
from evalkit.tasks.scoring import HIDDEN_GOLD, from_records
from evalkit.tasks.spoken import run_predictions
from evalkit.timing import Percentiles, percentiles


def finish_run(path: Path, judged: Sequence[JudgeSummary] = (), graded: Sequence[GradeSummary] = ()) -> RunRecords:
    """Compute a run's figures from its records and write them beside them.

    Args:
        path: The run folder.
        judged: Judgements of this run.
        graded: Gradings of its replies on a rubric.

    Returns:
        The run with these figures.
    """
    with collector_paused():
        run = read_run(path)
    metrics = [*score_metrics(run), *coverage_metrics(run.answers), *latency_metrics(run)]
    metrics += narration_metrics(run)
    metrics += usage_metrics(run.answers)
    kept = ("vs ", grading_group(""))
    before = [] if run.metrics is None else [m for m in run.metrics.metrics if m.group.startswith(kept)]
    fresh = [metric for summary in judged for metric in judge_metrics(summary)]
    fresh += [metric for summary in graded for metric in grade_metrics(summary)]
    renewed = {metric.group for metric in fresh}
    metrics += [metric for metric in before if metric.group not in renewed] + fresh
    figures = MetricsFile(
        task=run.manifest.task,
        model=run.manifest.model,
        fingerprint_digest=run.manifest.fingerprint_digest,
        metrics=tuple(metrics),
    )
    run.folder.write_metrics(figures)
    run = _count_judged(replace(run, metrics=figures), judged)
    _write_submission(run)
    if any(answer.kind == "narration" for answer in run.answers):
        write_captions(run.folder.captions_path, run.answers)
        task = task_named(run.manifest.task)
        if isinstance(task, NarrationTask):
            task.write_outputs(run.answers, path / task.output_name)
    write_atomic(path / "report.md", markdown_report([run]))
    build_report([run], path / "report.html")
    plots = path / "plots"
    timed = bool((run.ticks.total > 0).any()) and not works_when_asked(run)
    for kind, there in (("latency", timed), ("winrate", bool(run.verdicts))):
        if there:
            # No verdict that can be read: the tables say so, and there is nothing to draw.
            with contextlib.suppress(NothingCountedError):
                plot_runs([run], kind, plots)
    return run


def _count_judged(run: RunRecords, judged: Sequence[JudgeSummary]) -> RunRecords:
    """Write into ``run.json`` how many verdicts these judgements left, so that one that is gone is missed."""
    if not judged:
        return run
    counts = count_verdicts(run.verdicts)
    groups = [judging_group(summary.baseline, summary.judge) for summary in judged]
    left = {group: counts[group] for group in groups if group in counts}
    manifest = run.manifest.model_copy(update={"judged": run.manifest.judged | left})
    run.folder.write_manifest(manifest)
    return replace(run, manifest=manifest, verdicts_gone=missing_verdicts(manifest, run.verdicts))


def score_run(run: RunRecords) -> ScoreSheet | None:
    """Score a run's answers, or return ``None`` where it has none to score."""
    task = task_named(run.manifest.task)
    predictions = run_predictions(task, run.answers, hidden_gold=True)
    return task.score(predictions, "evalkit") if predictions else None


def _write_submission(run: RunRecords) -> None:
    """Write what is handed in where the gold is hidden."""
    task = task_named(run.manifest.task)
    if not isinstance(task, SubmissionTask):
        return
    predictions = from_records(run.answers, hidden_gold=True)
    if any(HIDDEN_GOLD in prediction.tags for prediction in predictions):
        for name, text in task.submissions(predictions).items():
            write_atomic(run.folder.path / name, text)


def score_metrics(run: RunRecords) -> list[Metric]:
    """Return the scores of a question benchmark as rows of ``metrics.json``."""
    sheet = score_run(run)
    return [] if sheet is None else task_named(run.manifest.task).metrics(sheet)


def narration_metrics(run: RunRecords) -> list[Metric]:
    """Return what the task says about a narration by itself."""
    task = task_named(run.manifest.task)
    return task.narration_metrics(run.answers) if isinstance(task, NarrationTask) else []


def coverage_metrics(answers: Sequence[AnswerRecord]) -> list[Metric]:
    """Return how much of what was narrated came out; a second without a word (``...``) is silent."""
    spoken = [answer for answer in answers if answer.kind == "narration"]
    if not spoken:
        return []
    seconds = sum(answer.end - answer.start for answer in spoken)
    said = [answer for answer in spoken if answer.status == "ok"]
    done = sum(answer.end - answer.start for answer in said)
    dropped = sum(answer.status == "dropped" for answer in spoken)
    words = [count_words(answer.text) for answer in said]
    silent = words.count(0)
    covered = done / seconds if seconds else None
    return [
        Metric(name="coverage", value=covered, unit="share", n=len(spoken), answered=len(said), coverage=covered),
        Metric(name="silent_seconds", value=silent / len(said) if said else None, unit="share", n=len(said)),
        *(
            [Metric(name="dropped_seconds", value=dropped / len(spoken), unit="share", n=len(spoken))]
            if dropped
            else []
        ),
        Metric(name="words_per_second", value=sum(words) / done if done else None, unit="words/s", n=len(said)),
    ]


def latency_metrics(run: RunRecords) -> list[Metric]:
    """Return latency and memory as rows of ``metrics.json``, seconds and MiB.

    A run whose model sees its frames only with the questions has figures by question and none by second.
    """
    rows: list[Metric] = []

    def spread(name: str, values: Percentiles | None, unit: str) -> None:
        if values is not None:
            for part, value in values.as_dict().items():
                rows.append(Metric(name=name, value=value, unit=unit, group=part, n=values.n))

    asked = question_costs(run).seconds
    if asked.any():
        spread("latency_per_question", percentiles(asked), "s")
    if not run.ticks:
        return rows
    summary = summarize_ticks("run", run.ticks)
    if not works_when_asked(run):
        spread("latency_per_second", summary.per_second, "s")
        spread("latency_per_token", summary.per_token, "s")
        spread("first_token", summary.first_token, "s")
        spread("real_time_factor", summary.real_time_factor, "")
        spread("cache_tokens", summary.cache_tokens, "tokens")
        for stage, share in summary.stage_shares.items():
            rows.append(Metric(name="stage_share", value=share, unit="share", group=stage, n=summary.ticks))
        rows.append(Metric(name="overall_real_time_factor", value=summary.overall_rtf, n=summary.ticks))
    rows.append(Metric(name="peak_memory", value=summary.peak_mib, unit="MiB", n=summary.ticks))
    rows.append(Metric(name="resident_memory", value=summary.rss_mib, unit="MiB", n=summary.ticks))
    return rows
