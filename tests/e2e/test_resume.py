"""A run that is killed, again and again, and resumed equals the unbroken one in everything but its timings."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Started

SAMPLED: list[str] = []
GREEDY = ["--set", "generation.temperature=0"]
_CLOCKS = ("seconds", "first_token", "stages", "peak_mib", "rss_mib")


def command(data: Path, out: Path | str, *more: str) -> list[str | Path]:
    words = ["run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny", "--data", data]
    small = ("start_seconds=5", "memory.vision_window=4", "memory.text_rounds=3", "memory.text_sink=6")
    for setting in (*small, "memory.text_window=8"):
        words += ["--set", setting]
    return [*words, "--checkpoint-seconds", "2", "--out", out, *more]


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key not in _CLOCKS} for row in rows]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_after(run: Started, ticks: Path, count: int, pause: float) -> None:
    """Kill a run, without warning, a moment after it has put its next `count` seconds on record."""
    wanted = lines(ticks) + count
    while run.process.is_alive() and lines(ticks) < wanted:
        time.sleep(0.002)
    time.sleep(pause)
    run.process.kill()
    assert run.wait()[0] == -signal.SIGKILL


@pytest.mark.parametrize(("mode", "seed"), [(SAMPLED, 1), (GREEDY, 2)], ids=["sampled", "greedy"])
def test_a_run_killed_at_random_moments_ends_as_the_unbroken_one(
    mode: list[str],
    seed: int,
    small_data: Path,
    tmp_path: Path,
    start: Callable[..., Started],
    evalkit: Callable[..., tuple[int, str, str]],
) -> None:
    assert evalkit(*command(small_data, "whole", *mode))[0] == 0
    moments = random.Random(seed)
    answers, ticks = (tmp_path / "broken" / name for name in ("answers.jsonl", "ticks.jsonl"))
    for attempt in range(5):
        again = ["--resume"] if attempt else []
        kill_after(
            start(*command(small_data, "broken", *mode, *again)),
            ticks,
            moments.randint(1, 3),
            moments.random() / 20,
        )
    with answers.open("ab") as file:
        file.write(b'{"v":1,"sample":"mat')
    code, _, err = evalkit(*command(small_data, "broken", *mode, "--resume"))
    assert code == 0
    assert "warning: answers.jsonl:" in err
    assert "torn last line dropped" in err
    for name in ("answers.jsonl", "ticks.jsonl"):
        assert records(tmp_path / "broken", name) == records(tmp_path / "whole", name)
    whole, broken = (json.loads((tmp_path / name / "run.json").read_text()) for name in ("whole", "broken"))
    assert broken["status"] == whole["status"] == "done"
    assert broken["fingerprint_digest"] == whole["fingerprint_digest"]
    assert not list((tmp_path / "broken" / "state").glob("*.safetensors"))
    assert not list((tmp_path / "broken").rglob("*.part"))
