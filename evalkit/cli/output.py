"""Where the command line writes: results to stdout, all else for people to stderr, as `evalkit.shown` has it."""

from __future__ import annotations

__all__ = ["TABLE_FORMATS", "emit_json", "kept_for_json", "note", "say", "say_tables"]

import json
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

from evalkit.shown import shown, shown_in_json

if TYPE_CHECKING:
    from evalkit.report.tables import Table

TABLE_FORMATS = ("text", "markdown", "latex", "csv")
"""Forms in which a command prints its table."""


def say(text: str) -> None:
    """Write a result for people to stdout."""
    sys.stdout.write(shown(text.rstrip("\n")) + "\n")


def say_tables(tables: Iterable[Table], form: str) -> None:
    """Write tables to stdout in one of `TABLE_FORMATS`."""
    from evalkit import report

    say("\n".join(getattr(report, f"to_{form}")(table) for table in tables))


def note(text: str) -> None:
    """Write progress or a warning to stderr."""
    sys.stderr.write(shown(text.rstrip("\n")) + "\n")


@contextmanager
def kept_for_json(as_json: bool) -> Iterator[None]:
    """Send to stderr what plug-ins print meanwhile, where stdout is to hold one JSON object and nothing else.

    Args:
        as_json: Whether it is.
    """
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        yield


def emit_json(value: Any) -> None:
    """Write one JSON object to stdout, and nothing else; what is not finite becomes null."""
    sys.stdout.write(shown_in_json(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False)) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
