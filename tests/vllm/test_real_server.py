"""A real vLLM server on exported checkpoints says what local sessions say; run with `make test-vllm`."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here: make test-vllm has an environment of its own")

from prefill_watch import PrefillWatch, part_at_a_tie
from record_vllm import ALL_FLAGS, FLAGGED, ask, serving
from vllm_server import RECORDED

from evalkit.models import ModelChoice, SessionRequest
from evalkit.models.cached import CachedModel
from evalkit.models.catalog import catalog
from evalkit.models.served import ServedModel
from evalkit.models.session import CachedSession
from evalkit.stream import Chunk, Elicitation, Narration

pytest_plugins = ["vllm_checkpoints"]

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

Seconds = Callable[..., Iterator[Chunk]]
Exported = Callable[[str], Path]
SIZE = (336, 252)
"""Of the frames: as large as the checkpoint's processor leaves them."""
NARRATED = SessionRequest("n", 2.0, 42, Narration("Describe the match.", "It was said before"))
LOGIT = Elicitation(options=("No", "Yes", "A", "B", "C", "D"), prefix="The answer is:\n")
AS_LOCAL = {
    "schedule": "growing",
    "image_format": "png",
    "previous_role": "previous text",
    "silent_turns": True,
    "narration_tokens": 8,
    "answer_tokens": 8,
}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def port(exported: Exported) -> Iterator[int]:
    """A server on the Qwen-shaped checkpoint."""
    with serving(str(exported("tiny-wide")), ALL_FLAGS, number := free_port()):
        yield number


@pytest.fixture(scope="module")
def local(local_model: Callable[[str], CachedModel]) -> CachedModel:
    return local_model("tiny-wide")


def served(port: int, **settings: Any) -> ServedModel:
    choice = ModelChoice("m", f"http://127.0.0.1:{port}/v1", settings={"model": AS_LOCAL | settings})
    made = catalog("vllm-api").recipe(choice).make()
    assert isinstance(made, ServedModel)
    return made


@pytest.fixture(scope="module")
def model(port: int) -> Iterator[ServedModel]:
    made = served(port)
    yield made
    assert made.warnings == []
    made.close()


def test_narration_is_a_local_session_s_token_for_token_with_each_frame_sent_once(
    model: ServedModel, local: CachedModel, seconds: Seconds
) -> None:
    for seed in range(3):
        watch = PrefillWatch()
        here = CachedSession(local.backbone, local.policy, local.generation, NARRATED, trace=watch)
        there = model.open(replace(NARRATED, sample=f"n{seed}"))
        for number, chunk in enumerate(seconds(8, seed=seed, size=SIZE)):
            ours, theirs = here.speak(chunk), there.speak(chunk)
            assert theirs.call is not None
            assert (theirs.call.requests, theirs.call.note) == (1, "")
            assert number == 0 or theirs.call.cached_tokens > theirs.call.prompt_tokens - 200
            if part_at_a_tie(ours.ids, theirs.ids, watch.traces[number]):
                break  # what follows stands on other contexts


@pytest.mark.parametrize("elicitation", [Elicitation(), Elicitation(prefix="Answer:"), LOGIT])
def test_questions_on_more_than_ten_frames_are_answered_as_locally(
    elicitation: Elicitation, model: ServedModel, local: CachedModel, seconds: Seconds
) -> None:
    here, there = local.open(SessionRequest("q", 2.0)), model.open(SessionRequest("q", 2.0))
    for chunk in seconds(7, seed=9, size=SIZE):
        here.observe(chunk)
        there.observe(chunk)
    for number in range(3):
        ours, theirs = (one.ask(f"What is it, {number}?", elicitation, key=str(number)) for one in (here, there))
        assert (theirs.text, theirs.context_tokens) == (ours.text, ours.context_tokens)


def long_clip(seconds: Seconds, size: tuple[int, int], *, halves: int) -> Chunk:
    """Return a clip of twice so many frames."""
    (half,) = seconds(1, fps=halves, seed=3, size=size)
    return replace(half, frames=np.concatenate([half.frames, half.frames[::-1]]), times=half.times * 2)


def test_a_clip_of_forty_frames_is_shown_whole_and_stands_in_time_as_locally(
    model: ServedModel, local: CachedModel, seconds: Seconds
) -> None:
    clip = long_clip(seconds, SIZE, halves=20)
    answers = []
    for one in (local, model):
        session = one.open(SessionRequest("c", 2.0, time_stamps=False, whole_clip=True))
        session.observe(clip)
        answers.append(session.ask("Who scores?", Elicitation(), key="q"))
    assert answers[0].text == answers[1].text
    assert answers[0].context_tokens == answers[1].context_tokens  # vLLM's own 32 frames would be fewer


def test_a_frame_that_the_server_never_saw_is_sent_after_all(model: ServedModel, seconds: Seconds) -> None:
    told = []
    for _ in range(2):
        session: Any = model.open(SessionRequest("f", 2.0))
        session.observe(next(seconds(1, seed=77, size=SIZE)))
        if not told:  # as after its cache has dropped the frame
            session._chat.question_messages("")
            session._held |= set(session._chat.turns[0].names)
        told.append(session.ask("Who?", Elicitation(), key="q"))
    assert [one.call.requests for one in told] == [2, 1]
    assert told[0].text == told[1].text


