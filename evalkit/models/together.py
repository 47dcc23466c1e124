"""Streams that advance together: each runs until it needs the network, then all that wait are served at once."""

from __future__ import annotations

__all__ = ["LATER", "Together"]

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

T = TypeVar("T")
Serve = Callable[[Sequence[Any]], Sequence[Any]]
"""Takes requests that wait and returns what each gets; an exception among them is raised where it was asked."""


@dataclass(slots=True, eq=False)
class _Family:
    """Calls of one stream that are under way at once, and the stream that waits for all of them."""

    parent: greenlet
    left: int
    results: list[Any]
    error: BaseException | None = None


@dataclass(slots=True, eq=False)
class _Waiting:
    """A stream that waits for the network."""

    stream: greenlet
    request: Any


@dataclass
class Together:
    """Runs several streams in one thread, in turns, and serves what they ask of the network in batches.

    A stream runs undisturbed until it calls `ask`, `meet`, `sleep` or `gather`. When every stream waits, ``serve``
    is given all that is asked. Nothing runs in parallel, so streams need no locks.

    Args:
        serve: Carries out a batch of requests.
    """

    serve: Serve
    _hub: greenlet | None = None
    _ready: deque[tuple[greenlet, Any]] = field(default_factory=deque)
    _waiting: list[_Waiting] = field(default_factory=list)
    _met: list[greenlet] = field(default_factory=list)
    _sleeping: list[tuple[float, int, greenlet]] = field(default_factory=list)
    _families: dict[greenlet, tuple[_Family, int]] = field(default_factory=dict)
    _alive: set[greenlet] = field(default_factory=set)
    _number: itertools.count[int] = field(default_factory=itertools.count)

    def run(self, jobs: Iterable[Callable[[], None] | None], at_once: int) -> None:
        """Run jobs, each as a stream, so many at once; a job begins when one before it has ended.

        Args:
            jobs: What to run, in this order; ``None`` where there is nothing yet and may be later.
            at_once: How many at once.

        Raises:
            BaseException: What a job raised; the others are unwound, wherever they stand.
        """
        self._hub = getcurrent()
        coming = iter(jobs)
        try:
            while True:
                while self._streams < at_once and (job := next(coming, None)) is not None:
                    self._begin(job)
                if not self._turn():
                    return
                while self._ready:
                    self._go_on(*self._ready.popleft())
        finally:
            self._end_all()

    @property
    def _streams(self) -> int:
        """Jobs under way, without the calls that one of them makes at once."""
        return len(self._alive) - len(self._families)

    def ask(self, request: Any) -> Any:
        """Wait for the network, in a stream, and return what it gives.

        Outside a stream, as where a model is warmed up, the request is served at once.
        """
        if getcurrent() not in self._alive:
            return _unpacked(self.serve([request])[0])
        self._waiting.append(_Waiting(getcurrent(), request))
        return _unpacked(self._park())

    def meet(self) -> None:
        """Let the other streams go on until none wants the network: each waits here, sleeps or has ended."""
        if getcurrent() in self._alive:
            self._met.append(getcurrent())
            self._park()

    def sleep(self, seconds: float) -> None:
        """Let the other streams go on for so many seconds at least."""
        if getcurrent() not in self._alive:
            time.sleep(seconds)
            return
        due = time.monotonic() + seconds
        heapq.heappush(self._sleeping, (due, next(self._number), getcurrent()))
        self._park()

    def gather(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Make calls of one stream as if each were a stream of its own; return their results in order.

        Raises:
            Exception: The first that one of them raised, when all have ended.
        """
        if getcurrent() not in self._alive or len(calls) < 2:
            return [call() for call in calls]
        family = _Family(getcurrent(), len(calls), [None] * len(calls))
        for number, call in enumerate(calls):
            child = self._begin(call)
            self._families[child] = (family, number)
        self._park()
        if family.error is not None:
            raise family.error
        return family.results

    def _begin(self, job: Callable[[], Any]) -> greenlet:
        stream = greenlet(job, parent=self._hub)
        self._alive.add(stream)
        self._ready.append((stream, _START))
        return stream

    def _park(self) -> Any:
        assert self._hub is not None
        return self._hub.switch()

    def _turn(self) -> bool:
        """Make streams ready that were not; return whether there are any."""
        if self._ready:
            return True
        now = time.monotonic()
        while self._sleeping and (self._sleeping[0][0] <= now):
            self._ready.append((heapq.heappop(self._sleeping)[2], None))
        if self._ready:
            return True
        if self._waiting:
            served, self._waiting = self._waiting, []
            results = self.serve([one.request for one in served])
            for one, result in zip(served, results, strict=True):
                if result is LATER:
                    self._waiting.append(one)
                else:
                    self._ready.append((one.stream, result))
            return True
        if self._met:
            self._ready.extend((stream, None) for stream in self._met)
            self._met.clear()
            return True
        if self._sleeping:
            time.sleep(max(0.0, self._sleeping[0][0] - now))
            return True
        return False

    def _go_on(self, stream: greenlet, value: Any) -> None:
        """Let a stream run until it waits again or ends; raise what ended it."""
        family, number = self._families.get(stream, (None, 0))
        try:
            result = stream.switch() if value is _START else stream.switch(value)
        except Exception as error:
            self._alive.discard(stream)
            if family is None:
                raise
            family.error = family.error or error
            self._ended(stream, family)
            return
        if stream.dead:
            self._alive.discard(stream)
            if family is not None:
                family.results[number] = result
                self._ended(stream, family)

    def _ended(self, child: greenlet, family: _Family) -> None:
        del self._families[child]
        family.left -= 1
        if not family.left:
            self._ready.append((family.parent, None))

    def _end_all(self) -> None:
        """Unwind every stream that has not ended, so that each frees what it holds."""
        for stream in list(self._alive):
            if stream:
                stream.throw(GreenletExit)
        for kept in (self._alive, self._ready, self._waiting, self._met, self._sleeping, self._families):
            kept.clear()
        self._hub = None


_START = object()
LATER = object()
"""Given instead of a result: the request waits for the next batch."""


def _unpacked(result: Any) -> Any:
    if isinstance(result, BaseException):
        raise result
    return result
