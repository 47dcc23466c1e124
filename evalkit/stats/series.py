"""Figures of a series in time, whose neighbouring values are alike: its trend, and its percentiles."""

from __future__ import annotations

__all__ = ["LEAST_TREND_POINTS", "Trend", "quantile_interval", "trend"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as distributions

from evalkit.errors import UsageError
from evalkit.stats.bootstrap import Interval
from evalkit.stats.clusters import Clusters, Labels, checked_confidence, checked_scores
from evalkit.stats.one import headline_estimate

LEAST_TREND_POINTS = 45
"""Fewest points from which the 95 % interval held the slope in simulated series (tests/simulation)."""

_FEWEST_BLOCKS = 10


@dataclass(frozen=True, slots=True)
class Trend:
    """A slope per step, with its interval where the series is long enough for one.

    Args:
        slope: Theil-Sen.
        low: Lower end; None below `LEAST_TREND_POINTS` points.
        high: Upper end.
        points: Length of the series.
    """

    slope: float
    low: float | None
    high: float | None
    points: int


def trend(values: ArrayLike, times: ArrayLike, *, confidence: float = 0.95) -> Trend:
    """Return the slope of a series whose neighbouring values may be alike.

    The slope is Theil and Sen's; its error is that of the straight line, with the number of points replaced by
    what is left of them after the lag-1 correlation r of the residuals, ``n (1 - r) / (1 + r)`` (Santer et al.
    2000), r corrected for its bias in short series, ``r + (1 + 4 r) / n`` (Kendall 1954). Theil and Sen's own
    interval takes the points as independent and holds too rarely otherwise.

    Args:
        values: Shape ``(n,)``, n >= 2.
        times: Shape ``(n,)``, rising.
        confidence: Of the interval.

    Raises:
        UsageError: Fewer than two points, or values or times that are no numbers.
    """
    series, at = checked_scores(values, "values"), checked_scores(times, "times")
    if series.size != at.size or series.size < 2:
        raise UsageError(f"a trend needs two or more values with their times, got {series.size} and {at.size}")
    checked_confidence(confidence)
    slope = float(distributions.theilslopes(series, at)[0])
    n = series.size
    if n < LEAST_TREND_POINTS:
        return Trend(slope, None, None, n)
    centred = at - at.mean()
    spread = float(centred @ centred)
    residuals = series - series.mean() - float(centred @ series) / spread * centred
    squares = float(residuals @ residuals)
    if squares == 0:
        return Trend(slope, slope, slope, n)
    r = max(0.0, float(residuals[1:] @ residuals[:-1]) / squares)
    r = min(0.95, r + (1 + 4 * r) / n)
    effective = max(3.0, n * (1 - r) / (1 + r))
    se = float(np.sqrt(squares / (effective - 2) / spread))
    half = float(distributions.t.ppf(1 - (1 - confidence) / 2, effective - 2)) * se
    return Trend(slope, slope - half, slope + half, n)


def quantile_interval(
    values: ArrayLike, blocks: Labels | Clusters, level: float, *, confidence: float = 0.95
) -> Interval | None:
    """Return the interval of a percentile by inverting that of the share below it (Woodruff 1952).

    Args:
        values: Shape ``(n,)``.
        blocks: The stretch (a minute of one video) each value comes from; stretches are resampled as wholes.
        level: Of the percentile, such as 0.95.
        confidence: Of the interval.

    Returns:
        None with fewer than ten stretches, and where the data do not bound the percentile from above.

    Raises:
        UsageError: A level outside (0, 1), or values that are no numbers.
    """
    numbers = checked_scores(values, "values")
    stretches = Clusters.of(blocks, numbers.size)
    if not 0 < level < 1:
        raise UsageError(f"a percentile lies between 0 and 1, got {level}")
    if stretches.count < _FEWEST_BLOCKS:
        return None
    below = headline_estimate(numbers <= np.quantile(numbers, level), stretches, confidence=confidence)
    if below.low is None or below.high is None or below.high * numbers.size > numbers.size - 1:
        return None
    low, high = np.quantile(numbers, [below.low, below.high])
    return Interval(float(low), float(high))
