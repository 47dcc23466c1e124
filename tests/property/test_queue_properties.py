"""Whatever the service times: no lag is negative, every second is done or dropped, and work never overlaps."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evalkit.timing import OVERLOAD_RULES, run_queue

services = arrays.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 5))
rules = st.sampled_from(OVERLOAD_RULES)


def arrivals(service: Any) -> Any:
    return np.arange(1.0, service.size + 1)


@given(services, rules)
def test_no_second_is_done_before_it_came_or_takes_less_than_its_service(service: Any, rule: Any) -> None:
    times = run_queue(arrivals(service), service, rule)
    done = ~times.dropped
    assert (times.lag[done] >= service[done] - 1e-9).all()
    assert (times.begin[done] >= times.arrival[done]).all()


@given(services, rules)
def test_one_second_is_in_work_at_a_time_and_each_is_done_or_dropped(service: Any, rule: Any) -> None:
    times = run_queue(arrivals(service), service, rule)
    done = ~times.dropped
    assert (times.begin[done][1:] >= times.end[done][:-1] - 1e-9).all()
    assert int(done.sum()) + int(times.dropped.sum()) == service.size
    assert done[0], "the first second finds a free session"
    assert rule != "queue" or done.all()
    assert np.isfinite(times.left).all()


@given(services, rules)
def test_backlog_counts_who_has_come_and_not_left(service: Any, rule: Any) -> None:
    times = run_queue(arrivals(service), service, rule)
    for place, now in enumerate(times.arrival.tolist()):
        assert times.backlog[place] == int((times.left[: place + 1] > now + 1e-9).sum())


@given(services)
def test_the_recursion_is_the_textbook_one(service: Any) -> None:
    times, free = run_queue(arrivals(service), service), 0.0
    for arrival, takes, end in zip(times.arrival, service, times.end, strict=True):
        free = max(arrival, free) + takes
        assert end == free


@given(services, st.floats(0.25, 1))
def test_a_faster_machine_never_waits_longer(service: Any, share: float) -> None:
    slow, fast = run_queue(arrivals(service), service), run_queue(arrivals(service), service * share)
    assert (fast.lag <= slow.lag + 1e-9).all()
    assert int(fast.backlog.max()) <= int(slow.backlog.max())
