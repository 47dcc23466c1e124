"""The built-in word-overlap judge."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.judge import Decision, OverlapJudge, Question
from evalkit.judge.overlap import overlap_score, weighted_words

TEXT = st.text(alphabet="abAB 012.,", max_size=40)
MIRROR = {"first": "second", "second": "first", "tie": "tie"}


def decide(reference: str, first: str, second: str) -> Decision:
    return asyncio.run(OverlapJudge().decide(Question("k", reference, first, second)))


def test_the_score_is_the_weighted_dice_overlap() -> None:
    # Reference: the 1, goes 1, to 1, Curry 2, who 1, scores 1, 34 3 = 10. Candidate: Curry 2, scores 1, 31 3 = 6.
    # Shared: Curry 2, scores 1 = 3.
    assert overlap_score("The ball? it goes to Curry who scores 34", "Curry scores 31") == pytest.approx(
        2 * 3 / (12 + 6)
    )


def test_numbers_weigh_three_and_names_two() -> None:
    reference = "the pass reaches Curry at 34"
    words = [overlap_score(reference, word) for word in ("pass", "curry", "34")]
    whole = 4 * 1 + 2 + 3
    assert words == pytest.approx([2 * weight / (whole + weight) for weight in (1, 2, 3)])


def test_number_words_and_digits_are_the_same_number() -> None:
    assert overlap_score("two nothing", "2 nothing") == 1.0
    assert weighted_words("Two-nil, 2-0")[0] == {"2": 2, "nil": 1, "0": 1}


def test_a_name_is_capitalised_within_a_sentence_and_never_written_small() -> None:
    assert weighted_words("The ball. Then Curry and I pass. Pass to Green! the Ball")[1] == {"curry", "green"}


def test_repeating_a_word_does_not_win() -> None:
    assert decide("goal for Spain", "goal goal goal goal", "goal for someone").vote == "second"


def test_texts_within_the_margin_tie() -> None:
    decision = decide("one two three", "nothing", "other")
    assert (decision.vote, decision.rule) == ("tie", "overlap-within-margin")


def test_its_identity_says_that_it_is_not_an_llm() -> None:
    assert "not an LLM" in OverlapJudge().identity
    assert "not an LLM" in decide("a", "a", "b").judge


@given(TEXT, TEXT, TEXT)
def test_swapping_the_slots_swaps_the_vote_and_nothing_else(reference: str, one: str, other: str) -> None:
    assert decide(reference, other, one).vote == MIRROR[decide(reference, one, other).vote]


@given(TEXT, TEXT)
def test_the_score_lies_between_0_and_1_and_is_1_for_the_reference_itself(reference: str, text: str) -> None:
    assert 0.0 <= overlap_score(reference, text) <= 1.0
    if weighted_words(reference)[0]:
        assert overlap_score(reference, reference) == 1.0
