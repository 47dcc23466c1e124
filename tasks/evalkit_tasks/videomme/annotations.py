"""Video-MME's annotation file: where it lies, what a row must hold; leaves samples to ``data``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from evalkit.errors import DataError
from evalkit.tasks.contract import Problem
from evalkit.tasks.sniff import refuse_other, sniff
from evalkit_tasks.longvideobench.rows import check_rows, digest_files, inside, read_rows
from evalkit_tasks.videomme.prompts import LETTERS
from evalkit_tasks.videomme.published import (
    DOMAINS,
    QUESTIONS,
    QUESTIONS_PER_VIDEO,
    SUB_CATEGORIES,
    TASK_TYPES,
)

__all__ = ["Annotations", "VideoMmeRow", "find_annotations", "read_annotations", "subtitle_file", "video_file"]

_PLACES = ("videomme/test-*.parquet", "test-*.parquet", "data/test-*.parquet")
_VIDEO_FOLDERS = ("data", "videos", "video", "")
_VIDEO_ENDINGS = (".mp4", ".MP4", ".mkv")
_SUBTITLE_FOLDERS = ("subtitle", "subtitles", "")
_NAMES: Mapping[str, Collection[str]] = {
    "domain": DOMAINS,
    "sub_category": SUB_CATEGORIES,
    "task_type": TASK_TYPES,
}


class VideoMmeRow(BaseModel):
    """One question of the parquet file."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    video_id: str = Field(min_length=1)
    duration: Literal["short", "medium", "long"]
    domain: str
    sub_category: str
    url: str = ""
    videoID: str
    question_id: str = Field(min_length=1)
    task_type: str
    question: str = Field(min_length=1)
    options: list[str]
    answer: Literal["A", "B", "C", "D"]

    @field_validator("domain", "sub_category", "task_type")
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        if value not in _NAMES[info.field_name or ""]:
            raise ValueError("not one of the published names")
        return value

    @field_validator("options")
    @classmethod
    def _lettered(cls, value: list[str]) -> list[str]:
        if len(value) != len(LETTERS):
            raise ValueError(f"must be four options, there are {len(value)}")
        for letter, option in zip(LETTERS, value, strict=True):
            if not option.startswith(f"{letter}."):
                raise ValueError(f"option {letter} must begin with '{letter}.'")
        return value

    @field_validator("videoID")
    @classmethod
    def _below(cls, value: str) -> str:
        return inside(value)


@dataclass(frozen=True, slots=True)
class Annotations:
    """The questions, read and checked.

    Args:
        file: The parquet file.
        total: Rows in it, bad ones included.
        rows: Good rows, in the file's order.
        problems: Bad rows, duplicates, videos whose rows disagree.
        revision: SHA-256 of the file.
    """

    file: Path
    total: int
    rows: tuple[VideoMmeRow, ...]
    problems: tuple[Problem, ...]
    revision: str


def find_annotations(data: Path) -> Path | None:
    """Return the annotation file below a folder (or the folder's own path if it is a file)."""
    if data.is_file():
        return data
    found = (file for place in _PLACES for file in sorted(data.glob(place)))
    return next((file for file in found if sniff(file) in ("videomme", None)), None)


def read_annotations(data: Path) -> Annotations:
    """Read and check the questions.

    Raises:
        DataError: There is no parquet file, it cannot be read, or the folder is another benchmark's.
    """
    file = find_annotations(data)
    if file is None or data.is_file():
        refuse_other(data, "videomme")
    if file is None:
        raise DataError(
            f"{data} has no videomme/test-00000-of-00001.parquet; download lmms-lab/Video-MME from Hugging Face "
            "and unpack its videos to data/ and its subtitles to subtitle/",
            path=data,
        )
    raw = read_rows(file)
    good, problems = check_rows(raw, VideoMmeRow, file.name)
    rows, more = _single(good, file.name)
    problems += more + _videos_agree(rows, file.name)
    if len(raw) != QUESTIONS:
        message = f"{len(raw):,} rows, the published set has {QUESTIONS:,} (older versions have 2,541)"
        problems.append(Problem("data-version", message, file.name))
    return Annotations(file, len(raw), tuple(row for _, row in rows), tuple(problems), digest_files([file]))


def _single(
    good: Sequence[tuple[int, VideoMmeRow]], file: str
) -> tuple[list[tuple[int, VideoMmeRow]], list[Problem]]:
    rows: list[tuple[int, VideoMmeRow]] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    asked: dict[tuple[str, str, tuple[str, ...]], str] = {}
    for index, row in good:
        id_ = row.question_id
        if id_ in seen:
            message = f"question {id_} stands in row {seen[id_]} already; this row is left out"
            problems.append(Problem("duplicate", message, file, index, "question_id", id_))
            continue
        seen[id_] = index
        key = (row.videoID, row.question, tuple(row.options))
        if key in asked:
            message = f"the same question and options as {asked[key]}; both are kept"
            problems.append(Problem("duplicate-question", message, file, index, "question", id_))
        asked.setdefault(key, id_)
        rows.append((index, row))
    return rows, problems


def _videos_agree(rows: Sequence[tuple[int, VideoMmeRow]], file: str) -> list[Problem]:
    problems: list[Problem] = []
    videos: dict[str, list[tuple[int, VideoMmeRow]]] = {}
    for index, row in rows:
        videos.setdefault(row.video_id, []).append((index, row))
    for video, asked in videos.items():
        first = asked[0][1]
        for index, row in asked[1:]:
            for field in ("duration", "domain", "sub_category", "videoID"):
                mine, theirs = getattr(row, field), getattr(first, field)
                if mine != theirs:
                    message = f"{mine!r}, but {theirs!r} in the first row of video {video}"
                    problems.append(Problem("video-disagrees", message, file, index, field, row.question_id))
        if len(asked) != QUESTIONS_PER_VIDEO:
            message = f"video {video} has {len(asked)} questions, not {QUESTIONS_PER_VIDEO}"
            problems.append(Problem("question-count", message, file, asked[0][0], "video_id", video))
    return problems


def video_file(data: Path, row: VideoMmeRow) -> Path:
    """Return where a video lies: ``data/<videoID>.mp4`` (also ``.MP4``, ``.mkv``; ``videos/``, ``video/``)."""
    root = data if data.is_dir() else data.parent
    for folder in _VIDEO_FOLDERS:
        for ending in _VIDEO_ENDINGS:
            path = root / folder / f"{row.videoID}{ending}"
            if path.is_file():
                return path
    return root / _VIDEO_FOLDERS[0] / f"{row.videoID}.mp4"


def subtitle_file(data: Path, row: VideoMmeRow) -> Path | None:
    """Return where a video's SRT file lies; ``None`` where it has none, as 156 of the published videos."""
    root = data if data.is_dir() else data.parent
    for folder in _SUBTITLE_FOLDERS:
        path = root / folder / f"{row.videoID}.srt"
        if path.is_file():
            return path
    return None
