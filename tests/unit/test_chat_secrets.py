"""Secrets in what servers send back: whole, in pieces, cut, escaped."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.chat import Secrets

KEY = "sk-proj-" + "".join(chr(ord("a") + n % 26) + str(n % 10) for n in range(24))
SECRETS = Secrets.of(KEY, None)


def longest_common(text: str) -> int:
    pieces = (KEY[a:b] for a in range(len(KEY)) for b in range(a + 1, len(KEY) + 1))
    return max((len(piece) for piece in pieces if piece in text), default=0)


@given(
    before=st.text("XYZ ", max_size=300),
    start=st.integers(0, len(KEY)),
    length=st.integers(0, len(KEY)),
    after=st.text("XYZ ", max_size=20),
)
def test_no_piece_of_eight_characters_is_left_of_a_key_wherever_it_is_cut(
    before: str, start: int, length: int, after: str
) -> None:
    cleaned = SECRETS.clean(before + KEY[start : start + length] + after)
    assert longest_common(cleaned) < 8
    assert cleaned.startswith(before)
    assert cleaned.endswith(after)


def test_a_key_becomes_one_mask_and_the_rest_stays() -> None:
    assert SECRETS.clean(f"Incorrect API key provided: {KEY}.") == "Incorrect API key provided: ***."
    assert SECRETS.clean(f"{KEY[:20]} and {KEY[-9:]}") == "*** and ***"
    assert SECRETS.clean(f"{KEY}{KEY}!") == "***!"
    assert SECRETS.clean("nothing of it") == "nothing of it"


def test_names_and_values_of_json_are_cleaned_at_every_depth() -> None:
    escaped = "".join(f"\\u{ord(one):04x}" for one in KEY)
    value = json.loads(f'{{"error": {{"{KEY}": ["{escaped}", 7, null, true]}}}}')
    assert SECRETS.clean_json(value) == {"error": {"***": ["***", 7, None, True]}}


@pytest.mark.parametrize(
    ("key", "text", "cleaned"),
    [
        ("x", "x is a letter", "x is a letter"),
        ("EMPTY", "the court is EMPTY", "the court is EMPTY"),
        ("secret", "the secret is out, secretly", "the *** is out, secretly"),
        ("token-abc123", "token-abc123", "***"),
    ],
)
def test_a_short_key_takes_no_words_apart(key: str, text: str, cleaned: str) -> None:
    assert Secrets.of(key, None).clean(text) == cleaned


def test_the_password_in_an_address_is_a_secret_too() -> None:
    secrets = Secrets.of(None, "https://me:hunter2%40home@host.example/v1")
    assert secrets.clean("no hunter2@home, no hunter2%40home, no bWU6aHVudGVyMkBob21l") == "no ***, no ***, no ***"


def test_half_a_character_becomes_a_question_mark() -> None:
    assert SECRETS.clean("half \ud83d") == "half ?"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("provided: sk-SE****4f2a. Find", "provided: ***. Find"),
        ("key sk-...4f2a", "key ***"),
        ("••••••4f2a", "***"),
        ("***wow*** and wait...what", "***wow*** and wait...what"),
    ],
)
def test_what_a_servers_own_mask_leaves_of_a_key_goes_with_it(text: str, cleaned: str) -> None:
    assert Secrets(("sk-SECRET-7d1e9b034f2a",)).clean(text) == cleaned
