"""The virtual clock: hand-worked queues under each overload rule, backlog, misses, and claims of a tail."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evalkit.timing import (
    accepts_tail,
    binomial_interval,
    first_behind,
    minute_factors,
    needed_for_percentile,
    run_queue,
)

ARRIVAL = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
# Seconds 1 and 2 are slow: 1 is done at 3.5, 2 would wait until then.
SERVICE = np.array([0.5, 1.5, 1.25, 0.25, 0.25, 0.25])


def test_a_queue_begins_each_second_when_it_is_there_and_the_one_before_is_done() -> None:
    times = run_queue(ARRIVAL, SERVICE, "queue")
    assert times.begin.tolist() == [1.0, 2.0, 3.5, 4.75, 5.0, 6.0]
    assert times.end.tolist() == [1.5, 3.5, 4.75, 5.0, 5.25, 6.25]
    assert times.lag.tolist() == [0.5, 1.5, 1.75, 1.0, 0.25, 0.25]
    assert times.backlog.tolist() == [1, 1, 2, 2, 1, 1]
    assert times.missed(1.0).tolist() == [False, True, True, False, False, False]


def test_drop_new_drops_what_comes_while_a_second_is_in_work() -> None:
    times = run_queue(ARRIVAL, SERVICE, "drop-new")
    assert times.dropped.tolist() == [False, False, True, False, False, False]
    assert times.begin[3] == 4.0
    assert times.backlog.tolist() == [1, 1, 1, 1, 1, 1], "a dropped second never waits"
    assert times.missed(2.0).tolist() == [False, False, True, False, False, False], "dropped is missed"


def test_skip_to_latest_takes_the_newest_that_waits_and_drops_the_others() -> None:
    times = run_queue(ARRIVAL, np.array([3.5, 9.0, 9.0, 0.5, 0.5, 0.5]), "skip-to-latest")
    assert times.begin[0] == 1.0
    assert times.dropped.tolist() == [False, True, True, False, False, False]
    assert times.begin[3] == 4.5
    assert times.backlog.tolist() == [1, 2, 3, 4, 1, 1], "skipped seconds wait until the newest is taken"


def test_a_second_that_comes_just_as_the_session_is_free_is_not_dropped() -> None:
    for rule in ("drop-new", "skip-to-latest"):
        times = run_queue(np.array([0.1, 0.2, 0.30000000000000004]), np.full(3, 0.1), rule)
        assert not times.dropped.any(), rule


def test_a_lag_of_the_deadline_is_in_time_whatever_the_rounding() -> None:
    times = run_queue(np.array([0.1 + 0.2]), np.array([1.0]))
    assert not times.missed(1.0).any()


def test_service_times_that_are_none_are_refused() -> None:
    for service in ([-1.0], [math.nan], [math.inf], [1.0, 2.0]):
        with pytest.raises(ValueError, match=r"service|match"):
            run_queue(np.array([1.0]), np.array(service))
    with pytest.raises(ValueError, match="in order"):
        run_queue(np.array([2.0, 1.0]), np.ones(2))


def test_a_tail_is_claimed_from_as_many_seconds_as_loadgen_asks_for() -> None:
    assert needed_for_percentile(0.99) == 459
    assert accepts_tail(0, 459)
    assert not accepts_tail(0, 458)
    assert not accepts_tail(1, 600)
    assert accepts_tail(1, 700)


def test_the_exact_interval_of_no_miss_is_the_rule_of_three() -> None:
    low, high = binomial_interval(0, 100)
    assert low == 0
    assert high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert binomial_interval(100, 100)[1] == 1


def test_a_session_falls_behind_when_a_whole_minute_took_longer_than_a_minute() -> None:
    service = np.concatenate([np.full(90, 0.5), np.full(60, 1.4)])
    factors = minute_factors(np.ones(150), service)
    assert np.isnan(factors[:59]).all()
    assert factors[59] == pytest.approx(0.5)
    # After 90 s the minute holds x seconds at 1.4 and 60 - x at 0.5: over one from x = 34 on.
    assert first_behind(np.ones(150), service) == 124
    assert first_behind(np.ones(90), service[:90]) is None
