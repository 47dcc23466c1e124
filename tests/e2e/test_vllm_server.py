"""Sessions with a vLLM server: frames sent once, options by token, tokens on record, and every refusal it has.

The server's replies, chunks, counts and errors are those a real one was seen to give (tests/recordings).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judge_server import Call, Reply
from run_only import run_only
from vllm_server import END, RECORDED, VllmServer, parts_of, tokens_of, verbatim

from evalkit.chat.retry import RetryPolicy
from evalkit.errors import ModelError
from evalkit.models import ModelChoice, SessionRequest, StopRun
from evalkit.models.catalog import catalog
from evalkit.models.served import ServedModel
from evalkit.records import RunFolder
from evalkit.stream import Chunk, Elicitation, Narration

Seconds = Callable[..., Iterator[Chunk]]
Make = Callable[..., ServedModel]
NARRATED = SessionRequest("n", 2.0, 42, Narration("Describe the match.", "It was said before"))
ASKED = SessionRequest("q", 2.0)


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes models behind a server; they are closed at the end."""
    made: list[ServedModel] = []

    def one(server: VllmServer, *, name: str = "vllm-api", checkpoint: str = "m", **settings: Any) -> ServedModel:
        choice = ModelChoice(checkpoint, server.base_url, settings={"model": {"attempts": 1, **settings}})
        recipe = catalog(name).recipe(choice)
        made.append(recipe.make())
        return made[-1]

    yield one
    for model in made:
        model.close()


def videos(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in parts_of(body) if part["type"] == "video_url"]


def test_each_second_of_frames_is_sent_once_and_what_is_known_comes_from_the_cache(
    make: Make, seconds: Seconds
) -> None:
    with VllmServer(lambda call: f" word {call.number}") as server:
        session = make(server, schedule="growing").open(NARRATED)
        said = [session.speak(chunk) for chunk in seconds(4)]
    for number, body in enumerate(server.asked):
        sent = videos(body)
        assert [part["video_url"] is None for part in sent] == [True] * number + [False]
        assert len({part["uuid"] for part in sent}) == number + 1
        assert sent[-1]["video_url"]["url"].count(",") == 2
        assert body["media_io_kwargs"] == {"video": {"num_frames": -1, "fps": 2.0, "do_sample_frames": False}}
    assert len({body["cache_salt"] for body in server.asked}) == 1
    calls = [one.call for one in said]
    assert all(call is not None and call.requests == 1 and call.note == "" for call in calls)
    assert [len(one.ids) for one in said] == [3] * 4  # two words and what ended them
    assert list(said[0].ids) == [*tokens_of(said[0].text), END]
    assert calls[0].cached_tokens == 0
    assert all(0 < call.cached_tokens < call.prompt_tokens for call in calls[1:])


def test_a_window_leaves_a_memory_of_its_length_whatever_the_streams_length(make: Make, seconds: Seconds) -> None:
    with VllmServer() as server:
        session = make(server, schedule="window", window_seconds=3).open(NARRATED)
        held = set()
        for chunk in seconds(40):
            session.speak(chunk)
            held.add((len(session._chat.turns), len(session._held)))
        bodies = [sum(len(str(part)) for part in videos(body)) for body in server.asked]
    assert max(held) == (3, 3)
    assert max(bodies[4:]) - min(bodies[4:]) < 400  # the newest frames, and names of the others


def test_frames_that_the_server_forgot_are_sent_again_and_cost_no_latency(make: Make, seconds: Seconds) -> None:
    with VllmServer(forgets=(2,)) as server:
        session = make(server, schedule="growing").open(NARRATED)
        said = [session.speak(chunk) for chunk in seconds(4)]
    assert [len([p for p in videos(body) if p["video_url"]]) for body in server.asked] == [1, 1, 1, 3, 1]
    call = said[2].call
    assert call is not None
    assert (call.requests, said[2].text) == (2, " a goal")
    assert call.retry_seconds > 0
    assert said[2].step.stages["prefill"] + said[2].step.stages["generate"] < 60


def test_the_same_frames_at_another_rate_have_another_name(make: Make, seconds: Seconds) -> None:
    chunk = next(seconds(1))
    with VllmServer() as server:
        model = make(server)
        for fps in (2.0, 1.0):
            session = model.open(SessionRequest("q", fps))
            session.observe(chunk)
            session.ask("Who?", Elicitation(), key="k")
    first, second = (videos(body)[0]["uuid"] for body in server.asked)
    assert first != second


