"""What a benchmark gives evalkit: samples to run, files to check, predictions to score (no torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from evalkit.parse import Parsed
from evalkit.records import AnswerRecord, GradeRecord, Metric
from evalkit.stream import QueryKind, StreamSample
from evalkit.tasks.made import DemoSize

if TYPE_CHECKING:  # the judge room loads an HTTP client
    from evalkit.judge.grading import GradeItem
    from evalkit.judge.pairs import Pair
    from evalkit.judge.rubric import Rubric

__all__ = [
    "WINDOW_FRAMES",
    "Average",
    "Averaging",
    "CheckReport",
    "Fact",
    "FactTask",
    "GradedTask",
    "LabelledTask",
    "MomentTask",
    "NarrationTask",
    "Pairing",
    "Prediction",
    "Problem",
    "RepliesTask",
    "RubricTask",
    "ScoreSheet",
    "Scores",
    "SubmissionTask",
    "Task",
    "TaskData",
    "TaskSettings",
    "UtteranceTask",
    "WindowedTask",
]


class TaskSettings(BaseModel):
    """Base of a benchmark's settings (``--set task.key=value``); every field has a description."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a file, named so that a person finds it.

    Args:
        kind: Short stable name, such as ``bad-row``, ``duplicate``, ``unknown-id``, ``missing-video``.
        message: One line for people.
        file: File name, where one is concerned.
        line: Line (or record index) in it, from 1.
        field: Field of the row.
        item: Id of the sample or question.
    """

    kind: str
    message: str
    file: str | None = None
    line: int | None = None
    field: str | None = None
    item: str | None = None

    @property
    def where(self) -> str:
        """File, line and field, as far as they are known; of what has no file, the sample or question."""
        place = ":".join(str(part) for part in (self.file, self.line, self.field) if part is not None)
        return place if self.file is not None else self.item or place

    def __str__(self) -> str:
        """Return the message after file and line, where they are known."""
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return f"{place}: {self.message}" if place else self.message


@dataclass(frozen=True, slots=True)
class TaskData:
    """A benchmark loaded: the samples in running order and what was wrong with the files.

    Args:
        samples: Samples, in a fixed order.
        revision: Digest of the annotation files, for the fingerprint.
        problems: Rows that were mended or refused; a refused row is no sample.
        facts: What else the run folder should know (data version, counts by sub-task).
    """

    samples: tuple[StreamSample, ...]
    revision: str
    problems: tuple[Problem, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What ``evalkit data check`` prints: counts by sub-task, problems, videos missing or unreadable."""

    task: str
    data: str
    counts: Mapping[str, int]
    videos: int
    problems: tuple[Problem, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One question with a model's reply, whichever file it came from.

    Args:
        id: Question id, unique within the benchmark.
        task: Official abbreviation of the sub-task.
        response: The model's text as it stands; ``None`` where there is no answer.
        gold: Official gold.
        kind: Which parser reads the reply.
        choices: Option texts in letter order.
        cluster: Video id.
        tags: What the official rule needs besides (``probe``, ``duration`` ...).
        fallback: What a judge found in the reply, where one was asked; counts in the strict score alone, and there
            only where the strict parser reads nothing.
    """

    id: str
    task: str
    response: str | None
    gold: str
    kind: QueryKind
    choices: tuple[str, ...] = ()
    cluster: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    fallback: Parsed | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """Percentages 0-100, unrounded; ``None`` where parts are missing.

    Args:
        tasks: By sub-task abbreviation.
        groups: By named, versioned group (``ovo_avg_brf`` ...).
        total: The benchmark's headline.
    """

    tasks: Mapping[str, float | None]
    groups: Mapping[str, float | None]
    total: float | None


@dataclass(frozen=True, slots=True)
class Average:
    """A named, versioned average; ``None`` as soon as one of its parts is missing.

    Args:
        name: Stable name; another definition gets another name.
        rule: ``micro`` over questions, ``macro`` over parts, or ``weighted`` by nominal counts.
        parts: Sub-tasks, or averages named earlier in the list (not for ``micro``).
        weights: One weight per part (``weighted`` only).
    """

    name: str
    rule: Literal["micro", "macro", "weighted"]
    parts: tuple[str, ...]
    weights: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Averaging:
    """How the groups of a benchmark are made of questions.

    Args:
        averages: Named averages; a later one may use an earlier one.
        groups_of: By question, the groups it belongs to besides its sub-task, where averages are over such.
    """

    averages: tuple[Average, ...] = ()
    groups_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoreSheet:
    """A benchmark's score, twice.

    Args:
        task: Task name.
        format: Layout the predictions came in.
        n: Questions the benchmark (or the sub-tasks present) has.
        answered: Questions with a parsed answer.
        coverage: ``answered / n``.
        source: By the benchmark's own rule and denominator, faults included.
        strict: Over all questions; unparsed, failed and missing are wrong.
        problems: Duplicates, unknown ids, malformed files.
        correct: ``(id, cluster, task, strict correctness)`` per question, for statistics.
        unanswered: Ids of the questions among them without a readable answer.
        averaging: How groups are made of questions, for their intervals.
        facts: Rule names, counts by task, unparsed share and the like.
        intervals: 95 % intervals of strict scores by name (percentages), where the benchmark computes its own;
            ``None`` where they follow from ``correct``.
    """

    task: str
    format: str
    n: int
    answered: int
    coverage: float
    source: Scores
    strict: Scores
    problems: tuple[Problem, ...] = ()
    correct: tuple[tuple[str, str, str, bool], ...] = ()
    unanswered: frozenset[str] = frozenset()
    averaging: Averaging = Averaging()
    facts: Mapping[str, Any] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] | None = None


class Task(Protocol):
    """A benchmark. Named by an entry point of the group ``evalkit.tasks`` that gives one instance."""

    name: ClassVar[str]
    summary: ClassVar[str]
    settings: ClassVar[type[TaskSettings]]
    formats: ClassVar[tuple[str, ...]]

    def load(self, data: Path, settings: TaskSettings) -> TaskData:
        """Read the published files below ``data``.

        Raises:
            DataError: The files are not there; the text names them and says how to get them.
        """

    def make_demo(self, data: Path, size: DemoSize | None = None) -> None:
        """Write a made-up data set in the published layout below ``data``, a small one unless told otherwise."""

    def check(self, data: Path) -> CheckReport:
        """Look at every row and every video below ``data``."""

    def read_predictions(
        self, format: str, paths: Sequence[Path], data: Path | None
    ) -> tuple[list[Prediction], list[Problem]]:
        """Read prediction files of a layout in ``formats``."""

    def score(self, predictions: Sequence[Prediction], format: str) -> ScoreSheet:
        """Score predictions by the official rule and strictly."""

    def metrics(self, sheet: ScoreSheet) -> list[Metric]:
        """Turn a score sheet into the rows of ``metrics.json``."""


@runtime_checkable
class SubmissionTask(Protocol):
    """A benchmark with a split whose gold is hidden: a run on it leaves files to hand in."""

    def submissions(self, predictions: Sequence[Prediction]) -> dict[str, str]:
        """Return the files to hand in: their content by name."""


@runtime_checkable
class MomentTask(Protocol):
    """A benchmark whose data tell the gold of some questions at other moments than the one they are asked at."""

    def gold_at(
        self, answers: Sequence[AnswerRecord], moments: Mapping[tuple[str, str], float]
    ) -> dict[tuple[str, str], str]:
        """Return the gold of questions at other moments; those of which the data do not tell it are left out.

        Args:
            answers: All answers of the run.
            moments: Media second by sample and query.
        """


@runtime_checkable
class LabelledTask(Protocol):
    """A benchmark whose sub-tasks, groups or facts have names for people.

    Attributes:
        labels: What tables call them: by abbreviation of a sub-task, by name of a group or of a fact.
    """

    labels: ClassVar[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two narrations, window by window.

    Args:
        pairs: What a judge compares.
        baseline_name: What the other side is called.
        baseline_id: What tells it from others of that name: the start of a fingerprint or of a file's digest.
        uncovered: Windows that one side does not cover, by name; they are counted, not dropped.
        notes: What a reader should know, one line each.
    """

    pairs: tuple[Pair, ...]
    baseline_name: str
    baseline_id: str
    uncovered: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


WINDOW_FRAMES: Final = "window_frames"
"""Tag of a sample that is one scoring window, shown at once; its value is the most frames shown."""


@runtime_checkable
class WindowedTask(Protocol):
    """A narration benchmark that gives its scoring windows as samples, for models that speak once about each."""

    def load_windows(self, data: Path, settings: TaskSettings) -> TaskData:
        """Return one sample a window, its frame rate, texts and `WINDOW_FRAMES` as the protocol has them.

        Args:
            data: The benchmark's folder.
            settings: Its settings.

        Raises:
            DataError: Files are missing or hold no usable row.
        """


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a narration could get right, in one second of one stream.

    Args:
        id: The same in every run on the same data.
        name: Of the score it counts in, such as ``demo.sight``.
        cluster: Video id.
        correct: Whether it was said rightly; nothing said, or a second that failed, is not.
    """

    id: str
    name: str
    cluster: str
    correct: bool


@runtime_checkable
class FactTask(Protocol):
    """A benchmark whose narrations can be scored by what they say, where the data tell what is right."""

    def facts(self, answers: Sequence[AnswerRecord]) -> list[Fact]:
        """Return the facts of a run whose number depends on the data alone, never on what was said."""


@runtime_checkable
class UtteranceTask(Protocol):
    """A benchmark that scores when a model speaks, whether it narrates, decides by a token or is polled."""

    def utterance_predictions(self, answers: Sequence[AnswerRecord]) -> list[Prediction]:
        """Return one prediction a stream: its reply are the times at which something was said."""


@runtime_checkable
class RubricTask(Protocol):
    """A benchmark with replies that a judge puts on named scales (``evalkit judge --rubric``).

    Attributes:
        rubrics: What is asked, by sub-task.
    """

    rubrics: ClassVar[Mapping[str, Rubric]]

    def rubric_items(self, answers: Sequence[AnswerRecord]) -> list[GradeItem]:
        """Return what a judge grades of a run; nothing where it has no such replies."""


@runtime_checkable
class RepliesTask(Protocol):
    """A benchmark whose published replies are graded as a run of one's own is (``evalkit data import``)."""

    def read_replies(self, paths: Sequence[Path], data: Path) -> tuple[list[AnswerRecord], list[Problem]]:
        """Read files of replies.

        Args:
            paths: The files.
            data: The benchmark's folder, with the questions.

        Raises:
            DataError: A file cannot be read, or two rows answer one question.
        """


@runtime_checkable
class GradedTask(Protocol):
    """A benchmark that makes figures of its own of the grades."""

    def graded_figures(
        self, records: Sequence[GradeRecord], answers: Sequence[AnswerRecord]
    ) -> dict[str, float | None]:
        """Return them by name, shares between 0 and 1."""


@runtime_checkable
class NarrationTask(Protocol):
    """A benchmark whose output is judged pairwise instead of scored.

    A task may also have a ``judge_prompt`` (`evalkit.judge.JudgePrompt`): what a chat judge is asked about its
    pairs; the prompt of Inf-Streams-Eval by default.

    Attributes:
        output_name: File name of the original's outputs.
    """

    output_name: ClassVar[str]

    def read_outputs(self, path: Path) -> tuple[list[AnswerRecord], list[Problem]]:
        """Read a file of the original's outputs as narration."""

    def write_outputs(self, answers: Sequence[AnswerRecord], path: Path) -> None:
        """Write narration as the original would have."""

    def narration_metrics(self, answers: Sequence[AnswerRecord]) -> list[Metric]:
        """Return what can be said about a narration without a judge, as rows of ``metrics.json``."""

    def pair_up(self, test: Path, baseline: Path, data: Path) -> Pairing:
        """Pair two narrations.

        Args:
            test: Run folder of the model under test.
            baseline: Run folder, or result file of the original, of the other.
            data: The benchmark's folder.
        """
