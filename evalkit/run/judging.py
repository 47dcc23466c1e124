"""Judging a finished run against another: windows paired, verdicts appended; nothing is generated."""

from __future__ import annotations

__all__ = ["JudgeRequest", "judge_metrics", "judge_run"]

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.judge import (
    Endpoint,
    JudgeSettings,
    JudgeSummary,
    VerdictStore,
    judge_pairs,
    make_judge,
    summarise_verdicts,
)
from evalkit.records import Metric, RunFolder
from evalkit.run.plan import task_named
from evalkit.tasks import NarrationTask


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """Who is judged against whom, by whom.

    Args:
        run: Run folder of the model under test.
        against: Run folder or the original's ``merged_result.jsonl`` of the other.
        judge: Judge's name, such as ``openai:gpt-5`` or ``overlap``.
        endpoint: Address and key of a chat judge.
        settings: How it is asked.
    """

    run: Path
    against: Path
    judge: str
    endpoint: Endpoint = field(default_factory=Endpoint)
    settings: JudgeSettings = field(default_factory=JudgeSettings)


def judge_run(request: JudgeRequest, notify: Callable[[str], None]) -> JudgeSummary:
    """Judge a run; verdicts that are on record are taken from there.

    Args:
        request: What to judge.
        notify: Told what was not covered or not read, one line each.

    Raises:
        UsageError: The task is not judged pairwise, or nothing can be paired.
        JudgeError: The judge cannot go on.
    """
    folder = RunFolder(request.run)
    manifest = folder.read_manifest()
    judge = make_judge(request.judge, request.endpoint, request.settings)
    task = task_named(manifest.task)
    if not isinstance(task, NarrationTask):
        raise UsageError(f"task {manifest.task} is scored, not judged: evalkit score --task {manifest.task} RUN")
    paired = task.pair_up(request.run, request.against, Path(manifest.data["path"]))
    for note in paired.notes:
        notify(note)
    store = VerdictStore(folder.verdicts_path)
    try:
        verdicts = judge_pairs(
            paired.pairs, judge, model_name=manifest.model, baseline_name=paired.baseline_name, store=store
        )
    finally:
        store.close()
    return summarise_verdicts(verdicts, uncovered=paired.uncovered)


def judge_metrics(summary: JudgeSummary) -> list[Metric]:
    """Return the figures of a judgement as rows of ``metrics.json``; shares between 0 and 1."""
    values = summary.to_json()
    interval = values["interval"] or (None, None)
    group = f"vs {summary.baseline}"
    judged = f"judge: {summary.judge}"
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
    for name in ("win_rate_votes", "decided_win_rate", "consistency", "first_slot_rate"):
        rows.append(
            Metric(name=name, value=values[name], unit="share", group=group, n=values["pairs"], note=judged)
        )
    for name in ("ties", "invalid", "skipped"):
        rows.append(Metric(name=name, value=float(values[name]), unit="count", group=group, note=judged))
    return rows
