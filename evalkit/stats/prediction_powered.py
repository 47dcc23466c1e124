"""The human win rate from many judge verdicts and few human labels; agreement figures live in `agreement`."""

from __future__ import annotations

__all__ = ["prediction_powered_win_rate"]

import math

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
    clustered_mean,
)
from evalkit.stats.one import NO_SPREAD, ONE_VIDEO, Estimate


def prediction_powered_win_rate(
    judge: ArrayLike,
    human: ArrayLike,
    clusters: Labels | Clusters,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Return the win rate humans would give, from judge scores on all pairs and human scores on a few.

    Prediction-powered inference (Angelopoulos et al. 2023, arXiv 2301.09633): theta = mean_N f + mean_n (Y - f)
    over N unlabelled and n labelled pairs, Var = Var(f)/N + Var(Y - f)/n, both clustered by video (CR1), plus
    twice their covariance where a video has pairs of both kinds. Valid however wrong the judge is, if the
    labelled pairs were drawn at random.

    Args:
        judge: Shape ``(m,)``: the judge's score f of every pair (1, one half, 0).
        human: Shape ``(m,)``: the human score Y, NaN where a pair has none.
        clusters: The video of each pair.
        confidence: Of the interval, t with C-1 of the part with fewer videos.

    Returns:
        An estimate whose `n` counts all pairs; `deff` and `effective_n` are None.

    Raises:
        UsageError: No labelled or no unlabelled pair, or arrays that do not match.
    """
    scores = checked_scores(judge, "judge scores")
    labels = np.asarray(human, dtype=np.float64)
    if labels.shape != scores.shape:
        raise UsageError(f"{scores.size} judge scores but {labels.size} human entries (NaN where unlabelled)")
    labelled = ~np.isnan(labels)
    if not labelled.any():
        raise UsageError("no pair has a human label: label some pairs, drawn at random")
    if labelled.all():
        raise UsageError("every pair has a human label: take their mean, the judge adds nothing")
    videos = Clusters.of(clusters, scores.size)
    surrogate = scores[~labelled]
    correction = checked_scores(labels[labelled], "human scores") - scores[labelled]
    judged = clustered_mean(surrogate, videos.where(~labelled))
    rectified = clustered_mean(correction, videos.where(labelled))
    value = judged.value + rectified.value
    n, count = scores.size, videos.count
    if judged.se is None or rectified.se is None:
        note = ONE_VIDEO if count == 1 else "all labelled or all unlabelled pairs are from one video: no interval"
        return Estimate(value, None, None, None, n, count, None, None, "none", note)
    covariance = _covariance(_influence(scores, ~labelled, videos), _influence(labels - scores, labelled, videos))
    variance = judged.se**2 + rectified.se**2 + 2 * covariance
    if variance <= NEGLIGIBLE**2:
        return Estimate(value, None, None, None, n, count, None, None, "none", NO_SPREAD)
    se = math.sqrt(variance)
    freedom = min(judged.clusters, rectified.clusters) - 1
    half = float(distributions.t.ppf(1 - (1 - checked_confidence(confidence)) / 2, freedom)) * se
    note = f"{int(labelled.sum())} human labels on {rectified.clusters} videos"
    return Estimate(value, se, max(0.0, value - half), min(1.0, value + half), n, count, None, None, "ppi-t", note)


def _influence(values: FloatArray, part: NDArray[np.bool_], videos: Clusters) -> FloatArray:
    """Return each video's share of the mean over `part`, shape ``(C,)``; zero where it has none."""
    chosen = np.where(part, values, 0.0)
    size = int(part.sum())
    return videos.sums(np.where(part, chosen - chosen.sum() / size, 0.0)) / size


def _covariance(first: FloatArray, second: FloatArray) -> float:
    """Return the covariance by shared video, with the CR1 factor of all videos."""
    return float(first.size / (first.size - 1) * np.dot(first, second))
