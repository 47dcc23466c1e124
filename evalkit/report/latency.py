"""Latency and memory of a run, computed from its tick records alone.

Definitions: stages, real-time factor and memory slope as service times with a device sync at their ends;
latency per token as StreamingVLM's ``eval/efficiency/efficiency_test.py`` has it (vision encode + prefill +
generate of one second, over the tokens of that second).
"""

from __future__ import annotations

__all__ = [
    "WINDOWS",
    "LatencySummary",
    "latency_table",
    "memory_table",
    "stage_table",
    "summarize_ticks",
    "window_table",
]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.records import TickRecord, TickTable
from evalkit.report.tables import Cell, Column, Estimate, Table
from evalkit.stats.bootstrap import Interval
from evalkit.stats.series import LEAST_TREND_POINTS, Trend, quantile_interval, trend
from evalkit.timing import STAGES
from evalkit.timing.percentiles import Percentiles, percentiles

Floats = NDArray[np.float64]

# Stream-time windows in which real-time factors are read, seconds: cost that grows shows only in the later ones.
WINDOWS = ((0.0, 60.0), (60.0, 600.0), (600.0, 3600.0), (3600.0, float("inf")))
# From so many values on, the largest is above the true p99 in 95 of 100 samples (1 - 0.99**299 = 0.95); the p99 of
# fewer is biased low.
LEAST_P99_SECONDS = 299
_STRETCH_SECONDS, _SHORT_STRETCH_SECONDS, _SHORT_STREAM_SECONDS = 60, 10, 600
# Stages must explain the total to this share, else the gap is shown as time nobody accounts for.
STAGE_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Latency and memory of one run.

    Args:
        name: What tables call the run.
        ticks: Stream seconds on record.
        left_out: Ticks whose total time is not a positive number; no percentile has them.
        per_second: Service time of one tick, seconds; ``None`` where no tick has a time.
        per_token: (vision encode + prefill + generate) / tokens of a tick, seconds; ticks without a token
            are left out.
        first_token: Time to the first token of a tick, seconds.
        real_time_factor: Service time over media time of a tick; at most 1 sustains.
        overall_rtf: Sum of service times over sum of media times.
        stage_shares: Share of each stage in the summed service time.
        unaccounted: Share of the service time that no stage explains (0 within the tolerance of 2 %).
        by_window: Real-time factor in windows of stream time.
        cache_tokens: Tokens in the cache after a tick.
        last_cache_tokens: Tokens in the cache after the last tick of the longest sample.
        peak_mib: Largest device memory, MiB; ``None`` where none was recorded.
        rss_mib: Largest resident memory of the process, MiB.
        slope: Growth of the peak memory in MiB a minute, over the minutes after the first; ``None`` below three.
        second_intervals: 95 % intervals of the median and of the 95th percentile of `per_second`, by stretches of
            stream; ``None`` where the stream is too short for one.
    """

    name: str
    ticks: int
    left_out: int
    per_second: Percentiles | None
    per_token: Percentiles | None
    first_token: Percentiles | None
    real_time_factor: Percentiles | None
    overall_rtf: float | None
    stage_shares: dict[str, float]
    unaccounted: float
    by_window: tuple[tuple[float, float, Percentiles | None], ...]
    cache_tokens: Percentiles | None
    last_cache_tokens: int | None
    peak_mib: float | None
    rss_mib: float | None
    slope: Trend | None
    second_intervals: tuple[Interval | None, Interval | None] = (None, None)


def token_latency(ticks: TickTable) -> Floats:
    """Return the paper's latency per token of each second, seconds, NaN where no token was made."""
    spent = ticks.stage("vision_encode") + ticks.stage("prefill") + ticks.stage("generate")
    made = ticks.whole["generated"]
    latency: Floats = np.divide(spent, made, out=np.full(len(ticks), np.nan), where=made > 0)
    return latency


def elapsed(ticks: TickTable) -> Floats:
    """Return the stream time at each tick's end: seconds since the first media second of its sample."""
    first = np.full(len(ticks.samples), np.inf)
    np.fmin.at(first, ticks.sample, ticks.start)
    begun: Floats = first[ticks.sample]
    return ticks.end - begun


def timed(ticks: TickTable) -> TickTable:
    """Return the seconds that latency tables and comparisons of speed count: those with a time and a length."""
    return ticks.where(~ticks.dropped & np.isfinite(ticks.total) & (ticks.total > 0) & (ticks.end > ticks.start))


