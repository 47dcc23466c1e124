"""Recorded one-token steps are the plain ones while a cache evicts, turns back and grows, or they are refused."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from evalkit.memory import FullAttention, MemoryPolicy, StreamingVLM
from evalkit.memory.cache import SpanCache
from evalkit.models import one_token
from evalkit.models.backbone import Backbone
from evalkit.models.cached import CachedModel
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.protocol import SessionRequest
from evalkit.models.settings import GenerationSettings
from evalkit.stream import Chunk, Elicitation, Narration

GREEDY = GenerationSettings(temperature=0, max_new_tokens=6, answer_tokens=4)
POLICIES = [FullAttention(), StreamingVLM(vision_window=2, text_rounds=2, text_sink=4, text_window=6)]


def backbone(checkpoint: str, how: Any) -> Backbone:
    """Return a network of these tests' own, since one that refused steps once does so for ever."""
    return load_backbone(LoadRequest(checkpoint, device="cpu", decode_step=how))


@pytest.fixture(scope="module", params=["tiny", "tiny-llava"])
def both(request: pytest.FixtureRequest) -> tuple[Backbone, Backbone]:
    return backbone(request.param, "plain"), backbone(request.param, "recorded")


def positions(start: float, count: int) -> np.ndarray:
    return np.tile(np.arange(start, start + count, dtype=np.float32), (3, 1))


@torch.inference_mode()
def through(network: Backbone, cache: SpanCache) -> list[torch.Tensor]:
    """Prefill, say tokens, forget some of what is cached, take one back, and say more than the store holds."""
    draw = torch.Generator().manual_seed(3)
    hidden: list[torch.Tensor] = []
    at = 0.0

    def step(count: int) -> None:
        nonlocal at
        width = network.embed(torch.tensor([1])).shape[1]
        placed = positions(at, count)
        cache.expect(placed)
        embeddings = torch.randn(1, count, width, generator=draw) * 0.02
        hidden.append(network.forward(embeddings, torch.from_numpy(placed), cache))
        at += count

    step(9)
    for _ in range(3):
        step(1)
    cache.keep(
        np.array([0, 1, 4, 5, 6, 7, 8, 9, 10, 11]), positions(0, 10) if cache.pristine is not None else None
    )
    step(1)
    cache.rewind(cache.length - 1)
    for _ in range(8):
        step(1)
    return hidden


@pytest.mark.parametrize("rebases", [False, True])
def test_every_step_is_the_plain_one_while_the_cache_evicts_turns_back_and_grows(
    both: tuple[Backbone, Backbone], rebases: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: list[int] = []
    call = one_token._Step.__call__
    monkeypatch.setattr(
        one_token._Step, "__call__", lambda self, *rest: (recorded.append(rest[-1]), call(self, *rest))[1]
    )
    plain, fixed = (through(one, small(one, rebases)) for one in both)
    assert len(recorded) == 12, "every token after the prefill, the first of a store both ways"
    for one, other in zip(plain, fixed, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    assert both[1].warnings == ()


def small(network: Backbone, rebases: bool) -> SpanCache:
    """Return a cache with room for a dozen tokens, beyond which uninitialised memory is as bad as it can be."""
    cache = network.new_cache(rebases=rebases)
    stores = ["keys", "values", *(["pristine"] if rebases else [])]
    for name in stores:
        store = getattr(cache, name)
        setattr(cache, name, torch.full((*store.shape[:2], 14, store.shape[3]), torch.nan))
    return cache


@pytest.mark.parametrize("policy", POLICIES, ids=["full", "streamingvlm"])
def test_a_session_says_and_answers_the_same(
    policy: MemoryPolicy, seconds: Callable[..., Iterator[Chunk]]
) -> None:
    said: dict[str, list[Any]] = {}
    for how in ("plain", "recorded"):
        model = CachedModel("m", backbone("tiny", how), policy, GREEDY, "r")
        told = SessionRequest("s", 2.0, narration=Narration("Say what happens.", " the ball goes wide" * 4))
        session = model.open(told)
        said[how] = [list(session.speak(chunk).ids) for chunk in seconds(6)]
        said[how].append(session.ask("Who has the ball?", Elicitation(), key="q").text)
        assert model.warnings == ()
    assert said["plain"] == said["recorded"]


def test_a_step_that_gives_something_else_or_cannot_be_recorded_is_refused_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = through(plain := backbone("tiny", "plain"), small(plain, False))
    work = one_token._Step._work

    def wrong(self: one_token._Step) -> torch.Tensor:
        return work(self) * 2

    def fails(self: one_token._Step) -> torch.Tensor:
        raise RuntimeError("operation not permitted\nwhen a stream is capturing")

    for broken, says in ((wrong, "was 1 from a plain one"), (fails, "not permitted when a stream is capturing")):
        monkeypatch.setattr(one_token._Step, "_work", broken)
        network = backbone("tiny", "recorded")
        found = through(network, small(network, False))
        assert all(torch.equal(one, other) for one, other in zip(wanted, found, strict=True))
        (warning,) = network.warnings
        assert says in warning


def test_the_step_of_a_stream_that_ended_is_freed() -> None:
    network = backbone("tiny", "recorded")
    cache = small(network, False)
    through(network, cache)
    places = network._decoder._steps._places  # type: ignore[attr-defined]
    assert len(places) == 1
    del cache
    gc.collect()
    assert len(places) == 0
