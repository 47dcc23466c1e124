"""One model's score with its clustered error and interval; macro averages are in `macro`, pairs in `two`."""

from __future__ import annotations

__all__ = [
    "NO_SPREAD",
    "ONE_VIDEO",
    "Estimate",
    "average_repeats",
    "few_clusters_note",
    "mean_by_cluster",
    "repeat_noise",
    "wilson_interval",
    "within_scale",
]

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as distributions

from evalkit.errors import UsageError
from evalkit.stats.bootstrap import (
    BOOTSTRAP_DRAWS,
    BOOTSTRAP_T_BELOW,
    Interval,
    RatioCombination,
    bootstrap_t_interval,
)
from evalkit.stats.clusters import (
    ClusteredMean,
    Clusters,
    FloatArray,
    Labels,
    checked_confidence,
    checked_scores,
    clustered_mean,
)

ONE_VIDEO = "one video only: no interval, because nothing tells how much videos differ"
NO_SPREAD = "no two videos differ: no spread to take an interval from"

# Below so many effective successes or failures Student's interval is poor for a proportion (the usual
# success/failure condition; Brown, Cai & DasGupta 2001 show why Wilson's is not).
_WILSON_BELOW = 10.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its uncertainty.

    Args:
        value: The figure, in the unit of the scores (shares between 0 and 1).
        se: Clustered standard error; None where it cannot be known (one video).
        low: Lower end of the interval; None where there is none.
        high: Upper end of the interval; None where there is none.
        n: Questions.
        clusters: Videos C.
        deff: Design effect, clustered over independent variance; None where unknown.
        effective_n: ``n / deff``; None where unknown.
        method: How the interval was made: ``cr1-t``, ``wilson``, ``percentile``, ``bootstrap-t`` or ``none``.
        note: What a reader must know, in words; empty when there is nothing.
        bootstrap_t: A second interval, by cluster bootstrap-t, where 5 to 39 videos make the first doubtful.
    """

    value: float
    se: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    deff: float | None
    effective_n: float | None
    method: str
    note: str = ""
    bootstrap_t: Interval | None = None


def wilson_interval(share: float, n: float, critical: float) -> Interval:
    """Return Wilson's interval for a proportion (Wilson 1927).

    Args:
        share: Observed proportion p.
        n: Number of (effective) questions, > 0.
        critical: Quantile z, such as 1.96.
    """
    z2 = critical * critical
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = critical / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def mean_by_cluster(
    scores: ArrayLike,
    clusters: Labels | Clusters,
    *,
    confidence: float = 0.95,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> Estimate:
    """Return the mean score with an interval that knows questions on one video are alike.

    CR1 clustered error with Student's t on C-1 degrees of freedom (Miller 2024, eq. 4; inspect_ai's `ci`).
    Right-or-wrong scores with fewer than 10 effective successes or failures get Wilson's interval on the
    effective n instead (never more than n), with z, below 40 videos with t(C-1). Where every answer scores
    0, or every answer 1, the design effect is unknown and the number of videos stands for the effective n,
    the most cautious choice. With 5 to 39 videos a bootstrap-t is added. Scores that all lie in [0, 1] keep
    their interval inside it.

    Args:
        scores: Shape ``(n,)``, one per question (average repeated samples first, `average_repeats`).
        clusters: One video id per question.
        confidence: Of the interval.
        draws: Resamples of the bootstrap-t; 0 leaves it out.
        seed: Of the resamples.

    Raises:
        UsageError: No scores, NaN among them, or labels that do not match.
    """
    values = checked_scores(scores)
    videos = Clusters.of(clusters, values.size)
    mean = clustered_mean(values, videos)
    tail = 1 - (1 - checked_confidence(confidence)) / 2
    if mean.se is None:
        return _without_interval(mean, ONE_VIDEO)
    binary = bool(np.all((values == 0) | (values == 1)))
    if mean.without_spread:
        return _without_spread(mean, binary, _wilson_critical(tail, mean.clusters))
    effective = mean.effective_n
    if binary and effective is not None:
        effective = min(effective, float(mean.n))
        rarer = effective * min(mean.value, 1 - mean.value)
        if rarer < _WILSON_BELOW:
            interval = wilson_interval(mean.value, effective, _wilson_critical(tail, mean.clusters))
            note = f"Wilson interval: only {rarer:.1f} effective {'failures' if mean.value > 0.5 else 'successes'}"
            return _estimate(mean, interval, "wilson", note)
    half = float(distributions.t.ppf(tail, mean.clusters - 1)) * mean.se
    interval = within_scale(Interval(mean.value - half, mean.value + half), values)
    extra = None
    if draws and mean.clusters < BOOTSTRAP_T_BELOW:
        plain = RatioCombination(videos.sums(values)[:, None], videos.sizes()[:, None], np.ones(1))
        extra = bootstrap_t_interval(plain, confidence, draws, seed)
        extra = None if extra is None else within_scale(extra, values)
    return _estimate(mean, interval, "cr1-t", few_clusters_note(mean.clusters), extra)


def within_scale(interval: Interval, values: FloatArray) -> Interval:
    """Return the interval cut to [0, 1] if every score lies there; other quantities keep theirs."""
    if values.min() < 0 or values.max() > 1:
        return interval
    return Interval(max(0.0, interval.low), min(1.0, interval.high))


def _wilson_critical(tail: float, clusters: int) -> float:
    """Return z, or below 40 videos t(C-1): the effective n is then itself a guess from few videos."""
    if clusters < BOOTSTRAP_T_BELOW:
        return float(distributions.t.ppf(tail, clusters - 1))
    return float(distributions.norm.ppf(tail))


def few_clusters_note(clusters: int) -> str:
    """Return what to say about an interval that rests on few videos, or nothing."""
    if clusters >= BOOTSTRAP_T_BELOW:
        return ""
    return f"only {clusters} videos: the interval rests on Student's t with {clusters - 1} degrees of freedom"


def _estimate(
    mean: ClusteredMean, interval: Interval, method: str, note: str, extra: Interval | None = None
) -> Estimate:
    return Estimate(
        mean.value,
        mean.se,
        interval.low,
        interval.high,
        mean.n,
        mean.clusters,
        mean.deff,
        mean.effective_n,
        method,
        note,
        extra,
    )


def _without_interval(mean: ClusteredMean, note: str) -> Estimate:
    return Estimate(mean.value, None, None, None, mean.n, mean.clusters, None, None, "none", note)


def _without_spread(mean: ClusteredMean, binary: bool, critical: float) -> Estimate:
    """Return the estimate where no two videos differ: Wilson on the videos for 0 and 1, else no interval."""
    if not mean.constant:
        return _without_interval(mean, NO_SPREAD)
    if not binary:
        return _without_interval(
            mean, f"every question has the score {mean.value:g}: no spread to take an interval from"
        )
    interval = wilson_interval(mean.value, mean.clusters, critical)
    note = (
        f"every question has the score {mean.value:g}: Wilson interval with the {mean.clusters} videos "
        "taken as effective n"
    )
    return Estimate(
        mean.value, 0.0, interval.low, interval.high, mean.n, mean.clusters, None, None, "wilson", note
    )


def average_repeats(scores: ArrayLike) -> FloatArray:
    """Return the mean over K repeated samples of each question, shape ``(n, K)`` to ``(n,)``.

    Average over K first, then cluster (Miller 2024).

    Raises:
        UsageError: Not two-dimensional, empty, or NaN among the scores.
    """
    means: FloatArray = _repeats(scores).mean(axis=1)
    return means


def repeat_noise(scores: ArrayLike) -> float:
    """Return E(sigma_i^2), the mean variance between K samples of one question, from shape ``(n, K)``.

    It is the part of the error that more samples per question remove: Var(mean) = [Var(x) + noise / K] / n.

    Raises:
        UsageError: Fewer than two samples per question, or NaN.
    """
    values = _repeats(scores)
    if values.shape[1] < 2:
        raise UsageError("the noise between samples needs at least two samples per question")
    return float(values.var(axis=1, ddof=1).mean())


def _repeats(scores: ArrayLike) -> FloatArray:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] == 0:
        raise UsageError(f"repeated samples must have shape (questions, samples), got {values.shape}")
    return checked_scores(values.ravel()).reshape(values.shape)
