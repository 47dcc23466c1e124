"""The human win rate from many judge verdicts and few human labels; agreement figures live in `agreement`."""

from __future__ import annotations

__all__ = ["prediction_powered_win_rate"]

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as distributions

from evalkit.errors import UsageError
from evalkit.stats.clusters import (
    NEGLIGIBLE,
    Clusters,
    FloatArray,
    Labels,
    checked_confidence,
    checked_scores,
)
from evalkit.stats.one import ONE_VIDEO, Estimate, headline_estimate
from evalkit.stats.robust import clustered_statistic


def prediction_powered_win_rate(
    judge: ArrayLike,
    human: ArrayLike,
    clusters: Labels | Clusters,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Return the win rate humans would give, from judge scores on all pairs and human scores on a few.

    Prediction-powered inference with a tuned weight (PPI++; Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453):
    ``theta = lambda mean_N f + mean_n (Y - lambda f)`` over N unlabelled and n labelled pairs. lambda is the one
    between 0 and 1 that makes the error by video smallest: 0 leaves the labels' own mean, so a useless judge costs
    nothing, 1 is the untuned estimate. The error is clustered by video, with what a video with pairs of both
    kinds adds. Valid however wrong the judge is, if the labelled pairs were drawn at random.

    Args:
        judge: Shape ``(m,)``: the judge's score f of every pair (1, one half, 0).
        human: Shape ``(m,)``: the human score Y, NaN where a pair has none.
        clusters: The video of each pair.
        confidence: Of the interval, t with the degrees of freedom of the part that has fewer.

    Returns:
        An estimate whose `n` counts all pairs; `deff` and `effective_n` are None.

    Raises:
        UsageError: No labelled or no unlabelled pair, or arrays that do not match.
    """
    scores = checked_scores(judge, "judge scores")
    labels, labelled = _checked_labels(human, scores)
    videos = Clusters.of(clusters, scores.size)
    parts = [
        clustered_statistic(values[part], videos.where(part))
        for values, part in ((scores, ~labelled), (np.where(labelled, labels, 0.0), labelled))
    ]
    judged, mean_label = parts
    n, count = scores.size, videos.count
    freedom = min(one.freedom or 0.0 for one in parts)
    weight, variance = _tuned(scores, labels, labelled, videos)
    value = mean_label.value + weight * (judged.value - float(scores[labelled].mean()))
    value = min(1.0, max(0.0, value))
    if freedom == 0:
        note = ONE_VIDEO if count == 1 else "all labelled or all unlabelled pairs are from one video: no interval"
        return Estimate(value, None, None, None, n, count, None, None, "none", note)
    if variance <= NEGLIGIBLE**2:
        # Labels that all agree have no variance; what so few videos cannot show bounds them, the judge aside.
        alone = headline_estimate(labels[labelled], videos.where(labelled), confidence=confidence)
        return replace(alone, n=n, clusters=count, deff=None, effective_n=None)
    se = math.sqrt(variance)
    half = float(distributions.t.ppf(1 - (1 - checked_confidence(confidence)) / 2, freedom)) * se
    low, high = max(0.0, value - half), min(1.0, value + half)
    note = (
        f"{int(labelled.sum())} human labels on {mean_label.clusters} videos; the judge's verdicts count with "
        f"weight {weight:.2f}"
    )
    return Estimate(value, se, low, high, n, count, None, None, "ppi++-t", note, freedom)


def _checked_labels(human: ArrayLike, scores: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the human scores and which pairs have one."""
    labels = np.asarray(human, dtype=np.float64)
    if labels.shape != scores.shape:
        raise UsageError(f"{scores.size} judge scores but {labels.size} human entries (NaN where unlabelled)")
    labelled = ~np.isnan(labels)
    if not labelled.any():
        raise UsageError("no pair has a human label: label some pairs, drawn at random")
    if labelled.all():
        raise UsageError("every pair has a human label: take their mean, the judge adds nothing")
    checked_scores(labels[labelled], "human scores")
    return labels, labelled


def _tuned(
    scores: FloatArray, labels: FloatArray, labelled: NDArray[np.bool_], videos: Clusters
) -> tuple[float, float]:
    """Return lambda and the clustered variance of the estimate with it.

    The estimate is linear in lambda, so its variance by video, ``sum_c (u_c + lambda v_c)**2``, is a parabola.
    """
    fixed = _influence(labels, labelled, videos)
    slope = _influence(scores, ~labelled, videos) - _influence(scores, labelled, videos)
    curvature = float(slope @ slope)
    best = -float(fixed @ slope) / curvature if curvature > 0 else 0.0
    weight = min(1.0, max(0.0, best))
    spread = fixed + weight * slope
    return weight, float(spread @ spread)


def _influence(values: FloatArray, part: NDArray[np.bool_], videos: Clusters) -> FloatArray:
    """Return each video's CR2 share of the error of the mean over `part`, shape ``(C,)``; zero without any."""
    size = int(part.sum())
    chosen = np.where(part, values, 0.0)
    sums = videos.sums(np.where(part, chosen - chosen.sum() / size, 0.0)) / size
    left = 1 - videos.sums(part.astype(np.float64)) / size
    adjusted: FloatArray = np.divide(sums, np.sqrt(left), out=np.zeros_like(sums), where=left > 0)
    return adjusted
