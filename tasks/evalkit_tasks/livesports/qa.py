"""LiveSports-3K QA as a task, as far as its schema is known; columns that were only inferred are said so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from evalkit.fetch import Source
from evalkit.parse.official import first_letter
from evalkit.tasks import CheckReport, DemoSize, Prediction, Problem
from evalkit.tasks.choice import (
    ChoiceLayout,
    ChoicePrompt,
    ChoiceQuestion,
    ChoiceRow,
    ChoiceRule,
    ChoiceTask,
    lettered,
)
from evalkit.tasks.contract import Average
from evalkit.tasks.layouts import FileRow, RowError, object_rows
from evalkit.tasks.replies import read_reply
from evalkit.tasks.rows import inside
from evalkit_tasks.sources import LIVESPORTS
from evalkit_tasks.toy_qa import make_demo

__all__ = ["LiveSportsQa"]

_LETTERS = "ABCD"
_ALL = "QA"
_OCR = "ocr"
_INFERRED = (
    "columns video_start, video_end, question_id, q_type and OCR are as LiveCC's evaluator uses them; the "
    "published file's own column names were not seen"
)


class LiveSportsQaRow(ChoiceRow):
    """One question, with the columns that LiveCC's evaluator reads; the span may be missing."""

    id: str = Field(min_length=1)
    video: str = Field(min_length=1)
    video_id: str = ""
    asked: str = Field(min_length=1, alias="question")
    options: list[str] = Field(min_length=4, max_length=4)
    answer: str
    q_type: str = ""
    ocr: bool = False
    video_start: float | None = Field(default=None, ge=0)
    video_end: float | None = Field(default=None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _fold(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        given = {"id": str(row["question_id"])} if row.get("question_id") is not None else {}
        marked = {"ocr": row.get("OCR") in (1, True, "1")}
        kind = {"q_type": str(row["q_type"])} if row.get("q_type") is not None else {}
        return {**row, **given, **marked, **kind}

    @field_validator("options")
    @classmethod
    def _lettered(cls, value: list[str]) -> list[str]:
        for letter, option in zip(_LETTERS, value, strict=True):
            if not option.startswith(f"{letter}."):
                raise ValueError(f"option {letter} must begin with '{letter}.'")
        return value

    @field_validator("answer")
    @classmethod
    def _letter(cls, value: str) -> str:
        if value not in tuple(_LETTERS):
            raise ValueError("must be a letter A to D")
        return value

    def question(self, index: int) -> ChoiceQuestion:
        """Return the question; the span shown is the whole video where the row names none."""
        return ChoiceQuestion(
            id=self.id,
            video=inside(self.video),
            text=self.asked,
            options=tuple(option[2:].strip() for option in self.options),
            gold=self.answer,
            task=_ALL,
            cluster=self.video_id or self.video,
            start=self.video_start or 0.0,
            end=self.video_end,
            labels=(*([f"type {self.q_type}"] if self.q_type else []), *([_OCR] if self.ocr else [])),
        )


def _livecc(question: ChoiceQuestion) -> str:
    return "\n".join([question.text, *lettered(question.options), "Please select the correct answer."])


def _take(row: FileRow) -> tuple[Prediction, list[Problem]]:
    content = row.content
    id_ = content.get("question_id")
    if not isinstance(id_, str | int) or isinstance(id_, bool):
        raise RowError("question_id", f"{id_!r:.40} is no question id")
    gold = content.get("answer")
    if gold not in tuple(_LETTERS):
        raise RowError("answer", f"{gold!r:.40} is none of A, B, C, D", str(id_))
    reply, problems = read_reply(
        content.get("response"), file=row.file, line=row.line, field="response", item=str(id_)
    )
    options = content.get("options")
    shown = tuple(options) if isinstance(options, list) and all(isinstance(one, str) for one in options) else ()
    kind = content.get("q_type")
    labels = [
        *([f"type {kind}"] if kind is not None else []),
        *([_OCR] if content.get("OCR") in (1, True) else []),
    ]
    tags = {"labels": "\n".join(labels)} if labels else {}
    cluster = str(content.get("video_id") or "")
    return Prediction(str(id_), _ALL, reply, gold, "choice", shown, cluster, tags), problems


def _first(reply: str, question: Prediction) -> str:
    """Read a reply as LiveCC does: its first character."""
    return reply[:1]


class LiveSportsQa(ChoiceTask):
    """LiveSports-3K QA (LiveCC, arXiv 2504.16030): 1,174 four-option questions."""

    name: ClassVar[str] = "livesports-qa"
    published_at: ClassVar[Source] = LIVESPORTS
    summary: ClassVar[str] = "LiveSports-3K QA: 1,174 four-option questions on spans of sports videos"
    row: ClassVar[type[ChoiceRow]] = LiveSportsQaRow
    places: ClassVar[tuple[str, ...]] = (
        "LiveSports-3K-QA.json",
        "sports3k-qa.jsonl",
        "LiveSports_3K_QA/*.parquet",
    )
    how_to_get: ClassVar[str] = (
        "`evalkit data fetch livesports-qa` brings it from the Hugging Face data set stdKonjac/LiveSports-3K"
    )
    prompts: ClassVar[Mapping[str, ChoicePrompt]] = MappingProxyType(
        {
            "livecc": ChoicePrompt(
                _livecc, prefix="Answer:", options=tuple(_LETTERS), lead=": ", frames="ovo-logit"
            ),
            "generated": ChoicePrompt(_livecc, frames="ovo-logit"),
        }
    )
    rule: ClassVar[ChoiceRule] = ChoiceRule(
        tasks=(_ALL,),
        read=_first,
        said="LiveCC: the reply's first character",
        averages=(Average("livesports_qa_overall", "micro", (_ALL,)), Average(_OCR, "micro", (_OCR,))),
        total="livesports_qa_overall",
        others={"first letter A to D": lambda reply, question: first_letter(reply, (), _LETTERS)},
    )
    layouts: ClassVar[Mapping[str, ChoiceLayout]] = {
        name: ChoiceLayout(object_rows, _take, True, "row of LiveCC's results (question_id, answer, response)")
        for name in ("official", "livecc")
    }
    versions: ClassVar[Mapping[str, Mapping[str, int]]] = {"published": {_ALL: 1174}}
    demo: ClassVar[Callable[[Path, DemoSize | None], None]] = partial(make_demo, "livesports-qa")

    def check(self, data: Path) -> CheckReport:
        """Look at every row and every video; the report says which columns were inferred."""
        report = super().check(data)
        return replace(report, facts={**report.facts, "inferred": _INFERRED})
