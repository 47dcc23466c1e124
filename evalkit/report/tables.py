"""One table and its forms, which show the very same digits: terminal text, Markdown, CSV (`latex` has the fourth).

What stands in a table is decided elsewhere (`evalkit.report.latency`, `evalkit.report.summary`).
"""

from __future__ import annotations

__all__ = ["MISSING", "Cell", "Column", "Estimate", "Span", "Table", "to_csv", "to_markdown", "to_text"]

import csv
import io
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evalkit.shown import shown_on_one_line

MISSING = "–"
# More rows than these side by side are wider than the table was.
_TURNED_ROWS = 5
# More columns than these do not stand side by side on a page.
_MOST_COLUMNS = 13
# A spreadsheet evaluates a cell that opens with one of these; text of models must stay text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN = re.compile(r"([\\`*\[\]|~])|(?<!\w)(_)|(_)(?!\w)")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval, in the column's unit.

    Args:
        value: Point estimate; ``None`` where its parts are missing.
        low: Lower end of the interval, ``None`` where there is no interval.
        high: Upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Whole numbers from one to another, such as the places that are open to a model.

    Args:
        first: The smallest.
        last: The largest.
    """

    first: int
    last: int


Cell = str | int | float | Estimate | Span | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        name: Heading.
        unit: Unit of the numbers (``s``, ``%``, ``MiB``), shown with the heading.
        digits: Decimals of numbers that are not integers.
        interval: Whether cells are `Estimate`; CSV then has a low and a high column.
        span: Whether cells are `Span`; CSV then has a column for either end.
        least: The smallest positive number that is shown; below, it is shown as smaller than this, and CSV has it
            with two significant digits.
        text: Whether cells are text (left-aligned, escaped).
    """

    name: str
    unit: str = ""
    digits: int = 3
    interval: bool = False
    text: bool = False
    span: bool = False
    least: float | None = None

    @property
    def heading(self) -> str:
        """The name with the unit in brackets."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True, slots=True)
class Table:
    r"""A table before it has a form.

    Args:
        caption: What the reader sees, with n where numbers are means.
        columns: The columns, left to right.
        rows: Cells of each row; each row is as long as ``columns``.
        notes: Lines below the table.
        label: Name for ``\label`` and for file names.

    Raises:
        ValueError: A row is not as long as ``columns``.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    label: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells in a table of {len(self.columns)} columns")

    def shown(self) -> list[list[str]]:
        """Return the cells as text, before any escaping: the digits that every rendering shows."""
        return [[show(cell, column) for cell, column in zip(row, self.columns, strict=True)] for row in self.rows]

    def without_gaps(self) -> Table:
        """Return the table without the columns, after the first, in which no row has anything."""
        shown = self.shown()
        known = [
            place
            for place in range(len(self.columns))
            if not place or not shown or any(row[place] not in ("", MISSING) for row in shown)
        ]
        return replace(
            self,
            columns=tuple(self.columns[place] for place in known),
            rows=tuple(tuple(row[place] for place in known) for row in self.rows),
        )

    def turned(self) -> Table:
        """Return the table with its columns as rows, every cell as it is shown."""
        first, *others = zip(self.columns, *self.shown(), strict=True)
        return replace(
            self,
            columns=(replace(first[0], text=True), *(Column(label) for label in first[1:])),
            rows=tuple((column.heading, *cells) for column, *cells in others),
        )

    def for_page(self) -> Table:
        """Return the table as a page shows it: without gaps, and turned where it is far wider than high."""
        table = self.without_gaps()
        turn = len(table.columns) > _MOST_COLUMNS and 0 < len(table.rows) <= _TURNED_ROWS
        return table.turned() if turn else table


def _number(value: float | None, digits: int) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:.{digits}f}"
    return text[1:] if float(text) == 0 and text.startswith("-") else text


