"""How the published scorers read a LongVideoBench reply, faults included; used for ``source`` scores only.

The rule common to all of them, ``first_letter``, serves Video-MME too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalkit_tasks.longvideobench.prompts import LETTERS

__all__ = ["LMMS_PREFIXES", "VLMEVALKIT_PREFIXES", "first_letter", "lmms_eval_letter", "vlmevalkit_letter"]

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

VLMEVALKIT_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option isThe correct option is",
    "Best answer:Best option:",
    "Answer:",
    "Option:",
)
"""VLMEvalKit ``dataset/utils/videomme.py`` and ``longvideobench.py`` (e8e78f0): two commas are missing there,
so that two pairs of prefixes are glued together and never occur."""


def first_letter(reply: str, prefixes: Sequence[str], letters: str) -> str:
    """Delete the prefixes wherever they occur, then take the first option letter anywhere, even in a word.

    Args:
        reply: The model's text.
        prefixes: Deleted in this order.
        letters: Capital letters that count.

    Returns:
        The letter; empty where none occurs.
    """
    text = reply.strip()
    for prefix in prefixes:
        text = text.replace(prefix, "")
    match = re.search(f"[{letters}]", text)
    return match[0] if match else ""


def lmms_eval_letter(reply: str) -> str:
    """Read a reply as lmms-eval does, without its random choice.

    Where no letter A-E occurs, lmms-eval draws one of the question's options from an unseeded generator;
    here the reply is unread (empty) and counts as wrong. A letter beyond the question's options is kept.
    """
    return first_letter(reply, LMMS_PREFIXES, LETTERS)


def vlmevalkit_letter(reply: str) -> str:
    """Read a reply by VLMEvalKit's pattern; its option matcher and judge are left out."""
    return first_letter(reply, VLMEVALKIT_PREFIXES, LETTERS)
