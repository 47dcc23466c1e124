r"""Read a multiple-choice reply: one letter stated without contradiction, or a reason why there is none.

Rules, in this order; a rule that finds two different letters makes the reply unparsed (``ambiguous``):

* ``letter``: the whole reply is one letter, in brackets or quotes if they like (``C``, ``(c)``, ``C.``).
* ``answer-tag``: ``<answer>C</answer>`` or ``\boxed{C}``.
* ``final-answer``: ``final answer: C`` or ``final answer is C``; it stands above earlier statements.
* ``statement``: ``the answer is C``, ``correct option: C``, ``Best answer: C``, ``C is correct``,
  ``option C is the best choice``, ``I choose C``, and ``it is C`` at the end of the reply.
* ``leading-letter``: the reply begins with a letter and ``.``, ``)``, ``:``, `` -`` or a line end, as an option is
  written (``C. the red ball``), and lists no second option.

A statement counts only in upper case, where its clause has no negation or hedge before it (``not``, ``if``,
``maybe`` ...), and where the letter is not joined to another (``A or B``, ``A and B``, ``A/B``). ``A`` followed by
an ordinary word is the article, not the letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from evalkit.parse.result import Parsed, Unparsed
from evalkit.parse.text import agree, hedged, tidy

__all__ = ["parse_choice"]

_WHOLE = re.compile(r"[\s(\[{<\"']{0,4}([A-Za-z])[\s)\]}>\"'.,:;!]{0,6}")
_TAG = re.compile(r"<answer>\s{0,8}\(?([A-Z])\)?\.?\s{0,8}</answer>|\\boxed\{\s{0,4}\(?\{?([A-Z])\}?\)?\s{0,4}\}")
_OPEN = r"\s{0,4}(?:(?:option|choice|letter)\s{1,4})?[(\[\"'{]{0,2}"
_BE = r"(?:\s{1,4}(?:is|was|would\s{1,4}be|should\s{1,4}be|must\s{1,4}be)\b\s{0,4}:?|\s{0,4}[:=])"
_FINAL = re.compile(rf"\bfinal\s{{1,4}}(?:answer|choice){_BE}{_OPEN}([A-Z])(?![A-Za-z0-9'])", re.IGNORECASE)
_STATED = re.compile(rf"\b(?:answer|option|choice|letter){_BE}{_OPEN}([A-Z])(?![A-Za-z0-9'])", re.IGNORECASE)
_CHOSEN = re.compile(
    rf"\b(?:i|i'd|i'll|we)\s{{1,4}}(?:would\s{{1,4}}|will\s{{1,4}})?(?:choose|pick|select|go\s{{1,4}}with|answer)"
    rf"{_OPEN}([A-Z])(?![A-Za-z0-9'])",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"(?<![A-Za-z0-9'])([A-Z])[)\]\"']{0,2}\s{1,4}is\s{1,4}(?:the\s{1,4})?(?:most\s{1,4})?"
    r"(?:correct|right|best|accurate|appropriate)\b"
)
_IT_IS = re.compile(r"\b(?:it's|it\s{1,4}is)\s{1,4}(?:option\s{1,4})?[(\"']?([A-Z])[)\"']?[.!]?$", re.IGNORECASE)
_LEADING = re.compile(
    r"(?:(?:[Oo]ption|[Cc]hoice)\s{1,4})?[(\[]?([A-Z])(?:\s{0,2}[.):\]]|\s{1,2}[-\u2013\u2014]\s|\s{0,4}\n)(?!\S\.)"
)
_LISTED = re.compile(r"(?:(?<=\s)|(?<=[(;,]))([A-Z])(?:[.)]|:\s)")
_JOINED_AFTER = re.compile(
    r"[)\]\"'.]{0,2}\s{0,3}(?:,|/|&|\+|or\b|and\b|,\s{0,3}or\b|,\s{0,3}and\b)\s{0,3}(?:option\s{1,4})?[(\"']?"
    r"[A-Z](?![A-Za-z0-9'])"
)
_JOINED_BEFORE = re.compile(
    r"(?:\b(?:or|and|nor|not|neither|either)\s{1,3}(?:option\s{1,4})?|[/&+,]\s{0,2})[(\"']?$", re.I
)
_ARTICLE_AFTER = re.compile(
    r"[ \t]{1,4}(?!(?:because|since|as|based|for|given|is|with|in\s{1,4}this|according)\b)[A-Za-z]"
)


def parse_choice(text: str, letters: str) -> Parsed | Unparsed:
    """Read the letter a reply states.

    Args:
        text: The model's reply as it stands.
        letters: Letters of the options shown, in order, such as ``"ABCD"``.

    Returns:
        The upper-case letter with the rule that read it, or the reason why no single letter is stated:
        ``empty``, ``too-long``, ``unfinished-thinking``, ``ambiguous``, ``not-an-option``, ``no-statement``.
    """
    tidied = tidy(text)
    if isinstance(tidied, Unparsed):
        return tidied
    found = _read(tidied)
    if isinstance(found, Parsed) and found.value not in letters:
        return Unparsed(f"not-an-option: {found.value} is not one of {letters}")
    return found


def _read(text: str) -> Parsed | Unparsed:
    """Apply the rules in order to a tidy reply."""
    whole = _WHOLE.fullmatch(text) if len(text) < 16 else None
    if whole:
        return Parsed(whole.group(1).upper(), "letter")
    tags = agree({m.group(1) or m.group(2) for m in _TAG.finditer(text)}, "answer-tag")
    if tags is not None:
        return tags
    final = _collect(text, _FINAL)
    if final:
        return _settle(final, "final-answer")
    stated = _collect(text, _STATED) | _collect(text, _CHOSEN) | _collect(text, _SUBJECT) | _collect(text, _IT_IS)
    leading = _leading(text)
    if stated:
        return _settle(stated | ({leading} if leading else set()), "statement")
    if leading is None:
        return Unparsed("no-statement: no letter is stated as the answer")
    others = {m.group(1) for m in _LISTED.finditer(text)} - {leading}
    return _settle({leading} | others, "leading-letter")


def _settle(values: set[str], rule: str) -> Parsed | Unparsed:
    if _MANY in values:
        return Unparsed("ambiguous: the reply joins several letters")
    return agree(values, rule) or Unparsed("no-statement: no letter is stated as the answer")


_MANY = "several"
_JOIN_LOOKBACK = 24


def _collect(text: str, pattern: re.Pattern[str]) -> set[str]:
    """Return the letters one pattern states in the text, without articles and hedged clauses."""
    return set(_letters(text, pattern))


def _letters(text: str, pattern: re.Pattern[str]) -> Iterator[str]:
    for match in pattern.finditer(text):
        letter = match.group(1)
        if not letter.isupper() or text[match.end() : match.end() + 1] == "?":
            continue
        end = match.end(1)
        lead = text[max(0, match.start(1) - _JOIN_LOOKBACK) : match.start(1)]
        if _JOINED_AFTER.match(text, end) or _JOINED_BEFORE.search(lead):
            yield _MANY
        elif pattern is not _SUBJECT and letter in "AI" and _ARTICLE_AFTER.match(text, end):
            continue
        elif not hedged(text, match.start()):
            yield letter


def _leading(text: str) -> str | None:
    """Return the letter with which the reply begins as an option is written."""
    match = _LEADING.match(text)
    return match.group(1) if match else None
