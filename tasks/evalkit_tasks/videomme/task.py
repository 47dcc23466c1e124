"""Video-MME as a task: the one object that the rest of evalkit sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from evalkit.fetch import Source
from evalkit.tasks.benchmark import BenchmarkFunctions, QuestionBenchmark
from evalkit.tasks.contract import TaskSettings
from evalkit_tasks.sources import VIDEOMME
from evalkit_tasks.toy_qa import make_demo
from evalkit_tasks.videomme.data import VideoMmeSettings, check_data, load_samples
from evalkit_tasks.videomme.predictions import FORMATS, read_predictions
from evalkit_tasks.videomme.scoring import LABELS, score_predictions

__all__ = ["VideoMme"]


class VideoMme(QuestionBenchmark):
    """Video-MME (arXiv 2405.21075)."""

    name: ClassVar[str] = "videomme"
    published_at: ClassVar[Source] = VIDEOMME
    summary: ClassVar[str] = "Video-MME: 2,700 questions on 900 videos of 11 s to an hour, subtitles if wanted"
    settings: ClassVar[type[TaskSettings]] = VideoMmeSettings
    formats: ClassVar[tuple[str, ...]] = FORMATS
    labels: ClassVar[Mapping[str, str]] = LABELS
    functions: ClassVar[BenchmarkFunctions] = BenchmarkFunctions(
        load=load_samples,
        make_demo=make_demo,
        check=check_data,
        read=read_predictions,
        score=score_predictions,
    )
