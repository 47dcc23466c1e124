"""Whether two runs may be compared: what of their fingerprints differs besides the model under test."""

from __future__ import annotations

__all__ = [
    "Mismatch",
    "comparable",
    "comparison_digest",
    "describe_mismatches",
    "fields_named",
    "is_model_field",
    "model_changes",
]

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.errors import UsageError, suggest

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A fingerprint field in which two runs differ.

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

    How weights compute here (dtype, attention kernel, positions, decoding) must be the same for two local models.
    A model of another kind, on a server or one's own, has no such fields, and lacking them keeps nobody apart.

    Args:
        a: Fingerprint of the first run, flat.
        b: Fingerprint of the second run.
    """
    kinds = {a.get("model.kind", "local"), b.get("model.kind", "local")}
    return [
        one
        for one in _differences(a, b)
        if not is_model_field(one.field) and not (len(kinds) > 1 and _lacks_local_field(one))
    ]


def _lacks_local_field(one: Mismatch) -> bool:
    local = one.field in ("attention", "dtype") or one.field.startswith(("generation.", "positions."))
    return local and (one.a is None or one.b is None)


def model_changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Mismatch]:
    """Return the fields of the model under test in which two runs differ.

    Args:
        a: Fingerprint of the first run, flat.
        b: Fingerprint of the second run.
    """
    return [one for one in _differences(a, b) if is_model_field(one.field)]


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Mismatch]:
    return [Mismatch(name, a.get(name), b.get(name)) for name in sorted({*a, *b}) if a.get(name) != b.get(name)]


def fields_named(names: Sequence[str], *fingerprints: Mapping[str, Any]) -> frozenset[str]:
    """Return the fingerprint fields that a person names; ``code`` stands for every ``code.*``.

    Args:
        names: As typed.
        fingerprints: Of the runs.

    Raises:
        UsageError: No run has such a field, or the field is the model's own and may differ anyway.
    """
    known = {name for fingerprint in fingerprints for name in fingerprint}
    found: set[str] = set()
    for name in names:
        if is_model_field(name):
            raise UsageError(f"{name} is of the model under test and may differ: leave it out of --ignore-field")
        members = {field for field in known if field == name or field.startswith(f"{name}.")}
        if not members:
            groups = {field.partition(".")[0] for field in known}
            near = sorted(one for one in known | groups if not is_model_field(one))
            raise UsageError(
                f"no run has a fingerprint field {name!r}{suggest(name, near)} (known: {', '.join(near)})"
            )
        found |= members
    return frozenset(found)


def describe_mismatches(mismatches: Sequence[Mismatch]) -> str:
    """Return the fields with both values, in one line."""
    return "; ".join(mismatch.describe() for mismatch in mismatches)


def comparison_digest(fingerprint: Mapping[str, Any], *, judged: Sequence[str] = ()) -> str:
    """Return eight hexadecimal digits that agree for exactly the runs of one kind that `comparable` lets through.

    Args:
        fingerprint: Of the run.
        judged: Judge and baseline of a judged run; they are part of what must agree.
    """
    shared = {name: value for name, value in fingerprint.items() if not is_model_field(name) and value is not None}
    canonical = json.dumps([shared, list(judged)], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]
