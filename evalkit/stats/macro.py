"""Macro averages and any other statistic of per-video sums, by resampling videos; plain means live in `one`."""

from __future__ import annotations

__all__ = ["bootstrap_by_cluster", "macro_average", "nested_weights"]

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from evalkit.errors import UsageError
from evalkit.stats.bootstrap import (
    BOOTSTRAP_DRAWS,
    BOOTSTRAP_T_BELOW,
    RatioCombination,
    bootstrap_t_interval,
    percentile_interval,
    resampled_statistic,
)
from evalkit.stats.clusters import (
    NEGLIGIBLE,
    Clusters,
    FloatArray,
    Labels,
    checked_confidence,
    checked_scores,
    cr1_variance,
)
from evalkit.stats.one import NO_SPREAD, ONE_VIDEO, Estimate, within_scale


def bootstrap_by_cluster(
    sums: ArrayLike,
    statistic: Callable[[FloatArray], FloatArray],
    *,
    n: int,
    confidence: float = 0.95,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> Estimate:
    """Return any statistic of per-video sums with its percentile interval from resampled videos.

    Args:
        sums: Shape ``(C, k)``: for each video, k quantities that add up over its questions.
        statistic: Maps totals ``(B, k)`` to ``(B,)``, all B resamples at once; NaN where undefined.
        n: Questions behind the sums.
        confidence: Of the interval.
        draws: Resamples B, 2,000 or more.
        seed: Of the resamples.

    Raises:
        UsageError: Sums that are empty, not finite or not two-dimensional.
    """
    table = np.asarray(sums, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] == 0 or not np.all(np.isfinite(table)):
        raise UsageError(f"sums by video must be finite and of shape (videos, k), got {table.shape}")
    checked_confidence(confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(table.sum(axis=0, keepdims=True))[0])
    count = table.shape[0]
    if count == 1:
        return Estimate(value, None, None, None, n, 1, None, None, "none", ONE_VIDEO)
    replicates = resampled_statistic(table, statistic, draws, seed)
    interval = percentile_interval(replicates, confidence)
    undefined = int(np.count_nonzero(~np.isfinite(replicates)))
    note = f"{undefined} of {draws} resamples left the statistic undefined and were left out" if undefined else ""
    if interval is None:
        return Estimate(value, None, None, None, n, count, None, None, "none", note)
    se = float(np.std(replicates[np.isfinite(replicates)], ddof=1)) if draws - undefined > 1 else None
    return Estimate(value, se, interval.low, interval.high, n, count, None, None, "percentile", note)


def nested_weights(groups: Mapping[Hashable, Sequence[Hashable]]) -> dict[Hashable, float]:
    """Return the weight of each task in a mean of group means of task means (OVO-Bench's total).

    Args:
        groups: For each group (backward, realtime, forward) its tasks.

    Raises:
        UsageError: No group, a group without tasks, or a task named twice.
    """
    tasks = [task for members in groups.values() for task in members]
    if not tasks or not all(groups.values()) or len(set(tasks)) != len(tasks):
        raise UsageError("every group of a macro average needs tasks of its own, none of them named twice")
    return {task: 1 / len(groups) / len(members) for members in groups.values() for task in members}


def macro_average(
    scores: ArrayLike,
    groups: Sequence[Hashable],
    clusters: Labels | Clusters,
    *,
    weights: Mapping[Hashable, float] | None = None,
    confidence: float = 0.95,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> Estimate:
    """Return a weighted mean of group means, videos resampled as a whole.

    The statistic is the fixed combination ``sum_g w_g * mean_g``; a video that serves several groups is
    resampled in all of them, so their covariance by shared video is kept. `se` is the linearised CR1 error,
    the interval is percentile, below 40 videos bootstrap-t.

    Args:
        scores: Shape ``(n,)``.
        groups: The task of each question.
        clusters: The video of each question.
        weights: Weight of each group (`nested_weights`); equal weights that add up to 1 when absent.
        confidence: Of the interval.
        draws: Resamples B.
        seed: Of the resamples.

    Raises:
        UsageError: A group without a weight or a weight without questions, besides what `mean_by_cluster` raises.
    """
    values = checked_scores(scores)
    videos = Clusters.of(clusters, values.size)
    codes, shares = _grouped(values.size, groups, weights)
    member = codes[:, None] == np.arange(shares.size)[None, :]
    combination = RatioCombination(
        videos.sums(values[:, None] * member), videos.sums(member.astype(np.float64)), shares
    )
    plain = bootstrap_by_cluster(
        np.concatenate([combination.numerators, combination.denominators], axis=1),
        lambda totals: (totals[:, : shares.size] / totals[:, shares.size :]) @ combination.weights,
        n=values.size,
        confidence=confidence,
        draws=draws,
        seed=seed,
    )
    if videos.count == 1:
        return plain
    se = float(np.sqrt(cr1_variance(combination.influence())))
    if se <= NEGLIGIBLE:
        return replace(plain, se=None, low=None, high=None, method="none", note=NO_SPREAD)
    deff = se**2 / _independent_variance(values, codes, combination.weights)
    estimate = replace(plain, se=se, deff=deff, effective_n=values.size / deff)
    interval = None
    if videos.count < BOOTSTRAP_T_BELOW:
        interval = bootstrap_t_interval(combination, confidence, draws, seed)
    if interval is None:
        return estimate
    if np.all((shares >= 0) & (shares <= 1)) and shares.sum() <= 1 + NEGLIGIBLE:
        interval = within_scale(interval, values)
    note = "; ".join(filter(None, [f"only {videos.count} videos: bootstrap-t interval", plain.note]))
    return replace(estimate, low=interval.low, high=interval.high, method="bootstrap-t", note=note)


def _independent_variance(values: FloatArray, codes: NDArray[np.intp], weights: FloatArray) -> float:
    """Return the variance a combination of group means would have if questions were independent."""
    sizes = np.bincount(codes, minlength=weights.size)
    means = np.bincount(codes, weights=values, minlength=weights.size) / sizes
    squares = np.bincount(codes, weights=(values - means[codes]) ** 2, minlength=weights.size)
    # A group of one question has no variance of its own: it adds nothing rather than a division by zero.
    return float(np.sum(weights**2 * squares / np.maximum(sizes - 1, 1) / sizes))


def _grouped(
    questions: int, groups: Sequence[Hashable], weights: Mapping[Hashable, float] | None
) -> tuple[NDArray[np.intp], FloatArray]:
    """Return the group number of each question and the weight of each group."""
    codes, names = pd.factorize(np.fromiter(groups, dtype=object, count=len(groups)))
    if codes.size != questions or np.any(codes < 0):
        raise UsageError(f"{questions} scores need {questions} group names, none of them missing")
    shares = dict.fromkeys(names, 1 / len(names)) if weights is None else dict(weights)
    if set(shares) != set(names):
        odd = ", ".join(sorted(map(str, set(shares) ^ set(names))))
        raise UsageError(f"a macro average is fixed beforehand: no questions or no weight for {odd}")
    return codes.astype(np.intp, copy=False), np.array([shares[name] for name in names])
