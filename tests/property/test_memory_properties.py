"""What holds of every memory policy on every stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from unit.test_policies import letters, opening, turn

from evalkit.memory import Ledger, MemoryPolicy, PositionRule, SlidingChunked, SlidingWindow, StreamingVLM, assign

answers = st.lists(st.text("abcd", max_size=5), min_size=1, max_size=12)
limits = st.none() | st.integers(0, 8)
streaming = st.builds(StreamingVLM, st.integers(1, 5), st.integers(1, 5), limits, limits)
policies = streaming | st.builds(SlidingWindow, st.integers(1, 5), st.integers(1, 5)) | st.builds(
    SlidingChunked, st.integers(1, 4)
)  # fmt: skip


def stream(policy: MemoryPolicy, said: Sequence[str], previous: str) -> list[tuple[Ledger, Ledger, np.ndarray]]:
    """Return, for each second, the ledger before the plan, after it, and where its tokens came from."""
    ledger, steps = Ledger(), []
    for second, words in enumerate(said):
        before = Ledger(ledger)
        plan = policy.plan(before, second)
        ledger, index = before.apply(plan)
        assert sum(before.evicted(plan).values()) == before.tokens - ledger.tokens
        steps.append((before, Ledger(ledger), index))
        spans = [] if second else opening(previous)
        if second and ledger[-1].kind == "assistant_close":
            spans.append(letters("newline", "n", ledger[-1].second))
        ledger = Ledger(ledger)
        ledger.extend(spans + turn(second, words, "" if second else "q"))
    return steps


@given(policies, answers, st.text("xyz", max_size=9))
def test_the_system_turn_and_the_sink_always_stay(policy: MemoryPolicy, said: list[str], previous: str) -> None:
    sink = getattr(policy, "text_sink", None)
    held = previous[: len(previous) if sink is None else sink]
    if isinstance(policy, StreamingVLM) and policy.text_window is None:
        held = previous
    for _, after, _ in stream(policy, said, previous)[1:]:
        assert after[0].kind == "system"
        text = "".join(chr(i) for span in after if span.kind == "previous_text" for i in span.ids)
        assert text.startswith(held)


@given(policies, answers, st.text("xyz", max_size=9))
def test_survivors_keep_their_order_but_for_words_that_join_the_previous_text(
    policy: MemoryPolicy, said: list[str], previous: str
) -> None:
    for before, after, index in stream(policy, said, previous):
        assert len(set(index.tolist())) == len(index), "no token stands twice"
        assert before.ids()[index].tolist() == after.ids().tolist()
        kinds = np.repeat([span.kind for span in after], [len(span) for span in after])
        assert (np.diff(index[kinds != "previous_text"]) > 0).all()
        assert (np.diff(index[kinds == "previous_text"]) > 0).all()


@given(policies, answers, st.text("xyz", max_size=9))
def test_what_was_there_is_kept_or_evicted(policy: MemoryPolicy, said: list[str], previous: str) -> None:
    for before, after, index in stream(policy, said, previous):
        assert after.tokens == len(index) <= before.tokens
        assert sum(after.counts.values()) == after.tokens
        survivors, all_there = Counter(after.ids().tolist()), Counter(before.ids().tolist())
        assert not survivors - all_there


@given(streaming, answers)
def test_vision_is_never_older_than_its_window(policy: StreamingVLM, said: list[str]) -> None:
    for second, (_, after, _) in enumerate(stream(policy, said, "")):
        ages = [second - (span.second or 0) for span in after if span.kind == "vision"]
        assert all(age < policy.vision_window for age in ages)
        assert len(ages) == min(second, policy.vision_window - 1)


@given(streaming, answers, st.text("xyz", max_size=9))
def test_the_previous_text_never_exceeds_its_limits(policy: StreamingVLM, said: list[str], previous: str) -> None:
    if policy.text_sink is None or policy.text_window is None:
        return
    for _, after, _ in stream(policy, said, previous)[1:]:
        assert after.counts.get("previous_text", 0) <= policy.text_sink + max(policy.text_window - 1, 0)


@given(st.integers(1, 4), st.integers(1, 4), answers, st.text("xyz", max_size=9))
def test_sliding_keeps_every_word_ever_said_but_endings(
    vision: int, rounds: int, said: list[str], previous: str
) -> None:
    _, after, _ = stream(SlidingWindow(vision, rounds), [*said, ""], previous)[-1]
    text = "".join(chr(i) for span in after if span.kind in ("previous_text", "assistant") for i in span.ids)
    retired = max(len(said) - rounds + 1, 0)
    assert text == previous + "".join(words[:-1] for words in said[:retired]) + "".join(said[retired:])


@given(policies, answers, st.integers(1, 3))
def test_positions_counted_anew_are_contiguous(policy: MemoryPolicy, said: list[str], step: int) -> None:
    _, after, _ = stream(policy, said, "xyz")[-1]
    positions, end = assign(after, PositionRule())
    assert positions.shape == (3, after.tokens)
    if after.tokens:
        assert end == positions.max() + 1
        assert set(range(int(end))) == set(positions[2].astype(int).tolist())
