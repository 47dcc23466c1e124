"""OVO-Bench's annotation file: what a row must hold and the questions it asks; leaves videos to ``data``."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from evalkit.errors import DataError
from evalkit.tasks.contract import Problem
from evalkit.tasks.rows import check_rows, digest_files, read_rows, require_name
from evalkit.tasks.sniff import refuse_other
from evalkit_tasks.ovobench.published import BACKWARD, FORWARD, NOMINAL, REALTIME, TASKS

__all__ = [
    "PUBLISHED_FILE",
    "Annotations",
    "OvoRow",
    "Probe",
    "Question",
    "find_annotations",
    "questions_of",
    "read_annotations",
]

PUBLISHED_FILE = "ovo_bench_new.json"
_FIRST_FILE = "ovo_bench.json"
_PUBLISHED_ROWS = 1640
_WRONG_GOLD = {609: "the gold letter is C, the answer text is option B"}
"""Published faults of the gold: reported, not changed, since every published score has them."""

Kind = Literal["choice", "count", "yes-no"]
TaskName = Literal["EPM", "ASI", "HLD", "OCR", "ACR", "ATR", "STU", "FPD", "OJR", "REC", "SSR", "CRR"]


class Probe(BaseModel):
    """One moment at which a forward question is asked again."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    realtime: float = Field(ge=0)
    count: int | None = Field(default=None, ge=0)
    type: int | None = Field(default=None, ge=0, le=1)
    step: str = ""


