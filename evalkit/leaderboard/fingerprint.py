"""Whether two runs may be compared: what of their fingerprints differs besides the model under test."""

from __future__ import annotations

__all__ = ["Mismatch", "comparable", "comparison_digest", "describe_mismatches", "is_model_field"]

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A fingerprint field in which two runs differ although it is none of the model's own.

    Args:
        field: Name of the field.
        a: Value in the first run; None where it has no such field.
        b: Value in the second run.
    """

    field: str
    a: Any
    b: Any

    def describe(self) -> str:
        """Return ``field (a against b)`` with long values cut."""
        return f"{self.field} ({_short(self.a)} against {_short(self.b)})"


def _short(value: Any) -> str:
    text = "absent" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def is_model_field(name: str) -> bool:
    """Say whether a fingerprint field describes the model under test: ``model`` and all ``model.*``."""
    return name == "model" or name.startswith("model.")


def comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Mismatch]:
    """Return the fields, besides the model's own, that keep two runs from being compared; none is good news.

    Args:
        a: Fingerprint of the first run, flat.
        b: Fingerprint of the second run.
    """
    names = sorted(name for name in {*a, *b} if not is_model_field(name))
    return [Mismatch(name, a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)]


def describe_mismatches(mismatches: Sequence[Mismatch]) -> str:
    """Return the fields with both values, in one line."""
    return "; ".join(mismatch.describe() for mismatch in mismatches)


def comparison_digest(fingerprint: Mapping[str, Any], *, judged: Sequence[str] = ()) -> str:
    """Return eight hexadecimal digits that agree for exactly the runs that `comparable` lets through.

    Args:
        fingerprint: Of the run.
        judged: Judge and baseline of a judged run; they are part of what must agree.
    """
    shared = {name: value for name, value in fingerprint.items() if not is_model_field(name) and value is not None}
    canonical = json.dumps([shared, list(judged)], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]
