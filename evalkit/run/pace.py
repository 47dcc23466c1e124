"""A stream on the wall clock: when each second arrives, which are dropped, and how far the session is behind."""

from __future__ import annotations

__all__ = ["BacklogError", "Clock", "Pace", "PacedStream", "check_pace"]

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from evalkit.errors import EvalkitError, UsageError
from evalkit.records import PacedTick
from evalkit.run.options import RunOptions
from evalkit.stream import Chunk, FrameFeed, StreamSample, Tick
from evalkit.tasks import WINDOW_FRAMES
from evalkit.timing import EXACT, Overload

_JUMP = 0.5
"""Seconds by which a machine's two clocks may part between two seconds of stream; more counts as a jump."""


class BacklogError(EvalkitError):
    """More seconds of stream were waiting than the run allows; fails the sample, not the run."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The clocks a paced run goes by.

    Args:
        now: Seconds on a clock that nobody sets.
        wall: Seconds on the clock that is set by hand, by NTP, and goes on while a machine sleeps.
        sleep: Waits so many seconds.
    """

    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Pace:
    """How streams of a run are paced.

    Args:
        overload: What happens to a second that comes while the session works.
        max_backlog: Seconds of stream that may be waiting or in work; past it the sample fails.
        clock: What time it is.
    """

    overload: Overload = "queue"
    max_backlog: int | None = None
    clock: Clock = field(default_factory=Clock)

    @classmethod
    def of(cls, options: RunOptions, clock: Clock) -> Pace | None:
        """Return the pace a run was asked for, ``None`` where seconds follow one another as fast as they can."""
        return cls(options.overload, options.max_backlog, clock) if options.pace == "realtime" else None


class PacedStream:
    """The seconds of one sample as they arrive; iterating it waits for each and gives those to be worked on.

    A second arrives when its last media moment has passed since the stream began. The stream begins with the first
    call, so that opening a session is not on the clock. A resumed stream begins anew where it goes on.

    Args:
        feed: Where the frames come from; they are decoded ahead, so a second's own decoding waits for nothing.
        pace: How it is paced.
        dropped: Given each second that the overload rule drops, with what is on record of it.
        warn: Told of a clock that jumped, in one line.
    """

    def __init__(
        self,
        feed: FrameFeed,
        pace: Pace,
        dropped: Callable[[Tick, PacedTick], None],
        warn: Callable[[str], None],
    ) -> None:
        self._feed, self._pace, self._dropped, self._warn = feed, pace, dropped, warn
        self._clock = pace.clock
        begun = float(feed.now - feed.schedule.start)
        self._zero = self._clock.now() - begun
        self._parting = self._clock.wall() - self._clock.now()
        self._free = begun
        self._begun = begun
        self._last: int | None = None
        self._left: list[float] = []
        self._backlog = 1

    def elapsed(self) -> float:
        """Return the seconds since the stream began."""
        return self._clock.now() - self._zero

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the seconds to be worked on, each no earlier than it arrived.

        Raises:
            BacklogError: More seconds were waiting than the pace allows.
        """
        while True:
            asked = self.elapsed()
            chunk = next(self._feed, None)
            if chunk is None:
                return
            arrival = self._arrival(chunk.tick.index)
            decoded = self.elapsed()
            if decoded < arrival:
                self._clock.sleep(arrival - decoded)
            now = max(self.elapsed(), arrival)
            self._check_clock(chunk.tick)
            self._check_backlog()
            self._left = [left for left in self._left if left > arrival + EXACT]
            if self._drops(chunk.tick, arrival, now):
                waits = self._pace.overload == "skip-to-latest"
                self._dropped(chunk.tick, PacedTick(arrival=arrival, backlog=len(self._left) + waits))
                self._left.append(now if waits else arrival)
                continue
            late = max(0.0, decoded - max(arrival, asked))
            self._begun, self._backlog = now - late, len(self._left) + 1
            yield replace(chunk, wait_seconds=late)
            self._free, self._last = self.elapsed(), chunk.tick.index
            self._left.append(self._free)

    def record(self, tick: Tick, first_token: float | None) -> PacedTick:
        """Return what is on record of a second, or of a part of one, that has just been worked on.

        Args:
            tick: The second; its arrival is that of the whole second.
            first_token: From the start of work on it to its first token, seconds.
        """
        start, end, arrival = self._begun, self.elapsed(), self._arrival(tick.index)
        first = None if first_token is None else start + first_token
        self._begun = end
        return PacedTick(
            arrival=arrival, start=start, first_token=first, end=end, lag=end - arrival, backlog=self._backlog
        )

    def _arrival(self, index: int) -> float:
        schedule = self._feed.schedule
        return float(schedule[index].arrival - schedule.start)

    def _drops(self, tick: Tick, arrival: float, now: float) -> bool:
        if self._pace.overload == "drop-new":
            return self._free > arrival + EXACT
        if self._pace.overload == "skip-to-latest":
            following = tick.index + 1
            return following < len(self._feed.schedule) and self._arrival(following) <= now + EXACT
        return False

    def _check_backlog(self) -> None:
        """Fail where, while the last second was in work, more had come than may wait with it."""
        most = self._pace.max_backlog
        if most is None or self._last is None:
            return
        schedule, over = self._feed.schedule, self._last + most
        if over < len(schedule) and self._arrival(over) < self._free - EXACT:
            raise BacklogError(
                f"the session fell behind: at media time {schedule[over].end_seconds:g} s more than {most} "
                f"seconds were waiting or in work (--max-backlog {most})"
            )

    def _check_clock(self, tick: Tick) -> None:
        parting = self._clock.wall() - self._clock.now()
        jumped, self._parting = parting - self._parting, parting
        if abs(jumped) > _JUMP:
            self._warn(
                f"the clock jumped by {jumped:+.1f} s at media time {tick.end_seconds:g} s (a machine that slept, "
                "or a clock that was set): lags from there on may be wrong"
            )


def check_pace(options: RunOptions, samples: Sequence[StreamSample]) -> None:
    """Refuse a pace that means nothing, before anything loads.

    Raises:
        UsageError: An overload rule or a bound on the backlog without a pace, or samples that are no streams.
    """
    if options.pace == "none":
        given = [f"--overload {options.overload}"] if options.overload != "queue" else []
        given += [f"--max-backlog {options.max_backlog}"] if options.max_backlog is not None else []
        if given:
            raise UsageError(f"{given[0]} needs --pace realtime: without a pace no second comes too early")
        return
    if options.overload == "drop-new" and options.max_backlog is not None:
        raise UsageError(
            "--max-backlog bounds what waits, and under --overload drop-new nothing waits: leave it out"
        )
    whole = next(
        (sample.id for sample in samples if sample.tags.get("frames") or WINDOW_FRAMES in sample.tags), None
    )
    if whole is not None:
        raise UsageError(f"--pace realtime needs streams, and {whole} is shown as a whole clip: leave --pace out")