def show(cell: Cell, column: Column) -> str:
    """Return a cell as plain text; NaN, infinities and ``None`` show as a dash, never as a number."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, Estimate):
        value = _number(cell.value, column.digits)
        if value == MISSING or cell.low is None or cell.high is None:
            return value
        return f"{value} [{_number(cell.low, column.digits)}, {_number(cell.high, column.digits)}]"
    if isinstance(cell, Span):
        return str(cell.first) if cell.first == cell.last else f"{cell.first}-{cell.last}"
    if column.least is not None and cell is not None and 0 <= cell < column.least:
        return f"<{column.least:.{column.digits}f}"
    return _number(cell, column.digits)


def _one_line(text: str) -> str:
    """Fold white space and escape control characters, so that no text can steer a terminal or break a row."""
    return shown_on_one_line(text)


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    marks = sum(unicodedata.combining(char) > 0 for char in text)
    return len(text) + wide - marks


def _pad(text: str, width: int, left: bool) -> str:
    space = " " * (width - _width(text))
    return text + space if left else space + text


def _aligned(
    table: Table, rows: Sequence[Sequence[str]], headings: Sequence[str]
) -> tuple[list[int], list[list[str]]]:
    widths = [max(map(_width, cells)) for cells in zip(headings, *rows, strict=True)]
    lines = [
        [_pad(cell, width, column.text) for cell, width, column in zip(row, widths, table.columns, strict=True)]
        for row in [headings, *rows]
    ]
    return widths, lines


def _laid_out(table: Table) -> tuple[list[int], list[list[str]]]:
    rows = [[_one_line(cell) for cell in row] for row in table.shown()]
    return _aligned(table, rows, [_one_line(column.heading) for column in table.columns])


def to_text(table: Table, width: int = 110) -> str:
    """Return the table for a terminal: aligned columns, no escape sequences from any cell, no column of gaps.

    Args:
        table: What to show.
        width: Columns of the terminal; a wider table of few rows is turned, its columns becoming lines.
    """
    table = table.without_gaps()
    widths, lines = _laid_out(table)
    if sum(widths) + 2 * len(widths) - 2 > width and 0 < len(table.rows) <= _TURNED_ROWS:
        widths, lines = _laid_out(table.turned())
    rule = "  ".join("─" * wide for wide in widths)
    body = ["  ".join(line).rstrip() for line in lines]
    parts = [_one_line(table.caption), rule, body[0], rule, *body[1:], rule, *map(_one_line, table.notes)]
    return "\n".join(part for part in parts if part) + "\n"


def _markdown(text: str) -> str:
    folded = _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\g<0>", folded)


def to_markdown(table: Table) -> str:
    """Return the table as GitHub-flavoured Markdown, cells escaped."""
    rows = [
        [
            _markdown(cell) if column.text or column.least else cell
            for cell, column in zip(row, table.columns, strict=True)
        ]
        for row in table.shown()
    ]
    widths, lines = _aligned(table, rows, [_markdown(column.heading) for column in table.columns])
    rule = [
        "-" * max(width, 3) if column.text else "-" * (max(width, 3) - 1) + ":"
        for width, column in zip(widths, table.columns, strict=True)
    ]
    body = ["| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:])]
    caption = [f"**{_markdown(table.caption)}**", ""] if table.caption else []
    notes = ["", *(f"{_markdown(note)}  " for note in table.notes)] if table.notes else []
    return "\n".join([*caption, *body, *notes]) + "\n"


def _csv_cells(cell: Cell, column: Column) -> list[str]:
    if column.interval:
        estimate = cell if isinstance(cell, Estimate) else Estimate(None)
        if _number(estimate.value, column.digits) == MISSING:
            return ["", "", ""]
        numbers = [_number(part, column.digits) for part in (estimate.value, estimate.low, estimate.high)]
        return ["" if number == MISSING else number for number in numbers]
    if column.span:
        return [str(cell.first), str(cell.last)] if isinstance(cell, Span) else ["", ""]
    if column.least is not None and isinstance(cell, float) and 0 <= cell < column.least:
        return [f"{cell:.2g}"]
    text = show(cell, column)
    if isinstance(cell, str):
        return [f"'{text}" if text.startswith(_FORMULA) else text]
    return ["" if text == MISSING else text]


def to_csv(table: Table) -> str:
    """Return the table as CSV (RFC 4180, one heading row), one number a cell: an interval is three columns.

    A gap is empty. Text that a spreadsheet would evaluate gets a leading apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    headings: list[str] = []
    for column in table.columns:
        ends = [f"{column.name} low", f"{column.name} high"] if column.interval else []
        headings += [f"{column.name} from", f"{column.name} to"] if column.span else [column.heading, *ends]
    writer.writerow(headings)
    for row in table.rows:
        writer.writerow(
            [text for cell, column in zip(row, table.columns, strict=True) for text in _csv_cells(cell, column)]
        )
    return out.getvalue()
