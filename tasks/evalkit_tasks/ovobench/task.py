"""OVO-Bench as a task of evalkit: the one object that the registry hands out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from evalkit.errors import UsageError, suggest
from evalkit.records import Metric
from evalkit.tasks.contract import CheckReport, Prediction, Problem, ScoreSheet, TaskData, TaskSettings
from evalkit.tasks.metrics import sheet_metrics
from evalkit.tasks.replies import read_runs
from evalkit_tasks.ovobench.data import OvoSettings, check_data, load_data
from evalkit_tasks.ovobench.predictions import read_logit, read_official
from evalkit_tasks.ovobench.scoring import score_predictions

__all__ = ["OvoBench", "task"]


class OvoBench:
    """The OVO-Bench benchmark (CVPR 2025): 1,640 records, 644 videos, 3,035 scored queries."""

    name: ClassVar[str] = "ovobench"
    summary: ClassVar[str] = "OVO-Bench: backward tracing, real-time perception, forward responding (12 sub-tasks)"
    settings: ClassVar[type[TaskSettings]] = OvoSettings
    formats: ClassVar[tuple[str, ...]] = ("official", "logit", "evalkit")
    demo_settings: ClassVar[dict[str, Any]] = {}

    def load(self, data: Path, settings: TaskSettings) -> TaskData:
        """Read the annotations below ``data`` and make the samples of the chosen protocol.

        Raises:
            DataError: No annotation file, or another benchmark's.
        """
        return load_data(data, OvoSettings.model_validate(settings.model_dump()))

    def make_demo(self, data: Path) -> None:
        """Write made-up videos and questions of all twelve sub-tasks in the published layout."""
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
        if format == "official":
            return read_official(paths, data)
        if format == "logit":
            return read_logit(paths, data)
        if format == "evalkit":
            runs = read_runs(self.name, paths)
            return runs.predictions, runs.problems
        raise UsageError(f"ovobench has no format {format!r}{suggest(format, self.formats)}")

    def score(self, predictions: Sequence[Prediction], format: str) -> ScoreSheet:
        """Score predictions by the official rule and strictly."""
        return score_predictions(predictions, format)

    def metrics(self, sheet: ScoreSheet) -> list[Metric]:
        """Turn a score sheet into the rows of ``metrics.json``."""
        return sheet_metrics(sheet)


task = OvoBench()
