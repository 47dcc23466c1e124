"""From the published files to samples: which seconds of which video are narrated, after which previous text."""

from __future__ import annotations

__all__ = [
    "HOW_TO_GET",
    "METADATA_NAME",
    "SCORE_NAMES",
    "InfStreamsSettings",
    "find_score_file",
    "load_samples",
    "load_window_samples",
    "load_windows",
    "missing_files",
    "read_data",
    "video_path",
]

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from evalkit.errors import DataError, UsageError
from evalkit.stream import Narration, StreamSample
from evalkit.tasks import WINDOW_FRAMES, Problem, TaskData, TaskSettings
from evalkit_tasks.inf_streams.prompts import (
    BASELINE_FPS,
    BASELINE_HEADER,
    BASELINE_MAX_FRAMES,
    BASELINE_QUERY,
    BASELINE_SYSTEM,
    QUERY,
)
from evalkit_tasks.inf_streams.rows import AnnotationFile, VideoRow, phrase_before, read_annotations, short_names
from evalkit_tasks.inf_streams.windows import Window, windows_from_rows

METADATA_NAME: Final = "eval_all_metadata.jsonl"
SCORE_NAMES: Final = ("score_all_clips.jsonl", "temp_score_clips.jsonl")
HOW_TO_GET: Final = (
    "`evalkit data fetch inf-streams` brings them from the Hugging Face data set mit-han-lab/Inf-Stream-Eval, "
    "--data DIR names a folder that has them, --data demo makes some up"
)


class InfStreamsSettings(TaskSettings):
    """Settings of Inf-Streams-Eval; the defaults are those of the official ``generate.sh`` in infinite mode."""

    start_seconds: int = Field(default=1000, ge=0, description="Media second at which narration starts.")
    chunk_seconds: int | None = Field(
        default=None,
        ge=1,
        description="Length of a chunk in seconds, each with fresh previous text; none narrates in infinite mode.",
    )
    infinite_cap_seconds: int | None = Field(
        default=10_000,
        ge=1,
        description="Infinite mode restarts its memory after so many seconds, as the official code; none: never.",
    )
    fps: float = Field(default=2.0, ge=0.1, le=30, description="Frames shown per second.")
    instruction: str = Field(default=QUERY, min_length=1, description="Text of the first turn.")
    previous_text: Literal["gold", "none"] = Field(
        default="gold",
        description="gold: the transcript before the start or chunk, as the official code gives Qwen models.",
    )
    reference: Literal["commentary", "exact"] = Field(
        default="commentary",
        description="exact: every second has one right line, as in made-up matches, and is scored on it.",
    )


@dataclass(frozen=True, slots=True)
class InfStreamsData:
    """Both annotation files.

    Args:
        metadata: Rows to narrate, one a video.
        windows: Scoring windows.
        problems: What was mended or refused, in file order.
        revision: Digest of both files.
        score_file: Name of the scoring file that was found.
    """

    metadata: tuple[VideoRow, ...]
    windows: tuple[Window, ...]
    problems: tuple[Problem, ...]
    revision: str
    score_file: str


def find_score_file(data: Path) -> Path | None:
    """Return the scoring file below ``data``; the official scripts name it in two ways."""
    return next((data / name for name in SCORE_NAMES if (data / name).is_file()), None)


def missing_files(data: Path) -> list[str]:
    """Return the names of the annotation files that are not below ``data``."""
    missing = [] if (data / METADATA_NAME).is_file() else [METADATA_NAME]
    return missing if find_score_file(data) else [*missing, f"{SCORE_NAMES[0]} (or {SCORE_NAMES[1]})"]


