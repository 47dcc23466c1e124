"""Video-MME's annotation file: where it lies, what a row must hold; leaves samples to ``data``."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from evalkit.errors import DataError
from evalkit.tasks.contract import Problem
from evalkit.tasks.rows import check_rows, digest_files, inside, read_rows, single_rows
from evalkit.tasks.sniff import refuse_other, sniff
from evalkit_tasks.videomme.prompts import LETTERS
from evalkit_tasks.videomme.published import (
    DOMAINS,
    QUESTIONS,
    QUESTIONS_PER_VIDEO,
    SUB_CATEGORIES,
    TASK_TYPES,
    published_duration,
)

__all__ = ["Annotations", "VideoMmeFiles", "VideoMmeRow", "find_annotations", "read_annotations"]

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
    rows, more = single_rows(good, file.name, field="question_id", called="question", same=_asked)
    problems += more + _videos_agree(rows, file.name)
    if len(raw) != QUESTIONS and any(published_duration(row.question_id) for _, row in rows):
        message = f"{len(raw):,} rows, the published set has {QUESTIONS:,} (older versions have 2,541)"
        problems.append(Problem("data-version", message, file.name))
    return Annotations(file, len(raw), tuple(row for _, row in rows), tuple(problems), digest_files([file]))


def _asked(row: VideoMmeRow) -> tuple[str, str, tuple[str, ...]]:
    return row.videoID, row.question, tuple(row.options)


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


@dataclass(frozen=True, slots=True)
class VideoMmeFiles:
    """Which videos and subtitles there are, by ``videoID``; folders are listed once.

    Args:
        root: Data folder.
        videos: Video files: ``data/<videoID>.mp4`` (also ``.MP4``, ``.mkv``; ``videos/``, ``video/``).
        subtitles: ``subtitle/<videoID>.srt``.
    """

    root: Path
    videos: Mapping[str, Path]
    subtitles: Mapping[str, Path]

    @classmethod
    def below(cls, data: Path) -> VideoMmeFiles:
        """List the folders below a data folder (or beside the annotation file)."""
        root = data if data.is_dir() else data.parent
        return cls(
            root, _listed(root, _VIDEO_FOLDERS, _VIDEO_ENDINGS), _listed(root, _SUBTITLE_FOLDERS, (".srt",))
        )

    def video(self, row: VideoMmeRow) -> Path:
        """Return where a video lies, or would lie."""
        return self.videos.get(row.videoID) or self.root / _VIDEO_FOLDERS[0] / f"{row.videoID}.mp4"

    def subtitle(self, row: VideoMmeRow) -> Path | None:
        """Return where a video's subtitles lie; ``None`` where it has none, as 156 of the published videos."""
        return self.subtitles.get(row.videoID)


def _listed(root: Path, folders: Sequence[str], endings: Sequence[str]) -> dict[str, Path]:
    """Return files by name without ending; an earlier folder wins, then an earlier ending."""
    found: dict[str, Path] = {}
    for folder in folders:
        if not (root / folder).is_dir():
            continue
        with os.scandir(root / folder) as entries:
            names = [entry.name for entry in entries]
        for ending in endings:
            for name in names:
                if name.endswith(ending):
                    found.setdefault(name.removesuffix(ending), root / folder / name)
    return found
