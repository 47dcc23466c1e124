"""How good and how costly runs are as the stream goes on: the curves a page opens with."""

from __future__ import annotations

__all__ = ["opening_charts"]

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evalkit.report.charts import Chart, cache_chart, line_chart, time_chart
from evalkit.report.curves import Curve, binned
from evalkit.report.narrated import right_lines
from evalkit.report.payload import outcome
from evalkit.report.per_question import NARRATION, question_costs, works_when_asked
from evalkit.report.runs import Run

Floats = NDArray[np.float64]

_BINS = 8
_FEWEST = 20
"""Questions below which a curve of right answers would be noise."""
_WIDTHS = (5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


def opening_charts(runs: Sequence[Run]) -> list[Chart]:
    """Return at most two charts over stream time: what is right (else what is remembered), and what it costs.

    Args:
        runs: Runs of one task; series are numbered as they are.
    """
    cost, right = _cost_chart(runs), _right_chart(runs)
    made = [right, cost] if right is not None else [cost, cache_chart(runs)]
    return [chart for chart in made if chart is not None]


def _right_chart(runs: Sequence[Run]) -> Chart | None:
    lines = list(right_lines(runs))
    if any(len(line.x) > 1 for line in lines):
        return _shares(
            lines, "Right lines over stream time", "Right lines (%)", "Share of right lines, by minute."
        )
    answers = [_marked(run) for run in runs]
    longest = max((float(at.max()) for at, _ in answers if at.size), default=0.0)
    width = next((width for width in _WIDTHS if longest / width <= _BINS), _WIDTHS[-1])
    curves = [_shared(run.label, at, right, width) for run, (at, right) in zip(runs, answers, strict=True)]
    if not any(len(curve.x) > 1 for curve in curves):
        return None
    caption = f"Share of questions answered rightly by when they are asked, in steps of {width:g} s; all count."
    return _shares(curves, "Right answers over stream time", "Right answers (%)", caption)


def _shares(lines: Sequence[Curve], title: str, unit: str, caption: str) -> Chart:
    alt = f"{title} for {', '.join(line.name for line in lines)}"
    return Chart(title, caption, line_chart(lines, scale=1, labels=(alt, unit), top=100.0))


def _marked(run: Run) -> tuple[Floats, Floats]:
    """Return when closed questions were asked, seconds from the beginning of their span, and 1 for right ones."""
    if run.unfinished:
        return np.empty(0), np.empty(0)
    asked = [one for one in run.records.answers if one.kind != NARRATION and one.gold is not None]
    states = [(one.at - one.start, outcome(one)) for one in asked]
    kept = [(at, float(state == "right")) for at, state in states if state != "answered"]
    if len(kept) < _FEWEST:
        return np.empty(0), np.empty(0)
    at, right = (np.array(column, dtype=np.float64) for column in zip(*kept, strict=True))
    return at, right


def _shared(name: str, at: Floats, right: Floats, width: float) -> Curve:
    """Return the share of right answers by bins of stream time, in percent and without a band."""
    places = np.floor(np.maximum(at - 1e-9, 0.0) / width).astype(np.int64)
    bins, counts = np.unique(places, return_counts=True)
    shares = tuple(100 * float(right[places == place].mean()) for place in bins)
    middles = tuple(float((place + 0.5) * width) for place in bins)
    return Curve(name, width, middles, shares, shares, shares, tuple(counts.tolist()))


def _cost_chart(runs: Sequence[Run]) -> Chart | None:
    """Return time by second of stream; by question where a run does its work only then."""
    if not any(works_when_asked(run.records) for run in runs):
        return time_chart(runs)
    costs = [question_costs(run.records) for run in runs]
    longest = max((float(one.at.max()) for one in costs if one.at.size), default=0.0)
    width = next((width for width in _WIDTHS if longest / width <= 2 * _BINS), _WIDTHS[-1])
    curves = [binned(run.label, one.at, one.seconds, width) for run, one in zip(runs, costs, strict=True)]
    if not any(y > 0 for curve in curves for y in curve.high):
        return None
    title = "Time per question over stream time"
    caption = (
        f"From the question to the end of its answer, with seeing the frames where that happens only then. Line: "
        f"median of {width:g} s; band: 5th to 95th percentile."
    )
    alt = f"{title} for {', '.join(run.label for run in runs)}"
    return Chart(title, caption, line_chart(curves, scale=1, labels=(alt, "Seconds per question")))
