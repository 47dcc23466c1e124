"""What tables call sub-tasks, groups and facts: the benchmark's own names for people, where it has any."""

from __future__ import annotations

__all__ = ["labels_of", "short_name", "shown_name"]

from collections.abc import Mapping
from functools import cache

from evalkit.errors import EvalkitError
from evalkit.tasks import LabelledTask
from evalkit.tasks.catalog import TASKS


@cache
def labels_of(task: str) -> Mapping[str, str]:
    """Return a benchmark's names by abbreviation; none where it is not installed or names nothing."""
    if task not in TASKS.names():
        return {}
    try:
        found = TASKS.get(task)
    except EvalkitError:  # a report of records stands without the package that made them
        return {}
    return dict(found.labels) if isinstance(found, LabelledTask) else {}


def short_name(name: str, task: str) -> str:
    """Return the name of a sub-task, group or fact without its abbreviation.

    Args:
        name: As records have it.
        task: The benchmark.
    """
    label = labels_of(task).get(name)
    if label is not None:
        return label
    if "_" not in name:
        return name
    words = name.removeprefix(f"{task.replace('-', '_')}_").replace("_", " ")
    return words[:1].upper() + words[1:]


def shown_name(name: str, task: str) -> str:
    """Return the name of a sub-task with its abbreviation, such as ``Episodic memory (EPM)``."""
    label = short_name(name, task)
    return f"{label} ({name})" if label != name and name.isupper() else label
