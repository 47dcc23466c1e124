"""Inf-Streams-Eval as a task: two-hour games narrated second by second, judged against another narration."""

from __future__ import annotations

__all__ = ["InfStreams"]

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NoReturn

from evalkit.errors import UsageError
from evalkit.fetch import Source
from evalkit.records import AnswerRecord, Metric, read_run
from evalkit.tasks import (
    CheckReport,
    DemoSize,
    Fact,
    Pairing,
    Prediction,
    Problem,
    ScoreSheet,
    TaskData,
    TaskSettings,
)
from evalkit_tasks.demo.score import (
    LABELS,
    narration_facts,
    narration_metrics,
    narration_predictions,
    narration_sheet,
)
from evalkit_tasks.inf_streams.check import check_data
from evalkit_tasks.inf_streams.data import InfStreamsSettings, load_samples, load_window_samples, load_windows
from evalkit_tasks.inf_streams.demo import make_demo
from evalkit_tasks.inf_streams.merged import merged_rows, records_from_file, spoken_from_file, write_merged
from evalkit_tasks.inf_streams.windows import pairs, spoken_from_records
from evalkit_tasks.sources import INF_STREAMS


class InfStreams:
    """Inf-Streams-Eval (StreamingVLM, arXiv 2510.09608)."""

    name: ClassVar[str] = "inf-streams"
    published_at: ClassVar[Source] = INF_STREAMS
    summary: ClassVar[str] = "Inf-Streams-Eval: commentary on full games, second by second, judged pairwise"
    settings: ClassVar[type[TaskSettings]] = InfStreamsSettings
    formats: ClassVar[tuple[str, ...]] = ()
    labels: ClassVar[Mapping[str, str]] = LABELS
    output_name: ClassVar[str] = "merged_result.jsonl"

    def load(self, data: Path, settings: TaskSettings) -> TaskData:
        """Read the published files below ``data``; see `load_samples`."""
        if not isinstance(settings, InfStreamsSettings):
            raise UsageError(f"inf-streams wants InfStreamsSettings, not {type(settings).__name__}")
        return load_samples(data, settings)

    def load_windows(self, data: Path, settings: TaskSettings) -> TaskData:
        """Return one sample for each scoring window, as the GPT baseline sees it; see `load_window_samples`."""
        return load_window_samples(data)

    def make_demo(self, data: Path, size: DemoSize | None = None) -> None:
        """Write made-up matches in the published layout below ``data``; see `make_demo`."""
        make_demo(data, size)

    def check(self, data: Path) -> CheckReport:
        """Look at every row and every video below ``data``; see `check_data`."""
        return check_data(data)

    def read_outputs(self, path: Path) -> tuple[list[AnswerRecord], list[Problem]]:
        """Read a ``merged_result.jsonl``; see `records_from_file`."""
        return records_from_file(path)

    def write_outputs(self, answers: Sequence[AnswerRecord], path: Path) -> None:
        """Write a ``merged_result.jsonl``; see `merged_rows`."""
        write_merged(path, merged_rows(answers))

    def narration_metrics(self, answers: Sequence[AnswerRecord]) -> list[Metric]:
        """Score made-up matches by their right lines; see `narration_metrics`. Of other data nothing is said."""
        return narration_metrics(answers)

    def facts(self, answers: Sequence[AnswerRecord]) -> list[Fact]:
        """Return what made-up matches are scored by; see `narration_facts`. Other data have none."""
        return narration_facts(answers)

    def pair_up(self, test: Path, baseline: Path, data: Path) -> Pairing:
        """Pair two narrations by the scoring windows of the data set.

        Args:
            test: Run folder of the model under test.
            baseline: Run folder, or ``merged_result.jsonl``, of the other.
            data: Folder of the data set.
        """
        windows, problems = load_windows(data)
        if (baseline / "run.json").exists() or baseline.is_dir():
            other = read_run(baseline, ticks=False)
            name, said = other.name, spoken_from_records(other.answers)
            digest = other.manifest.fingerprint_digest
        else:
            said, found = spoken_from_file(baseline)
            name, problems = _name_of_file(baseline), (*problems, *found)
            digest = hashlib.sha256(baseline.read_bytes()).hexdigest()
        judged, uncovered = pairs(spoken_from_records(read_run(test, ticks=False).answers), said, windows)
        notes = [str(problem) for problem in problems]
        notes += [f"window {missing.window.id} is not judged: {missing.reason}" for missing in uncovered]
        missing = tuple(one.window.id for one in uncovered)
        return Pairing(tuple(judged), name, digest[:8], missing, tuple(notes))

    def read_predictions(
        self, format: str, paths: Sequence[Path], data: Path | None
    ) -> tuple[list[Prediction], list[Problem]]:
        """Read the seconds of runs on made-up matches, which have one right line each.

        Raises:
            UsageError: Any other narration is no list of answers.
        """
        runs = [path for path in paths if (path / "run.json").is_file()]
        found = [p for path in runs for p in narration_predictions(read_run(path, ticks=False).answers)]
        if format != "evalkit" or not found:
            _judged_not_scored()
        return found, []

    def score(self, predictions: Sequence[Prediction], format: str) -> ScoreSheet:
        """Score made-up matches by their facts; see `narration_sheet`.

        Raises:
            UsageError: Any other narration has no right answer.
        """
        if format != "evalkit" or not predictions:
            _judged_not_scored()
        return narration_sheet(predictions)

    def metrics(self, sheet: ScoreSheet) -> list[Metric]:
        """Refuse: the figures of a narration are `narration_metrics`.

        Raises:
            UsageError: Always.
        """
        _judged_not_scored()


def _name_of_file(path: Path) -> str:
    """Return the file's name, or its folder's where it has the name that the original gives to all of them."""
    folder = path.resolve().parent.name
    return folder if path.name == InfStreams.output_name and folder else path.stem


def _judged_not_scored() -> NoReturn:
    raise UsageError(
        "inf-streams is judged, not scored, but for runs on made-up matches (--format evalkit RUN): "
        "evalkit judge RUN --against RUN|merged_result.jsonl --judge openai:MODEL"
    )
