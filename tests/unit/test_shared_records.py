"""Records and states of samples that several workers run: written once, read in the order of the samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from evalkit.errors import DataError
from evalkit.records import (
    AnswerRecord,
    JsonlWriter,
    RunFolder,
    RunManifest,
    StageTimes,
    TickRecord,
    read_jsonl,
    read_run,
)
from evalkit.run.checkpoint import SessionCheckpoints, pack_state, unpack_state
from evalkit.run.recorder import Recorder


def tick(sample: str, second: int) -> TickRecord:
    return TickRecord(sample=sample, second=second, start=second, end=second + 1, stages=StageTimes())


def spoken(sample: str, second: int, text: str = "so") -> AnswerRecord:
    query = f"{sample}@{second}"
    return AnswerRecord(
        sample=sample, query=query, kind="narration", at=second + 1, start=second, end=second + 1, text=text
    )


def test_records_left_in_turns_are_read_in_the_order_of_the_samples(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_manifest(
        RunManifest(
            task="t",
            model="m",
            started="",
            options={},
            fingerprint={},
            fingerprint_digest="",
            planned=["b", "c", "a"],
        )
    )
    with (
        JsonlWriter[TickRecord](folder.ticks_path) as ticks,
        JsonlWriter[AnswerRecord](folder.answers_path) as said,
    ):
        for sample, second in (("a", 0), ("b", 0), ("a", 1), ("x", 0), ("b", 1), ("c", 0)):
            ticks.append(tick(sample, second))
            said.append(spoken(sample, second))
    run = read_run(tmp_path)
    order = [("b", 0), ("b", 1), ("c", 0), ("a", 0), ("a", 1), ("x", 0)]
    assert [(one.sample, one.second) for one in run.ticks] == order
    assert [(one.sample, int(one.start)) for one in run.answers] == order
    assert list(run.ticks.by_sample()) == ["b", "c", "a", "x"]
    assert run.ticks.in_order(["b", "c", "a"]) is run.ticks


def test_what_another_worker_says_again_is_on_record_once_and_a_difference_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with Recorder(folder, repeats=True) as recorder:
        for second in (0, 1, 1, 0, 2):
            recorder.tick(tick("a", second))
            recorder.answer(spoken("a", second))
        assert recorder.replies("a") == {f"a@{second}": "so" for second in range(3)}
        recorder.answer(spoken("a", 2, "no"))
        assert recorder.differences == ["a@2: said 'so' before the resume, 'no' after it"]
        recorder.finish("a", "done")
        assert recorder.replies("a") == {}
    assert [one.second for one in read_jsonl(folder.ticks_path, TickRecord)[0]] == [0, 1, 2]
    assert [one.text for one in read_jsonl(folder.answers_path, AnswerRecord)[0]] == ["so"] * 3


def test_a_state_goes_by_wire_or_is_laid_aside_until_its_records_are_safe(tmp_path: Path) -> None:
    state = {"tensors": {"kv": torch.arange(6.0).reshape(2, 3)}, "json": {"words": ["ä", 1], "tick": 3}}
    blob = pack_state(7, state)
    there = SessionCheckpoints(tmp_path)
    part = there.lay_aside("a/b", 7, blob)
    assert there.load("a/b") is None
    there.take("a/b", part)
    for number, loaded in (unpack_state(blob), there.load("a/b") or (0, {})):
        assert number == 7
        assert torch.equal(loaded["tensors"]["kv"], state["tensors"]["kv"])
        assert loaded["json"] == state["json"]
    assert there.read("a/b") == blob
    assert not part.exists()
    with pytest.raises(DataError, match="checkpoint is damaged"):
        unpack_state(blob[:-4])
