"""LongVideoBench's annotation files: which there are, what a row must hold; leaves samples to ``data``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from evalkit.errors import DataError
from evalkit.tasks.contract import Problem
from evalkit.tasks.rows import check_rows, digest_files, inside, read_rows, single_rows
from evalkit.tasks.sniff import refuse_other, sniff
from evalkit_tasks.longvideobench.prompts import LETTERS

__all__ = [
    "CATEGORIES",
    "DURATION_GROUPS",
    "LABELS",
    "PUBLISHED_QUESTIONS",
    "VAL_CATEGORIES",
    "VAL_DURATIONS",
    "Annotations",
    "LvbFiles",
    "LvbRow",
    "Split",
    "find_annotations",
    "level_of",
    "read_annotations",
]

Split = Literal["val", "test"]

DURATION_GROUPS = (15, 60, 600, 3600)
"""Upper bound of a clip's length, seconds: (8, 15], (15, 60], (180, 600], (900, 3600]."""

PERCEPTION = ("S2E", "S2O", "S2A", "E2O", "O2E", "T2E", "T2O", "T2A")
RELATION = ("E3E", "O3O", "SSS", "SOS", "SAA", "T3E", "T3O", "TOS", "TAA")
CATEGORIES = PERCEPTION + RELATION

LABELS = {
    **{"S2E": "Scene-referred event", "S2O": "Scene-referred object", "S2A": "Scene-referred attribute"},
    **{"E2O": "Event-referred object", "O2E": "Object-referred event"},
    **{"T2E": "Text-referred event", "T2O": "Text-referred object", "T2A": "Text-referred attribute"},
    **{"E3E": "Event before or after event", "O3O": "Object before or after object"},
    **{"SSS": "Sequence of scenes", "SOS": "Scene-referred object tracking"},
    **{"SAA": "Scene-referred attribute change", "TOS": "Text-referred object tracking"},
    **{"T3E": "Event before or after text", "T3O": "Object before or after text"},
    **{"TAA": "Text-referred attribute change"},
    **{"longvideobench_15": "8 to 15 s", "longvideobench_60": "15 to 60 s"},
    **{"longvideobench_600": "3 to 10 min", "longvideobench_3600": "15 to 60 min"},
    **{"longvideobench_perception": "Perception", "longvideobench_relation": "Relation"},
    "longvideobench_overall": "Overall",
    "longvideobench_macro_duration": "Mean of durations",
    "longvideobench_macro_category": "Mean of sub-tasks",
}
"""Names of sub-tasks (paper, table 2) and groups."""

PUBLISHED_QUESTIONS = {"val": 1337, "test": 5341}
"""Data set card."""

VAL_CATEGORIES = MappingProxyType(
    {
        **{"S2E": 93, "S2O": 72, "S2A": 88, "E2O": 65, "O2E": 87, "T2E": 65, "T2O": 76, "T2A": 79},
        **{"E3E": 94, "O3O": 66, "SSS": 97, "SOS": 81, "SAA": 72, "T3E": 73, "T3O": 74, "TOS": 73, "TAA": 82},
    }
)
"""Questions of the validation set by category, counted in lmms-eval's sample files."""

VAL_DURATIONS = MappingProxyType({15: 189, 60: 172, 600: 412, 3600: 564})
"""The same by duration group, seconds."""

_FILES: dict[str, tuple[str, str]] = {
    "val": ("lvb_val.json", "validation-*.parquet"),
    "test": ("lvb_test_wo_gt.json", "test-*.parquet"),
}
_MISSING_OPTION = "N/A"


def level_of(category: str) -> str:
    """Return ``L1-Perception`` or ``L2-Relation``; empty for an unknown category."""
    if category in PERCEPTION:
        return "L1-Perception"
    return "L2-Relation" if category in RELATION else ""


