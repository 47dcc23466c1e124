"""StreamingBench as a task of evalkit: the one object that the registry hands out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from evalkit.errors import UsageError, suggest
from evalkit.records import Metric
from evalkit.tasks.contract import CheckReport, Prediction, Problem, ScoreSheet, TaskData, TaskSettings
from evalkit.tasks.metrics import sheet_metrics
from evalkit.tasks.replies import read_runs
from evalkit_tasks.streamingbench.data import SbSettings, check_data, load_data
from evalkit_tasks.streamingbench.predictions import read_answers
from evalkit_tasks.streamingbench.scoring import score_predictions

__all__ = ["StreamingBench", "task"]


class StreamingBench:
    """The StreamingBench benchmark (2024): 900 videos, 4,500 questions, 4,301 of them in its tables."""

    name: ClassVar[str] = "streamingbench"
    summary: ClassVar[str] = "StreamingBench: real-time, omni-source and contextual understanding (18 sub-tasks)"
    settings: ClassVar[type[TaskSettings]] = SbSettings
    formats: ClassVar[tuple[str, ...]] = ("official", "stc", "evalkit")
    demo_settings: ClassVar[dict[str, Any]] = {}

    def load(self, data: Path, settings: TaskSettings) -> TaskData:
        """Read the annotations below ``data`` and make the samples of the chosen protocol.

        Raises:
            DataError: No annotation file, or another benchmark's.
        """
        return load_data(data, SbSettings.model_validate(settings.model_dump()))

    def make_demo(self, data: Path) -> None:
        """Write made-up videos and questions of all eighteen sub-tasks in the published layout."""
        from evalkit_tasks.toy_qa import make_toy  # it is made of this package's constants

        make_toy(self.name, data)

    def check(self, data: Path) -> CheckReport:
        """Look at every row and every video below ``data``."""
        return check_data(data)

    def read_predictions(
        self, format: str, paths: Sequence[Path], data: Path | None
    ) -> tuple[list[Prediction], list[Problem]]:
        """Read prediction files of the layouts in ``formats``.

        Raises:
            UsageError: No such format.
            DataError: No file could be read.
        """
        if format in ("official", "stc"):
            return read_answers(paths, data)
        if format == "evalkit":
            runs = read_runs(self.name, paths)
            return runs.predictions, runs.problems
        raise UsageError(f"streamingbench has no format {format!r}{suggest(format, self.formats)}")

    def score(self, predictions: Sequence[Prediction], format: str) -> ScoreSheet:
        """Score predictions by the official rule and strictly."""
        return score_predictions(predictions, format)

    def metrics(self, sheet: ScoreSheet) -> list[Metric]:
        """Turn a score sheet into the rows of ``metrics.json``."""
        return sheet_metrics(sheet)


task = StreamingBench()
