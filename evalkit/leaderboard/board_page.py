"""Leaderboards as one static HTML page in the design of the report; the same input gives the same bytes."""

from __future__ import annotations

__all__ = ["render_html", "source_link"]

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.leaderboard.ranking import RankedRow, rank_rows
from evalkit.leaderboard.render import setting_table
from evalkit.leaderboard.schema import Leaderboard, PublishedSource, Setting
from evalkit.report.naming import short_name
from evalkit.report.pages import environment, page_policy, static, trusted
from evalkit.report.tables import Cell, Column, Estimate, Span, Table

_HOME = "evalkit.leaderboard"
_ARXIV = re.compile(r"arXiv[: ](\d{4}\.\d{4,5}(?:v\d+)?)")
_REVISION = re.compile(r"\(([\w.-]+/[\w.-]+), ([0-9a-f]{7,40})\)")
"""A repository with its revision, as references name code on GitHub: ``(owner/name, 1234567)``."""
_WIDE, _EDGE = 150.0, 8.0
"""Width of a drawn row and of the room at either end, where a mark at the end is seen whole."""


@dataclass(frozen=True, slots=True)
class _Link:
    """Where a row comes from.

    Args:
        text: What is shown.
        url: Where it is read; empty where no address is known.
        whole: Everything that is known of it.
    """

    text: str
    url: str
    whole: str


@dataclass(frozen=True, slots=True)
class _Mark:
    """A value on the drawn axis of its table: where it and the ends of its interval lie in the picture."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    sort: str
    kind: str
    mark: _Mark | None = None
    link: _Link | None = None


@dataclass(frozen=True, slots=True)
class _Head:
    """A heading.

    Args:
        text: What is shown.
        kind: Class of the column.
        whole: What an abbreviation stands for; empty where the heading says it all.
        sorts: Whether rows are sorted by it.
    """

    text: str
    kind: str
    whole: str = ""
    sorts: bool = True


@dataclass(frozen=True, slots=True)
class _Part:
    """One setting as the page shows it."""

    setting: Setting
    name: str
    columns: tuple[_Head, ...]
    rows: tuple[tuple[_Cell, ...], ...]
    notes: tuple[str, ...]


def source_link(source: PublishedSource) -> str:
    """Return where a published row is read, as far as its reference says; empty where it does not."""
    if source.url:
        return source.url
    if paper := _ARXIV.search(source.reference):
        return f"https://arxiv.org/abs/{paper[1]}"
    if code := _REVISION.search(source.reference):
        return f"https://github.com/{code[1]}/tree/{code[2]}"
    return ""


def _link(row: RankedRow, whole: str) -> _Link:
    source = row.entry.source
    if not isinstance(source, PublishedSource):
        return _Link("run", "", whole)
    name = source.reference.partition(" (")[0]
    return _Link(f"{name}, {source.where}" if source.where else name, source_link(source), whole)


def _axis(values: Sequence[Estimate]) -> tuple[float, float]:
    """Return round ends of an axis that holds all values and intervals."""
    ends = [end for one in values for end in (one.value, one.low, one.high) if end is not None]
    low, high = min(ends, default=0.0), max(ends, default=100.0)
    step = next((step for step in (1, 2, 5, 10, 20, 50) if (high - low) / step <= 6), 100)
    floor, top = step * math.floor(low / step), step * math.ceil(high / step)
    return (floor, top) if top > floor else (floor - step, top + step)


def _mark(cell: Estimate, axis: tuple[float, float]) -> _Mark | None:
    def at(value: float | None) -> float | None:
        if value is None:
            return None
        share = (value - axis[0]) / (axis[1] - axis[0])
        return round(_EDGE + (_WIDE - 2 * _EDGE) * share, 1)

    value = at(cell.value)
    return None if value is None else _Mark(value, at(cell.low), at(cell.high))


def _part(board: Leaderboard, setting: Setting) -> _Part:
    table = setting_table(board, setting)
    primary = next(place for place, column in enumerate(table.columns) if column.interval)
    values = [row[primary] for row in table.rows]
    axis = _axis([value for value in values if isinstance(value, Estimate)])
    known = [any(row[place] not in (None, "") for row in table.rows) for place in range(len(table.columns))]
    kept = [place for place, column in enumerate(table.columns) if known[place] or column.interval]
    columns: list[_Head] = []
    for place in kept:
        column = table.columns[place]
        label = short_name(column.name, board.task)
        columns.append(_Head(column.heading, _kind(column), label if label != column.name else ""))
        if place == primary:
            columns.append(_Head(f"{axis[0]:g} to {axis[1]:g}", "plot", sorts=False))
    rows = tuple(
        tuple(_row_cells(row, texts, ranked, (kept, primary, table, axis)))
        for row, texts, ranked in zip(table.rows, table.shown(), rank_rows(board, setting), strict=True)
    )
    return _Part(setting, f"{board.task}-{setting.id}", tuple(columns), rows, table.notes)


def _row_cells(
    row: Sequence[Cell],
    texts: Sequence[str],
    ranked: RankedRow,
    layout: tuple[Sequence[int], int, Table, tuple[float, float]],
) -> list[_Cell]:
    kept, primary, table, axis = layout
    cells = []
    for place in kept:
        column, cell = table.columns[place], row[place]
        kind = _kind(column)
        link = _link(ranked, texts[place]) if kind == "source" else None
        cells.append(_Cell(texts[place], _sort_key(cell), kind, link=link))
        if place == primary and isinstance(cell, Estimate):
            cells.append(_Cell("", "", "plot", mark=_mark(cell, axis)))
    return cells


def _kind(column: Column) -> str:
    if column.name in ("model", "source"):
        return column.name
    return "" if column.text else "num"


def _sort_key(cell: Cell) -> str:
    value = cell.value if isinstance(cell, Estimate) else cell.first if isinstance(cell, Span) else cell
    return "" if value is None else str(value)


def render_html(boards: Sequence[Leaderboard]) -> str:
    """Return one HTML page of all benchmarks: no request to anywhere, readable without JavaScript, sortable with.

    All text of the files is escaped; a content security policy forbids every load. A column of which nothing is
    known in a table is left out of it.
    """
    early, style = static("theme.js"), static("report.css") + static("boards.css", _HOME)
    script = static("colours.js") + static("boards.js", _HOME)
    content = [
        {"board": board, "parts": [_part(board, setting) for setting in board.settings]} for board in boards
    ]
    return (
        environment(_HOME)
        .get_template("leaderboards.html.jinja")
        .render(
            boards=content,
            policy=page_policy((early, script), style, "form-action 'none'"),
            early=trusted(early),
            style=trusted(style),
            script=trusted(script),
            wide=f"{_WIDE:g}",
        )
    )
