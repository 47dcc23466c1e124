"""Text on its way to a terminal or a file for people."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from evalkit.shown import shown, shown_in_json, shown_on_one_line

ANY = st.text(st.characters(categories=("L", "N", "P", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs")))


def test_an_escape_sequence_is_shown_and_steers_nothing() -> None:
    assert shown("a\x1b]0;PWNED\x07\x9bb") == "a\\x1b]0;PWNED\\x07\\x9bb"
    assert shown("left \u202e right") == "left \\u202e right"
    assert shown("half \ud83d") == "half \\ud83d"


def test_newlines_tabs_and_every_script_stay() -> None:
    text = "line\n\tأهلا 你好 👩‍👧 naïve"
    assert shown(text) == text
    assert shown_on_one_line(text) == text.replace("\n\t", " ")


@given(ANY)
def test_no_control_character_is_left_but_newline_and_tab(text: str) -> None:
    assert all(
        unicodedata.category(one) not in ("Cc", "Cs", "Zl", "Zp") for one in shown(text) if one not in "\n\t"
    )
    shown(text).encode()


@given(ANY)
def test_json_reads_as_the_same_value(text: str) -> None:
    said = shown_in_json(json.dumps({"text": text}, ensure_ascii=False))
    assert json.loads(said) == json.loads(json.dumps({"text": text}))
    assert shown(said) == said


def test_of_a_path_of_thousands_of_letters_both_ends_are_shown(
    evalkit: Callable[..., tuple[int, str, str]],
) -> None:
    code, _, err = evalkit("score", "runs/" + "x" * 5000 + "/end")
    assert code == 2
    assert "runs/xxx" in err
    assert "characters more]" in err
    assert "xxx/end" in err
    assert len(err) < 700
