"""Writes run folders of OVO-Bench whose every answer is chosen, for tests of what is made of its headline."""

from __future__ import annotations

__all__ = ["ovo_run"]

from collections.abc import Callable
from pathlib import Path
from typing import Any

from run_folders import manifest, write_run

from evalkit.records import AnswerRecord
from evalkit.tasks.scoring import EXPECTED
from evalkit_tasks.ovobench.published import TASKS


def ovo_run(
    folder: Path, right: Callable[[str, int], bool], *, sizes: dict[str, int] | None = None, **changes: Any
) -> Path:
    """Write a run with one video per question; `sizes` are the questions of each sub-task, 20 by default.

    Args:
        folder: Where to.
        right: Whether the n-th question of a sub-task is answered rightly.
        sizes: Questions by sub-task.
        changes: Of the manifest.
    """
    counts = dict.fromkeys(TASKS, 20) | (sizes or {})
    answers = [
        AnswerRecord(
            sample=f"{task}-{number}",
            query=f"{task}-{number}",
            kind="choice",
            at=5.0,
            start=0.0,
            end=5.0,
            text="A" if right(task, number) else "B",
            parsed="A" if right(task, number) else "B",
            rule="letter",
            gold="A",
            choices=("yes", "no"),
            cluster=f"video-{task}-{number}",
            tags={"task": task, EXPECTED: str(count)},
        )
        for task, count in counts.items()
        for number in range(count)
    ]
    planned = [answer.sample for answer in answers]
    return write_run(folder, manifest("ovobench", "full", planned=planned, **changes), answers=answers)
