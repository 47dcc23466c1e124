"""StreamingBench's proactive output as a streamed setting: asked once at its time, nobody polls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from evalkit.errors import DataError
from evalkit.fetch import Source
from evalkit.tasks import DemoSize
from evalkit.tasks.timed import TimedData, TimedQuestion, TimedTask
from evalkit.utterances import Window
from evalkit_tasks.sources import STREAMINGBENCH
from evalkit_tasks.streamingbench.annotations import find_files, read_files
from evalkit_tasks.streamingbench.videos import bare_name, find_videos
from evalkit_tasks.toy_qa import make_demo

__all__ = ["StreamingBenchTiming"]

_TOLERANCE = 2.0
_AFTER = 4.0
"""The polled setting asks until so many seconds after the gold time."""


class StreamingBenchTiming(TimedTask):
    """StreamingBench's proactive questions, streamed; ``streamingbench`` polls them."""

    name: ClassVar[str] = "streamingbench-timing"
    summary: ClassVar[str] = "StreamingBench proactive output, streamed: when the model speaks unasked"
    tasks: ClassVar[tuple[str, ...]] = ("PO",)
    tolerance: ClassVar[float] = _TOLERANCE
    headline: ClassVar[Literal["f1", "recall"]] = "recall"
    published_at: ClassVar[Source] = STREAMINGBENCH
    source: ClassVar[str] = "an utterance within 2 s of the gold time (count.py's tolerance), precision beside it"
    demo: ClassVar[Callable[[Path, DemoSize | None], None]] = partial(make_demo, "streamingbench-timing")

    def questions(self, data: Path) -> TimedData:
        """Read the proactive questions."""
        bench = read_files(find_files(data))
        videos = find_videos(data)
        questions = tuple(
            TimedQuestion(
                id=one.id,
                task="PO",
                video=videos.path(one.video),
                cluster=bare_name(one.video),
                asked=one.question,
                start=one.at,
                end=max(one.gold_at + _AFTER, one.at + 1.0),
                windows=(Window(one.gold_at, one.gold_at),),
            )
            for one in bench.questions
            if one.task == "PO" and one.gold_at is not None
        )
        if not questions:
            raise DataError(f"{data} has no proactive question of StreamingBench", path=data)
        kept = tuple(problem for problem in bench.problems if problem.file and "proactive" in problem.file.lower())
        return TimedData(questions, kept, bench.digest, f"{len(questions)} proactive questions")