def read_data(data: Path) -> InfStreamsData:
    """Read both annotation files below ``data``.

    Raises:
        DataError: A file is missing, or holds no usable row.
    """
    missing = missing_files(data)
    if missing:
        raise DataError(f"Inf-Streams-Eval: {data} lacks {' and '.join(missing)}; {HOW_TO_GET}", path=data)
    score_path = find_score_file(data)
    assert score_path is not None
    metadata = _usable(data / METADATA_NAME)
    clips = _usable(score_path)
    videos, doubled = _one_row_a_video(metadata.rows)
    windows, refused = windows_from_rows(clips.rows, score_path.name)
    unknown = _unknown_videos(windows, videos, score_path.name)
    return InfStreamsData(
        metadata=videos,
        windows=windows,
        problems=(*metadata.problems, *doubled, *clips.problems, *refused, *unknown),
        revision=hashlib.sha256(f"{metadata.digest} {clips.digest}".encode()).hexdigest(),
        score_file=score_path.name,
    )


def load_windows(path: Path) -> tuple[tuple[Window, ...], tuple[Problem, ...]]:
    """Read the scoring windows alone; enough for judging, which needs no videos.

    Args:
        path: The data folder, or the scoring file itself.

    Raises:
        DataError: There is no scoring file, or no usable row in it.
    """
    score_path = find_score_file(path) if path.is_dir() else path
    if score_path is None or not score_path.is_file():
        raise DataError(f"Inf-Streams-Eval: {path} lacks {' or '.join(SCORE_NAMES)}; {HOW_TO_GET}", path=path)
    clips = _usable(score_path)
    windows, refused = windows_from_rows(clips.rows, score_path.name)
    return windows, (*clips.problems, *refused)


def video_path(data: Path, video: str) -> Path:
    """Return where a video lies: the published path without its leading slash, below the data folder."""
    return data / video.lstrip("/")


def load_samples(data: Path, settings: InfStreamsSettings) -> TaskData:
    """Return what is to be narrated.

    In infinite mode a video is one sample (one more for every ``infinite_cap_seconds``); in chunk mode every
    chunk is a sample with fresh previous text. Narration ends at ``int(content[-1][1])``, the last chunk may be
    shorter (``generate.py``). A video that is not there stays a sample, and will fail with that reason.

    Raises:
        DataError: Annotation files or all videos are missing.
        UsageError: No video reaches ``start_seconds``.
    """
    contents = read_data(data)
    absent = [row for row in contents.metadata if not video_path(data, row.video).is_file()]
    if len(absent) == len(contents.metadata):
        names = ", ".join(row.video for row in absent)
        raise DataError(f"Inf-Streams-Eval: {data} has none of its videos ({names}); {HOW_TO_GET}", path=data)
    samples: list[StreamSample] = []
    problems = [*contents.problems, *(_missing_video(row) for row in absent)]
    called = short_names(row.name for row in contents.metadata)
    for row in contents.metadata:
        spans = _spans(row.end, settings)
        whole = settings.chunk_seconds is None and len(spans) == 1
        for start, end in spans:
            id_ = called[row.name] if whole else f"{called[row.name]}@{start}-{end}"
            samples.append(_sample(id_, video_path(data, row.video), row, (start, end), settings))
        if not spans:
            problems.append(_too_short(row, settings.start_seconds))
    if not samples:
        longest = max(row.end for row in contents.metadata)
        raise UsageError(
            f"no video reaches start_seconds={settings.start_seconds} (the longest transcript ends at {longest} s)"
            "; set start_seconds lower"
        )
    facts = {
        "mode": "infinite" if settings.chunk_seconds is None else f"chunks of {settings.chunk_seconds} s",
        "videos": len(contents.metadata),
        "windows": len(contents.windows),
        "score_file": contents.score_file,
    }
    return TaskData(tuple(samples), contents.revision, tuple(problems), facts)


def load_window_samples(data: Path) -> TaskData:
    """Return the scoring windows as the GPT baseline sees them, one sample each (``generate_gpt.py``).

    A window is shown at `BASELINE_FPS` from its start to its end, at most `BASELINE_MAX_FRAMES` frames, after the
    header with its times. A window of a video that the metadata do not name cannot be narrated and is a problem.

    Raises:
        DataError: Annotation files are missing or hold no usable row.
    """
    contents = read_data(data)
    rows = {row.name: row for row in contents.metadata}
    samples = tuple(
        _window_sample(window, rows[window.video], data) for window in contents.windows if window.video in rows
    )
    if not samples:
        raise DataError(f"Inf-Streams-Eval: {data} has no window of a video it names; {HOW_TO_GET}", path=data)
    facts = {
        "mode": "one request per scoring window",
        "videos": len(contents.metadata),
        "windows": len(contents.windows),
        "score_file": contents.score_file,
    }
    return TaskData(samples, contents.revision, contents.problems, facts)


