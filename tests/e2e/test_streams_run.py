"""A run whose samples advance together leaves what one of sample after sample leaves, but for order and times."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Started, write_data
from test_resume import kill_after

Call = Callable[..., tuple[int, str, str]]
CLOCKS = ("seconds", "first_token", "token_times", "stages", "peak_mib", "rss_mib", "memory")
LENGTHS = (14, 11, 16, 9, 12)


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five short games of unequal length."""
    folder = tmp_path_factory.mktemp("streams") / "set"
    write_data(folder, videos=[f"game{number}" for number in range(len(LENGTHS))], seconds=16)
    for name in ("eval_all_metadata.jsonl", "score_all_clips.jsonl"):
        rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for row, length in zip(rows, LENGTHS, strict=True):
            row["content"] = [word for word in row["content"] if word[1] <= length]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def command(data: Path, out: str, *more: str) -> list[str | Path]:
    words = ["run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny", "--data", data]
    small = ("start_seconds=5", "memory.vision_window=4", "memory.text_rounds=3", "memory.text_sink=6")
    for setting in (*small, "memory.text_window=8", "generation.temperature=0"):
        words += ["--set", setting]
    return [*words, "--checkpoint-seconds", "2", "--out", out, *more]


def records(folder: Path, name: str) -> dict[tuple[str, Any], dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]
    key = "query" if name == "answers.jsonl" else "second"
    found = {(row["sample"], row[key]): {k: v for k, v in row.items() if k not in CLOCKS} for row in rows}
    assert len(found) == len(rows), "a record stands twice"
    return found


def assert_same_records(one: Path, other: Path) -> None:
    for name in ("answers.jsonl", "ticks.jsonl"):
        assert records(other, name) == records(one, name)
    manifests = [json.loads((folder / "run.json").read_text()) for folder in (one, other)]
    for field in ("fingerprint", "fingerprint_digest", "planned", "recorded", "media", "failed"):
        assert manifests[0][field] == manifests[1][field], field


def test_files_do_not_depend_on_the_number_of_streams(games: Path, evalkit: Call, tmp_path: Path) -> None:
    assert evalkit(*command(games, "alone"))[0] == 0
    code, _, err = evalkit(*command(games, "three", "--streams", "3"))
    assert code == 0, err
    assert_same_records(tmp_path / "alone", tmp_path / "three")
    latencies = [json.loads((tmp_path / name / "run.json").read_text())["latency"] for name in ("alone", "three")]
    assert latencies == ["alone", "batched"]
    # Several videos are under way at once: the second's begins before the first's has ended.
    order = [json.loads(line)["sample"] for line in (tmp_path / "three" / "ticks.jsonl").read_text().splitlines()]
    assert order.index("game1") < len(order) - 1 - order[::-1].index("game0")
    page = (tmp_path / "three" / "report.md").read_text()
    assert "streams advancing as one batch" in page


@pytest.mark.parametrize("task", ["ovobench", pytest.param("streamingbench", marks=pytest.mark.slow)])
def test_questions_of_several_streams_are_answered_as_alone(task: str, evalkit: Call, tmp_path: Path) -> None:
    words = ["run", "--task", task, "--data", "demo", "--model", "streamingvlm", "--limit", "5"]
    assert evalkit(*words, "--checkpoint", "tiny", "--out", "alone")[0] == 0
    code, _, err = evalkit(*words, "--checkpoint", "tiny", "--out", "four", "--streams", "4")
    assert code == 0, err
    assert_same_records(tmp_path / "alone", tmp_path / "four")
    code, out, err = evalkit("compare", "alone", "four")
    assert code == 0, err
    assert "identical answers (transcripts equal)" in out + err
    assert "streams as one batch" in out + err  # and so no ratio of their seconds


