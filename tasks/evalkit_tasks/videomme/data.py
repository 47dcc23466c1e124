"""Video-MME's files to stream samples, by settings; leaves checking rows to ``annotations``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from evalkit.errors import DecodeError, UsageError, suggest
from evalkit.stream import Elicitation, Query, StreamSample
from evalkit.tasks.contract import CheckReport, TaskData, TaskSettings
from evalkit.tasks.frames import PRESETS, Clip
from evalkit.tasks.rows import probe_videos, video_problems
from evalkit.tasks.subtitles import Subtitle, read_subtitles, timed_texts
from evalkit.video.probe import VideoInfo
from evalkit_tasks.videomme.annotations import Annotations, VideoMmeFiles, VideoMmeRow, read_annotations
from evalkit_tasks.videomme.prompts import (
    LETTERS,
    LIVECC_ANSWER_PREFIX,
    LIVECC_LETTER_CONTEXT,
    LMMS_MAX_TOKENS,
    prompt_for,
)
from evalkit_tasks.videomme.published import QUESTIONS
from evalkit_tasks.videomme.subtitles import listed_subtitles

__all__ = ["VideoMmeSettings", "check_data", "load_samples", "question_tags"]

Protocol = Literal["streaming", "official", "logit"]

_LONGEST = {"short": 120.0, "medium": 900.0, "long": 3600.0}
"""Seconds a video of a duration lasts at most; stands in for the length of a file that cannot be opened."""

_FRAMES = {"official": "uniform-64", "logit": "ovo-logit"}


class VideoMmeSettings(TaskSettings):
    """How Video-MME is put to a model."""

    protocol: Protocol = Field(
        "streaming",
        description="streaming: one pass over each video; official: one prefill per question; "
        "logit: as official, the answer is the largest logit of A-D (LiveCC)",
    )
    fps: float = Field(1.0, gt=0, le=30, description="streaming: frames per second")
    frames: str = Field(
        "auto",
        description="official and logit: name of the frame rule; auto: uniform-64, or ovo-logit (2 fps, 480)",
    )
    prompt: Literal["auto", "official", "lmms-eval", "vlmevalkit", "livecc"] = Field(
        "auto", description="prompt variant; auto: livecc for logit, vlmevalkit for its frame rules, else official"
    )
    subtitles: bool = Field(False, description="give subtitles too: in the prompt, or at their times in streaming")

    @property
    def frame_rule(self) -> str:
        """The frame rule that ``frames`` stands for."""
        return _FRAMES.get(self.protocol, "uniform-64") if self.frames == "auto" else self.frames

    @property
    def prompt_variant(self) -> str:
        """The variant that ``prompt`` stands for."""
        if self.prompt != "auto":
            return self.prompt
        if self.protocol == "logit":
            return "livecc"
        return "vlmevalkit" if self.protocol == "official" and self.frames.startswith("vlmeval-") else "official"


def question_tags(row: VideoMmeRow) -> dict[str, str]:
    """Return what a scorer needs to know of a question besides reply and gold."""
    return {
        "task": row.task_type,
        "duration": row.duration,
        "domain": row.domain,
        "sub_category": row.sub_category,
    }


class _Videos:
    """The videos of the data: where they lie, how long they are, their subtitles; each looked at once."""

    def __init__(self, data: Path, rows: Iterable[VideoMmeRow]) -> None:
        first = {row.videoID: row for row in rows}
        self._below = VideoMmeFiles.below(data)
        self.files = {name: self._below.video(row) for name, row in first.items()}
        self._infos = probe_videos(self.files.values())
        self.problems = video_problems(self._infos)
        self._subtitles: dict[str, tuple[Subtitle, ...] | None] = {}

    def info(self, row: VideoMmeRow) -> VideoInfo | None:
        """Return the file's properties; ``None`` where it cannot be opened."""
        info = self._infos[self.files[row.videoID]]
        return None if isinstance(info, DecodeError) else info

    def seconds(self, row: VideoMmeRow) -> float:
        """Return the video's length, or the longest its duration allows where the file does not tell."""
        info = self.info(row)
        return _LONGEST[row.duration] if info is None or not info.duration else info.duration

    def subtitles(self, row: VideoMmeRow) -> tuple[Subtitle, ...] | None:
        """Return the video's subtitles; ``None`` where it has no file."""
        if row.videoID not in self._subtitles:
            file = self._below.subtitle(row)
            found, problems = (None, ()) if file is None else read_subtitles(file)
            self._subtitles[row.videoID] = found
            self.problems += problems
        return self._subtitles[row.videoID]

    def listed(self, row: VideoMmeRow, settings: VideoMmeSettings) -> list[str] | None:
        """Return the subtitles that the prompt lists, those of the frames that the rule shows."""
        info = self.info(row)
        fps = 1.0 if info is None or info.fps is None else float(info.fps)
        seconds = self.seconds(row)
        count = (info.frames if info is not None else None) or max(1, int(seconds * fps))
        frames = PRESETS[settings.frame_rule](Clip(frames=count, fps=fps, seconds=seconds))
        return listed_subtitles(settings.prompt_variant, self.subtitles(row), frames, fps)


