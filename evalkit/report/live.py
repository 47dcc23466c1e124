"""What a paced run measured, beside its virtual twin: the same seconds behind the virtual clock."""

from __future__ import annotations

__all__ = ["LiveClock", "live_clock", "live_json", "live_note"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalkit.records import PacedTick
from evalkit.report.replay import Replay
from evalkit.timing import EXACT, Percentiles, percentiles, run_queue

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LiveClock:
    """What the wall clock said of a paced run.

    Args:
        seconds: Seconds that arrived.
        misses: Of them late or dropped.
        dropped: Of them dropped.
        lag: Lag of those worked on, seconds.
        backlog_max: Most seconds of one stream waiting or in work at a time.
        between: Wall seconds that no service time holds, though the session was not waiting for its stream:
            writing records and handing over between seconds, and what of a second no stage has.
        twin_misses: Misses of the virtual twin; ``None`` where it is withheld or set to another clock.
        explained_misses: Misses of the twin when each second also takes the time that no service time holds: where
            they are those of the wall clock, that time is the whole of the difference.
    """

    seconds: int
    misses: int
    dropped: int
    lag: Percentiles | None
    backlog_max: int
    between: float
    twin_misses: int | None
    explained_misses: int | None = None

    @property
    def difference(self) -> float | None:
        """Live miss rate minus the twin's."""
        return None if self.twin_misses is None else (self.misses - self.twin_misses) / self.seconds


def live_clock(replay: Replay, overload: str) -> LiveClock | None:
    """Return what a paced run measured, or ``None`` where it was not paced throughout.

    Args:
        replay: The run behind the virtual clock.
        overload: The rule under which it ran.
    """
    paced: list[PacedTick] = [pace for pace in replay.ticks.pace if pace is not None]
    if not paced or len(paced) < len(replay.ticks):
        return None
    lags = np.array([np.nan if pace.lag is None else pace.lag for pace in paced])
    dropped = np.isnan(lags)
    settings = replay.settings
    same = settings.hardware == 1 and settings.fps is None and settings.overload == overload
    twin = same and bool(replay.streams)
    ticks = replay.ticks
    streams = [(list(ticks.pace[rows]), ticks.total[rows]) for rows in ticks.by_sample().values()]
    return LiveClock(
        seconds=len(paced),
        misses=int((dropped | (lags > replay.deadline + EXACT)).sum()),
        dropped=int(dropped.sum()),
        lag=percentiles(lags),
        backlog_max=max(pace.backlog for pace in paced),
        between=sum(float(_between(*stream).sum()) for stream in streams),
        twin_misses=int(replay.missed.sum()) if twin else None,
        explained_misses=_explained(replay) if twin else None,
    )


def _between(paced: Sequence[PacedTick], service: Floats) -> Floats:
    """Return the time of each worked second of a stream that is neither waiting nor service time, seconds."""
    spent, free = [], 0.0
    for pace, took in zip(paced, service.tolist(), strict=True):
        if pace.end is not None:
            spent.append(max(0.0, pace.end - max(free, pace.arrival) - took))
            free = pace.end
    return np.array(spent, dtype=np.float64)


def _explained(replay: Replay) -> int:
    """Count the misses of the virtual clock when the time between seconds is on it too; no second was dropped."""
    misses = 0
    for stream in replay.streams:
        service: Floats = stream.service + _between(list(stream.ticks.pace), stream.service)
        times = run_queue(stream.times.arrival, service, replay.settings.overload)
        misses += int(times.missed(replay.deadline).sum())
    return misses


def live_note(live: LiveClock) -> str:
    """Return what the wall clock said and how far the virtual twin is from it, in one line."""
    share = 100 * live.misses / live.seconds
    said = f"on the wall clock {live.misses} of {live.seconds} seconds were missed ({share:.1f} %)"
    if live.dropped:
        said += f", {live.dropped} of them dropped"
    if live.difference is None or live.twin_misses is None:
        return said
    twin = 100 * live.twin_misses / live.seconds
    return (
        f"{said}, by the virtual clock {live.twin_misses} ({twin:.1f} %): {100 * live.difference:+.1f} points, "
        f"with {live.between:.2f} s beside service times, between seconds; with these on it the virtual clock "
        f"says {live.explained_misses}"
    )


def live_json(live: LiveClock) -> dict[str, Any]:
    """Return what the wall clock said, for ``--json``."""
    return {
        "seconds": live.seconds,
        "misses": live.misses,
        "miss_rate": live.misses / live.seconds,
        "dropped": live.dropped,
        "lag": None if live.lag is None else {**live.lag.as_dict(), "n": live.lag.n},
        "backlog_max": live.backlog_max,
        "between": live.between,
        "twin_misses": live.twin_misses,
        "difference": live.difference,
        "explained_misses": live.explained_misses,
    }
