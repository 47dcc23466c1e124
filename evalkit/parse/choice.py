r"""Read a multiple-choice reply: one letter stated without contradiction, or a reason why there is none.

Rules, in this order; a rule that finds two different letters makes the reply unparsed (``ambiguous``):

* ``letter``: the whole reply is one letter, in brackets or quotes if they like (``C``, ``(c)``, ``'C'``, ``C.``,
  ``\(C\)``, ``Option C``).
* ``answer-tag``, ``answer-field``: ``<answer>C</answer>``, ``\boxed{C. the red ball}``, ``{"answer": "C"}``; what
  stands there is read by the rules below and the one above (`evalkit.parse.text`).
* ``final-answer``: ``final answer: C`` or ``final answer is C``; it stands above earlier statements.
* ``statement``: ``the answer is C``, ``correct option: C``, ``Best answer: C``, ``C is correct``,
  ``option C is the best choice``, ``I choose C``, ``答案：C``, and ``it is C`` at the end of the reply.
* ``last-line``: the last line is one capital letter and nothing else.
* ``leading-letter``: the reply begins with a letter and ``.``, ``)``, ``:``, `` -`` or a line end, as an option is
  written (``C. the red ball``), and lists no second option.

A statement or a last line that differs from the leading letter contradicts it, unless the reply begins with a list
of options in their order (``A. red B. blue. The answer is B``): a list states none of them.

A statement counts only in upper case, where its clause has no negation or hedge before it (``not``, ``if``,
``maybe`` ...), and where the letter is not joined to another (``A or B``, ``A and B``, ``A/B``). ``A`` followed by
an ordinary word is the article, not the letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from evalkit.parse.result import Parsed, Unparsed
from evalkit.parse.text import agree, hedged, lines_alone, read_fields, tidy

__all__ = ["parse_choice"]

_WHOLE = re.compile(
    r"[\s(\[{<\"']{0,4}(?:(?:option|choice|letter)\s{1,3}[(\[\"']{0,2})?([A-Za-z])[\s)\]}>\"'.,:;!]{0,6}",
    re.IGNORECASE,
)
_ALONE = re.compile(r"[(\[{<\"']{0,4}([A-Z])[)\]}>\"'.,:;!]{0,4}")
_END = r"(?![A-Za-z0-9]|'[A-Za-z])"
"""No word goes on behind the letter; a closing quote may follow, an apostrophe may not."""
_OPEN = r"\s{0,4}(?:(?:option|choice|letter)\s{1,4})?[(\[\"'{]{0,2}"
_BE = r"(?:\s{1,4}(?:is|was|would\s{1,4}be|should\s{1,4}be|must\s{1,4}be)\b\s{0,4}:?|\s{0,4}[:=])"
_FINAL = re.compile(rf"\bfinal\s{{1,4}}(?:answer|choice){_BE}{_OPEN}([A-Z]){_END}", re.IGNORECASE)
_STATED = re.compile(rf"\b(?:answer|option|choice|letter){_BE}{_OPEN}([A-Z]){_END}", re.IGNORECASE)
_CHOSEN = re.compile(
    rf"\b(?:i|i'd|i'll|we)\s{{1,4}}(?:would\s{{1,4}}|will\s{{1,4}})?(?:choose|pick|select|go\s{{1,4}}with|answer)"
    rf"{_OPEN}([A-Z]){_END}",
    re.IGNORECASE,
)
_CHINESE = re.compile(
    rf"(?:答案|正确选项)(?:应该|应当|应)?[是为选]?\s{{0,4}}[:=]?\s{{0,4}}(?:选项)?{_OPEN}([A-Z]){_END}"
    rf"|(?<![不别没])选(?!项)择?\s{{0,4}}:?{_OPEN}([A-Z]){_END}"
)
_SUBJECT = re.compile(
    r"(?<![A-Za-z0-9])(?<![A-Za-z0-9]')([A-Z])[)\]\"']{0,2}\s{1,4}is\s{1,4}(?:the\s{1,4})?(?:most\s{1,4})?"
    r"(?:correct|right|best|accurate|appropriate)\b"
)
_IT_IS = re.compile(
    r"\b(?:it's|it\s{1,4}is)\s{1,4}(?:option\s{1,4})?[(\[\"']{0,2}([A-Z])[)\]\"']{0,2}[.!]?$", re.IGNORECASE
)
_LEADING = re.compile(
    r"[\"'{]{0,2}(?:(?:[Oo]ption|[Cc]hoice)\s{1,4})?[(\[\"']{0,2}([A-Z])"
    r"(?:[\"'}]{0,2}\s{0,2}[.):\]]|[\"'}]{0,2}\s{1,2}[-\u2013\u2014]\s|[\"'}]{0,2}\s{0,4}\n)(?!\S\.)"
)
_LISTED = re.compile(r"(?:(?<=\s)|(?<=[(;,\"']))([A-Z])(?:[.)]|:\s)")
_JOIN = r"(?:,\s{0,3}(?:or|and)\b|,|/|&|\+|or\b|and\b|或者?|还是|和|与)"
_JOINED_AFTER = re.compile(
    rf"[)\]}}\"'.]{{0,2}}\s{{0,3}}{_JOIN}\s{{0,3}}(?:option\s{{1,4}})?[(\[\"']{{0,2}}[A-Z]{_END}"
)
_JOINED_BEFORE = re.compile(
    r"(?:\b(?:or|and|nor|not|neither|either)\s{1,3}(?:option\s{1,4})?|[/&+,]\s{0,2})[(\"']?$", re.I
)
_SEVERAL = re.compile(
    rf"(?:(?:options?|both|either)\s{{1,4}})?[(\[\"']{{0,2}}[A-Z]{_JOINED_AFTER.pattern}", re.IGNORECASE
)
_ASKED = re.compile(r"[)\]}\"']{0,2}\s{0,2}(?:\?|吗)")
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
    found = _whole(tidied) or read_fields(tidied, _read_field) or _read(tidied)
    if isinstance(found, Parsed) and found.value not in letters:
        return Unparsed(f"not-an-option: {found.value} is not one of {letters}")
    return found


def _whole(text: str) -> Parsed | None:
    whole = _WHOLE.fullmatch(text) if len(text) < _LONGEST_WHOLE else None
    return Parsed(whole[1].upper(), "letter") if whole else None


def _read_field(text: str) -> Parsed | Unparsed:
    """Read what a reply marks as its answer; several letters in a row contradict each other there."""
    found = _whole(text) or _read(text)
    if isinstance(found, Unparsed) and _SEVERAL.match(text):
        return _settle({_MANY}, "")
    return found


def _read(text: str) -> Parsed | Unparsed:
    """Apply the rules for statements in order to a tidy reply."""
    final = {letter for _, letter in _letters(text, _FINAL)}
    if final:
        return _settle(final, "final-answer")
    stated = [found for rule in (_STATED, _CHOSEN, _CHINESE, _SUBJECT, _IT_IS) for found in _letters(text, rule)]
    last = lines_alone(text, _ALONE)
    leading = _leading(text)
    if stated or last:
        before = text[: min((start for start, _ in stated), default=text.rfind("\n") + 1)]
        begun = {leading} if leading and not _is_list(before, leading) else set()
        return _settle({letter for _, letter in stated} | last | begun, "statement" if stated else "last-line")
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
_LONGEST_WHOLE = 24


def _letters(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Yield where one pattern states a letter in the text, and which; not articles, not hedged clauses."""
    for match in pattern.finditer(text):
        group = match.lastindex or 1
        letter, end = match[group], match.end(group)
        if not letter.isupper() or _ASKED.match(text, match.end()):
            continue
        lead = text[max(0, match.start(group) - _JOIN_LOOKBACK) : match.start(group)]
        if _JOINED_AFTER.match(text, end) or _JOINED_BEFORE.search(lead):
            yield match.start(), _MANY
        elif pattern is not _SUBJECT and letter in "AI" and _ARTICLE_AFTER.match(text, end):
            continue
        elif not hedged(text, match.start()):
            yield match.start(), letter


def _leading(text: str) -> str | None:
    """Return the letter with which the reply begins as an option is written."""
    match = _LEADING.match(text)
    return match.group(1) if match else None


def _is_list(text: str, leading: str) -> bool:
    """Say whether a text that begins with a letter names two or more options in the order of their letters."""
    listed = list(dict.fromkeys([leading, *(m.group(1) for m in _LISTED.finditer(text))]))
    return len(listed) > 1 and listed == sorted(listed)
