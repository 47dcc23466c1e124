"""Every question task, narration and its judging, by a model behind a chat server, on made-up matches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judge_server import Call, JudgeServer, Reply
from vllm_server import VllmServer

from evalkit.records import AnswerRecord, RunFolder, read_jsonl

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def cache(demo_cache: Path, evalkit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(demo_cache))


def answers(run: Path) -> list[AnswerRecord]:
    return read_jsonl(RunFolder(run).answers_path, AnswerRecord)[0]


def metrics(run: Path) -> dict[str, Any]:
    rows = json.loads((run / "metrics.json").read_text())["metrics"]
    return {row["name"]: row["value"] for row in rows}


@pytest.mark.parametrize(
    ("task", "model", "protocol"),
    [
        ("ovobench", "api", "official"),
        ("streamingbench", "api", "official"),
        ("longvideobench", "api", "official"),
        ("videomme", "api", "official"),
        ("egoschema", "api", "official"),
        ("ovobench", "vllm-api", "streaming"),
        ("streamingbench", "vllm-api", "streaming"),
        ("mlvu", "vllm-api", "official"),
    ],
)
def test_a_question_task_is_answered_and_scored(
    task: str, model: str, protocol: str, evalkit: Command, tmp_path: Path
) -> None:
    words = ("run", "--task", task, "--data", "demo", "--limit", "2", "--model", model, "--checkpoint", "m")
    more = ("--protocol", protocol, "--out", "run", "--set", "model.long_side=112")
    with VllmServer(lambda call: " B") as server:
        code, out, err = evalkit(*words, "--base-url", server.base_url, *more)
    assert code == 0, err
    said = answers(tmp_path / "run")
    assert len(said) >= 2
    assert {(one.status, one.text) for one in said} == {("ok", " B")}
    assert all(one.call is not None and one.call.prompt_tokens and one.call.finish == "stop" for one in said)
    assert any(one.parsed == "B" for one in said)
    found = metrics(tmp_path / "run")
    assert found["server_requests"] == len(said)
    assert found["server_prompt_tokens"] == sum(
        one.call.prompt_tokens or 0 for one in said if one.call is not None
    )
    assert "server: " in out
    assert (tmp_path / "run" / "report.html").exists()


def test_options_are_compared_by_their_tokens_on_a_vllm_server(evalkit: Command, tmp_path: Path) -> None:
    words = ("run", "--task", "ovobench", "--data", "demo", "--limit", "2", "--protocol", "logit", "--out", "run")
    with VllmServer() as server:
        where = ("--model", "vllm-api", "--checkpoint", "m", "--base-url", server.base_url)
        code, _, err = evalkit(*words, *where)
    assert code == 0, err
    assert {one.text for one in answers(tmp_path / "run")} == {"No"}  # the first of seventeen is the likeliest
    assert {len(body["logprob_token_ids"]) for body in server.asked} == {17}


def verdict(call: Call) -> Reply:
    """Narrate a window, or judge two narrations for the longer one."""
    text = str(call.body["messages"])
    if "Describe the video" in text:
        return Reply("The ball goes wide.")
    return Reply('{"winner": "A", "reason": "longer"}')


def test_the_paper_s_baseline_narrates_every_window_and_is_judged(evalkit: Command, tmp_path: Path) -> None:
    words = (
        "run",
        "--task",
        "inf-streams",
        "--data",
        "demo",
        "--model",
        "gpt-4o-mini",
        "--limit",
        "1",
        "--out",
        "run",
    )
    with JudgeServer(verdict) as server:
        where = ("--base-url", server.base_url)
        code, _, err = evalkit(*words, *where, "--set", "model.max_height=56")
        assert code == 0, err
        windows = answers(tmp_path / "run")
        assert windows
        assert {(one.kind, one.status, one.text) for one in windows} == {
            ("narration", "ok", "The ball goes wide.")
        }
        rows = [json.loads(line) for line in (tmp_path / "run" / "merged_result.jsonl").read_text().splitlines()]
        assert sum(len(row["items"]) for row in rows) == len(windows)
        against = ("--against", tmp_path / "run" / "merged_result.jsonl", "--allow-mismatch", "--json")
        code, out, err = evalkit("judge", "run", "--judge", "openai:judge", *where, *against)
    assert code == 0, err
    assert json.loads(out)["pairs"] == len(windows)
