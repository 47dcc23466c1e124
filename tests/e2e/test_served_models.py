"""Models behind a real HTTP server: the paper's baseline, questions, faults, cost, and going on after a stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judge_server import COUNTED, Call, JudgeServer, Reply
from run_only import run_only
from toy_runs import toy_data

from evalkit.records import AnswerRecord, RunFolder, read_jsonl
from evalkit.report.usage import usage_line, usage_of

Command = Callable[..., tuple[int, str, str]]
NO_PROBE = ("--set", "model.probe=false")
QUICK = ("--set", "model.attempts=2")


def says(text: str = "A", **more: Any) -> Reply:
    return Reply(text, usage=COUNTED, **more)


def pictures(call: Call) -> int:
    parts = [part for message in call.body["messages"] for part in message["content"] if isinstance(part, dict)]
    return sum(part["type"] == "image_url" for part in parts)


def texts(call: Call) -> str:
    return json.dumps([m["content"] for m in call.body["messages"]], ensure_ascii=False)


def is_probe(call: Call) -> bool:
    return "How many pictures" in texts(call)


def answers(run: Path) -> list[AnswerRecord]:
    return read_jsonl(RunFolder(run).answers_path, AnswerRecord)[0]


def manifest(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "run.json").read_text())
    return found


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy questions in OVO-Bench's layout."""
    return toy_data("ovobench", tmp_path_factory.mktemp("toy") / "ovobench")


@pytest.fixture
def narrate(evalkit: Command, small_data: Path) -> Command:
    """Narrates 20 s of a small video by a served model; ``whole`` reports the run as well."""

    def call(
        server: JudgeServer, *more: str, model: str = "api", out: str = "run", whole: bool = False
    ) -> tuple[int, str, str]:
        words = ("run", "--task", "inf-streams", "--model", model, "--checkpoint", "m", "--data", small_data)
        start = ("--set", "start_seconds=5") if model == "api" else ()
        run = evalkit if whole else run_only
        return run(*words, "--base-url", server.base_url, "--out", out, *start, *more)

    return call


@pytest.fixture
def question(evalkit: Command, toy: Path) -> Command:
    """Asks the toy questions of a served model."""

    def call(
        server: JudgeServer, *more: str, protocol: str = "streaming", out: str = "run"
    ) -> tuple[int, str, str]:
        words = ("run", "--task", "ovobench", "--model", "api", "--checkpoint", "m", "--data", toy)
        where = ("--base-url", server.base_url, "--out", out, "--protocol", protocol)
        return run_only(*words, *where, "--set", "task.tasks=EPM,OCR", *more)

    return call


def test_a_stream_is_narrated_second_by_second_from_a_window_of_frames(narrate: Command, tmp_path: Path) -> None:
    with JudgeServer(lambda call: says(f"word {call.number}", pieces=("word ", str(call.number)))) as server:
        code, out, err = narrate(server, "--set", "model.window_seconds=4", whole=True)
    assert code == 0, err
    asked = [call for call in server.calls if not is_probe(call)]
    assert len(server.calls) - len(asked) == 2
    assert [pictures(call) for call in asked] == [2, 4, 6, *[8] * 17]
    assert all(call.body["stream"] for call in asked)
    assert asked[0].body["max_completion_tokens"] == 20
    said = answers(tmp_path / "run")
    assert [one.text for one in said] == [f"word {call.number}" for call in asked]
    call = said[-1].call
    assert call is not None
    assert (call.requests, call.finish, call.completion_tokens) == (1, "stop", 2)
    assert said[-1].first_token is not None
    assert "server: 20 requests, " in out
    assert "word 2" in texts(asked[-1])  # said in seconds whose frames are gone
    run = manifest(tmp_path / "run")
    assert run["fingerprint"]["model.schedule"] == "window"
    assert "127.0.0.1" not in json.dumps(run["fingerprint"])