def test_any_server_s_schedules_run_on_it_too(port: int, seconds: Seconds) -> None:
    choice = ModelChoice("m", f"http://127.0.0.1:{port}/v1", settings={"model": {"window_seconds": 3}})
    plain = catalog("api").recipe(choice).make()
    session = plain.open(replace(NARRATED, sample="w"))
    calls = [session.speak(chunk).call for chunk in seconds(6, seed=1, size=SIZE)]
    assert all(call is not None and call.prompt_tokens and call.requests == 1 for call in calls)
    assert calls[5].prompt_tokens < calls[2].prompt_tokens + 100
    assert plain.warnings == []  # the probe has found that images are seen
    plain.close()


def test_llava_s_clips_are_answered_as_locally(
    exported: Exported, local_model: Callable[[str], CachedModel], seconds: Seconds
) -> None:
    here, size = local_model("tiny-llava-wide"), (384, 384)
    clips = [next(seconds(1, fps=6, seed=5, size=size)), long_clip(seconds, size, halves=6)]
    with serving(str(exported("tiny-llava-wide")), ALL_FLAGS, number := free_port()):
        there = served(number, fit="384x384")
        for clip in clips:
            request = SessionRequest("l", 2.0, time_stamps=False, whole_clip=True)
            sessions = [one.open(request) for one in (here, there)]
            for session in sessions:
                session.observe(clip)
            for elicitation in (Elicitation(), LOGIT):
                ours, theirs = (session.ask("Who scores?", elicitation, key="q") for session in sessions)
                assert (theirs.text, theirs.context_tokens) == (ours.text, ours.context_tokens)
        there.close()


@pytest.fixture
def ways(port: int, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The ways that lead to an answer of one checkpoint, as words of the command line."""
    os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    monkeypatch.chdir(tmp_path)
    weights = ["--checkpoint", f"{exported('tiny-wide')}"]
    server = ["--checkpoint", "m", "--base-url", f"http://127.0.0.1:{port}/v1"]
    limits = {"temperature": 0, "repetition_penalty": 1, "answer_tokens": 8, "max_new_tokens": 8}
    greedy = [f"generation.{name}={value}" for name, value in limits.items()]
    engine = [
        "model.enforce_eager=true",
        'model.extra="{\\"limit_mm_per_prompt\\": {\\"image\\": 0, \\"video\\": 128}}"',
    ]
    as_local = {"previous_role": '"previous text"', "silent_turns": "true"}
    api = [f"model.{name}={as_local.get(name, value)}" for name, value in AS_LOCAL.items()]
    inside = ["--dtype", "float32", *sets([*greedy, *engine])]
    return {
        "local": ["--model", "full", *weights, "--after-vision", "max", *sets(greedy)],
        "api": ["--model", "vllm-api", *server, *sets(api)],
        "session": ["--model", "vllm-session", *weights, *inside],
        "engine": ["--model", "full", "--engine", "vllm", *weights, *inside],
    }


def said(name: str, *words: str) -> dict[tuple[str, str], str]:
    """Run a command and return what was said, by sample and query."""
    from evalkit.cli.main import main

    assert main(["run", "--data", "demo", "--out", name, *words]) == 0
    rows = [json.loads(line) for line in Path(name, "answers.jsonl").read_text().splitlines()]
    return {(row["sample"], row["query"]): row["text"] for row in rows}


def test_demo_questions_are_answered_alike_in_every_way_that_leads_to_vllm(ways: dict[str, list[str]]) -> None:
    task = ("--task", "ovobench", "--limit", "2")
    answers = {name: said(name, *task, *way) for name, way in ways.items()}
    assert len(answers["local"]) > 10
    assert answers["api"] == answers["session"] == answers["engine"] == answers["local"]


def test_a_demo_match_is_narrated_alike_in_every_way_that_leads_to_vllm(ways: dict[str, list[str]]) -> None:
    task = ("--task", "inf-streams", "--limit", "1")
    spoken = {name: said(name, *task, *ways[name]) for name in ("local", "api", "session")}
    assert len(spoken["local"]) == 60
    assert spoken["api"] == spoken["session"] == spoken["local"]


def sets(pairs: list[str]) -> list[str]:
    return [word for pair in pairs for word in ("--set", pair)]


def shape(value: Any) -> Any:
    """Return the form of a reply: names and kinds, without what is said."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items() if name != "multimodal_tokens"}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


@pytest.mark.parametrize("name", [name for name in FLAGGED if name != "too-long"])
def test_what_was_recorded_is_still_what_vllm_sends(name: str, port: int) -> None:
    path, body = FLAGGED[name]
    now, then = ask(path, body, port=port), RECORDED[name]
    assert now["status"] == then["status"]
    if "events" in now:
        ends = [
            [one if isinstance(one, str) else shape(one) for one in (e[0], *e[-3:])]
            for e in (now["events"], then["events"])
        ]
        assert ends[0] == ends[1]
    elif now["status"] == 200:
        assert shape(now["body"]) == shape(then["body"])
    else:
        kinds = [
            [error["error"][field] for field in ("type", "param", "code")] for error in (now["body"], then["body"])
        ]
        assert kinds[0] == kinds[1]
