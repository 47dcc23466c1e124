"""Whether memory grows over the stream, by what was sampled, and when it would be full."""

from __future__ import annotations

__all__ = ["FLAT_MIB", "Growth", "growth_json", "growth_table", "memory_growth"]

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evalkit.records import TickTable
from evalkit.report.latency import elapsed
from evalkit.report.runs import Run
from evalkit.report.tables import Cell, Column, Estimate, Table
from evalkit.stats.series import LEAST_TREND_POINTS, Trend, trend

FLAT_MIB = 1.0
"""MiB a minute within which the interval of a slope counts as flat: less than 1.5 GiB in a day of stream."""
_WARM_UP = 60.0
_SHORT, _LONG = 10.0, 60.0
_NAMES = {
    "rss": "resident (process)",
    "allocated": "allocated (torch)",
    "reserved": "reserved (torch)",
    "device": "in use (GPU)",
    "stored": "kept for questions",
}


@dataclass(frozen=True, slots=True)
class Growth:
    """How one kind of memory goes over the longest stream of a run.

    Args:
        kind: What was read: ``rss``, ``allocated``, ``reserved``, ``device``; or ``stored``, the keys and values
            that a memory keeps outside of its window.
        level: Highest reading of the last stretch, MiB.
        slope: Theil-Sen, MiB a minute of stream, after the first minute; no interval below `LEAST_TREND_POINTS`
            stretches.
        capacity: What there is of it, MiB; ``None`` where that is not on record.
    """

    kind: str
    level: float
    slope: Trend
    capacity: float | None

    @property
    def flat(self) -> bool | None:
        """Whether it does not grow; ``None`` where the stream is too short to tell."""
        if self.slope.low is None or self.slope.high is None:
            return None
        return self.slope.low >= -FLAT_MIB and self.slope.high <= FLAT_MIB

    @property
    def grows(self) -> bool:
        """Whether it grows for sure."""
        return self.slope.low is not None and self.slope.low > 0 and not self.flat

    @property
    def minutes_left(self) -> float | None:
        """Minutes of stream until it is full at this slope; ``None`` where it does not grow for sure."""
        if self.capacity is None or not self.grows:
            return None
        return max(0.0, self.capacity - self.level) / self.slope.slope


def memory_growth(ticks: TickTable, host: Mapping[str, Any]) -> list[Growth]:
    """Return the growth of everything sampled, over the longest stream; nothing below four minutes of it.

    Stretches are minutes, or ten seconds where the stream is shorter than `LEAST_TREND_POINTS` minutes.

    Args:
        ticks: The run's ticks.
        host: The manifest's facts of the machine.
    """
    rows = max(ticks.by_sample().values(), key=len, default=np.empty(0, np.int64))
    stream = ticks.where(rows)
    times = elapsed(stream) - stream.media / 2
    span = float(times.max(initial=0.0))
    width = _LONG if span >= LEAST_TREND_POINTS * _LONG + _WARM_UP else _SHORT
    found = []
    for kind, values in stream.memory.items():
        known = np.isfinite(values) & (times >= _WARM_UP)
        stretches, place = np.unique((times[known] // width).astype(np.int64), return_inverse=True)
        if stretches.size * width < 180:
            continue
        highest = np.zeros(stretches.size)
        np.fmax.at(highest, place, values[known])
        slope = trend(highest, stretches * width / 60)
        found.append(Growth(kind, float(highest[-1]), slope, _capacity(kind, host)))
    return found


def _capacity(kind: str, host: Mapping[str, Any]) -> float | None:
    gib = host.get("memory_gib" if kind in ("rss", "stored") else "gpu_memory_gib")
    return None if gib is None else 1024 * float(gib)


def _left(growth: Growth) -> str:
    if growth.flat is None:
        return "too short to tell"
    if growth.flat:
        return "flat"
    if not growth.grows:
        return "not sure to grow"
    minutes = growth.minutes_left
    if minutes is None:
        return "grows"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def growth_table(runs: Sequence[Run]) -> Table | None:
    """Return what was sampled of memory, one row per run and kind; ``None`` where nothing was."""
    rows: list[tuple[Cell, ...]] = [
        (
            run.label,
            _NAMES.get(one.kind, one.kind),
            one.level,
            Estimate(one.slope.slope, one.slope.low, one.slope.high),
            one.capacity,
            _left(one),
        )
        for run in runs
        for one in memory_growth(run.records.ticks, run.records.manifest.host)
    ]
    columns = (
        Column("Model", text=True),
        Column("Memory", text=True),
        Column("Level", "MiB", digits=1),
        Column("Growth", "MiB/min", digits=3, interval=True),
        Column("Capacity", "MiB", digits=0),
        Column("Full after", text=True),
    )
    note = (
        "Highest readings of each stretch of stream (a minute; ten seconds of streams under "
        f"{LEAST_TREND_POINTS + 1} minutes) after the first minute, read on a thread of their own. Growth: "
        f"Theil-Sen slope with its 95 % interval. Flat: the interval within {FLAT_MIB:g} MiB a minute of none. "
        "Full after: more stream until the capacity is used up at this slope."
    )
    return Table("Memory over the stream", columns, tuple(rows), (note,), "growth") if rows else None


def growth_json(ticks: TickTable, host: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same by kind, for ``--json``."""
    return {
        one.kind: {
            "level": one.level,
            "slope": asdict(one.slope),
            "capacity": one.capacity,
            "flat": one.flat,
            "minutes_left": one.minutes_left,
        }
        for one in memory_growth(ticks, host)
    }
