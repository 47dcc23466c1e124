"""Reads a judge's reply under a small grammar of named rules; whatever else it says is no vote."""

from __future__ import annotations

__all__ = ["GRAMMAR", "GRAMMARS", "ParsedVote", "UnparsedVote", "parse_commentary", "parse_vote"]

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from evalkit.parse import Unparsed
from evalkit.parse.text import spoken, trimmed

GRAMMAR: Final = "strict-letter/2"
"""Name of this grammar; part of a verdict's key, so a changed grammar asks again."""

GRAMMARS: Final[Mapping[str, str]] = MappingProxyType({"letter": GRAMMAR, "commentary": "strict-commentary/1"})
"""Grammars by the name that a prompt calls them; each changes when any reply may be read differently."""

# Each rule matches the whole stripped reply. There is no rule that searches for a letter inside a sentence:
# "A better text is B" must not be a vote.
_RULES: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("letter", re.compile(r"([AB])")),
    ("letter-stop", re.compile(r"([AB])[.)。]")),
    ("quoted", re.compile(r"[“\"'‘`]([AB])[”\"'’`]\.?")),
    ("bracketed", re.compile(r"[(\[]([AB])[)\]]\.?")),
    ("bold", re.compile(r"(\*{1,2}|_{1,2})([AB])\.?\1\.?")),
    ("formula", re.compile(r"(?:\$|\\\()([AB])(?:\$|\\\))\.?")),
    ("boxed", re.compile(r"(?:\$|\\\()?\\boxed\{\s*(?:\\text\{)?([AB])\.?\}{1,2}(?:\$|\\\))?\.?")),
    ("answer-tag", re.compile(r"<(?:answer|ANSWER)>\s*\(?([AB])[.)]?\s*</(?:answer|ANSWER)>")),
    ("answer-field", re.compile(r"\{\s*\"answer\"\s*:\s*\"([AB])\"\s*\}")),
)


@dataclass(frozen=True, slots=True)
class ParsedVote:
    """A vote: the slot, and the rule that read it."""

    slot: Literal["first", "second"]
    rule: str


@dataclass(frozen=True, slots=True)
class UnparsedVote:
    """A reply that is no vote, and why: ``empty``, ``unclosed-think`` or ``not-one-letter``."""

    reason: str


def parse_vote(reply: str) -> ParsedVote | UnparsedVote:
    r"""Read a reply that must be one uppercase letter, A or B.

    Accepted after stripping white space: ``A`` (letter), ``A.`` or ``A)`` (letter-stop), ``“A”`` and other
    quotes (quoted), ``(A)`` and ``[A]`` (bracketed), ``**A**`` or ``_A_`` (bold), ``$A$`` or ``\(A\)``
    (formula), ``\boxed{A}`` (boxed), ``<answer>A</answer>`` (answer-tag), ``{"answer": "A"}`` (answer-field).
    Reasoning up to the last ``</think>`` (`evalkit.parse.text`) is removed first, which the rule's name shows
    (``think+letter``). Reasoning that never ended is no vote, whatever letter it stops at.

    Unlike ``model_compete/judge.py``, where all that does not start with an A votes for B, nothing is guessed.
    """
    text = spoken(reply)
    if isinstance(text, Unparsed):
        return UnparsedVote("unclosed-think")
    thought = text != trimmed(reply)
    if not text:
        return UnparsedVote("empty")
    for name, pattern in _RULES:
        match = pattern.fullmatch(text)
        if match:
            letter = match.group(match.lastindex or 1)
            return ParsedVote("first" if letter == "A" else "second", f"think+{name}" if thought else name)
    return UnparsedVote("not-one-letter")


_OUTER: Final = " \t\n.*_\"'“”`"
_BETTER: Final = re.compile(
    r"commentary ([ab])(?: is (?:the )?(?:better|one that better|more)(?: aligned| aligns)?"
    r"(?: with the human commentary)?(?: than commentary [ab])?)?",
    re.IGNORECASE,
)


def parse_commentary(reply: str) -> ParsedVote | UnparsedVote:
    """Read a reply that must say which of Commentary A and Commentary B is better.

    Accepted is the sentence asked for, with or without its end (``Commentary B``), as the whole reply or its last
    line. LiveCC's ``llm_judge.py`` looks for ``Commentary A`` anywhere first, so that "Commentary B is better than
    Commentary A" is a vote for A there; here it is one for B.
    """
    text = spoken(reply)
    if isinstance(text, Unparsed):
        return UnparsedVote("unclosed-think")
    if not text.strip(_OUTER):
        return UnparsedVote("empty")
    for name, part in (("sentence", text), ("last-line", text.rstrip().rpartition("\n")[2])):
        match = _BETTER.fullmatch(part.strip(_OUTER))
        if match:
            return ParsedVote("first" if match[1].upper() == "A" else "second", name)
    return UnparsedVote("no-better-commentary")
