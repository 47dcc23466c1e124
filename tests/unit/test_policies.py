"""Memory policies on hand-worked contexts, one letter a token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from evalkit.errors import UsageError
from evalkit.memory import (
    FullAttention,
    Kind,
    Ledger,
    MemoryPolicy,
    SlidingChunked,
    SlidingWindow,
    Span,
    StreamingVLM,
)

WAY_OUT = 10**9


def letters(kind: Kind, text: str, second: int | None = None) -> Span:
    grid = (1, 1, len(text)) if kind == "vision" else None
    return Span(kind, np.asarray([ord(c) for c in text], dtype=np.int64), second, grid, block=second)


def opening(previous: str) -> list[Span]:
    return [
        letters("system", "S"),
        letters("previous_open", "["),
        letters("previous_text", previous),
        letters("previous_close", "]"),
    ]


def turn(second: int, said: str, query: str = "") -> list[Span]:
    """Second k: `{` time `<` two vision tokens `>` query `}` `(` words `)`; the time is a digit."""
    return [
        letters("user_open", "{", second),
        letters("time", str(second), second),
        letters("vision_open", "<", second),
        letters("vision", "vV", second),
        letters("vision_close", ">", second),
        letters("query", query, second),
        letters("user_close", "}", second),
        letters("assistant_open", "(", second),
        letters("assistant", said, second),
        letters("assistant_close", ")", second),
    ]


def text(ledger: Ledger) -> str:
    return "".join(map(chr, ledger.ids()))


def play(policy: MemoryPolicy, said: Sequence[str], previous: str = "", query: str = "q") -> list[str]:
    """Return the context as each second begins, after the policy's plan, and once more at the end."""
    ledger, contexts = Ledger(), []
    for second, words in enumerate([*said, ""]):
        ledger, _ = ledger.apply(policy.plan(ledger, second))
        contexts.append(text(ledger))
        if not second:
            ledger.extend(opening(previous))
        elif ledger[-1].kind == "assistant_close":
            ledger.extend([letters("newline", "n", ledger[-1].second)])
        ledger.extend(turn(second, words, "" if second else query))
    return contexts


def limitless(vision: int, rounds: int) -> StreamingVLM:
    return StreamingVLM(vision, rounds, text_sink=None, text_window=None)


def test_full_attention_keeps_everything() -> None:
    ledger = Ledger([*opening("p"), *turn(0, "ab.")])
    assert FullAttention().plan(ledger, 1).keeps_everything


def test_before_the_first_second_nothing_is_planned() -> None:
    assert limitless(1, 1).plan(Ledger(), 0).keeps_everything


def test_where_vision_and_text_have_one_window_a_turn_goes_whole_and_its_words_stay() -> None:
    """V == TR == 2: before second 2, second 0's words, without their last token, join the previous text."""
    assert play(limitless(2, 2), ["ab.", "cd.", "ef.", "gh."], previous="p") == [
        "",
        "S[p]{0<vV>q}(ab.)",
        "S[pab]{1<vV>}(cd.)",
        "S[pabcd]{2<vV>}(ef.)",
        "S[pabcdef]{3<vV>}(gh.)",
    ]


def test_where_text_outlives_vision_the_turn_stays_without_its_frames() -> None:
    """V = 1, TR = 3: a frame is seen once; time stamp, query and answer stay for three seconds."""
    assert play(limitless(1, 3), ["ab.", "cd.", "ef.", "gh."]) == [
        "",
        "S[]{0q}(ab.)",
        "S[]{0q}(ab.)n{1}(cd.)",
        "S[ab]{1}(cd.)n{2}(ef.)",
        "S[abcd]{2}(ef.)n{3}(gh.)",
    ]


def test_where_vision_outlives_text_the_time_stamp_goes_with_the_answer() -> None:
    """V = 3, TR = 1: the words move at once, the frames stay, without their time, until the user turn goes."""
    assert play(limitless(3, 1), ["ab.", "cd.", "ef.", "gh."]) == [
        "",
        "S[ab]{<vV>q}",
        "S[abcd]{<vV>q}{<vV>}",
        "S[abcdef]{<vV>}{<vV>}",
        "S[abcdefgh]{<vV>}{<vV>}",
    ]


def test_with_windows_of_one_second_only_the_words_are_left() -> None:
    assert play(limitless(1, 1), ["ab.", "cd."]) == ["", "S[ab]", "S[abcd]"]


