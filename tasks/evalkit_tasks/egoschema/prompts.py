"""EgoSchema's prompts, exact, and how lmms-eval reads a reply; the benchmark itself has none for chat models."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from evalkit.tasks import Prediction
from evalkit.tasks.choice import ChoicePrompt, ChoiceQuestion, lettered

__all__ = ["LETTERS", "PROMPTS", "lmms_eval_letter"]

LETTERS = "ABCDE"
_STRIPPED = ",.!?;:'"
_POST = "Answer with the option's letter from the given choices directly."


def _lmms_eval(question: ChoiceQuestion) -> str:
    return "\n".join([question.text, *lettered(question.options), _POST])


def _rekv(question: ChoiceQuestion) -> str:
    options = "\n".join(lettered(question.options, "({}) {}"))
    return f"\nQuestion: {question.text}\nOptions:\n{options}\nOnly give the best option."


PROMPTS: Mapping[str, ChoicePrompt] = MappingProxyType(
    {
        "lmms-eval": ChoicePrompt(_lmms_eval, max_tokens=16),
        "rekv": ChoicePrompt(_rekv, prefix="Best option: (", max_tokens=16, frames="fps-0.5"),
    }
)
"""lmms-eval ``tasks/egoschema`` (75571cf), and ReKV's as STC runs it (``rekv_offline_vqa.py``, 9b13ce0)."""


def lmms_eval_letter(reply: str, question: Prediction) -> str:
    """Read a reply as lmms-eval's ``egoschema_subset`` does, without its random letter.

    All of ``(X)``, ``X `` and ``X.`` count, for every letter; of several, the one whose last occurrence comes
    first. A reply of more than five words without any is held against the whole options, letter included.

    Returns:
        The letter; empty where lmms-eval draws one at random.
    """
    text = reply
    for mark in _STRIPPED:
        text = text.strip(mark)
    text = f" {text} "
    forms = ("({})", "{} ", "{}.")
    marks = [(form.format(letter), letter) for form in forms for letter in LETTERS]
    found = [(text.rfind(mark), letter) for mark, letter in marks if mark in text]
    if not found and len(text.split()) > 5:
        lower = text.lower()
        options = [(option.strip().lower(), letter) for option, letter in _whole_options(question)]
        found = [(lower.rfind(option), letter) for option, letter in options if option in lower]
    return min(found, key=lambda hit: hit[0])[1] if found else ""


def _whole_options(question: Prediction) -> list[tuple[str, str]]:
    return [(f"{letter}. {text}", letter) for letter, text in zip(LETTERS, question.choices, strict=False)]
