"""Bounds on a mean that assume nothing but that videos are drawn alike: no variance, no normal theory."""

from __future__ import annotations

__all__ = ["BoundedMean", "exact_interval", "unseen_share"]

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from evalkit.stats.bootstrap import Interval
from evalkit.stats.clusters import FloatArray

# First step of the trapezoid rule, halved until half of it changes nothing; where the line ends.
_FIRST_STEP, _LAST_STEP, _ACCURACY, _FARTHEST = 0.2, 0.2 / 64, 1e-9, 60.0
# Log of the share of the integrand's height at which it is nothing.
_NOTHING_LEFT = 40.0


def unseen_share(videos: float, confidence: float = 0.95) -> float:
    """Return the largest share of videos that could show what none of these did (the rule of three, exactly).

    Solves ``(1 - share)**videos = 1 - confidence``.
    """
    return float(1 - (1 - confidence) ** (1 / videos))


@dataclass(frozen=True, slots=True, eq=False)
class BoundedMean:
    """Videos with their mean scores and weights.

    Args:
        means: Shape ``(C,)``: mean score of each video.
        shares: Shape ``(C,)``: weight of each, adding up to 1.
        least: The lowest score there can be.
        most: The highest.
        imagined: Weight of the video imagined beside them.
        copies: How often the same videos are imagined, to plan a larger sample; 1 for the sample itself.
    """

    means: FloatArray
    shares: FloatArray
    least: float
    most: float
    imagined: float
    copies: float = 1.0

    def lower(self, confidence: float) -> float:
        """Return the lower one-sided bound of the mean.

        One more video is imagined, at the lowest score, and all videos get independent exponential weights; the
        bound is the (1 - confidence)-quantile of their weighted mean (Gaffke 2005; Learned-Miller & Thomas 2019).
        Where every video scores one of the two extremes and all weigh the same it is Clopper and Pearson's bound;
        where none differs it is the rule of three. Lowering any video's score never raises it.

        The quantile is computed, not drawn: the weighted mean lies below m exactly where
        ``sum_c q_c (x_c - m) E_c`` is negative, whose distribution `_below_zero` gives.
        """
        used = self.shares > 0
        table = np.stack([self.means[used], self.shares[used]])
        distinct, times = np.unique(table, axis=1, return_counts=True)
        scores = np.append(distinct[0], self.least)
        weights = np.append(distinct[1], self.imagined)
        multiples = np.append(times * self.copies, 1.0)
        top = float(scores.max())
        if top <= self.least:
            return self.least

        def too_likely(mean: float, step: float) -> float:
            return _below_zero(weights * (scores - mean), multiples, step) - (1 - confidence)

        width = top - self.least
        low, high = self.least + 1e-12 * width, top - 1e-12 * width
        step = _FIRST_STEP
        if too_likely(low, step) >= 0:
            return self.least
        if too_likely(high, step) <= 0:
            return top
        while True:
            bound = float(brentq(too_likely, low, high, args=(step,), xtol=1e-10, rtol=1e-12))
            change = too_likely(bound, step) - too_likely(bound, step / 2)
            step /= 2
            if abs(change) <= _ACCURACY * (1 - confidence) or step < _LAST_STEP:
                return bound

    def upper(self, confidence: float) -> float:
        """Return the upper one-sided bound, the mirror image of `lower`."""
        mirrored = BoundedMean(-self.means, self.shares, -self.most, -self.least, self.imagined, self.copies)
        return 0.0 - mirrored.lower(confidence)


def exact_interval(mean: BoundedMean, confidence: float) -> Interval:
    """Return the two-sided interval: a one-sided bound with half the error at either end."""
    side = 1 - (1 - confidence) / 2
    return Interval(mean.lower(side), mean.upper(side))


def _below_zero(scales: FloatArray, multiples: FloatArray, step: float) -> float:
    """Return P(sum_i scales_i * Gamma(multiples_i) <= 0), as accurate in the tails as in the middle.

    The moment generating function ``prod (1 - scale s)**-multiple`` over s is integrated along the vertical line
    through its saddle, where nothing oscillates against itself (Lugannani & Rice 1980 expand the same integral);
    after ``y = width * sinh(v)`` the trapezoid rule with `step` in v converges geometrically.
    """
    used = scales != 0
    a, k = scales[used], multiples[used]
    if not np.any(a < 0):
        return 0.0
    if not np.any(a > 0):
        return 1.0
    if float(k @ a) < 0:
        return 1.0 - _tail(-a, k, step)
    return _tail(a, k, step)


def _tail(a: FloatArray, k: FloatArray, step: float) -> float:
    """Return the probability for a sum whose mean is not negative."""
    edge = 1 / float(a.min())

    def slope(at: float) -> float:
        return float(np.sum(k * a / (1 - a * at))) - 1 / at

    saddle = float(brentq(slope, edge * (1 - 1e-12), edge * 1e-9, xtol=1e-14 * abs(edge), rtol=1e-12))
    width = 1 / float(np.sqrt(np.sum(k * (a / (1 - a * saddle)) ** 2) + 1 / saddle**2))
    v = np.arange(0.0, _FARTHEST, step)
    y, weight = width * np.sinh(v), width * np.cosh(v)
    # Few nodes hold anything: a coarse look finds where the integrand has died away.
    coarse = slice(None, None, max(1, round(0.8 / step)))
    size = -0.5 * (k @ np.log((1 - a[:, None] * saddle) ** 2 + (a[:, None] * y[coarse]) ** 2))
    heights = size - np.log(np.hypot(saddle, y[coarse])) + np.log(weight[coarse])
    dead = np.flatnonzero(heights < heights[0] - _NOTHING_LEFT)
    last = int(dead[0]) * max(1, round(0.8 / step)) if dead.size else v.size
    y, weight = y[:last], weight[:last]
    turned = 1 - a[:, None] * (saddle + 1j * y)
    values = np.real(-np.exp(-(k @ np.log(turned))) / (saddle + 1j * y)) * weight
    return float(step * (values.sum() - 0.5 * values[0]) / np.pi)
