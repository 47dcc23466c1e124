"""Reads scores out of metrics.json in one unit, so that tables, plots and the page agree on them."""

from __future__ import annotations

__all__ = [
    "coverage_counts",
    "group_label",
    "headline",
    "is_overall",
    "is_timing",
    "main_score",
    "percent",
    "scaled",
    "score_name",
]

import math
from collections.abc import Sequence

from evalkit.records import AnswerRecord, Metric
from evalkit.report.naming import labels_of, shown_name
from evalkit.report.runs import Run
from evalkit.report.tables import Estimate

_SHARES = ("share", "fraction", "proportion", "ratio", "rate")
_PLAIN = ("accuracy", "score", "total")
_LEVELS = ("tasks", "groups")
_TIMING = (
    "latency_",
    "first_token",
    "real_time_factor",
    "overall_real_time_factor",
    "cache_tokens",
    "stage_share",
    "peak_memory",
    "resident_memory",
)


def scaled(metric: Metric) -> tuple[Estimate, str]:
    """Return a metric as an estimate with its unit: shares become percent, what is no number becomes a gap."""
    share = metric.unit in _SHARES or (metric.unit == "" and _looks_like_share(metric))
    factor, unit = (100.0, "%") if share else (1.0, metric.unit)
    value, low, high = (
        None if part is None or not math.isfinite(part) else part * factor
        for part in (metric.value, metric.low, metric.high)
    )
    return Estimate(value, low if value is not None else None, high if value is not None else None), unit


def _looks_like_share(metric: Metric) -> bool:
    named = metric.score is not None or any(
        word in metric.name for word in ("accuracy", "win_rate", "coverage", "share")
    )
    return named and metric.value is not None and 0.0 <= metric.value <= 1.0


def score_name(metric: Metric) -> str:
    """Return the metric's name in words (``win_rate`` reads ``Win rate``), with whom it is against."""
    name = metric.name.replace("_", " ")
    return f"{name[:1].upper()}{name[1:]}" + (f" {metric.group}" if _is_contest(metric) else "")


def _is_contest(metric: Metric) -> bool:
    return metric.group.startswith("vs ")


def is_overall(metric: Metric) -> bool:
    """Whether a metric is of the whole run: a total, or a share of wins against one other."""
    return not metric.group or _is_contest(metric)


def is_timing(metric: Metric) -> bool:
    """Whether a metric repeats what the latency tables compute from ticks."""
    return metric.name.startswith(_TIMING)


def group_label(metric: Metric, task: str = "") -> str:
    """Return what a row of a per-task table or plot is called.

    A row is named by sub-task (``name`` is the abbreviation, ``group`` says ``tasks`` or ``groups``) or
    by the figure (``name`` is ``accuracy``, ``group`` the sub-task).

    Args:
        metric: The metric.
        task: The benchmark, whose names for people are used.
    """
    if metric.group in _LEVELS:
        return shown_name(metric.name, task)
    if metric.name in _PLAIN:
        return shown_name(metric.group, task) if metric.group else "overall"
    named = shown_name(metric.name, task) if metric.name in labels_of(task) else score_name(metric)
    return f"{named}: {metric.group}" if metric.group else named


def headline(run: Run) -> Metric | None:
    """Return the run's main score: the strict overall one, else the win rate, else nothing."""
    return main_score(run.metrics)


def main_score(metrics: Sequence[Metric]) -> Metric | None:
    """Return the main one of some metrics: the strict overall one, else the win rate, else nothing."""
    known = [metric for metric in metrics if metric.value is not None and math.isfinite(metric.value)]
    strict = [metric for metric in known if metric.score == "strict" and not metric.group]
    wins = [metric for metric in known if metric.name == "win_rate" and is_overall(metric)]
    return next(iter([*strict, *wins]), None)


def coverage_counts(answers: Sequence[AnswerRecord]) -> dict[str, int]:
    """Count answers by what became of them; together they are all.

    ``answered`` were read, ``unparsed`` no parser could read, of ``failed`` the sample broke, and ``dropped`` are
    seconds that a paced run never showed its model.
    """
    counts = {"answered": 0, "unparsed": 0, "failed": 0, "dropped": 0}
    for answer in answers:
        read = "unparsed" if answer.unparsed is not None else "answered"
        counts[read if answer.status == "ok" else answer.status] += 1
    return counts


def percent(share: float) -> str:
    """Return a share as percent with one decimal, rounded down so that only all of them read 100.0 %."""
    return f"{math.floor(share * 1000) / 10:.1f} %"
