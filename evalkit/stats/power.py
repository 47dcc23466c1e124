"""How many videos a comparison needs, and what the videos at hand can show, from a pilot run's own spread."""

from __future__ import annotations

__all__ = ["VideosNeeded", "minimal_detectable_effect", "power_of_t", "videos_needed", "videos_to_decide"]

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as distributions
from scipy.optimize import brentq

from evalkit.errors import NothingCountedError, UsageError
from evalkit.stats.clusters import Clusters, Labels, checked_confidence, checked_scores
from evalkit.stats.composition import Composition
from evalkit.stats.exact import BoundedMean
from evalkit.stats.one import too_uneven
from evalkit.stats.robust import ClusteredStatistic, clustered_statistic

# Below so many pilot videos their own spread is a guess that may be far off.
_FEW_PILOT_VIDEOS = 40
# More videos than that is no plan.
_MOST_VIDEOS = 10_000_000


@dataclass(frozen=True, slots=True)
class VideosNeeded:
    """The answer to "how many videos do I need".

    Args:
        videos: Videos needed.
        questions: Questions on them, at the pilot's questions per video.
        effect: Difference to be found, in score units.
        power: Probability of finding it.
        deff: Design effect of the pilot; None where unknown.
        questions_per_video: Of the pilot.
        pilot_videos: Videos of the pilot.
        pilot_mde: What the pilot itself could have found; None where its two models differ on few videos only.
        note: What a reader must know; empty when there is nothing.
    """

    videos: int
    questions: int
    effect: float
    power: float
    deff: float | None
    questions_per_video: float
    pilot_videos: int
    pilot_mde: float | None
    note: str


def _checked_power(power: float) -> float:
    if not 0.5 <= power < 1:
        raise UsageError(f"power must lie between 0.5 and 1, got {power}")
    return power


def power_of_t(effect: float, se: float, freedom: float, confidence: float) -> float:
    """Return how often a two-sided t test finds a true difference, by the noncentral t distribution.

    Args:
        effect: True difference.
        se: Standard error of the observed difference, > 0.
        freedom: Degrees of freedom of the test.
        confidence: One minus the level of the test.
    """
    critical = float(distributions.t.ppf(1 - (1 - confidence) / 2, freedom))
    shift = abs(effect) / se
    above, below = distributions.nct.sf(critical, freedom, shift), distributions.nct.cdf(-critical, freedom, shift)
    # scipy's tail of the noncentral t underflows to NaN where it is zero.
    return float(np.nan_to_num(above, nan=1.0) + np.nan_to_num(below, nan=0.0))


def minimal_detectable_effect(se: float, freedom: float, *, confidence: float = 0.95, power: float = 0.8) -> float:
    """Return the true difference that the two-sided t test finds with the power asked for.

    With many degrees of freedom it is ``(z_{1-alpha/2} + z_{1-beta}) * se`` (Miller 2024); with few the noncentral
    t makes it larger, with 4 by a third.

    Args:
        se: Standard error of the difference, > 0.
        freedom: Its degrees of freedom, > 0.
        confidence: Of the two-sided test.
        power: Probability of finding the effect.

    Raises:
        UsageError: An error or degrees of freedom that are not positive.
    """
    if not (se > 0 and freedom > 0):
        raise UsageError(f"standard error and degrees of freedom must be positive, got {se} and {freedom}")
    checked_confidence(confidence)
    target = _checked_power(power)
    high = 4.0
    while power_of_t(high, 1.0, freedom, confidence) < target:
        high *= 2
    return se * float(brentq(lambda effect: power_of_t(effect, 1.0, freedom, confidence) - target, 0.0, high))


