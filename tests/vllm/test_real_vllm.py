"""The real vLLM on a tiny checkpoint says what a local session says; run with `make test-vllm`.

Where two greedy replies differ, the first difference must be one that rounding explains: the local logits of the
two tokens lie within 1e-3 of each other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here: make test-vllm has an environment of its own")

from prefill_watch import PrefillWatch, part_at_a_tie

from evalkit.models import ModelChoice, SessionRequest
from evalkit.models.cached import CachedModel
from evalkit.models.session import CachedSession
from evalkit.models.vllm import vllm_session
from evalkit.models.vllm.model import VllmModel
from evalkit.stream import Chunk, Elicitation, Narration

pytest_plugins = ["vllm_checkpoints"]

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

Seconds = Callable[..., Iterator[Chunk]]
SIZE = (336, 252)
"""Of the frames: as large as the checkpoint's processor leaves them, which scales smaller ones up."""
ENGINE = {
    "max_model_len": 8192,
    "max_num_seqs": 8,
    "enforce_eager": True,
    "extra": '{"limit_mm_per_prompt": {"image": 0, "video": 64}}',
}


@pytest.fixture(scope="module")
def checkpoint(exported: Callable[[str], Path]) -> Path:
    """A tiny checkpoint with heads wide enough, exported."""
    return exported("tiny-wide")


@pytest.fixture(scope="module")
def local(local_model: Callable[[str], CachedModel]) -> CachedModel:
    """The same checkpoint in a local session."""
    return local_model("tiny-wide")


@pytest.fixture(scope="module")
def model(checkpoint: Path, local: CachedModel) -> Iterator[VllmModel]:
    """The checkpoint in vLLM's engine."""
    os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    settings = {"model": ENGINE, "generation": local.generation.model_dump()}
    recipe = vllm_session.recipe(ModelChoice(checkpoint=str(checkpoint), dtype="float32", settings=settings))
    recipe.check()
    made = recipe.make()
    yield made
    made.close()


def watched(local: CachedModel, request: SessionRequest) -> tuple[CachedSession, PrefillWatch]:
    watch = PrefillWatch()
    return CachedSession(local.backbone, local.policy, local.generation, request, trace=watch), watch


def request_of(name: str) -> SessionRequest:
    return SessionRequest(name, 2.0, 42, Narration("Describe the match.", "It was said before"))


def narrate(session: Any, chunks: list[Chunk]) -> list[list[int]]:
    return [list(session.speak(chunk).ids) for chunk in chunks]


def test_three_streams_at_once_say_what_three_local_sessions_say(
    model: VllmModel, local: CachedModel, seconds: Seconds
) -> None:
    streams = {f"s{number}": list(seconds(8, seed=number, size=SIZE)) for number in range(3)}
    with ThreadPoolExecutor(3) as pool:
        opened = {name: model.open(request_of(name)) for name in streams}
        said = dict(zip(streams, pool.map(narrate, opened.values(), streams.values()), strict=True))
    for name, chunks in streams.items():
        session, watch = watched(local, request_of(name))
        for number, (ours, theirs) in enumerate(zip(narrate(session, chunks), said[name], strict=True)):
            if part_at_a_tie(ours, theirs, watch.traces[number]):
                break  # what follows stands on other contexts
        opened[name].close()


@pytest.mark.parametrize("elicitation", [Elicitation(), Elicitation(options=("A", "B", "C", "D"))])
def test_questions_on_more_than_ten_frames_are_answered_as_locally(
    elicitation: Elicitation, model: VllmModel, local: CachedModel, seconds: Seconds
) -> None:
    here, there = local.open(SessionRequest("q", 2.0)), model.open(SessionRequest("q", 2.0))
    for chunk in seconds(7, seed=9, size=SIZE):
        here.observe(chunk)
        there.observe(chunk)
    for number in range(3):
        answers = [one.ask(f"What is it, {number}?", elicitation, key=str(number)).text for one in (here, there)]
        assert answers[0] == answers[1]


def test_a_clip_of_many_frames_stands_in_time_as_locally(
    model: VllmModel, local: CachedModel, seconds: Seconds
) -> None:
    (clip,) = seconds(1, fps=14, seed=3, size=SIZE)
    answers = []
    for one in (local, model):
        session = one.open(SessionRequest("c", 2.0, time_stamps=False, whole_clip=True))
        session.observe(clip)
        answers.append(session.ask("Who scores?", Elicitation(), key="q").text)
    assert answers[0] == answers[1]


def test_a_resumed_stream_goes_on_as_one_that_was_not_stopped(model: VllmModel, seconds: Seconds) -> None:
    chunks = list(seconds(5, seed=4, size=SIZE))
    whole, broken = (model.open(request_of("r")) for _ in range(2))
    first = narrate(whole, chunks[:3])
    assert first == narrate(broken, chunks[:3])
    again = model.open(request_of("r"))
    again.restore(broken.state())
    assert narrate(whole, chunks[3:]) == narrate(again, chunks[3:])
