"""A stream in vLLM's engine says what a local session says: the same context, token for token, in every request.

The engine is a double that keeps vLLM's contract by plain means; tests/vllm holds the real one to the same.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from vllm_double import PlainEngine

from evalkit.errors import ModelError, UsageError
from evalkit.memory import FullAttention
from evalkit.models import ModelChoice, SessionRequest, StopRun
from evalkit.models.backbone import Backbone
from evalkit.models.cached import CachedModel
from evalkit.models.catalog import catalog
from evalkit.models.settings import GenerationSettings
from evalkit.models.vllm import VllmEntry, in_vllm, vllm_session
from evalkit.models.vllm import model as room
from evalkit.models.vllm.engine import Engine, Reply, take
from evalkit.models.vllm.model import VllmModel
from evalkit.run import RunOptions, make_plan
from evalkit.stream import Chunk, Elicitation, Narration

Seconds = Callable[..., Iterator[Chunk]]
GREEDY = {"temperature": 0.0, "repetition_penalty": 1.0, "max_new_tokens": 4, "answer_tokens": 5}


@pytest.fixture
def engine(tiny: Backbone) -> PlainEngine:
    return PlainEngine(tiny)


@pytest.fixture
def model(engine: PlainEngine, monkeypatch: pytest.MonkeyPatch) -> VllmModel:
    monkeypatch.setattr(room, "Engine", lambda *words: engine)
    settings = {"generation": GREEDY, "model": {"max_model_len": 900}}
    return VllmModel(vllm_session.recipe(ModelChoice(checkpoint="tiny", settings=settings)))


@pytest.fixture
def local(tiny: Backbone) -> CachedModel:
    return CachedModel("full", tiny, FullAttention(), GenerationSettings(**GREEDY), "r")


def narrated(**given: Any) -> SessionRequest:
    return SessionRequest("s", 2.0, 42, Narration("Describe the match.", "It was said before"), **given)


@pytest.mark.parametrize(("louder", "ended"), [(1, False), (3, True)])
def test_narration_is_that_of_a_local_session_whether_a_reply_ended_or_was_cut_off(
    louder: int,
    ended: bool,
    model: VllmModel,
    local: CachedModel,
    tiny: Backbone,
    seconds: Seconds,
) -> None:
    row = tiny.network.lm_head.weight.detach()[model.layout.tokens.turn_close]
    row *= louder
    here, there = local.open(narrated()), model.open(narrated())
    ends = set()
    try:
        for chunk in seconds(4):
            ours, theirs = here.speak(chunk), there.speak(chunk)
            assert list(theirs.ids) == list(ours.ids)
            assert theirs.text == ours.text
            assert theirs.step.kept == ours.step.kept
            assert theirs.step.tokens_in == ours.step.tokens_in
            ends.add(theirs.ids[-1] == model.layout.tokens.turn_close)
    finally:
        row /= louder
    assert ends == {ended}


def test_each_second_is_put_in_once(model: VllmModel, engine: PlainEngine, seconds: Seconds) -> None:
    session = model.open(narrated())
    for chunk in seconds(4):
        session.speak(chunk)
    assert [len(turn.videos) for turn in engine.turns] == [1, 1, 1, 1]
    assert max(len(turn.ids) for turn in engine.turns[1:]) < 40 < len(engine.turns[0].ids)


@pytest.mark.parametrize(
    "elicitation", [Elicitation(), Elicitation(options=("A", "B", "C", "D"), prefix="Answer:")]
)
def test_a_question_is_answered_as_locally_and_leaves_the_stream_as_it_was(
    elicitation: Elicitation, model: VllmModel, local: CachedModel, seconds: Seconds
) -> None:
    here, there = local.open(SessionRequest("s", 2.0)), model.open(SessionRequest("s", 2.0))
    for chunk in seconds(3):
        for session in (here, there):
            session.observe(chunk, ("a subtitle",))
        for _ in range(2):
            ours, theirs = (session.ask("Who scores?", elicitation, key="q") for session in (here, there))
            assert (theirs.text, theirs.tokens, theirs.context_tokens) == (
                ours.text,
                ours.tokens,
                ours.context_tokens,
            )


def test_a_clip_of_many_frames_is_one_video_as_locally(
    model: VllmModel, local: CachedModel, seconds: Seconds
) -> None:
    (clip,) = seconds(1, fps=14)
    request = SessionRequest("s", 14.0, time_stamps=False, whole_clip=True)
    answers = []
    for one in (local, model):
        session = one.open(request)
        session.observe(clip)
        answers.append(session.ask("Who scores?", Elicitation(), key="q").text)
    assert answers[0] == answers[1]


def test_a_stream_resumed_from_its_state_goes_on_as_one_that_was_not_stopped(
    model: VllmModel, seconds: Seconds
) -> None:
    whole, broken = model.open(narrated()), model.open(narrated())
    chunks = list(seconds(6))
    for chunk in chunks[:4]:
        assert list(whole.speak(chunk).ids) == list(broken.speak(chunk).ids)
    state = broken.state()
    state["json"] = json.loads(json.dumps(state["json"]))
    again = model.open(narrated())
    again.restore(state)
    for chunk in chunks[4:]:
        assert list(whole.speak(chunk).ids) == list(again.speak(chunk).ids)


def test_a_stream_ends_where_the_engines_context_does(model: VllmModel, seconds: Seconds) -> None:
    session = model.open(SessionRequest("s", 2.0))
    chunks = seconds(200, size=(168, 168))
    with pytest.raises(ModelError, match=r"holds \d+ tokens in second \d+, .* raise --set model\.max_model_len"):
        deque(map(session.observe, chunks), maxlen=0)


def test_the_time_of_a_reply_is_told_apart(model: VllmModel, seconds: Seconds) -> None:
    step = model.open(narrated()).speak(next(seconds(1))).step
    rounded = {stage: round(value, 6) for stage, value in step.stages.items()}
    assert rounded == {"decode": 0.0, "preprocess": 0.1, "prefill": 0.1, "generate": 0.3}
    assert step.first_token == 0.2


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"compress": "stc"}, "computes in vLLM's engine; leave --compress out"),
        ({"device": "cpu", "after_vision": "spatial"}, "leave --device, --after-vision out"),
        ({"settings": {"generation": {"repetition_penalty": 1.1}}}, "takes no repetition penalty"),
        ({"settings": {"model": {"extra": "[1]"}}}, r"setting model\.extra wants a JSON object"),
        ({"settings": {"model": {"extra": "{"}}}, r"setting model\.extra is no JSON"),
        ({"settings": {"model": {"max_model_len": 1}}}, r"setting model\.max_model_len"),
    ],
)
def test_what_vllm_does_not_do_is_refused(choice: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        vllm_session.recipe(ModelChoice(**choice))


def test_a_checkpoint_that_vllm_cannot_load_is_named_before_anything_loads(tmp_path: Path) -> None:
    def check(checkpoint: str) -> None:
        vllm_session.recipe(ModelChoice(checkpoint=checkpoint)).check()

    with pytest.raises(ModelError, match="vLLM reads folders: evalkit export --checkpoint tiny-wide --out DIR"):
        check("tiny-wide")
    (tmp_path / "config.json").write_text('{"model_type": "llava_onevision"}')
    with pytest.raises(ModelError, match=r"takes Qwen2-VL and Qwen2\.5-VL checkpoints"):
        check(str(tmp_path))


def test_the_engine_takes_the_place_of_transformers_where_nothing_is_forgotten() -> None:
    entry = in_vllm(catalog("full"))
    assert isinstance(entry, VllmEntry)
    recipe = entry.recipe(ModelChoice())
    assert (recipe.name, recipe.concurrency, recipe.capabilities.streams) == ("full", 64, None)
    for name in ("streamingvlm", "stc", "blind"):
        with pytest.raises(UsageError, match=f"--engine vllm keeps everything, and model {name} does not"):
            in_vllm(catalog(name))


@pytest.fixture
def bare_engine() -> Iterator[Engine]:
    """An engine's loop without an engine."""
    engine = Engine.__new__(Engine)
    engine._loop = asyncio.new_event_loop()
    engine._thread = threading.Thread(target=engine._loop.run_forever, daemon=True)
    engine._thread.start()
    yield engine
    engine._stop_loop()


