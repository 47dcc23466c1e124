"""OVO-Bench's prompts, exact: the official ones and those of the logit protocol; leaves when to ask to ``data``.

Sources: OVO-Bench (commit c34093f) ``constant.py`` and ``utils/OVOBench.py``; LiveCC (commit fdaa91e)
``evaluation/ovobench/transfer_annotation_format.py`` and ``distributed_evaluate_ovobench.py``, which StreamingVLM
ships unchanged. Misspellings and trailing spaces are the authors'.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

__all__ = [
    "BR_PROMPT",
    "CRR_PROMPT",
    "LOGIT_ANSWER_PREFIX",
    "LOGIT_OPTIONS",
    "LOGIT_TOKEN_PREFIX",
    "OFFICIAL_MAX_TOKENS",
    "REC_PROMPT",
    "SSR_PROMPT",
    "logit_choice",
    "logit_count",
    "logit_enough",
    "logit_step",
    "official_choice",
    "official_count",
    "official_enough",
    "official_step",
]

BR_PROMPT = (
    "\nQuestion: {}\nOptions:\n{}\n\nRespond only with the letter corresponding to your chosen option "
    "(e.g., A, B, C). \nDo not include any additional text or explanation in your response.\n"
)
REC_PROMPT = (
    "\nYou're watching a video in which people may perform a certain type of action repetively. \n"
    "The person performing this kind of action are referred to as 'they' in the following statement.\n"
    "You're task is to count how many times have different people in the video perform this kind of action "
    "in total.\n"
    "One complete motion counts as one. \n"
    "Now, answer the following question: {}\n"
    "Provide your answer as a single number (e.g., 0, 1, 2, 3…) indicating the total count.\n"
    "Do not include any additional text or explanation in your response.\n"
)
SSR_PROMPT = (
    "\nYou're watching a tutorial video which contain a sequential of steps. \n"
    "The following is one step from the whole procedures: \n{}\n"
    "Your task is to determine if the man or woman in the video is currently performing this step.\n"
    "Answer only with “Yes” or “No”.\n"
    "Do not include any additional text or explanation in your response.\n"
)
CRR_PROMPT = (
    "\nYou're responsible of answering questions based on the video content. \n"
    "The following question are relevant to the latest frames, i.e. the end of the video.\n{}\n"
    "Decide whether existing visual content, especially latest frames, i.e. frames that near the end of the "
    "video, provide enough information for answering the question.\n"
    "Answer only with “Yes” or “No”.\n"
    "Do not include any additional text or explanation in your response.\n"
)

OFFICIAL_MAX_TOKENS = 128
"""``max_new_tokens`` (``max_tokens``) of OVO-Bench ``models/QWen2VL.py`` and ``GPT.py``."""

LOGIT_ANSWER_PREFIX = "The answer is:\n"
"""Appended after the chat template, before the position whose logits are read."""

LOGIT_TOKEN_PREFIX = "\n"  # noqa: S105 - text before a token, no secret
"""An option's token is the last one of this text followed by the option."""

LOGIT_OPTIONS = ("No", "Yes", *string.digits, *"ABCDE")
"""The 17 options compared at every question, whatever its kind; a count of 10 cannot be said."""


def official_choice(question: str, options: Sequence[str]) -> str:
    """Fill the prompt of a backward or real-time question: options on one line, each ended by a semicolon."""
    letters = string.ascii_uppercase
    line = "; ".join(f"{letters[i]}. {option}" for i, option in enumerate(options)) + ";"
    return BR_PROMPT.format(question, line)


def official_count(activity: str) -> str:
    """Fill the prompt of a REC probe."""
    return REC_PROMPT.format(f"How many times did they {activity}?")


def official_step(step: str) -> str:
    """Fill the prompt of an SSR probe."""
    return SSR_PROMPT.format(step)


def official_enough(question: str) -> str:
    """Fill the prompt of a CRR probe."""
    return CRR_PROMPT.format(question)


def logit_choice(question: str, options: Sequence[str]) -> str:
    """Fill the logit protocol's prompt of a backward or real-time question."""
    lines = "\n".join(f"{string.ascii_uppercase[i]}. {option}" for i, option in enumerate(options))
    return f"{question}\n{lines}\nPlease select the correct answer."


def logit_count(activity: str) -> str:
    """Fill the logit protocol's prompt of a REC probe."""
    return (
        "You're watching a video in which people may perform a certaintype of action repetitively. The person "
        "performing are referred to as 'they' in the following statement. You're task is to count how many times "
        "did different people in the video perform this kind of action in total.\n"
        f"Now, answer the following question:\n\nHow many times did they {activity}?\n\n"
        "Your response type should be INT, for example, 0/1/2/3.."
    )


def logit_step(step: str) -> str:
    """Fill the logit protocol's prompt of an SSR probe."""
    return (
        "You're watching a tutorial video which contain a sequential of steps. The following is one step from the "
        f"whole procedures:\n\n{step}\n\n"
        "Your task is to decide: Is the man/woman in the video currently carrying out this step?\n"
        'Return "Yes" if the man/woman in the video is currently performing this step;\n'
        'Return "No" if not.'
    )


def logit_enough(question: str) -> str:
    """Fill the logit protocol's prompt of a CRR probe."""
    return (
        "You're responsible of answering questions based on the video content. The following question are "
        f"relevant to the latest frames, i.e. the end of the video.\n\n{question}\n\n"
        "Decide whether existing visual content, especially latest frames, i.e frames that near the end of the "
        "video, provide enough information for answering the question.\n"
        'Return "Yes" if existing visual content has provided enough information;\n'
        'Return "No" otherwise.'
    )
