r"""Read a count: one whole number stated without contradiction, or a reason why there is none.

Rules, in this order:

* ``number``: the whole reply is a number (``3``, ``3.``, ``"3"``, ``\(3\)``).
* ``answer-tag``, ``answer-field``: ``<answer>3</answer>``, ``\boxed{3}``, ``{"answer": 3}``; what stands there is
  read by the rules below and the one above (`evalkit.parse.text`).
* ``statement``: ``the answer is 3``, ``total: 3``, ``count = 3``, ``答案：3``.
* ``last-line``: the last line is a number and nothing else.
* ``number-word``: the whole reply is an English number word up to twenty, with ``times`` if they like.
* ``only-number``: the reply holds one number and no other digits (``They did it 3 times.``).

A last line that differs from what is stated contradicts it.
Two different numbers, a range, a fraction, a negative number, a hedge (``about 3``, ``at least 3``, ``3+``) or a
negation give no count: the official rule joins the digits of ``1 to 2`` into 12, this one refuses.
"""

from __future__ import annotations

import re

from evalkit.parse.result import Parsed, Unparsed
from evalkit.parse.text import agree, hedged, lines_alone, read_fields, tidy

__all__ = ["parse_count"]

_NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *(
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
        "twenty",
    ),
)
_WORDS = {word: str(value) for value, word in enumerate(_NUMBER_WORDS)}
_MAX_DIGITS = 9
_LONGEST_WHOLE = 60
_LONGEST_WORD = 40
_WHOLE = re.compile(r"[\s(\[{\"']{0,4}([0-9]{1,40})[\s)\]}\"'.!]{0,6}")
_ALONE = re.compile(r"[(\[{\"']{0,4}([0-9]{1,9})[)\]}\"'.!]{0,4}")
_WORD = re.compile(r"([a-z]{3,9})(?:\s{1,4}(?:times?|people|persons?))?[.!]?", re.IGNORECASE)
_STATED = re.compile(
    r"(?:\b(?:answer|count|total|number)(?:\s{1,4}(?:is|was|would\s{1,4}be)\s{0,4}:?|\s{0,4}[:=])|答案[是为]?\s{0,4}:?)"
    r"\s{0,4}[\"'({]{0,2}"
    r"([0-9]{1,9})(?![0-9A-Za-z.,:/+%-]*[0-9A-Za-z+%])",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"[0-9]+")
_PLAIN = re.compile(r"(?<![0-9A-Za-z.,:/+%~<>≥≤≈-])([0-9]{1,9})(?![0-9A-Za-z:/+%-]|[.,][0-9])")
_HEDGED_NUMBER = re.compile(
    r"(?:about|around|approximately|roughly|nearly|almost|least|most|more\s{1,3}than|less\s{1,3}than|fewer\s{1,3}than"
    r"|over|under|between|or|to)\s{1,3}$",
    re.IGNORECASE,
)
_RANGE_AFTER = re.compile(r"\s{0,3}(?:or|to|[-\u2013\u2014])\s{0,3}(?:[0-9]|more|fewer|less)", re.IGNORECASE)


def parse_count(text: str) -> Parsed | Unparsed:
    """Read the whole number a reply states.

    Args:
        text: The model's reply as it stands.

    Returns:
        The number in digits without leading zeros, with the rule that read it, or the reason why there is none:
        ``empty``, ``too-long``, ``unfinished-thinking``, ``ambiguous``, ``not-a-count``, ``no-number``.
    """
    tidied = tidy(text)
    if isinstance(tidied, Unparsed):
        return tidied
    return _whole(tidied) or read_fields(tidied, _read_field) or _read(tidied)


def _whole(text: str) -> Parsed | Unparsed | None:
    whole = _WHOLE.fullmatch(text) if len(text) < _LONGEST_WHOLE else None
    return _plain(whole.group(1), "number") if whole else None


def _read_field(text: str) -> Parsed | Unparsed:
    return _whole(text) or _read(text)


def _read(text: str) -> Parsed | Unparsed:
    """Apply the rules for statements in order to a tidy reply."""
    stated = {
        _trim(m.group(1))
        for m in _STATED.finditer(text)
        if not hedged(text, m.start()) and not _RANGE_AFTER.match(text, m.end())
    }
    last = {_trim(number) for number in lines_alone(text, _ALONE)}
    found = agree(stated | last, "statement" if stated else "last-line")
    if found is not None:
        return found
    word = _WORD.fullmatch(text) if len(text) < _LONGEST_WORD else None
    if word and word.group(1).lower() in _WORDS:
        return Parsed(_WORDS[word.group(1).lower()], "number-word")
    return _only_number(text)


def _only_number(text: str) -> Parsed | Unparsed:
    """Read the number of a reply that holds exactly one."""
    found = [m.span() for _, m in zip(range(2), _DIGITS.finditer(text), strict=False)]
    if not found:
        return Unparsed("no-number: the reply holds no digits")
    if len(found) > 1:
        return Unparsed("ambiguous: the reply holds several numbers")
    start, end = found[0]
    plain = _PLAIN.match(text, start)
    lead = text[max(0, start - 24) : start]
    if plain is None or plain.end() != end or _HEDGED_NUMBER.search(lead) or _RANGE_AFTER.match(text, end):
        return Unparsed("not-a-count: the number is part of a range, a fraction, an estimate or a word")
    if hedged(text, start):
        return Unparsed("not-a-count: the clause with the number is denied or conditional")
    return Parsed(_trim(plain.group(1)), "only-number")


def _plain(digits: str, rule: str) -> Parsed | Unparsed:
    if len(digits) > _MAX_DIGITS:
        return Unparsed(f"not-a-count: {len(digits)} digits")
    return Parsed(_trim(digits), rule)


def _trim(digits: str) -> str:
    return digits.lstrip("0") or "0"
