"""The task object of a benchmark that is made of functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from evalkit.errors import DataError, UsageError
from evalkit.records import Metric, RunFolder, collector_paused
from evalkit.tasks.contract import CheckReport, Prediction, Problem, ScoreSheet, TaskData, TaskSettings
from evalkit.tasks.made import DemoSize
from evalkit.tasks.metrics import sheet_metrics
from evalkit.tasks.replies import GONE

__all__ = ["BenchmarkFunctions", "QuestionBenchmark", "read_with_data"]


@dataclass(frozen=True, slots=True)
class BenchmarkFunctions:
    """What a benchmark does.

    Args:
        load: Reads the files below a folder by settings.
        make_demo: Writes a made-up data set in the layout of the benchmark named, below a folder, of a size.
        check: Looks at every row and video below a folder.
        read: Reads prediction files: format, paths, data folder.
        score: Scores predictions of a format.
    """

    load: Callable[[Path, Any], TaskData]
    make_demo: Callable[[str, Path, DemoSize | None], None]
    check: Callable[[Path], CheckReport]
    read: Reader
    score: Callable[[Sequence[Prediction], str], ScoreSheet]


Reader = Callable[[str, Sequence[Path], Path | None], tuple[list[Prediction], list[Problem]]]
"""Reads prediction files: format, paths, data folder."""


def read_with_data(
    read: Reader, format: str, paths: Sequence[Path], data: Path | None
) -> tuple[list[Prediction], list[Problem]]:
    """Read predictions; where records of a run are gone, its questions are looked up in the data it was made of.

    Args:
        read: Reads them.
        format: Their layout.
        paths: Files or run folders.
        data: Data folder, where one was named.

    Raises:
        DataError: The files cannot be used, or records are gone and so are the data.
    """
    found = read(format, paths, data)
    if data is None and any(problem.kind == GONE for problem in found[1]):
        found = read(format, paths, _data_of(paths))
    return found


def _data_of(runs: Sequence[Path]) -> Path:
    """Return the data that runs were made of.

    Raises:
        DataError: They are not where they were.
    """
    place = Path(str(RunFolder(runs[0]).read_manifest().data.get("path", "")))
    if not place.is_dir():
        raise DataError(
            f"{runs[0]}: records are gone, and the data that would tell what they answered are not at {place}: "
            "name them with --data, or run again with --resume",
            path=runs[0],
        )
    return place


class QuestionBenchmark:
    """A `Task` made of functions; a benchmark names itself and them."""

    name: ClassVar[str]
    summary: ClassVar[str]
    settings: ClassVar[type[TaskSettings]]
    formats: ClassVar[tuple[str, ...]]
    functions: ClassVar[BenchmarkFunctions]

    def load(self, data: Path, settings: TaskSettings) -> TaskData:
        """Read the published files below ``data``.

        Raises:
            DataError: The files are not there or are another benchmark's.
            UsageError: The settings are another benchmark's.
        """
        if not isinstance(settings, self.settings):
            raise UsageError(f"{self.name} wants {self.settings.__name__}, not {type(settings).__name__}")
        return self.functions.load(data, settings)

    def make_demo(self, data: Path, size: DemoSize | None = None) -> None:
        """Write made-up matches in the published layout below ``data``."""
        self.functions.make_demo(self.name, data, size)

    def check(self, data: Path) -> CheckReport:
        """Look at every row, video and subtitle file below ``data``."""
        return self.functions.check(data)

    def read_predictions(
        self, format: str, paths: Sequence[Path], data: Path | None
    ) -> tuple[list[Prediction], list[Problem]]:
        """Read prediction files of a layout in ``formats``.

        The questions of a run whose records are gone are looked up in the data that it was made of.

        Raises:
            DataError: The files cannot be used, or records are gone and so are the data.
        """
        with collector_paused():
            return read_with_data(self.functions.read, format, paths, data)

    def score(self, predictions: Sequence[Prediction], format: str) -> ScoreSheet:
        """Score by the benchmark's own rule and strictly."""
        with collector_paused():
            return self.functions.score(predictions, format)

    def metrics(self, sheet: ScoreSheet) -> list[Metric]:
        """Turn a score sheet into the rows of ``metrics.json``."""
        return sheet_metrics(sheet)
