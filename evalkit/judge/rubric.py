"""Rubrics: one reply put on named scales, as data; and the strict reading of what a judge says about it."""

from __future__ import annotations

__all__ = ["GRADE_GRAMMAR", "Grades", "Rubric", "Scale", "Ungraded", "parse_grades"]

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from evalkit.errors import UsageError
from evalkit.parse import Unparsed
from evalkit.parse.text import spoken

GRADE_GRAMMAR: Final = "last-dict/2"
"""Name of the reading rule; part of a grade's key, so a changed rule asks again."""

_DICT: Final = re.compile(r"\{[^{}]*\}")
_ENTRY: Final = re.compile(r"\s*(['\"]?)([\w ]{1,60})\1\s*:\s*(.*\S)\s*", re.DOTALL)
_BARE: Final = re.compile(r"\**\s*([-+]?\d{1,4}(?:\.\d{1,6})?)\s*\**\s*\.?\s*\**")
_NUMBER: Final = re.compile(r"['\"]?\s*([-+]?\d{1,4}(?:\.\d{1,6})?)\s*['\"]?")


@dataclass(frozen=True, slots=True)
class Scale:
    """One thing that a judge grades.

    Args:
        name: Key of the grade in the judge's reply.
        low: Lowest grade.
        high: Highest grade, above ``low``.
        whole: Whether a grade must be a whole number.
    """

    name: str
    low: float
    high: float
    whole: bool = True

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise UsageError(
                f"scale {self.name!r} goes from a lower grade to a higher one, not {self.low}-{self.high}"
            )

    def fault(self, value: float) -> str:
        """Return what is wrong with a grade; empty where nothing is."""
        if not self.low <= value <= self.high:
            return "out-of-range"
        return "not-whole" if self.whole and value != int(value) else ""


@dataclass(frozen=True, slots=True)
class Rubric:
    """What a judge is asked about one reply.

    Args:
        name: Short name, shown beside the judge.
        system: System message, sent as it is; none where it is empty.
        template: User message with the fields of ``fields``.
        fields: Names of the fields that an item fills.
        scales: What is graded.
        source: Where the texts were published.
        max_chars: Each field is cut to so many characters.

    Raises:
        UsageError: The template lacks a field or has another, or there is no scale.
    """

    name: str
    system: str
    template: str
    fields: tuple[str, ...]
    scales: tuple[Scale, ...]
    source: str
    max_chars: int = 32_000

    def __post_init__(self) -> None:
        marks = {name: f"\0{name}\0" for name in self.fields}
        try:
            filled = self.template.format(**marks)
        except (KeyError, IndexError, ValueError) as error:
            raise UsageError(f"rubric {self.name!r}: the template cannot be filled ({error})") from error
        missing = [name for name, mark in marks.items() if mark not in filled]
        if missing:
            raise UsageError(f"rubric {self.name!r}: the template lacks {{{missing[0]}}}")
        if not self.scales:
            raise UsageError(f"rubric {self.name!r} has no scale")

    @property
    def digest(self) -> str:
        """SHA-256 of everything that shapes the messages and what is read in the reply, in hex."""
        scales = [asdict(scale) for scale in self.scales]
        parts = json.dumps([self.system, self.template, self.max_chars, scales], ensure_ascii=False)
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def label(self) -> str:
        """Name and beginning of the digest, as a judge's identity shows them."""
        return f"{self.name} {self.digest[:8]}"

    def messages(self, values: Mapping[str, str]) -> list[dict[str, str]]:
        """Return the chat messages about one reply.

        Args:
            values: Text of each field.
        """
        shown = {name: values[name][: self.max_chars] for name in self.fields}
        user = self.template.format(**shown).encode("utf-8", "replace").decode()
        asked = {"role": "user", "content": user}
        return [{"role": "system", "content": self.system}, asked] if self.system else [asked]


@dataclass(frozen=True, slots=True)
class Grades:
    """What a judge gave: a grade for each scale."""

    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ungraded:
    """A reply that gives no grades, and why: ``empty``, ``no-dict``, ``missing-NAME``, ``twice-NAME`` ..."""

    reason: str


def parse_grades(reply: str, scales: Sequence[Scale]) -> Grades | Ungraded:
    """Read the grades in a judge's reply: the last dict in it, which must hold every scale once, in its range.

    Keys and numbers may stand in either kind of quotes, as the published prompts show them; other keys
    (``total_score``) are passed over. What stands before the dict is not read: MLVU's own ``calculate.py``
    takes the first mention of a key, wherever it is, and stops on a judge that names it in its reasoning.
    Where one thing is graded, a reply that is a number and nothing else is its grade.

    Args:
        reply: The judge's reply as it stands.
        scales: What must be graded.
    """
    text = spoken(reply)
    if isinstance(text, Unparsed):
        return Ungraded("unclosed-think")
    if not text.strip():
        return Ungraded("empty")
    entries = _entries(text, scales)
    if entries is None:
        return Ungraded("no-dict")
    values: dict[str, float] = {}
    for scale in scales:
        given = entries.get(scale.name, [])
        if len(given) != 1:
            return Ungraded(f"{'missing' if not given else 'twice'}-{scale.name}")
        number = _NUMBER.fullmatch(given[0])
        if number is None:
            return Ungraded(f"not-a-number-{scale.name}")
        values[scale.name] = float(number[1])
        fault = scale.fault(values[scale.name])
        if fault:
            return Ungraded(f"{fault}-{scale.name}")
    return Grades(values)


def _entries(text: str, scales: Sequence[Scale]) -> dict[str, list[str]] | None:
    """Return what the last dict of a reply says by key; ``None`` where there is no dict and no bare grade."""
    found = _DICT.findall(text)
    if not found:
        bare = _BARE.fullmatch(text.strip()) if len(scales) == 1 else None
        return None if bare is None else {scales[0].name: [bare[1]]}
    entries: dict[str, list[str]] = {}
    for part in found[-1][1:-1].split(","):
        match = _ENTRY.fullmatch(part)
        if match:
            entries.setdefault(match[2].strip(), []).append(match[3])
    return entries