def test_an_answer_of_nothing_but_the_end_marker_adds_nothing() -> None:
    assert play(limitless(1, 1), ["", "cd.", ""]) == ["", "S[]", "S[cd]", "S[cd]"]


def test_an_answer_of_one_token_is_taken_for_its_ending() -> None:
    assert play(limitless(1, 1), [".", "cd."]) == ["", "S[]", "S[cd]"]


def test_an_answer_cut_off_by_the_limit_loses_its_last_word_like_any_other() -> None:
    """The rule is by place, as in the released code: the token before the end marker goes, ` ...` or not."""
    assert play(limitless(1, 1), ["abcdefghij"])[-1] == "S[abcdefghi]"


def test_of_the_previous_text_the_sink_and_the_window_less_one_stay() -> None:
    policy = StreamingVLM(1, 1, text_sink=2, text_window=4)
    assert play(policy, ["ef.", "gh.", "i."], previous="abcd")[1:] == ["S[abdef]", "S[abfgh]", "S[abghi]"]


def test_the_previous_text_is_whole_until_it_is_longer_than_its_limits() -> None:
    policy = StreamingVLM(1, 1, text_sink=2, text_window=4)
    assert play(policy, [".", "f."], previous="abcde")[1:] == ["S[abcde]", "S[abdef]"]


def test_the_first_second_finds_the_previous_text_untrimmed() -> None:
    policy = StreamingVLM(4, 4, text_sink=1, text_window=2)
    assert play(policy, ["x.", "y."], previous="abcdef")[1] == "S[af]{0<vV>q}(x.)"


@pytest.mark.parametrize(
    ("sink", "window", "left"),
    [(2, 0, "ab"), (2, 1, "ab"), (0, 3, "gh"), (0, 0, ""), (None, 3, "abcdefgh"), (3, None, "abcdefgh")],
)
def test_a_sink_or_a_window_may_be_nothing_or_without_limit(
    sink: int | None, window: int | None, left: str
) -> None:
    policy = StreamingVLM(1, 1, text_sink=sink, text_window=window)
    assert play(policy, ["gh."], previous="abcdef")[-1] == f"S[{left}]"


def test_with_windows_without_limit_streamingvlm_keeps_everything() -> None:
    said = ["ab.", "cd.", "ef."]
    assert play(limitless(WAY_OUT, WAY_OUT), said, "p") == play(FullAttention(), said, "p")


def test_sliding_window_keeps_what_streamingvlm_keeps_and_all_of_the_previous_text() -> None:
    said = ["ab.", "cd.", "ef."]
    sliding = SlidingWindow(2, 2)
    assert play(sliding, said, "p" * 2000) == play(limitless(2, 2), said, "p" * 2000)
    assert sliding.recompute
    assert not sliding.rebases


def test_sliding_chunked_starts_afresh_and_asks_for_the_instruction_again() -> None:
    policy = SlidingChunked(2)
    assert play(policy, ["ab.", "cd.", "ef."], previous="p") == [
        "",
        "S[p]{0<vV>q}(ab.)",
        "S[p]",
        "S[p]{2<vV>}(ef.)",
    ]
    ledger = Ledger([*opening("p"), *turn(0, "a.")])
    assert [policy.plan(ledger, second).restart for second in range(5)] == [False, False, True, False, True]


def test_only_cached_tokens_at_contiguous_positions_are_rebased() -> None:
    assert StreamingVLM().rebases
    assert not StreamingVLM(positions="native").rebases
    assert not StreamingVLM(recompute=True).rebases
    assert not FullAttention().rebases


def test_only_the_sliding_window_encodes_its_frames_again_unless_told_otherwise() -> None:
    assert SlidingWindow().reencodes
    assert not SlidingWindow(reuse_vision=True).reencodes
    assert not any(
        policy.reencodes for policy in (FullAttention(), SlidingChunked(), StreamingVLM(recompute=True))
    )


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"vision_window": 0}, "vision_window"),
        ({"text_rounds": 0}, "text_rounds"),
        ({"text_sink": -1}, "text_sink"),
        ({"text_window": -3}, "text_window"),
    ],
)
def test_a_window_that_cannot_be_is_refused(wrong: dict[str, int], name: str) -> None:
    with pytest.raises(UsageError, match=rf"memory\.{name} must be at least"):
        StreamingVLM(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"memory\.seconds must be at least 1, not 0"):
        SlidingChunked(0)
