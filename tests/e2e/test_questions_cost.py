"""One pass over a video serves its questions at a fraction of one run per question, and survives being killed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Started
from toy_runs import runner, toy_data

from evalkit.memory import FullAttention
from evalkit.models.backbone import Backbone
from evalkit.models.cached import CachedModel
from evalkit.models.settings import GenerationSettings
from evalkit.run.sample import SampleRunner
from evalkit.stream import Query, StreamSample
from evalkit.video import write_mp4

ASKED_AT = (14.0, 28.0, 42.0, 56.0, 70.0)


class Work:
    """Counts frames packed for the encoder and tokens put through the text model."""

    def __init__(self, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames = self.tokens = 0
        pack, forward = backbone.pack, backbone.forward

        def packed(frames: Any) -> Any:
            self.frames += len(frames)
            return pack(frames)

        def forwarded(embeddings: torch.Tensor, positions: torch.Tensor, cache: Any) -> torch.Tensor:
            self.tokens += embeddings.shape[1]
            return forward(embeddings, positions, cache)

        monkeypatch.setattr(backbone, "pack", packed)
        monkeypatch.setattr(backbone, "forward", forwarded)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (112, 196, 3), dtype=np.uint8)

    def pictures() -> Iterator[np.ndarray[Any, Any]]:
        for number in range(4 * 70):
            yield np.roll(noise, 3 * number, axis=1)

    write_mp4(tmp_path / "clip.mp4", pictures(), fps=Fraction(4), gop=8)
    return tmp_path / "clip.mp4"


def asked(video: Path, name: str, *moments: float) -> StreamSample:
    queries = tuple(
        Query(f"{name}@{at:g}", at=at, prompt=f"What is shown at {at:g} s? Answer briefly.", kind="open")
        for at in moments
    )
    return StreamSample(name, video, start=0.0, end=moments[-1], fps=2.0, queries=queries, cluster="clip")


def cost(one_by_one: SampleRunner, work: Work, samples: list[StreamSample]) -> tuple[int, int, float]:
    frames, tokens = work.frames, work.tokens
    began = time.process_time()
    for sample in samples:
        one_by_one.run(sample)
    return work.frames - frames, work.tokens - tokens, time.process_time() - began


def test_five_questions_cost_at_most_0_45_of_five_runs_up_to_each(
    video: Path, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(tiny, monkeypatch)
    settings = GenerationSettings(answer_tokens=8)
    model = CachedModel("full", tiny, FullAttention(), settings, "r")
    pairs = []
    with runner(model, tmp_path / "run", checkpoint_seconds=60) as (one_by_one, _):
        cost(one_by_one, work, [asked(video, "warm", ASKED_AT[-1])])
        for turn in range(2):  # caches that another process has emptied slow one of them down
            one = cost(one_by_one, work, [asked(video, f"one-{turn}", *ASKED_AT)])
            five = cost(one_by_one, work, [asked(video, f"run-{turn}-{at:g}", at) for at in ASKED_AT])
            pairs.append((one, five))
    frames, tokens, _ = (mine / theirs for mine, theirs in zip(*pairs[0], strict=True))
    assert frames == pytest.approx(70 / sum(ASKED_AT))
    assert tokens <= 0.45
    assert min(one[2] / five[2] for one, five in pairs) <= 0.45


def said(folder: Path) -> dict[str, str]:
    lines = (folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert len({record["query"] for record in found}) == len(found)
    return {record["query"]: record["text"] for record in found}


def test_one_pass_answers_as_a_run_per_question_does(video: Path, tiny: Backbone, tmp_path: Path) -> None:
    model = CachedModel("full", tiny, FullAttention(), GenerationSettings(answer_tokens=8), "r")
    moments = (3.0, 7.5, 12.0)
    with runner(model, tmp_path / "one") as (one_by_one, _):
        one_by_one.run(asked(video, "clip", *moments))
    with runner(model, tmp_path / "each") as (one_by_one, _):
        for number, at in enumerate(moments):
            sample = asked(video, "clip", at)
            one_by_one.run(StreamSample(**{**_fields(sample), "id": f"run-{number}"}))
    assert said(tmp_path / "one") == said(tmp_path / "each")


def _fields(sample: StreamSample) -> dict[str, Any]:
    return {name: getattr(sample, name) for name in sample.__dataclass_fields__}


@pytest.mark.parametrize("protocol", ["streaming", "official"])
def test_a_killed_question_run_resumes_to_the_same_answers(
    protocol: str,
    tmp_path: Path,
    start: Callable[..., Started],
    evalkit: Callable[..., tuple[int, str, str]],
) -> None:
    data = toy_data("streamingbench", tmp_path / "data")
    words: list[str | Path] = ["run", "--task", "streamingbench", "--model", "full", "--checkpoint", "tiny"]
    words += ["--data", data, "--protocol", protocol, "--checkpoint-seconds", "4"]
    for setting in ("task.tasks=SQA,PO", "task.frames=vlmeval-8", "generation.answer_tokens=3"):
        words += ["--set", setting]
    code, _, err = evalkit(*words, "--out", tmp_path / "whole")
    assert code == 0, err
    answers = tmp_path / "broken" / "answers.jsonl"
    for attempt, count in enumerate((2, 7)):
        run = start(*words, "--out", tmp_path / "broken", *(["--resume"] if attempt else []))
        while run.process.is_alive() and (not answers.exists() or answers.read_bytes().count(b"\n") < count):
            time.sleep(0.002)
        run.process.kill()
        run.wait()
    code, _, err = evalkit(*words, "--out", tmp_path / "broken", "--resume")
    assert code == 0, err
    assert said(tmp_path / "broken") == said(tmp_path / "whole")
    values = [
        [(row["name"], row["group"], row["value"]) for row in metrics["metrics"] if row["score"]]
        for metrics in (
            json.loads((tmp_path / name / "metrics.json").read_text(encoding="utf-8"))
            for name in ("whole", "broken")
        )
    ]
    assert values[0] == values[1]
