"""OVO-Bench as stream samples: one pass per video, or one clip per question as the official code cuts them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from evalkit.stream import Elicitation, Query, StreamSample
from evalkit.tasks.contract import CheckReport, Problem, TaskData, TaskSettings
from evalkit.tasks.frames import known_preset
from evalkit.tasks.rows import probe_videos
from evalkit.tasks.scoring import EXPECTED, known_tasks
from evalkit_tasks.ovobench import prompts
from evalkit_tasks.ovobench.annotations import Annotations, Question, read_annotations
from evalkit_tasks.ovobench.published import TASKS, category_of
from evalkit_tasks.ovobench.videos import OvoVideos, find_videos

__all__ = ["OvoSettings", "check_data", "load_data"]

_ELICITATION = {
    "streaming": Elicitation(),
    "official": Elicitation(max_tokens=prompts.OFFICIAL_MAX_TOKENS),
    "logit": Elicitation(
        options=prompts.LOGIT_OPTIONS, lead=prompts.LOGIT_TOKEN_PREFIX, prefix=prompts.LOGIT_ANSWER_PREFIX
    ),
}
_FRAMES = {"official": "uniform-64", "logit": "ovo-logit"}


class OvoSettings(TaskSettings):
    """How OVO-Bench is asked."""

    protocol: Literal["streaming", "official", "logit"] = Field(
        "streaming", description="streaming: one pass per video; official: one clip per question; logit: arg-max"
    )
    fps: float = Field(1.0, gt=0, le=30, description="Frames shown per second in the streaming protocol.")
    span: Literal["prefix", "ask"] = Field(
        "prefix",
        description="Visible video of CRR in the streaming protocol: from the start, or from the ask time.",
    )
    frames: str | None = Field(
        None,
        description="Frame preset of the official protocols; default uniform-64 (official), ovo-logit (logit).",
    )
    tasks: tuple[str, ...] = Field((), description="Sub-tasks to run; all where empty.")

    @field_validator("frames")
    @classmethod
    def _is_preset(cls, frames: str | None) -> str | None:
        return None if frames is None else known_preset(frames)

    @field_validator("tasks")
    @classmethod
    def _are_tasks(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        return known_tasks(tasks, TASKS)


def load_data(data: Path, settings: OvoSettings) -> TaskData:
    """Read the annotation file below ``data`` and make the samples of a protocol.

    Raises:
        DataError: No annotation file, or another benchmark's.
    """
    notes = read_annotations(data)
    videos = find_videos(data, notes.file, [row.video for row in notes.rows])
    wanted = settings.tasks or TASKS
    questions = [question for question in notes.questions() if question.row.task in wanted]
    counts: Counter[str] = Counter(question.row.task for question in questions)
    if settings.protocol == "streaming":
        samples = _streams(questions, videos, settings, counts)
    else:
        samples = [_clip(question, videos, settings, counts[question.row.task]) for question in questions]
    files = dict.fromkeys(sample.video for sample in samples)
    missing = [_missing(file) for file in files if not file.is_file()]
    facts = {
        "version": notes.version,
        "records": len(notes.rows),
        "queries": len(questions),
        "videos": len({sample.cluster for sample in samples}),
        "counts": {task: counts[task] for task in TASKS if task in counts},
    }
    return TaskData(tuple(samples), notes.digest, (*notes.problems, *missing), facts)


def _streams(
    questions: Iterable[Question], videos: OvoVideos, settings: OvoSettings, counts: Counter[str]
) -> list[StreamSample]:
    """Return one sample per video and span start, its questions in order of time."""
    passes: dict[tuple[str, float], list[Question]] = {}
    for question in questions:
        passes.setdefault((question.row.video, _span_start(question, settings)), []).append(question)
    samples = []
    for (video, start), asked in passes.items():
        asked.sort(key=lambda question: question.at)
        queries = tuple(
            _query(question, question.at, start, settings, counts[question.row.task]) for question in asked
        )
        samples.append(
            StreamSample(
                id=video if start == 0 else f"{video}@{start:g}",
                video=videos.for_stream(video, asked),
                start=start,
                end=max(float(math.ceil(asked[-1].at)), start + 1.0),
                fps=settings.fps,
                queries=queries,
                cluster=video,
                tags={"protocol": settings.protocol},
            )
        )
    return samples


def _span_start(question: Question, settings: OvoSettings) -> float:
    """Return where the visible video of a question starts, media seconds.

    The logit protocol shows CRR from the ask time, and at the first probe, which lies there too, one second
    *after* it. Here that second is the one before, so that nothing later than the question is shown.
    """
    row = question.row
    if (
        row.task != "CRR"
        or row.ask_time is None
        or (settings.protocol == "streaming" and settings.span == "prefix")
    ):
        return 0.0
    return float(max(0.0, min(row.ask_time, question.at - 1.0)))


def _clip(question: Question, videos: OvoVideos, settings: OvoSettings, expected: int) -> StreamSample:
    """Return the sample of one question asked of its own clip."""
    logit = settings.protocol == "logit"
    start = _span_start(question, settings) if logit else 0.0
    at = question.at if logit else float(math.ceil(question.at))
    video = None if logit else videos.chunk(question)
    preset = settings.frames or _FRAMES[settings.protocol]
    query = _query(question, at, start, settings, expected)
    return StreamSample(
        id=question.id,
        video=video or videos.for_stream(question.row.video, [question]),
        start=start,
        end=max(at, start + 1.0),
        fps=settings.fps,
        queries=(replace(query, tags={**query.tags, "frames": preset}),),
        cluster=question.row.video,
        tags={"protocol": settings.protocol, "frames": preset},
    )


def _query(question: Question, at: float, start: float, settings: OvoSettings, expected: int) -> Query:
    row = question.row
    tags = {
        "task": row.task,
        "category": category_of(row.task),
        "protocol": settings.protocol,
        EXPECTED: str(expected),
    }
    return Query(
        id=question.id,
        at=at,
        prompt=_prompt(question, settings.protocol == "logit"),
        kind=question.kind,
        choices=tuple(row.options),
        answer=question.gold,
        visible_from=start,
        tags=tags,
        elicitation=_ELICITATION[settings.protocol],
    )


def _prompt(question: Question, logit: bool) -> str:
    row, probe = question.row, question.probe
    if row.task == "REC":
        return prompts.logit_count(row.activity) if logit else prompts.official_count(row.activity)
    if row.task == "SSR":
        step = probe.step if probe is not None else ""
        return prompts.logit_step(step) if logit else prompts.official_step(step)
    if row.task == "CRR":
        return prompts.logit_enough(row.question) if logit else prompts.official_enough(row.question)
    if logit:
        return prompts.logit_choice(row.question, row.options)
    return prompts.official_choice(row.question, row.options)


def _missing(file: Path) -> Problem:
    return Problem("missing-video", f"{file} is not there", file=str(file))


def check_data(data: Path) -> CheckReport:
    """Look at every row, open every video, and compare every question's time with its video's length.

    Raises:
        DataError: No annotation file, or another benchmark's.
    """
    notes = read_annotations(data)
    videos = find_videos(data, notes.file, [row.video for row in notes.rows])
    files, missing = _files(notes, videos)
    opened = probe_videos(dict.fromkeys(files.values()))
    problems = [*notes.problems, *missing]
    for path, info in opened.items():
        if isinstance(info, Exception):
            problems.append(Problem("unreadable-video", str(info), file=str(path)))
    for question in notes.questions():
        known = opened.get(files.get(question.id, Path()))
        length = None if known is None or isinstance(known, Exception) else known.duration
        if length is not None and question.at > length + 1.0:
            message = (
                f"asked at {question.at:g} s, the video ends at {length:.1f} s; the last frame stands for the rest"
            )
            problems.append(Problem("after-end", message, file=notes.file.name, item=question.id))
    whole = {row.video for row in notes.rows}
    facts = {"version": notes.version, "revision": notes.digest, "records": len(notes.rows)}
    return CheckReport("ovobench", str(data), notes.counts(), len(whole), tuple(problems), facts)


def _files(notes: Annotations, videos: OvoVideos) -> tuple[dict[str, Path], list[Problem]]:
    """Return the file of each question that is on disk, and a problem for each video (or chunk) that is not."""
    files: dict[str, Path] = {}
    problems: list[Problem] = []
    by_video: dict[str, list[Question]] = {}
    for question in notes.questions():
        by_video.setdefault(question.row.video, []).append(question)
    for video, asked in by_video.items():
        whole = videos.whole(video)
        if whole.is_file():
            files.update({question.id: whole for question in asked})
        elif videos.chunks is None:
            problems.append(Problem("missing-video", f"{whole} is not there", file=str(whole), item=video))
        else:
            files.update(_chunks(asked, videos, problems))
    return files, problems


def _chunks(asked: Sequence[Question], videos: OvoVideos, problems: list[Problem]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for question in asked:
        chunk = videos.chunk(question)
        if chunk is None:
            message = f"neither the video {question.row.video} nor the chunk {question.id}.mp4 is there"
            problems.append(Problem("missing-video", message, file=f"{question.id}.mp4", item=question.id))
        else:
            found[question.id] = chunk
    return found
