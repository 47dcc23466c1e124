"""How sure a share of missed deadlines is: exact bounds, and when a claim may be made at all (no torch)."""

from __future__ import annotations

__all__ = ["accepts_tail", "binomial_interval", "needed_for_percentile"]

import math


def binomial_interval(misses: int, seconds: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Clopper and Pearson's interval of a share, as if seconds were independent of each other.

    Args:
        misses: Seconds that missed.
        seconds: All seconds, > 0.
        confidence: Of the interval.
    """
    from scipy.stats import beta  # here, because every model imports this room and none needs it

    tail = (1 - confidence) / 2
    low = 0.0 if misses == 0 else float(beta.ppf(tail, misses, seconds - misses + 1))
    high = 1.0 if misses == seconds else float(beta.ppf(1 - tail, misses + 1, seconds - misses))
    return low, high


def accepts_tail(
    misses: int, hits: int, *, percentile: float = 0.99, tolerance: float = 0.0, confidence: float = 0.99
) -> bool:
    """Whether so many seconds support "at least ``percentile`` of all seconds are in time".

    LoadGen's early stopping (``loadgen/early_stopping.cc``): accepted iff
    ``P(Bin(hits + misses, 1 - percentile + tolerance) <= misses) <= 1 - confidence``.

    Args:
        misses: Seconds over the deadline.
        hits: Seconds in time.
        percentile: Share that is to be in time.
        tolerance: By how much less is still accepted.
        confidence: Of the claim.
    """
    from scipy.stats import binom

    chance = float(binom.cdf(misses, hits + misses, 1 - percentile + tolerance))
    return chance <= 1 - confidence


def needed_for_percentile(percentile: float, confidence: float = 0.99) -> int:
    """Return how many values a percentile can be claimed from, none of them above the claim.

    ``ln(1 - confidence) / ln(percentile)``: 459 for the 99th at 99 %, 90 for the 95th, 7 for the median.

    Args:
        percentile: As a share, 0 to 1.
        confidence: Of the claim.
    """
    return math.ceil(math.log(1 - confidence) / math.log(percentile))
