"""Video-MME's prompts, letter for letter, and which subtitles each lists."""

import pytest

from evalkit.errors import UsageError
from evalkit.tasks.subtitles import Subtitle
from evalkit_tasks.videomme.prompts import prompt_for
from evalkit_tasks.videomme.subtitles import listed_subtitles

OPTIONS = ["A. Black.", "B. Gray.", "C. Green.", "D. Brown."]
BODY = "What colour?\nA. Black.\nB. Gray.\nC. Green.\nD. Brown.\n"
ASK = (
    "Select the best answer to the following multiple-choice question based on the video. "
    "Respond with only the letter (A, B, C, or D) of the correct option.\n"
)
LMMS_ASK = ASK.replace("the video.", "the video and the subtitles.")


@pytest.mark.parametrize(
    ("variant", "subtitles", "prompt"),
    [
        ("official", None, ASK + BODY + "The best answer is:"),
        (
            "official",
            ["Hi guys", "bye"],
            "This video's subtitles are listed below:\nHi guys\nbye\n" + ASK + BODY + "The best answer is:",
        ),
        (
            "lmms-eval",
            None,
            LMMS_ASK + BODY + "\nAnswer with the option's letter from the given choices directly.",
        ),
        (
            "lmms-eval",
            ["Hi"],
            "This video's subtitles are listed below: \nHi\n" + LMMS_ASK + BODY + "The best answer is:",
        ),
        (
            "lmms-eval",
            [],
            "This video's subtitles are listed below: \nNo subtitles available\n"
            + LMMS_ASK
            + BODY
            + "The best answer is:",
        ),
        ("vlmevalkit", None, "\nThese are the frames of a video. " + ASK + "Question: " + BODY + "Answer: "),
        (
            "vlmevalkit",
            ["Hi", "{braces}"],
            "\nThese are the frames of a video. This video's subtitles are listed below:\nHi\n{braces}\n"
            + ASK
            + "Question: "
            + BODY
            + "Answer: ",
        ),
        ("livecc", None, BODY + "Please select the correct answer."),
        (
            "livecc",
            ["Hi", "bye"],
            "This video's subtitles are listed below:\nHi bye\nAccording to the video and subtitles, "
            + BODY
            + "Please select the correct answer.",
        ),
    ],
)
def test_each_variant_is_the_published_text(variant, subtitles, prompt):
    assert prompt_for(variant, "What colour?", OPTIONS, subtitles) == prompt


def test_an_unknown_variant_is_refused_with_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'livecc'"):
        prompt_for("livec", "Q?", OPTIONS, None)


def _font(text):
    return f'<font color="white" size=".72c">{text}</font>'


SUBTITLES = (
    Subtitle(0.0, 2.0, _font("one")),
    Subtitle(2.0, 4.0, "plain"),
    Subtitle(3.5, 6.0, _font("three")),
    Subtitle(9.0, 9.5, _font("never shown")),
)


@pytest.mark.parametrize(
    ("variant", "texts"),
    [
        ("official", ["one", "plain", "three"]),  # frames at 0, 2.5, 3, 5 s
        ("lmms-eval", ["one", "three"]),  # what has no font tag is dropped
        ("vlmevalkit", ["plain", "plain", "three"]),  # strictly inside, so none at 0 s; one per frame
        ("livecc", ["one", "plain", "three", "never shown"]),
    ],
)
def test_each_variant_lists_the_subtitles_that_its_code_lists(variant, texts):
    assert listed_subtitles(variant, SUBTITLES, (0, 5, 6, 10), 2.0) == texts


def test_a_video_without_subtitles_gets_the_plain_official_prompt():
    assert listed_subtitles("official", None, (0,), 1.0) is None
    assert listed_subtitles("lmms-eval", None, (0,), 1.0) == []
