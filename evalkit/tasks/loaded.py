"""Whether what a task has loaded can be run and scored: what does not fit is named before anything runs."""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from evalkit.errors import DataError, UsageError
from evalkit.stream import Query, StreamSample
from evalkit.tasks.choice.questions import NO_OPTION
from evalkit.tasks.contract import TaskData

__all__ = ["misfits", "require_loaded"]

_SLACK: Final = 1e-3
"""Seconds by which a question may lie beyond its stream's end: times in published files are rounded."""
_SHOWN: Final = 3


def misfits(data: TaskData) -> list[str]:
    """Return what of loaded samples cannot be asked or scored, one line each, by id of the item.

    A fault that the task names itself, by the question's id, is known and let be.

    Args:
        data: What the task loaded.
    """
    known = {problem.item for problem in data.problems if problem.item is not None}
    found: list[str] = []
    seen: set[str] = set()
    for sample in data.samples:
        if sample.id in seen:
            found.append(f"two samples have the id {sample.id!r}")
        seen.add(sample.id)
        for query in sample.queries:
            if query.id not in known:
                found += [f"question {query.id!r} {fault}" for fault in _faults(sample, query)]
    return found


def _faults(sample: StreamSample, query: Query) -> Iterator[str]:
    if query.at > sample.end + _SLACK:
        yield f"is asked at {query.at:g} s, after its stream has ended at {sample.end:g} s"
    if query.at < sample.start - _SLACK:
        yield f"is asked at {query.at:g} s, before its stream begins at {sample.start:g} s"
    if "task" not in sample.tags and "task" not in query.tags:
        yield "has no tag 'task', which names its sub-task"
    if query.kind == "choice" and query.choices and query.answer not in (None, NO_OPTION):
        letters = string.ascii_uppercase[: len(query.choices)]
        if query.answer not in tuple(letters):
            yield f"has the gold {query.answer!r}, which is none of its options {letters[0]} to {letters[-1]}"


def require_loaded(task: str, data: Any, folder: Path) -> None:
    """Refuse what a task has loaded where it cannot be run and scored.

    Args:
        task: Name of the task.
        data: What its ``load`` returned.
        folder: The data folder.

    Raises:
        UsageError: It is no `TaskData` of samples: a fault of the task.
        DataError: A question cannot be asked or scored; the text names the first few.
    """
    if not isinstance(data, TaskData):
        raise UsageError(f"task {task!r}: load() returned {_kind(data)}, not evalkit.tasks.TaskData")
    strange = next((one for one in data.samples if not isinstance(one, StreamSample)), None)
    if strange is not None:
        raise UsageError(
            f"task {task!r}: load() gave {_kind(strange)} for a sample, not evalkit.stream.StreamSample"
        )
    found = misfits(data)
    if found:
        more = f" (and {len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
        raise DataError(f"task {task!r}: {'; '.join(found[:_SHOWN])}{more}", path=folder)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
