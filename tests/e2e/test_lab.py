"""Several models on the same samples: each run as if alone, one decode pass, one page, and it goes on."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Started, write_data

from evalkit.errors import ModelError
from evalkit.models.backbone import Backbone
from evalkit.models.local import PolicyRecipe
from evalkit.models.protocol import Spoken
from evalkit.models.session import CachedSession
from evalkit.stream import Chunk
from evalkit.video import VideoFrames

Cli = Callable[..., tuple[int, str, str]]
MODELS = ("full", "sliding", "streamingvlm")
_CLOCKS = ("seconds", "first_token", "token_times", "stages", "peak_mib", "rss_mib", "memory")
_SMALL = ["--checkpoint", "tiny", "--checkpoint-seconds", "2", "--set", "start_seconds=2"]


@pytest.fixture(scope="module")
def two_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "set", videos=("one", "two"), seconds=7, start=2)


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key not in _CLOCKS} for row in rows]


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def words(data: Path, *more: str | Path, models: str = ",".join(MODELS)) -> list[str | Path]:
    return ["lab", "--task", "inf-streams", "--models", models, "--data", data, "--out", "lab", *_SMALL, *more]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of videos, once for each pass over them."""
    found: list[str] = []
    decode = VideoFrames._decode
    monkeypatch.setattr(
        VideoFrames, "_decode", lambda self, *rest: (found.append(self.path.name), decode(self, *rest))[1]
    )
    return found


