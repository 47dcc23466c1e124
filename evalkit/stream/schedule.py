"""Which frames a stream shows when, in exact rational seconds; leaves getting the pixels to feed and video."""

from __future__ import annotations

__all__ = ["MAX_FPS", "FrameSchedule", "Seconds", "Tick", "exact_seconds"]

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import overload

from evalkit.errors import UsageError

Seconds = int | float | Fraction | Decimal | str
"""A number of seconds, or a rate: whatever `exact_seconds` takes."""

MIN_FPS = Fraction(1, 10)
MAX_FPS = Fraction(30)


def exact_seconds(value: Seconds) -> Fraction:
    """Return a number as the fraction its decimal notation means (0.1 is 1/10, 29.97 is 2997/100).

    Args:
        value: A number, or text such as ``"30000/1001"``.

    Raises:
        UsageError: The value is no finite number.
    """
    try:
        return Fraction(repr(float(value))) if isinstance(value, float) else Fraction(value)
    except (ValueError, TypeError, OverflowError, ZeroDivisionError):
        raise UsageError(f"{value!r} is not a finite number of seconds") from None


@dataclass(frozen=True, slots=True)
class Tick:
    """One step of a stream: the media span ``[start, end)`` and the frames sampled in it.

    Args:
        index: Position in the schedule, from 0.
        start: First media second covered.
        end: Media second at which the tick ends; the frames *arrive* then.
        frame_times: Media times at which a frame is sampled, ascending; may be empty below 1 fps.
    """

    index: int
    start: Fraction
    end: Fraction
    frame_times: tuple[Fraction, ...]

    @property
    def arrival(self) -> Fraction:
        """Media time at which a live stream would have delivered the tick: its end."""
        return self.end

    @property
    def start_seconds(self) -> float:
        """`start` as a float."""
        return float(self.start)

    @property
    def end_seconds(self) -> float:
        """`end` as a float."""
        return float(self.end)

    @property
    def frame_seconds(self) -> tuple[float, ...]:
        """`frame_times` as floats."""
        return tuple(float(time) for time in self.frame_times)


@dataclass(frozen=True, slots=True, init=False)
class FrameSchedule(Sequence[Tick]):
    """The ticks of a stream, computed from rational arithmetic so that nothing drifts.

    Tick ``k`` covers ``[start + k*c, start + (k+1)*c)`` with ``c = chunk_seconds``; the last tick is cut at
    ``end``. Frames lie on one grid for the whole stream, ``start + i/fps``, and each belongs to the tick its
    time falls into. Where ``fps * c`` is whole this is ``start + k*c + j/fps``, the same number in each
    tick; otherwise (1.5 fps, 0.25 fps with ticks of 1 s) the number varies and a tick may have no frame.

    Stepping whole source frames instead drifts: at 25 fps and 2 frames a second by 150 s an hour.

    The schedule is a sequence of ticks: ``len``, indexing, slicing, iteration; nothing is stored per tick.

    Args:
        start: First media second shown, >= 0.
        end: Media second at which the stream ends, > ``start``.
        fps: Frames sampled per second, 0.1 to 30.
        chunk_seconds: Length of a tick in seconds, > 0.

    Raises:
        UsageError: A value outside its range.
    """

    start: Fraction
    end: Fraction
    fps: Fraction
    chunk_seconds: Fraction

    def __init__(self, start: Seconds, end: Seconds, fps: Seconds, chunk_seconds: Seconds = 1) -> None:
        values = {"start": start, "end": end, "fps": fps, "chunk_seconds": chunk_seconds}
        for name, value in values.items():
            object.__setattr__(self, name, exact_seconds(value))
        if not MIN_FPS <= self.fps <= MAX_FPS:
            raise UsageError(f"fps must lie in 0.1 to 30, not {float(self.fps):g}")
        if self.chunk_seconds <= 0:
            raise UsageError(f"chunk_seconds must be above 0, not {float(self.chunk_seconds):g}")
        if self.start < 0:
            raise UsageError(f"start must be 0 s or later, not {float(self.start):g}")
        if self.end <= self.start:
            raise UsageError(f"end ({float(self.end):g} s) must lie after start ({float(self.start):g} s)")

    @property
    def ticks(self) -> Sequence[Tick]:
        """The ticks in order (the schedule itself, which is their sequence)."""
        return self

    @property
    def frame_count(self) -> int:
        """Number of frames sampled in the whole stream."""
        return math.ceil((self.end - self.start) * self.fps)

    def __len__(self) -> int:
        return math.ceil((self.end - self.start) / self.chunk_seconds)

    @overload
    def __getitem__(self, index: int) -> Tick: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Tick, ...]: ...

    def __getitem__(self, index: int | slice) -> Tick | tuple[Tick, ...]:
        if isinstance(index, slice):
            return tuple(self._tick(k) for k in range(*index.indices(len(self))))
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"tick {index} of a schedule of {count}")
        return self._tick(index % count)

    def tick_at(self, time: Seconds) -> Tick:
        """Return the tick a media time falls into; the schedule's very end belongs to the last tick.

        Raises:
            UsageError: The time lies outside ``[start, end]``.
        """
        exact = exact_seconds(time)
        if not self.start <= exact <= self.end:
            span = f"{float(self.start):g} to {float(self.end):g} s"
            raise UsageError(f"media time {float(exact):g} s lies outside the stream ({span})")
        return self._tick(min(math.floor((exact - self.start) / self.chunk_seconds), len(self) - 1))

    def _tick(self, k: int) -> Tick:
        start = self.start + k * self.chunk_seconds
        end = min(start + self.chunk_seconds, self.end)
        first = math.ceil((start - self.start) * self.fps)
        stop = math.ceil((end - self.start) * self.fps)
        return Tick(k, start, end, tuple(self.start + Fraction(i) / self.fps for i in range(first, stop)))