def test_options_are_compared_by_their_own_tokens(make: Make, seconds: Seconds) -> None:
    with VllmServer(first=(-3.0, -1.0, -2.0)) as server:
        session = make(server).open(ASKED)
        session.observe(next(seconds(1)))
        options = Elicitation(options=("A", "B", "C"), lead="\n", prefix="The answer is:")
        answers = [session.ask("Which?", options, key=str(number)) for number in range(2)]
    assert [one.text for one in answers] == ["B", "B"]
    call = answers[0].call
    assert call is not None
    assert (call.note, call.finish, call.completion_tokens) == ("", None, 1)
    body = server.asked[0]
    assert body["messages"][-1] == {"role": "assistant", "content": "The answer is:"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert body["logprob_token_ids"] == [tokens_of("\n" + option)[-1] for option in "ABC"]
    assert [call.path for call in server.calls].count("/tokenize") == 3  # once for all questions


@pytest.mark.parametrize(
    ("told", "asked", "says"),
    [
        (Reply(status=404, error={"message": "Not Found"}), 1, "cannot say which tokens a text has: .*Not Found"),
        (Reply(status=503), 3, "cannot say which tokens a text has: HTTP 503"),
        (Reply(raw=b'{"count": 0, "tokens": []}'), 1, "/tokenize gave no tokens of"),
        (Reply(raw=b"<html>"), 3, "cannot say which tokens a text has"),
    ],
)
def test_a_server_that_knows_no_tokens_ends_the_run_before_an_option_is_compared(
    told: Reply, asked: int, says: str, make: Make, seconds: Seconds
) -> None:
    with VllmServer(tokenize=lambda call: told) as server:
        model = make(server, attempts=3)
        model.client.retry = RetryPolicy(first=0.001)
        session = model.open(ASKED)
        session.observe(next(seconds(1)))
        with pytest.raises(StopRun, match=says):
            session.ask("Which?", Elicitation(options=("A", "B")), key="k")
    assert [call.path for call in server.calls].count("/tokenize") == asked
    assert server.asked == []


def test_options_that_end_in_the_same_token_are_refused(make: Make, seconds: Seconds) -> None:
    with VllmServer() as server:
        session = make(server).open(ASKED)
        session.observe(next(seconds(1)))
        with pytest.raises(ModelError, match="options cannot be told apart: one B, two B end in the tokens"):
            session.ask("Which?", Elicitation(options=("one B", "two B")), key="k")


def test_a_reply_that_came_back_as_other_tokens_is_on_record(make: Make, seconds: Seconds) -> None:
    with VllmServer(retokenises=True) as server:
        model = make(server, schedule="growing")
        session = model.open(NARRATED)
        said = [session.speak(chunk) for chunk in seconds(3)]
    notes = [one.call.note for one in said if one.call is not None]
    assert notes == ["", *["the reply of second 0 was tokenised anew, into other tokens"] * 2]
    assert len(model.warnings) == 1
    assert "some become other tokens there" in model.warnings[0]


@pytest.mark.parametrize(("most", "warned"), [(32, True), (40, False)])
def test_a_server_that_drops_frames_unseen_is_found_out_by_what_it_counts(
    most: int, warned: bool, make: Make, seconds: Seconds
) -> None:
    (half,) = seconds(1, fps=20)
    clip = replace(half, frames=np.concatenate([half.frames, half.frames]), times=half.times * 2)
    with VllmServer(most=most) as server:
        model = make(server)
        session = model.open(SessionRequest("c", 2.0, time_stamps=False, whole_clip=True))
        session.observe(clip)
        session.ask("Who?", Elicitation(), key="k")
    told = ["the server made 96 tokens of frames of which Qwen's processor makes 120 at the size they were sent"]
    assert [line.partition(":")[0] for line in model.warnings] == told * warned


def test_silence_has_no_first_token_and_no_turn(make: Make, seconds: Seconds) -> None:
    with VllmServer(lambda call: verbatim("silent-streamed")) as server:
        session = make(server).open(NARRATED)
        said = [session.speak(chunk) for chunk in seconds(2)]
    assert [(one.text, tuple(one.ids), one.step.first_token) for one in said] == [("", (END,), None)] * 2
    assert all(message["role"] != "assistant" for message in server.asked[-1]["messages"])


def test_a_server_that_takes_no_frame_rate_is_found_out_before_anything_is_asked(
    make: Make, seconds: Seconds
) -> None:
    with VllmServer(lambda call: verbatim("no-rate-taken")) as server, pytest.raises(StopRun) as stopped:
        make(server).open(ASKED)
    assert "start vLLM with --trust-request-mm-kwargs, or --set model.frames_as=images" in str(stopped.value)
    assert server.asked == []


@pytest.mark.parametrize(
    ("trouble", "error", "says"),
    [
        ("too-long", ModelError, "longer than the model's context: .*maximum context length is 32768 tokens"),
        ("longer-than-context", ModelError, "longer than the model's context: .*send smaller or fewer frames"),
        ("too-many-images", ModelError, r"At most 8 image\(s\).*send smaller or fewer frames"),
        (
            "larger-than-encoder-cache",
            ModelError,
            "encoder cache size.*start vLLM with --max-num-batched-tokens of as many, or send smaller",
        ),
        ("broken-frame", ModelError, "refused the request: HTTP 400 .Failed to load image"),
        ("unknown-model", StopRun, r"no such model or path \(The model `other` does not exist"),
        ("wrong-key", StopRun, r"key was refused \(Unauthorized\); what is on record stays"),
    ],
)
def test_what_vllm_refuses_is_one_line_that_says_what_to_do(
    trouble: str, error: type[Exception], says: str, make: Make, seconds: Seconds
) -> None:
    with VllmServer(lambda call: verbatim(trouble)) as server:
        session = make(server, probe=False).open(ASKED)
        session.observe(next(seconds(1)))
        with pytest.raises(error, match=says):
            session.ask("Who?", Elicitation(), key="k")
    assert len(server.asked) == 1


def test_a_model_that_the_server_does_not_have_is_named_with_those_it_has(make: Make) -> None:
    with VllmServer() as server:
        choice = ModelChoice("n", server.base_url)
        with pytest.raises(ModelError, match=r"the server has no such model; .*it has: m"):
            catalog("vllm-api").recipe(choice).check()


@pytest.mark.parametrize("trouble", ["no-such-option", "too-many-logprobs", "no-tokens"])
def test_what_vllm_says_of_a_parameter_is_no_reply(trouble: str, make: Make, seconds: Seconds) -> None:
    said = re.escape(RECORDED[trouble]["body"]["error"]["message"][:20])
    with VllmServer(lambda call: verbatim(trouble)) as server:
        session = make(server, probe=False).open(ASKED)
        session.observe(next(seconds(1)))
        with pytest.raises(ModelError, match=said):
            session.ask("Which?", Elicitation(options=("A", "B")), key="k")


def test_recorded_replies_are_read_as_they_were_meant(make: Make, seconds: Seconds) -> None:
    names = ("video-streamed", "cut", "video-by-name", "no-details")
    asked = {}
    for name in names:
        with VllmServer(lambda call, name=name: verbatim(name)) as server:
            session = make(server, probe=False).open(ASKED)
            session.observe(next(seconds(1)))
            asked[name] = session.ask("Who?", Elicitation(), key="k")
    whole = asked["video-streamed"]
    assert whole.text == " Header Behind Coach Shoots ear res"
    assert whole.call is not None
    assert (whole.call.prompt_tokens, whole.call.cached_tokens, whole.call.completion_tokens) == (131, 0, 6)
    assert whole.call.token_ids == (926, 892, 898, 1006, 632, 631)
    assert whole.first_token is not None
    cut, named, bare = (asked[name].call for name in names[1:])
    assert cut is not None
    assert (cut.finish, cut.completion_tokens) == ("length", 2)
    assert named is not None
    assert named.cached_tokens == 128
    assert bare is not None
    assert (bare.cached_tokens, bare.prompt_tokens) == (None, 131)


def test_any_server_s_options_are_the_likeliest_tokens_of_the_recorded_list(make: Make, seconds: Seconds) -> None:
    with VllmServer(lambda call: verbatim("likeliest-streamed")) as server:
        session = make(server, name="api", probe=False).open(ASKED)
        session.observe(next(seconds(1)))
        answer = session.ask("Which?", Elicitation(options=("calm", "Two", "Nowhere")), key="k")
    assert answer.text == "Two"
    assert answer.call is not None
    assert "not among the 20 likeliest tokens: Nowhere" in answer.call.note


def test_a_run_that_was_stopped_goes_on_and_sends_the_server_what_it_no_longer_knows(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = {"now": True}

    def say(call: Call) -> str | Reply:
        return verbatim("wrong-key") if broken["now"] and call.number == 9 else f" word {call.number}"

    with VllmServer(say) as server:
        where = ("--checkpoint", "m", "--base-url", server.base_url, "--set", "model.probe=false")
        words = (
            "run",
            "--task",
            "inf-streams",
            "--model",
            "vllm-api",
            "--data",
            small_data,
            *where,
            "--out",
            "run",
        )
        more = ("--set", "start_seconds=5", "--set", "model.window_seconds=4")
        code, _, err = run_only(*words, *more)
        assert code == 130, err
        before = RunFolder(tmp_path / "run").answers_path.read_text().splitlines()
        broken["now"] = False
        code, _, err = run_only(*words, *more, "--resume")
    assert code == 0, err
    rows = [json.loads(line) for line in RunFolder(tmp_path / "run").answers_path.read_text().splitlines()]
    assert len(rows) == len(server.asked) - 1 == 20
    assert [json.loads(line) for line in before] == rows[:9]
    first = videos(server.asked[10])
    assert [part["video_url"] is not None for part in first] == [True] * 4
    assert all(row["call"]["token_ids"] and not row["call"]["note"] for row in rows)