def test_each_run_is_as_if_alone_and_a_video_is_decoded_once(
    two_videos: Path, tmp_path: Path, evalkit: Cli, passes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = evalkit(*words(two_videos, "--judge", "overlap", "--json"))
    assert code == 0, err
    assert sorted(passes) == ["one.mp4", "two.mp4"]
    said = json.loads(out)
    assert {name: run["status"] for name, run in said["runs"].items()} == dict.fromkeys(MODELS, "done")
    assert [len(said[name]) for name in ("judge", "compare", "rank", "replay", "report")] == [2, 1, 1, 1, 1]
    assert said["replay"][0]["models"].keys() == set(MODELS)
    assert (tmp_path / "lab" / "replay" / "replay-turns.md").exists()
    assert {run["name"] for run in said["compare"][0]["runs"]} == {"sliding", "streamingvlm"}
    page = (tmp_path / "lab" / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in MODELS)
    assert (tmp_path / "lab" / "plots" / "pareto.svg").exists()
    passes.clear()
    for drawn in ("build_report", "plot_runs"):
        monkeypatch.setattr(f"evalkit.run.finish.{drawn}", lambda *rest: [])
    for name in MODELS[1:]:
        alone = ["run", "--task", "inf-streams", "--model", name, "--data", two_videos, "--out", name, *_SMALL]
        assert evalkit(*alone)[0] == 0
        for file in ("answers.jsonl", "ticks.jsonl"):
            assert records(tmp_path / "lab" / name, file) == records(tmp_path / name, file)
        one, other = manifest(tmp_path / "lab" / name), manifest(tmp_path / name)
        assert one["fingerprint"] == other["fingerprint"]
        assert [one["latency"], other["latency"]] == ["turns", "alone"]
    assert len(passes) == 2 * 2


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out tables, plots and pages, where a test is about the runs: drawing them is most of the work."""
    monkeypatch.setattr("evalkit.cli.lab._figures", lambda *rest, **options: {})


@pytest.mark.usefixtures("no_figures")
def test_batches_of_streams_take_turns_too(
    two_videos: Path, tmp_path: Path, evalkit: Cli, passes: list[str]
) -> None:
    greedy = ["--set", "generation.temperature=0"]
    assert evalkit(*words(two_videos, "--streams", "2", *greedy, models="full,streamingvlm"))[0] == 0
    assert sorted(passes) == ["one.mp4", "two.mp4"]
    line = ["run", "--task", "inf-streams", "--model", "full", "--data", two_videos, "--out", "alone"]
    assert evalkit(*line, *_SMALL, *greedy)[0] == 0
    for file in ("answers.jsonl", "ticks.jsonl"):
        beside, alone = (records(tmp_path / place, file) for place in ("lab/full", "alone"))
        assert sorted(beside, key=str) == sorted(alone, key=str)
    assert manifest(tmp_path / "lab" / "full")["latency"] == "batched"


def after(running: Started, ticks: Path, count: int) -> None:
    """Wait until so many seconds are on record."""
    while running.process.is_alive() and (not ticks.exists() or ticks.read_bytes().count(b"\n") < count):
        time.sleep(0.002)


@pytest.mark.usefixtures("no_figures")
def test_a_lab_interrupted_and_killed_goes_on_and_ends_as_the_unbroken_one(
    two_videos: Path, tmp_path: Path, start: Callable[..., Started], evalkit: Cli
) -> None:
    names = ("full", "streamingvlm")
    line = words(two_videos, "--set", "generation.temperature=0", models=",".join(names))
    assert evalkit(*line, "--out", "whole")[0] == 0
    ticks = tmp_path / "lab" / "streamingvlm" / "ticks.jsonl"
    running = start(*line)
    after(running, ticks, 2)
    os.kill(running.process.pid or 0, signal.SIGINT)
    code, _, err = running.wait()
    assert code == 130
    assert "go on with evalkit lab --resume --out lab" in err
    assert [manifest(tmp_path / "lab" / name)["status"] for name in names] == ["interrupted"] * 2
    running = start("lab", "--resume", "--out", "lab")
    after(running, ticks, 7)
    running.process.kill()
    running.wait()
    assert [manifest(tmp_path / "lab" / name)["status"] for name in names] == ["running"] * 2
    assert evalkit("lab", "--resume", "--out", "lab")[0] == 0
    for name in names:
        for file in ("answers.jsonl", "ticks.jsonl"):
            broken, unbroken = (records(tmp_path / where / name, file) for where in ("lab", "whole"))
            assert broken == unbroken
    code, _, err = evalkit("lab", "--resume", "--out", "lab", "--limit", "1")
    assert code == 2
    assert "was run with other settings" in err


def test_a_model_is_added_and_finished_ones_stay(two_videos: Path, tmp_path: Path, evalkit: Cli) -> None:
    assert evalkit(*words(two_videos, "--limit", "1", models="full"))[0] == 0
    kept = (tmp_path / "lab" / "full" / "ticks.jsonl").read_bytes()
    assert evalkit("lab", "--resume", "--out", "lab", "--models", "sliding", "--judge", "overlap")[0] == 0
    assert (tmp_path / "lab" / "full" / "ticks.jsonl").read_bytes() == kept
    assert manifest(tmp_path / "lab" / "sliding")["planned"] == manifest(tmp_path / "lab" / "full")["planned"]
    assert (tmp_path / "lab" / "sliding" / "verdicts.jsonl").exists()


@pytest.mark.usefixtures("no_figures")
def test_a_model_that_cannot_go_on_takes_no_other_with_it(
    two_videos: Path, tmp_path: Path, evalkit: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak = CachedSession.speak

    def breaks(self: CachedSession, chunk: Chunk) -> Spoken:
        if self._policy.recompute and chunk.tick.index == 2:
            raise MemoryError("no room")
        return speak(self, chunk)

    monkeypatch.setattr(CachedSession, "speak", breaks)
    code, _, err = evalkit(*words(two_videos, models="sliding,full"))
    assert code == 3
    assert "sliding: failed: one: no room" in err
    assert [one["sample"] for one in manifest(tmp_path / "lab" / "sliding")["failed"]] == ["one", "two"]
    assert manifest(tmp_path / "lab" / "full")["failed"] == []
    assert len(records(tmp_path / "lab" / "full", "ticks.jsonl")) == 10
    monkeypatch.setattr("evalkit.models.local.PolicyRecipe.over", fails)
    assert evalkit(*words(two_videos, "--limit", "1", models="sliding,full"), "--out", "none")[0] == 2
    assert manifest(tmp_path / "none" / "full")["status"] == "done"


def fails(recipe: PolicyRecipe, backbone: Backbone, over: Any = PolicyRecipe.over) -> Any:
    """Refuse one policy its model."""
    if recipe.name == "sliding":
        raise ModelError("it does not fit")
    return over(recipe, backbone)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--models", "full,full"], "full is named twice"),
        (["--models", "fool"], "fool"),
        (["--models", ","], "--models is required"),
        (["--models", "full", "--against", "full"], "name who judges with --judge"),
        (["--models", "full", "--judge", "overlap", "--against", "nobody"], "does not exist"),
        (["--models", "full", "--judge", "nobody"], "nobody"),
        (["--models", "full", "--resume"], "--resume wants the lab's folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    more: list[str], says: str, two_videos: Path, tmp_path: Path, evalkit: Cli
) -> None:
    code, _, err = evalkit("lab", "--task", "inf-streams", "--data", two_videos, *_SMALL, *more)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
