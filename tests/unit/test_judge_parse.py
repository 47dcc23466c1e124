"""The strict reading of a judge's reply."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.judge.parse import ParsedVote, UnparsedVote, parse_vote

SPACE = st.text(alphabet=" \t\r\n", max_size=4)


@pytest.mark.parametrize(
    ("reply", "slot", "rule"),
    [
        ("A", "first", "letter"),
        (" B\n", "second", "letter"),
        ("\ufeffA", "first", "letter"),
        ("\ufeff <think>B.</think>\u200b A\u2060\n", "first", "think+letter"),
        ("A.", "first", "letter-stop"),
        ("B)", "second", "letter-stop"),
        ("“A”", "first", "quoted"),
        ('"B".', "second", "quoted"),
        ("`A`", "first", "quoted"),
        ("(A)", "first", "bracketed"),
        ("[B]", "second", "bracketed"),
        ("**A**", "first", "bold"),
        ("**B.**", "second", "bold"),
        ("_A_", "first", "bold"),
        ("<think>B is duller.</think>\n\nA", "first", "think+letter"),
        ("so the second wins</think>**B**", "second", "think+bold"),
        ("A is first. </think>\n B", "second", "think+letter"),
        ("◁think▷A◁/think▷B", "second", "think+letter"),
        ("A。", "first", "letter-stop"),
        ("'B'", "second", "quoted"),
        (r"\(B\)", "second", "formula"),
        ("$A$.", "first", "formula"),
        (r"\boxed{A}", "first", "boxed"),
        (r"$\boxed{\text{B}}$", "second", "boxed"),
        ("<answer>B</answer>", "second", "answer-tag"),
        ("<think>A</think><ANSWER>\n(B)\n</ANSWER>", "second", "think+answer-tag"),
        ('{"answer": "A"}', "first", "answer-field"),
    ],
)
def test_a_single_letter_is_a_vote_under_a_named_rule(reply: str, slot: str, rule: str) -> None:
    assert parse_vote(reply) == ParsedVote(slot, rule)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("<think>A</think>", "empty"),
        ("<think>A", "unclosed-think"),
        ("<think>a</think><think>A", "unclosed-think"),
        ("a", "not-one-letter"),
        ("C", "not-one-letter"),
        ("AB", "not-one-letter"),
        ("A or B", "not-one-letter"),
        ("A\nB", "not-one-letter"),
        ("A better text is B", "not-one-letter"),
        ("Candidate A", "not-one-letter"),
        ("Answer: B", "not-one-letter"),
        ("**A", "not-one-letter"),
        ("**A*", "not-one-letter"),
        ("Both are good.", "not-one-letter"),
        ("А", "not-one-letter"),  # Cyrillic
        ("A</think>", "empty"),
        ("A</think><think>B", "unclosed-think"),
        ("<answer>A or B</answer>", "not-one-letter"),
        ("<answer>A</answer> B", "not-one-letter"),
        ("<answer>A</answer><answer>B</answer>", "not-one-letter"),
        (r"\boxed{A} \boxed{B}", "not-one-letter"),
        ('{"answer": "A", "loser": "B"}', "not-one-letter"),
    ],
)
def test_anything_else_is_no_vote_and_says_why(reply: str, reason: str) -> None:
    assert parse_vote(reply) == UnparsedVote(reason)


@given(st.text())
def test_a_vote_is_never_read_from_a_reply_with_other_letters_in_it(reply: str) -> None:
    parsed = parse_vote(reply + " the other one")
    assert isinstance(parsed, UnparsedVote)


@given(st.text(max_size=30))
def test_every_reply_is_either_a_vote_for_its_only_letter_or_no_vote(reply: str) -> None:
    parsed = parse_vote(reply)
    if isinstance(parsed, ParsedVote):
        tail = re.sub(r"(?i)answer|boxed|text", "", reply.rpartition("</think>")[2])
        letters = [character for character in tail if character.isalnum()]
        assert letters == ["A" if parsed.slot == "first" else "B"]


@given(st.sampled_from("AB"), SPACE, SPACE, st.text(max_size=40))
def test_white_space_and_finished_reasoning_do_not_change_a_vote(
    letter: str, before: str, after: str, thought: str
) -> None:
    bare = parse_vote(letter)
    assert isinstance(bare, ParsedVote)
    assert parse_vote(f"{before}{letter}{after}") == bare
    thinking = parse_vote(f"<think>{thought}</think>{before}{letter}{after}")
    assert thinking == ParsedVote(bare.slot, "think+letter")
