"""Narrations with one right line a second, side by side: what each policy says, gets right and costs."""

from __future__ import annotations

__all__ = ["by_minute_table", "draw_by_minute", "policy_table", "right_lines", "side_by_side"]

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from evalkit.records import AnswerRecord, Metric
from evalkit.report.curves import Curve, tick_curve
from evalkit.report.latency import elapsed, timed
from evalkit.report.runs import Run
from evalkit.report.tables import Cell, Column, Table

FACTS: Final = (("line", "Right lines"), ("sight", "Seen"), ("venue", "Venue"), ("score", "Score"))
"""Facts of `demo.FACT` that are shown, and what they are called."""

_MINUTE: Final = 60.0
_LONGEST: Final = 22
"""Characters shown of what is wrong; a model out of its depth rambles on."""


def side_by_side(runs: Sequence[Run], stream: str, *, asking: Sequence[str], most: int) -> Table:
    """Return what was said in the seconds of a stream that ask for something said before, beside the truth.

    Args:
        runs: Runs on the same data.
        stream: Sample id.
        asking: First words of the right lines that are shown.
        most: Rows at most, spread evenly over the stream.
    """
    said = [{a.start: a for a in run.records.answers if a.sample == stream and a.gold} for run in runs]
    asked = [start for start, answer in sorted(said[0].items()) if (answer.gold or "").split()[0] in asking]
    picked = [asked[int(place)] for place in np.linspace(0, len(asked) - 1, min(most, len(asked)))]
    rows = tuple(
        (_clock(start), said[0][start].gold, *(_words(told.get(start), said[0][start].gold) for told in said))
        for start in picked
    )
    columns = (
        Column("Second", text=True),
        Column("Truth", text=True),
        *(Column(run.label, text=True) for run in runs),
    )
    return Table(f"What {stream} asks for and what is said; x marks what is wrong", columns, rows)


def _clock(start: float) -> str:
    minutes, seconds = divmod(int(start), 60)
    return f"{minutes:02d}:{seconds:02d}"


def _words(answer: AnswerRecord | None, gold: str | None) -> str:
    if answer is None:
        return "–"
    text = answer.text.strip().removesuffix("...").strip()
    return text if text == gold else "x " + (text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")


def policy_table(runs: Sequence[Run]) -> Table:
    """Return what each policy gets right, costs and holds: over all, and at the end of the stream.

    Args:
        runs: Runs on the same data, with one right line a second.
    """
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        minutes = next(iter(right_lines([run]))).mid
        whole = next((m.value for m in run.metrics if m.name == "demo.line" and not m.group), None)
        ticks = timed(run.records.ticks)
        places = (elapsed(ticks) - ticks.media / 2) // _MINUTE
        late = places == places.max()
        p50, p95 = (1000 * float(np.percentile(ticks.total[late], q)) for q in (50, 95))
        held = int(np.median(ticks.whole["cache_tokens"][late]))
        rows.append((run.label, whole, minutes[-1] if minutes else None, p50, p95, held))
    columns = (
        Column("Policy", text=True),
        Column("Right lines", "%", digits=0),
        Column("In the last minute", "%", digits=0),
        Column("Time per second p50", "ms", digits=0),
        Column("p95", "ms", digits=0),
        Column("Tokens in memory"),
    )
    note = "Time and memory: of the last minute of the streams, where a policy's cost has settled or has not."
    return Table(
        "What a memory policy is worth: the same model on the same streams", columns, tuple(rows), (note,)
    )


def by_minute_table(runs: Sequence[Run]) -> Table:
    """Return right words, latency and tokens held by minute of the stream, a row for each policy and minute."""
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        found = {(m.name, m.group): m for m in run.metrics if m.name.startswith("demo.")}
        ticks = timed(run.records.ticks)
        minutes = (elapsed(ticks) - ticks.media / 2) // _MINUTE + 1
        for minute in range(1, int(minutes.max()) + 1):
            inside = minutes == minute
            cells = [_value(found.get((f"demo.{fact}", f"minute {minute}"))) for fact, _ in FACTS]
            p50, p95 = (1000 * float(np.percentile(ticks.total[inside], q)) for q in (50, 95))
            held = int(np.median(ticks.whole["cache_tokens"][inside]))
            rows.append((run.label, minute, *cells, p50, p95, held))
    columns = (
        Column("Policy", text=True),
        Column("Minute"),
        *(Column(name, "%", digits=0) for _, name in FACTS),
        Column("Time p50", "ms", digits=0),
        Column("Time p95", "ms", digits=0),
        Column("Tokens held"),
    )
    notes = (
        "Seen: event, team and third. Venue: shown once at the opening, asked for later. Score: the true one.",
    )
    return Table("Right words and time per second of stream, by minute", columns, tuple(rows), notes)


def _value(metric: Metric | None) -> float | None:
    return None if metric is None else metric.value


def draw_by_minute(runs: Sequence[Run], stem: Path) -> list[Path]:
    """Draw right lines and time per second over stream time, one above the other, as PDF, SVG and PNG.

    Args:
        runs: Runs on the same data.
        stem: File name without its ending.
    """
    from evalkit.report import figures

    figure, axes = figures.new_figure(3.4, 2)
    figures.curves(axes[0], list(right_lines(runs)), scale=1, label="Right lines (%)", limit=None)
    axes[0].set_ylim(0, 103)
    tables = [(run.label, timed(run.records.ticks)) for run in runs]
    costs = [tick_curve(name, ticks, ticks.total, 20.0) for name, ticks in tables]
    figures.curves(axes[1], costs, scale=1000, label="Time per second (ms)", limit=None)
    axes[1].set_xlabel("Stream time (min)")
    figures.legend(axes[0])
    stem.parent.mkdir(parents=True, exist_ok=True)
    return figures.save(figure, stem)


def right_lines(runs: Sequence[Run]) -> Iterator[Curve]:
    """Yield right lines by minute without a band: of few streams an interval by stream covers the whole plot."""
    for run in runs:
        rows = [m for m in run.metrics if m.name == "demo.line" and m.group and m.value is not None]
        rows.sort(key=lambda metric: int(metric.group.split()[1]))
        x = tuple((int(metric.group.split()[1]) - 0.5) * _MINUTE for metric in rows)
        mid = tuple(metric.value or 0.0 for metric in rows)
        yield Curve(run.label, _MINUTE, x, mid, mid, mid, tuple(metric.n or 0 for metric in rows))
