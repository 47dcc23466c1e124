"""``evalkit score --fallback`` against a real HTTP server: what is asked, what it changes, what it costs again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judge_server import Call, JudgeServer, Reply
from run_folders import manifest, write_run

from evalkit.records import AnswerRecord, RunManifest, read_run

Cli = Callable[..., tuple[int, str, str]]

OPTIONS = ["A. Red.", "B. Blue.", "C. Green.", "D. White."]


def reads(call: Call) -> Reply:
    """A judge that knows colours and number words, and finds no answer in anything else."""
    reply = call.user.split("-----\n")[1].lower()
    known = {"crimson": "A", "azure": "B", "a pair": "2", "i think it did": "Yes"}
    return Reply(next((answer for word, answer in known.items() if word in reply), "NONE"))


def videomme(path: Path, *replies: str | None) -> Path:
    """Write a file in Video-MME's layout, three questions a video, gold A."""
    questions = [
        {"question_id": f"x{n}", "task_type": "OCR Problems", "options": OPTIONS, "answer": "A", "response": reply}
        for n, reply in enumerate(replies)
    ]
    head = {"duration": "short", "domain": "Knowledge", "sub_category": "Astronomy"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"video_id": "x", "questions": questions, **head}]))
    return path


def score(evalkit: Cli, *words: str | Path) -> dict[str, Any]:
    code, out, err = evalkit("score", *words, "--json")
    assert code == 0, err
    values: dict[str, Any] = json.loads(out)
    return values


REPLIES = ("A", "It is crimson", "clearly azure", "I cannot tell", "", None, "It is crimson")


def test_unread_replies_are_read_by_the_judge_once_and_only_strict_changes(evalkit: Cli, tmp_path: Path) -> None:
    file = videomme(tmp_path / "results" / "replies.json", *REPLIES)
    plain = score(evalkit, "--task", "videomme", file)
    assert "fallback" not in plain["facts"]
    assert not (file.parent / "fallback.jsonl").exists()
    words = ("--task", "videomme", file, "--fallback", "openai:m", "--price-in", "2", "--price-out", "10")
    with JudgeServer(reads) as server:
        found = score(evalkit, *words, "--base-url", server.base_url)
    assert len(server.calls) == 3  # four unread replies, two of them the same; nothing empty, nothing missing
    assert all(call.body["model"] == "m" and call.body["temperature"] == 0.0 for call in server.calls)
    assert found["source"] == plain["source"]
    assert (plain["answered"], found["answered"], found["n"]) == (1, 4, 7)
    assert plain["strict"]["tasks"]["OCR Problems"] == pytest.approx(100 / 7)
    assert found["strict"]["tasks"]["OCR Problems"] == pytest.approx(300 / 7)
    fallback = found["facts"]["fallback"]
    assert fallback.pop("judge").startswith("openai:m (prompt fallback ")
    assert fallback == {
        "asked": 4,
        "read": 3,
        "share": pytest.approx(3 / 7),
        "total_without": plain["strict"]["total"],
        "usage": {
            "calls": 3,
            "prompt_tokens": 300,
            "completion_tokens": 6,
            "cost": pytest.approx(0.00066),
            "reused": 0,
        },
    }


def test_a_second_scoring_asks_nothing_and_says_the_same(evalkit: Cli, tmp_path: Path) -> None:
    file = videomme(tmp_path / "replies.json", *REPLIES)
    with JudgeServer(reads) as server:
        words = ("--task", "videomme", file, "--fallback", "openai:m", "--base-url", server.base_url)
        first = score(evalkit, *words)
        kept = (tmp_path / "fallback.jsonl").read_bytes()
        again = score(evalkit, *words)
        assert len(server.calls) == 3
        other = score(evalkit, *words[:-3], "openai:n", *words[-2:])
        assert len(server.calls) == 6
    assert (again["facts"]["fallback"]["usage"]["calls"], again["facts"]["fallback"]["usage"]["reused"]) == (0, 3)
    for values in (first, again):
        del values["facts"]["fallback"]["usage"]
    assert again == first
    assert other["strict"] == first["strict"]
    assert (tmp_path / "fallback.jsonl").read_bytes().startswith(kept)