def stretches(ticks: TickTable) -> NDArray[np.int64]:
    """Return which stretch of stream each second lies in: seconds of one are alike (cache, clocks, other load).

    A stretch is a minute of one sample, or ten seconds where all samples together last less than ten minutes.
    """
    length = _STRETCH_SECONDS if len(ticks) >= _SHORT_STREAM_SECONDS else _SHORT_STRETCH_SECONDS
    place = (elapsed(ticks) - ticks.media) // length
    return np.unique(np.stack([ticks.sample, place], axis=1), axis=0, return_inverse=True)[1].ravel()


def memory_of(ticks: TickTable) -> Floats:
    """Return the memory of each tick, MiB: the device's peak, or the process's where no device was used."""
    peak = ticks.real["peak_mib"]
    return np.where(peak != 0, peak, ticks.real["rss_mib"])


def _stage_shares(ticks: TickTable) -> tuple[dict[str, float], float]:
    total = float(ticks.total.sum())
    if not total:
        return {}, 0.0
    shares: dict[str, float] = {stage: float(ticks.stage(stage).sum()) / total for stage in STAGES}
    gap = 1.0 - sum(shares.values())
    return shares, gap if abs(gap) > STAGE_TOLERANCE else 0.0


def _windows(ticks: TickTable) -> tuple[tuple[float, float, Percentiles | None], ...]:
    factors, middles = ticks.total / ticks.media, elapsed(ticks) - ticks.media / 2
    return tuple((low, high, percentiles(factors[(low <= middles) & (middles < high)])) for low, high in WINDOWS)


