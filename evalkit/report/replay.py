"""Recorded runs behind a virtual clock: what would have been late, from `ticks.jsonl` alone, on any machine.

Service times are taken as recorded and only their waiting is computed anew (`evalkit.timing.queue`). Where a rule
needs service times that nobody measured, the result says so and names the live run that would settle it.
"""

from __future__ import annotations

__all__ = [
    "FirstTokens",
    "MissRate",
    "Replay",
    "ReplaySettings",
    "Stream",
    "at_speed",
    "replay_run",
    "replay_ticks",
]

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from evalkit.records import TickRecord, TickTable
from evalkit.report.latency import WINDOWS, elapsed
from evalkit.report.per_question import works_when_asked
from evalkit.report.runs import Run
from evalkit.timing import (
    MINUTE,
    Percentiles,
    QueueTimes,
    ReplaySettings,
    accepts_tail,
    binomial_interval,
    first_behind,
    percentiles,
    run_queue,
)

Floats = NDArray[np.float64]

# Blocks fewer than these have no bootstrap worth the name.
_LEAST_BLOCKS = 5
_EXACT = 1e-6
# What a second spends before its prefill begins, in the order of work.
_BEFORE_PREFILL = ("decode", "preprocess", "vision_encode", "compress", "cache", "retrieve")


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """One sample behind the clock; arrays of shape ``(ticks,)``.

    Args:
        sample: Its id.
        ticks: Its ticks in order.
        media: Seconds between arrivals at the replayed frame rate.
        service: Service times on the replayed hardware, seconds.
        times: When each tick arrived, was begun and done.
    """

    sample: str
    ticks: TickTable
    media: Floats
    service: Floats
    times: QueueTimes

    @property
    def newest(self) -> Floats:
        """Age of the newest frame of each tick when it arrives, seconds; NaN where it has no frame."""
        frames = self.ticks.whole["frames"]
        age: Floats = np.divide(self.media, frames, out=np.full(self.media.size, np.nan), where=frames > 0)
        return age


@dataclass(frozen=True, slots=True)
class MissRate:
    """Share of seconds that were late or dropped.

    Args:
        seconds: Seconds counted.
        misses: Of them late or dropped.
        low: Lower end of the 95 % interval; ``None`` where there is none.
        high: Upper end.
        method: ``block bootstrap``, ``binomial``, or ``none``.
        blocks: Minutes of stream resampled.
        supports_one_percent: Whether LoadGen's early stopping accepts a miss rate of at most 1 % at 99 %.
    """

    seconds: int
    misses: int
    low: float | None
    high: float | None
    method: str
    blocks: int
    supports_one_percent: bool

    @property
    def rate(self) -> float | None:
        """The share."""
        return self.misses / self.seconds if self.seconds else None


