"""LongVideoBench's files to stream samples, by settings; leaves checking rows to ``annotations``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from evalkit.errors import DecodeError, UsageError, suggest
from evalkit.stream import Elicitation, Query, StreamSample
from evalkit.tasks.contract import CheckReport, Problem, TaskData, TaskSettings
from evalkit.tasks.frames import PRESETS, Clip
from evalkit.tasks.rows import probe_videos, video_problems
from evalkit.tasks.subtitles import Subtitle, read_subtitles, timed_texts
from evalkit_tasks.longvideobench.annotations import (
    PUBLISHED_QUESTIONS,
    Annotations,
    LvbFiles,
    LvbRow,
    Split,
    find_annotations,
    level_of,
    read_annotations,
)
from evalkit_tasks.longvideobench.interleave import InterleaveRule, interleaved_texts
from evalkit_tasks.longvideobench.prompts import LMMS_MAX_TOKENS, prompt_for

__all__ = [
    "LongVideoBenchSettings",
    "check_data",
    "frame_times",
    "load_samples",
    "official_texts",
    "question_tags",
    "stream_texts",
]


Texts = tuple[tuple[float, str], ...]


class LongVideoBenchSettings(TaskSettings):
    """How LongVideoBench is put to a model."""

    protocol: Literal["streaming", "official"] = Field(
        "streaming", description="streaming: one pass over each clip; official: one prefill per question"
    )
    split: Split = Field("val", description="val (1,337 questions) or test (gold hidden: a submission file)")
    fps: float = Field(1.0, gt=0, le=30, description="streaming: frames per second")
    frames: str = Field("lvb-64", description="official: name of the frame rule, such as lvb-64 or vlmeval-fps-1")
    prompt: Literal["auto", "official", "lmms-eval", "vlmevalkit"] = Field(
        "auto", description="prompt variant; auto: vlmevalkit for its frame rules, else official"
    )
    subtitles: bool = Field(
        False, description="give the subtitles too, at their times; another setting, another score"
    )
    subtitle_rule: InterleaveRule = Field(
        "faithful", description="official with subtitles: faithful repeats the loader's faults, mended does not"
    )

    @property
    def prompt_variant(self) -> str:
        """The variant that ``prompt`` stands for."""
        if self.prompt != "auto":
            return self.prompt
        return "vlmevalkit" if self.protocol == "official" and self.frames.startswith("vlmeval-") else "official"


def question_tags(row: LvbRow, split: Split) -> dict[str, str]:
    """Return what a scorer needs to know of a question besides reply and gold."""
    return {
        "task": row.question_category,
        "duration": str(row.duration_group),
        "level": row.level or level_of(row.question_category),
        "topic": row.topic_category,
        "split": split,
    }


def _query(row: LvbRow, settings: LongVideoBenchSettings) -> Query:
    frames = {"frames": settings.frames} if settings.protocol == "official" else {}
    return Query(
        id=row.id,
        at=row.duration,
        prompt=prompt_for(settings.prompt_variant, row.question, row.candidates),
        kind="choice",
        choices=tuple(row.candidates),
        answer=row.answer,
        tags={**question_tags(row, settings.split), "protocol": settings.protocol, **frames},
        elicitation=Elicitation(max_tokens=LMMS_MAX_TOKENS if settings.prompt_variant == "lmms-eval" else None),
    )


def load_samples(data: Path, settings: LongVideoBenchSettings) -> TaskData:
    """Read one split.

    Streaming gives one sample per clip, all its questions asked at the clip's end; official one sample per
    question. Samples keep the file's order; one whose video is missing is kept, so that it fails by name.

    Raises:
        DataError: The annotation file is missing, unreadable or another benchmark's.
        UsageError: There is no such frame rule.
    """
    if settings.protocol == "official" and settings.frames not in PRESETS:
        known = ", ".join(PRESETS)
        raise UsageError(f"no frame rule {settings.frames!r}{suggest(settings.frames, PRESETS)} (known: {known})")
    found = read_annotations(data, settings.split)
    rows = [row for _, row in found.rows]
    files = LvbFiles.below(data)
    problems = [*found.problems, *_missing_videos(files, found)]
    make = _streaming if settings.protocol == "streaming" else _official
    samples, more = make(files, rows, settings)
    return TaskData(tuple(samples), found.revision, (*problems, *more), _facts(found, settings, len(samples)))


def _facts(found: Annotations, settings: LongVideoBenchSettings, samples: int) -> dict[str, Any]:
    published = PUBLISHED_QUESTIONS[found.split]
    return {
        "file": found.file.name,
        "split": found.split,
        "questions": len(found.rows),
        "refused": found.total - len(found.rows),
        "samples": samples,
        "data_version": "published"
        if found.total == published
        else f"{found.total} rows, published are {published}",
        "prompt": settings.prompt_variant,
        "gold": "hidden" if found.split == "test" else "given",
        "counts": _counts(row for _, row in found.rows),
    }


def _counts(rows: Iterable[LvbRow]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.question_category] += 1
        counts[f"duration_{row.duration_group}"] += 1
    return dict(sorted(counts.items()))


def _missing_videos(files: LvbFiles, found: Annotations) -> list[Problem]:
    problems = []
    for row in {row.video_path: row for _, row in found.rows}.values():
        path = files.video(row)
        if not path.is_file():
            problems.append(Problem("missing-video", f"{path} is not there", found.file.name, item=row.video_id))
    return problems


def _streaming(
    files: LvbFiles, rows: Sequence[LvbRow], settings: LongVideoBenchSettings
) -> tuple[list[StreamSample], list[Problem]]:
    clips: dict[str, list[LvbRow]] = {}
    for row in rows:
        clips.setdefault(row.video_path, []).append(row)
    taken: set[str] = set()
    samples, problems = [], []
    for path, asked in clips.items():
        first = asked[0]
        name = first.video_id if first.video_id not in taken else path
        taken.add(name)
        texts, faults = stream_texts(files, asked) if settings.subtitles else ((), [])
        problems += faults
        samples.append(
            StreamSample(
                id=name,
                video=files.video(first),
                start=0.0,
                end=max(row.duration for row in asked),
                fps=settings.fps,
                queries=tuple(sorted((_query(row, settings) for row in asked), key=lambda query: query.at)),
                cluster=first.video_id,
                tags=_sample_tags(first, settings),
                texts=texts,
            )
        )
    return samples, problems


def _official(
    files: LvbFiles, rows: Sequence[LvbRow], settings: LongVideoBenchSettings
) -> tuple[list[StreamSample], list[Problem]]:
    texts: Mapping[str, Texts] = {}
    problems: list[Problem] = []
    if settings.subtitles:
        texts, problems = official_texts(files, rows, settings)
    samples = [
        StreamSample(
            id=row.id,
            video=files.video(row),
            start=0.0,
            end=row.duration,
            fps=settings.fps,
            queries=(_query(row, settings),),
            cluster=row.video_id,
            tags={**_sample_tags(row, settings), "frames": settings.frames},
            texts=texts.get(row.id, ()),
        )
        for row in rows
    ]
    return samples, problems


def _sample_tags(row: LvbRow, settings: LongVideoBenchSettings) -> dict[str, str]:
    return {
        "protocol": settings.protocol,
        "duration": str(row.duration_group),
        "split": settings.split,
        "prompt": settings.prompt_variant,
        "subtitles": "on" if settings.subtitles else "off",
    }


def stream_texts(files: LvbFiles, rows: Sequence[LvbRow]) -> tuple[Texts, list[Problem]]:
    """Return the texts of a clip's subtitles, each at the clip's second at which it has been said wholly.

    Args:
        files: Where the files lie.
        rows: Questions on one clip.
    """
    file = files.subtitle(rows[0])
    if file is None:
        return (), [Problem("missing-subtitles", "the row names no subtitles", item=rows[0].video_id)]
    subtitles, problems = read_subtitles(file)
    end = max(row.duration for row in rows)
    return timed_texts(subtitles, offset=rows[0].starting_timestamp_for_subtitles, end=end), list(problems)


def frame_times(rule: str, duration: float, fps: float) -> tuple[float, ...]:
    """Return the times of the frames a rule shows of a clip, as the official loader has them: ``index / fps``.

    Args:
        rule: Name of a frame rule.
        duration: Length by the annotation, seconds.
        fps: Average frame rate of the file.
    """
    clip = Clip(frames=max(1, int(duration * fps)), fps=fps, seconds=duration)
    return tuple(index / fps for index in PRESETS[rule](clip))


def official_texts(
    files: LvbFiles, rows: Sequence[LvbRow], settings: LongVideoBenchSettings
) -> tuple[dict[str, Texts], list[Problem]]:
    """Return each question's subtitles as the official loader interleaves them with the frames shown.

    Opens every video once, for its frame rate; a question whose video or subtitles cannot be read gets none
    and a problem.

    Returns:
        ``(at, text)`` rows by question id (see ``interleaved_texts``), and problems.
    """
    infos = probe_videos(files.video(row) for row in rows)
    problems = video_problems(infos)
    subtitles: dict[Path, tuple[Subtitle, ...]] = {}
    texts: dict[str, Texts] = {}
    for row in rows:
        file = files.subtitle(row)
        info = infos[files.video(row)]
        if file is None or isinstance(info, DecodeError) or info.fps is None:
            continue
        if file not in subtitles:
            subtitles[file], faults = read_subtitles(file)
            problems += faults
        times = frame_times(settings.frames, row.duration, float(info.fps))
        texts[row.id] = interleaved_texts(
            times,
            subtitles[file],
            row.starting_timestamp_for_subtitles,
            row.duration,
            rule=settings.subtitle_rule,
        )
    return texts, problems


def check_data(data: Path) -> CheckReport:
    """Look at every row, video and subtitle file of the splits that are there.

    Raises:
        DataError: Neither split is there, or a file cannot be read.
    """
    splits: list[Split] = [split for split in ("val", "test") if find_annotations(data, split)] or ["val"]
    counts: dict[str, int] = {}
    problems: list[Problem] = []
    videos: dict[Path, LvbRow] = {}
    subtitles: set[Path] = set()
    facts: dict[str, Any] = {}
    files = LvbFiles.below(data)
    for split in splits:
        found = read_annotations(data, split)
        problems += found.problems
        for name, count in _counts(row for _, row in found.rows).items():
            counts[f"{split}/{name}"] = count
        counts[split] = len(found.rows)
        facts[split] = {"file": found.file.name, "rows": found.total, "published": PUBLISHED_QUESTIONS[split]}
        clips = {row.video_path: row for _, row in found.rows}
        videos.update((files.video(row), row) for row in clips.values())
        subtitles.update(file for row in clips.values() if (file := files.subtitle(row)) is not None)
    problems += video_problems(probe_videos(videos))
    for file in sorted(subtitles):
        problems += read_subtitles(file)[1]
    return CheckReport("longvideobench", str(data), counts, len(videos), tuple(problems), facts)