def _slope(ticks: TickTable) -> Trend | None:
    """Return the trend of the peaks of whole minutes of the longest sample; the first minute is warm-up."""
    longest = _longest(ticks)
    places = ((elapsed(longest) - longest.media / 2) // 60).astype(np.int64)
    minutes, place = np.unique(places, return_inverse=True)
    peaks = np.zeros(minutes.size)
    np.fmax.at(peaks, place, memory_of(longest))
    peaks, minutes = peaks[minutes >= 1], minutes[minutes >= 1]
    if minutes.size < 3 or not np.isfinite(peaks).all() or not peaks.any():
        return None
    return trend(peaks, minutes)


def _longest(ticks: TickTable) -> TickTable:
    """Return the ticks of the sample that has the most."""
    return ticks.where(max(ticks.by_sample().values(), key=len, default=np.empty(0, np.int64)))


def _largest(values: Floats) -> float | None:
    return float(values[np.isfinite(values)].max(initial=0.0)) or None


def summarize_ticks(name: str, ticks: Sequence[TickRecord]) -> LatencySummary:
    """Compute the latency and memory of one run.

    Args:
        name: What tables call the run.
        ticks: Its ticks, in any order of samples.
    """
    table = TickTable.of(ticks)
    table = table.where(~table.dropped)
    valid = timed(table)
    shares, gap = _stage_shares(valid)
    media = float(valid.media.sum())
    longest = _longest(valid)
    return LatencySummary(
        name=name,
        ticks=len(table),
        left_out=len(table) - len(valid),
        per_second=percentiles(valid.total),
        per_token=percentiles(token_latency(valid)),
        first_token=percentiles(valid.real["first_token"]),
        real_time_factor=percentiles(valid.total / valid.media),
        overall_rtf=float(valid.total.sum()) / media if media else None,
        stage_shares=shares,
        unaccounted=gap,
        by_window=_windows(valid),
        cache_tokens=percentiles(valid.whole["cache_tokens"]),
        last_cache_tokens=int(longest.whole["cache_tokens"][-1]) if len(longest) else None,
        peak_mib=_largest(table.real["peak_mib"]),
        rss_mib=_largest(table.real["rss_mib"]),
        slope=_slope(valid),
        second_intervals=_second_intervals(valid),
    )


def _second_intervals(valid: TickTable) -> tuple[Interval | None, Interval | None]:
    if not len(valid):
        return None, None
    parts = stretches(valid)
    return quantile_interval(valid.total, parts, 0.5), quantile_interval(valid.total, parts, 0.95)


def _four(value: Percentiles | None) -> tuple[Cell, Cell, Cell, Cell]:
    if value is None:
        return None, None, None, None
    return value.p50, value.p95, value.p99 if value.n >= LEAST_P99_SECONDS else None, value.max


def _with_interval(value: float | None, interval: Interval | None) -> Estimate:
    return Estimate(value) if interval is None else Estimate(value, interval.low, interval.high)


def _notes(summaries: Sequence[LatencySummary]) -> tuple[str, ...]:
    notes = ["RTF: service time over media time, at most 1 keeps up."]
    if any(summary.per_token for summary in summaries):
        notes[0] = f"Token: (vision encode + prefill + generate) / tokens of that second. {notes[0]}"
    if any(interval for summary in summaries for interval in summary.second_intervals):
        notes.append(
            "Intervals (95 %): by stretches of stream, ten or more. They hold how seconds of this run differ, not "
            "how another run would."
        )
    if any(summary.per_second and summary.per_second.n < LEAST_P99_SECONDS for summary in summaries):
        notes.append(f"No p99 below {LEAST_P99_SECONDS} seconds: so few cannot bound it.")
    for summary in summaries:
        if summary.left_out:
            notes.append(
                f"{summary.name}: {summary.left_out} of {summary.ticks} ticks have no valid time, left out."
            )
        if summary.unaccounted:
            notes.append(f"{summary.name}: stages leave {summary.unaccounted:.1%} of the time unexplained.")
    return tuple(notes)


def latency_table(summaries: Sequence[LatencySummary]) -> Table:
    """Return latency, one row per run."""
    columns = (
        Column("Model", text=True),
        Column("Seconds", digits=0),
        *(Column(f"Second {name}", "s", interval=True) for name in ("p50", "p95")),
        *(Column(f"Second {name}", "s") for name in ("p99", "max")),
        Column("Token p50", "ms", digits=1),
        Column("Token p95", "ms", digits=1),
        Column("First token p50", "ms", digits=1),
        Column("RTF", digits=3),
    )
    rows: list[tuple[Cell, ...]] = []
    for summary in summaries:
        token, first = summary.per_token, summary.first_token
        second = summary.per_second
        four = (second.p50, second.p95, *_four(second)[2:]) if second else (None, None, None, None)
        rows.append(
            (
                summary.name,
                summary.ticks - summary.left_out,
                _with_interval(four[0], summary.second_intervals[0]),
                _with_interval(four[1], summary.second_intervals[1]),
                *four[2:],
                token.p50 * 1e3 if token else None,
                token.p95 * 1e3 if token else None,
                first.p50 * 1e3 if first else None,
                summary.overall_rtf,
            )
        )
    return Table("Latency by second of stream", columns, tuple(rows), _notes(summaries), "latency")


def memory_table(summaries: Sequence[LatencySummary]) -> Table:
    """Return cache length and memory, one row per run."""
    columns = (
        Column("Model", text=True),
        Column("Cache median", "tokens", digits=0),
        Column("Cache max", "tokens", digits=0),
        Column("Peak", "MiB", digits=1),
        Column("Resident", "MiB", digits=1),
        Column("Growth", "MiB/min", digits=2, interval=True),
    )
    rows: list[tuple[Cell, ...]] = []
    for summary in summaries:
        cache, slope = summary.cache_tokens, summary.slope
        rows.append(
            (
                summary.name,
                cache.p50 if cache else None,
                cache.max if cache else None,
                summary.peak_mib,
                summary.rss_mib,
                Estimate(slope.slope, slope.low, slope.high) if slope else Estimate(None),
            )
        )
    note = "Peak: of the GPU, or of the process where there is none. Resident: of the process."
    if any(summary.slope for summary in summaries):
        note += (
            " Growth: Theil-Sen slope of the peaks of each minute after the first, with its 95 % interval from "
            f"{LEAST_TREND_POINTS} minutes on."
        )
    return Table("Cache and memory", columns, tuple(rows), (note,), "memory")


def stage_table(summaries: Sequence[LatencySummary]) -> Table:
    """Return the share of each stage in the service time, percent, one row per run; none where it took none."""
    columns = (
        Column("Model", text=True),
        *(Column(stage.replace("_", " ").capitalize(), "%", digits=1) for stage in STAGES),
    )
    rows = tuple(
        (
            summary.name,
            *(100 * share if (share := summary.stage_shares.get(stage)) else None for stage in STAGES),
        )
        for summary in summaries
    )
    return Table("Where the time of a second goes", columns, rows, label="stages")


def _window_name(low: float, high: float) -> str:
    return f"> {low / 60:g} min" if high == float("inf") else f"{low / 60:g}–{high / 60:g} min"


def window_table(summaries: Sequence[LatencySummary]) -> Table:
    """Return the real-time factor in windows of stream time, one row per run and window that has ticks."""
    columns = (
        Column("Model", text=True),
        Column("Stream time", text=True),
        Column("Seconds", digits=0),
        *(Column(f"RTF {name}") for name in ("p50", "p95", "p99", "max")),
    )
    rows = tuple(
        (summary.name, _window_name(low, high), value.n, *_four(value))
        for summary in summaries
        for low, high, value in summary.by_window
        if value
    )
    return Table("Real-time factor over stream time", columns, rows, label="rtf-windows")
