"""Memories that see tensors on the command line: kill and resume, what is on record, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Started

from tests.e2e.test_resume import kill_after, records

Call = Callable[..., tuple[int, str, str]]
SMALL = ["--set", "memory.frames=4", "--set", "memory.between=2", "--set", "memory.query_ratio=0.2"]
SETTINGS = {
    "infinipot-v": SMALL,
    "rekv": ["--set", "memory.topk=3", "--set", "memory.n_local=900"],
    "streamforest": ["--set", "memory.quota=512"],
}
TASKS = ("ovobench", "streamingbench", "videomme", "egoschema", "mlvu")


def narrate(data: Path, out: Path | str, *more: str) -> list[str | Path]:
    words = ["run", "--task", "inf-streams", "--model", "infinipot-v", "--checkpoint", "tiny", "--data", data]
    return [*words, *SMALL, "--set", "start_seconds=5", "--checkpoint-seconds", "2", "--out", out, *more]


def questions(task: str, model: str, out: Path | str, *more: str) -> list[str | Path]:
    checkpoint = "tiny" if model == "infinipot-v" else "tiny-llava"
    settings = SETTINGS.get(model, [])
    words = ["run", "--task", task, "--model", model, "--checkpoint", checkpoint, "--data", "demo", "--limit", "1"]
    return [*words, *settings, "--set", "generation.answer_tokens=4", "--out", out, *more]


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_a_killed_narration_under_infinipot_ends_as_the_unbroken_one(
    small_data: Path, tmp_path: Path, start: Callable[..., Started], evalkit: Call
) -> None:
    assert evalkit(*narrate(small_data, "whole"))[0] == 0
    kill_after(start(*narrate(small_data, "broken")), tmp_path / "broken" / "ticks.jsonl", 13, 0.01)
    assert list((tmp_path / "broken" / "state").glob("*.safetensors"))
    assert evalkit(*narrate(small_data, "broken", "--resume"))[0] == 0
    for name in ("answers.jsonl", "ticks.jsonl"):
        assert records(tmp_path / "broken", name) == records(tmp_path / "whole", name)
    ticks = rows(tmp_path / "whole", "ticks.jsonl")
    assert sum(tick["evicted"].get("vision", 0) for tick in ticks) > 0
    assert all(0 < tick["held"]["active"] <= tick["held"]["budget"] for tick in ticks)
    assert {tick["held"]["stored"] for tick in ticks} == {0}


def test_a_memory_that_leaves_its_budget_fails_the_run(
    small_data: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.models.cutting import CuttingSession

    monkeypatch.setattr(CuttingSession, "_forget", lambda self, second: {})
    code, _, err = evalkit(*narrate(small_data, "lies"))
    assert code != 0
    assert "the memory was not what it claims: match second" in err
    assert "tokens stand," in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ovobench", "rekv", "--set", "memory.topk=0"], "n_local, topk and chunk are 1 or more"),
        (["ovobench", "rekv", "--set", "memory.vision_window=4"], "it is one of model sliding, streamingvlm"),
        (["ovobench", "infinipot-v", "--set", "memory.frame=3"], "did you mean 'memory.frames'?"),
        (["ovobench", "infinipot-v", "--set", "memory.frames=0"], "a budget is one frame or more"),
        (["ovobench", "infinipot-v", "--compress", "pruner"], "takes no pruned ones"),
        (["inf-streams", "rekv"], "model rekv answers questions only"),
        (["ovobench", "rekv", "--set", "memory.n_local=100"], "topk=3 frames of 196 tokens are 588"),
        (["ovobench", "streamforest", "--set", "memory.quota=100"], "memory.quota=100 is less than one event"),
        (["inf-streams", "streamforest"], "model streamforest answers questions only"),
        (["ovobench", "dispider"], "dispider runs on its own checkpoint alone"),
    ],
)
def test_wrong_use_is_one_line_before_anything_is_loaded(words: list[str], said: str, evalkit: Call) -> None:
    task, model, *more = words
    code, _, err = evalkit(*questions(task, model, "none", *more))
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("model", ["rekv", "infinipot-v", "streamforest"])
@pytest.mark.parametrize("task", TASKS)
def test_every_question_benchmark_runs_with_every_memory(
    task: str, model: str, tmp_path: Path, evalkit: Call
) -> None:
    code, _, err = evalkit(*questions(task, model, "run"))
    assert code == 0, err
    answers = rows(tmp_path / "run", "answers.jsonl")
    assert answers
    assert {answer["status"] for answer in answers} == {"ok"}
    if model == "rekv":
        assert all(1 <= max(answer["retrieved"]["blocks"]) <= 3 for answer in answers)
        assert all(answer["stages"]["retrieve"] > 0 for answer in answers)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["rekv", "streamforest"])
def test_a_killed_run_of_questions_ends_as_the_unbroken_one(
    model: str, tmp_path: Path, start: Callable[..., Started], evalkit: Call
) -> None:
    words = [*questions("ovobench", model, "whole"), "--checkpoint-seconds", "2"]
    assert evalkit(*words)[0] == 0
    words[words.index("whole")] = "broken"
    kill_after(start(*words), tmp_path / "broken" / "ticks.jsonl", 7, 0.01)
    assert evalkit(*words, "--resume")[0] == 0
    for name in ("answers.jsonl", "ticks.jsonl"):
        assert records(tmp_path / "broken", name) == records(tmp_path / "whole", name)


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", ["tiny", "tiny-llava"])
@pytest.mark.parametrize("task", ["ovobench", "videomme"])
def test_a_clip_shown_at_once_is_cut_to_the_budget(
    task: str, checkpoint: str, tmp_path: Path, evalkit: Call
) -> None:
    words = questions(task, "infinipot-v", "run", "--set", "protocol=official", "--checkpoint", checkpoint)
    code, _, err = evalkit(*words)
    assert code == 0, err
    ticks = rows(tmp_path / "run", "ticks.jsonl")
    assert max(tick["frames"] for tick in ticks) > 6
    assert sum(tick["evicted"].get("vision", 0) for tick in ticks) > 0
    assert all(tick["held"]["active"] <= tick["held"]["budget"] for tick in ticks)


def test_where_the_host_is_full_the_sample_fails_and_what_is_on_record_stays(
    tmp_path: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.memory.blocks import BlockStore

    remember = BlockStore._remember

    def full(self: BlockStore, mean: Any) -> None:
        if len(self) == 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 11239424 bytes")
        remember(self, mean)

    monkeypatch.setattr(BlockStore, "_remember", full)
    code, _, err = evalkit(*questions("ovobench", "rekv", "run"))
    assert code == 3
    assert "no room on the host for the keys and values of frame 4" in err
    ticks, answers = (rows(tmp_path / "run", name) for name in ("ticks.jsonl", "answers.jsonl"))
    assert [tick["held"]["stored"] for tick in ticks] == [196, 392, 588]
    assert {answer["status"] for answer in answers} == {"failed"}
    assert all("no room on the host" in answer["error"] for answer in answers)
