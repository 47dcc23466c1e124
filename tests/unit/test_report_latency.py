"""Latency: hand-worked percentiles, per-token times, stage shares, windows and slopes from ticks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from run_folders import narration_run

from evalkit.records import StageTimes, TickRecord
from evalkit.report.curves import bin_width, binned
from evalkit.report.latency import latency_table, stage_table, summarize_ticks, window_table
from evalkit.report.runs import load_runs
from evalkit.report.summary import latency_tables
from evalkit.timing.percentiles import percentiles


def tick(
    second: int, *, sample: str = "a", generated: int = 10, start: float = 1000.0, **stages: float
) -> TickRecord:
    times = {"vision_encode": 0.1, "prefill": 0.2, "generate": 0.3, "other": 0.4, **stages}
    total = times.pop("total", sum(times.values()))
    return TickRecord(
        sample=sample,
        second=second,
        start=start + second,
        end=start + second + 1,
        frames=2,
        stages=StageTimes(**times, total=total),
        generated=generated,
        cache_tokens=100 * (second + 1),
        peak_mib=500 + second / 60,
    )


def test_percentiles_interpolate_between_order_statistics() -> None:
    found = percentiles([4.0, 1.0, 3.0, 2.0])
    assert found is not None
    assert (found.n, found.p50, found.max, found.mean) == (4, 2.5, 4.0, 2.5)
    assert found.p95 == pytest.approx(3.85)
    assert found.p99 == pytest.approx(3.97)


def test_percentiles_leave_out_what_is_no_number_and_say_how_many_remain() -> None:
    found = percentiles([1.0, None, math.nan, math.inf])
    assert found is not None
    assert (found.n, found.max) == (1, 1.0)
    assert percentiles([]) is None
    assert percentiles([math.nan]) is None


def test_time_per_token_is_encode_prefill_and_generate_over_the_tokens_of_that_second() -> None:
    summary = summarize_ticks("m", [tick(0, generated=10), tick(1, generated=20), tick(2, generated=0)])
    assert summary.per_token is not None
    assert summary.per_token.n == 2, "a silent second has no time per token"
    assert summary.per_token.max == pytest.approx(0.6 / 10)
    assert summary.per_token.p50 == pytest.approx((0.6 / 10 + 0.6 / 20) / 2)


def test_shares_and_real_time_factor_come_from_sums() -> None:
    summary = summarize_ticks("m", [tick(0), tick(1, generate=1.3)])
    assert summary.overall_rtf == pytest.approx((1.0 + 2.0) / 2)
    assert summary.stage_shares["generate"] == pytest.approx(1.6 / 3.0)
    assert sum(summary.stage_shares.values()) == pytest.approx(1.0)
    assert summary.unaccounted == 0.0


def test_time_that_no_stage_explains_is_named() -> None:
    summary = summarize_ticks("m", [tick(0, total=1.25)])
    assert summary.unaccounted == pytest.approx(0.2)
    assert any("20.0% of the time unexplained" in note for note in latency_table([summary]).notes)
    within = summarize_ticks("m", [tick(0, total=1.01)])
    assert within.unaccounted == 0.0


def test_a_tick_without_a_valid_time_is_left_out_and_counted() -> None:
    summary = summarize_ticks("m", [tick(0), tick(1, total=math.nan), tick(2, total=0.0)])
    assert (summary.ticks, summary.left_out) == (3, 2)
    assert summary.per_second is not None
    assert summary.per_second.n == 1
    assert any("2 of 3 ticks have no valid time" in note for note in latency_table([summary]).notes)


def test_stream_time_starts_with_each_sample_not_with_the_film() -> None:
    ticks = [
        tick(second, sample=name, start=start)
        for name, start in (("a", 1000.0), ("b", 0.0))
        for second in range(90)
    ]
    table = window_table([summarize_ticks("m", ticks)])
    assert [row[1:3] for row in table.rows] == [("0–1 min", 120), ("1–10 min", 60)]


def test_memory_slope_is_the_growth_a_minute() -> None:
    slope = summarize_ticks("m", [tick(second) for second in range(600)]).slope
    assert slope is not None
    assert (slope.points, slope.low) == (9, None)
    assert slope.slope == pytest.approx(1.0)
    assert summarize_ticks("m", [tick(second) for second in range(120)]).slope is None


def test_a_memory_slope_has_an_interval_from_45_minutes_on() -> None:
    slope = summarize_ticks("m", [tick(second) for second in range(60 * 46)]).slope
    assert slope is not None
    assert slope.points == 45
    assert slope.low is not None
    assert slope.low <= slope.slope <= slope.high + 1e-9


def test_a_p99_that_the_seconds_cannot_bound_is_left_out_and_a_median_of_many_stretches_has_an_interval() -> None:
    few, many = (summarize_ticks("m", [tick(s, other=0.4 + s % 7 / 100) for s in range(n)]) for n in (98, 299))
    table = latency_table([few, many])
    names = [column.name for column in table.columns]
    p50, p99 = names.index("Second p50"), names.index("Second p99")
    assert table.rows[0][p99] is None
    assert table.rows[1][p99] is not None
    assert any("No p99 below 299 seconds" in note for note in table.notes)
    assert table.rows[1][p50].low <= table.rows[1][p50].value <= table.rows[1][p50].high


def test_no_ticks_give_dashes_and_no_number() -> None:
    summary = summarize_ticks("m", [])
    for table in (latency_table([summary]), stage_table([summary])):
        assert set(table.shown()[0][1:]) <= {"–", "0"}
    assert window_table([summary]).rows == ()


def test_bins_are_round_and_hold_every_value() -> None:
    assert bin_width(100, 120) == 1.0
    assert bin_width(7200, 120) == 60.0
    curve = binned("m", np.array([0.5, 1.5, 9.5, 10.5]), np.array([1.0, 3.0, math.nan, 5.0]), 10.0)
    assert (curve.x, curve.mid, curve.n) == ((5.0, 15.0), (2.0, 5.0), (2, 1))


def test_a_loaded_models_seconds_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    alone = narration_run(tmp_path / "alone", "alone", videos=1, judged=False)
    loaded = narration_run(tmp_path / "loaded", "loaded", videos=1, judged=False, latency="loaded")
    tables = latency_tables(load_runs([loaded, alone]), windows=False)
    assert [[row[0] for row in table.rows] for table in tables] == [["alone"]] * 3 + [["loaded"]] * 3
    assert ["several samples under way at once" in table.caption for table in tables] == [False] * 3 + [True] * 3
    assert len(latency_tables(load_runs([alone]))) == 4
