"""How the published scorers read a Video-MME reply, faults included; used for ``source`` scores only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from evalkit.parse import official
from evalkit.parse.official import VLMEVALKIT_PREFIXES, first_letter
from evalkit_tasks.videomme.prompts import LETTERS

__all__ = ["EXTRACTORS", "OFFICIAL_PREFIXES", "lmms_eval_letter", "official_letter", "vlmevalkit_letter"]

OFFICIAL_PREFIXES = (*VLMEVALKIT_PREFIXES, "The correct answer", "The correct option")
"""``thanku-all/parse_answer`` ``eval_your_results.py`` (afd52cf), its two missing commas included."""


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
    """Read a reply as lmms-eval does; empty where there is no letter, which it counts as wrong."""
    return official.lmms_eval_letter(reply, LETTERS)


EXTRACTORS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {"official": official_letter, "vlmevalkit": vlmevalkit_letter, "lmms-eval": lmms_eval_letter}
)
