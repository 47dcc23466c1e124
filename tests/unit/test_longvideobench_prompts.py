"""LongVideoBench's prompts, letter for letter."""

import pytest

from evalkit.errors import UsageError
from evalkit_tasks.longvideobench.prompts import lmms_interleaved_prompt, official_parts, prompt_for

CANDIDATES = ["red", "blue", "green, or so"]


def test_the_official_items_are_question_options_and_instruction():
    assert official_parts("What colour?", CANDIDATES) == (
        "Question: What colour?",
        "A. red",
        "B. blue",
        "C. green, or so",
        "Answer with the option's letter from the given choices directly.",
    )


@pytest.mark.parametrize(
    ("variant", "prompt"),
    [
        (
            "official",
            "Question: What colour?\nA. red\nB. blue\nC. green, or so\n"
            "Answer with the option's letter from the given choices directly.",
        ),
        (
            "lmms-eval",
            "What colour?\nA. red\nB. blue\nC. green, or so\n"
            "Answer with the option's letter from the given choices directly.\n",
        ),
        (
            "vlmevalkit",
            "What colour?\nA. red\nB. blue\nC. green, or so\n"
            "Answer with the option's letter from the given choices directly.",
        ),
    ],
)
def test_each_variant_is_the_published_text(variant, prompt):
    assert prompt_for(variant, "What colour?", CANDIDATES) == prompt


def test_the_interleaved_prompt_has_a_line_per_frame_and_text():
    assert lmms_interleaved_prompt([0, "hello", 1], "Q?", ["x", "y"]) == (
        "<image>\nhello\n<image>\nQ?\nA. x\nB. y\n"
        "Answer with the option's letter from the given choices directly.\n"
    )


def test_an_unknown_variant_is_refused_with_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'official'"):
        prompt_for("oficial", "Q?", ["x", "y"])
