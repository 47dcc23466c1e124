"""The benchmarks there are, by entry point, and where their files lie."""

from __future__ import annotations

__all__ = ["TASKS", "data_folder", "task_named"]

from pathlib import Path

from evalkit import env
from evalkit.errors import DataError
from evalkit.registry import Registry
from evalkit.tasks.complete import require_task
from evalkit.tasks.contract import Task

TASKS = Registry("evalkit.tasks", "task")


def task_named(name: str) -> Task:
    """Return a benchmark.

    Raises:
        UsageError: There is no such task, or what is registered under the name is none; the text says what it
            lacks.
    """
    task: Task = TASKS.get(name)
    require_task(name, task)
    return task


def data_folder(task: Task, data: str | None) -> Path:
    """Return the folder of a benchmark's files; ``demo`` is generated on first use.

    Args:
        task: The benchmark.
        data: A folder, ``demo``, or ``None`` for ``data/TASK`` below the working directory.

    Raises:
        DataError: The folder does not exist.
    """
    if data == "demo":
        folder = env.cache_dir() / "demo" / task.name
        task.make_demo(folder)
        return folder
    folder = Path("data") / task.name if data is None else Path(data)
    if folder.is_file():
        raise DataError(f"{folder} is a file: --data names the folder that holds a benchmark's files", path=folder)
    if not folder.is_dir():
        raise DataError(f"no data folder {folder}: {_brought(task, data)}", path=folder)
    return folder


def _brought(task: Task, data: str | None) -> str:
    """Return how a folder that is not there comes to be."""
    fetch = f"`evalkit data fetch {task.name}" if getattr(task, "published_at", None) else ""
    if data is None:
        return (f"{fetch}` brings it; " if fetch else "") + "pass --data DIR, or --data demo for made-up data"
    return "is it spelled right?" + (f" {fetch} --out {data}` fills one" if fetch else "")
