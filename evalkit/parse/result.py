"""What reading a reply gives: a value with the rule that found it, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Parsed", "Parsing", "Unparsed"]


@dataclass(frozen=True, slots=True)
class Parsed:
    """An answer that was read.

    Args:
        value: A letter, a number in digits, ``Yes``/``No`` or text.
        rule: Name of the rule that read it.
    """

    value: str
    rule: str


@dataclass(frozen=True, slots=True)
class Unparsed:
    """No answer could be read.

    Args:
        reason: Short text for people; starts with a stable name and a colon.
    """

    reason: str


Parsing: TypeAlias = Parsed | Unparsed
