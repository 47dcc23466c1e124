"""Plots of replays for papers: service time with backlog, distribution of lags, real-time factor by horizon."""

from __future__ import annotations

__all__ = ["REPLAY_PLOTS", "backlog_plot", "horizon_plot", "lag_plot"]

from collections.abc import Callable, Sequence

from evalkit.report.curves import Curve
from evalkit.report.plots import Plot
from evalkit.report.replay import Replay
from evalkit.report.replay_curves import replay_curves
from evalkit.report.tables import Cell, Column, Table

_BINS = 120


def _clock(replays: Sequence[Replay]) -> str:
    settings = replays[0].settings
    counts = ", ".join(f"{replay.name}: {replay.missed.size}" for replay in replays if replay.streams)
    return (
        f"Overload rule {settings.overload}, machine {settings.hardware:g} times as fast as recorded, a chunk "
        f"every {replays[0].chunk:g} s. Seconds, n: {counts}."
    )


def _data(caption: str, named: Sequence[tuple[str, Sequence[Curve]]], x: Column) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (line.name, quantity, at, mid, low, high, n)
        for quantity, lines in named
        for line in lines
        for at, mid, low, high, n in zip(line.x, line.mid, line.low, line.high, line.n, strict=True)
    ]
    columns = (
        Column("Model", text=True),
        Column("Quantity", text=True),
        x,
        *(Column(name, digits=6) for name in ("Median", "p5", "p95")),
        Column("n"),
    )
    return Table(caption, columns, tuple(rows))


def backlog_plot(replays: Sequence[Replay]) -> Plot | None:
    """Return service time and backlog over stream time, or ``None`` where no run is behind the clock."""
    from evalkit.report import figures

    curves = replay_curves(replays, _BINS)
    if not curves:
        return None
    service, backlog = [one.service for one in curves], [one.backlog for one in curves]
    figure, axes = figures.new_figure(3.2, 2)
    chunk = replays[0].chunk
    figures.curves(axes[0], service, scale=1, label=f"Time per {chunk:g} s (s)", limit=(chunk, "real time"))
    figures.curves(axes[1], backlog, scale=1, label="Backlog (chunks)", limit=None)
    axes[-1].set_xlabel("Stream time (min)")
    figures.legend(axes[0])
    caption = (
        f"Service time and backlog over stream time. Lines: median of bins of {service[0].width:g} s; bands: 5th "
        f"to 95th percentile. {_clock(replays)}"
    )
    named = (("service time, s", service), ("backlog, chunks", backlog))
    return Plot(figure, caption, _data(caption, named, Column("Stream time", "s", digits=1)))


def lag_plot(replays: Sequence[Replay]) -> Plot | None:
    """Return the share of chunks done within so many seconds, or ``None`` where no run is behind the clock."""
    from evalkit.report import figures

    lines = [one.lag for one in replay_curves(replays, _BINS) if one.lag.x]
    if not lines:
        return None
    figure, (axis,) = figures.new_figure(2.1)
    figures.shares(axis, lines, labels=("Lag (s)", "Seconds done (%)"), mark=(replays[0].deadline, "deadline"))
    figures.legend(axis)
    caption = f"Share of all seconds done within a lag; dropped ones never are. {_clock(replays)}"
    return Plot(figure, caption, _data(caption, (("share, %", lines),), Column("Lag", "s", digits=6)))


def horizon_plot(replays: Sequence[Replay]) -> Plot | None:
    """Return the real-time factor of the last minute over stream time, or ``None`` below a minute of stream."""
    from evalkit.report import figures

    lines = [one.minute for one in replay_curves(replays, _BINS)]
    if not any(line.x for line in lines):
        return None
    figure, (axis,) = figures.new_figure(2.1)
    figures.curves(axis, lines, scale=1, label="RTF of the last 60 s", limit=(1.0, "real time"))
    axis.set_xlabel("Stream time (min)")
    figures.legend(axis)
    caption = (
        f"Real-time factor of the last 60 s by horizon; above 1 the session falls behind. Lines: median of bins "
        f"of {lines[0].width:g} s; bands: 5th to 95th percentile. {_clock(replays)}"
    )
    return Plot(figure, caption, _data(caption, (("RTF", lines),), Column("Stream time", "s", digits=1)))


REPLAY_PLOTS: dict[str, Callable[[Sequence[Replay]], Plot | None]] = {
    "backlog": backlog_plot,
    "lag": lag_plot,
    "horizon": horizon_plot,
}
"""What is drawn of replays, by the name of its files."""
