"""Which places in a ranking the data leave open, all models at once, from resampled strengths."""

from __future__ import annotations

__all__ = ["Place", "places"]

from dataclasses import dataclass

import numpy as np
from scipy import stats as distributions

from evalkit.stats.clusters import NEGLIGIBLE, FloatArray


@dataclass(frozen=True, slots=True)
class Place:
    """What holds for one model together with what holds for all the others.

    Args:
        best: The best place the data leave open.
        worst: The worst.
        low: Lower end of the simultaneous interval of its strength against the anchor.
        high: Upper end.
        bound: Lower one-sided bound of that strength, of all models at once.
    """

    best: int
    worst: int
    low: float
    high: float
    bound: float


def places(
    strengths: FloatArray, samples: FloatArray, *, anchor: int, clusters: int, confidence: float
) -> tuple[Place, ...] | None:
    """Return for each model the places and the strengths that hold for all models together.

    Every difference of two strengths is divided by its resampled error, and the quantile of the largest such
    ratio in a resample (max-t; Mogstad, Romano, Shaikh & Wilhelm 2024) serves them all, so that with `confidence`
    none of the statements is wrong. It is stretched by Student's over the normal quantile for so many videos.

    Args:
        strengths: Shape ``(M,)``.
        samples: Shape ``(B, M)``: refitted on resampled videos; NaN where a resample has no fit.
        anchor: The model all strengths are held to.
        clusters: Videos.
        confidence: Of all statements together.

    Returns:
        None with one video, or where fewer than half of the resamples have a fit.
    """
    whole = samples[np.all(np.isfinite(samples), axis=1)]
    if clusters < 2 or len(whole) < max(2, len(samples) / 2):
        return None
    gaps = whole[:, :, None] - whole[:, None, :]
    observed = strengths[:, None] - strengths[None, :]
    errors = gaps.std(axis=0, ddof=1) * np.sqrt(clusters / (clusters - 1))
    usable = errors > NEGLIGIBLE
    scale = np.where(usable, errors, np.inf)
    tail = 1 - (1 - confidence) / 2
    stretched = float(distributions.t.ppf(tail, clusters - 1) / distributions.norm.ppf(tail))
    ratios = (gaps - observed) / scale
    two_sided = stretched * float(np.quantile(np.abs(ratios).max(axis=(1, 2)), confidence))
    against = ratios[:, :, anchor]
    one_sided = stretched * float(np.quantile(against.max(axis=1), confidence))
    reach = two_sided * errors
    better = usable & (observed - reach > 0)
    count = strengths.size
    return tuple(
        Place(
            best=1 + int(better[:, model].sum()),
            worst=count - int(better[model].sum()),
            low=float(observed[model, anchor] - reach[model, anchor]),
            high=float(observed[model, anchor] + reach[model, anchor]),
            bound=float(observed[model, anchor] - one_sided * errors[model, anchor]),
        )
        for model in range(count)
    )
