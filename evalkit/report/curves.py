"""Bins what ticks record over stream time into curves that plots draw: median and spread of each bin."""

from __future__ import annotations

__all__ = ["Curve", "bin_width", "binned", "tick_curve"]

from dataclasses import dataclass

import numpy as np

from evalkit.records import TickTable
from evalkit.report.latency import Floats, elapsed

_WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


@dataclass(frozen=True)
class Curve:
    """Median of each bin of stream time with the 5th and 95th percentile around it.

    Args:
        name: Legend entry.
        width: Width of a bin, seconds.
        x: Middle of each bin that has values, seconds of stream.
        mid: Median of each.
        low: 5th percentile.
        high: 95th percentile.
        n: Values of each.
    """

    name: str
    width: float
    x: tuple[float, ...]
    mid: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    n: tuple[int, ...]


def bin_width(span: float, bins: int) -> float:
    """Return the smallest round width, seconds, that cuts ``span`` seconds into at most ``bins`` bins."""
    return float(next((width for width in _WIDTHS if span / width <= bins), np.ceil(span / bins)))


def binned(name: str, times: Floats, values: Floats, width: float) -> Curve:
    """Bin values over time; those that are no finite number are left out.

    Args:
        name: Legend entry.
        times: Stream time of each value, seconds, shape ``(n,)``.
        values: The values, shape ``(n,)``.
        width: Width of a bin, seconds, > 0.
    """
    keep = np.isfinite(times) & np.isfinite(values)
    times, values = times[keep], values[keep]
    places = np.floor(times / width).astype(np.int64)
    order = np.argsort(places, kind="stable")
    bins, starts = np.unique(places[order], return_index=True)
    groups = np.split(values[order], starts[1:]) if bins.size else []
    bands = [np.percentile(group, (5, 50, 95)) for group in groups]
    return Curve(
        name=name,
        width=width,
        x=tuple(float((place + 0.5) * width) for place in bins),
        mid=tuple(float(band[1]) for band in bands),
        low=tuple(float(band[0]) for band in bands),
        high=tuple(float(band[2]) for band in bands),
        n=tuple(len(group) for group in groups),
    )


def tick_curve(name: str, ticks: TickTable, values: Floats, width: float) -> Curve:
    """Return the curve of one quantity of the ticks over stream time (seconds since each sample's start)."""
    return binned(name, elapsed(ticks) - ticks.media / 2, values, width)
