"""A multiple-choice benchmark as a task: what a benchmark declares, and everything that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from evalkit.errors import DataError, DecodeError, UsageError
from evalkit.records import Metric, collector_paused
from evalkit.tasks.benchmark import read_with_data
from evalkit.tasks.choice.questions import ChoiceData, ChoiceRow, find_files, read_questions
from evalkit.tasks.choice.samples import ChoicePrompt, ChoiceSettings, ChoiceVideos, make_samples
from evalkit.tasks.choice.scoring import ChoiceRule, score_choices
from evalkit.tasks.contract import CheckReport, Prediction, Problem, ScoreSheet, TaskData, TaskSettings
from evalkit.tasks.layouts import FileRow, take_rows
from evalkit.tasks.made import DemoSize
from evalkit.tasks.metrics import sheet_metrics
from evalkit.tasks.replies import matched, read_runs, require_format
from evalkit.tasks.rows import probe_videos, video_problems
from evalkit.tasks.scoring import EXPECTED
from evalkit.tasks.sniff import refuse_other

__all__ = ["ChoiceLayout", "ChoiceTask"]


@dataclass(frozen=True, slots=True)
class ChoiceLayout:
    """A layout of prediction files.

    Args:
        rows: Reads the rows of one file; takes a list for what is wrong with it.
        take: Turns a row into a prediction and what is odd about it, or raises `RowError`.
        has_gold: Whether the rows hold the gold; otherwise the benchmark's files are needed.
        holds: What a row is, for the refusal of a file without any: ``a row of an lmms-eval log``.
    """

    rows: Callable[[Path, list[Problem]], list[FileRow]]
    take: Callable[[FileRow], tuple[Prediction, Sequence[Problem]]]
    has_gold: bool
    holds: str


class ChoiceTask:
    """A `Task` whose questions are multiple choice; a benchmark declares what it is.

    Attributes:
        name: Its name.
        summary: One line for ``evalkit list tasks``.
        settings: Its settings, `ChoiceSettings` or a subclass.
        row: Schema of an annotation row.
        places: Where the annotation files lie below the data folder, glob patterns in order of preference.
        how_to_get: How to get them, for the refusal of a folder without them.
        video_folders: Where the videos lie below it.
        prompts: Published ways of asking, the benchmark's own first.
        rule: How it scores.
        layouts: Layouts of prediction files besides run folders, by format name.
        versions: Questions by sub-task of each published version, the usual one first.
        whole_videos: Whether a question's span is its whole video, so that another length is a problem.
        demo: Fills an empty folder with a made-up data set of a size.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    settings: ClassVar[type[TaskSettings]] = ChoiceSettings
    row: ClassVar[type[ChoiceRow]]
    places: ClassVar[tuple[str, ...]]
    how_to_get: ClassVar[str]
    video_folders: ClassVar[tuple[str, ...]] = ("videos", "video", "")
    prompts: ClassVar[Mapping[str, ChoicePrompt]]
    rule: ClassVar[ChoiceRule]
    layouts: ClassVar[Mapping[str, ChoiceLayout]] = {}
    versions: ClassVar[Mapping[str, Mapping[str, int]]] = {}
    whole_videos: ClassVar[bool] = False
    demo: ClassVar[Callable[[Path, DemoSize | None], None]]

    @property
    def formats(self) -> tuple[str, ...]:
        """Layouts of predictions, run folders last."""
        return (*self.layouts, "evalkit")

    def annotations(self, data: Path, settings: TaskSettings | None = None) -> ChoiceData:
        """Read the annotation files below a folder.

        Args:
            data: Folder, or the file itself.
            settings: Which set, for benchmarks that have several.

        Raises:
            DataError: They are not there, or are another benchmark's; the text says how to get them.
        """
        files = find_files(data, self.places)
        if not files or data.is_file():
            refuse_other(data, self.name)
        if not files:
            raise DataError(f"{data} has no {self.places[0]} of {self.name}; {self.how_to_get}", path=data)
        found = read_questions(files, self.row)
        version, problems = self._version(found.counts(), files[0].name)
        return replace(found, version=version, problems=(*found.problems, *problems))

    def _version(self, counts: Mapping[str, int], file: str) -> tuple[str, list[Problem]]:
        """Return which published version counts are, and a problem that says what differs where they are none.

        Made-up and local data, with less than a tenth of the usual questions, are no version and no problem.
        """
        if not self.versions:
            return "", []
        for name, published in self.versions.items():
            if dict(published) == dict(counts):
                return name, []
        n = sum(counts.values())
        usual = next(iter(self.versions.values()))
        said = f"no published version: {n:,} questions"
        if n < sum(usual.values()) / 10:
            return said, []
        known = "; ".join(f"{sum(found.values()):,} ({name})" for name, found in self.versions.items())
        message = f"{n:,} questions; published are {known}. {describe_difference(counts, usual)}"
        return said, [Problem("other-version", message, file)]

    def load(self, data: Path, settings: TaskSettings) -> TaskData:
        """Read the published files below ``data`` and make the samples of a protocol.

        Raises:
            DataError: The files are not there or are another benchmark's.
            UsageError: The settings are another benchmark's, or name no prompt.
        """
        if not isinstance(settings, self.settings) or not isinstance(settings, ChoiceSettings):
            raise UsageError(f"{self.name} wants {self.settings.__name__}, not {type(settings).__name__}")
        found = self.annotations(data, settings)
        videos = ChoiceVideos(data, self.video_folders)
        samples, problems = make_samples(found.questions, videos, settings, self.prompts, self.name)
        facts = {
            "files": [file.name for file in found.files],
            "version": found.version,
            "questions": len(found.questions),
            "refused": found.total - len(found.questions),
            "samples": len(samples),
            "prompt": samples[0].tags["prompt"] if samples else "",
            "counts": found.counts(),
        }
        return TaskData(tuple(samples), found.revision, (*found.problems, *problems), facts)

    def make_demo(self, data: Path, size: DemoSize | None = None) -> None:
        """Write a made-up data set in the published layout below ``data``."""
        type(self).demo(data, size)

    def check(self, data: Path) -> CheckReport:
        """Look at every row and every video below ``data``."""
        found = self.annotations(data)
        videos = ChoiceVideos(data, self.video_folders)
        opened = probe_videos(videos.path(question.video) for question in found.questions)
        problems = [*found.problems, *video_problems(opened)]
        for question in found.questions:
            info = opened[videos.path(question.video)]
            length = None if isinstance(info, DecodeError) else info.duration
            if length is None or question.end is None:
                continue
            if self.whole_videos and abs(length - question.end) > 1.0:
                message = f"its video is {length:.1f} s long, not {question.end:g} s"
                problems.append(Problem("wrong-length", message, item=question.id))
            elif question.end > length + 1.0:
                message = f"asked at {question.end:g} s, the video ends at {length:.1f} s"
                problems.append(Problem("after-end", message, item=question.id))
        facts = {"version": found.version, "files": [file.name for file in found.files], "rows": found.total}
        return CheckReport(self.name, str(data), found.counts(), len(opened), tuple(problems), facts)

    def read_predictions(
        self, format: str, paths: Sequence[Path], data: Path | None
    ) -> tuple[list[Prediction], list[Problem]]:
        """Read prediction files of a layout in ``formats``.

        Without the benchmark's files, the questions that a file lacks are counted by the published version it
        comes nearest to.

        Raises:
            DataError: A file cannot be used, or is of another layout or other data.
            UsageError: Unknown format, no path, or no data where the layout has no gold.
        """
        require_format(self.name, format, self.formats, paths)
        with collector_paused():
            if format == "evalkit":
                return read_with_data(self._read_runs, format, paths, data)
            return self._read_files(format, paths, data)

    def _read_runs(
        self, format: str, paths: Sequence[Path], data: Path | None
    ) -> tuple[list[Prediction], list[Problem]]:
        runs = read_runs(self.name, paths)
        if data is None:
            return runs.predictions, runs.problems
        predictions, more = matched(runs.predictions, runs.asked(self.known(data, runs.predictions)), data)
        return predictions, runs.problems + more

    def _read_files(
        self, format: str, paths: Sequence[Path], data: Path | None
    ) -> tuple[list[Prediction], list[Problem]]:
        layout = self.layouts[format]
        problems: list[Problem] = []
        rows = [row for path in paths for row in layout.rows(path, problems)]
        found = take_rows(rows, layout.take, problems)
        if not found:
            names = ", ".join(path.name for path in paths)
            first = f" (first: {problems[0]})" if problems else ""
            raise DataError(f"{names}: not one {layout.holds}{first}", path=paths[0])
        if data is None and not layout.has_gold:
            data = self.golds_beside(paths)
        if data is not None:
            known = self.known(data, found)
            predictions, more = matched(self.identified(found, known), known, data)
            return predictions, problems + more
        return self._counted(found, paths[0].name, problems)

    def _counted(
        self, found: Sequence[Prediction], file: str, problems: list[Problem]
    ) -> tuple[list[Prediction], list[Problem]]:
        """Tag predictions with what the published version has, and name what is missing or of another version."""
        once = {prediction.id: prediction.task for prediction in found}
        counts: dict[str, int] = {}
        for task in once.values():
            counts[task] = counts.get(task, 0) + 1
        expected = next((v for v in self.versions.values() if dict(v) == counts), None)
        if expected is None and self.versions:
            expected = next(iter(self.versions.values()))
            known = "; ".join(f"{sum(one.values()):,} ({name})" for name, one in self.versions.items())
            difference = describe_difference(counts, expected)
            message = (
                f"{len(once):,} questions; published are {known}. {difference}; what is missing is wrong in strict"
            )
            problems.append(Problem("other-version", message, file))
        tagged = [
            replace(one, tags={**one.tags, EXPECTED: str(expected[one.task])})
            if expected and one.task in expected
            else one
            for one in found
        ]
        return tagged, problems

    def known(self, data: Path, found: Sequence[Prediction]) -> dict[str, Prediction]:
        """Return the questions of the data by id; of several sets, the one that predictions are of.

        Args:
            data: The benchmark's files.
            found: Predictions as read.
        """
        return self.annotations(data).known()

    def identified(self, found: Sequence[Prediction], known: Mapping[str, Prediction]) -> Sequence[Prediction]:
        """Return predictions under the ids of the data, for layouts that name questions otherwise."""
        return found

    def golds_beside(self, paths: Sequence[Path]) -> Path:
        """Return where golds lie that a layout lacks and nobody named.

        Raises:
            UsageError: Nowhere; the text asks for them.
        """
        raise UsageError(f"this layout of {self.name} has no gold in it: name the data folder too (--data DIR)")

    def score(self, predictions: Sequence[Prediction], format: str) -> ScoreSheet:
        """Score by the benchmark's own rule and strictly."""
        with collector_paused():
            return score_choices(self.name, predictions, format, self.rule)

    def metrics(self, sheet: ScoreSheet) -> list[Metric]:
        """Turn a score sheet into the rows of ``metrics.json``."""
        return sheet_metrics(sheet)


def describe_difference(counts: Mapping[str, Any], published: Mapping[str, int]) -> str:
    """Say in which sub-tasks counts differ from a published version's."""
    parts = []
    for task in dict.fromkeys([*published, *counts]):
        here, there = counts.get(task, 0), published.get(task, 0)
        if here != there:
            parts.append(f"{task} has {here:,} where {there:,} are published")
    return "; ".join(parts)
