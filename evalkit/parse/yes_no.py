r"""Read a yes-or-no reply: one of the two stated without contradiction, or a reason why there is none.

Rules, in this order:

* ``word``: the whole reply is yes or no in any case (``Yes``, ``"no".``).
* ``letter``: the whole reply is ``Y`` or ``N``, which OVO-Bench's own scorer takes too.
* ``answer-tag``, ``answer-field``: ``<answer>Yes</answer>``, ``\boxed{Yes}``, ``{"answer": "Yes"}``; what stands
  there is read by the rules below and those above (`evalkit.parse.text`).
* ``statement``: ``the answer is yes``, ``answer: No``, ``答案：Yes``.
* ``last-line``: the last line is yes or no and nothing else, and nothing before it says the other.
* ``leading-word``: the reply begins with yes or no and a comma, full stop, colon, dash or line end, and does not
  take it back. ``No one is cooking`` and ``Yes and no`` say neither.

The rules treat both words alike, so that a wordy model gains nothing on either side.
"""

from __future__ import annotations

import re

from evalkit.parse.result import Parsed, Unparsed
from evalkit.parse.text import agree, hedged, lines_alone, read_fields, tidy

__all__ = ["parse_yes_no"]

_LONGEST_WHOLE = 20
_VALUES = {"yes": "Yes", "no": "No", "y": "Yes", "n": "No"}
_WHOLE = re.compile(r"[\s(\[{<\"']{0,4}(yes|no|y|n)[\s)\]}>\"'.,!;:]{0,6}", re.IGNORECASE)
_ALONE = re.compile(r"[(\[{\"']{0,4}(yes|no)[)\]}\"'.!]{0,4}", re.IGNORECASE)
_STATED = re.compile(
    r"(?:\banswer(?:\s{1,4}(?:is|was|would\s{1,4}be|should\s{1,4}be)\s{0,4}:?|\s{0,4}[:=])|答案[是为]?\s{0,4}:?)"
    r"\s{0,4}[\"'({]{0,2}(yes|no)\b"
    r"(?!\s{0,2}(?:or|and|/)\s{0,2}(?:yes|no)\b)",
    re.IGNORECASE,
)
_LEADING = re.compile(
    r"[\"'(]{0,2}(yes|no)[\"')]{0,2}(?:\s{0,2}[.,:;!]|\s{1,2}[-\u2013\u2014]|\s{0,2}\n)", re.IGNORECASE
)
_STANDING = re.compile(r"\b(yes|no)(?=[\"')]{0,2}(?:\s{0,2}[.,;:!?]|\s{0,4}$))", re.IGNORECASE)


def parse_yes_no(text: str) -> Parsed | Unparsed:
    """Read whether a reply says yes or no.

    Args:
        text: The model's reply as it stands.

    Returns:
        ``Yes`` or ``No`` with the rule that read it, or the reason why it is neither: ``empty``, ``too-long``,
        ``unfinished-thinking``, ``ambiguous``, ``no-statement``.
    """
    tidied = tidy(text)
    if isinstance(tidied, Unparsed):
        return tidied
    return _whole(tidied) or read_fields(tidied, _read_field) or _read(tidied)


def _whole(text: str) -> Parsed | None:
    whole = _WHOLE.fullmatch(text) if len(text) < _LONGEST_WHOLE else None
    if whole is None:
        return None
    word = whole.group(1).lower()
    return Parsed(_VALUES[word], "letter" if len(word) == 1 else "word")


def _read_field(text: str) -> Parsed | Unparsed:
    return _whole(text) or _read(text)


def _read(text: str) -> Parsed | Unparsed:
    """Apply the rules for statements in order to a tidy reply."""
    nothing = Unparsed("no-statement: neither yes nor no is stated")
    stated = {_VALUES[m.group(1).lower()] for m in _STATED.finditer(text) if not hedged(text, m.start())}
    last = {_VALUES[word.lower()] for word in lines_alone(text, _ALONE)}
    leading = _LEADING.match(text)
    said = {_VALUES[leading.group(1).lower()]} if leading else set()
    if stated:
        return agree(stated | last | said, "statement") or nothing
    if not said and not last:
        return nothing
    standing = {_VALUES[m.group(1).lower()] for m in _STANDING.finditer(text)}
    return agree(said | last | standing, "leading-word" if said else "last-line") or nothing
