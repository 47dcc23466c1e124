"""StreamingBench's prompts, exact, and how its options and its gold context are written into them.

Sources: StreamingBench (commit 8929923) ``src/benchmark/StreamingBench.py``, ``StreamingBenchSQA.py`` and
``StreamingBenchProactive.py``. The proactive poll without the gold text is this project's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = [
    "CHOICE_PROMPT",
    "CONTEXT_ENTRY",
    "CONTEXT_HEADER",
    "POLL_QUERY",
    "POLL_QUERY_WITHOUT_GOLD",
    "PROACTIVE_PROMPT",
    "SQA_PROMPT",
    "choice_prompt",
    "context_entry",
    "mended_options",
    "poll_prompt",
    "proactive_prompt",
    "shown_options",
    "sqa_prompt",
]

CHOICE_PROMPT = (
    "You are an advanced video question-answering AI assistant. You have been provided with some frames from the "
    "video and a multiple-choice question related to the video. Your task is to carefully analyze the video and "
    "provide the best answer to question, choosing from the four options provided. Respond with only the letter "
    "(A, B, C, or D) of the correct option.\n\nQuestion: {}\n\nOptions:\n{}\n{}\n{}\n{}\n\nThe best option is:"
)
SQA_PROMPT = (
    "You are an advanced video question-answering AI assistant. You have been provided with a video and a "
    "multiple-choice question related to the video. Your task is to carefully analyze the video and the provided "
    "context to answer the question, choosing from the four options provided. Respond with only the letter "
    "(A, B, C, or D) of the correct option.\n\n{}\n\nHere is the question. Answer it and don't confuse it with "
    "the "
    "previous conversation.\nQuestion: {}\n\nOptions:\n{}\n{}\n{}\n{}\n\nThe best option is:"
)
CONTEXT_HEADER = (
    "Here are the contextual information related to the video. Please answer the questions based on the "
    "contextual information: "
)
CONTEXT_ENTRY = (
    "At timestamp {}, the following question and answer occurred: "
    "Question: {}; Options: {}, {}, {}, {}; Answer: {}; "
)
PROACTIVE_PROMPT = (
    "You are an advanced image question-answering AI assistant. You have been provided with images and a question "
    "related to the images. Your task is to carefully analyze the images and provide the answer to the "
    "question. You need to carefully confirm whether the images content meet the conditions of the question, and "
    "then output the correct content.\n\nQuestion: {}\n\nThe answer is:\n"
)
POLL_QUERY = '{} Is it the right time to output "{}"? You can only answer yes or no.'
POLL_QUERY_WITHOUT_GOLD = "{} Is it the right time to give this output now? You can only answer yes or no."

_MARKS = ("A", "B", "C", "D")
_MARK = re.compile(r"\s*([A-Z])\.\s*")


def shown_options(options: Sequence[str]) -> tuple[str, str, str, str]:
    """Return the four options as the official prompt shows them.

    The first four are taken, whatever they hold; letters are added only where the first does not begin with
    ``A.``, so that ``A.Lebrun.`` stays without one.

    Raises:
        ValueError: Fewer than four options.
    """
    if len(options) < len(_MARKS):
        raise ValueError(f"must be at least 4 options, not {len(options)}")
    first, second, third, fourth = options[: len(_MARKS)]
    if not first.startswith("A."):
        return f"A. {first}", f"B. {second}", f"C. {third}", f"D. {fourth}"
    return first, second, third, fourth


def mended_options(options: Sequence[str]) -> tuple[str, str, str, str]:
    """Return four options with the known splitting faults undone.

    A piece without a letter is the rest of the piece before it (the text was split at a comma); empty pieces,
    second pieces of one letter and letters beyond D go. Four options without letters get A to D.

    Raises:
        ValueError: Not four options come out.
    """
    marks = [found.group(1) if (found := _MARK.match(option)) else "" for option in options]
    if len(options) == len(_MARKS) and tuple(marks) != _MARKS:
        first, second, third, fourth = options
        return f"A. {first}", f"B. {second}", f"C. {third}", f"D. {fourth}"
    by_letter: dict[str, str] = {}
    last = ""
    for option, mark in zip(options, marks, strict=True):
        if mark and mark not in by_letter:
            last = mark
            by_letter[last] = option
        elif not mark and option.strip() and last:
            by_letter[last] += f", {option.lstrip()}"
    if not set(_MARKS) <= set(by_letter):
        raise ValueError(f"options {', '.join(sorted(set(_MARKS) - set(by_letter)))} are not there")
    return by_letter["A"], by_letter["B"], by_letter["C"], by_letter["D"]


def choice_prompt(question: str, options: tuple[str, str, str, str]) -> str:
    """Fill the prompt of a real-time, omni-source or contextual choice question."""
    return CHOICE_PROMPT.format(question, *options)


def sqa_prompt(context: str, question: str, options: tuple[str, str, str, str]) -> str:
    """Fill the prompt of a sequential question; the context is empty or header and entries."""
    return SQA_PROMPT.format(context, question, *options)


def context_entry(time_stamp: str, question: str, options: tuple[str, str, str, str], gold: str) -> str:
    """Return what later sequential questions are told about this one: its gold answer, not the model's."""
    return CONTEXT_ENTRY.format(time_stamp, question, *options, gold)


def poll_prompt(question: str, output: str | None) -> str:
    """Fill the prompt of one proactive poll.

    Args:
        question: The instruction (``When ..., output "..."``).
        output: Gold output, repeated in the official query; ``None`` leaves it out.
    """
    if output is None:
        return PROACTIVE_PROMPT.format(POLL_QUERY_WITHOUT_GOLD.format(question))
    return PROACTIVE_PROMPT.format(POLL_QUERY.format(question, output))


def proactive_prompt(question: str) -> str:
    """Fill the prompt of the plain question that follows a poll answered with yes."""
    return PROACTIVE_PROMPT.format(question)
