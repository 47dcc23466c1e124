"""How often a gate is wrong: whole videos broken by as much as the margin, and a series of equal heads.

With equal videos that break wholly or not at all the verdict depends on how many broke, so the first is exact
and needs no draws: the binomial probability of every number of broken videos that passes.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as distributions

from evalkit.leaderboard.gate_rule import error_of_look, judge_score
from evalkit.stats import exact_bounds


def passing(videos: int, margin: float) -> int:
    """Return the largest number of broken videos with which the gate passes, -1 where none does."""
    broken = -1
    while broken < videos:
        head = [0.0] * (broken + 1) + [1.0] * (videos - broken - 1)
        if judge_score([1.0] * videos, head, list(range(videos)), margin).outcome != "pass":
            return broken
        broken += 1
    return broken


@pytest.mark.parametrize(("videos", "margin"), [(20, 0.2), (50, 0.1), (50, 0.2), (200, 0.02), (200, 0.05)])
def test_a_true_loss_of_the_margin_passes_in_at_most_5_of_100_gates(videos, margin):
    most = passing(videos, margin)
    assert distributions.binom.cdf(most, videos, margin) <= 0.05
    # The next number of broken videos would be too many: the bound is as sharp as an exact one can be.
    assert distributions.binom.cdf(most + 1, videos, margin) > 0.05


def series_with_a_wrong_fail(series: int, heads: int, margin: float) -> tuple[float, float]:
    """Return the share of series of equal heads in which one is failed, each at 5 % and by looks."""
    rng = np.random.default_rng(0)
    videos = np.repeat(np.arange(50), 5)
    wrong = np.zeros(2)
    for _ in range(series):
        failed = [False, False]
        for look in range(1, heads + 1):
            changes = (rng.random(250) < 0.1) * rng.choice([-1.0, 1.0], 250)
            for place, error in enumerate((error_of_look(None), error_of_look(look))):
                high = exact_bounds(changes, videos, confidence=1 - error).high
                failed[place] |= high < -margin
        wrong += failed
    return float(wrong[0] / series), float(wrong[1] / series)


def test_looks_at_a_series_of_equal_heads_seldom_fail_one():
    _, by_looks = series_with_a_wrong_fail(series=5, heads=10, margin=0.001)
    assert by_looks == 0


@pytest.mark.slow
def test_looks_at_long_series_of_equal_heads_keep_their_error_together():
    alone, by_looks = series_with_a_wrong_fail(series=200, heads=20, margin=0.001)
    assert by_looks <= 0.05
    assert alone > by_looks