def test_people_are_told_the_share_and_the_judge_beside_the_score(evalkit: Cli, tmp_path: Path) -> None:
    file = videomme(tmp_path / "replies.json", *REPLIES)
    with JudgeServer(reads) as server:
        code, out, _ = evalkit(
            "score", "--task", "videomme", file, "--fallback", "openai:m", "--base-url", server.base_url
        )
    assert code == 0
    assert "3 questions (42.86 % of all) count as answered because a judge read the reply; 4 were put to it" in out
    assert "Fallback judge: openai:m (prompt fallback " in out
    assert "3 calls, 300 + 6 tokens; 0 readings reused" in out


def run_of_ovo(folder: Path, replies: list[tuple[str, str, str, str]]) -> Path:
    """Write a run folder of OVO-Bench: sub-task, kind, reply, gold."""
    answers = [
        AnswerRecord(
            sample=f"s{n}", query=f"q{n}", kind=kind, at=1.0, start=0.0, end=1.0, text=text, gold=gold,
            status="failed" if text == "broken" else "ok", cluster="v", tags={"task": task, "expected": "2"},
        )
        for n, (task, kind, text, gold) in enumerate(replies)
    ]  # fmt: skip
    return write_run(folder, manifest("ovobench", "mine"), answers=answers)


def test_a_run_folder_keeps_the_readings_of_its_own_counts_and_yes_or_no_questions(
    evalkit: Cli, tmp_path: Path
) -> None:
    replies = [
        ("REC", "count", "a pair of times", "2"),
        ("REC", "count", "broken", "2"),
        ("SSR", "yes-no", "I think it did", "Yes"),
        ("SSR", "yes-no", "who knows", "No"),
    ]
    run = run_of_ovo(tmp_path / "run", replies)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with JudgeServer(reads) as server:
        words = ("--task", "ovobench", "--format", "evalkit", run, "--fallback", "openai:m")
        found = score(evalkit, *words, "--base-url", server.base_url)
    assert len(server.calls) == 3
    assert (found["strict"]["tasks"]["REC"], found["strict"]["tasks"]["SSR"]) == (50.0, 50.0)
    assert (found["facts"]["fallback"]["asked"], found["facts"]["fallback"]["read"]) == (3, 2)
    lines = [json.loads(line) for line in (run / "fallback.jsonl").read_text().splitlines()]
    assert {(line["question"], line["said"], line["value"]) for line in lines} == {
        ("q0", "2", "2"),
        ("q2", "Yes", "Yes"),
        ("q3", "NONE", None),
    }
    after = {path.name: path.read_bytes() for path in run.iterdir() if path.name != "fallback.jsonl"}
    assert {name for name in after if after[name] != before[name]} == {"run.json"}
    assert read_run(run).manifest == RunManifest.model_validate_json(before["run.json"]).model_copy(
        update={"readings": 3}
    )


def test_readings_that_are_gone_are_named_and_asked_for_again_and_doubled_ones_refused(
    evalkit: Cli, tmp_path: Path
) -> None:
    run = run_of_ovo(tmp_path / "run", [("REC", "count", f"{word} of times", "2") for word in ("a pair", "a lot")])
    words = ("score", "--task", "ovobench", "--format", "evalkit", run, "--fallback", "openai:m", "--json")
    with JudgeServer(reads) as server:
        assert evalkit(*words, "--base-url", server.base_url)[0] == 0
        lines = (run / "fallback.jsonl").read_text().splitlines(keepends=True)
        (run / "fallback.jsonl").write_text(lines[0])
        code, _, err = evalkit(*words, "--base-url", server.base_url)
        assert (code, len(server.calls)) == (0, 3)
        assert "1 of 2 readings in" in err
        (run / "fallback.jsonl").write_text("".join([*lines, lines[0]]))
        code, _, err = evalkit(*words, "--base-url", server.base_url)
    assert (code, len(server.calls)) == (2, 3)
    assert "1 readings on record twice" in err


