"""Where the command line writes: results to stdout, all else for people to stderr, as `evalkit.shown` has it."""

from __future__ import annotations

__all__ = ["emit_json", "note", "say"]

import json
import math
import sys
from typing import Any

from evalkit.shown import shown, shown_in_json


def say(text: str) -> None:
    """Write a result for people to stdout."""
    sys.stdout.write(shown(text.rstrip("\n")) + "\n")


def note(text: str) -> None:
    """Write progress or a warning to stderr."""
    sys.stderr.write(shown(text.rstrip("\n")) + "\n")


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