def test_the_paper_s_baseline_asks_once_a_window_and_is_judged(
    narrate: Command, evalkit: Command, small_data: Path, tmp_path: Path
) -> None:
    with JudgeServer(lambda call: says("The ball goes wide.")) as server:
        code, _, err = narrate(server, model="gpt-4o-mini", whole=True)
        assert code == 0, err
        (asked,) = [call for call in server.calls if not is_probe(call)]
        assert narrate(server, out="other", whole=True)[0] == 0
    assert set(asked.body) == {"model", "messages", "stream", "stream_options"}
    system, user = asked.body["messages"]
    assert system["content"].startswith("You are a live, precise sports commentator.\n")
    header = "Describe the video.\nTime range: 5.00s ~ 25.00s. Frames sampled at 0.25 fps (capped)."
    assert user["content"][0] == {"type": "text", "text": header}
    assert pictures(asked) == 5  # at 5, 9, ... 21 s; at 25 s the video is over
    (said,) = answers(tmp_path / "run")
    assert (said.kind, said.start, said.end, said.text) == ("narration", 5.0, 25.0, "The ball goes wide.")
    (row,) = [json.loads(line) for line in (tmp_path / "run" / "merged_result.jsonl").read_text().splitlines()]
    assert len(row["items"]) == 1
    for against in ("other", "other/merged_result.jsonl"):
        words = ("judge", "run", "--against", against, "--judge", "overlap", "--allow-mismatch", "--json")
        code, out, err = evalkit(*words)
        assert (code, json.loads(out)["pairs"]) == (0, 1), err


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(status=500),
        Reply(None),
        Reply(None, finish="content_filter"),
        Reply(message={"refusal": "I will not."}),
    ],
    ids=["500", "empty", "filtered", "refused"],
)
def test_a_window_without_a_text_is_failed_and_never_judged(
    trouble: Reply, narrate: Command, evalkit: Command, tmp_path: Path
) -> None:
    with JudgeServer(lambda call: says("Goal.")) as server:
        assert narrate(server, out="other")[0] == 0
    with JudgeServer(lambda call: trouble) as server:
        code, _, err = narrate(server, *NO_PROBE, *QUICK, model="gpt-4o-mini", whole=True)
    assert code == 3, err
    assert [one.status for one in answers(tmp_path / "run")] == ["failed"]
    assert (tmp_path / "run" / "merged_result.jsonl").read_text() == ""
    words = ("judge", "run", "--against", "other", "--judge", "overlap", "--allow-mismatch")
    code, _, err = evalkit(*words)
    assert code == 0
    assert "no pairs to judge: none of 1 windows" in err


@pytest.mark.parametrize("protocol", ["streaming", "official"])
def test_questions_are_answered_from_frames_up_to_them(protocol: str, question: Command, tmp_path: Path) -> None:
    with JudgeServer(lambda call: says("The answer is B.")) as server:
        code, _, err = question(server, "--limit", "3", "--set", "model.schedule=growing", protocol=protocol)
    assert code == 0, err
    asked = [call for call in server.calls if not is_probe(call)]
    said = answers(tmp_path / "run")
    assert len(asked) == len(said) > 0
    assert {one.parsed for one in said} == {"B"}
    assert all(pictures(call) > 0 for call in asked)
    if protocol == "streaming":
        latest = {one.query: one.at for one in said}
        for call in asked:
            stamps = [float(part.split("-")[1][:-1]) for part in _stamps(call)]
            assert max(stamps) <= max(latest.values()) + 1


