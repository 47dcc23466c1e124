"""A small lazy registry over entry points: names are listed without importing, a typo gets a suggestion."""

from __future__ import annotations

__all__ = ["Registry"]

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from evalkit.errors import UsageError, suggest


class Registry:
    """Objects named by the entry points of one group.

    Args:
        group: Entry-point group, such as ``evalkit.tasks``.
        noun: What the error text calls an entry (``task``).
    """

    def __init__(self, group: str, noun: str) -> None:
        self.group = group
        self.noun = noun

    def _entries(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=self.group)}

    def names(self) -> list[str]:
        """Return the registered names, sorted, importing nothing."""
        return sorted(self._entries())

    def get(self, name: str) -> Any:
        """Import and return what ``name`` stands for.

        Raises:
            UsageError: There is no such name, or its package cannot be imported.
        """
        entries = self._entries()
        if name not in entries:
            known = ", ".join(sorted(entries))
            raise UsageError(f"unknown {self.noun} {name!r}{suggest(name, entries)} (known: {known})")
        try:
            return entries[name].load()
        except (Exception, SystemExit) as error:  # somebody else's module runs here
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise UsageError(f"{self.noun} {name!r} ({entries[name].value}) cannot be loaded: {said}") from error
