"""A long previous text: prefilled in blocks between which a stop is heard, measured before, trimmed if asked."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from evalkit.memory import FullAttention, Ledger, MemoryPolicy, SlidingWindow, Span, StreamingVLM
from evalkit.models import session as sessions
from evalkit.models.catalog import catalog
from evalkit.models.entry import ModelChoice, PreviousText
from evalkit.models.local import PolicyRecipe
from evalkit.models.protocol import SessionRequest
from evalkit.models.session import CachedSession
from evalkit.models.settings import GenerationSettings
from evalkit.models.tiny import tiny_tokenizer
from evalkit.run import stop
from evalkit.run.opening import Opening
from evalkit.stream import Chunk, Narration
from tests.prefill_watch import PrefillWatch

GREEDY = GenerationSettings(temperature=0.0, max_new_tokens=4, exact_tokens=True)
LONG = Narration("Describe.", "The ball goes wide on the left and the keeper takes it. " * 40)


def session_of(
    tiny: Any, policy: MemoryPolicy, watch: PrefillWatch | None = None, heartbeat: Callable[[], None] | None = None
) -> CachedSession:
    request = SessionRequest("sample", 2.0, 0, LONG, heartbeat=heartbeat)
    return CachedSession(tiny, policy, GREEDY, request, trace=watch)


@pytest.mark.parametrize("policy", [FullAttention(), StreamingVLM(text_sink=8, text_window=8), SlidingWindow(2)])
def test_a_prefill_in_blocks_gives_what_one_at_once_gives(
    policy: MemoryPolicy, tiny: Any, seconds: Callable[[int], Iterator[Chunk]], monkeypatch: pytest.MonkeyPatch
) -> None:
    said, traces = [], []
    for block in (1 << 30, 64, 7):
        monkeypatch.setattr(sessions, "PREFILL_BLOCK", block)
        watch = PrefillWatch()
        session = session_of(tiny, policy, watch)
        said.append([session.speak(chunk).ids for chunk in seconds(3)])
        traces.append(watch.traces)
    assert said[0] == said[1] == said[2]
    for whole, *parts in zip(*traces, strict=True):
        for part in parts:
            assert part.ids.tolist() == whole.ids.tolist()
            assert np.array_equal(part.positions, whole.positions)
            torch.testing.assert_close(part.logits, whole.logits, atol=2e-4, rtol=0)


def test_a_session_is_heard_between_the_blocks_and_not_within_one(
    tiny: Any, seconds: Callable[[int], Iterator[Chunk]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PREFILL_BLOCK", 64)
    beats: list[int] = []
    watch = PrefillWatch()
    session = session_of(tiny, FullAttention(), watch, lambda: beats.append(1))
    first, second = seconds(2)
    session.speak(first)
    assert len(beats) == (len(watch.traces[0].ids) - 1) // 64 > 2
    beats.clear()
    monkeypatch.setattr(sessions, "PREFILL_BLOCK", 1 << 20)
    session.speak(second)
    assert beats == []


def test_what_is_raised_between_two_blocks_ends_the_prefill_there(
    tiny: Any, seconds: Callable[[int], Iterator[Chunk]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PREFILL_BLOCK", 64)

    def end() -> None:
        raise stop.Interrupted

    session = session_of(tiny, FullAttention(), heartbeat=end)
    with pytest.raises(stop.Interrupted):
        session.speak(next(seconds(1)))
    assert session.cache_tokens == 64


def test_a_trimmed_opening_prefills_the_sink_and_the_window_alone(
    tiny: Any, seconds: Callable[[int], Iterator[Chunk]]
) -> None:
    chunk = next(seconds(1))
    whole, trimmed = (
        session_of(tiny, StreamingVLM(text_sink=8, text_window=9, trim_opening=trim)) for trim in (False, True)
    )
    counts = [session.speak(chunk).step.kept["previous_text"] for session in (whole, trimmed)]
    assert counts[1] == 16 < counts[0]
    text = next(span.ids for span in whole.ledger if span.kind == "previous_text").tolist()
    kept = [int(i) for span in trimmed.ledger if span.kind == "previous_text" for i in span.ids]
    assert kept == text[:8] + text[-8:]
    assert trimmed.cache_tokens == whole.cache_tokens - (counts[0] - 16)


@pytest.mark.parametrize("length", [0, 5, 16])
def test_an_opening_within_the_window_is_left_as_it_is(length: int) -> None:
    ledger = Ledger([Span("system", np.arange(3)), Span("previous_text", np.arange(length))])
    policy = StreamingVLM(text_sink=8, text_window=9, trim_opening=True)
    assert Ledger(ledger.apply(policy.plan_opening(ledger))[0]).ids().tolist() == ledger.ids().tolist()


def test_the_tokens_of_a_previous_text_are_counted_before_anything_is_loaded() -> None:
    def measured(name: str, text: str, checkpoint: str = "tiny", **memory: Any) -> PreviousText:
        recipe = catalog(name).recipe(ModelChoice(checkpoint=checkpoint, settings={"memory": memory}))
        assert isinstance(recipe, PolicyRecipe)
        return recipe.previous_text(text)

    text = "word " * 4000
    exact = len(tiny_tokenizer().encode(text, add_special_tokens=False))
    assert measured("streamingvlm", text) == PreviousText(exact, True, 1023)
    assert measured("streamingvlm", text, trim_opening=True) == PreviousText(1023, True, 1023)
    assert measured("full", text) == PreviousText(exact, True, None)
    assert measured("sliding", text, "some/checkpoint") == PreviousText(5000, False, None)


@pytest.mark.parametrize(
    ("text", "said", "warned"),
    [
        (
            PreviousText(34_000, True, 1023),
            "34,000 tokens before a, of which 1,023 stay",
            "memory.trim_opening=true",
        ),
        (PreviousText(4_000, True, 1023), "4,000 tokens before a, of which 1,023 stay", None),
        (PreviousText(1_000, True, 1023), "1,000 tokens before a, none of which is dropped", None),
        (PreviousText(34_000, False, None), "about 34,000 tokens before a, all of which stay", "every second"),
        (PreviousText(8_000, True, None), "8,000 tokens before a, all of which stay", None),
    ],
)
def test_a_previous_text_far_beyond_the_window_is_warned_of(
    text: PreviousText, said: str, warned: str | None
) -> None:
    opening = Opening("a", text)
    assert str(opening).startswith(said)
    assert opening.warning is None if warned is None else warned in (opening.warning or "")


def test_the_first_signal_waits_for_the_work_in_hand_and_gives_up_what_is_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [100.0]
    monkeypatch.setattr(stop.time, "monotonic", lambda: clock[0])
    with stop.listening() as stopping:
        clock[0] += 1000
        stopping.give_up_long_work()
        assert not stopping()
        signal.raise_signal(signal.SIGTERM)
        assert stopping()
        clock[0] += stop.PATIENCE
        stopping.give_up_long_work()
        clock[0] += 0.1
        with pytest.raises(stop.Interrupted):
            stopping.give_up_long_work()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert "stopping after this second" in capsys.readouterr().err
