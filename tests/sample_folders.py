"""One sample run through a model into a folder of its own, stopped where a test wants it; no report is made."""

from __future__ import annotations

__all__ = ["SampleFolder", "after"]

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evalkit.models.protocol import StreamingModel
from evalkit.records import RunFolder
from evalkit.run.checkpoint import SessionCheckpoints
from evalkit.run.recorder import Recorder
from evalkit.run.sample import SampleRunner
from evalkit.run.stop import Interrupted
from evalkit.stream import StreamSample

_CLOCKS = ("seconds", "first_token", "token_times", "stages", "peak_mib", "rss_mib", "memory")


class SampleFolder:
    """A run folder without a run: records, checkpoints and warnings of one sample."""

    def __init__(self, path: Path, model: StreamingModel) -> None:
        path.mkdir()
        self.run = RunFolder(path)
        self.model = model
        self.warnings: list[str] = []

    def go(self, sample: StreamSample, stopping: Callable[[], bool] = lambda: False, every: int = 60) -> list[str]:
        """Run the sample, or go on with it; return what a repeated second said differently."""
        with Recorder(self.run) as recorder:
            runner = SampleRunner(
                model=self.model,
                recorder=recorder,
                checkpoints=SessionCheckpoints(self.run.state_path),
                seed=1,
                checkpoint_seconds=every,
                stopping=stopping,
                advanced=lambda seconds: None,
                warn=self.warnings.append,
            )
            with contextlib.suppress(Interrupted):
                runner.run(sample)
            return recorder.differences

    def records(self, path: Path) -> list[dict[str, Any]]:
        """The rows of a file, but for what a clock or the machine gave."""
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return [{key: value for key, value in row.items() if key not in _CLOCKS} for row in rows]


def after(seconds: int) -> Callable[[], bool]:
    """Ask to stop after so many seconds of stream."""
    left = iter([False] * (seconds - 1) + [True])
    return lambda: next(left)
