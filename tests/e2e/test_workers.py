"""Runs with worker processes: what one process would have left, whoever dies meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import write_data
from worker_models import Moody

import evalkit as package
from evalkit.records import hold_folder, read_run
from evalkit.run.workers.local import LocalExecutor

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four short games, named after what they do to a moody model."""
    names = ["plain", "killed", "hung", "poison"]
    return write_data(tmp_path_factory.mktemp("four") / "set", videos=names, seconds=14, start=5)


def without_times(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the records of a run as they are read, without what no two runs share."""
    run = read_run(folder)
    timed = {"seconds", "first_token", "token_times", "stages", "peak_mib", "rss_mib", "memory"}
    answers = [record.model_dump(exclude=timed) for record in run.answers]
    return answers, [record.model_dump(exclude=timed) for record in run.ticks]


def workers_of(process: int) -> list[psutil.Process]:
    """Return the worker processes of a driver."""
    return [one for one in psutil.Process(process).children() if "spawn_main" in " ".join(one.cmdline())]


def test_workers_that_die_and_hang_leave_what_one_process_leaves(data: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    same: dict[str, Any] = {
        "task": "inf-streams", "data": str(data), "checkpoint_seconds": 2, "notify": notes.append
    }  # fmt: skip
    alone = package.run(model=Moody, **same, settings={"task.start_seconds": 5}, out=str(tmp_path / "alone"))
    moods = tmp_path / "moods"
    moods.mkdir()
    settings = {"task.start_seconds": 5, "model.folder": str(moods)}
    spread = package.run(
        model=Moody, **same, settings=settings, out=str(tmp_path / "spread"), workers=2, stall_seconds=8.0
    )
    poisoned = next(name for name in spread.manifest.planned if "poison" in name)
    wanted, found = without_times(tmp_path / "alone"), without_times(tmp_path / "spread")
    for ours, theirs in zip(wanted, found, strict=True):
        assert [row for row in ours if row["sample"] != poisoned] == [r for r in theirs if r["sample"] != poisoned]
    failed = [row for row in found[0] if row["sample"] == poisoned and row["status"] == "failed"]
    assert [(row["start"] - 5, row["end"]) for row in failed] == [(3.0, 14.0)]
    (failure,) = spread.manifest.failed
    assert failure.reason.startswith("2 workers died with it in hand: ended by SIGKILL, as the system does too")
    deaths = [line for line in spread.manifest.warnings if "died" in line]
    assert sorted(line.split(": ")[-1].split(" ", 1)[1] for line in deaths) == [
        "goes on at second 2", "goes on at second 4", "goes on at second 6"
    ]  # fmt: skip
    assert sum("gave no sign of life for 8 s" in line for line in deaths) == 1
    assert len(list(moods.iterdir())) == 4
    assert alone.manifest.recorded.keys() == spread.manifest.recorded.keys()
    assert (alone.manifest.latency, spread.manifest.latency) == ("alone", "loaded")
    assert spread.manifest.host["workers"] == 2
    assert [path.name for path in (tmp_path / "spread" / "state").iterdir()] == ["done.jsonl"]
    assert workers_of(os.getpid()) == []


def test_what_would_run_says_who_gets_what(data: Path, evalkit: Call) -> None:
    words = ["run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny", "--data", data]
    words += ["--set", "task.start_seconds=5", "--workers", "3", "--device", "cpu", "--dry-run"]
    code, out, err = evalkit(*words)
    assert code == 0, err
    assert "worker_1        2 samples, 18 s of stream: " in out
    assert "worker_3        1 sample, 9 s of stream: " in out
    assert "0.50 of the time of one worker" in out
    assert json.loads(evalkit(*words, "--json")[1])["workers"] == "3"


def test_0_workers_is_this_process_whatever_its_workers_were(data: Path, evalkit: Call) -> None:
    words = ["run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny", "--data", data]
    words += ["--set", "task.start_seconds=5", "--workers", "0", "--engine", "ray", "--stall-seconds", "5"]
    code, out, err = evalkit(*words, "--dry-run")
    assert code == 0, err
    assert "worker_1" not in out


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--gpus-per-worker", "1"), "--gpus-per-worker needs --workers N"),
        (("--engine", "ray"), "--engine ray needs --workers N"),
        (("--workers", "2", "--ray-address", "auto"), "--ray-address needs --engine ray"),
        (("--workers", "2", "--gpus-per-worker", "1.5"), "a whole number, or a part of one GPU such as 0.5"),
        (("--workers", "2", "--device", "cuda:1"), "--device cuda:1 is one device"),
        (("--workers", "2", "--compat"), "--compat lets samples share state in their order"),
        (("--workers", "-1"), "--workers"),
    ],
)
def test_workers_that_mean_nothing_are_refused_in_one_line(
    options: tuple[str, ...], why: str, data: Path, evalkit: Call
) -> None:
    words = ["run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny", "--data", data]
    code, _, err = evalkit(*words, "--set", "task.start_seconds=5", *options)
    assert (code, len(err.splitlines())) == (2, 1)
    assert why in err


def test_a_folder_that_another_driver_has_open_is_refused_before_a_worker_starts(
    data: Path, tmp_path: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalExecutor, "start", lambda *_: pytest.fail("a worker was started"))
    words = ["run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny", "--data", data]
    with hold_folder(tmp_path / "run"):
        code, _, err = evalkit(*words, "--set", "task.start_seconds=5", "--workers", "2", "--out", "run")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "another process is writing into run" in err


def test_weights_that_are_not_there_are_one_line_before_a_worker_starts(
    data: Path, tmp_path: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalExecutor, "start", lambda *_: pytest.fail("a worker was started"))
    (tmp_path / "empty").mkdir()
    words = ["run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "empty", "--data", data]
    code, _, err = evalkit(*words, "--set", "task.start_seconds=5", "--workers", "2")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "empty" in err
