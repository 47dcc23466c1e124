"""LongVideoBench as a task: the one object that the rest of evalkit sees."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import ClassVar

from evalkit.fetch import Source
from evalkit.tasks.benchmark import BenchmarkFunctions, QuestionBenchmark
from evalkit.tasks.contract import Prediction, TaskSettings
from evalkit_tasks.longvideobench.annotations import LABELS
from evalkit_tasks.longvideobench.data import LongVideoBenchSettings, check_data, load_samples
from evalkit_tasks.longvideobench.predictions import FORMATS, read_predictions
from evalkit_tasks.longvideobench.scoring import score_predictions, submission
from evalkit_tasks.sources import LONGVIDEOBENCH
from evalkit_tasks.toy_qa import make_demo

__all__ = ["LongVideoBench"]


class LongVideoBench(QuestionBenchmark):
    """LongVideoBench (arXiv 2407.15754)."""

    name: ClassVar[str] = "longvideobench"
    published_at: ClassVar[Source] = LONGVIDEOBENCH
    summary: ClassVar[str] = "LongVideoBench: referring questions on clips of 8 s to an hour, subtitles if wanted"
    settings: ClassVar[type[TaskSettings]] = LongVideoBenchSettings
    formats: ClassVar[tuple[str, ...]] = FORMATS
    labels: ClassVar[Mapping[str, str]] = LABELS
    functions: ClassVar[BenchmarkFunctions] = BenchmarkFunctions(
        load=load_samples,
        make_demo=make_demo,
        check=check_data,
        read=read_predictions,
        score=score_predictions,
    )

    def submissions(self, predictions: Sequence[Prediction]) -> dict[str, str]:
        """Return the file that the hidden test set is handed in as: raw reply by question id."""
        text = json.dumps(submission(predictions), ensure_ascii=False, indent=1)
        return {"longvideobench_test_for_submission.json": text}