class EngineDeadError(Exception):
    """Called as vLLM's own."""


@pytest.mark.parametrize(
    ("raised", "wanted", "said"),
    [
        (
            ValueError("the prompt is\ntoo long"),
            ModelError,
            "vLLM refused the request: ValueError: the prompt is too",
        ),
        (
            ValueError("a video item with 9 tokens exceeds the pre-allocated encoder cache size 8"),
            ModelError,
            r"""encoder cache size 8; --set model\.extra='"{\\"max_num_batched_tokens\\": N}"' with N""",
        ),
        (EngineDeadError("see above"), StopRun, r"vLLM's engine died \(EngineDeadError: see above\).*--resume"),
        (ModelError("as it stands"), ModelError, "^as it stands$"),
    ],
)
def test_a_refused_request_fails_its_sample_and_a_dead_engine_ends_the_run(
    raised: Exception, wanted: type[Exception], said: str, bare_engine: Engine
) -> None:
    async def fails() -> None:
        raise raised

    with pytest.raises(wanted, match=said):
        bare_engine.run(fails())


def output(ids: list[int], finish: str | None = None, logprobs: Any = None) -> SimpleNamespace:
    completion = SimpleNamespace(token_ids=ids, finish_reason=finish, logprobs=logprobs)
    return SimpleNamespace(outputs=[completion])


def test_a_reply_is_put_together_from_what_the_engine_sends_in_pieces() -> None:
    reply = Reply()
    took = [{5: SimpleNamespace(logprob=-0.5), 7: SimpleNamespace(logprob=-2.0)}]
    for piece in (output([]), output([5], None, took), output([7, 8]), output([9], "stop")):
        take(reply, piece, began=0.0)
    assert (reply.ids, reply.finish) == ([5, 7, 8, 9], "stop")
    assert reply.logprobs == {5: -0.5, 7: -2.0}
    assert reply.first_token is not None
    assert 0 < reply.first_token <= reply.seconds


def test_a_plan_takes_the_engine_with_its_settings(small_data: Path) -> None:
    given = {"task": "inf-streams", "model": "full", "data": str(small_data), "checkpoint": "folder"}
    settings = {"task.start_seconds": 5, "model.max_model_len": 4096}
    plan = make_plan(RunOptions(**given, engine="vllm", settings=settings))
    assert plan.model.facts()["memory"] == "everything, up to 4096 tokens"
    assert plan.model.identity()["model.engine"] == "vllm"
    assert plan.concurrency == 64
    with pytest.raises(UsageError, match="choose --model full"):
        make_plan(RunOptions(**given | {"model": "sliding"}, engine="vllm", settings=settings))
