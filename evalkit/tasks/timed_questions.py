"""Questions of a benchmark of timing as stream samples, in each way in which a model may speak."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from evalkit.errors import DecodeError
from evalkit.stream import Elicitation, Narration, Query, StreamSample
from evalkit.tasks.contract import Problem, TaskSettings
from evalkit.utterances import Window

__all__ = ["TimedData", "TimedQuestion", "TimedSettings", "Turn", "end_of", "timed_sample"]

_NARRATE = (
    '{asked} Until then, and whenever there is nothing to say, answer with "..." alone. When it happens, say so '
    "in one short sentence."
)
_DECIDE = (
    "{asked} At each second decide whether to speak: begin with </Silence> and say nothing more where it is not "
    "yet time, or with </Response> and one short sentence when it happens."
)
_POLL = "{asked} Is it happening right now? Answer only with yes or no."
_POLL_TOKENS = 8


class TimedSettings(TaskSettings):
    """How a benchmark of timing is put to a model."""

    speaking: Literal["narrating", "decision-token", "polled"] = Field(
        "narrating",
        description="how the model speaks: narrating (words, or ... for silence), decision-token (</Silence> or "
        "</Response> first), polled (asked yes or no at each second)",
    )
    fps: float = Field(1.0, gt=0, le=30, description="frames per second")


@dataclass(frozen=True, slots=True)
class Turn:
    """One gold turn: the span in which it is due, and what should be said."""

    span: Window
    answer: str


@dataclass(frozen=True, slots=True)
class TimedQuestion:
    """One stream that is asked something at its start.

    Args:
        id: Unique within the benchmark.
        task: Sub-task.
        video: Where the video lies.
        cluster: Video id.
        asked: What the model is to wait for: one or two sentences.
        start: First media second shown.
        end: Last one; ``None`` for the end of the video.
        windows: When something should be said.
        turns: What should be said, and over which span; for grades and the area under them.
    """

    id: str
    task: str
    video: Path
    cluster: str
    asked: str
    start: float
    end: float | None
    windows: tuple[Window, ...]
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class TimedData:
    """A benchmark's questions read and checked, what was wrong, the digest of the files, and which version."""

    questions: tuple[TimedQuestion, ...]
    problems: tuple[Problem, ...]
    revision: str
    version: str = ""


def timed_sample(one: TimedQuestion, settings: TimedSettings, end: float, tolerance: float) -> StreamSample:
    """Return the sample of a question in one way of speaking.

    Args:
        one: The question.
        settings: How it is put.
        end: Media second at which its stream ends.
        tolerance: Seconds around a window in which a poll's right answer is yes.
    """
    windows = [[window.start, window.end] for window in one.windows]
    tags = {
        "task": one.task,
        "speaking": settings.speaking,
        "windows": json.dumps(windows),
        "seconds": f"{end - one.start:g}",
    }
    if one.turns:
        tags["turns"] = json.dumps([[turn.span.start, turn.span.end, turn.answer] for turn in one.turns])
        tags["asked"] = one.asked
    polled = settings.speaking == "polled"
    wording = _NARRATE if settings.speaking == "narrating" else _DECIDE
    return StreamSample(
        id=one.id,
        video=one.video,
        start=one.start,
        end=end,
        fps=settings.fps,
        queries=tuple(_polls(one, end, tags, tolerance)) if polled else (),
        narration=None if polled else Narration(instruction=wording.format(asked=one.asked)),
        cluster=one.cluster,
        tags=tags,
    )


def _polls(one: TimedQuestion, end: float, tags: Mapping[str, str], tolerance: float) -> Iterable[Query]:
    prompt = _POLL.format(asked=one.asked)
    at = one.start + 1.0
    number = 0
    while at <= end:
        due = any(abs(window.distance(at)) <= tolerance for window in one.windows)
        yield Query(
            id=f"{one.id}#{number}",
            at=at,
            prompt=prompt,
            kind="proactive",
            answer="Yes" if due else "No",
            tags={**tags, "poll": str(number)},
            elicitation=Elicitation(max_tokens=_POLL_TOKENS),
        )
        at, number = at + 1.0, number + 1


def end_of(one: TimedQuestion, opened: Mapping[Path, Any]) -> float:
    """Return where a stream ends; without a file that opens, just after what is due last."""
    if one.end is not None:
        return one.end
    info = opened[one.video]
    length = None if isinstance(info, DecodeError) else info.duration
    return length or max((window.end for window in one.windows), default=one.start) + 1.0
