"""MLVU's prompts, exact, and how the published scorers read a reply."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from evalkit.parse.official import lmms_eval_letter
from evalkit.tasks import Prediction
from evalkit.tasks.choice import ChoicePrompt, ChoiceQuestion, lettered

__all__ = ["PROMPTS", "SYSTEM_CHOICE", "SYSTEM_OPEN", "lmms_letter", "official_letter", "row_text"]

SYSTEM_CHOICE = (
    "Carefully watch this video and pay attention to every detail. Based on your observations, select the best "
    "option that accurately addresses the question."
)
SYSTEM_OPEN = (
    "Carefully watch this video and pay attention to every detail. Based on your observations, answer the given "
    "questions."
)
"""MLVU ``evaluation`` (``choice_bench.py``, ``open_bench.py``, fd060c1)."""


def row_text(text: str, options: tuple[str, ...]) -> str:
    """Return a question as lmms-eval's rows have it: options in brackets, a line end after the last."""
    return "\n".join([text, *lettered(options, "({}) {}")]) + "\n"


def _official(question: ChoiceQuestion) -> str:
    if question.kind == "open":
        return question.text
    options = "\n".join(lettered(question.options, "({}) {}"))
    return f"Question: {question.text}\nOptions:\n{options}\nOnly give the best option."


def _lmms_eval(question: ChoiceQuestion) -> str:
    return row_text(question.text, question.options) + "\nOnly give the best option.\nBest option: ("


def _lmms_eval_test(question: ChoiceQuestion) -> str:
    return row_text(question.text, question.options)


PROMPTS: Mapping[str, ChoicePrompt] = MappingProxyType(
    {
        "official": ChoicePrompt(_official, prefix="Best Option: (", system=SYSTEM_CHOICE),
        "lmms-eval": ChoicePrompt(_lmms_eval, max_tokens=16, frames="fps-1-max-64"),
        "lmms-eval-test": ChoicePrompt(_lmms_eval_test, max_tokens=16, frames="fps-1-max-64"),
        "vlmevalkit": ChoicePrompt(_official, system=SYSTEM_CHOICE, frames="vlmeval-64"),
        "rekv": ChoicePrompt(_official, prefix="Best option: (", frames="fps-0.5"),
        "generation": ChoicePrompt(_official, system=SYSTEM_OPEN),
    }
)
"""By published code: MLVU's own (fd060c1), lmms-eval's ``mlvu_dev`` and ``mlvu_test`` (75571cf), VLMEvalKit's
(e8e78f0), ReKV's as STC runs it (9b13ce0); ``generation`` is MLVU's own for the two open tasks."""


def official_letter(reply: str, question: Prediction) -> str:
    """Read a reply as MLVU's ``check_ans`` does: the character before the first bracket, else the reply whole.

    Returns:
        What was read, whether it is a letter of the question or not; empty for a reply that begins with ``)``.
    """
    before, bracket, _ = reply.partition(")")
    return before[-1:] if bracket else reply


def lmms_letter(reply: str, question: Prediction) -> str:
    """Read a reply as lmms-eval does since April 2026 (``extract_mcq_answer``)."""
    return lmms_eval_letter(reply, "ABCD")
