"""OVO-Timing: OVO-Bench's own forward records, asked once at the start; the model decides when to speak."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from evalkit.errors import DataError
from evalkit.fetch import Source
from evalkit.judge import Rubric
from evalkit.tasks import DemoSize
from evalkit.tasks.contract import Problem
from evalkit.tasks.rows import check_rows, digest_files, read_rows
from evalkit.tasks.timed import TimedData, TimedQuestion, TimedTask, Turn
from evalkit.utterances import Window
from evalkit_tasks.ovobench.annotations import find_annotations
from evalkit_tasks.ovobench.published import FORWARD
from evalkit_tasks.ovobench.videos import find_videos
from evalkit_tasks.sources import OVOBENCH
from evalkit_tasks.timing.turns import TURN_RUBRIC, GradedTurns
from evalkit_tasks.toy_qa import make_demo

__all__ = ["OvoTiming"]

_AFTER_START = 2.0
"""What REC and SSR ask for is due so many seconds after it begins."""
_TOLERANCE = 2.0
_RECORDS = 172

Seconds = list[float]


class _Moment(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    realtime: float = Field(ge=0)


class ForwardRow(BaseModel):
    """The times of one forward record; which fields it must have depends on ``task``."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    id: int = Field(ge=0)
    task: Literal["REC", "SSR", "CRR"]
    video: str = Field(min_length=1)
    question: str = ""
    activity: str = ""
    all_steps: list[str] = []
    tutorial: str = ""
    start_times: Seconds = []
    start_time: Seconds = []
    end_time: Seconds = []
    answer: str = ""
    clue_time: float | None = Field(default=None, ge=0)
    test_info: list[_Moment] = []

    @model_validator(mode="after")
    def _has_times(self) -> ForwardRow:
        if self.task == "CRR" and self.clue_time is None:
            raise ValueError("a CRR record must have its clue_time")
        if self.task == "REC" and not (self.start_times and self.activity.strip()):
            raise ValueError("a REC record must have an activity and its start_times")
        if self.task == "SSR" and not self.start_time:
            raise ValueError("an SSR record must have its start_time")
        return self

    @property
    def golds(self) -> list[float]:
        """When something should be said: CRR at the clue; REC and SSR 2 s after each start."""
        if self.task == "CRR":
            return [] if self.clue_time is None else [self.clue_time]
        return [start + _AFTER_START for start in (self.start_times if self.task == "REC" else self.start_time)]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What should be said over which span: SSR each step while it lasts, CRR the answer from the clue on."""
        if self.task == "SSR" and len(self.start_time) == len(self.end_time) == len(self.all_steps):
            spans = zip(self.start_time, self.end_time, self.all_steps, strict=True)
            return tuple(Turn(Window(start, end), step) for start, end, step in spans if start <= end)
        if self.task == "CRR" and self.clue_time is not None and self.answer:
            last = max([self.clue_time, *(probe.realtime for probe in self.test_info)])
            return (Turn(Window(self.clue_time, last), self.answer),)
        return ()

    @property
    def asked(self) -> str:
        """What the model is to wait for, in evalkit's own words: no published wording exists."""
        if self.task == "REC":
            return f"Whenever the people in the video {self.activity.strip()}, say so right then, each time anew."
        if self.task == "SSR":
            steps = "; ".join(self.all_steps) or self.tutorial
            return (
                f"The video shows a procedure of these steps: {steps}. Say which step it is as soon as it begins."
            )
        return f"As soon as the video shows enough to answer this question, answer it: {self.question}"


class OvoTiming(GradedTurns, TimedTask):
    """OVO-Bench's 82 REC, 42 SSR and 48 CRR records, streamed; ``ovobench`` polls them."""

    name: ClassVar[str] = "ovo-timing"
    summary: ClassVar[str] = "OVO-Timing: OVO-Bench's 172 forward records, asked once; when the model speaks"
    tasks: ClassVar[tuple[str, ...]] = FORWARD
    tolerance: ClassVar[float] = _TOLERANCE
    rubrics: ClassVar[Mapping[str, Rubric]] = {"SSR": TURN_RUBRIC, "CRR": TURN_RUBRIC}
    headline: ClassVar[Literal["f1", "recall"]] = "f1"
    published_at: ClassVar[Source] = OVOBENCH
    source: ClassVar[str] = (
        "a response within 2 s of an unused gold time is right; recall and precision per record, averaged per "
        "sub-task, F1 from the two means, total the mean of three F1"
    )
    demo: ClassVar[Callable[[Path, DemoSize | None], None]] = partial(make_demo, "ovo-timing")

    def questions(self, data: Path) -> TimedData:
        """Read the forward records of OVO-Bench's annotation file."""
        file = find_annotations(data)
        rows = read_rows(file)
        forward = [(line, row) for line, row in enumerate(rows, start=1) if _task_of(row) in FORWARD]
        good, problems = check_rows([row for _, row in forward], ForwardRow, file.name)
        if not good:
            raise DataError(f"{file} holds no forward record with its times (REC, SSR, CRR)", path=file)
        videos = find_videos(data, file, [row.video for _, row in good])
        questions: dict[str, TimedQuestion] = {}
        for place, row in good:
            if str(row.id) in questions:
                line = forward[place - 1][0]
                message = f"id {row.id} stands in the file already; this record is left out"
                problems.append(Problem("duplicate", message, file.name, line, "id", str(row.id)))
                continue
            golds = row.golds
            last = max([*golds, *(probe.realtime for probe in row.test_info)]) + _TOLERANCE
            questions[str(row.id)] = TimedQuestion(
                id=str(row.id),
                task=row.task,
                video=videos.whole(row.video),
                cluster=row.video,
                asked=row.asked,
                start=0.0,
                end=float(math.ceil(last)),
                windows=tuple(Window(gold, gold) for gold in golds),
                turns=row.turns,
            )
        n = len(questions)
        version = "172 forward records" if n == _RECORDS else f"{n} forward records, published are {_RECORDS}"
        return TimedData(tuple(questions.values()), tuple(problems), digest_files([file]), version)


def _task_of(row: object) -> object:
    return row.get("task") if isinstance(row, dict) else None
