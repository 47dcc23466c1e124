"""OmniMMI's proactive alerting: 200 items, each a request to be told when something happens."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evalkit.errors import DataError
from evalkit.tasks import DemoSize
from evalkit.tasks.choice import find_files
from evalkit.tasks.choice.samples import ChoiceVideos
from evalkit.tasks.contract import Prediction, Problem
from evalkit.tasks.rows import check_rows, digest_files, inside, read_rows
from evalkit.tasks.timed import TimedData, TimedQuestion, TimedTask
from evalkit.utterances import Window
from evalkit_tasks.toy_qa import make_demo

__all__ = ["OmniMmiPa"]

_PLACES = (
    *("proactive_alerting.json", "annotations/proactive_alerting.json"),  # data set card; as others unpack it
    *("*proactive*alert*.json", "*_pa.json", "pa.json"),
)
_ITEMS = 200


class AlertRow(BaseModel):
    """One item: ``{"video", "question": "Signal me when ...", "answer": [start, end]}``, seconds."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    video: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answer: tuple[float, float]

    @model_validator(mode="before")
    @classmethod
    def _pair(cls, row: Any) -> Any:
        if isinstance(row, dict) and isinstance(row.get("answer"), list):
            return {**row, "answer": tuple(row["answer"])}
        return row

    @field_validator("video")
    @classmethod
    def _below(cls, value: str) -> str:
        return inside(value)

    @field_validator("answer")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] <= value[1]:
            raise ValueError("must be [start, end] in seconds")
        return value


class OmniMmiPa(TimedTask):
    """OmniMMI proactive alerting: a hit is an alert inside the interval; alerts before it are false alarms."""

    name: ClassVar[str] = "omnimmi-pa"
    summary: ClassVar[str] = "OmniMMI proactive alerting: 200 requests to be told when something happens"
    tasks: ClassVar[tuple[str, ...]] = ("PA",)
    tolerance: ClassVar[float] = 0.0
    headline: ClassVar[Literal["f1", "recall"]] = "recall"
    source: ClassVar[str] = "a hit is the first alert within [start, end]; alerts before are false alarms"
    demo: ClassVar[Callable[[Path, DemoSize | None], None]] = partial(make_demo, "omnimmi-pa")

    def questions(self, data: Path) -> TimedData:
        """Read the items; an item's id is its place in the file, from 0."""
        files = find_files(data, _PLACES)
        if not files:
            raise DataError(
                f"{data} has no {_PLACES[0]}; get it and videos/ of the Hugging Face data set ColorfulAI/OmniMMI",
                path=data,
            )
        file = files[0]
        rows = read_rows(file)
        good, problems = check_rows(rows, AlertRow, file.name)
        if not good:
            raise DataError(f"{file} holds no item of proactive alerting", path=file)
        videos = ChoiceVideos(data, ("videos", "video", ""))
        questions = tuple(
            TimedQuestion(
                id=f"pa_{line - 1}",
                task="PA",
                video=videos.path(row.video),
                cluster=row.video,
                asked=row.question,
                start=0.0,
                end=max(1.0, float(math.ceil(row.answer[1]))),
                windows=(Window(*row.answer),),
            )
            for line, row in good
        )
        if len(rows) != _ITEMS and len(rows) >= _ITEMS / 10:
            message = f"{len(rows)} items, published are {_ITEMS}"
            problems.append(Problem("other-version", message, file.name))
        version = "200 items" if len(rows) == _ITEMS else f"{len(rows)} items, published are {_ITEMS}"
        return TimedData(questions, tuple(problems), digest_files([file]), version)

    def published_figures(self, predictions: Sequence[Prediction]) -> dict[str, float | None]:
        """Return the three figures of OmniMMI's ``evaluations/evaluate.py`` (ef79b6e) for lists of alerts.

        Accuracy asks that the very first alert lies inside; precision is the share of an item's alerts inside;
        IoU is of the interval and the span from the first alert to the last. An item without alerts has 0 of each.
        """
        if not predictions:
            return {}
        rows = [_by_evaluate_py(json.loads(one.response or "[]"), json.loads(one.gold)[0]) for one in predictions]
        names = ("official_accuracy", "official_precision", "official_iou")
        return {name: 100 * fmean(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def _by_evaluate_py(alerts: Sequence[float], window: Sequence[float]) -> tuple[float, float, float]:
    start, end = window
    if not alerts:
        return 0.0, 0.0, 0.0
    first, last = min(alerts), max(alerts)
    whole = max(last, end) - min(first, start)
    shared = max(0.0, min(last, end) - max(first, start))
    inside = sum(start <= at <= end for at in alerts) / len(alerts)
    return float(start <= first <= end), inside, shared / whole if whole > 0 else 0.0