class LvbRow(BaseModel):
    """One question, from either form (``candidates``, or ``option0`` to ``option4`` with ``N/A``)."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    id: str = Field(min_length=1)
    video_id: str = Field(min_length=1)
    question: str = Field(min_length=1)
    candidates: list[str] = Field(min_length=2, max_length=len(LETTERS))
    correct_choice: int | None = None
    question_category: str
    topic_category: str = ""
    level: str = ""
    video_path: str
    subtitle_path: str | None = None
    duration_group: int
    duration: float = Field(gt=0)
    starting_timestamp_for_subtitles: float = 0.0

    @model_validator(mode="before")
    @classmethod
    def _fold_options(cls, row: Any) -> Any:
        if not isinstance(row, dict) or "candidates" in row or "option0" not in row:
            return row
        options = [row.get(f"option{i}") for i in range(len(LETTERS))]
        shown = [option for option in options if option not in (None, _MISSING_OPTION)]
        return {**row, "candidates": shown}

    @field_validator("correct_choice")
    @classmethod
    def _within(cls, value: int | None, info: ValidationInfo) -> int | None:
        candidates = info.data.get("candidates")
        if value is None or value == -1:
            return None
        if candidates is not None and not 0 <= value < len(candidates):
            raise ValueError(f"must be 0 to {len(candidates) - 1}, there are {len(candidates)} options")
        return value

    @field_validator("question_category")
    @classmethod
    def _known_category(cls, value: str) -> str:
        if value not in CATEGORIES:
            raise ValueError(f"must be one of {', '.join(CATEGORIES)}")
        return value

    @field_validator("duration_group")
    @classmethod
    def _known_group(cls, value: int) -> int:
        if value not in DURATION_GROUPS:
            raise ValueError(f"must be one of {', '.join(map(str, DURATION_GROUPS))}")
        return value

    @field_validator("video_path", "subtitle_path")
    @classmethod
    def _below(cls, value: str | None) -> str | None:
        return None if value is None else inside(value)

    @property
    def answer(self) -> str | None:
        """Gold letter; ``None`` in the hidden test set."""
        return None if self.correct_choice is None else LETTERS[self.correct_choice]


@dataclass(frozen=True, slots=True)
class Annotations:
    """One split, read and checked.

    Args:
        file: The annotation file.
        split: Which split it is.
        total: Rows in the file, bad ones included.
        rows: ``(index from 1, row)`` of the good ones, in the file's order.
        problems: Bad rows and duplicates.
        revision: SHA-256 of the file.
    """

    file: Path
    split: Split
    total: int
    rows: tuple[tuple[int, LvbRow], ...]
    problems: tuple[Problem, ...]
    revision: str


def find_annotations(data: Path, split: Split) -> Path | None:
    """Return the annotation file of a split, JSON before parquet; ``None`` where there is none."""
    name, pattern = _FILES[split]
    if (data / name).is_file():
        return data / name
    found = sorted(data.glob(pattern)) + sorted(data.glob(f"data/{pattern}"))
    return next((file for file in found if sniff(file) in ("longvideobench", None)), None)


def read_annotations(data: Path, split: Split) -> Annotations:
    """Read one split; the JSON file is preferred over parquet, which lacks ``level`` and ``position``.

    Raises:
        DataError: There is no such file, it cannot be read, or the folder is another benchmark's.
    """
    file = find_annotations(data, split)
    if file is None:
        refuse_other(data, "longvideobench")
        name, pattern = _FILES[split]
        raise DataError(
            f"{data} has no {name} (or {pattern}); download longvideobench/LongVideoBench from Hugging Face "
            "after accepting its terms and unpack videos and subtitles beside it",
            path=data,
        )
    raw = read_rows(file)
    good, problems = check_rows(raw, LvbRow, file.name)
    if split == "val":
        problems += _without_gold(good, file.name)
        good = [(index, row) for index, row in good if row.correct_choice is not None]
    rows, more = single_rows(good, file.name, field="id", called="id", same=_asked)
    return Annotations(file, split, len(raw), tuple(rows), (*problems, *more), digest_files([file]))


def _asked(row: LvbRow) -> tuple[str, str, tuple[str, ...]]:
    return row.video_path, row.question, tuple(row.candidates)


def _without_gold(good: Sequence[tuple[int, LvbRow]], file: str) -> list[Problem]:
    """Name the rows of a split with gold that have none."""
    return [
        Problem("bad-row", "the gold is missing", file, index, "correct_choice", row.id)
        for index, row in good
        if row.correct_choice is None
    ]


@dataclass(frozen=True, slots=True)
class LvbFiles:
    """Where videos and subtitles lie: in ``videos`` and ``subtitles``, or in the data folder itself.

    Args:
        videos: Folder of the clips.
        subtitles: Folder of the subtitle files.
    """

    videos: Path
    subtitles: Path

    @classmethod
    def below(cls, data: Path) -> LvbFiles:
        """Find the folders below a data folder."""
        return cls(_folder(data, "videos", "*.mp4"), _folder(data, "subtitles", "*_en.json"))

    def video(self, row: LvbRow) -> Path:
        """Return where a clip lies, or would lie."""
        return self.videos / row.video_path

    def subtitle(self, row: LvbRow) -> Path | None:
        """Return where a clip's subtitles lie, or would lie; ``None`` where the row names none."""
        return None if row.subtitle_path is None else self.subtitles / row.subtitle_path


def _folder(data: Path, name: str, pattern: str) -> Path:
    usual = data / name
    return data if not usual.is_dir() and any(data.glob(pattern)) else usual
