"""Draws with matplotlib: one style, readable in one printed column, and files of the same bytes each time."""

from __future__ import annotations

__all__ = ["COLOURS", "Bar", "bars", "curves", "dial", "new_figure", "points", "save", "shares", "stacks", "title"]

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter

from evalkit.report.curves import Curve
from evalkit.report.tables import Estimate

# Okabe & Ito (2008), told apart with every common colour vision; yellow is left out, it is too pale on paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
HATCHES = ("", "////", "....", "xxxx", "----", "\\\\\\\\", "++++")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1.5)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (8, 2)),
    (0, (3, 3)),
    "-",
)
MARKERS = "osD^vPX"
COLUMN_INCHES = 3.35
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "axes.titlelocation": "left",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.4,
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    # Without a salt the ids inside an SVG are random.
    "svg.hashsalt": "evalkit",
    "path.simplify": True,
    "text.parse_math": False,
}
_METADATA: dict[str, dict[str, None]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


_LETTER_INCHES, _HANDLE_INCHES = 0.058, 0.42
"""Width of a letter of a legend, and of the mark before a name with the room around it."""
_LABEL_LETTERS = 18
"""Letters of a line beside a bar: more would take half of a column's width."""
_ABOVE_AND_BELOW_INCHES = 0.45
"""What tick labels and the legend take of a panel's height."""
_WIDE = 20.0
"""Values beyond so many times the mark call for a logarithmic axis."""


@dataclass(frozen=True)
class Bar:
    """One bar: a value with its interval, and dots for the parts it is the mean of (videos)."""

    series: str
    group: str
    estimate: Estimate
    dots: tuple[float, ...] = ()
    mark: float | None = None


def new_figure(height: float, rows: int = 1, *, share: bool = True) -> tuple[Figure, list[Any]]:
    """Return a figure of one column's width and ``height`` inches, and its axes from top to bottom.

    Args:
        height: Inches.
        rows: How many axes.
        share: Whether they have one x axis.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(COLUMN_INCHES, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, 1, sharex=rows > 1 and share, squeeze=False)[:, 0]
    return figure, list(axes)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write PDF, SVG and PNG beside each other, without dates or program versions in them."""
    paths = []
    with mpl.rc_context(STYLE):
        for form, metadata in _METADATA.items():
            path = stem.with_name(f"{stem.name}.{form}")
            figure.savefig(path, format=form, metadata=metadata)
            paths.append(path)
    return paths


def curves(
    axis: Any, lines: Sequence[Curve], *, scale: float, label: str, limit: tuple[float, str] | None
) -> None:
    """Draw medians over stream time with the band from the 5th to the 95th percentile.

    Args:
        axis: Where to.
        lines: One curve per run.
        scale: What values are multiplied with (1000 shows seconds as ms).
        label: Label of the y axis, with the unit.
        limit: A horizontal line and its name (real time), in the drawn unit.
    """
    with mpl.rc_context(STYLE):
        for place, line in enumerate(lines):
            colour, minutes = COLOURS[place % len(COLOURS)], [x / 60 for x in line.x]
            low, high = [y * scale for y in line.low], [y * scale for y in line.high]
            axis.fill_between(minutes, low, high, color=colour, alpha=0.18, linewidth=0)
            dash = DASHES[place % len(DASHES)]
            # A line of one point is none.
            dot = MARKERS[place % len(MARKERS)] if len(minutes) == 1 else None
            axis.plot(
                minutes, [y * scale for y in line.mid], color=colour, linestyle=dash, label=line.name, marker=dot,
                markersize=3, clip_on=dot is None,
            )  # fmt: skip
        top = max((y * scale for line in lines for y in line.high), default=1.0)
        # A limit far above the data would flatten it: then its name says so instead of its line.
        if limit and limit[0] <= 3 * top:
            axis.axhline(limit[0], color="#444444", linewidth=0.8, linestyle=(0, (1, 1.5)))
            axis.annotate(
                limit[1], (1, limit[0]), xycoords=("axes fraction", "data"), xytext=(0, 1.5),
                textcoords="offset points", ha="right", va="bottom", fontsize=7, color="#444444",
            )  # fmt: skip
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        _name_upright(axis, label)


def shares(axis: Any, lines: Sequence[Curve], *, labels: tuple[str, str], mark: tuple[float, str]) -> None:
    """Draw cumulative shares, percent.

    Args:
        axis: Where to.
        lines: One curve per run: ``mid`` is the share at ``x``.
        labels: Labels of the x and y axis, with units.
        mark: A vertical line and its name, in the unit of the x axis.
    """
    with mpl.rc_context(STYLE):
        for place, line in enumerate(lines):
            dash = DASHES[place % len(DASHES)]
            axis.plot(line.x, line.mid, color=COLOURS[place % len(COLOURS)], linestyle=dash, label=line.name)
        axis.axvline(mark[0], color="#444444", linewidth=0.8, linestyle=(0, (1, 1.5)))
        axis.annotate(
            mark[1], (mark[0], 0), xycoords=("data", "axes fraction"), xytext=(2, 2), textcoords="offset points",
            ha="left", va="bottom", fontsize=7, color="#444444",
        )  # fmt: skip
        axis.set_ylim(0, 102)
        known = [x for line in lines for x in line.x if x > 0]
        if known and max(known) > _WIDE * mark[0] > 0:
            # One run that fell far behind would press all others against the axis.
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.set_xlim(left=0.8 * min([*known, mark[0]]))
        else:
            axis.set_xlim(left=0)
        axis.set_xlabel(labels[0])
        _name_upright(axis, labels[1])


def dial(
    axis: Any,
    speeds: Sequence[float],
    lines: Sequence[tuple[str, int, int, Sequence[float | None]]],
    *,
    label: str,
) -> None:
    """Draw percentages against the speed of the machine, doubling by doubling, with a mark at the one of the run.

    Args:
        axis: Where to.
        speeds: Speeds, ascending.
        lines: ``(name, run, kind of line, value at each speed)``.
        label: Label of the y axis, with the unit.
    """
    with mpl.rc_context(STYLE):
        for name, place, kind, values in lines:
            known = [(speed, value) for speed, value in zip(speeds, values, strict=True) if value is not None]
            axis.plot(
                *zip(*known, strict=True), color=COLOURS[place % len(COLOURS)], label=_shorten(name, 40),
                linestyle=DASHES[kind], marker=MARKERS[place % len(MARKERS)], markersize=3,
                markerfacecolor="white" if kind else None,
            )  # fmt: skip
        axis.axvline(1.0, color="#444444", linewidth=0.8, linestyle=(0, (1, 1.5)))
        axis.set_xscale("log", base=2)
        axis.set_xticks(speeds, [f"{speed:g}" for speed in speeds])
        axis.minorticks_off()
        axis.set_ylim(-5, 105)
        _name_upright(axis, label)


def _name_upright(axis: Any, label: str) -> None:
    """Write the label of a y axis, folded where it would be longer than the axis."""
    rows = axis.get_subplotspec().get_gridspec().nrows
    room = axis.figure.get_size_inches()[1] / rows - _ABOVE_AND_BELOW_INCHES
    axis.set_ylabel("\n".join(textwrap.wrap(label, max(12, int(room / _LETTER_INCHES)))))


def _error(estimate: Estimate) -> list[list[float]]:
    value = estimate.value or 0.0
    low = value if estimate.low is None else estimate.low
    high = value if estimate.high is None else estimate.high
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def bars(axis: Any, rows: Sequence[Bar], *, label: str, middle: float | None = None) -> None:
    """Draw horizontal bars with intervals, grouped; the first group stands on top.

    Args:
        axis: Where to.
        rows: The bars; those of one group stand together, series keep one colour and hatch.
        label: Label of the value axis, with the unit.
        middle: A vertical line (no difference), if any.
    """
    series = list(dict.fromkeys(row.series for row in rows))
    groups = list(dict.fromkeys(row.group for row in rows))
    height = 0.8 / len(series)
    with mpl.rc_context(STYLE):
        for row in rows:
            number = series.index(row.series)
            y = groups.index(row.group) + (number - (len(series) - 1) / 2) * height
            _bar(axis, row, y, height * 0.88, number)
        axis.set_yticks(range(len(groups)), [_folded(group) for group in groups])
        axis.set_ylim(len(groups) - 0.45, -0.55)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel(label)
        if middle is not None:
            axis.axvline(middle, color="#444444", linewidth=0.8, linestyle=(0, (1, 1.5)))
    if len(series) > 1:
        handles = [
            Patch(facecolor=_tint(number), edgecolor=COLOURS[number % 7], hatch=HATCHES[number % 7], label=name)
            for number, name in enumerate(_shorten(one, 48) for one in series)
        ]
        legend(axis, handles)


def _tint(number: int) -> tuple[float, float, float]:
    rgb = mpl.colors.to_rgb(COLOURS[number % len(COLOURS)])
    red, green, blue = (0.45 + 0.55 * part for part in rgb)
    return red, green, blue


def _bar(axis: Any, row: Bar, y: float, height: float, number: int) -> None:
    colour = COLOURS[number % len(COLOURS)]
    if row.estimate.value is None:
        return
    axis.barh(
        y, row.estimate.value, height, facecolor=_tint(number), edgecolor=colour, linewidth=0.6,
        hatch=HATCHES[number % len(HATCHES)],
    )  # fmt: skip
    if row.dots:
        # Fanned out over the bar's height, so that videos of one rate stay apart.
        places = [y + height * (0.7 * (place + 0.5) / len(row.dots) - 0.35) for place in range(len(row.dots))]
        axis.plot(
            row.dots,
            places,
            "o",
            color="white",
            markersize=2.6,
            markeredgecolor=colour,
            markeredgewidth=0.5,
            clip_on=False,
        )
    if row.estimate.low is not None:
        axis.errorbar(row.estimate.value, y, xerr=_error(row.estimate), color="#222222", capsize=2, elinewidth=0.9,
                      clip_on=False)  # fmt: skip
    if row.mark is not None:
        axis.plot(
            [row.mark],
            [y],
            marker="D",
            color="white",
            markeredgecolor="#222222",
            markersize=3,
            linestyle="",
            clip_on=False,
            zorder=4,
        )


def _shorten(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _folded(name: str) -> str:
    """Return a label in at most two lines; what does not fit ends in dots."""
    lines = textwrap.wrap(name, _LABEL_LETTERS) or [name]
    rest = " ".join(lines[1:])
    return "\n".join([lines[0], *([_shorten(rest, _LABEL_LETTERS)] if rest else [])])


def legend(axis: Any, handles: Sequence[Any] | None = None) -> None:
    """Put the legend above the axes, as wide as the figure, so that it hides no data and no name is cut.

    As many names stand side by side as the widest leaves room for.
    """
    with mpl.rc_context(STYLE):
        shown = axis.get_legend_handles_labels()[0] if handles is None else list(handles)
        longest = max((len(handle.get_label()) for handle in shown), default=0)
        room = COLUMN_INCHES / (_LETTER_INCHES * longest + _HANDLE_INCHES)
        axis.figure.legend(
            handles=shown, loc="outside upper left", ncols=max(1, min(int(room), len(shown))), columnspacing=1.2
        )


def title(axis: Any, text: str) -> None:
    """Set the axes' title in the house style."""
    with mpl.rc_context(STYLE):
        axis.set_title(text)


def points(
    axis: Any, rows: Mapping[str, tuple[Estimate, Estimate]], *, labels: tuple[str, str], named: bool = True
) -> None:
    """Draw one point per run with both intervals, and the frontier of those no other run beats.

    Args:
        axis: Where to.
        rows: ``(cost, score)`` of each run; less cost and more score are better.
        labels: Labels of the x and y axis, with units.
        named: Whether the runs are named above the axes.
    """
    with mpl.rc_context(STYLE):
        for place, (name, (cost, score)) in enumerate(rows.items()):
            axis.errorbar(
                cost.value, score.value, xerr=_error(cost), yerr=_error(score), fmt=MARKERS[place % 7],
                color=COLOURS[place % 7], label=_shorten(name, 48), markersize=4, capsize=1.5, elinewidth=0.8,
                clip_on=False,
            )  # fmt: skip
        front = frontier([(cost.value or 0.0, score.value or 0.0) for cost, score in rows.values()])
        if len(front) > 1:
            axis.step(*zip(*front, strict=True), where="post", color="#777777", linewidth=0.8, zorder=0)
        axis.set_xlabel(labels[0])
        _name_upright(axis, labels[1])
        axis.set_xlim(0, 1.04 * axis.get_xlim()[1])
        axis.locator_params(axis="x", nbins=6)
        values = {
            end for _, score in rows.values() for end in (score.value, score.low, score.high) if end is not None
        }
        if len(values) == 1:  # one height has no scale of its own
            (value,) = values
            axis.set_ylim(0 if value >= 0 else value - 1, value + 1)
    if named:
        legend(axis)


def frontier(pairs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the pairs (cost, score) that no other pair beats, cheapest first."""
    best: list[tuple[float, float]] = []
    for cost, score in sorted(pairs, key=lambda pair: (pair[0], -pair[1])):
        if not best or score > best[-1][1]:
            best.append((cost, score))
    return best


def stacks(axis: Any, shares: Mapping[str, Mapping[str, float]], *, label: str) -> None:
    """Draw one horizontal bar per run, cut into parts that sum to 100 %.

    Args:
        axis: Where to.
        shares: For each run the parts, percent, the same names in the same order.
        label: Label of the value axis.
    """
    names = list(shares)
    parts = list(next(iter(shares.values())))
    with mpl.rc_context(STYLE):
        left = [0.0] * len(names)
        for number, part in enumerate(parts):
            widths = [shares[name][part] for name in names]
            axis.barh(
                range(len(names)), widths, 0.6, left=left, facecolor=_tint(number), edgecolor=COLOURS[number],
                hatch=HATCHES[number], linewidth=0.6, label=part,
            )  # fmt: skip
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axis.set_yticks(range(len(names)), [_folded(name) for name in names])
        axis.set_ylim(len(names) - 0.45, -0.55)
        axis.set_xlim(0, 100)
        axis.grid(visible=False, axis="y")
        axis.set_xlabel(label)
    legend(axis)
