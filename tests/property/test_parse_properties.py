"""Laws that every parser keeps on any reply."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.parse import Parsed, Parsing, Unparsed, parse, parse_choice, parse_count, parse_open, parse_yes_no
from evalkit.parse.official import contains_letter, exact_after_strip, first_character, joined_digits

PIECES = (
    *("A", "B", "C", "D", "E", "I", "a", "3", "12", "yes", "No", "the", "answer", "is", "not", "or", "and"),
    *("final", "option", "choose", "correct", ".", ",", ":", "(", ")", "-", "**", "\n"),
    *("<answer>", "</answer>", "<think>", "</think>"),
)
WORDS = st.lists(st.sampled_from(PIECES), max_size=14).map(" ".join)
REPLIES = st.one_of(st.text(max_size=80), WORDS)
LETTER = st.sampled_from("ABCD")


def choice(text: str) -> Parsing:
    return parse_choice(text, "ABCD")


@pytest.mark.parametrize(
    ("read", "values"),
    [(choice, set("ABCD")), (parse_yes_no, {"Yes", "No"})],
)
@given(text=REPLIES)
def test_a_read_value_is_one_of_the_possible_ones(
    read: Callable[[str], Parsing], values: set[str], text: str
) -> None:
    found = read(text)
    assert found.value in values and found.rule if isinstance(found, Parsed) else ":" in found.reason


@given(text=REPLIES)
def test_a_read_count_is_a_plain_number_that_stands_in_the_reply_in_digits_or_words(text: str) -> None:
    found = parse_count(text)
    if isinstance(found, Parsed):
        assert found.value == str(int(found.value))
        assert found.rule == "number-word" or found.value in text


@given(text=REPLIES)
def test_a_read_letter_stands_in_the_reply(text: str) -> None:
    found = choice(text)
    if isinstance(found, Parsed):
        assert found.value in text.upper()


@pytest.mark.parametrize("kind", ["choice", "count", "yes-no", "open", "proactive"])
@given(text=REPLIES, before=st.text(" \n\t", max_size=3), after=st.text(" \n\t", max_size=3))
def test_outer_white_space_changes_nothing(kind: str, text: str, before: str, after: str) -> None:
    assert parse(kind, before + text + after, "wxyz") == parse(kind, text, "wxyz")


@given(
    letter=LETTER,
    lead=st.sampled_from(["The answer is ", "Answer: ", "Final answer: ", "Correct option is (", ""]),
)
def test_a_stated_letter_is_read_whatever_the_phrase(letter: str, lead: str) -> None:
    close = ")" if lead.endswith("(") else ""
    found = choice(f"{lead}{letter}{close}.")
    assert isinstance(found, Parsed)
    assert found.value == letter


@given(one=LETTER, two=LETTER, join=st.sampled_from([" or ", " and ", "/", ", ", ". The answer is "]))
def test_two_different_letters_are_never_read_as_one(one: str, two: str, join: str) -> None:
    if one != two:
        assert isinstance(choice(f"The answer is {one}{join}{two}."), Unparsed)


@given(number=st.integers(0, 999_999_999), zeros=st.integers(0, 3))
def test_a_number_alone_is_read_without_leading_zeros(number: int, zeros: int) -> None:
    assert parse_count("0" * min(zeros, 9 - len(str(number))) + str(number)) == Parsed(str(number), "number")


@given(one=st.integers(0, 99), two=st.integers(0, 99))
def test_two_numbers_are_no_count(one: int, two: int) -> None:
    assert isinstance(parse_count(f"{one} to {two}"), Unparsed)


@given(text=REPLIES)
def test_open_text_is_empty_only_where_it_is_unread(text: str) -> None:
    found = parse_open(text)
    assert isinstance(found, Unparsed) or found.value.strip() == found.value != ""


@given(text=REPLIES, gold=LETTER)
def test_the_official_rules_are_total_and_agree_with_the_strict_one_on_a_bare_letter(text: str, gold: str) -> None:
    for credited in (contains_letter(text, gold), first_character(text, gold), exact_after_strip(text, gold)):
        assert credited in (True, False)
    assert contains_letter(gold, gold)
    assert first_character(gold, gold)
    assert exact_after_strip(gold, gold)
    assert choice(gold) == Parsed(gold, "letter")
    assert joined_digits(text, "1") == ("".join(c for c in text if c.isdecimal()) == "1")
