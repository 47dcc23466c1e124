"""StreamingBench as a task of evalkit: the one object that the registry hands out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from evalkit.fetch import Source
from evalkit.tasks.benchmark import BenchmarkFunctions, QuestionBenchmark
from evalkit.tasks.contract import TaskSettings
from evalkit_tasks.sources import STREAMINGBENCH
from evalkit_tasks.streamingbench.data import SbSettings, check_data, load_data
from evalkit_tasks.streamingbench.predictions import FORMATS, read_predictions
from evalkit_tasks.streamingbench.published import LABELS
from evalkit_tasks.streamingbench.scoring import score_predictions
from evalkit_tasks.toy_qa import make_demo

__all__ = ["StreamingBench", "task"]


class StreamingBench(QuestionBenchmark):
    """The StreamingBench benchmark (2024): 900 videos, 4,500 questions, 4,301 of them in its tables."""

    name: ClassVar[str] = "streamingbench"
    published_at: ClassVar[Source] = STREAMINGBENCH
    summary: ClassVar[str] = "StreamingBench: real-time, omni-source and contextual understanding (18 sub-tasks)"
    settings: ClassVar[type[TaskSettings]] = SbSettings
    formats: ClassVar[tuple[str, ...]] = FORMATS
    labels: ClassVar[Mapping[str, str]] = LABELS
    functions: ClassVar[BenchmarkFunctions] = BenchmarkFunctions(
        load=load_data, make_demo=make_demo, check=check_data, read=read_predictions, score=score_predictions
    )


task = StreamingBench()
