"""The median second of one run over that of another, with an interval over their common seconds."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.leaderboard.latency import median_seconds
from evalkit.records import StageTimes, TickRecord


def ticks(factor: float, seconds: int = 1200, seed: int = 0) -> list[TickRecord]:
    rng = np.random.default_rng(seed)
    drift = np.repeat(rng.normal(0, 0.03, seconds // 60 + 1), 60)[:seconds]
    times = factor * np.exp(rng.normal(0, 0.1, seconds) + drift)
    times[:: seconds // 10] *= 20
    return [
        TickRecord(sample="v", second=i, start=i, end=i + 1, frames=2, stages=StageTimes(total=float(time)))
        for i, time in enumerate(times)
    ]


def test_a_few_very_slow_seconds_do_not_move_the_median_ratio():
    found = median_seconds({"a": ticks(1.1), "b": ticks(1.0, seed=1)}).ratio("a", "b")
    assert found.ratio == pytest.approx(1.1, abs=0.04)
    assert found.low < 1.1 < found.high


def test_the_interval_of_the_ratio_covers_the_truth():
    hits = 0
    for seed in range(30):
        found = median_seconds({"a": ticks(1.1, 900, seed), "b": ticks(1.0, 900, 1000 + seed)}, draws=200).ratio(
            "a", "b"
        )
        hits += found.low <= 1.1 <= found.high
    assert hits >= 25


def test_a_stream_too_short_to_resample_has_no_interval():
    found = median_seconds({"a": ticks(1.0, 40), "b": ticks(1.0, 40)}).ratio("a", "b")
    assert (found.low, found.high) == (None, None)
