"""How the published scorers read a Video-MME reply, faults included; used for ``source`` scores only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from evalkit.parse.official import VLMEVALKIT_PREFIXES, first_letter
from evalkit_tasks.videomme.prompts import LETTERS

__all__ = ["EXTRACTORS", "OFFICIAL_PREFIXES", "lmms_eval_letter", "official_letter", "vlmevalkit_letter"]

OFFICIAL_PREFIXES = (*VLMEVALKIT_PREFIXES, "The correct answer", "The correct option")
"""``thanku-all/parse_answer`` ``eval_your_results.py`` (afd52cf), its two missing commas included."""

_TRIMMED = (",", ".", "!", "?", ";", ":", "'", '"')
_MARKED = (("({})", 6), ("{}.", 5), ("{}:", 4), ("{})", 3), ("{} ", 2))
_START, _END, _PHRASE, _ANYWHERE = 10, 9, 7, 0
_PHRASES = (
    "the answer is",
    "answer is",
    "the correct answer is",
    "correct answer is",
    "the best answer is",
    "best answer is",
    "the correct option is",
    "correct option is",
    "the best option is",
    "best option is",
    "the choice is",
    "choice is",
    "the correct choice is",
    "correct choice is",
    "i choose",
    "i select",
    "i pick",
    "my answer is",
    "my choice is",
    "옵션",
    "정답은",
    "답은",
    "답:",
    "答案是",
    "答案为",
    "选",
    "答えは",
)


def official_letter(reply: str) -> str:
    """Read a reply as the official scorer does: the first capital A-D left after deleting prefixes.

    Returns:
        The letter; empty where there is none, and then the question leaves the denominator.
    """
    return first_letter(reply, OFFICIAL_PREFIXES, LETTERS)


def vlmevalkit_letter(reply: str) -> str:
    """Read a reply by VLMEvalKit's pattern; its option matcher and judge are left out."""
    return first_letter(reply, VLMEVALKIT_PREFIXES, LETTERS)


def lmms_eval_letter(reply: str) -> str:
    """Read a reply as lmms-eval does (``_task_utils/mcq_extract.py`` as of 75571cf).

    The best-marked letter wins (alone at the start, alone at the end, after a phrase, ``(A)``, ``A.``,
    ``A:``, ``A)``, ``A `` in this order), the last one among equals. Later versions of lmms-eval read
    replies differently.

    Returns:
        The letter; empty where there is none, which lmms-eval counts as wrong.
    """
    text = reply.strip()
    for mark in _TRIMMED:
        text = text.strip(mark)
    padded = f" {text} "
    found = [*_marked(padded), *_after_phrases(padded), *_at_the_ends(padded)]
    if not found:
        found = [(_ANYWHERE, padded.rfind(letter), letter) for letter in LETTERS if letter in padded]
    return max(found, key=lambda hit: hit[:2])[2] if found else ""


def _marked(text: str) -> Iterator[tuple[int, int, str]]:
    for pattern, rank in _MARKED:
        for letter in LETTERS:
            place = text.rfind(pattern.format(letter))
            if place >= 0:
                yield rank, place, letter


def _after_phrases(text: str) -> Iterator[tuple[int, int, str]]:
    lower = text.lower()
    for phrase in _PHRASES:
        place = lower.find(phrase)
        if place < 0:
            continue
        for letter in LETTERS:
            hit = text.find(letter, place + len(phrase))
            if hit >= 0:
                yield _PHRASE, hit, letter


def _at_the_ends(text: str) -> Iterator[tuple[int, int, str]]:
    bare = text.strip()
    if bare[:1] and bare[0] in LETTERS and not bare[1:2].isalpha():
        yield _START, 0, bare[0]
    if bare[-1:] and bare[-1] in LETTERS and not bare[-2:-1].isalpha():
        yield _END, len(text) - 1, bare[-1]


EXTRACTORS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {"official": official_letter, "vlmevalkit": vlmevalkit_letter, "lmms-eval": lmms_eval_letter}
)