def _window_sample(window: Window, row: VideoRow, data: Path) -> StreamSample:
    start, end = window.start, window.end
    header = BASELINE_HEADER.format(query=BASELINE_QUERY, start=start, end=end, fps=BASELINE_FPS)
    return StreamSample(
        id=window.id,
        video=video_path(data, row.video),
        start=float(start),
        end=float(end),
        fps=BASELINE_FPS,
        narration=Narration(
            instruction=header,
            reference=tuple((word.start, word.end, word.text) for word in row.content if start < word.end <= end),
            system=BASELINE_SYSTEM,
        ),
        cluster=row.name,
        tags={
            "task": "inf-streams",
            "title": row.title,
            "mode": "window",
            WINDOW_FRAMES: str(BASELINE_MAX_FRAMES),
        },
    )


def _usable(path: Path) -> AnnotationFile:
    try:
        file = read_annotations(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}", path=path) from error
    if not file.rows:
        first = f" (first: line {file.problems[0].line}: {file.problems[0].message})" if file.problems else ""
        raise DataError(f"{path} has no usable row{first}; {HOW_TO_GET}", path=path)
    return file


def _one_row_a_video(rows: Iterable[VideoRow]) -> tuple[tuple[VideoRow, ...], list[Problem]]:
    kept: dict[str, VideoRow] = {}
    problems: list[Problem] = []
    for row in rows:
        first = kept.setdefault(row.name, row)
        if first is not row:
            message = f"row refused: {row.name} stands in line {first.line} already"
            problems.append(Problem("duplicate", message, file=METADATA_NAME, line=row.line, item=row.name))
    return tuple(kept.values()), problems


def _unknown_videos(windows: Iterable[Window], videos: Iterable[VideoRow], file: str) -> list[Problem]:
    known = {row.name for row in videos}
    return [
        Problem(
            "unknown-video", f"{METADATA_NAME} has no {window.video}", file=file, line=window.line, item=window.id
        )
        for window in windows
        if window.video not in known
    ]


def _spans(end: int, settings: InfStreamsSettings) -> list[tuple[int, int]]:
    start = settings.start_seconds
    length = settings.chunk_seconds or settings.infinite_cap_seconds or max(end - start, 1)
    return [(at, min(at + length, end)) for at in range(start, end, length)]


def _sample(
    id_: str, video: Path, row: VideoRow, span: tuple[int, int], settings: InfStreamsSettings
) -> StreamSample:
    start, end = span
    return StreamSample(
        id=id_,
        video=video,
        start=float(start),
        end=float(end),
        fps=settings.fps,
        narration=Narration(
            instruction=settings.instruction,
            previous_text=phrase_before(row.content, start) if settings.previous_text == "gold" else "",
            reference=tuple((word.start, word.end, word.text) for word in row.content if start < word.end <= end),
        ),
        cluster=row.name,
        tags={
            "task": "inf-streams",
            "title": row.title,
            "mode": "chunk" if settings.chunk_seconds else "infinite",
            **({} if settings.reference == "commentary" else {"reference": settings.reference}),
        },
    )


def _missing_video(row: VideoRow) -> Problem:
    message = f"video {row.video} is not below the data folder; its samples will fail"
    return Problem("missing-video", message, file=METADATA_NAME, line=row.line, field="video", item=row.name)


def _too_short(row: VideoRow, start: int) -> Problem:
    message = f"transcript ends at {row.end} s, before start_seconds={start}; nothing to narrate"
    return Problem("too-short", message, file=METADATA_NAME, line=row.line, item=row.name)
