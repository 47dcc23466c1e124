"""Video-MME's prompts, exact, one function per published variant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from evalkit.errors import UsageError, suggest

__all__ = [
    "LETTERS",
    "LIVECC_ANSWER_PREFIX",
    "LIVECC_LETTER_CONTEXT",
    "LMMS_MAX_TOKENS",
    "PROMPTS",
    "livecc_prompt",
    "lmms_eval_prompt",
    "official_prompt",
    "prompt_for",
    "vlmevalkit_prompt",
]

LETTERS = "ABCD"

OFFICIAL_SUBTITLES = "This video's subtitles are listed below:\n"
OFFICIAL_INSTRUCTION = (
    "Select the best answer to the following multiple-choice question based on the video. "
    "Respond with only the letter (A, B, C, or D) of the correct option."
)
OFFICIAL_CUE = "The best answer is:"
"""Video-MME README, 06c2315, "Evaluation Pipeline"."""

LMMS_INSTRUCTION = (
    "Select the best answer to the following multiple-choice question based on the video and the subtitles. "
    "Respond with only the letter (A, B, C, or D) of the correct option."
)
LMMS_POST = "\nAnswer with the option's letter from the given choices directly."
LMMS_SUBTITLES = "This video's subtitles are listed below: \n"
LMMS_NO_SUBTITLES = "No subtitles available"
LMMS_MAX_TOKENS = 16
"""lmms-eval ``tasks/videomme/utils.py``, 75571cf. The instruction names subtitles even where there are none,
and the post prompt starts with a newline of its own, so that a blank line stands before it."""

VLMEVALKIT_FRAMES = (
    "\nThese are the frames of a video. Select the best answer to the following multiple-choice question based on "
    "the video. Respond with only the letter (A, B, C, or D) of the correct option.\n"
)
VLMEVALKIT_SUBTITLES = (
    "\nThese are the frames of a video. This video's subtitles are listed below:\n{}\nSelect the best answer to "
    "the following multiple-choice question based on the video. Respond with only the letter (A, B, C, or D) of "
    "the correct option.\n"
)
"""VLMEvalKit ``dataset/videomme.py``, e8e78f0."""

LIVECC_SUBTITLES = "This video's subtitles are listed below:\n{}\nAccording to the video and subtitles, "
LIVECC_POST = "\nPlease select the correct answer."
LIVECC_ANSWER_PREFIX = "Answer:"
"""Text put after the chat template's assistant turn (LiveCC ``distributed_mcq_predictor.py``, fdaa91e)."""
LIVECC_LETTER_CONTEXT = ": "
"""A letter's token is the last one of this text plus the letter; the answer is the largest logit of A-D."""


def official_prompt(question: str, options: Sequence[str], subtitles: Sequence[str] | None = None) -> str:
    """Prompt of the official README.

    Args:
        question: Question.
        options: The four options with their letters (``"A. Apples."``).
        subtitles: Texts of the shown frames' subtitles; ``None`` is the setting without subtitles.
    """
    head = "" if subtitles is None else OFFICIAL_SUBTITLES + "\n".join(subtitles) + "\n"
    return head + "\n".join([OFFICIAL_INSTRUCTION, question, *options, OFFICIAL_CUE])


def lmms_eval_prompt(question: str, options: Sequence[str], subtitles: Sequence[str] | None = None) -> str:
    """Prompt of lmms-eval ``videomme`` or, with subtitles, ``videomme_w_subtitle``.

    The variant with subtitles ends with "The best answer is:", the one without with the post prompt.
    """
    body = "\n".join([LMMS_INSTRUCTION, question, *options]) + "\n"
    if subtitles is None:
        return body + LMMS_POST
    shown = "\n".join(subtitles) if subtitles else LMMS_NO_SUBTITLES
    return LMMS_SUBTITLES + shown + "\n" + body + OFFICIAL_CUE


def vlmevalkit_prompt(question: str, options: Sequence[str], subtitles: Sequence[str] | None = None) -> str:
    """Text of VLMEvalKit's ``Video-MME`` after the frames: instruction and question are two items there."""
    frames = VLMEVALKIT_FRAMES if subtitles is None else VLMEVALKIT_SUBTITLES.format("\n".join(subtitles))
    return frames + "Question: " + "\n".join([question, *options]) + "\nAnswer: "


def livecc_prompt(question: str, options: Sequence[str], subtitles: Sequence[str] | None = None) -> str:
    """Prompt of LiveCC's logit protocol; with subtitles, all of the video's, joined with blanks."""
    head = "" if subtitles is None else LIVECC_SUBTITLES.format(" ".join(subtitles))
    return head + "\n".join([question, *options]) + LIVECC_POST


PROMPTS: Mapping[str, Callable[[str, Sequence[str], Sequence[str] | None], str]] = MappingProxyType(
    {
        "official": official_prompt,
        "lmms-eval": lmms_eval_prompt,
        "vlmevalkit": vlmevalkit_prompt,
        "livecc": livecc_prompt,
    }
)


def prompt_for(variant: str, question: str, options: Sequence[str], subtitles: Sequence[str] | None) -> str:
    """Return the prompt of a variant.

    Raises:
        UsageError: There is no such variant.
    """
    if variant not in PROMPTS:
        known = ", ".join(PROMPTS)
        raise UsageError(f"videomme has no prompt {variant!r}{suggest(variant, PROMPTS)} (known: {known})")
    return PROMPTS[variant](question, options, subtitles)
