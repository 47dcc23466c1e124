"""Cluster bootstrap of any statistic that is a function of sums over videos; leaves plain means to `one`."""

from __future__ import annotations

__all__ = [
    "BOOTSTRAP_DRAWS",
    "BOOTSTRAP_T_BELOW",
    "MOST_DRAWS",
    "Interval",
    "RatioCombination",
    "bootstrap_t_interval",
    "percentile_interval",
    "resample_clusters",
    "resampled_statistic",
    "resampled_sums",
]

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from evalkit.errors import UsageError
from evalkit.stats.clusters import FloatArray

BOOTSTRAP_DRAWS = 2000
"""Resamples per interval: the least for a 95 % percentile interval (Efron & Tibshirani 1993)."""

MOST_DRAWS = 1_000_000
"""More resamples than that change no digit that is shown, and take hours."""

BOOTSTRAP_T_BELOW = 40
"""Below so many clusters the normal theory is doubtful and a bootstrap-t is shown as well."""

_BOOTSTRAP_T_FROM = 5
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


@dataclass(frozen=True, slots=True, eq=False)
class RatioCombination:
    """A fixed combination of group means, ``sum_g w_g * S_g / N_g`` (a plain mean has one group).

    Args:
        numerators: Shape ``(C, G)``: score sums by cluster and group.
        denominators: Shape ``(C, G)``: question counts by cluster and group.
        weights: Shape ``(G,)``.
    """

    numerators: FloatArray
    denominators: FloatArray
    weights: FloatArray

    def value(self) -> float:
        """Return the statistic on the sample itself."""
        return float((self.numerators.sum(axis=0) / self.denominators.sum(axis=0)) @ self.weights)

    def influence(self) -> FloatArray:
        """Return each cluster's share of the linearisation, shape ``(C,)``; its CR1 sum is the variance.

        ``sum_c u_c**2`` is ``sum_g sum_h w_g w_h Cov(mean_g, mean_h)`` with covariances by shared video.
        """
        totals = self.denominators.sum(axis=0)
        means = self.numerators.sum(axis=0) / totals
        shares: FloatArray = (self.numerators - means * self.denominators) @ (self.weights / totals)
        return shares

    def resample(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the statistic and its CR1 error in each resample.

        Args:
            weights: Shape ``(b, C)``: how often each cluster was drawn.

        Returns:
            Two arrays of shape ``(b,)``; NaN where a group has no question in the resample.
        """
        count = self.numerators.shape[0]
        totals = weights @ self.denominators
        means = (weights @ self.numerators) / totals
        scale = self.weights / totals
        influence = scale @ self.numerators.T - (scale * means) @ self.denominators.T
        variance = count / (count - 1) * np.einsum("bc,bc->b", weights, influence**2)
        return means @ self.weights, np.sqrt(variance)


def bootstrap_t_interval(
    combination: RatioCombination, confidence: float, draws: int, seed: int
) -> Interval | None:
    """Return the symmetric cluster bootstrap-t interval (Cameron, Gelbach & Miller 2008; Hall 1988).

    The t statistic of every resample uses that resample's own CR1 error; the quantile of its absolute value
    replaces that of Student's t. (Equal tails cover too much when within-video correlation is high.)

    Args:
        combination: What is estimated.
        confidence: Such as 0.95.
        draws: Number of resamples.
        seed: Of the random generator.

    Returns:
        None with fewer than 5 clusters or without any spread between them.
    """
    count = combination.numerators.shape[0]
    if count < _BOOTSTRAP_T_FROM:
        return None
    value = combination.value()
    influence = combination.influence()
    se = float(np.sqrt(count / (count - 1) * influence @ influence))
    if se <= 1e-12 * max(1.0, abs(value)):
        return None
    ratios = []
    with np.errstate(divide="ignore", invalid="ignore"):
        for weights in resample_clusters(count, draws, seed):
            values, errors = combination.resample(weights)
            usable = errors > 1e-9 * se
            ratios.append((values[usable] - value) / errors[usable])
    sizes = np.abs(np.concatenate(ratios))
    if sizes.size < draws / 2:
        return None
    half = float(np.quantile(sizes, confidence)) * se
    return Interval(value - half, value + half)
