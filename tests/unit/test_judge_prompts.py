"""The judge prompt of Inf-Streams-Eval, and prompts as data."""

from __future__ import annotations

import hashlib

import pytest

from evalkit.errors import UsageError
from evalkit.judge import INF_STREAMS_PROMPT, JudgePrompt


def test_the_system_text_is_the_published_one_to_the_byte() -> None:
    text = INF_STREAMS_PROMPT.system
    assert text.startswith("\n    You are a strict A/B evaluator for sports video commentary.\n\n    Rules:\n")
    assert (
        "exactly one uppercase letter: “A” or “B”.\n\n    2) Evaluate in this order:\n    \n    Broadcast" in text
    )
    assert text.endswith("never contradict them.\n    ")
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert digest == "ee47effb652ba2bcc52276e62636d9fe6f43a12db162f3186460a02bd45c4827"


def test_each_field_is_stripped_and_cut_to_8000_characters() -> None:
    system, user = INF_STREAMS_PROMPT.messages("  ref ", " " + "x" * 9000, "b")
    assert system == {"role": "system", "content": INF_STREAMS_PROMPT.system}
    head = "Reference transcript (Provide a reference for the tone and on-screen information):\nref\n\n"
    assert user["content"] == f"{head}Candidate A:\n{'x' * 8000}\n\nCandidate B:\nb\n\n"


def test_braces_in_a_text_are_sent_as_they_are() -> None:
    content = INF_STREAMS_PROMPT.messages("{A}", "{reference}", "{0}")[1]["content"]
    assert content.endswith(":\n{A}\n\nCandidate A:\n{reference}\n\nCandidate B:\n{0}\n\n")


@pytest.mark.parametrize(
    "template", ["{reference} {A}", "{reference} {A} {B} {video}", "{reference} {A} {B} {", "{A} {B}"]
)
def test_a_template_that_lacks_a_field_or_has_another_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match="judge prompt 'mine'"):
        JudgePrompt("mine", "system", template, "test")


def test_the_digest_changes_with_whatever_shapes_the_messages() -> None:
    template = "{reference}{A}{B}"
    digests = {
        JudgePrompt("p", "s", template, "x").digest,
        JudgePrompt("p", "t", template, "x").digest,
        JudgePrompt("p", "s", template + "!", "x").digest,
        JudgePrompt("p", "s", template, "x", max_chars=10).digest,
    }
    assert len(digests) == 4
    assert JudgePrompt("q", "s", template, "y").digest in digests