def videos_needed(
    pilot: ArrayLike,
    clusters: Labels | Clusters,
    effect: float,
    *,
    composition: Composition | None = None,
    rho: float | None = None,
    confidence: float = 0.95,
    power: float = 0.8,
) -> VideosNeeded:
    """Return how many videos like the pilot's show a difference of `effect` by the two-sided t test.

    The error shrinks with the root of the number of videos, its degrees of freedom grow in proportion.

    Args:
        pilot: Differences between two models, or (with `rho`) the scores of one model; shape ``(n,)``.
        clusters: The video of each question.
        effect: Difference to be found, in score units (0.01 is one point), > 0.
        composition: What the headline is made of; the mean over all questions when absent.
        rho: Correlation expected between the two models' scores; turns one model's variance into that of a
            difference, 2 Var (1 - rho), and takes the model's own design effect for the difference's.
        confidence: Of the two-sided test.
        power: Probability of finding the effect.

    Raises:
        UsageError: Fewer than two videos, or a rho outside [-1, 1).
        NothingCountedError: No spread at all.
    """
    if not effect > 0:
        raise UsageError(f"the effect to be found must be positive, got {effect}")
    values = checked_scores(pilot, "pilot scores")
    videos = Clusters.of(clusters, values.size)
    found = clustered_statistic(values, videos, composition)
    se, freedom = _usable_spread(found)
    if rho is not None and not -1 <= rho < 1:
        raise UsageError(f"rho must lie in [-1, 1), got {rho}")
    checked_confidence(confidence)
    target = _checked_power(power)
    se, count = se * math.sqrt(1.0 if rho is None else 2 * (1 - rho)), found.clusters

    def enough(wanted: int) -> bool:
        grown = wanted / count
        return power_of_t(effect, se / math.sqrt(grown), (freedom + 1) * grown - 1, confidence) >= target

    # Satterthwaite's degrees of freedom are at least one; fewer videos than give that plan nothing.
    least = max(2, math.ceil(2 * count / (freedom + 1)))
    needed = _smallest(enough, least)
    if needed is None:
        raise UsageError(f"more than {_MOST_VIDEOS:,} videos would be needed to find {100 * effect:g} points")
    few = rho is None and found.few_differ
    return VideosNeeded(
        videos=needed,
        questions=math.ceil(needed * values.size / count),
        effect=effect,
        power=power,
        deff=found.deff,
        questions_per_video=values.size / count,
        pilot_videos=count,
        pilot_mde=None if few else minimal_detectable_effect(se, freedom, confidence=confidence, power=power),
        note=_caveats(found, rho, few=few),
    )


def _caveats(found: ClusteredStatistic, rho: float | None, *, few: bool) -> str:
    """Return what a plan from such a pilot assumes, whose two models may differ on few videos only."""
    notes = []
    if few:
        notes.append(f"the spread is a guess: the pilots differ on {found.differing} of {found.clusters} videos")
    elif found.clusters < _FEW_PILOT_VIDEOS:
        notes.append(f"the spread is a guess from {found.clusters} pilot videos")
    if rho is not None:
        notes.append(f"assumes a correlation of {rho:g} between the two models' scores")
    return "; ".join(notes)


def _usable_spread(found: ClusteredStatistic) -> tuple[float, float]:
    """Return a pilot's standard error and its degrees of freedom, refusing a pilot that can plan nothing."""
    if found.clusters < 2:
        raise UsageError("a pilot on one video cannot tell how much videos differ: run it on two or more")
    if found.without_spread:
        raise NothingCountedError("the pilot shows no spread between videos to compute a sample size from")
    if found.se is None or found.freedom is None or too_uneven(found):
        raise UsageError(f"the pilot cannot plan a sample: {too_uneven(found)}")
    return found.se, found.freedom


def _smallest(enough: Callable[[int], bool], least: int) -> int | None:
    """Return the smallest number from `least` that is enough, or None where none up to the limit is."""
    high = least
    while not enough(high):
        if high >= _MOST_VIDEOS:
            return None
        high = min(2 * high, _MOST_VIDEOS)
    low = max(least - 1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def videos_to_decide(
    differences: ArrayLike,
    clusters: Labels | Clusters,
    margin: float,
    *,
    composition: Composition | None = None,
    confidence: float = 0.95,
    power: float = 0.8,
) -> int | None:
    """Return how many such videos let the exact bound tell the observed difference from a loss of `margin`.

    The videos at hand are imagined again and again, with the difference they show and not with none: where it lies
    above ``-margin`` the lower bound must come to lie above it too, else the upper bound below, and in `power` of
    all samples, so the mean is moved towards the margin by that quantile of its error.

    Args:
        differences: Shape ``(n,)``, head minus base per question, between -1 and 1.
        clusters: The video of each question.
        margin: Accepted loss, > 0.
        composition: What the headline is made of; the mean over all questions when absent.
        confidence: Of the one-sided bound.
        power: Probability of deciding.

    Returns:
        None where the difference is the margin itself, or where ten million videos would not do.

    Raises:
        UsageError: What `clustered_statistic` and the checks raise, or a margin that is not positive.
    """
    if not margin > 0:
        raise UsageError(f"a margin is a positive loss, got {margin}")
    values = checked_scores(differences, "differences")
    found = clustered_statistic(values, Clusters.of(clusters, values.size), composition)
    checked_confidence(confidence)
    if found.value == -margin:
        return None
    above = found.value > -margin
    unsure = float(distributions.norm.ppf(_checked_power(power))) * _spread(found)

    def enough(videos: int) -> bool:
        copies = videos / found.clusters
        moved = found.means + (-1 if above else 1) * unsure / math.sqrt(copies)
        mean = BoundedMean(np.clip(moved, -1.0, 1.0), found.shares, -1.0, 1.0, found.random_share, copies)
        return mean.lower(confidence) > -margin if above else mean.upper(confidence) < -margin

    return _smallest(enough, 2)


def _spread(found: ClusteredStatistic) -> float:
    """Return the standard error of the mean over videos by their weights, cells or none."""
    moments = found.shares * (found.means - found.value)
    return float(np.sqrt(moments @ moments * found.clusters / max(1, found.clusters - 1)))
