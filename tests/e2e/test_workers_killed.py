"""A run whose workers and driver are killed at random moments, again and again, is the run of one process."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import Started, write_data
from test_workers import without_times, workers_of

from evalkit.records import read_run

Start = Callable[..., Started]
ROUNDS, PAIRS = 5, 2


def command(data: Path, out: Path, *more: str) -> list[str | Path]:
    words: list[str | Path] = ["run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny"]
    return [*words, "--data", data, "--set", "start_seconds=5", "--device", "cpu", "--out", out, *more]


def wait_for(there: Callable[[], bool], process: Started, seconds: float = 200) -> None:
    """Wait until something is so, while the driver lives."""
    last = time.monotonic() + seconds
    while not there():
        assert process.process.is_alive(), process.err.read_text()
        assert time.monotonic() < last, process.err.read_text()
        time.sleep(0.02)


def forward_since(moment: float, state: Path) -> bool:
    """Whether every sample in work has a checkpoint after a moment: no sample is killed twice at one place."""
    saved = [path.stat().st_mtime for path in state.glob("*.safetensors") if path.exists()]
    return len(saved) >= 2 and min(saved) > moment


def ended(started: Started) -> int:
    """Wait for the end of a long run; show what it said where it went wrong."""
    started.process.join(900)
    code, _, err = started.wait()
    assert code == 0, err
    return code


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_20_kills_of_workers_and_5_of_the_driver_leave_the_records_of_one_process(
    start: Start, tmp_path: Path
) -> None:
    data = write_data(tmp_path / "set", videos=[f"game{n}" for n in range(12)], seconds=80, start=5)
    assert ended(start(*command(data, tmp_path / "alone"))) == 0
    draw, out, killed = random.Random(17), tmp_path / "spread", [0, 0]
    for round_ in range(ROUNDS):
        resume = ("--resume",) if round_ else ()
        driver = start(*command(data, out, "--workers", "2", "--checkpoint-seconds", "1", *resume))
        pid = driver.process.pid
        assert pid is not None
        moment = time.time()
        for _ in range(PAIRS):
            wait_for(lambda since=moment: forward_since(since, out / "state"), driver)
            time.sleep(draw.uniform(0, 0.7))
            moment = time.time()
            for worker in draw.sample(workers_of(pid), 2):
                worker.kill()
                killed[0] += 1
                time.sleep(draw.uniform(0, 0.3))
        wait_for(lambda since=moment: forward_since(since, out / "state"), driver)
        time.sleep(draw.uniform(0, 0.7))
        left = workers_of(pid)
        os.kill(pid, signal.SIGKILL)
        killed[1] += 1
        driver.process.join(30)
        gone, alive = psutil.wait_procs(left, timeout=30)
        assert len(gone) == 2, f"workers outlive their driver: {alive}"
    assert ended(start(*command(data, out, "--workers", "3", "--resume"))) == 0
    assert killed == [20, 5]
    assert without_times(out) == without_times(tmp_path / "alone")
    assert [path.name for path in (out / "state").iterdir()] == ["done.jsonl"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ctrl_c_ends_all_in_good_order_and_the_run_goes_on_in_one_process(start: Start, tmp_path: Path) -> None:
    data = write_data(tmp_path / "set", videos=[f"game{n}" for n in range(3)], seconds=40, start=5)
    assert ended(start(*command(data, tmp_path / "alone"))) == 0
    out = tmp_path / "spread"
    driver = start(*command(data, out, "--workers", "2", "--streams", "2", "--checkpoint-seconds", "2"))
    pid = driver.process.pid
    assert pid is not None
    wait_for(lambda: forward_since(0, out / "state"), driver)
    workers = workers_of(pid)
    for one in (pid, *(worker.pid for worker in workers)):  # a terminal tells all of a process group
        os.kill(one, signal.SIGINT)
    code, _, err = driver.wait()
    assert code == 130, err
    assert f"interrupted: go on with evalkit run --resume --out {out}" in err
    assert "died" not in err
    assert not [worker for worker in workers if worker.is_running()]
    assert read_run(out).manifest.status == "interrupted"
    assert len(list((out / "state").glob("*.safetensors"))) >= 2
    assert ended(start(*command(data, out, "--workers", "0", "--streams", "1", "--resume"))) == 0
    assert without_times(out) == without_times(tmp_path / "alone")
