"""Leaderboards as Markdown in a README; the same input gives the same bytes (`board_page` makes the HTML page)."""

from __future__ import annotations

__all__ = ["BEGIN", "END", "into_readme", "render_markdown", "setting_table"]

from collections.abc import Sequence

from evalkit.errors import DataError
from evalkit.leaderboard.ranking import RankedRow, rank_rows
from evalkit.leaderboard.schema import Leaderboard, PublishedSource, Setting
from evalkit.report.naming import short_name
from evalkit.report.tables import Cell, Column, Estimate, Span, Table, to_markdown

BEGIN, END = "<!-- leaderboards:begin -->", "<!-- leaderboards:end -->"
_HEADER = """# Leaderboards

One JSON file per benchmark is the source of truth; the tables below are written from them by
`evalkit leaderboard render`. Rows are ranked within a setting only; another setting is another measurement.
"""


def _source(row: RankedRow) -> str:
    entry = row.entry
    if isinstance(entry.source, PublishedSource):
        return ", ".join(filter(None, [f"published: {entry.source.reference}", entry.source.where]))
    parts = [f"run {entry.source.run}", entry.date, entry.hardware, entry.judge and f"judge {entry.judge}"]
    return ", ".join(part for part in parts if part)


def _columns(board: Leaderboard, setting: Setting, *, placed: bool) -> tuple[Column, ...]:
    """Return the columns: what a row is ranked by and how far that is known come before its parts."""
    return (
        Column("#"),
        *([Column("places", span=True)] if placed else []),
        Column("model", text=True),
        Column(_named(setting.primary, board), "%", 2, interval=True),
        Column("n"),
        Column("coverage", "%", 1),
        *(Column(_named(name, board), "", 2) for name in setting.columns if name != setting.primary),
        Column("source", text=True),
    )


def _named(column: str, board: Leaderboard) -> str:
    """Return a column's heading: a name of code in words, an abbreviation as it is."""
    return short_name(column, board.task) if "_" in column else column


def _cells(row: RankedRow, setting: Setting, *, placed: bool) -> tuple[Cell, ...]:
    entry = row.entry
    primary = Estimate(entry.metrics.get(setting.primary), entry.low, entry.high)
    coverage = None if entry.coverage is None else 100 * entry.coverage
    parts = [entry.metrics.get(name) for name in setting.columns if name != setting.primary]
    place = [_places(row)] if placed else []
    return (row.rank, *place, entry.name, primary, entry.n, coverage, *parts, _source(row))


def _places(row: RankedRow) -> Span | None:
    """Return the places that the errors leave open, such as 1-3."""
    return None if row.places is None else Span(*row.places)


def _notes(rows: Sequence[RankedRow]) -> tuple[str, ...]:
    lines = []
    if any(row.places for row in rows):
        lines.append("Places: those that the rows' errors leave open, for all rows at once (95 %, unpaired).")
    for row in rows:
        parts = [f"not ranked: {row.unranked}" if row.unranked else "", row.entry.note]
        said = "; ".join(part for part in parts if part)
        if said:
            lines.append(f"{row.entry.name}: {said}.")
    return tuple(lines)


def setting_table(board: Leaderboard, setting: Setting) -> Table:
    """Return the table of one setting: ranked rows first, then those listed without a rank, with the reasons."""
    rows = rank_rows(board, setting)
    placed = any(row.places for row in rows)
    return Table(
        caption="",
        columns=_columns(board, setting, placed=placed),
        rows=tuple(_cells(row, setting, placed=placed) for row in rows),
        notes=_notes(rows),
        label=f"{board.task}-{setting.id}",
    )


def render_markdown(boards: Sequence[Leaderboard]) -> str:
    """Return the tables of all benchmarks as Markdown, benchmarks in the order given."""
    parts = []
    for board in boards:
        parts.append(f"## {_plain(board.title)}\n")
        if not board.settings:
            parts.append("No rows yet.\n")
        for setting in board.settings:
            parts.append(f"### {_plain(setting.title)}\n")
            if setting.note:
                parts.append(f"{_plain(setting.note)}\n")
            parts.append(to_markdown(setting_table(board, setting).without_gaps()))
    return "\n".join(parts)


def _plain(text: str) -> str:
    """Return text for a Markdown line: folded, with markup characters made harmless."""
    folded = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{char}" if char in "\\`*[]|~#" else char for char in folded)


def into_readme(text: str | None, tables: str, name: str) -> str:
    """Return a README with the tables between the two markers; what stands around them is kept.

    Args:
        text: The README as it is; None where there is none yet.
        tables: From `render_markdown`.
        name: What messages call the file.

    Raises:
        DataError: One marker is missing, stands twice, or they stand in the wrong order.
    """
    if text is None:
        text = f"{_HEADER}\n{BEGIN}\n{END}\n"
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise DataError(f"{name}: the tables go between one line {BEGIN} and one line {END} below it: add them")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{tables.strip()}\n\n{END}{rest.partition(END)[2]}"
