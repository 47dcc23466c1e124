"""StreamingBench as stream samples: one pass per video, the last minute only, or one clip per question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from evalkit.errors import DataError
from evalkit.stream import FollowUp, Query, StreamSample
from evalkit.tasks.contract import CheckReport, Problem, TaskData, TaskSettings
from evalkit.tasks.frames import known_preset
from evalkit.tasks.rows import probe_videos
from evalkit.tasks.scoring import EXPECTED, known_tasks
from evalkit_tasks.streamingbench import prompts
from evalkit_tasks.streamingbench.annotations import SbQuestion, find_files, read_files
from evalkit_tasks.streamingbench.published import TASKS, group_of, version_of
from evalkit_tasks.streamingbench.videos import SbVideos, bare_name, find_videos

__all__ = ["POLL_AFTER_GOLD", "SbSettings", "check_data", "load_data"]

POLL_AFTER_GOLD = 4
"""Polling ends this many seconds after the gold time (``StreamingBenchProactive.py``)."""

_DEFAULT_FRAMES = "uniform-32"
_BROKEN = {"sample_332_real": "the published file decodes only to about 245 s, the rest is zero-filled"}


class SbSettings(TaskSettings):
    """How StreamingBench is asked."""

    protocol: Literal["streaming", "official"] = Field(
        "streaming", description="streaming: one pass per video; official: one clip per question."
    )
    context: float | None = Field(
        None,
        gt=0,
        description="Seconds of video before a question that may be seen; none: everything. Main table: 60.",
    )
    fps: float = Field(1.0, gt=0, le=30, description="Frames shown per second in the streaming protocol.")
    frames: str = Field(_DEFAULT_FRAMES, description="Frame preset of the official protocol.")
    proactive: Literal["gold-text", "no-gold-text"] = Field(
        "gold-text", description="Whether a proactive poll repeats the gold output, as the official prompt does."
    )
    proactive_file: Literal["50", "250"] = Field("50", description="Which proactive questions; the tables use 50.")
    version: Literal["auto", "json", "csv"] = Field(
        "auto", description="Data version; auto: JSON where it is there."
    )
    options: Literal["official", "mended"] = Field(
        "official", description="First four option pieces as published, or split options put together again."
    )
    tasks: tuple[str, ...] = Field((), description="Sub-tasks to run; all where empty.")

    @field_validator("frames")
    @classmethod
    def _is_preset(cls, frames: str) -> str:
        return known_preset(frames)

    @field_validator("tasks")
    @classmethod
    def _are_tasks(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        return known_tasks(tasks, TASKS)


def load_data(data: Path, settings: SbSettings) -> TaskData:
    """Read the annotation files below ``data`` and make the samples of a protocol.

    Raises:
        DataError: No annotation file, or another benchmark's.
    """
    bench = read_files(find_files(data, settings.proactive_file, settings.version))
    videos = find_videos(data)
    wanted = settings.tasks or TASKS
    contexts = gold_contexts(bench.questions, settings)
    asked = [question for question in bench.questions if question.task in wanted]
    counts: Counter[str] = Counter(question.task for question in asked)
    problems = list(bench.problems)
    passes: dict[tuple[str, float, str], list[tuple[SbQuestion, list[Query]]]] = {}
    for question in asked:
        try:
            queries = list(_queries(question, contexts.get(question.id, ""), counts[question.task], settings))
        except ValueError as error:
            problems.append(
                Problem(
                    "bad-row", f"cannot be mended: {error}", question.file, question.line, "options", question.id
                )
            )
            continue
        key = question.id if settings.protocol == "official" else ""
        passes.setdefault((question.video, _start(question, settings), key), []).append((question, queries))
    samples = [_sample(key, group, videos, settings) for key, group in passes.items()]
    files = dict.fromkeys(sample.video for sample in samples)
    problems += [
        Problem("missing-video", f"{file} is not there", file=str(file)) for file in files if not file.is_file()
    ]
    facts = {
        "version": version_of(Counter(question.task for question in bench.questions)),
        "files": [file.name for file in bench.files],
        "questions": len(asked),
        "videos": len({sample.cluster for sample in samples}),
        "counts": {task: counts[task] for task in TASKS if task in counts},
    }
    return TaskData(tuple(samples), bench.digest, tuple(problems), facts)


def gold_contexts(questions: Sequence[SbQuestion], settings: SbSettings) -> dict[str, str]:
    """Return the gold context of every sequential question, by id.

    It depends on the annotations alone, so that a resumed run has the same one. The official protocol goes
    through a video's questions in the order of the file; the streaming protocol in order of time, so that nothing
    is told before it happened (the two differ in ``sample_7_sqa``).

    Args:
        questions: All questions, in file order.
        settings: Protocol, and which options are shown.
    """
    told: dict[str, str] = {}
    contexts: dict[str, str] = {}
    sequential = [question for question in questions if question.task == "SQA"]
    if settings.protocol == "streaming":
        sequential.sort(key=lambda question: question.at)
    for question in sequential:
        before = told.get(question.video, "")
        contexts[question.id] = before
        entry = prompts.context_entry(
            question.time_stamp, question.question, _four(question, settings), question.answer
        )
        told[question.video] = (before or prompts.CONTEXT_HEADER) + entry
    return contexts


def _four(question: SbQuestion, settings: SbSettings) -> tuple[str, str, str, str]:
    if settings.options == "official":
        return prompts.shown_options(question.options)
    return prompts.mended_options(question.options)


def _start(question: SbQuestion, settings: SbSettings) -> float:
    """Return where the visible video of a question starts, media seconds."""
    if settings.protocol == "official" and question.task == "PO":
        return question.at
    if settings.context is None:
        return 0.0
    at = question.official_at if settings.protocol == "official" else question.at
    return max(0.0, at - settings.context)


def _queries(question: SbQuestion, context: str, expected: int, settings: SbSettings) -> Iterator[Query]:
    """Yield the query of a choice question, or the polls of a proactive one.

    Raises:
        ValueError: The options cannot be shown.
    """
    tags = {
        "task": question.task,
        "category": group_of(question.task),
        "protocol": settings.protocol,
        EXPECTED: str(expected),
    }
    if settings.protocol == "official":
        tags["frames"] = settings.frames
    start = _start(question, settings)
    if question.task == "PO":
        yield from _polls(question, tags, start, settings)
        return
    four = _four(question, settings)
    sequential = question.task == "SQA"
    yield Query(
        id=question.id,
        at=question.official_at if settings.protocol == "official" else question.at,
        prompt=prompts.sqa_prompt(context, question.question, four)
        if sequential
        else prompts.choice_prompt(question.question, four),
        kind="choice",
        choices=four,
        answer=question.answer,
        visible_from=start,
        tags=tags,
    )


def _polls(question: SbQuestion, tags: Mapping[str, str], start: float, settings: SbSettings) -> Iterator[Query]:
    """Yield one query per second from a second after the question to four seconds after the gold time.

    The first reply that holds ``yes`` ends them; the plain question is then asked at the same moment, as query
    ``ID#output`` with the tag ``turn`` = ``output``.
    """
    gold_at = question.gold_at if question.gold_at is not None else question.at
    times = [question.at + step for step in range(1, int(gold_at + POLL_AFTER_GOLD - question.at) + 1)]
    output = question.output if settings.proactive == "gold-text" else None
    series = {
        **tags,
        "question": question.id,
        "polls": str(len(times)),
        "gold_time": f"{gold_at:g}",
        "gold_output": question.output,
        "proactive": settings.proactive,
    }
    plain = Query(
        id=f"{question.id}#output",
        at=question.at,
        prompt=prompts.proactive_prompt(question.question),
        kind="open",
        answer=question.output,
        visible_from=start,
        tags={**series, "turn": "output"},
    )
    for index, at in enumerate(times):
        yield Query(
            id=f"{question.id}#{index + 1}",
            at=at,
            prompt=prompts.poll_prompt(question.question, output),
            kind="proactive",
            answer="Yes" if abs(at - gold_at) <= 2 else "No",
            visible_from=start,
            tags={**series, "turn": "poll", "poll": str(index + 1)},
            follow_up=FollowUp("yes", replace(plain, at=at)),
        )


def _sample(
    key: tuple[str, float, str],
    group: list[tuple[SbQuestion, list[Query]]],
    videos: SbVideos,
    settings: SbSettings,
) -> StreamSample:
    video, start, single = key
    queries = sorted((query for _, asked in group for query in asked), key=lambda query: query.at)
    name = single or (video if start == 0 else f"{video}@{start:g}")
    tags: dict[str, str] = {"protocol": settings.protocol}
    if settings.protocol == "official":
        tags["frames"] = settings.frames
    return StreamSample(
        id=name,
        video=videos.path(video),
        start=start,
        end=max(queries[-1].at, start + 1.0),
        fps=settings.fps,
        queries=tuple(queries),
        cluster=bare_name(video),
        tags=tags,
    )


def check_data(data: Path) -> CheckReport:
    """Look at every row of every version below ``data``, open every video, and compare times with its length.

    Raises:
        DataError: No annotation file, or another benchmark's.
    """
    bench = read_files(find_files(data))
    videos = find_videos(data)
    paths = {question.video: videos.path(question.video) for question in bench.questions}
    opened = probe_videos(path for path in paths.values() if path.is_file())
    problems = list(bench.problems)
    for video, path in paths.items():
        info = opened.get(path)
        if info is None:
            problems.append(Problem("missing-video", f"{path} is not there", file=str(path), item=video))
        elif isinstance(info, Exception):
            problems.append(Problem("unreadable-video", str(info), file=str(path), item=video))
        if video in _BROKEN:
            problems.append(Problem("known-fault", _BROKEN[video], file=str(path), item=video))
    for question in bench.questions:
        info = opened.get(paths[question.video])
        length = None if info is None or isinstance(info, Exception) else info.duration
        if length is not None and question.at > length + 1.0:
            message = f"asked at {question.at:g} s, the video ends at {length:.1f} s"
            problems.append(Problem("after-end", message, question.file, question.line, "time_stamp", question.id))
    counts = Counter(question.task for question in bench.questions)
    facts = {
        "version": version_of(counts),
        "revision": bench.digest,
        "files": [file.name for file in bench.files],
        "other_versions": _other_versions(data, bench.files),
    }
    ordered = {task: counts[task] for task in TASKS if task in counts}
    return CheckReport("streamingbench", str(data), ordered, len(paths), tuple(problems), facts)


def _other_versions(data: Path, used: Sequence[Path]) -> dict[str, str]:
    """Name the version that ``load`` passes over where a folder holds both, with its counts."""
    if data.is_file() or any(file.suffix == ".csv" for file in used):
        return {}
    try:
        files = find_files(data, version="csv")
    except DataError:
        return {}
    counts = Counter(question.task for question in read_files(files).questions)
    return {
        "csv": f"{version_of(counts)} ({', '.join(f'{task} {counts[task]}' for task in TASKS if counts[task])})"
    }
