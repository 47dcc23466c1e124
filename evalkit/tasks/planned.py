"""How many questions of each sub-task a run sets out to answer; leaves scoring them to ``scoring``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from evalkit.stream import Query, StreamSample
from evalkit.tasks.scoring import EXPECTED

__all__ = ["expect_planned", "planned_counts"]


def planned_counts(samples: Iterable[StreamSample], task_tag: str = "task") -> dict[str, int]:
    """Return the number of questions by sub-task; a series of polls is one question.

    Args:
        samples: What runs.
        task_tag: Tag that holds the sub-task.
    """
    asked: dict[str, set[str]] = {}
    for query in (query for sample in samples for query in sample.queries):
        asked.setdefault(query.tags.get(task_tag, ""), set()).add(_question(query))
    return {task: len(ids) for task, ids in asked.items()}


def _question(query: Query) -> str:
    return query.id if query.follow_up is None else query.follow_up.query.id


def expect_planned(samples: Iterable[StreamSample], task_tag: str = "task") -> tuple[StreamSample, ...]:
    """Tag every question with what its sub-task has in a part of the data, which is its strict denominator.

    Args:
        samples: The part that runs.
        task_tag: Tag that holds the sub-task.
    """
    part = tuple(samples)
    counts = planned_counts(part, task_tag)

    def tagged(query: Query) -> Query:
        tags = {**query.tags, EXPECTED: str(counts[query.tags.get(task_tag, "")])}
        series = query.follow_up
        after = None if series is None else replace(series, query=tagged(series.query))
        return replace(query, tags=tags, follow_up=after)

    return tuple(replace(sample, queries=tuple(tagged(query) for query in sample.queries)) for sample in part)
