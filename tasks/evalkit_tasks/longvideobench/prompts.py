"""LongVideoBench's prompts, exact, one function per published variant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from evalkit.errors import UsageError, suggest

__all__ = [
    "ANSWER_INSTRUCTION",
    "LETTERS",
    "LMMS_MAX_TOKENS",
    "PROMPTS",
    "lmms_eval_prompt",
    "lmms_interleaved_prompt",
    "official_parts",
    "official_prompt",
    "prompt_for",
    "vlmevalkit_prompt",
]

LETTERS = "ABCDE"

ANSWER_INSTRUCTION = "Answer with the option's letter from the given choices directly."
"""``longvideobench_dataset.py`` (fc3c553), and the ``post_prompt`` of lmms-eval and VLMEvalKit."""

LMMS_MAX_TOKENS = 32
"""``max_new_tokens`` of lmms-eval's ``longvideobench_val_v`` and ``_val_i``; greedy."""


def _options(candidates: Sequence[str]) -> list[str]:
    return [f"{letter}. {candidate}" for letter, candidate in zip(LETTERS, candidates, strict=False)]


def official_parts(question: str, candidates: Sequence[str]) -> tuple[str, ...]:
    """Return the text items that follow frames and subtitles (``longvideobench_dataset.py``, fc3c553)."""
    return (f"Question: {question}", *_options(candidates), ANSWER_INSTRUCTION)


def official_prompt(question: str, candidates: Sequence[str]) -> str:
    """Join the official items with newlines.

    The official loader hands over a list and leaves the joining to the model's author.
    """
    return "\n".join(official_parts(question, candidates))


def lmms_eval_prompt(question: str, candidates: Sequence[str]) -> str:
    """Prompt of lmms-eval ``longvideobench_val_v`` (75571cf): no ``Question:``, a newline at the end."""
    return "\n".join([question, *_options(candidates), ANSWER_INSTRUCTION]) + "\n"


def lmms_interleaved_prompt(items: Sequence[int | str], question: str, candidates: Sequence[str]) -> str:
    """Prompt of lmms-eval ``longvideobench_val_i``: ``<image>`` and subtitles one per line, then the question.

    Args:
        items: What ``interleave`` returned for lmms-eval's frame times.
        question: Question.
        candidates: Options.
    """
    lines = ["<image>" if isinstance(item, int) else item for item in items]
    return "\n".join(lines) + "\n" + lmms_eval_prompt(question, candidates)


def vlmevalkit_prompt(question: str, candidates: Sequence[str]) -> str:
    """Prompt of VLMEvalKit ``LongVideoBench_*`` (e8e78f0): as lmms-eval's, without the last newline."""
    return "\n".join([question, *_options(candidates), ANSWER_INSTRUCTION])


PROMPTS: Mapping[str, Callable[[str, Sequence[str]], str]] = MappingProxyType(
    {"official": official_prompt, "lmms-eval": lmms_eval_prompt, "vlmevalkit": vlmevalkit_prompt}
)


def prompt_for(variant: str, question: str, candidates: Sequence[str]) -> str:
    """Return the prompt of a variant.

    Raises:
        UsageError: There is no such variant.
    """
    if variant not in PROMPTS:
        known = ", ".join(PROMPTS)
        raise UsageError(f"longvideobench has no prompt {variant!r}{suggest(variant, PROMPTS)} (known: {known})")
    return PROMPTS[variant](question, candidates)
