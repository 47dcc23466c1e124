"""Multiple-choice questions as stream samples: one pass over each video, or one prefill per question."""

from __future__ import annotations

import os
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field, field_validator

from evalkit.errors import DecodeError, UsageError, suggest
from evalkit.stream import Elicitation, Query, StreamSample
from evalkit.tasks.choice.questions import ChoiceQuestion
from evalkit.tasks.contract import Problem, TaskSettings
from evalkit.tasks.frames import known_preset
from evalkit.tasks.rows import probe_videos, video_problems
from evalkit.video.probe import VideoInfo

__all__ = ["ChoicePrompt", "ChoiceSettings", "ChoiceVideos", "lettered", "make_samples", "prompt_named"]

_ENDINGS = (".mp4", ".MP4", ".mkv", ".webm", ".avi")
_UNKNOWN_LENGTH = 1.0
"""Seconds that stand for the length of a video that cannot be opened; its sample fails by name."""


@dataclass(frozen=True, slots=True)
class ChoicePrompt:
    """One published way of asking.

    Args:
        text: Words a question.
        prefix: Text put into the assistant's mouth.
        system: System text; ``None`` leaves the model its own.
        max_tokens: Most tokens generated; ``None`` for the model's default.
        frames: Frame rule of the official protocol that goes with it.
        options: Where set, the reply is the option with the largest logit, and nothing is generated.
        lead: Text before an option when its token is looked up.
    """

    text: Callable[[ChoiceQuestion], str]
    prefix: str = ""
    system: str | None = None
    max_tokens: int | None = None
    frames: str = "uniform-64"
    options: tuple[str, ...] = ()
    lead: str = "\n"

    @property
    def elicitation(self) -> Elicitation:
        """How the reply is drawn out."""
        return Elicitation(self.options, self.lead, self.prefix, self.max_tokens)


class ChoiceSettings(TaskSettings):
    """How a multiple-choice benchmark is put to a model."""

    protocol: Literal["streaming", "official"] = Field(
        "streaming", description="streaming: one pass over each video; official: one prefill per question"
    )
    fps: float = Field(1.0, gt=0, le=30, description="streaming: frames per second")
    frames: str | None = Field(
        None, description="official: name of the frame rule; the one that goes with the prompt by default"
    )
    prompt: str | None = Field(None, description="prompt variant; the benchmark's first one by default")

    @field_validator("frames")
    @classmethod
    def _is_preset(cls, frames: str | None) -> str | None:
        return None if frames is None else known_preset(frames)


def lettered(options: Iterable[str], form: str = "{}. {}") -> list[str]:
    """Return options with their letters.

    Args:
        options: Texts in letter order.
        form: How letter and text stand together, such as ``({}) {}``.
    """
    return [form.format(letter, text) for letter, text in zip(string.ascii_uppercase, options, strict=False)]


def prompt_named(prompts: Mapping[str, ChoicePrompt], name: str | None, task: str) -> tuple[str, ChoicePrompt]:
    """Return a prompt variant with its name; the first where none is named.

    Raises:
        UsageError: There is no such variant.
    """
    chosen = next(iter(prompts)) if name is None else name
    if chosen not in prompts:
        known = ", ".join(prompts)
        raise UsageError(f"{task} has no prompt {chosen!r}{suggest(chosen, prompts)} (known: {known})")
    return chosen, prompts[chosen]


class ChoiceVideos:
    """Where the videos of a data folder lie; folders are listed once.

    A video is looked for under its path below the data folder, then by its name, with any usual ending, in the
    folders given and their children.

    Args:
        root: Data folder, or an annotation file in it.
        folders: Names of video folders, in order of preference.
    """

    def __init__(self, root: Path, folders: Sequence[str]) -> None:
        self._root = root if root.is_dir() else root.parent
        self._folders = folders
        self._by_name: dict[str, Path] = {}
        for folder in (self._root / name for name in folders):
            if folder.is_dir():
                self._list(folder)
                for child in sorted(path for path in folder.iterdir() if path.is_dir()):
                    self._list(child)

    def _list(self, folder: Path) -> None:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
        for ending in _ENDINGS:
            for name in names:
                if name.endswith(ending):
                    self._by_name.setdefault(name.removesuffix(ending), folder / name)

    def path(self, video: str) -> Path:
        """Return where a video is, or where it would be."""
        stem = PurePosixPath(video).name
        for ending in _ENDINGS:
            stem = stem.removesuffix(ending)
        direct = self._root / video
        return self._by_name.get(stem) or (direct if direct.is_file() else self._root / self._folders[0] / video)


