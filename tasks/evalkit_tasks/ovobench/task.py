"""OVO-Bench as a task of evalkit: the one object that the registry hands out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from evalkit.fetch import Source
from evalkit.records import AnswerRecord
from evalkit.tasks.benchmark import BenchmarkFunctions, QuestionBenchmark
from evalkit.tasks.contract import TaskSettings
from evalkit_tasks.ovobench.data import OvoSettings, check_data, load_data
from evalkit_tasks.ovobench.moments import gold_at
from evalkit_tasks.ovobench.predictions import FORMATS, read_predictions
from evalkit_tasks.ovobench.published import LABELS
from evalkit_tasks.ovobench.scoring import score_predictions
from evalkit_tasks.sources import OVOBENCH
from evalkit_tasks.toy_qa import make_demo

__all__ = ["OvoBench", "task"]


class OvoBench(QuestionBenchmark):
    """The OVO-Bench benchmark (CVPR 2025): 1,640 records, 644 videos, 3,035 scored queries."""

    name: ClassVar[str] = "ovobench"
    published_at: ClassVar[Source] = OVOBENCH
    summary: ClassVar[str] = "OVO-Bench: backward tracing, real-time perception, forward responding (12 sub-tasks)"
    settings: ClassVar[type[TaskSettings]] = OvoSettings
    formats: ClassVar[tuple[str, ...]] = FORMATS
    labels: ClassVar[Mapping[str, str]] = LABELS
    functions: ClassVar[BenchmarkFunctions] = BenchmarkFunctions(
        load=load_data, make_demo=make_demo, check=check_data, read=read_predictions, score=score_predictions
    )

    def gold_at(
        self, answers: Sequence[AnswerRecord], moments: Mapping[tuple[str, str], float]
    ) -> dict[tuple[str, str], str]:
        """Return the gold of REC and CRR probes at other moments, as far as the probes around them tell it."""
        return gold_at(answers, moments)


task = OvoBench()
