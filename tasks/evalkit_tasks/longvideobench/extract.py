"""How the published scorers read a LongVideoBench reply, faults included; used for ``source`` scores only."""

from __future__ import annotations

from evalkit.parse.official import VLMEVALKIT_PREFIXES, first_letter
from evalkit_tasks.longvideobench.prompts import LETTERS

__all__ = ["LMMS_PREFIXES", "lmms_eval_letter", "vlmevalkit_letter"]

LMMS_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option is",
    "The correct option is",
    "Best answer:",
    "Best option:",
)
"""lmms-eval ``tasks/longvideobench/utils.py`` (75571cf), ``parse_multi_choice_response``."""


def lmms_eval_letter(reply: str) -> str:
    """Read a reply as lmms-eval does, without its random choice.

    Where no letter A-E occurs, lmms-eval draws one of the question's options from an unseeded generator;
    here the reply is unread (empty) and counts as wrong. A letter beyond the question's options is kept.
    """
    return first_letter(reply, LMMS_PREFIXES, LETTERS)


def vlmevalkit_letter(reply: str) -> str:
    """Read a reply by VLMEvalKit's pattern; its option matcher and judge are left out."""
    return first_letter(reply, VLMEVALKIT_PREFIXES, LETTERS)
