"""Several streams as one batch say, remember and answer what each says alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from evalkit.compress import CompressionSpec, parse_compression
from evalkit.memory import FullAttention, MemoryPolicy, SlidingChunked, SlidingWindow, StreamingVLM
from evalkit.models import one_token
from evalkit.models.cached import CachedModel
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.protocol import SessionRequest
from evalkit.models.session import CachedSession
from evalkit.models.settings import GenerationSettings
from evalkit.stream import Chunk, Elicitation, Narration

Seconds = Callable[..., Iterator[Chunk]]
GREEDY = GenerationSettings(temperature=0, max_new_tokens=8, answer_tokens=6)
SAMPLED = GenerationSettings(temperature=0.9, top_k=20, max_new_tokens=8)
SMALL = {"vision_window": 3, "text_rounds": 2, "text_sink": 4, "text_window": 6}
POLICIES: dict[str, MemoryPolicy] = {
    "full": FullAttention(),
    "sliding": SlidingWindow(3, 3),
    "sliding-chunked": SlidingChunked(4),
    "streamingvlm": StreamingVLM(**SMALL),
    "streamingvlm-native": StreamingVLM(**SMALL, positions="native"),
}
STREAMS = 4
LENGTHS = (6, 9, 7, 8)
QUESTIONS = ("Who has the ball?", "What is the score?", "Where is it played, and who is it that has come on?")
OPTIONS = Elicitation(options=("A", "B", "C"))


@pytest.fixture(scope="module")
def llava() -> Any:
    return load_backbone(LoadRequest("tiny-llava", device="cpu"))


def model_of(
    backbone: Any, policy: MemoryPolicy, generation: GenerationSettings = GREEDY, compress: str = "none"
) -> CachedModel:
    spec = CompressionSpec() if compress == "none" else parse_compression(compress)
    return CachedModel("m", backbone, policy, generation, "revision", spec)


class Stream:
    """One stream through a session, with what it left."""

    def __init__(self, model: CachedModel, number: int, *, narrates: bool, chunks: list[Chunk]) -> None:
        told = Narration("Say what happens.", f" in match {number} the ball goes wide" * (number + 1))
        request = SessionRequest(f"sample{number}", 2.0, 3, told if narrates else None)
        self.session: Any = model.open(request)
        self.chunks = chunks
        self.said: list[list[int]] = []
        self.kept: list[dict[str, int]] = []
        self.answers: list[str] = []

    def run(self, gather: Callable[..., Any] | None = None) -> None:
        for chunk in self.chunks:
            if self.session._request.narration is not None:
                spoken = self.session.speak(chunk)
                self.said.append(list(spoken.ids))
                self.kept.append(dict(spoken.step.kept))
            else:
                self.kept.append(dict(self.session.observe(chunk).kept))
                if chunk.tick.index % 3 == 1:
                    self.ask(gather)

    def ask(self, gather: Callable[..., Any] | None) -> None:
        asked = [(text, Elicitation()) for text in QUESTIONS] + [(QUESTIONS[0], OPTIONS)]
        keys = [f"q{number}" for number in range(len(asked))]
        if gather is None:
            calls = [
                partial(self.session.ask, text, how, key=key) for (text, how), key in zip(asked, keys, strict=True)
            ]
            self.answers += [call().text for call in calls]
            return
        forks = [self.session.fork() for _ in asked]
        calls = [
            partial(fork.ask, text, how, key=key)
            for fork, (text, how), key in zip(forks, asked, keys, strict=True)
        ]
        self.answers += [answer.text for answer in gather(calls)]


def streams_of(model: CachedModel, seconds: Seconds, size: tuple[int, int], *, narrates: bool) -> list[Stream]:
    return [
        Stream(model, number, narrates=narrates, chunks=list(seconds(length, size=size, seed=number)))
        for number, length in enumerate(LENGTHS)
    ]


def run_both(
    model: CachedModel, seconds: Seconds, size: tuple[int, int], *, narrates: bool
) -> list[tuple[Stream, Stream]]:
    alone = streams_of(model, seconds, size, narrates=narrates)
    for stream in alone:
        stream.run()
    group, shared = model.together()
    together = streams_of(shared, seconds, size, narrates=narrates)
    group.run([partial(stream.run, group.gather) for stream in together], STREAMS)
    return list(zip(alone, together, strict=True))


def assert_equal(one: Stream, other: Stream) -> None:
    assert other.said == one.said
    assert other.kept == one.kept
    assert other.answers == one.answers
    mine, its = one.session.state(), other.session.state()
    assert mine["json"] == its["json"]
    for name, tensor in mine["tensors"].items():
        torch.testing.assert_close(its["tensors"][name], tensor, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_narration_of_qwen_is_that_of_each_stream_alone(tiny: Any, policy: MemoryPolicy, seconds: Seconds) -> None:
    for one, other in run_both(model_of(tiny, policy), seconds, (84, 56), narrates=True):
        assert any(one.said)
        assert_equal(one, other)


@pytest.mark.parametrize("policy", [POLICIES["full"], POLICIES["sliding"], POLICIES["streamingvlm"]])
def test_questions_of_one_moment_and_several_streams_are_answered_as_alone(
    tiny: Any, policy: MemoryPolicy, seconds: Seconds
) -> None:
    for one, other in run_both(model_of(tiny, policy), seconds, (84, 56), narrates=False):
        assert len(one.answers) >= 8
        assert_equal(one, other)


@pytest.mark.parametrize("policy", [POLICIES["full"], POLICIES["streamingvlm"]], ids=["full", "streamingvlm"])
def test_streams_whose_one_token_steps_are_recorded_together_say_what_each_says_alone(
    policy: MemoryPolicy, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped: list[int] = []
    step = one_token._Step.__call__
    monkeypatch.setattr(
        one_token._Step,
        "__call__",
        lambda self, numbers, parts: (stepped.append(len(parts)), step(self, numbers, parts))[1],
    )
    sizes: list[int] = []
    made = one_token._Step.__init__
    monkeypatch.setattr(
        one_token._Step, "__init__", lambda self, *rest: (sizes.append(len(rest[2])), made(self, *rest))[1]
    )
    backbone = load_backbone(LoadRequest("tiny", device="cpu", decode_step="recorded"))
    for one, other in run_both(model_of(backbone, policy), seconds, (84, 56), narrates=True):
        assert_equal(one, other)
    assert backbone.warnings == ()
    assert STREAMS in stepped, "all of them at once"
    assert len(set(stepped)) > 1, "some end their sentence before others"
    assert sizes.count(STREAMS) == 1, "recorded once, whoever speaks"


@pytest.mark.parametrize("compress", ["none", "stc"])
def test_questions_of_llava_are_answered_as_alone(llava: Any, compress: str, seconds: Seconds) -> None:
    side = llava.frame_size(0, 0)
    model = model_of(llava, POLICIES["full"], compress=compress)
    for one, other in run_both(model, seconds, side, narrates=False):
        assert_equal(one, other)


def test_sampled_words_depend_on_seed_sample_and_second_alone(tiny: Any, seconds: Seconds) -> None:
    pairs = run_both(model_of(tiny, POLICIES["streamingvlm"], SAMPLED), seconds, (84, 56), narrates=True)
    replies = [(a, b) for one, other in pairs for a, b in zip(one.said, other.said, strict=True)]
    same = sum(a == b for a, b in replies)
    # Logits differ in their last bits, so a draw may fall on the other side of an edge; here none does.
    assert same == len(replies) == sum(LENGTHS)


def test_the_network_runs_once_for_all_streams(
    tiny: Any, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"heads": 0, "encodes": 0}
    head, encode_all = tiny.logits, tiny.encode_all

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        calls["heads"] += 1
        return head(hidden)

    def encoded(packed: Any) -> Any:
        calls["encodes"] += 1
        return encode_all(packed)

    monkeypatch.setattr(tiny, "logits", logits)
    monkeypatch.setattr(tiny, "encode_all", encoded)
    generation = GenerationSettings(temperature=0, max_new_tokens=5, exact_tokens=True)
    group, shared = model_of(tiny, POLICIES["streamingvlm"], generation).together()
    streams = [
        Stream(shared, number, narrates=True, chunks=list(seconds(6, seed=number))) for number in range(STREAMS)
    ]
    group.run([stream.run for stream in streams], STREAMS)
    assert calls == {"heads": 6 * 5, "encodes": 6}


def test_memory_running_out_in_a_batch_fails_the_stream_it_belongs_to(
    tiny: Any, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(tiny, POLICIES["streamingvlm"])
    alone = streams_of(model, seconds, (84, 56), narrates=True)
    for stream in alone:
        stream.run()
    group, shared = model.together()
    together = streams_of(shared, seconds, (84, 56), narrates=True)
    broken: Any = together[1].session
    forward_all, forward = tiny.forward_all, tiny.forward

    def gives_way(cache: Any) -> None:
        if cache is broken._cache and broken._second >= 4:
            raise torch.OutOfMemoryError("no memory for stream 1")

    def all_of_them(parts: Any) -> Any:
        hidden = forward_all(parts)  # every cache has been written into by now
        for _, _, cache in parts:
            gives_way(cache)
        return hidden

    def one_of_them(embeddings: Any, positions: Any, cache: Any) -> Any:
        gives_way(cache)
        return forward(embeddings, positions, cache)

    monkeypatch.setattr(tiny, "forward_all", all_of_them)
    monkeypatch.setattr(tiny, "forward", one_of_them)
    failed: list[int] = []

    def run(number: int) -> None:
        try:
            together[number].run()
        except torch.OutOfMemoryError:
            failed.append(number)

    group.run([partial(run, number) for number in range(STREAMS)], STREAMS)
    assert failed == [1]
    assert len(together[1].said) == 4
    for number in (0, 2, 3):
        assert_equal(alone[number], together[number])


def test_a_saved_stream_goes_on_in_another_company(tiny: Any, seconds: Seconds) -> None:
    model = model_of(tiny, POLICIES["streamingvlm"])
    whole = Stream(model, 0, narrates=True, chunks=list(seconds(9)))
    whole.run()
    group, shared = model.together()
    first = Stream(shared, 0, narrates=True, chunks=list(seconds(9))[:5])
    beside = [Stream(shared, n, narrates=True, chunks=list(seconds(7, seed=n))) for n in (1, 2)]
    group.run([first.run, *(stream.run for stream in beside)], 3)
    rest = Stream(shared, 0, narrates=True, chunks=list(seconds(9))[5:])
    rest.session.restore(first.session.state())
    other = Stream(shared, 3, narrates=True, chunks=list(seconds(6, seed=3)))
    group.run([other.run, rest.run], 2)
    assert first.said + rest.said == whole.said


def test_logits_of_a_batch_stay_within_a_thousandth(tiny: Any, seconds: Seconds) -> None:
    sessions = [
        CachedSession(tiny, FullAttention(), GREEDY, SessionRequest(str(n), 2.0, 0, Narration("Go.", "")))
        for n in range(3)
    ]
    for number, session in enumerate(sessions):
        for chunk in seconds(3 + number, seed=number):
            session.speak(chunk)
    one = tiny.embed(torch.tensor([300]))[None]
    hidden, batch = [], []
    for session in sessions:
        place = np.full((3, 1), session._next_position, dtype=np.float32)
        session._cache.expect(place)
        before = session.cache_tokens
        with torch.inference_mode():
            hidden.append(tiny.forward(one, torch.from_numpy(place), session._cache))
        session._cache.take_back(before)
        batch.append((one, torch.from_numpy(place), session._cache))
    with torch.inference_mode():
        together = tiny.logits(tiny.forward_all(batch))
        alone = torch.cat([tiny.logits(each) for each in hidden])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=0)
