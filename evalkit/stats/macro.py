"""Macro averages and any other statistic of per-video sums, by resampling videos; plain means live in `one`."""

from __future__ import annotations

__all__ = ["bootstrap_by_cluster", "macro_average", "nested_weights"]

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from evalkit.errors import UsageError
from evalkit.stats.bootstrap import BOOTSTRAP_DRAWS, percentile_interval, resampled_statistic
from evalkit.stats.clusters import Clusters, FloatArray, Labels, checked_confidence
from evalkit.stats.composition import Composition
from evalkit.stats.one import ONE_VIDEO, Estimate, headline_estimate


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
) -> Estimate:
    """Return a weighted mean of group means (`headline_estimate` of groups that share no question).

    A video that serves several groups counts in all of them, so their covariance by shared video is kept.

    Args:
        scores: Shape ``(n,)``.
        groups: The task of each question.
        clusters: The video of each question.
        weights: Weight of each group (`nested_weights`); equal weights that add up to 1 when absent.
        confidence: Of the interval.

    Raises:
        UsageError: A group without a weight or a weight without questions, and what `headline_estimate` raises.
    """
    composition = Composition.of_groups(groups, weights)
    return headline_estimate(scores, clusters, composition=composition, confidence=confidence)
