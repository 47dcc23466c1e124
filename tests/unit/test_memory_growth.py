"""Memory sampled on a thread of its own, its slope over the stream, and when it would be full."""

from __future__ import annotations

import random
from typing import Any

import pytest

from evalkit.records import StageTimes, TickRecord, TickTable
from evalkit.report.growth import memory_growth
from evalkit.timing import MemorySampler


def stream(memory: Any, seconds: int) -> TickTable:
    return TickTable.of(
        TickRecord(
            sample="s", second=second, start=second, end=second + 1, frames=1, stages=StageTimes(total=0.1),
            memory=memory(second),
        )
        for second in range(seconds)
    )  # fmt: skip


def test_a_reading_between_two_seconds_is_the_highest_since_the_second_began() -> None:
    now, levels = [0.0], iter([5.0, 9.0, 4.0, 3.0, 2.0])
    sampler = MemorySampler({"rss": lambda: next(levels)}, now=lambda: now[0])
    for at in (0.0, 1.0, 2.0):
        now[0] = at
        sampler.sample()
    assert sampler.highest(1.5) == {"rss": 9.0}, "of 9, 4 and 3 at 1, 2 and 2 s; 5 was read before"
    now[0] = 3.4
    assert sampler.highest(1.0) == {"rss": 2.0}


def test_the_thread_reads_while_the_work_goes_on_and_a_reader_that_breaks_is_asked_no_more() -> None:
    calls = []

    def broken() -> float:
        calls.append(1)
        raise OSError("no driver")

    with MemorySampler({"rss": lambda: 7.0, "device": broken}, every=0.001) as sampler:
        while len(sampler._read) < 5:
            pass
    assert sampler.highest(60) == {"rss": 7.0}
    assert len(calls) == 1
    assert not sampler._thread.is_alive()


def test_a_cache_that_grows_has_a_slope_with_interval_and_a_time_at_which_memory_is_full() -> None:
    rng = random.Random(0)

    def memory(second: int) -> dict[str, float]:
        return {"rss": 1000 + second / 6 + rng.random(), "reserved": 500.0}

    rss, reserved = memory_growth(stream(memory, 1800), {"memory_gib": 2, "gpu_memory_gib": 1})
    assert rss.slope.slope == pytest.approx(10, rel=0.01)
    assert rss.slope.low is not None
    assert rss.slope.high is not None
    assert rss.slope.low < 10 < rss.slope.high
    assert rss.level == pytest.approx(1300, abs=2)
    assert rss.minutes_left == pytest.approx((2048 - 1300) / 10, rel=0.01)
    assert (reserved.flat, reserved.grows, reserved.minutes_left) == (True, False, None)


def test_a_step_in_the_first_minute_is_no_growth_and_a_short_stream_tells_nothing() -> None:
    (found,) = memory_growth(stream(lambda second: {"rss": 900.0 + 50 * min(second, 59)}, 1200), {})
    assert found.flat
    assert found.capacity is None
    assert memory_growth(stream(lambda second: {"rss": 900.0}, 200), {}) == []
    (short,) = memory_growth(stream(lambda second: {"rss": 900.0 + second}, 300), {"memory_gib": 1})
    assert (short.flat, short.minutes_left) == (None, None)
    assert short.slope.slope == pytest.approx(60)


def test_ticks_with_and_without_memory_come_back_whole() -> None:
    ticks = [
        TickRecord(sample="s", second=0, start=0, end=1, frames=1, stages=StageTimes()),
        TickRecord(sample="s", second=1, start=1, end=2, frames=1, stages=StageTimes(), memory={"rss": 3.5}),
        TickRecord(
            sample="s", second=2, start=2, end=3, frames=1, stages=StageTimes(), token_times=[0.1, 0.3, 0.6],
            memory={"device": 1.0},
        ),
    ]  # fmt: skip
    table = TickTable.of(ticks)
    assert list(table) == ticks
    assert list(table.where([2, 0])) == [ticks[2], ticks[0]]  # type: ignore[arg-type]
    assert table.token_times.gaps().tolist() == pytest.approx([0.2, 0.3])
    assert table.token_times.last()[2] == 0.6
