"""One model's score with its clustered error and interval: plain means and macro averages; pairs are in `two`."""

from __future__ import annotations

__all__ = [
    "NO_SPREAD",
    "ONE_VIDEO",
    "Estimate",
    "average_repeats",
    "few_videos_note",
    "headline_estimate",
    "mean_by_cluster",
    "repeat_noise",
    "student_interval",
    "thin_note",
    "too_uneven",
]

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as distributions

from evalkit.errors import UsageError
from evalkit.stats.bootstrap import Interval
from evalkit.stats.clusters import Clusters, FloatArray, Labels, checked_confidence, checked_scores
from evalkit.stats.composition import Composition
from evalkit.stats.exact import BoundedMean, exact_interval
from evalkit.stats.robust import ClusteredStatistic, clustered_statistic

ONE_VIDEO = "one video only: no interval, because nothing tells how much videos differ"
NO_SPREAD = "no two videos differ: no spread to take an interval from"

# Below so many effective successes or failures the estimate is skewed and its error unsure (the usual
# success/failure condition); the simulations in tests/simulation show where coverage is lost.
_RARE = 10.0
# Fewer videos of equal weight than two are one video and crumbs.
_FEWEST_EFFECTIVE_VIDEOS = 2.0
_FEW_FREEDOM = 8.0


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
        effective_n: ``n / deff``, never more than n; None where unknown.
        method: How the interval was made: ``cr2-logit``, ``cr2-t``, ``exact``, ``percentile`` or ``none``.
        note: What a reader must know, in words; empty when there is nothing.
        freedom: Degrees of freedom of `se`; None where there is none.
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
    freedom: float | None = None


def mean_by_cluster(scores: ArrayLike, clusters: Labels | Clusters, *, confidence: float = 0.95) -> Estimate:
    """Return the mean score over all questions with its interval (`headline_estimate` of the whole)."""
    return headline_estimate(scores, clusters, confidence=confidence)


def headline_estimate(
    scores: ArrayLike,
    clusters: Labels | Clusters,
    *,
    composition: Composition | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Return a score with an interval that knows that questions on one video are alike and videos unequal.

    The error is CR2 with Satterthwaite degrees of freedom (`clustered_statistic`). Scores in [0, 1] get Student's
    interval on the logit scale, so that it stays between 0 and 1 and is longer towards the middle; others get
    the plain one. With fewer than 10 effective right (or wrong) answers, or where no two videos differ, no
    variance can be trusted, and the exact interval (`BoundedMean`) takes its place. There is none from one video,
    none where one video weighs so much that fewer than two remain, and none for an average one of whose cells
    lies on a single video.

    Args:
        scores: Shape ``(n,)``, one per question (average repeated samples first, `average_repeats`).
        clusters: One video id per question.
        composition: What the score is made of; the mean over all questions when absent.
        confidence: Of the interval.

    Raises:
        UsageError: No scores, NaN among them, or labels that do not match.
    """
    values = checked_scores(scores)
    videos = Clusters.of(clusters, values.size)
    checked_confidence(confidence)
    found = clustered_statistic(values, videos, composition)
    refused = too_uneven(found)
    if refused:
        return _estimate(found, None, "none", refused)
    shares = bool(values.min() >= 0 and values.max() <= 1)
    if found.without_spread and not shares:
        return _estimate(found, None, "none", NO_SPREAD)
    if shares:
        rare = _rare(found)
        if rare:
            mean = BoundedMean(found.means, found.shares, 0.0, 1.0, found.random_share)
            return _estimate(found, exact_interval(mean, confidence), "exact", rare)
    interval = student_interval(found, confidence, logit=shares)
    return _estimate(found, interval, "cr2-logit" if shares else "cr2-t", few_videos_note(found))


def too_uneven(found: ClusteredStatistic) -> str:
    """Return why the data cannot carry an interval, or nothing where they can."""
    if found.clusters == 1:
        return ONE_VIDEO
    if found.lone_cells:
        names = ", ".join(found.lone_cells)
        return f"no interval: {names} on one video only, and nothing tells how much others would differ"
    if found.effective_videos < _FEWEST_EFFECTIVE_VIDEOS * (1 - 1e-9):
        share = 100 * found.largest_share
        return f"no interval: one video holds {share:.0f} % of the weight, so nothing tells how much videos differ"
    return ""


def _rare(found: ClusteredStatistic) -> str:
    """Return why no variance can be trusted, or nothing: no spread, or few effective right (or wrong) answers."""
    if found.without_spread or found.se is None:
        return f"no two of {found.clusters} videos differ: exact interval"
    if found.thin_cells:
        return thin_note(found)
    value = min(1.0, max(0.0, found.value))
    effective = min(float(found.n), value * (1 - value) / found.se**2)
    rarer = effective * min(value, 1 - value)
    if rarer >= _RARE:
        return ""
    kind = "failures" if value > 0.5 else "successes"
    return f"exact interval, wider than most: only {rarer:.1f} effective {kind}"


def thin_note(found: ClusteredStatistic) -> str:
    """Return what to say where a part of an average lies on few videos."""
    return f"exact interval, wider than most: {', '.join(found.thin_cells)} on few videos"


def student_interval(found: ClusteredStatistic, confidence: float, *, logit: bool = False) -> Interval:
    """Return Student's interval around the value, or with `logit` around its log odds."""
    critical = float(distributions.t.ppf(1 - (1 - confidence) / 2, found.freedom))
    half = critical * (found.se or 0.0)
    if not logit:
        return Interval(found.value - half, found.value + half)
    odds = np.log(found.value) - np.log1p(-found.value)
    reach = half / (found.value * (1 - found.value))
    low, high = 1 / (1 + np.exp(-(odds - reach))), 1 / (1 + np.exp(-(odds + reach)))
    return Interval(float(low), float(high))


def few_videos_note(found: ClusteredStatistic) -> str:
    """Return what to say about an interval that rests on few or on unequal videos, or nothing."""
    if found.freedom is None or found.freedom >= _FEW_FREEDOM:
        return ""
    return f"{found.clusters} videos carry {found.freedom:.1f} degrees of freedom: a wide interval"


def _estimate(found: ClusteredStatistic, interval: Interval | None, method: str, note: str) -> Estimate:
    return Estimate(
        value=found.value,
        se=found.se if method != "none" or not found.without_spread else None,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        n=found.n,
        clusters=found.clusters,
        deff=found.deff,
        effective_n=found.effective_n,
        method=method,
        note=note,
        freedom=found.freedom,
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
