"""The only way to pixels: ticks in order, and no look past the current media time; leaves decoding to video."""

from __future__ import annotations

__all__ = ["CausalityViolation", "Chunk", "FrameBatch", "FrameFeed", "FrameSource", "SecondsLost", "SeenFrames"]

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import CausalityError, DecodeError, UsageError
from evalkit.stream.schedule import FrameSchedule, Seconds, Tick, exact_seconds

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SecondsLost:
    """Media that was wanted and could not be had.

    Args:
        start: Media second from which it is missing.
        end: Media second from which it is there again, or at which the stream was to end.
        reason: What happened, in words for a person.
    """

    start: Fraction
    end: Fraction
    reason: str

    @property
    def seconds(self) -> float:
        """Length of the gap."""
        return float(self.end - self.start)

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s lost at {float(self.start):.3f} s: {self.reason}"


@dataclass(frozen=True, slots=True)
class CausalityViolation:
    """A refused request for media that had not been delivered when it was asked for.

    Args:
        asked: Media second asked for.
        now: Media second the stream had reached.
    """

    asked: float
    now: float


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """What a source has for one tick.

    Args:
        frames: uint8 RGB, ``(T, H, W, 3)``, one per delivered frame time of the tick, from the first on.
        shown: Media time (PTS) of the picture in each frame, seconds; at most the time asked for.
        decode_seconds: Wall seconds the source worked on it, in the background or not.
        losses: What failed to decode on the way to this tick.
        ended_at: Media second where the material ends, if the tick wants more than there is.
        aside_seconds: Wall seconds for which the consumer stood aside for others, no part of what frames cost.
    """

    frames: Pixels
    shown: tuple[Fraction, ...]
    decode_seconds: float = 0.0
    losses: tuple[SecondsLost, ...] = ()
    ended_at: Fraction | None = None
    aside_seconds: float = 0.0