def test_a_stream_that_breaks_leaves_the_others_untouched(games: Path, evalkit: Call, tmp_path: Path) -> None:
    data = tmp_path / "set"
    data.mkdir()
    for path in games.iterdir():
        (data / path.name).symlink_to(path) if path.is_file() else None
    (data / "videos").mkdir()
    for path in (games / "videos").iterdir():
        (data / "videos" / path.name).symlink_to(path)
    bad = data / "videos" / "game1.mp4"
    whole = bad.read_bytes()
    bad.unlink()
    bad.write_bytes(whole[: len(whole) // 3])
    assert evalkit(*command(data, "alone"))[0] == 3
    assert evalkit(*command(data, "all", "--streams", "5"))[0] == 3
    assert_same_records(tmp_path / "alone", tmp_path / "all")
    failed = json.loads((tmp_path / "all" / "run.json").read_text())["failed"]
    assert [one["sample"] for one in failed] == ["game1"]


def test_four_streams_killed_at_random_moments_end_as_the_unbroken_run(
    games: Path, evalkit: Call, start: Callable[..., Started], tmp_path: Path
) -> None:
    assert evalkit(*command(games, "whole"))[0] == 0
    moments = random.Random(5)
    ticks = tmp_path / "broken" / "ticks.jsonl"
    kill_after(start(*command(games, "broken", "--streams", "4")), ticks, 5, moments.uniform(0, 0.05))
    for _ in range(2):
        again = start(*command(games, "broken", "--streams", "4", "--resume"))
        kill_after(again, ticks, moments.randint(3, 9), moments.uniform(0, 0.05))
    code, _, err = evalkit(*command(games, "broken", "--streams", "2", "--resume"))
    assert code == 0, err
    assert_same_records(tmp_path / "whole", tmp_path / "broken")


def test_a_stopped_run_of_streams_goes_on(
    games: Path, evalkit: Call, start: Callable[..., Started], tmp_path: Path
) -> None:
    assert evalkit(*command(games, "whole"))[0] == 0
    run = start(*command(games, "stopped", "--streams", "5"))
    ticks = tmp_path / "stopped" / "ticks.jsonl"
    while not ticks.exists() or ticks.read_bytes().count(b"\n") < 6:
        time.sleep(0.01)
    assert run.process.pid is not None
    os.kill(run.process.pid, signal.SIGINT)
    assert run.wait()[0] == 130
    assert json.loads((tmp_path / "stopped" / "run.json").read_text())["status"] == "interrupted"
    assert evalkit("run", "--resume", "--out", "stopped", "--streams", "5")[0] == 0
    assert_same_records(tmp_path / "whole", tmp_path / "stopped")


def test_paced_streams_have_their_own_arrivals(games: Path, evalkit: Call, tmp_path: Path) -> None:
    code, _, err = evalkit(*command(games, "paced", "--streams", "5", "--pace", "realtime"))
    assert code == 0, err
    rows = records(tmp_path / "paced", "ticks.jsonl").values()
    by_sample: dict[str, list[float]] = {}
    for row in rows:
        by_sample.setdefault(row["sample"], []).append(row["pace"]["arrival"])
    assert len(by_sample) == len(LENGTHS)
    for arrivals in by_sample.values():
        assert arrivals == [pytest.approx(second + 1, abs=1) for second in range(len(arrivals))]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--model", "rekv", "--checkpoint", "tiny-llava"), "cannot advance several streams as one batch"),
        (("--model", "streamingvlm", "--concurrency", "1"), "two ways to run samples at once"),
        (
            ("--model", "streamingvlm", "--checkpoint", "tiny", "--attention", "eager"),
            "--streams needs --attention",
        ),
    ],
)
def test_what_cannot_advance_together_is_told_in_one_line(words: tuple[str, ...], why: str, evalkit: Call) -> None:
    code, _, err = evalkit(
        "run", "--task", "ovobench", "--data", "demo", *words, "--streams", "2", "--out", "no", "--limit", "2"
    )
    assert code == 2, err
    assert why in err.splitlines()[-1]