def _stamps(call: Call) -> list[str]:
    return [
        part["text"].removeprefix("Time=")
        for message in call.body["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "text" and part["text"].startswith("Time=")
    ]


def logprobs(*rows: tuple[str, float]) -> dict[str, Any]:
    top = [{"token": token, "logprob": value} for token, value in rows]
    return {"logprobs": {"content": [{"token": rows[0][0], "logprob": rows[0][1], "top_logprobs": top}]}}


def test_options_are_compared_by_logprobs_and_an_unlisted_one_is_named(question: Command, tmp_path: Path) -> None:
    with JudgeServer(lambda call: says("The", more=logprobs(("The", -0.1), (" B", -0.5)))) as server:
        code, _, err = question(server, "--limit", "2", protocol="logit")
    assert code == 0, err
    said = answers(tmp_path / "run")
    assert {one.text for one in said} == {"B"}
    assert all(one.call is not None and " A, C" in one.call.note for one in said)
    asked = [call.body for call in server.calls if not is_probe(call)]
    assert {(body["max_completion_tokens"], body["logprobs"], body["top_logprobs"]) for body in asked} == {
        (1, True, 20)
    }


def test_a_logit_protocol_is_refused_where_the_server_gives_no_logprobs(question: Command, tmp_path: Path) -> None:
    with JudgeServer() as server:
        code, _, err = question(server, "--set", "model.logprobs=false", protocol="logit")
        assert (code, len(server.calls)) == (2, 0)
        assert "cannot compare options by logits (model.logprobs is off" in err
        code, _, err = question(server, *NO_PROBE, "--concurrency", "1", protocol="logit", out="found-out")
    assert (code, len(server.calls)) == (130, 1)
    assert "gives no log-probabilities" in err
    assert answers(tmp_path / "found-out") == []


def test_samples_run_at_once_and_each_reply_is_its_own(question: Command, tmp_path: Path) -> None:
    with JudgeServer(lambda call: says(hold=2 if call.number == 1 else 0)) as server:
        code, _, err = question(server, *NO_PROBE, "--concurrency", "2")
    assert code == 0, err
    assert server.most_at_once == 2
    said = answers(tmp_path / "run")
    assert len({(one.sample, one.query) for one in said}) == len(said) == len(server.calls)


def test_resuming_asks_nothing_twice(narrate: Command, tmp_path: Path) -> None:
    def script(call: Call) -> Reply:
        return Reply(status=401, error={"message": "key expired"}) if call.number == 9 else says(f"w{call.number}")

    with JudgeServer(script) as server:
        code, _, err = narrate(server, *NO_PROBE)
        assert code == 130, err
        assert "key was refused (key expired); what is on record stays: go on with --resume" in err
        before = answers(tmp_path / "run")
        assert len(before) == 9
        code, _, err = narrate(server, *NO_PROBE, "--resume")
        assert code == 0, err
        assert len(server.calls) == 10 + 11
        code, _, _ = narrate(server, *NO_PROBE, "--resume")
        assert (code, len(server.calls)) == (0, 21)
    said = answers(tmp_path / "run")
    assert said[:9] == before
    assert [one.start for one in said] == [float(second) for second in range(5, 25)]


def test_what_a_server_gave_no_reply_to_is_failed_and_asked_again_on_resuming(
    question: Command, tmp_path: Path
) -> None:
    broken = {"now": True}

    def script(call: Call) -> Reply:
        return Reply(status=503) if broken["now"] and call.number >= 2 else says()

    words = (*NO_PROBE, "--set", "model.attempts=1", "--concurrency", "1", "--limit", "6")
    with JudgeServer(script) as server:
        code, _, err = question(server, *words)
        assert code == 3, err
        first = answers(tmp_path / "run")
        assert {one.status for one in first} == {"ok", "failed"}
        assert {failed["error"] for failed in manifest(tmp_path / "run")["failed"]} == {"ServerError"}
        broken["now"], asked = False, len(server.calls)
        code, _, err = question(server, *words, "--resume")
        assert code == 0, err
        lost = [one for one in first if one.status == "failed"]
        assert len(server.calls) - asked == len(lost)
    last = answers(tmp_path / "run")
    assert {one.status for one in last} == {"ok"}
    assert sorted(one.query for one in last) == sorted(one.query for one in first)


def test_a_server_that_is_not_there_is_one_line_and_no_folder(narrate: Command, tmp_path: Path) -> None:
    with JudgeServer() as server:
        pass
    code, _, err = narrate(server)
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot be reached" in err
    assert "check --base-url" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("answered", [1, 3], ids=["in the middle", "at the end"])
def test_a_server_that_goes_down_fails_the_samples_left_and_they_are_asked_on_resuming(
    answered: int, question: Command, tmp_path: Path
) -> None:
    words = (*NO_PROBE, "--set", "model.attempts=1", "--concurrency", "1", "--limit", "4")
    with JudgeServer(lambda call: says(), down_after=answered) as server:
        code, _, err = question(server, *words)
    assert code == 3, err
    first = answers(tmp_path / "run")
    assert [one.status for one in first] == ["ok"] * answered + ["failed"] * (len(first) - answered)
    assert "no reply from the server: connection failed" in manifest(tmp_path / "run")["failed"][0]["reason"]
    with JudgeServer(lambda call: says(), server._port) as again:
        code, _, err = question(again, *words, "--resume")
    assert (code, len(again.calls)) == (0, len(first) - answered), err
    assert {one.status for one in answers(tmp_path / "run")} == {"ok"}


def test_a_key_that_the_server_refuses_is_said_before_anything_runs(
    narrate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-key-of-someone")
    with JudgeServer(models=("m",), key="sk-the-right-key-of-all") as server:
        code, _, err = narrate(server)
        assert (code, err.count("\n"), server.calls) == (2, 1, [])
    assert "the model's key was refused (Unauthorized)" in err
    assert not (tmp_path / "run").exists()


def test_frames_of_more_bytes_than_the_server_takes_fail_their_sample_with_what_to_do(
    question: Command, tmp_path: Path
) -> None:
    with JudgeServer(lambda call: Reply(status=413, error={"message": "Request Entity Too Large"})) as server:
        code, _, err = question(server, *NO_PROBE, "--limit", "1")
    assert (code, len(server.calls)) == (3, 1), err
    (failed,) = manifest(tmp_path / "run")["failed"]
    assert (
        "HTTP 413 (Request Entity Too Large); send smaller or fewer frames: --set model.long_side=N"
        in failed["reason"]
    )


def test_a_model_the_server_does_not_have_is_named_before_anything_runs(narrate: Command) -> None:
    with JudgeServer(models=("m-large", "other")) as server:
        code, _, err = narrate(server)
    assert (code, len(server.calls)) == (2, 0)
    assert "no such model; it has: m-large, other" in err


def test_a_run_stops_in_good_order_when_the_money_is_spent(narrate: Command, tmp_path: Path) -> None:
    prices = ("--set", "model.price_in=1000", "--set", "model.price_out=0")
    with JudgeServer(lambda call: Reply("word", usage={"prompt_tokens": 1000, "completion_tokens": 1})) as server:
        code, _, err = narrate(server, *NO_PROBE, *prices, "--max-cost", "5")
        assert (code, len(server.calls)) == (130, 5)
        assert "--max-cost 5 is spent (5.0000 so far)" in err
        code, out, err = narrate(server, *NO_PROBE, *prices, "--max-cost", "50", "--resume", whole=True)
        assert (code, len(server.calls)) == (0, 20), err
    assert "server: 20 requests, 20000 + 20 tokens, cost 20.0000" in out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]
    assert {m["name"]: m["value"] for m in metrics if m["name"].startswith("server_")}["server_cost"] == 20.0


def test_retries_never_count_as_the_model_s_latency(narrate: Command, tmp_path: Path) -> None:
    slow = Reply(status=429, headers=(("retry-after-ms", "600"),))
    with JudgeServer(lambda call: slow if call.number == 3 else says()) as server:
        assert narrate(server, *NO_PROBE)[0] == 0
    said = answers(tmp_path / "run")
    (late,) = [one for one in said if one.call is not None and one.call.requests == 2]
    assert late.call is not None
    assert late.call.retry_seconds >= 0.6
    assert late.seconds < late.call.retry_seconds


def test_a_server_that_ignores_images_is_found_out(narrate: Command, tmp_path: Path) -> None:
    with JudgeServer() as server:  # it counts 100 tokens, whatever is sent
        assert narrate(server)[0] == 0
    (warning,) = manifest(tmp_path / "run")["warnings"]
    assert "seems to ignore images" in warning
    with JudgeServer(lambda call: says()) as server:
        assert narrate(server, out="sees")[0] == 0
    assert manifest(tmp_path / "sees")["warnings"] == []


def test_a_text_model_takes_no_frames_and_says_so_at_once(narrate: Command) -> None:
    blind = Reply(status=400, error={"message": "m is not a multimodal model"})
    with JudgeServer(lambda call: blind) as server:
        code, _, err = narrate(server)
    assert (code, len(server.calls)) == (130, 1)
    assert "takes no frames: HTTP 400 (m is not a multimodal model)" in err


@pytest.mark.parametrize(
    ("status", "said", "line"),
    [
        (502, {"message": "bad gateway"}, "no reply from the server: HTTP 502 (bad gateway)"),
        (400, {"message": "maximum context length is 9 tokens"}, "longer than the model's context: HTTP 400"),
    ],
)
def test_a_probe_without_a_reply_does_not_blame_the_frames(
    status: int, said: dict[str, Any], line: str, narrate: Command
) -> None:
    with JudgeServer(lambda call: Reply(status=status, error=said)) as server:
        _, _, err = narrate(server, "--set", "model.attempts=1")
    assert line in err
    assert "takes no frames" not in err


def test_a_server_that_never_streams_is_read_whole(narrate: Command, tmp_path: Path) -> None:
    whole = {"choices": [{"message": {"role": "assistant", "content": "a goal"}, "finish_reason": "stop"}]}
    with JudgeServer(lambda call: Reply(raw=json.dumps(whole).encode())) as server:
        assert narrate(server, *NO_PROBE)[0] == 0
    assert len(server.calls) == 20 + 1
    assert {one.text for one in answers(tmp_path / "run")} == {"a goal"}
    call = answers(tmp_path / "run")[-1].call
    assert call is not None
    assert call.note == "without stream"


def test_a_context_that_is_too_small_is_said_once_with_what_would_fit(narrate: Command, tmp_path: Path) -> None:
    def script(call: Call) -> Reply:
        words = "This model's maximum context length is 1000 tokens, you asked for more"
        reply = says()
        if pictures(call) > 6:
            return Reply(status=400, error={"message": words, "code": "context_length_exceeded"})
        return reply

    with JudgeServer(script) as server:
        code, _, err = narrate(server, *NO_PROBE, "--set", "model.schedule=growing")
    assert code == 3, err
    (failed,) = manifest(tmp_path / "run")["failed"]
    assert "4 s of stream were sent, about " in failed["reason"]
    assert "--set model.window_seconds=" in failed["reason"]


def test_reasoning_that_spends_the_limit_is_no_silence(
    narrate: Command, question: Command, tmp_path: Path
) -> None:
    spent = Reply(message={"role": "assistant", "reasoning_content": "First,"}, finish="length", usage=COUNTED)
    with JudgeServer(lambda call: spent) as server:
        code, _, err = narrate(server, *NO_PROBE)
        assert code == 3
        assert "spent before a word was said: raise --set model.narration_tokens" in err
        code, _, err = question(server, *NO_PROBE, "--limit", "2", out="asked")
    assert code == 0, err
    for one in answers(tmp_path / "asked"):
        assert (one.text, one.parsed) == ("", None)
        assert one.call is not None
        assert (one.call.finish, one.call.note) == ("length", "no text (length)")


def test_a_cut_reply_and_a_refused_one_are_on_record_as_such(question: Command, tmp_path: Path) -> None:
    def script(call: Call) -> Reply:
        if call.number == 0:
            return says("The answer is B, because", finish="length")
        return Reply(status=400, error={"message": "flagged", "code": "content_filter"})

    with JudgeServer(script) as server:
        code, _, err = question(server, *NO_PROBE, "--limit", "2", "--concurrency", "1")
    assert code == 0, err
    first, *others = answers(tmp_path / "run")
    assert first.call is not None
    assert (first.parsed, first.call.finish) == ("B", "length")
    assert all(one.call is not None and "moderation: HTTP 400 (flagged)" in one.call.note for one in others)
    usage = usage_of(answers(tmp_path / "run"))
    assert usage is not None
    assert "1 replies cut off by the token limit" in usage_line(usage)


def test_what_a_model_does_not_take_is_learnt_by_one_request_each(narrate: Command, tmp_path: Path) -> None:
    def script(call: Call) -> Reply:
        for name in ("temperature", "max_completion_tokens", "seed"):
            if name in call.body:
                return Reply(status=400, error={"message": f"Unsupported parameter: '{name}'", "param": name})
        return says()

    with JudgeServer(script) as server:
        assert narrate(server, *NO_PROBE)[0] == 0
    assert len(server.calls) == 20 + 3
    assert server.calls[-1].body["max_tokens"] == 20
    call = answers(tmp_path / "run")[-1].call
    assert call is not None
    assert call.note == "without temperature, max_completion_tokens, seed"


def test_a_stream_that_breaks_off_is_asked_again(narrate: Command, tmp_path: Path) -> None:
    broken = Reply("a goal for the home side", pieces=("a ", "goal"), break_after=1)
    with JudgeServer(lambda call: broken if call.number == 2 else says("whole")) as server:
        assert narrate(server, *NO_PROBE)[0] == 0
    assert {one.text for one in answers(tmp_path / "run")} == {"whole"}


def test_a_key_cut_by_the_chunks_of_a_stream_is_in_no_record(
    narrate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-proj-" + "Kq7v" * 13
    monkeypatch.setenv("OPENAI_API_KEY", key)
    pieces = tuple(key[at : at + 5] for at in range(0, len(key), 5))
    with JudgeServer(lambda call: says("x", pieces=pieces, model=f"m-{key[20:40]}")) as server:
        code, out, err = narrate(server, *NO_PROBE, whole=True)
    assert code == 0, err
    assert {one.text for one in answers(tmp_path / "run")} == {"***"}
    written = [path.read_text(errors="replace") for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not any(key[at : at + 8] in text for text in (out, err, *written) for at in range(len(key) - 7))


def test_an_address_with_a_password_leaves_no_trace(narrate: Command, tmp_path: Path) -> None:
    with JudgeServer(lambda call: says()) as server:
        server.user = "me:hunter2hunter2@"
        code, out, err = narrate(server, *NO_PROBE, whole=True)
    assert code == 0, err
    written = [path.read_text(errors="replace") for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not any("hunter2" in text for text in (out, err, *written))
    assert manifest(tmp_path / "run")["options"]["base_url"] == server.base_url.replace(server.user, "")