class OvoRow(BaseModel):
    """One record of the annotation file; which fields it must have depends on ``task``."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False, validate_default=True)

    id: int = Field(ge=0)
    task: TaskName
    video: str = Field(min_length=1)
    question: str = ""
    activity: str = ""
    options: list[str] = []
    gt: int | None = None
    answer: str = ""
    realtime: float | None = Field(default=None, ge=0)
    ask_time: float | None = Field(default=None, ge=0)
    test_info: list[Probe] = []

    @field_validator("video")
    @classmethod
    def _stays_inside(cls, video: str) -> str:
        if ".." in PurePosixPath(video.replace("\\", "/")).parts:
            raise ValueError("must not climb out of the data folder")
        require_name(video)
        return video

    @field_validator("question")
    @classmethod
    def _asks(cls, question: str, info: ValidationInfo) -> str:
        if not question.strip() and info.data.get("task") not in ("REC", "SSR", None):
            raise ValueError("must be a question")
        return question

    @field_validator("activity")
    @classmethod
    def _names_activity(cls, activity: str, info: ValidationInfo) -> str:
        if not activity.strip() and info.data.get("task") == "REC":
            raise ValueError("must name the activity to count")
        return activity

    @field_validator("options")
    @classmethod
    def _offers(cls, options: list[str], info: ValidationInfo) -> list[str]:
        if info.data.get("task") in BACKWARD + REALTIME and not 2 <= len(options) <= 5:
            raise ValueError("must be 2 to 5 options")
        return options

    @field_validator("gt")
    @classmethod
    def _points_at_option(cls, gt: int | None, info: ValidationInfo) -> int | None:
        options = info.data.get("options")
        if options and info.data.get("task") in BACKWARD + REALTIME and (gt is None or not 0 <= gt < len(options)):
            raise ValueError("must be the index of an option, from 0")
        return gt

    @field_validator("realtime")
    @classmethod
    def _has_moment(cls, realtime: float | None, info: ValidationInfo) -> float | None:
        if realtime is None and info.data.get("task") in BACKWARD + REALTIME:
            raise ValueError("must be the second of the question")
        return realtime

    @field_validator("ask_time")
    @classmethod
    def _is_asked(cls, ask_time: float | None, info: ValidationInfo) -> float | None:
        if ask_time is None and info.data.get("task") == "CRR":
            raise ValueError("must be the second at which the question is put")
        return ask_time

    @field_validator("test_info")
    @classmethod
    def _is_probed(cls, probes: list[Probe], info: ValidationInfo) -> list[Probe]:
        task = info.data.get("task")
        if task in FORWARD and not probes:
            raise ValueError("must hold at least one probe")
        for index, probe in enumerate(probes):
            if task == "REC" and probe.count is None:
                raise ValueError(f"probe {index} has no count")
            if task in ("SSR", "CRR") and probe.type is None:
                raise ValueError(f"probe {index} has no type (0 or 1)")
            if task == "SSR" and not probe.step.strip():
                raise ValueError(f"probe {index} has no step")
        return probes


@dataclass(frozen=True, slots=True)
class Question:
    """One scored query: a choice question, or one probe of a forward record.

    Args:
        id: ``{record}`` or ``{record}_{probe}``, the stem of the official chunk file.
        row: The record.
        probe: The probe, for forward tasks.
        at: Media second of the question.
        gold: Letter, number or ``Yes``/``No``.
        kind: Answer kind.
    """

    id: str
    row: OvoRow
    probe: Probe | None
    at: float
    gold: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Annotations:
    """An annotation file read: good rows, what was wrong, and which version it is.

    Args:
        file: The file.
        rows: Good rows, in file order.
        problems: Rows refused, and published faults of rows that stay.
        digest: SHA-256 of the file.
        version: Which published version it is, or that it is none.
    """

    file: Path
    rows: tuple[OvoRow, ...]
    problems: tuple[Problem, ...]
    digest: str
    version: str

    def questions(self) -> Iterator[Question]:
        """Yield every scored query in file order."""
        for row in self.rows:
            yield from questions_of(row)

    def counts(self) -> dict[str, int]:
        """Return scored queries by sub-task, in the order of the tables."""
        found: Counter[str] = Counter(question.row.task for question in self.questions())
        return {task: found[task] for task in TASKS if task in found}


def questions_of(row: OvoRow) -> Iterator[Question]:
    """Yield the scored queries of one record."""
    if row.task not in FORWARD:
        if row.gt is None or row.realtime is None:
            raise DataError(f"record {row.id} has no gold or no time")
        yield Question(str(row.id), row, None, row.realtime, string.ascii_uppercase[row.gt], "choice")
        return
    for index, probe in enumerate(row.test_info):
        kind: Kind = "count" if row.task == "REC" else "yes-no"
        gold = str(probe.count) if kind == "count" else "Yes" if probe.type else "No"
        yield Question(f"{row.id}_{index}", row, probe, probe.realtime, gold, kind)


def find_annotations(data: Path) -> Path:
    """Return the annotation file below a data folder (or the file itself).

    Raises:
        DataError: There is none; the text says how to get it, or whose data this is.
    """
    if data.is_file():
        refuse_other(data, "ovobench")
        return data
    for folder in (data, data / "data"):
        for name in (PUBLISHED_FILE, _FIRST_FILE):
            if (folder / name).is_file():
                return folder / name
    refuse_other(data, "ovobench")
    raise DataError(
        f"{data} has no {PUBLISHED_FILE}; `evalkit data fetch ovobench` brings it from "
        "github.com/JoeLeelyf/OVO-Bench (data/) and the videos from the Hugging Face data set JoeLeelyf/OVO-Bench",
        path=data,
    )


def read_annotations(data: Path) -> Annotations:
    """Read and check the annotation file.

    Raises:
        DataError: It is missing, another benchmark's, or not a JSON list.
    """
    file = find_annotations(data)
    checked, problems = check_rows(read_rows(file), OvoRow, file.name)
    seen: dict[int, int] = {}
    rows: list[OvoRow] = []
    for line, row in checked:
        if row.id in seen:
            message = f"id {row.id} is already in record {seen[row.id]}"
            problems.append(Problem("bad-row", message, file.name, line, "id", str(row.id)))
            continue
        seen[row.id] = line
        rows.append(row)
        problems.extend(_faults(row, file.name, line))
    if not rows:
        raise DataError(f"{file} holds no usable record of OVO-Bench", path=file)
    return Annotations(file, tuple(rows), tuple(problems), digest_files([file]), _version(file, rows))


def _faults(row: OvoRow, file: str, line: int) -> Iterable[Problem]:
    """Name published faults of a row that stays as it is."""
    if row.id in _WRONG_GOLD and row.gt is not None and row.answer == row.options[1] != row.options[row.gt]:
        yield Problem("known-fault", _WRONG_GOLD[row.id], file, line, "gt", str(row.id))
    if row.task not in FORWARD and len(set(row.options)) < len(row.options):
        yield Problem("known-fault", "two options have the same text", file, line, "options", str(row.id))
    if PurePosixPath(row.video).is_absolute():
        message = "absolute path; the video is looked for by its name"
        yield Problem("known-fault", message, file, line, "video", str(row.id))


def _version(file: Path, rows: list[OvoRow]) -> str:
    found = Counter(question.row.task for row in rows for question in questions_of(row))
    if dict(found) == dict(NOMINAL) and len(rows) == _PUBLISHED_ROWS:
        return f"{PUBLISHED_FILE}, 1,640 records, 3,035 queries"
    if file.name == _FIRST_FILE:
        return f"{_FIRST_FILE} (first version), {len(rows):,} records, {found.total():,} queries"
    return f"not a published version: {len(rows):,} records, {found.total():,} queries"
