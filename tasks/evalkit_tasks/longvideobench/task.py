"""LongVideoBench as a task: the one object that the rest of evalkit sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from evalkit.errors import UsageError
from evalkit.records import Metric
from evalkit.tasks.contract import CheckReport, Prediction, Problem, ScoreSheet, TaskData, TaskSettings
from evalkit.tasks.scoring import sheet_metrics
from evalkit_tasks.longvideobench.data import LongVideoBenchSettings, check_data, load_samples
from evalkit_tasks.longvideobench.demo import make_demo
from evalkit_tasks.longvideobench.predictions import FORMATS, read_predictions
from evalkit_tasks.longvideobench.scoring import score_predictions, submission

__all__ = ["LongVideoBench"]


class LongVideoBench:
    """LongVideoBench (arXiv 2407.15754)."""

    name: ClassVar[str] = "longvideobench"
    summary: ClassVar[str] = (
        "LongVideoBench: referring questions on clips of 8 s to an hour, with subtitles if wanted"
    )
    settings: ClassVar[type[TaskSettings]] = LongVideoBenchSettings
    formats: ClassVar[tuple[str, ...]] = FORMATS

    def load(self, data: Path, settings: TaskSettings) -> TaskData:
        """Read the published files below ``data``; see `load_samples`."""
        if not isinstance(settings, LongVideoBenchSettings):
            raise UsageError(f"longvideobench wants LongVideoBenchSettings, not {type(settings).__name__}")
        return load_samples(data, settings)

    def make_demo(self, data: Path) -> None:
        """Write made-up matches in the published layout below ``data``; see `make_demo`."""
        make_demo(data)

    def check(self, data: Path) -> CheckReport:
        """Look at every row, video and subtitle file below ``data``; see `check_data`."""
        return check_data(data)

    def read_predictions(
        self, format: str, paths: Sequence[Path], data: Path | None
    ) -> tuple[list[Prediction], list[Problem]]:
        """Read prediction files of a layout in ``formats``; see `read_predictions`."""
        return read_predictions(format, paths, data)

    def score(self, predictions: Sequence[Prediction], format: str) -> ScoreSheet:
        """Score by lmms-eval's rule and strictly; see `score_predictions`."""
        return score_predictions(predictions, format)

    def metrics(self, sheet: ScoreSheet) -> list[Metric]:
        """Turn a score sheet into the rows of ``metrics.json``."""
        return sheet_metrics(sheet)

    def submission(self, predictions: Sequence[Prediction]) -> dict[str, str]:
        """Return what the hidden test set is submitted as; see `submission`."""
        return submission(predictions)