class FrameSource(Protocol):
    """Where a feed gets its pixels: a decoder, or synthetic frames in a benchmark."""

    def frames(self, ticks: Iterable[Tick]) -> Iterator[FrameBatch]:
        """Yield one batch per tick, in order, and stop after a batch with ``ended_at``.

        A source may work ahead of what is consumed. Closing the iterator (``close()`` where it is a
        generator) ends that work.
        """
        ...

    def __enter__(self) -> FrameSource: ...

    def __exit__(self, *exc: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """One tick with its pixels: what a session observes.

    Args:
        tick: The step of the schedule.
        frames: uint8 RGB, ``(T, H, W, 3)``.
        times: Media time each frame was sampled at, seconds.
        shown: Media time (PTS) of the picture on screen at that time, seconds.
        decode_seconds: Wall seconds spent decoding it, mostly while the model worked on earlier ticks.
        wait_seconds: Wall seconds the consumer waited for it: the part that counts in a second's total.
    """

    tick: Tick
    frames: Pixels
    times: tuple[Fraction, ...]
    shown: tuple[Fraction, ...]
    decode_seconds: float
    wait_seconds: float


def _latest(kept: Sequence[tuple[Fraction, Pixels]], asked: Fraction) -> Pixels:
    for sampled, frame in reversed(kept):
        if sampled <= asked:
            return frame
    raise UsageError(
        f"frames of {float(asked):.3f} s are no longer kept (the oldest is of {float(kept[0][0]):.3f} s)"
    )


@dataclass(slots=True)
class SeenFrames:
    """What of a stream has been delivered: the view of the feed that a model may hold.

    The frames of the last `keep` chunks can be asked for again; older ones are gone, so that the memory of
    a stream is the model's own business.

    Args:
        now: Media second the stream has reached: the end of the last tick delivered.
        keep: Number of chunks kept.
    """

    now: Fraction
    keep: int = 2
    _chunks: deque[Chunk] = field(default_factory=deque)
    _violations: list[CausalityViolation] = field(default_factory=list)

    @property
    def violations(self) -> tuple[CausalityViolation, ...]:
        """Every refused look ahead, in order."""
        return tuple(self._violations)

    def frames_at(self, times: Sequence[Seconds]) -> Pixels:
        """Return the delivered frames on screen at the given media times, ``(len(times), H, W, 3)``.

        Args:
            times: Media seconds, none past `now`. Served is the latest sampled frame not after each.

        Raises:
            CausalityError: A time lies past `now`; nothing is returned and the request is recorded.
            UsageError: A time lies before the frames still kept, or none was delivered yet.
        """
        exact = [exact_seconds(t) for t in times]
        for asked in exact:
            if asked > self.now:
                raise self._refuse(asked)
        kept = [(t, frame) for chunk in self._chunks for t, frame in zip(chunk.times, chunk.frames, strict=True)]
        if not kept:
            raise UsageError("no frame has been delivered yet")
        return np.stack([_latest(kept, asked) for asked in exact]) if exact else kept[0][1][None][:0]

    def _refuse(self, asked: Fraction) -> CausalityError:
        self._violations.append(CausalityViolation(float(asked), float(self.now)))
        return CausalityError(
            f"frames of {float(asked):.3f} s were asked for when the stream had reached {float(self.now):.3f} s"
        )

    def _deliver(self, chunk: Chunk) -> None:
        self.now = chunk.tick.end
        self._chunks.append(chunk)
        while len(self._chunks) > self.keep:
            self._chunks.popleft()


class FrameFeed:
    """Hands a stream over tick by tick; iterating it is the only way to new pixels.

    The runner iterates the feed and gives each `Chunk` to the session; what the session may hold is
    `seen`, which answers for delivered frames and refuses and records any look ahead.

    Material that ends early ends the iteration. It is never silent: `losses` and `lost_seconds` then tell
    what was wanted and is not there, as they do for frames that failed to decode, and the consumer decides.
    Material that ends inside the last tick after its last frame time loses nothing that was wanted.

    Args:
        schedule: Which frames, when.
        source: Who makes them.
        keep_chunks: How many delivered chunks `seen` can serve again.
    """

    def __init__(self, schedule: FrameSchedule, source: FrameSource, *, keep_chunks: int = 2) -> None:
        self.schedule = schedule
        self.seen = SeenFrames(schedule.start, max(1, keep_chunks))
        self._source = source
        self._next_tick = 0
        self._batches: Iterator[FrameBatch] | None = None
        self._losses: list[SecondsLost] = []
        self._ended = False

    @property
    def now(self) -> Fraction:
        """Media second reached: the end of the last tick delivered, or the start of the first."""
        return self.seen.now

    @property
    def violations(self) -> tuple[CausalityViolation, ...]:
        """Every refused look ahead, in order."""
        return self.seen.violations

    @property
    def losses(self) -> tuple[SecondsLost, ...]:
        """What of the ticks delivered so far was wanted and not there."""
        return tuple(self._losses)

    @property
    def lost_seconds(self) -> float:
        """Sum of `losses`."""
        return sum(loss.seconds for loss in self._losses)

    def frames_at(self, times: Sequence[Seconds]) -> Pixels:
        """Return delivered frames; see `SeenFrames.frames_at`."""
        return self.seen.frames_at(times)

    def skip_to(self, index: int) -> None:
        """Go on from a later tick (a resumed run); the ticks between are neither decoded nor delivered.

        Args:
            index: Tick to deliver next, from the current one to ``len(schedule)``.

        Raises:
            UsageError: The tick was delivered already or does not exist.
        """
        if not self._next_tick <= index <= len(self.schedule):
            raise UsageError(f"cannot skip to tick {index}: the next is {self._next_tick} of {len(self.schedule)}")
        if index == self._next_tick:
            return
        self.close()
        self._next_tick = index
        self.seen.now = self.schedule[index].start if index < len(self.schedule) else self.schedule.end

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        if self._ended or self._next_tick >= len(self.schedule):
            self.close()
            raise StopIteration
        tick = self.schedule[self._next_tick]
        began = time.perf_counter()
        if self._batches is None:
            rest = range(self._next_tick, len(self.schedule))
            self._batches = self._source.frames(self.schedule[k] for k in rest)
        batch = next(self._batches, None)
        if batch is None:
            raise DecodeError(f"the source stopped before tick {tick.index} without saying why")
        waited = time.perf_counter() - began - batch.aside_seconds
        self._losses += batch.losses
        if batch.ended_at is not None:
            self._end(batch.ended_at)
            if not len(batch.frames):
                self.close()
                raise StopIteration
        self._check(tick, batch)
        times = tick.frame_times[: len(batch.frames)]
        chunk = Chunk(tick, batch.frames, times, batch.shown, batch.decode_seconds, waited)
        self._next_tick += 1
        self.seen._deliver(chunk)
        return chunk

    def _end(self, ended_at: Fraction) -> None:
        start, end = self.schedule.start, self.schedule.end
        if ended_at <= start:
            raise DecodeError(
                f"the video ends at {float(ended_at):.3f} s, before the stream's start at {float(start):.3f} s"
            )
        self._ended = True
        reason = f"the video ends at {float(ended_at):.3f} s, the stream was to end at {float(end):.3f} s"
        self._losses.append(SecondsLost(min(ended_at, end), end, reason))

    def _check(self, tick: Tick, batch: FrameBatch) -> None:
        """Hold the source itself to causality, and to one frame per frame time unless it ended."""
        for shown in batch.shown:
            if shown >= tick.end:
                raise self.seen._refuse(shown)
        wanted, there = len(tick.frame_times), len(batch.frames)
        # Fewer where the material ended; none where it has not begun, which is among the losses.
        right = there in (0, wanted) if batch.ended_at is None else there <= wanted
        if there != len(batch.shown) or not right:
            raise DecodeError(f"the source gave {there} frames for tick {tick.index}, which has {wanted}")

    def close(self) -> None:
        """End the source's work ahead; the feed can still be resumed with `skip_to` or iteration."""
        batches, self._batches = self._batches, None
        close: Any = getattr(batches, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> FrameFeed:
        self._source.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
        self._source.__exit__(*exc)
