"""Sessions of the tiny model: what each policy computes equals a plain forward over what it remembers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from evalkit.memory import FullAttention, Ledger, MemoryPolicy, SlidingChunked, SlidingWindow, StreamingVLM, assign
from evalkit.models.protocol import SessionRequest
from evalkit.models.session import CachedSession, PrefillTrace
from evalkit.models.settings import GenerationSettings
from evalkit.stream import Chunk, Elicitation, Narration
from evalkit.timing import StageClock

Seconds = Callable[..., Iterator[Chunk]]
WAY_OUT = 10**9
NARRATION = Narration("Say what happens.", " the ball goes wide on the left and number seven picks it up")
GREEDY = GenerationSettings(temperature=0, max_new_tokens=8, answer_tokens=6)
SAMPLED = GenerationSettings(temperature=0.9, max_new_tokens=8, answer_tokens=6)
SMALL = {"vision_window": 3, "text_rounds": 2, "text_sink": 4, "text_window": 6}
POLICIES: dict[str, MemoryPolicy] = {
    "full": FullAttention(),
    "sliding": SlidingWindow(3, 3),
    "sliding-reused": SlidingWindow(3, 2, reuse_vision=True),
    "sliding-chunked": SlidingChunked(4),
    "streamingvlm": StreamingVLM(**SMALL),
    "streamingvlm-native": StreamingVLM(**SMALL, positions="native"),
    "streamingvlm-recomputed": StreamingVLM(**SMALL, recompute=True),
}


class Watch:
    def __init__(self) -> None:
        self.prefills: list[PrefillTrace] = []

    def prefilled(self, trace: PrefillTrace) -> None:
        self.prefills.append(trace)

    def replied(self, ids: Sequence[int], cached: int) -> None:
        pass


def words(tiny: Any, session: CachedSession, kind: str) -> list[str]:
    """Return what stands in the context of a kind, span by span."""
    return [tiny.layout.text.decode([int(i) for i in span.ids]) for span in session.ledger if span.kind == kind]


def session_of(
    tiny: Any,
    policy: MemoryPolicy,
    generation: GenerationSettings = GREEDY,
    watch: Watch | None = None,
    narration: Narration | None = NARRATION,
    seed: int = 0,
) -> CachedSession:
    request = SessionRequest("sample", 2.0, seed, narration)
    return CachedSession(tiny, policy, generation, request, trace=watch)


@torch.inference_mode()
def plain_logits(tiny: Any, ledger: Ledger, chunks: list[Chunk]) -> torch.Tensor:
    """Logits after one prefill of a context by transformers itself, with its own cache and no session."""
    network = tiny.network
    ids = torch.from_numpy(ledger.ids())[None]
    embeddings = network.get_input_embeddings()(ids)
    start = 0
    for span in ledger:
        if span.kind == "vision":
            packed = tiny.pack(chunks[span.second].frames)
            t, h, w = packed.grid
            grid = torch.tensor([[t, 2 * h, 2 * w]])
            features = network.model.get_video_features(packed.pixels, grid).pooler_output[0]
            embeddings[0, start : start + len(span)] = features
        start += len(span)
    positions, _ = assign(ledger, tiny.positions)
    output = network.model.language_model(
        inputs_embeds=embeddings,
        position_ids=torch.from_numpy(positions)[:, None],
        past_key_values=DynamicCache(config=network.config.get_text_config()),
        use_cache=True,
    )
    return network.lm_head(output.last_hidden_state[0, -1])


def contexts(session: CachedSession, chunks: list[Chunk], watch: Watch) -> Iterator[tuple[Ledger, PrefillTrace]]:
    """Speak second by second; give the ledger as it stood at each prefill."""
    for chunk in chunks:
        session.speak(chunk)
        trace = watch.prefills[-1]
        ledger = Ledger(session.ledger)
        while ledger.tokens > len(trace.ids):
            ledger.truncate(len(ledger) - 1)
        assert ledger.ids().tolist() == trace.ids.tolist()
        yield ledger, trace


def test_full_attention_second_by_second_gives_the_logits_of_one_prefill(tiny: Any, seconds: Seconds) -> None:
    watch, chunks = Watch(), list(seconds(6))
    session = session_of(tiny, FullAttention(), watch=watch)
    for ledger, trace in contexts(session, chunks, watch):
        torch.testing.assert_close(trace.logits, plain_logits(tiny, ledger, chunks), atol=2e-4, rtol=0)
    assert trace.cached > 0


@pytest.mark.parametrize("name", ["sliding", "sliding-reused", "streamingvlm-recomputed"])
def test_sliding_equals_a_fresh_run_on_the_surviving_context(name: str, tiny: Any, seconds: Seconds) -> None:
    watch, chunks = Watch(), list(seconds(7))
    session = session_of(tiny, POLICIES[name], watch=watch)
    for ledger, trace in contexts(session, chunks, watch):
        torch.testing.assert_close(trace.logits, plain_logits(tiny, ledger, chunks), atol=2e-4, rtol=0)
        assert trace.cached == 0
    assert {span.second for span in ledger if span.kind == "vision"} == {4, 5, 6}


def test_sliding_chunked_equals_a_new_session_from_its_restart_on(tiny: Any, seconds: Seconds) -> None:
    chunks = list(seconds(6))
    watch, fresh_watch = Watch(), Watch()
    long, fresh = (session_of(tiny, SlidingChunked(4), watch=w) for w in (watch, fresh_watch))
    said = [long.speak(chunk).ids for chunk in chunks]
    assert [fresh.speak(chunk).ids for chunk in chunks[4:]] == said[4:]
    for ours, theirs in zip(watch.prefills[4:], fresh_watch.prefills, strict=True):
        assert ours.ids.tolist() == theirs.ids.tolist()
        assert (ours.positions == theirs.positions).all()
        torch.testing.assert_close(ours.logits, theirs.logits, atol=2e-4, rtol=0)


def test_streamingvlm_with_windows_without_limit_equals_full_attention(tiny: Any, seconds: Seconds) -> None:
    runs = []
    for policy in (FullAttention(), StreamingVLM(WAY_OUT, WAY_OUT, None, None)):
        watch = Watch()
        session = session_of(tiny, policy, SAMPLED, watch)
        said = [session.speak(chunk).ids for chunk in seconds(6)]
        runs.append((said, [trace.logits for trace in watch.prefills], session.ledger.ids().tolist()))
    (said, logits, ids), (other_said, other_logits, other_ids) = runs
    assert said == other_said
    assert ids == other_ids
    assert all(torch.equal(a, b) for a, b in zip(logits, other_logits, strict=True))


def test_contiguous_positions_stop_growing_and_native_ones_do_not(tiny: Any, seconds: Seconds) -> None:
    highest = {}
    for name in ("streamingvlm", "streamingvlm-native"):
        watch = Watch()
        session = session_of(tiny, POLICIES[name], watch=watch)
        for chunk in seconds(30):
            session.speak(chunk)
        highest[name] = [float(trace.positions.max()) for trace in watch.prefills]
    assert max(highest["streamingvlm"][10:]) < 150
    assert highest["streamingvlm-native"] == sorted(highest["streamingvlm-native"])
    assert highest["streamingvlm-native"][-1] > 400


def memory_of(session: CachedSession) -> dict[str, Any]:
    """Everything a session remembers, by value; what it computes anew each second is left out."""
    state = session.state()
    plain = dict(state["json"])
    recomputes = session._policy.recompute
    kept = (
        {}
        if recomputes
        else {name: value.clone() for name, value in state["tensors"].items() if "capacity" not in name}
    )
    return {"plain": plain, **kept}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[k], other[k]) if isinstance(one[k], torch.Tensor) else one[k] == other[k] for k in one
    )


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("generation", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_question_leaves_the_memory_as_it_was(
    name: str, generation: GenerationSettings, tiny: Any, seconds: Seconds
) -> None:
    asked, alone = (session_of(tiny, POLICIES[name], generation) for _ in range(2))
    open_question, options = Elicitation(), Elicitation(options=("A", "B"), prefix="The answer is:")
    for second, chunk in enumerate(seconds(7)):
        assert asked.speak(chunk).ids == alone.speak(chunk).ids, f"second {second}"
        before = memory_of(asked)
        asked.ask("What is the score?", open_question, key=f"a{second}")
        asked.ask("Which? A or B", options, key=f"b{second}")
        assert same(memory_of(asked), before), f"second {second}"
        assert same(memory_of(alone), before), f"second {second}"


@pytest.mark.parametrize("name", POLICIES)
def test_an_answer_does_not_depend_on_earlier_questions(name: str, tiny: Any, seconds: Seconds) -> None:
    """Also in a stream that only watches: one long user turn, without speaking."""
    answers = []
    for first_asks in (False, True):
        session = session_of(tiny, POLICIES[name], SAMPLED, narration=None)
        for chunk in seconds(5):
            session.observe(chunk)
            if first_asks:
                session.ask("Who has the ball?", Elicitation(), key="early")
        answers.append(session.ask("What is the score?", Elicitation(max_tokens=8), key="q"))
    assert answers[0].text == answers[1].text
    assert answers[0].context_tokens == answers[1].context_tokens


def test_a_question_before_the_first_frame_is_answered_from_the_opening(tiny: Any, seconds: Seconds) -> None:
    asked, alone = (session_of(tiny, FullAttention(), narration=None) for _ in range(2))
    asked.ask("What is the score?", Elicitation(), key="q")
    for chunk in seconds(2):
        asked.observe(chunk)
        alone.observe(chunk)
    assert asked.ledger.ids().tolist() == alone.ledger.ids().tolist()


def test_any_second_can_be_repeated_alone(tiny: Any, seconds: Seconds) -> None:
    """A restored session says what the unbroken one said, whatever was drawn before."""
    session, said, states = session_of(tiny, POLICIES["streamingvlm"], SAMPLED), [], []
    chunks = list(seconds(6))
    for chunk in chunks:
        state = session.state()
        states.append({"json": state["json"], "tensors": {k: v.clone() for k, v in state["tensors"].items()}})
        said.append(tuple(session.speak(chunk).ids))
    for second in (5, 2, 4):
        other = session_of(tiny, POLICIES["streamingvlm"], SAMPLED)
        other.restore(states[second])
        assert tuple(other.speak(chunks[second]).ids) == said[second]
    assert len(set(said)) == len(said), "the seconds differ, so that a repeated one means something"


def test_another_seed_says_something_else(tiny: Any, seconds: Seconds) -> None:
    said = []
    for seed in (0, 1):
        session = session_of(tiny, FullAttention(), SAMPLED, seed=seed)
        said.append([session.speak(chunk).ids for chunk in seconds(3)])
    assert said[0] != said[1]


@pytest.mark.parametrize("name", POLICIES)
def test_tokens_kept_are_those_before_and_in_and_said_less_the_evicted(
    name: str, tiny: Any, seconds: Seconds
) -> None:
    session, before = session_of(tiny, POLICIES[name]), 0
    for chunk in seconds(8):
        spoken = session.speak(chunk)
        step, end = spoken.step, tiny.layout.tokens.turn_close
        said = len(spoken.ids) + (spoken.ids[-1] != end)
        assert sum(step.kept.values()) == before - sum(step.evicted.values()) + sum(step.tokens_in.values()) + said
        assert step.generated == len(spoken.ids) <= 8
        assert sum(step.kept.values()) == session.ledger.tokens
        before = session.ledger.tokens


def test_stage_times_sum_to_the_total(tiny: Any, seconds: Seconds) -> None:
    session = session_of(tiny, POLICIES["streamingvlm"])
    chunks = list(seconds(20, size=(252, 168)))
    readings = itertools.count()
    session._clock = StageClock(now=lambda: float(next(readings)))
    steps, spans = [], []
    for chunk in chunks:
        before = next(readings)
        steps.append(session.speak(chunk).step)
        spans.append(next(readings) - before)
    # The clock moves by one at every reading: all between a second's first and its last is accounted for.
    assert [sum(step.stages.values()) for step in steps] == [span - 2 for span in spans]
    for step in steps:
        assert all(step.stages[stage] > 0 for stage in ("preprocess", "vision_encode", "prefill", "generate"))
        assert step.stages["other"] < 0.5 * sum(step.stages.values())
        assert 0 < (step.first_token or 0) <= sum(step.stages.values())
        assert len(step.token_times) == step.generated
        assert list(step.token_times) == sorted(step.token_times)
        assert step.token_times[0] == step.first_token


def test_vision_stands_only_where_the_frames_are(tiny: Any, seconds: Seconds) -> None:
    empty = next(seconds(1))
    bare = Chunk(empty.tick, empty.frames[:0], (), (), 0.0, 0.0)
    session = session_of(tiny, FullAttention())
    step = session.speak(bare).step
    assert "vision" not in step.tokens_in
    assert step.tokens_in["time"] > 0


def test_a_second_with_nothing_to_show_leaves_the_memory_as_it_was(tiny: Any, seconds: Seconds) -> None:
    """Below one frame a second, without time stamps, a stream has seconds of nothing."""
    first, second, third = seconds(3)
    nothing = Chunk(second.tick, second.frames[:0], (), (), 0.0, 0.0)
    request = SessionRequest("sample", 0.5, time_stamps=False)
    session = CachedSession(tiny, FullAttention(), GREEDY, request)
    session.observe(first)
    before = memory_of(session)["plain"] | {"second": 1}
    assert session.observe(nothing).tokens_in == {}
    assert memory_of(session)["plain"] == before
    assert session.observe(third).tokens_in["vision"] > 0


def test_a_session_that_is_closed_holds_nothing(tiny: Any, seconds: Seconds) -> None:
    session = session_of(tiny, SlidingWindow(3, 3))
    for chunk in seconds(3):
        session.speak(chunk)
    session.close()
    assert session.cache_tokens == 0
    assert not np.any([len(session._features), len(session._pixels)])


def test_a_protocol_s_system_text_stands_in_the_models_stead_where_questions_are_asked(
    tiny: Any, seconds: Seconds
) -> None:
    for system, said in ((None, "You are a helpful assistant"), ("Watch closely.", "Watch closely.")):
        request = SessionRequest("sample", 2.0, system=system)
        session = CachedSession(tiny, FullAttention(), GREEDY, request)
        session.observe(next(iter(seconds(1))))
        (opening,) = words(tiny, session, "system")
        assert said in opening


def test_stamps_count_from_the_origin_that_a_narration_names(tiny: Any, seconds: Seconds) -> None:
    for origin, stamps in ((0.0, ["Time=0.0-1.0s", "Time=1.0-2.0s"]), (-5.0, ["Time=5.0-6.0s", "Time=6.0-7.0s"])):
        narration = Narration("Say what happens.", time_origin=origin)
        session = session_of(tiny, FullAttention(), narration=narration)
        for chunk in seconds(2):
            session.speak(chunk)
        assert words(tiny, session, "time") == stamps