@dataclass(frozen=True, slots=True)
class FirstTokens:
    """The three times to first token, seconds; never one figure.

    Args:
        engine: Prefill start to first token.
        request: Arrival of the second to first token: waiting, ingest and engine.
        perceptual: Its last frame to first token.
    """

    engine: Percentiles | None
    request: Percentiles | None
    perceptual: Percentiles | None


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """A run behind the virtual clock.

    Args:
        name: What tables call the run.
        settings: The clock.
        ticks: Seconds on record.
        stretch: Time between arrivals over media time.
        streams: Samples behind the clock; empty where ``withheld``.
        chunk: Seconds between arrivals.
        deadline: Lag beyond which a second is late.
        withheld: Why no figure of the clock is given, one line per reason.
        notes: What the figures take for granted, one line each.
    """

    name: str
    settings: ReplaySettings
    ticks: TickTable
    stretch: float
    streams: tuple[Stream, ...]
    chunk: float
    deadline: float
    withheld: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def lag(self) -> Floats:
        """Lag of every second that was not dropped."""
        lags = self._joined([stream.times.lag for stream in self.streams])
        return lags[np.isfinite(lags)]

    @property
    def missed(self) -> NDArray[np.bool_]:
        """Which seconds were late or dropped."""
        return self._joined([stream.times.missed(self.deadline) for stream in self.streams]).astype(bool)

    @property
    def dropped(self) -> int:
        """Seconds never worked on."""
        return sum(int(stream.times.dropped.sum()) for stream in self.streams)

    @property
    def backlog_max(self) -> int:
        """Most seconds of one stream that were waiting or in work at a time."""
        return max((int(stream.times.backlog.max(initial=0)) for stream in self.streams), default=0)

    @property
    def factors(self) -> Floats:
        """Real-time factor of every second on record, whole stream or not; NaN where it has no length or time."""
        media, service = self.ticks.media * self.stretch, self.ticks.total / self.settings.hardware
        known = (media > 0) & (service >= 0) & ~self.ticks.dropped
        factors: Floats = np.divide(service, media, out=np.full(media.size, np.nan), where=known)
        return factors

    @property
    def overall_factor(self) -> float | None:
        """Sum of service times over sum of media times."""
        known = np.isfinite(self.factors)
        media = float(self.ticks.media[known].sum()) * self.stretch
        return float(self.ticks.total[known].sum()) / self.settings.hardware / media if media else None

    @property
    def warm(self) -> NDArray[np.bool_]:
        """Which seconds lie in the warm-up of their stream."""
        ends = [stream.ticks.end - stream.ticks.start[:1] for stream in self.streams]
        return self._joined(ends) <= self.settings.warm_up + _EXACT

    def by_window(self) -> tuple[tuple[float, float, Percentiles | None], ...]:
        """Return the real-time factors in windows of stream time, ``(from, to, percentiles)``."""
        middles = elapsed(self.ticks) - self.ticks.media / 2
        factors = self.factors
        return tuple(
            (low, high, percentiles(factors[(low <= middles) & (middles < high)])) for low, high in WINDOWS
        )

    def first_tokens(self) -> FirstTokens:
        """Return the times to first token of seconds that have one; those with waiting leave out dropped ones."""
        before = sum((self.ticks.stage(stage) for stage in _BEFORE_PREFILL), np.zeros(len(self.ticks)))
        engine = np.maximum(self.ticks.real["first_token"] - before, 0) / self.settings.hardware
        waited = [
            stream.times.begin - stream.times.arrival + stream.ticks.real["first_token"] / self.settings.hardware
            for stream in self.streams
        ]
        seen = [after + stream.newest for after, stream in zip(waited, self.streams, strict=True)]
        return FirstTokens(percentiles(engine), percentiles(self._joined(waited)), percentiles(self._joined(seen)))

    def per_output_token(self) -> Percentiles | None:
        """Return the time per output token after the first (vLLM's TPOT) of seconds with two or more.

        To the last token where its time is on record, else to the end of work on the second.
        """
        made, last = self.ticks.whole["generated"], self.ticks.token_times.last()
        ended = np.where(np.isfinite(last), last, self.ticks.total)
        after = (ended - self.ticks.real["first_token"]) / self.settings.hardware
        return percentiles(np.divide(after, made - 1, out=np.full(made.size, np.nan), where=made > 1))

    def between_tokens(self) -> Percentiles | None:
        """Return the time from token to token within a second (ITL); ``None`` where none is on record."""
        return percentiles(self.ticks.token_times.gaps() / self.settings.hardware)

    def staleness(self) -> Percentiles | None:
        """Return how old the newest frame was when a second's words were out, of seconds that said something."""
        found = [np.where(s.ticks.whole["generated"] > 0, s.times.lag + s.newest, np.nan) for s in self.streams]
        return percentiles(self._joined(found))

    def behind_at(self) -> float | None:
        """Return the earliest stream time at which the real-time factor of a minute exceeds one, in any stream."""
        found = [first_behind(stream.media, stream.service) for stream in self.streams]
        return min((time for time in found if time is not None), default=None)

    @property
    def horizon(self) -> float:
        """Length of the longest stream, seconds at the replayed frame rate."""
        return max((float(stream.media.sum()) for stream in self.streams), default=0.0)

    def miss_rate(self, *, warm_up: bool) -> MissRate:
        """Return the misses of the warm-up, or of all that follows it, with their interval.

        Misses follow on one another, so minutes of stream are resampled; where there are too few of them, or none
        differs, the interval is the exact binomial one, which takes seconds for independent.
        """
        from evalkit.stats import bootstrap_by_cluster

        chosen = self.warm == warm_up
        missed = self.missed[chosen]
        seconds, misses = int(missed.size), int(missed.sum())
        supported = accepts_tail(misses, seconds - misses)
        blocks = self._blocks()[chosen]
        numbers, places = np.unique(blocks, return_inverse=True)
        if not seconds:
            return MissRate(0, 0, None, None, "none", 0, False)
        if numbers.size >= _LEAST_BLOCKS and 0 < misses < seconds:
            sums = np.stack([np.bincount(places, missed), np.bincount(places)], axis=1)
            found = bootstrap_by_cluster(sums, lambda totals: totals[:, 0] / totals[:, 1], n=seconds)
            return MissRate(
                seconds, misses, found.low, found.high, "block bootstrap", int(numbers.size), supported
            )
        low, high = binomial_interval(misses, seconds)
        return MissRate(seconds, misses, low, high, "binomial", int(numbers.size), supported)

    def _blocks(self) -> NDArray[np.int64]:
        """Number the minutes of stream, those of each sample by themselves."""
        numbers, base = [], 0
        for stream in self.streams:
            minutes = ((stream.times.arrival - stream.media / 2) // MINUTE).astype(np.int64)
            numbers.append(minutes + base)
            base += int(minutes.max(initial=0)) + 1
        return np.concatenate(numbers) if numbers else np.empty(0, np.int64)

    @staticmethod
    def _joined(parts: Sequence[NDArray[np.generic]]) -> Floats:
        return np.concatenate(parts).astype(np.float64) if parts else np.empty(0, np.float64)


def replay_ticks(
    name: str, ticks: Sequence[TickRecord], settings: ReplaySettings, lost: Sequence[str] = ()
) -> Replay:
    """Put recorded seconds behind the virtual clock.

    Args:
        name: What tables call the run.
        ticks: Its ticks, in any order of samples.
        settings: The clock.
        lost: What is known to be gone, one line each; which seconds is not known, so no figure of the clock is.
    """
    table = TickTable.of(ticks)
    order = np.lexsort((table.end, table.start, table.whole["second"], table.sample))
    table = table.where(order)
    rows = table.by_sample()
    stretch, notes, lacking = _stretch(table, settings)
    chunk = stretch * float(table.media.max(initial=0.0))
    deadline = chunk if settings.deadline is None else settings.deadline
    withheld = [
        *lacking,
        *lost,
        *(line for sample, places in rows.items() for line in _unfit(sample, table.where(places))),
    ]
    if not len(table):
        withheld.append("no second is on record")
    elif not withheld and not (table.total > 0).any():
        withheld.append("no second has a service time on record")
    streams: list[Stream] = []
    if not withheld:
        streams = [_stream(sample, table.where(places), settings, stretch) for sample, places in rows.items()]
    if settings.hardware != 1:
        notes.append(f"every stage is taken to be {settings.hardware:g} times as fast as recorded")
    dropped = sum(int(stream.times.dropped.sum()) for stream in streams)
    if dropped:
        notes.append(
            f"{dropped} seconds are dropped under {settings.overload}: what follows them would have had another "
            "context, whose service times nobody measured"
        )
    return Replay(name, settings, table, stretch, tuple(streams), chunk, deadline, tuple(withheld), tuple(notes))


def replay_run(run: Run, settings: ReplaySettings) -> Replay:
    """Put a run behind the virtual clock; records of it that are damaged or gone cost the clock's figures.

    Args:
        run: The run.
        settings: The clock.
    """
    records = run.records
    lost = [f"{line}: a second is lost" for line in records.damaged]
    lost += [f"{sample}: records that were there are gone" for sample in records.missing]
    if works_when_asked(records):
        lost.append("its model sees the frames only with the questions: seconds of stream cost it nothing")
    return replay_ticks(run.timed_label, records.ticks, settings, lost)


def at_speed(replay: Replay, speed: float) -> Replay:
    """Return the same seconds on a machine so many times as fast as the recorded one.

    Args:
        replay: The run behind the clock.
        speed: Of the machine over that of the recording, > 0.
    """
    settings = replace(replay.settings, hardware=speed)
    streams = []
    for stream in replay.streams:
        service = stream.ticks.total / speed
        times = run_queue(stream.times.arrival, service, settings.overload)
        streams.append(replace(stream, service=service, times=times))
    return replace(replay, settings=settings, streams=tuple(streams))


def _stretch(table: TickTable, settings: ReplaySettings) -> tuple[float, list[str], list[str]]:
    """Return by what the time between arrivals is multiplied, what that takes for granted, and what it lacks."""
    media, frames = float(table.media.sum()), int(table.whole["frames"].sum())
    if settings.fps is None:
        return 1.0, [], []
    if not media or not frames:
        return 1.0, [], [f"no frame rate is on record to be replayed at {settings.fps:g} fps"]
    recorded = frames / media
    if abs(recorded - settings.fps) < _EXACT * recorded:
        return 1.0, [], []
    note = (
        f"frames recorded at {recorded:g} fps arrive at {settings.fps:g} fps in the same chunks: a memory window "
        "in seconds would hold other frames, whose service times nobody measured"
    )
    return recorded / settings.fps, [note], []


def _stream(sample: str, ticks: TickTable, settings: ReplaySettings, stretch: float) -> Stream:
    service = ticks.total / settings.hardware
    arrival = np.maximum.accumulate((ticks.end - ticks.start[0]) * stretch)
    return Stream(sample, ticks, ticks.media * stretch, service, run_queue(arrival, service, settings.overload))


def _unfit(sample: str, ticks: TickTable) -> list[str]:
    """Return why the ticks of a sample, in order, are no whole stream: one is missing, overlaps or has no time."""
    seconds, total = ticks.whole["second"], ticks.total
    found = []
    steps = np.diff(seconds, prepend=-1)
    missing = np.flatnonzero(steps > 1)
    if missing.size:
        spans = [
            (int(seconds[place] - steps[place]) + 1, int(seconds[place]) - 1) for place in missing[:3].tolist()
        ]
        named = ", ".join(f"{low}" if low == high else f"{low} to {high}" for low, high in spans)
        count = int((steps[missing] - 1).sum())
        lost = "1 second is" if count == 1 else f"{count} seconds are"
        found.append(f"{sample}: {lost} missing ({named}{', ...' if missing.size > 3 else ''})")
    if not np.isfinite(ticks.start).all() or not np.isfinite(ticks.end).all() or (ticks.end < ticks.start).any():
        found.append(f"{sample}: a second has no valid start and end")
    elif (ticks.start[1:] < ticks.end[:-1] - _EXACT).any():
        found.append(f"{sample}: its ticks overlap in media time (whole clips, no stream)")
    gone = int(ticks.dropped.sum())
    if gone:
        found.append(f"{sample}: {gone} seconds were dropped as it ran: nobody knows what they would have taken")
    bad = np.flatnonzero(~np.isfinite(total) | (total < 0))
    if bad.size:
        found.append(
            f"{sample}: second {int(seconds[bad[0]])} has no valid service time ({bad.size} such seconds)"
        )
    return found
