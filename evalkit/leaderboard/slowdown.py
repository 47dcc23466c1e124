"""How much slower one side's seconds are than the other's, from repeated runs that took turns on one machine.

A run's median second holds what happened in that run: the clock, the neighbours, the order in memory. Seconds of
one run say nothing about how much the next run would differ, so an interval over seconds is too narrow for a
decision. Here the unit is the run: each pair of a base run and the head run beside it gives one log ratio of
medians, and Student's t over the pairs gives the bounds. Where models see their frames only with the questions no
second has work in it: there the median question takes its place.
"""

from __future__ import annotations

__all__ = ["WARM_UP_SECONDS", "Slowdown", "slowdown"]

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from evalkit.errors import UsageError
from evalkit.leaderboard.latency import service_times
from evalkit.records import RunRecords
from evalkit.report.per_question import question_seconds, works_when_asked

WARM_UP_SECONDS = 10
"""Seconds at the beginning of a run that are left out: libraries load, kernels are chosen, caches fill."""

_WARM_UP_QUESTIONS = 1


@dataclass(frozen=True, slots=True)
class Slowdown:
    """Median second of the head over that of the base.

    Args:
        ratio: Geometric mean over the pairs of runs; above 1 the head is slower. None without common seconds.
        low: Lower one-sided bound; None where there is none, see `why`.
        high: Upper one-sided bound.
        log_sd: Standard deviation of the log ratio between pairs; None with one pair.
        base: Median second of the base, median over its runs, seconds.
        head: Of the head.
        runs: Runs of each side.
        seconds: Stream seconds, or questions, that every run has, warm-up left out.
        videos: Videos they are on.
        why: Why there are no bounds; empty where there are.
        unit: What was timed.
    """

    ratio: float | None
    low: float | None
    high: float | None
    log_sd: float | None
    base: float | None
    head: float | None
    runs: int
    seconds: int
    videos: int
    why: str = ""
    unit: Literal["second", "question"] = "second"


def slowdown(bases: Sequence[RunRecords], heads: Sequence[RunRecords], *, error: float) -> Slowdown:
    """Compare the seconds of repeated runs, pair by pair in the order in which they ran.

    Args:
        bases: Runs of the base.
        heads: As many runs of the head.
        error: Accepted chance of a bound on the wrong side of the truth.

    Raises:
        UsageError: Another number of runs on either side.
    """
    if len(bases) != len(heads) or not bases:
        raise UsageError(
            f"seconds are compared run by run, and there are {len(bases)} runs of the base and {len(heads)} of "
            "the head: give as many of either"
        )
    sides = [sorted(side, key=_started) for side in (bases, heads)]
    asked = {works_when_asked(run) for run in (*bases, *heads)}
    if len(asked) > 1:
        why = "some runs work second by second and others only when asked: their costs lie in other places"
        return Slowdown(None, None, None, None, None, None, len(bases), 0, 0, why)
    unit: Literal["second", "question"] = "question" if asked == {True} else "second"
    tables = [[_after_warm_up(run, unit) for run in side] for side in sides]
    common = sorted(set.intersection(*(set(table) for side in tables for table in side)))
    runs, videos = len(bases), len({sample for sample, _ in common})
    if not common:
        return Slowdown(None, None, None, None, None, None, runs, 0, 0, f"the runs have no timed {unit} in common")
    medians = np.array([[np.median([table[key] for key in common]) for table in side] for side in tables])
    logs = np.log(medians[1]) - np.log(medians[0])
    centre = float(logs.mean())
    low = high = log_sd = None
    why = _why_no_bounds(bases, heads)
    if runs > 1:
        log_sd = float(logs.std(ddof=1))
    if not why and log_sd is not None:
        half = _quantile(runs, error) * log_sd / math.sqrt(runs)
        low, high = math.exp(centre - half), math.exp(centre + half)
    base, head = (float(np.median(side)) for side in medians)
    return Slowdown(math.exp(centre), low, high, log_sd, base, head, runs, len(common), videos, why, unit)


def _quantile(runs: int, error: float) -> float:
    from scipy.stats import t

    return float(t.ppf(1 - error, runs - 1))


def _started(run: RunRecords) -> str:
    return run.manifest.started


def _why_no_bounds(bases: Sequence[RunRecords], heads: Sequence[RunRecords]) -> str:
    if len(bases) == 1:
        return (
            "one run of either side does not show how much runs differ: give 3 or more of each that took turns "
            "(base, head, base, head ...)"
        )
    turns = [side for _, side in sorted([(_started(r), 0) for r in bases] + [(_started(r), 1) for r in heads])]
    pairs = zip(turns[::2], turns[1::2], strict=True)
    if any(one == other for one, other in pairs):
        return "base and head did not take turns, so a drift of the machine cannot be told from a change"
    return ""


def _after_warm_up(run: RunRecords, unit: Literal["second", "question"]) -> Mapping[tuple[str, Any], float]:
    if unit == "question":
        return dict(list(question_seconds(run).items())[_WARM_UP_QUESTIONS:])
    return dict(list(service_times(run.ticks).items())[WARM_UP_SECONDS:])
