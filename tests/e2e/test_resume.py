"""A run that is killed, again and again, and resumed equals the unbroken one in everything but its timings."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Started

SAMPLED: list[str] = []
GREEDY = ["--set", "generation.temperature=0"]
_CLOCKS = ("seconds", "first_token", "token_times", "stages", "peak_mib", "rss_mib", "memory")


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


def chosen_folder(data: Path, *more: str) -> list[str | Path]:
    """Options of a run that chooses its folder itself."""
    words = ["run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny", "--data", data]
    return [*words, "--set", "start_seconds=20", *more]


def test_a_run_killed_before_its_report_is_found_again_by_its_options(
    small_data: Path, tmp_path: Path, start: Callable[..., Started], evalkit: Callable[..., tuple[int, str, str]]
) -> None:
    run = start(*chosen_folder(small_data))
    parent = tmp_path / "runs" / "inf-streams" / "streamingvlm"
    while run.process.is_alive() and not any(
        '"status": "done"' in p.read_text() for p in parent.glob("*/run.json")
    ):
        time.sleep(0.001)
    run.process.kill()
    assert run.wait()[0] == -signal.SIGKILL
    (folder,) = parent.iterdir()
    said = (folder / "answers.jsonl").read_bytes()
    assert not (folder / "plots" / "latency.caption.txt").exists(), "it was killed too late"
    assert evalkit(*chosen_folder(small_data, "--resume"))[0] == 0
    assert list(parent.iterdir()) == [folder]
    assert (folder / "answers.jsonl").read_bytes() == said
    assert (folder / "report.html").exists()
    assert list((folder / "captions").glob("*.vtt"))
    assert list((folder / "plots").glob("latency.*"))
    code, _, err = evalkit(*chosen_folder(small_data, "--resume"))
    assert code == 2
    assert "there is no unfinished run of these options" in err


@pytest.mark.parametrize("missing", ["metrics.json", "report.html", "plots"])
def test_whatever_a_report_lacks_resuming_makes_it(
    missing: str, small_data: Path, tmp_path: Path, evalkit: Callable[..., tuple[int, str, str]]
) -> None:
    assert evalkit(*chosen_folder(small_data))[0] == 0
    (folder,) = (tmp_path / "runs" / "inf-streams" / "streamingvlm").iterdir()
    gone = folder / missing
    before = sorted(path.name for path in folder.rglob("*"))
    if gone.is_dir():
        shutil.rmtree(gone)
    else:
        gone.unlink()
    assert evalkit(*chosen_folder(small_data, "--resume"))[0] == 0
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_a_run_that_is_being_reported_is_not_resumed_meanwhile(
    small_data: Path,
    tmp_path: Path,
    start: Callable[..., Started],
    evalkit: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from evalkit.run import finish

    report = finish.finish_run
    second: list[tuple[int, str, str]] = []

    def report_slowly(*args: Any) -> Any:
        second.append(start(*chosen_folder(small_data, "--resume")).wait())
        return report(*args)

    monkeypatch.setattr(finish, "finish_run", report_slowly)
    assert evalkit(*chosen_folder(small_data))[0] == 0
    ((code, _, err),) = second
    assert code == 2
    assert "another process is writing into runs/inf-streams/streamingvlm" in err


def test_a_run_is_judged_while_its_folder_is_held_and_says_how_many_verdicts_that_left(
    small_data: Path, tmp_path: Path, evalkit: Callable[..., tuple[int, str, str]]
) -> None:
    words = chosen_folder(small_data, "--set", "start_seconds=5")
    assert evalkit(*words, "--out", "other", "--set", "memory.vision_window=4")[0] == 0
    code, _, err = evalkit(*words, "--out", "run", "--judge", "overlap", "--against", "other")
    assert (code, err) == (0, "")
    (judging,) = json.loads((tmp_path / "run" / "run.json").read_text())["judged"].items()
    assert judging == ("vs streamingvlm, judge overlap", lines(tmp_path / "run" / "verdicts.jsonl"))
    (tmp_path / "run" / "verdicts.jsonl").unlink()
    assert "verdicts vs streamingvlm, judge overlap, are gone" in evalkit("report", "run")[2]
    assert evalkit("judge", "run", "--against", "other", "--judge", "overlap")[0] == 0
    assert evalkit("report", "run")[0] == 0
