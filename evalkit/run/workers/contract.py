"""What a driver and the workers of a run say to each other, and what stands between them: a small executor.

A driver submits a sample with its state and gets events. It alone writes the run folder. Three ways lie behind the
contract: processes of this machine (`local`), actors of a Ray cluster (`ray`), and shards, which need none of it.
"""

from __future__ import annotations

__all__ = [
    "Alive",
    "Assignment",
    "Broke",
    "Died",
    "Ended",
    "Event",
    "Executor",
    "Halted",
    "Passed",
    "PutAnswer",
    "PutTick",
    "Ready",
    "Saved",
    "Stopped",
    "Warned",
    "WorkerSpec",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from evalkit.models.entry import ModelEntry
from evalkit.run.options import RunOptions
from evalkit.run.recorder import Moment, Said


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker is started with.

    Args:
        options: Those of the run; the data folder is absolute.
        entry: The model, where it is none of the catalog.
        threads: Cores it computes on; ``None`` for what its surroundings say.
        gpus: The GPUs it sees, as in ``CUDA_VISIBLE_DEVICES``; ``None`` for what its surroundings say.
    """

    options: RunOptions
    entry: ModelEntry | None = None
    threads: int | None = None
    gpus: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """A sample with what is on record of it.

    Args:
        sample: Sample id.
        replies: Text by query, as they stand on record.
        checkpoints: Folder of checkpoints, where the worker has the driver's disk; it reads there and lays aside
            what the driver puts in place. ``None`` where it has not: states then go by wire.
        state: The last checkpoint, packed, where states go by wire and there is one.
    """

    sample: str
    replies: Mapping[str, str] = field(default_factory=dict)
    checkpoints: Path | None = None
    state: bytes | None = None


class Ready(NamedTuple):
    """A worker has its model.

    Args:
        host: Its machine.
        pid: Its process there.
        born: When that process began, seconds since 1970: a process id may be used again.
        seconds: What its start took.
        device: Where the model computes.
        facts: Its machine as a run's record shows it.
        versions: Of the packages that can change a number.
        fingerprint: Of the run as this worker would make it.
        missing: Videos that are not there, as many as are named; ``lacks`` counts all.
        lacks: How many videos are not there.
        streams: Samples it runs at once.
        node: Its machine's number in a cluster that has such.
    """

    host: str
    pid: int
    born: float
    seconds: float
    device: str
    facts: dict[str, Any]
    versions: dict[str, str]
    fingerprint: dict[str, Any]
    missing: tuple[str, ...]
    lacks: int
    streams: int
    node: str = ""


class PutTick(NamedTuple):
    """A second to be put on record: what tells it apart, and its line."""

    moment: Moment
    line: bytes


class PutAnswer(NamedTuple):
    """A reply to be put on record: what is remembered of it, and its line."""

    said: Said
    line: bytes


class Passed(NamedTuple):
    """Seconds of a sample's stream have passed."""

    sample: str
    seconds: float


class Saved(NamedTuple):
    """A checkpoint: laid aside in ``part``, or packed in ``state`` where there is no common disk."""

    sample: str
    tick: int
    part: Path | None
    state: bytes | None


class Warned(NamedTuple):
    """Something to be put on record as a warning."""

    text: str


class Ended(NamedTuple):
    """A sample is done, or broke for a reason of its own; ``error`` is that error's kind."""

    sample: str
    status: Literal["done", "failed"]
    reason: str = ""
    error: str = ""


class Stopped(NamedTuple):
    """A sample was left where it is, since the run was asked to stop."""

    sample: str


class Halted(NamedTuple):
    """A session ends the whole run in good order."""

    reason: str


class Alive(NamedTuple):
    """Long work goes on."""


class Broke(NamedTuple):
    """A worker met an error that costs more than a sample, and ends.

    Args:
        kind: Name of the error's class.
        text: What it says, in one line.
        trace: Its traceback.
        device: Whether it lost its device: another worker may do better.
        number: Of an error of the system, such as a full disk; ``None`` for any other.
    """

    kind: str
    text: str
    trace: str
    device: bool
    number: int | None = None


class Died(NamedTuple):
    """A worker is gone; nothing of it comes after this."""

    reason: str


Event = Ready | PutTick | PutAnswer | Passed | Saved | Warned | Ended | Stopped | Halted | Alive | Broke | Died


class Executor(Protocol):
    """Where workers live. They are numbered from 0; what becomes of one is told by its events alone."""

    def start(self, worker: int) -> None:
        """Start a worker that is not there, with an empty memory; ``Ready`` follows, or ``Broke`` or ``Died``."""

    def submit(self, worker: int, assignment: Assignment) -> bool:
        """Give a worker a sample; say whether it could be told (if not, ``Died`` follows)."""

    def stop(self) -> None:
        """Ask all workers to leave their samples in good order; each sample is ``Stopped`` or ``Ended``."""

    def poll(self, seconds: float) -> Sequence[tuple[int, Event]]:
        """Return what has come, with who sent it, waiting at most so long for something."""

    def kill(self, worker: int) -> None:
        """End a worker at once, even one that is stopped; ``Died`` follows."""

    def close(self) -> None:
        """Let every worker end, and end those that do not."""
