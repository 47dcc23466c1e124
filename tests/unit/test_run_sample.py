"""One sample through the runner: questions and subtitles in time, and a run resumed at any second."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from sample_folders import SampleFolder, after

from evalkit.memory import FullAttention, MemoryPolicy, SlidingWindow, StreamingVLM
from evalkit.models.cached import CachedModel
from evalkit.models.settings import GenerationSettings
from evalkit.records import AnswerRecord, read_jsonl
from evalkit.run.checkpoint import SessionCheckpoints
from evalkit.run.recorder import Recorder
from evalkit.stream import Query, StreamSample

SAMPLED = GenerationSettings(temperature=0.9, answer_tokens=5)
POLICIES = {
    "full": FullAttention(),
    "sliding": SlidingWindow(3, 3),
    "streamingvlm": StreamingVLM(3, 3, text_sink=4, text_window=6),
}


def question(number: int, at: float) -> Query:
    return Query(f"q{number}", at, f"What about {number}?", "open", answer="nothing")


@pytest.fixture
def sample(small_data: Path) -> StreamSample:
    """Twelve seconds with five questions, two of them in one second, and a subtitle most seconds."""
    times = (4.0, 6.25, 9.0, 9.4, 15.9)
    subtitles = tuple((4.3 + 1.5 * k, f"line {k}") for k in range(8))
    queries = tuple(question(number, at) for number, at in enumerate(times))
    return StreamSample("s", small_data / "videos" / "match.mp4", 4, 16, 2, queries=queries, texts=subtitles)


def folder_of(path: Path, tiny: Any, policy: MemoryPolicy) -> SampleFolder:
    """A run folder of one sample under a policy on the tiny network."""
    return SampleFolder(path, CachedModel("m", tiny, policy, SAMPLED, "0"))


@pytest.mark.parametrize("name", POLICIES)
def test_a_stream_of_questions_resumed_at_any_second_equals_the_unbroken_one(
    name: str, sample: StreamSample, tiny: Any, tmp_path: Path
) -> None:
    whole = folder_of(tmp_path / "whole", tiny, POLICIES[name])
    whole.go(sample)
    assert len(whole.records(whole.run.answers_path)) == 5
    for second in (1, 3, 5, 6, 11, 12):
        broken = folder_of(tmp_path / f"broken-{second}", tiny, POLICIES[name])
        broken.go(sample, after(second))
        assert broken.go(sample) == []
        for whole_path, path in (
            (whole.run.answers_path, broken.run.answers_path),
            (whole.run.ticks_path, broken.run.ticks_path),
        ):
            assert broken.records(path) == whole.records(whole_path), f"stopped after {second} s"


def test_a_question_sees_no_subtitle_and_no_frame_after_its_time(
    sample: StreamSample, tiny: Any, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "run", tiny, FullAttention())
    folder.go(sample)
    ticks = folder.records(folder.run.ticks_path)
    parts = [(tick["start"], tick["end"], tick["frames"]) for tick in ticks]
    assert sum(frames for _, _, frames in parts) == 24
    assert parts[:5] == [(4, 4, 1), (4, 5, 1), (5, 6, 2), (6, 6.25, 1), (6.25, 7, 1)]
    assert [tick["tokens_in"].get("subtitle", 0) > 0 for tick in ticks[:5]] == [False, True, True, False, False]


def test_a_damaged_checkpoint_is_named_and_the_sample_starts_anew(
    sample: StreamSample, tiny: Any, tmp_path: Path
) -> None:
    whole, broken = (folder_of(tmp_path / name, tiny, POLICIES["streamingvlm"]) for name in ("whole", "broken"))
    whole.go(sample)
    broken.go(sample, after(5))
    (checkpoint,) = broken.run.state_path.glob("*.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    assert broken.go(sample) == []
    assert "s starts anew: checkpoint" in broken.warnings[0]
    assert broken.records(broken.run.answers_path) == whole.records(whole.run.answers_path)
    assert broken.records(broken.run.ticks_path) == whole.records(whole.run.ticks_path)


def test_a_repeated_second_that_says_something_else_is_named_and_not_written(
    sample: StreamSample, tiny: Any, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "run", tiny, FullAttention())
    folder.go(sample)
    kept = folder.run.answers_path.read_text().splitlines()
    changed = json.loads(kept[0]) | {"text": "something else"}
    folder.run.answers_path.write_text("\n".join([json.dumps(changed), *kept[1:]]) + "\n")
    with Recorder(folder.run) as recorder:
        records, _ = read_jsonl(folder.run.answers_path, AnswerRecord)
        recorder.answer(records[0].model_copy(update={"text": "what it said"}))
        assert recorder.differences == ["q0: said 'something else' before the resume, 'what it said' after it"]
    assert len(folder.run.answers_path.read_text().splitlines()) == 5


def test_checkpoints_are_saved_every_so_many_seconds_and_sample_ids_make_no_paths(
    sample: StreamSample, tiny: Any, tmp_path: Path
) -> None:
    odd = dataclasses.replace(sample, id="../up/and away", queries=())
    folder = folder_of(tmp_path / "run", tiny, FullAttention())
    folder.go(odd, after(7), every=3)
    (checkpoint,) = tmp_path.rglob("*.safetensors")
    assert checkpoint.parent == folder.run.state_path
    saved = SessionCheckpoints(folder.run.state_path).load(odd.id)
    assert saved is not None
    assert saved[0] == 7
