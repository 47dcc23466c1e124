"""One line for an exception that nobody meant: whose code it came from, and where."""

from __future__ import annotations

__all__ = ["describe_fault"]

import traceback
from importlib.metadata import entry_points
from types import FrameType

OWN_PACKAGES = frozenset({"evalkit", "evalkit_tasks"})
"""Packages whose faults are evalkit's own."""


def describe_fault(error: BaseException) -> str:
    """Return what went wrong, naming whose code it was, the file and the line.

    A plug-in is a package that an entry point of evalkit's groups names; its frames count before evalkit's own,
    and of several frames the innermost.

    Args:
        error: An exception with its traceback.

    Returns:
        ``a fault of the plug-in colour_model (FILE:LINE, in FUNCTION): ValueError: words``.
    """
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)][::-1]
    for packages in (_plugin_packages(), OWN_PACKAGES):
        for frame, line in frames:
            if (package := _package_of(frame)) in packages:
                owner = "evalkit, please report it" if package in OWN_PACKAGES else f"the plug-in {package}"
                place = f"{frame.f_code.co_filename}:{line}, in {frame.f_code.co_name}"
                return f"a fault of {owner} ({place}): {said}"
    return f"a fault: {said}"


def _package_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _plugin_packages() -> frozenset[str]:
    entries = entry_points()
    named = {
        entry.module.partition(".")[0]
        for group in entries.groups
        if group.startswith("evalkit.")
        for entry in entries.select(group=group)
    }
    return frozenset(named - OWN_PACKAGES)
