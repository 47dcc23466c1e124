"""Video-MME as a task: the one object that the rest of evalkit sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from evalkit.errors import UsageError
from evalkit.records import Metric
from evalkit.tasks.contract import CheckReport, Prediction, Problem, ScoreSheet, TaskData, TaskSettings
from evalkit.tasks.scoring import sheet_metrics
from evalkit_tasks.videomme.data import VideoMmeSettings, check_data, load_samples
from evalkit_tasks.videomme.demo import make_demo
from evalkit_tasks.videomme.predictions import FORMATS, read_predictions
from evalkit_tasks.videomme.scoring import score_predictions

__all__ = ["VideoMme"]


class VideoMme:
    """Video-MME (arXiv 2405.21075)."""

    name: ClassVar[str] = "videomme"
    summary: ClassVar[str] = (
        "Video-MME: 2,700 questions on 900 videos from 11 s to an hour, with subtitles if wanted"
    )
    settings: ClassVar[type[TaskSettings]] = VideoMmeSettings
    formats: ClassVar[tuple[str, ...]] = FORMATS

    def load(self, data: Path, settings: TaskSettings) -> TaskData:
        """Read the published files below ``data``; see `load_samples`."""
        if not isinstance(settings, VideoMmeSettings):
            raise UsageError(f"videomme wants VideoMmeSettings, not {type(settings).__name__}")
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
        """Score by the official rule and strictly; see `score_predictions`."""
        return score_predictions(predictions, format)

    def metrics(self, sheet: ScoreSheet) -> list[Metric]:
        """Turn a score sheet into the rows of ``metrics.json``."""
        return sheet_metrics(sheet)