def make_samples(
    questions: Sequence[ChoiceQuestion],
    videos: ChoiceVideos,
    settings: ChoiceSettings,
    prompts: Mapping[str, ChoicePrompt],
    task: str,
) -> tuple[list[StreamSample], list[Problem]]:
    """Make the samples of a protocol.

    Streaming gives one sample per video and start, all questions asked at their ends; official one per question.
    Where the annotation does not tell how long a video is, it is opened once. A sample whose video is missing is
    kept, so that it fails by name.

    Args:
        questions: What is asked.
        videos: Where the videos lie.
        settings: How.
        prompts: Prompt variants by name.
        task: Name of the benchmark, for messages.

    Raises:
        UsageError: There is no such prompt variant.
    """
    name, prompt = prompt_named(prompts, settings.prompt, task)
    files = {question.video: videos.path(question.video) for question in questions}
    opened = probe_videos(sorted({files[question.video] for question in questions if question.end is None}))
    problems = [
        Problem("missing-video", f"{path} is not there", path.name)
        for path in dict.fromkeys(files.values())
        if path not in opened and not path.is_file()
    ]
    problems += video_problems(opened)
    ends = {question.id: _end_of(question, opened.get(files[question.video])) for question in questions}
    form = _Form(name, prompt, settings, files, ends)
    if settings.protocol == "official":
        frames = {"frames": settings.frames or prompt.frames}
        return [form.sample(question.id, [question], frames) for question in questions], problems
    passes: dict[tuple[str, float], list[ChoiceQuestion]] = {}
    for question in questions:
        passes.setdefault((question.video, question.start), []).append(question)
    starts = Counter(video for video, _ in passes)
    return [
        form.sample(video if starts[video] == 1 else f"{video}@{start:g}", asked, {})
        for (video, start), asked in passes.items()
    ], problems


def _end_of(question: ChoiceQuestion, info: VideoInfo | DecodeError | None) -> float:
    """Return the second of a question: the annotation's, else the end of its video where that opens."""
    if question.end is not None:
        return question.end
    known = None if info is None or isinstance(info, DecodeError) else info.duration
    return known or question.start + _UNKNOWN_LENGTH


@dataclass(frozen=True, slots=True)
class _Form:
    """What all samples of a loading share: prompt and settings, where videos lie and when questions end."""

    name: str
    prompt: ChoicePrompt
    settings: ChoiceSettings
    files: Mapping[str, Path]
    ends: Mapping[str, float]

    def sample(self, id_: str, asked: Sequence[ChoiceQuestion], frames: dict[str, str]) -> StreamSample:
        first = asked[0]
        tags = {"protocol": self.settings.protocol, "prompt": self.name, **frames}
        queries = (
            Query(
                id=question.id,
                at=self.ends[question.id],
                prompt=self.prompt.text(question),
                kind=question.kind,
                choices=question.options,
                answer=question.gold,
                tags={**question.all_tags, **tags},
                elicitation=self.prompt.elicitation if question.kind == "choice" else Elicitation(),
            )
            for question in asked
        )
        return StreamSample(
            id=id_,
            video=self.files[first.video],
            start=first.start,
            end=max(self.ends[question.id] for question in asked),
            fps=self.settings.fps,
            queries=tuple(sorted(queries, key=lambda query: query.at)),
            cluster=first.cluster or first.video,
            tags=tags,
            system=self.prompt.system,
        )
