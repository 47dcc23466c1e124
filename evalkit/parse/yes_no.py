r"""Read a yes-or-no reply: one of the two stated without contradiction, or a reason why there is none.

Rules, in this order:

* ``word``: the whole reply is yes or no in any case (``Yes``, ``"no".``).
* ``letter``: the whole reply is ``Y`` or ``N``, which OVO-Bench's own scorer takes too.
* ``answer-tag``: ``<answer>Yes</answer>`` or ``\boxed{Yes}``.
* ``statement``: ``the answer is yes``, ``answer: No``.
* ``leading-word``: the reply begins with yes or no and a comma, full stop, colon, dash or line end, and does not
  take it back. ``No one is cooking`` and ``Yes and no`` say neither.

The rules treat both words alike, so that a wordy model gains nothing on either side.
"""

from __future__ import annotations

import re

from evalkit.parse.result import Parsed, Unparsed
from evalkit.parse.text import agree, hedged, tidy

__all__ = ["parse_yes_no"]

_VALUES = {"yes": "Yes", "no": "No", "y": "Yes", "n": "No"}
_WHOLE = re.compile(r"[\s(\[\"']{0,4}(yes|no|y|n)[\s)\]\"'.,!;:]{0,6}", re.IGNORECASE)
_TAG = re.compile(
    r"<answer>\s{0,8}(yes|no)\.?\s{0,8}</answer>|\\boxed\{\s{0,4}\{?(yes|no)\}?\s{0,4}\}", re.IGNORECASE
)
_STATED = re.compile(
    r"\banswer(?:\s{1,4}(?:is|was|would\s{1,4}be|should\s{1,4}be)\s{0,4}:?|\s{0,4}[:=])\s{0,4}[\"'(]?(yes|no)\b"
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
    whole = _WHOLE.fullmatch(tidied) if len(tidied) < 20 else None
    if whole:
        word = whole.group(1).lower()
        return Parsed(_VALUES[word], "letter" if len(word) == 1 else "word")
    tags = agree({_VALUES[(m.group(1) or m.group(2)).lower()] for m in _TAG.finditer(tidied)}, "answer-tag")
    if tags is not None:
        return tags
    stated = {_VALUES[m.group(1).lower()] for m in _STATED.finditer(tidied) if not hedged(tidied, m.start())}
    leading = _LEADING.match(tidied)
    said = {_VALUES[leading.group(1).lower()]} if leading else set()
    if stated:
        return agree(stated | said, "statement") or Unparsed("no-statement: neither yes nor no is stated")
    if not said:
        return Unparsed("no-statement: neither yes nor no is stated")
    standing = {_VALUES[m.group(1).lower()] for m in _STANDING.finditer(tidied)}
    return agree(said | standing, "leading-word") or Unparsed("no-statement: neither yes nor no is stated")
