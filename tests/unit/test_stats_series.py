"""Trends and percentiles of series whose neighbouring values are alike."""

import numpy as np
import pytest

from evalkit.errors import UsageError
from evalkit.stats import quantile_interval, trend
from evalkit.stats.series import LEAST_TREND_POINTS


def alike(rng, length, correlation, series=1):
    """Return series ``(series, length)`` with that correlation between neighbours."""
    noise = rng.normal(size=(series, length))
    noise[:, 0] /= np.sqrt(1 - correlation**2)
    for place in range(1, length):
        noise[:, place] += correlation * noise[:, place - 1]
    return noise


def test_a_short_series_has_a_slope_and_no_interval():
    found = trend([1.0, 2.0, 4.0], [0, 1, 2])
    assert (found.slope, found.low, found.high, found.points) == (1.5, None, None, 3)
    assert trend(np.arange(LEAST_TREND_POINTS - 1.0), np.arange(LEAST_TREND_POINTS - 1)).low is None


def test_a_straight_line_has_its_slope_for_an_interval():
    found = trend(3.0 * np.arange(60) + 1, np.arange(60))
    assert found.slope == pytest.approx(3.0)
    assert found.low == pytest.approx(3.0, abs=1e-6)
    assert trend(np.full(60, 7.0), np.arange(60)) == trend(np.full(60, 9.0), np.arange(60))


def test_the_interval_of_a_trend_holds_it_in_92_percent_or_more_though_neighbours_are_alike():
    rng = np.random.default_rng(1)
    times, samples = np.arange(LEAST_TREND_POINTS), 250
    found = [trend(one, times) for one in alike(rng, times.size, 0.5, samples)]
    assert sum(one.low <= 0 <= one.high for one in found) / samples >= 0.92


def test_a_percentile_has_the_interval_of_the_share_below_it():
    rng = np.random.default_rng(3)
    values, blocks = rng.random(6000), np.arange(6000) // 60
    interval = quantile_interval(values, blocks, 0.5)
    # The binomial interval of a median of 6,000: 1.96 * sqrt(1/4 / 6000) = 0.0127 either side.
    assert (interval.low, interval.high) == pytest.approx((0.487, 0.513), abs=0.008)


def test_a_percentile_has_no_interval_from_few_stretches_or_where_none_bounds_it():
    values = np.arange(300.0)
    assert quantile_interval(values, np.arange(300) // 60, 0.5) is None
    assert quantile_interval(values, np.arange(300) // 10, 0.99) is None
    with pytest.raises(UsageError, match="between 0 and 1"):
        quantile_interval(values, np.arange(300), 95)
