"""Whether an object is a task: what it lacks of the contract is said by name before anything is done with it."""

from __future__ import annotations

import inspect
from typing import Any, Final

from evalkit.errors import UsageError
from evalkit.tasks.contract import TaskSettings

__all__ = ["missing_of", "require_task"]

_METHODS: Final = ("load", "make_demo", "check", "read_predictions", "score", "metrics")
_TOGETHER: Final = (("is judged pairwise", ("pair_up", "read_outputs", "write_outputs", "narration_metrics")),)
"""Optional parts of the contract that are only of use together: what they are for, and their methods."""


def missing_of(task: Any) -> list[str]:
    """Return what an object lacks of `evalkit.tasks.Task`, in words; nothing where it is one.

    A part of an optional protocol that stands alone (``pair_up`` without ``read_outputs``) is named too.

    Args:
        task: The object.
    """
    lacking = [f"{name} (a text)" for name in ("name", "summary") if not isinstance(_of(task, name), str)]
    settings = _of(task, "settings")
    if not (isinstance(settings, type) and issubclass(settings, TaskSettings)):
        lacking.append("settings (a subclass of evalkit.tasks.TaskSettings)")
    formats = _of(task, "formats")
    if not (isinstance(formats, tuple) and all(isinstance(name, str) for name in formats)):
        lacking.append("formats (a tuple of names of prediction layouts, empty where there are none)")
    lacking += [f"{name}()" for name in _METHODS if not callable(_of(task, name))]
    lacking += [f"{name} (see {base})" for name, base in _undeclared(task)]
    for what, methods in _TOGETHER:
        there = [name for name in methods if callable(_of(task, name))]
        if there and len(there) < len(methods):
            absent = [f"{name}()" for name in methods if name not in there]
            lacking.append(f"{', '.join(absent)} (a task that {what} has all of {', '.join(methods)})")
    return lacking


def _undeclared(task: Any) -> list[tuple[str, str]]:
    """Return what a base class leaves to its subclasses to declare and they do not, with the base's name."""
    own = {*_METHODS, "name", "summary", "settings", "formats"}
    return [
        (name, base.__name__)
        for base in type(task).__mro__
        for name in inspect.get_annotations(base)
        if name not in own and not hasattr(task, name)
    ]


def _of(task: Any, name: str) -> Any:
    """Return an attribute, ``None`` where there is none or where reading it fails."""
    try:
        return getattr(task, name, None)
    except Exception:  # somebody else's property
        return None


def require_task(name: str, task: Any) -> None:
    """Refuse what is no task.

    Args:
        name: The name it is registered under.
        task: What stands there.

    Raises:
        UsageError: It is a class, lacks a part of the contract, or has another name; the text names every part.
    """
    if isinstance(task, type):
        raise UsageError(
            f"task {name!r} names the class {task.__name__}, not an object of it: let the entry point name "
            f"task = {task.__name__}()"
        )
    lacking = missing_of(task)
    if lacking:
        raise UsageError(
            f"task {name!r} ({type(task).__module__}.{type(task).__qualname__}) lacks {'; '.join(lacking)}: see "
            "docs/adding-a-task.md"
        )
    if task.name != name:
        raise UsageError(f"task {name!r} calls itself {task.name!r}: its name and its entry point must agree")