def test_where_nothing_is_unread_nobody_is_asked_and_no_file_is_made(evalkit: Cli, tmp_path: Path) -> None:
    file = videomme(tmp_path / "replies.json", "A", "B", None)
    with JudgeServer(reads) as server:
        found = score(evalkit, "--task", "videomme", file, "--fallback", "openai:m", "--base-url", server.base_url)
    assert server.calls == []
    assert not (tmp_path / "fallback.jsonl").exists()
    assert (found["facts"]["fallback"]["asked"], found["facts"]["fallback"]["share"]) == (0, 0.0)


def test_a_reply_the_server_refuses_stays_unread_is_named_and_asked_again(evalkit: Cli, tmp_path: Path) -> None:
    file = videomme(tmp_path / "replies.json", "It is crimson", "clearly azure")
    refusing = [True]

    def script(call: Call) -> Reply:
        refused = refusing[0] and "crimson" in call.user
        return Reply(status=400, error={"message": "content policy"}) if refused else reads(call)

    with JudgeServer(script) as server:
        words = ("--task", "videomme", file, "--fallback", "openai:m", "--base-url", server.base_url)
        first = score(evalkit, *words)
        refusing[0] = False
        again = score(evalkit, *words)
    assert first["facts"]["fallback"]["read"] == 1
    named = [problem for problem in first["problems"] if problem["kind"] == "fallback-no-reply"]
    assert [problem["item"] for problem in named] == ["x0"]
    assert "content policy" in named[0]["message"]
    assert (again["facts"]["fallback"]["read"], again["facts"]["fallback"]["usage"]["reused"]) == (2, 1)
    assert [call.user.count("crimson") for call in server.calls].count(1) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--fallback", "openai:m"), "needs a key: set OPENAI_API_KEY"),
        (("--fallback", "openai:m", "--base-url", "http://127.0.0.1:9/v1"), "cannot be reached"),
        (("--fallback", "overlap"), "only a chat model can read replies"),
        (("--base-url", "http://127.0.0.1:9/v1"), "name that too"),
        (
            ("--fallback", "openai:m", "--base-url", "http://h/v1", "--concurrency", "0"),
            "concurrency and attempts >= 1",
        ),
    ],
)
def test_a_judge_that_cannot_be_asked_is_one_line_and_exit_code_2(
    evalkit: Cli, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    file = videomme(tmp_path / "replies.json", "It is crimson")
    code, out, err = evalkit("score", "--task", "videomme", file, *words)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_refused_key_is_one_line_and_shown_nowhere(
    evalkit: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = videomme(tmp_path / "replies.json", "It is crimson")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    refusal = Reply(status=401, error={"message": "bad key sk-very-secret"})
    with JudgeServer(lambda call: refusal) as server:
        code, out, err = evalkit(
            "score", "--task", "videomme", file, "--fallback", "openai:m", "--base-url", server.base_url
        )
    assert server.calls[0].headers["authorization"] == "Bearer sk-very-secret"
    assert (code, out) == (2, "")
    assert "the judge's key was refused" in err
    assert err.count("\n") == 1
    assert "sk-very-secret" not in err
    assert not (tmp_path / "fallback.jsonl").exists()


def test_ctrl_c_keeps_every_reading_that_came_and_the_same_command_goes_on(evalkit: Cli, tmp_path: Path) -> None:
    file = videomme(tmp_path / "replies.json", *(f"It is crimson, {n} times" for n in range(200)))
    with JudgeServer(lambda call: Reply("A", delay=0.02)) as server:
        words = ["--task", "videomme", str(file), "--fallback", "openai:m", "--base-url", server.base_url]
        process = subprocess.Popen(
            [sys.executable, "-m", "evalkit.cli.main", "score", *words, "--concurrency", "2"],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": os.pathsep.join((".", "tasks"))},
            stderr=subprocess.PIPE,
            text=True,
        )
        pause = threading.Event()
        for _ in range(3000):
            if len(server.calls) > 20:
                break
            pause.wait(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "the same evalkit score goes on from there" in said
        kept = (tmp_path / "fallback.jsonl").read_text().splitlines()
        assert len(kept) >= 15
        asked = len(server.calls)
        found = score(evalkit, *words)
        assert len(server.calls) - asked == 200 - len(kept)
    assert found["facts"]["fallback"]["read"] == 200