def load_samples(data: Path, settings: VideoMmeSettings) -> TaskData:
    """Read the questions.

    Streaming gives one sample per video, its three questions asked at the end; official and logit one sample
    per question. The files do not tell how long a video is, so each is opened once. Samples keep the file's
    order; one whose video cannot be opened is kept, so that it fails by name.

    Raises:
        DataError: The annotation file is missing, unreadable or another benchmark's.
        UsageError: There is no such frame rule.
    """
    rule = settings.frame_rule
    if rule not in PRESETS:
        raise UsageError(f"no frame rule {rule!r}{suggest(rule, PRESETS)} (known: {', '.join(PRESETS)})")
    found = read_annotations(data)
    videos = _Videos(data, found.rows)
    make: Callable[..., list[StreamSample]] = _streaming if settings.protocol == "streaming" else _official
    samples = make(videos, found.rows, settings)
    problems = (*found.problems, *videos.problems)
    return TaskData(tuple(samples), found.revision, problems, _facts(found, settings, len(samples)))


def _streaming(videos: _Videos, rows: Sequence[VideoMmeRow], settings: VideoMmeSettings) -> list[StreamSample]:
    asked: dict[str, list[VideoMmeRow]] = {}
    for row in rows:
        asked.setdefault(row.video_id, []).append(row)
    samples = []
    for video, questions in asked.items():
        first = questions[0]
        end = videos.seconds(first)
        subtitles = videos.subtitles(first) if settings.subtitles else None
        samples.append(
            StreamSample(
                id=video,
                video=videos.files[first.videoID],
                start=0.0,
                end=end,
                fps=settings.fps,
                queries=tuple(_query(row, end, None, settings) for row in questions),
                cluster=video,
                tags=_sample_tags(first, settings),
                texts=timed_texts(subtitles or (), end=end),
            )
        )
    return samples


def _official(videos: _Videos, rows: Sequence[VideoMmeRow], settings: VideoMmeSettings) -> list[StreamSample]:
    samples = []
    for row in rows:
        end = videos.seconds(row)
        listed = videos.listed(row, settings) if settings.subtitles else None
        samples.append(
            StreamSample(
                id=row.question_id,
                video=videos.files[row.videoID],
                start=0.0,
                end=end,
                fps=settings.fps,
                queries=(_query(row, end, listed, settings),),
                cluster=row.video_id,
                tags={**_sample_tags(row, settings), "frames": settings.frame_rule},
            )
        )
    return samples


def _query(row: VideoMmeRow, at: float, listed: list[str] | None, settings: VideoMmeSettings) -> Query:
    tags = {**question_tags(row), "protocol": settings.protocol}
    if settings.protocol != "streaming":
        tags["frames"] = settings.frame_rule
    return Query(
        id=row.question_id,
        at=at,
        prompt=prompt_for(settings.prompt_variant, row.question, row.options, listed),
        kind="choice",
        choices=tuple(row.options),
        answer=row.answer,
        tags=tags,
        elicitation=_elicitation(settings),
    )


def _elicitation(settings: VideoMmeSettings) -> Elicitation:
    if settings.protocol == "logit":
        return Elicitation(options=tuple(LETTERS), lead=LIVECC_LETTER_CONTEXT, prefix=LIVECC_ANSWER_PREFIX)
    return Elicitation(max_tokens=LMMS_MAX_TOKENS if settings.prompt_variant == "lmms-eval" else None)


def _sample_tags(row: VideoMmeRow, settings: VideoMmeSettings) -> dict[str, str]:
    return {
        "protocol": settings.protocol,
        "duration": row.duration,
        "prompt": settings.prompt_variant,
        "subtitles": "on" if settings.subtitles else "off",
    }


def _facts(found: Annotations, settings: VideoMmeSettings, samples: int) -> dict[str, Any]:
    return {
        "file": found.file.name,
        "questions": len(found.rows),
        "refused": found.total - len(found.rows),
        "samples": samples,
        "data_version": "published 2,700" if found.total == QUESTIONS else f"{found.total} rows, not {QUESTIONS}",
        "prompt": settings.prompt_variant,
        "counts": _counts(found.rows),
    }


def _counts(rows: Iterable[VideoMmeRow]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update((row.task_type, f"duration/{row.duration}", f"domain/{row.domain}"))
        counts[f"sub_category/{row.sub_category}"] += 1
    return dict(sorted(counts.items()))


def check_data(data: Path) -> CheckReport:
    """Look at every row, video and subtitle file.

    Raises:
        DataError: The annotation file is missing, unreadable or another benchmark's.
    """
    found = read_annotations(data)
    videos = _Videos(data, found.rows)
    first: Mapping[str, VideoMmeRow] = {row.videoID: row for row in found.rows}
    with_subtitles = sum(videos.subtitles(row) is not None for row in first.values())
    return CheckReport(
        task="videomme",
        data=str(data),
        counts={"questions": len(found.rows), **_counts(found.rows)},
        videos=len(first),
        problems=(*found.problems, *videos.problems),
        facts={"file": found.file.name, "rows": found.total, "videos_with_subtitles": with_subtitles},
    )
