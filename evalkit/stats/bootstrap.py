"""Cluster bootstrap of any statistic that is a function of sums over videos; leaves plain means to `one`."""

from __future__ import annotations

__all__ = [
    "BOOTSTRAP_DRAWS",
    "MOST_DRAWS",
    "Interval",
    "percentile_interval",
    "resample_clusters",
    "resampled_statistic",
    "resampled_sums",
    "stretched",
]

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from evalkit.errors import UsageError
from evalkit.stats.clusters import FloatArray

BOOTSTRAP_DRAWS = 2000
"""Resamples per interval: the least for a 95 % percentile interval (Efron & Tibshirani 1993)."""

MOST_DRAWS = 1_000_000
"""More resamples than that change no digit that is shown, and take hours."""

# Entries of a weight matrix held at once: 2 M doubles, 16 MB, stays near the processor's cache.
_CHUNK_ENTRIES = 2_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, in the unit of its statistic."""

    low: float
    high: float


def resample_clusters(count: int, draws: int, seed: int) -> Iterator[FloatArray]:
    """Yield blocks of weights ``(b, count)``: how often each cluster was drawn in b resamples, `draws` in all.

    Each row draws `count` clusters with replacement (multinomial weights), so a video's questions stay
    together. The same `count`, `draws` and `seed` give the same weights.

    Raises:
        UsageError: Fewer than one draw.
    """
    if not 1 <= draws <= MOST_DRAWS:
        raise UsageError(f"a bootstrap needs 1 to {MOST_DRAWS:,} draws, got {draws:,}")
    rng = np.random.default_rng(seed)
    block = max(1, _CHUNK_ENTRIES // count)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        picked = rng.integers(0, count, size=(rows, count))
        picked += np.arange(rows)[:, None] * count
        yield np.bincount(picked.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def resampled_sums(sums: FloatArray, draws: int, seed: int) -> FloatArray:
    """Return the totals of `sums` over resampled clusters.

    Args:
        sums: Shape ``(C, k)``: per cluster, whatever adds up over questions.
        draws: Number of resamples B.
        seed: Of the random generator.

    Returns:
        Shape ``(B, k)``.
    """
    return np.concatenate([weights @ sums for weights in resample_clusters(sums.shape[0], draws, seed)])


def resampled_statistic(
    sums: FloatArray, statistic: Callable[[FloatArray], FloatArray], draws: int, seed: int
) -> FloatArray:
    """Evaluate `statistic` on the totals of B cluster resamples at once.

    Args:
        sums: Shape ``(C, k)``: per-cluster sums.
        statistic: Maps totals ``(B, k)`` to ``(B,)`` or ``(B, m)``; NaN where a resample leaves it undefined.
        draws: Number of resamples B.
        seed: Of the random generator.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return statistic(resampled_sums(sums, draws, seed))


def percentile_interval(draws: FloatArray, confidence: float) -> Interval | None:
    """Return the percentile interval (Efron & Tibshirani 1993, ch. 13) of the draws that are defined.

    Args:
        draws: Shape ``(B,)``; NaN marks a resample in which the statistic does not exist.
        confidence: Such as 0.95.

    Returns:
        None where fewer than half of the draws are defined.
    """
    defined = draws[np.isfinite(draws)]
    if defined.size < max(1, draws.size / 2):
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(float(low), float(high))


def stretched(draws: FloatArray, point: FloatArray, clusters: int, confidence: float) -> FloatArray:
    """Return draws moved away from the point, so that few videos get the interval that Student's t would give.

    Resampled videos spread by ``sqrt((C - 1) / C)`` of what they should and their percentiles are normal ones: of
    two videos a percentile interval holds next to nothing. Both are made good on a scale without ends, such as log
    odds (bias of the narrowness of percentile intervals: Hesterberg 2015).

    Args:
        draws: Shape ``(B, ...)``, on a scale without ends.
        point: Shape ``(...)``, the estimate.
        clusters: Videos C, two or more.
        confidence: Of the interval to be.
    """
    tail = 1 - (1 - confidence) / 2
    factor = np.sqrt(clusters / (clusters - 1)) * t.ppf(tail, clusters - 1) / norm.ppf(tail)
    moved: FloatArray = point + factor * (draws - point)
    return moved
