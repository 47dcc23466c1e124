"""A benchmark of timing from the command line: run, score, metrics, and runs compared window by window."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]


def test_timing_runs_are_scored_reported_and_compared_in_one_way_of_speaking(
    evalkit: Command, tmp_path: Path, demo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(demo_cache))
    for name, model, speaking in (
        ("a", "full", "narrating"),
        ("b", "sliding-chunked", "narrating"),
        ("c", "full", "polled"),
    ):
        code, _, err = evalkit(
            *("run", "--task", "omnimmi-pa", "--model", model, "--checkpoint", "tiny", "--data", "demo"),
            *("--limit", "2", "--out", tmp_path / name, "--set", "generation.max_new_tokens=2"),
            *("--set", f"task.speaking={speaking}", "--set", "task.fps=0.5"),
        )
        assert code == 0, err
    code, out, err = evalkit("score", "--task", "omnimmi-pa", "--format", "evalkit", "--json", tmp_path / "a")
    assert code == 0, err
    sheet = json.loads(out)
    assert (sheet["n"], sheet["facts"]["speaking"]) == (2, "narrating")
    metrics = {(row["group"], row["name"]): row["value"] for row in json.loads(
        (tmp_path / "a" / "metrics.json").read_text()
    )["metrics"] if row["score"] != "official"}  # fmt: skip
    assert metrics["", "total"] == sheet["strict"]["total"]
    assert metrics["timing PA", "golds"] == 2
    manifest = json.loads((tmp_path / "a" / "run.json").read_text())
    assert manifest["fingerprint"]["task.speaking"] == "narrating"
    words = ("--metric", "windows_answered", "--json")
    code, out, err = evalkit("compare", tmp_path / "a", tmp_path / "b", *words)
    assert code == 0, err
    code, _, err = evalkit("compare", tmp_path / "a", tmp_path / "c", *words)
    assert code == 2
    assert "task.speaking" in err
    words = ("--model", "gpt-4o-mini", "--base-url", "http://localhost:9/v1", "--dry-run")
    code, _, err = evalkit("run", "--task", "omnimmi-pa", "--data", "demo", *words)
    assert code == 2
    assert "wants words second by second" in err
    code, _, err = evalkit("score", "--task", "omnimmi-pa", "--format", "evalkit", tmp_path / "a", tmp_path / "c")
    assert code == 2
    assert "never mixed" in err


def test_a_streamed_setting_beside_a_polled_one_runs_with_a_decision_token(
    evalkit: Command, tmp_path: Path, demo_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(demo_cache))
    code, _, err = evalkit(
        *("run", "--task", "streamingbench-timing", "--model", "full", "--checkpoint", "tiny", "--data", "demo"),
        *("--limit", "1", "--out", tmp_path / "run", "--set", "generation.max_new_tokens=2"),
        *("--set", "task.speaking=decision-token", "--set", "task.fps=0.5"),
    )
    assert code == 0, err
    said = [json.loads(line) for line in (tmp_path / "run" / "answers.jsonl").read_text().splitlines()]
    assert {row["tags"]["speaking"] for row in said} == {"decision-token"}
    code, out, err = evalkit("score", "--json", tmp_path / "run")
    assert code == 0, err
    sheet = json.loads(out)
    assert (sheet["task"], sheet["n"], sheet["source"]["total"]) == ("streamingbench-timing", 1, 0.0)
    assert sheet["facts"]["timing"]["PO"]["utterances"] == 0  # words without the token are silence
