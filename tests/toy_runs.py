"""Runs of the toy benchmark under a model that only takes note: what it is shown, when, and what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.models.protocol import Answer, Placement, SessionRequest, Spoken, StepReport, StreamingModel
from evalkit.records import AnswerRecord, RunFolder, TickRecord, read_jsonl
from evalkit.run.checkpoint import SessionCheckpoints
from evalkit.run.reads import OwnReads, Reads
from evalkit.run.recorder import Recorder
from evalkit.run.sample import SampleRunner
from evalkit.stream import Chunk, Elicitation, StreamSample
from evalkit.video import write_mp4
from evalkit_tasks.demo import DemoMatch, make_match
from evalkit_tasks.toy_qa import Toy, make_toy

FPS = 8
"""Frame rate of the toy's videos in tests."""


def film(path: Path, match: DemoMatch) -> None:
    """Encode small frames whose brightness is their number, so that it can be read back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shades = (np.full((16, 16, 3), number % 256, np.uint8) for number in range(match.seconds * FPS))
    write_mp4(path, shades, fps=FPS, gop=FPS)


def toy_data(layout: str, folder: Path, *, seconds: int = 24) -> Path:
    """Write the toy benchmark on short videos."""
    make_toy(layout, folder, Toy((make_match(7, seconds), make_match(11, seconds)), film))
    return folder


@dataclass
class Asked:
    """One question as the model met it."""

    session: int
    key: str
    prompt: str
    elicitation: Elicitation
    seen: list[Fraction]
    texts: list[str]
    items: list[Fraction | str]


@dataclass
class NotingModel:
    """Answers by a rule and takes note of everything; `frames` counts the frames of all sessions."""

    reply: Callable[[str, str], str] = lambda key, prompt: "A"
    name: str = "noting"
    asked: list[Asked] = field(default_factory=list)
    requests: list[SessionRequest] = field(default_factory=list)
    frames: int = 0
    placement: Placement = field(default_factory=Placement)

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        return width, height

    def open(self, request: SessionRequest) -> NotingSession:
        self.requests.append(request)
        return NotingSession(self, len(self.requests) - 1)

    def identity(self) -> dict[str, Any]:
        return {}

    def peak_mib(self) -> float:
        return 0.0

    def close(self) -> None:
        """Nothing to free."""


@dataclass
class NotingSession:
    """A session of the noting model; its state is what it has seen."""

    model: NotingModel
    number: int
    seen: list[Fraction] = field(default_factory=list)
    items: list[Fraction | str] = field(default_factory=list)

    def observe(self, chunk: Chunk, subtitles: tuple[str, ...] = ()) -> StepReport:
        assert len(chunk.frames) == len(chunk.times) == len(chunk.shown)
        assert all(shown <= wanted for shown, wanted in zip(chunk.shown, chunk.times, strict=True))
        self.seen += chunk.shown
        self.items += [*chunk.shown, *subtitles]
        self.model.frames += len(chunk.frames)
        return StepReport(stages={"other": 0.0}, tokens_in={}, kept={}, evicted={}, cache_tokens=0)

    def speak(self, chunk: Chunk) -> Spoken:
        raise AssertionError("nothing is narrated here")

    def ask(self, prompt: str, elicitation: Elicitation, *, key: str) -> Answer:
        texts = [item for item in self.items if isinstance(item, str)]
        asked = Asked(self.number, key, prompt, elicitation, list(self.seen), texts, list(self.items))
        self.model.asked.append(asked)
        return Answer(self.model.reply(key, prompt), 1, 0.0, 0.0)

    def state(self) -> dict[str, Any]:
        return {"tensors": {}, "json": {"items": [str(item) for item in self.items]}}

    def restore(self, state: dict[str, Any]) -> None:
        self.items = list(state["json"]["items"])

    def close(self) -> None:
        """Nothing to free."""


@contextmanager
def runner(
    model: StreamingModel,
    folder: Path,
    *,
    stop_after: int | None = None,
    checkpoint_seconds: int = 5,
    reads: Reads | None = None,
) -> Iterator[tuple[SampleRunner, Recorder]]:
    """Give a runner of a model that records below a folder and stops after so many looks at the stop flag."""
    folder.mkdir(exist_ok=True)
    looks = 0

    def stopping() -> bool:
        nonlocal looks
        looks += 1
        return stop_after is not None and looks > stop_after

    run = RunFolder(folder)
    with Recorder(run) as recorder:
        yield (
            SampleRunner(
                model=model,
                recorder=recorder,
                checkpoints=SessionCheckpoints(run.state_path),
                seed=0,
                checkpoint_seconds=checkpoint_seconds,
                stopping=stopping,
                advanced=lambda seconds: None,
                warn=lambda text: None,
                reads=reads or OwnReads(),
            ),
            recorder,
        )


def run_all(samples: tuple[StreamSample, ...], model: NotingModel, folder: Path) -> list[AnswerRecord]:
    """Run samples and return the answers on record."""
    with runner(model, folder) as (one_by_one, _):
        for sample in samples:
            one_by_one.run(sample)
    return answers(folder)


def answers(folder: Path) -> list[AnswerRecord]:
    """Return a folder's answers."""
    return read_jsonl(RunFolder(folder).answers_path, AnswerRecord)[0]


def ticks(folder: Path) -> list[TickRecord]:
    """Return a folder's seconds."""
    return read_jsonl(RunFolder(folder).ticks_path, TickRecord)[0]
