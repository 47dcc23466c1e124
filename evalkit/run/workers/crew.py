"""The workers of a run as their driver knows them: ready or not, what each has in hand, when it was last heard."""

from __future__ import annotations

__all__ = ["START_SECONDS", "Crew", "Member"]

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from evalkit import errors
from evalkit.errors import DataError, EvalkitError, ModelError, UsageError
from evalkit.run.workers.contract import Broke, Died, Event, Executor, Ready

_STARTS = 2
"""So many starts in a row may fail before a worker is given up."""
_POLL = 0.5
START_SECONDS = 600.0
"""Seconds a start may take at least: a model that is loaded gives no sign of life."""


@dataclass
class Member:
    """One worker.

    Args:
        number: Its number, from 0.
        ready: What it said when it was; ``None`` while it starts, or is gone.
        in_hand: Samples it runs.
        heard: When it was last heard, seconds of ``time.monotonic``.
        failed_starts: How many starts in a row came to nothing.
        why: Why its next end is no surprise.
        lost: It is given up.
    """

    number: int
    ready: Ready | None = None
    in_hand: list[str] = field(default_factory=list)
    heard: float = 0.0
    failed_starts: int = 0
    why: str | None = None
    lost: bool = False

    @property
    def free(self) -> int:
        """How many more samples it can take."""
        if self.ready is None or self.why is not None:  # it is not there, or about to go
            return 0
        return self.ready.streams - len(self.in_hand)

    def __str__(self) -> str:
        return f"worker {self.number + 1}" + ("" if self.ready is None else f" on {self.ready.host}")


class Crew:
    """Starts workers, ends those that give no sign of life, and gives up those that cannot be started.

    Args:
        executor: Where they live.
        count: How many.
        stall_seconds: Silence that is taken for a hang.
        notify: Told, one line each, what a reader of the terminal may want to know.
    """

    def __init__(
        self, executor: Executor, count: int, stall_seconds: float, notify: Callable[[str], None]
    ) -> None:
        self._executor, self._stall, self._notify = executor, stall_seconds, notify
        self.members = [Member(number) for number in range(count)]
        self._first: Ready | None = None

    def start(self) -> Ready:
        """Start all and wait until each is ready or given up.

        Returns:
            What the first one said.

        Raises:
            EvalkitError: None can be started, or they would not all make the same run.
        """
        begun = time.monotonic()
        for member in self.members:
            self._start(member)
        while any(member.ready is None and not member.lost for member in self.members):
            for _ in self.events():
                """Nothing runs yet, so all that comes is about starting."""
        there = [member.ready for member in self.members if member.ready is not None]
        hosts = ", ".join(dict.fromkeys(one.host for one in there))
        slowest = max(one.seconds for one in there)
        self._notify(
            f"{len(there)} workers ready after {time.monotonic() - begun:.1f} s "
            f"(model and data of the slowest {slowest:.1f} s), on {hosts}"
        )
        return there[0]

    def events(self) -> Iterator[tuple[Member, Event]]:
        """Yield what has come, waiting a moment; starts and ends of workers are seen to before they are told.

        A ``Died`` comes with what the worker had in hand, after a new one was started in its place.

        Raises:
            EvalkitError: No worker is left, or a new one would make another run.
        """
        for number, event in self._executor.poll(_POLL):
            member = self.members[number]
            member.heard = time.monotonic()
            if isinstance(event, Ready):
                self._welcome(member, event)
            elif isinstance(event, Broke):
                self._broke(member, event)
            elif isinstance(event, Died):
                yield member, Died(member.why or event.reason)
                self._replace(member, member.why or event.reason)
            else:
                yield member, event
        self._end_silent()

    def _start(self, member: Member) -> None:
        member.ready, member.why, member.in_hand = None, None, []
        member.heard = time.monotonic()
        self._executor.start(member.number)

    def _welcome(self, member: Member, ready: Ready) -> None:
        member.ready, member.failed_starts = ready, 0
        self._first = self._first or ready
        if ready.lacks and ready.host != socket.gethostname():
            named = ", ".join(ready.missing)
            more = f" and {ready.lacks - len(ready.missing)} more" if ready.lacks > len(ready.missing) else ""
            raise DataError(f"host {ready.host} lacks {named}{more}: put the data there, at the same place")
        _check_same(self._first, ready)

    def _broke(self, member: Member, event: Broke) -> None:
        """Raise what ends the run; what is only this worker's own is told when it is gone."""
        if event.device:
            member.why = f"lost its device: {event.text}"
            return
        _raise(event, member)

    def _replace(self, member: Member, reason: str) -> None:
        member.failed_starts += member.ready is None
        member.lost = member.failed_starts >= _STARTS
        if not member.lost:
            self._start(member)
            return
        member.ready, member.in_hand = None, []
        self._notify(f"warning: worker {member.number + 1} cannot be started and is given up: {reason}")
        if all(one.lost for one in self.members):
            raise ModelError(f"no worker could be started: {reason}")

    def _end_silent(self) -> None:
        """End workers that should be at work and have given no sign of it for too long."""
        now = time.monotonic()
        for member in self.members:
            waited_for = not member.lost and member.why is None and (member.ready is None or bool(member.in_hand))
            patience = self._stall if member.ready is not None else max(self._stall, START_SECONDS)
            if waited_for and now - member.heard > patience:
                member.why = f"gave no sign of life for {patience:g} s (--stall-seconds)"
                self._executor.kill(member.number)


def _check_same(first: Ready, other: Ready) -> None:
    """Refuse workers that would make different runs.

    Raises:
        UsageError: Versions or fingerprints differ.
    """
    for what, ours, theirs in (
        ("versions", first.versions, other.versions),
        ("runs", first.fingerprint, other.fingerprint),
    ):
        differing = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
        if differing:
            said = ", ".join(
                f"{key} {ours.get(key)!r} on {first.host}, {theirs.get(key)!r} on {other.host}"
                for key in differing[:3]
            )
            raise UsageError(f"workers have different {what}: {said}: install and lay out the same everywhere")


def _raise(event: Broke, member: Member) -> NoReturn:
    """Raise what a worker met, as one process would have."""
    kind = getattr(errors, event.kind, None)
    if isinstance(kind, type) and issubclass(kind, EvalkitError):
        raise kind(event.text)
    if event.number is not None:
        raise OSError(event.number, os.strerror(event.number))
    raise RuntimeError(f"{member} met {event.kind}: {event.text}\n{event.trace}")
