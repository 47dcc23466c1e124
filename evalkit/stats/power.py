"""How many videos a comparison needs, and what the videos at hand can show, from a pilot run's own spread."""

from __future__ import annotations

__all__ = ["VideosNeeded", "minimal_detectable_effect", "questions_needed", "videos_needed"]

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as distributions

from evalkit.errors import NothingCountedError, UsageError
from evalkit.stats.bootstrap import BOOTSTRAP_T_BELOW
from evalkit.stats.clusters import Clusters, Labels, checked_confidence, checked_scores, clustered_mean


@dataclass(frozen=True, slots=True)
class VideosNeeded:
    """The answer to "how many videos do I need".

    Args:
        videos: Videos needed.
        questions: Questions on them, at the pilot's questions per video.
        effect: Difference to be found, in score units.
        power: Probability of finding it.
        variance: Variance of the difference between the two models on one question (omega^2 and noise).
        deff: Design effect of the pilot.
        questions_per_video: Of the pilot.
        pilot_videos: Videos of the pilot.
        pilot_mde: What the pilot itself could have found.
        note: What a reader must know; empty when there is nothing.
    """

    videos: int
    questions: int
    effect: float
    power: float
    variance: float
    deff: float
    questions_per_video: float
    pilot_videos: int
    pilot_mde: float
    note: str


def _quantiles(confidence: float, power: float) -> float:
    if not 0.5 <= power < 1:
        raise UsageError(f"power must lie between 0.5 and 1, got {power}")
    tail = 1 - (1 - checked_confidence(confidence)) / 2
    return float(distributions.norm.ppf(tail) + distributions.norm.ppf(power))


def questions_needed(
    effect: float, variance: float, *, deff: float = 1.0, confidence: float = 0.95, power: float = 0.8
) -> int:
    """Return n = (z_{1-alpha/2} + z_{1-beta})^2 * variance * DEFF / effect^2 (Miller 2024).

    Args:
        effect: Difference to be found, in score units, > 0.
        variance: omega^2 + sigma_A^2/K_A + sigma_B^2/K_B, the variance of a question's observed difference.
        deff: Design effect of the differences.
        confidence: Of the two-sided test.
        power: Probability of finding the effect.

    Raises:
        UsageError: An effect, a variance or a design effect that is not positive.
    """
    if not effect > 0:
        raise UsageError(f"the effect to be found must be positive, got {effect}")
    return math.ceil(_quantiles(confidence, power) ** 2 * _positive(variance, deff) / effect**2)


def minimal_detectable_effect(
    n: int, variance: float, *, deff: float = 1.0, confidence: float = 0.95, power: float = 0.8
) -> float:
    """Return MDE = (z_{1-alpha/2} + z_{1-beta}) * sqrt(variance * DEFF / n) (Miller 2024).

    Args:
        n: Questions, >= 1.
        variance: omega^2 + sigma_A^2/K_A + sigma_B^2/K_B; for one pilot 2 sd^2 (1 - rho).
        deff: Design effect of the differences.
        confidence: Of the two-sided test.
        power: Probability of finding the effect.

    Raises:
        UsageError: No questions, or a variance or design effect that is not positive.
    """
    if n < 1:
        raise UsageError(f"a minimal detectable effect needs questions, got {n}")
    return _quantiles(confidence, power) * math.sqrt(_positive(variance, deff) / n)


def _positive(variance: float, deff: float) -> float:
    if not (variance > 0 and deff > 0):
        raise UsageError(f"variance and design effect must be positive, got {variance} and {deff}")
    return variance * deff


def videos_needed(
    pilot: ArrayLike,
    clusters: Labels | Clusters,
    effect: float,
    *,
    rho: float | None = None,
    confidence: float = 0.95,
    power: float = 0.8,
) -> VideosNeeded:
    """Return how many videos show a difference of `effect`, from the pilot's own variance and design effect.

    Args:
        pilot: Differences between two models, or (with `rho`) the scores of one model; shape ``(n,)``.
        clusters: The video of each question.
        effect: Difference to be found, in score units (0.01 is one point), > 0.
        rho: Correlation expected between the two models' scores; turns one model's variance into that of a
            difference, 2 Var (1 - rho), and takes the model's own design effect for the difference's.
        confidence: Of the two-sided test.
        power: Probability of finding the effect.

    Raises:
        UsageError: Fewer than two videos, or a rho outside [-1, 1).
        NothingCountedError: No spread at all.
    """
    values = checked_scores(pilot, "pilot scores")
    videos = Clusters.of(clusters, values.size)
    mean = clustered_mean(values, videos)
    if mean.clusters < 2:
        raise UsageError("a pilot on one video cannot tell how much videos differ: run it on two or more")
    deff = mean.deff
    if mean.without_spread or not deff:
        raise NothingCountedError("the pilot shows no spread between videos to compute a sample size from")
    if rho is not None and not -1 <= rho < 1:
        raise UsageError(f"rho must lie in [-1, 1), got {rho}")
    variance = float(np.var(values, ddof=1)) * (1.0 if rho is None else 2 * (1 - rho))
    questions = questions_needed(effect, variance, deff=deff, confidence=confidence, power=power)
    per_video = values.size / videos.count
    needed = max(2, math.ceil(questions / per_video))
    notes = []
    if videos.count < BOOTSTRAP_T_BELOW:
        notes.append(f"the design effect is a guess from {videos.count} pilot videos")
    if rho is not None:
        notes.append(f"assumes a correlation of {rho:g} between the two models' scores")
    return VideosNeeded(
        videos=needed,
        questions=max(questions, math.ceil(needed * per_video)),
        effect=effect,
        power=power,
        variance=variance,
        deff=deff,
        questions_per_video=per_video,
        pilot_videos=videos.count,
        pilot_mde=minimal_detectable_effect(values.size, variance, deff=deff, confidence=confidence, power=power),
        note="; ".join(notes),
    )
