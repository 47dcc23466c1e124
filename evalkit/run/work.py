"""What a run gives to whoever runs its samples: this process alone, or workers."""

from __future__ import annotations

__all__ = ["Hands", "Watch", "Work"]

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from evalkit.records import AnswerRecord, FailedSample, Latency, TickRecord
from evalkit.run.checkpoint import SessionCheckpoints
from evalkit.run.recorder import Recorder
from evalkit.run.stop import StopRequest
from evalkit.stream import StreamSample

Watch = Callable[[AnswerRecord, TickRecord], None]
"""Somebody who is told each spoken second as it is put on record."""


@dataclass(frozen=True)
class Work:
    """The samples of a run, where what comes of them goes, and who is told.

    Args:
        samples: What is to run, finished ones among them.
        state: Folder of its checkpoints.
        recorder: Its records.
        checkpoints: Its checkpoints.
        fail: Puts a failed sample into ``run.json``.
        warn: Puts a warning there.
        notify: Tells the person at the terminal.
        stop: Whether the run was asked to stop.
        advanced: Told the stream seconds that have passed.
        watch: Told each spoken second as it is put on record.
    """

    samples: tuple[StreamSample, ...]
    state: Path
    recorder: Recorder
    checkpoints: SessionCheckpoints
    fail: Callable[[FailedSample], None]
    warn: Callable[[str], None]
    notify: Callable[[str], None]
    stop: StopRequest
    advanced: Callable[[float], None]
    watch: Watch | None = None


class Hands(Protocol):
    """Whoever runs the samples of a run.

    Attributes:
        repeats: Whether a sample may be gone on with by somebody else while the run goes on.
        latency: What the seconds of a run are that has one sample at a time under way.
    """

    repeats: bool
    latency: Latency

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The fingerprint of the run, with the model loaded."""

    @property
    def host(self) -> dict[str, Any]:
        """The machine, as a run's record shows it."""

    def run(self, work: Work) -> None:
        """Run samples until each is done or failed; those that are on record as such are left out.

        Raises:
            Interrupted: The run was asked to stop.
            StopRun: A session ended it in good order.
            EvalkitError: It cannot go on.
        """
