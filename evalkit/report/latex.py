r"""A table as LaTeX that pdflatex takes as it is: plain characters, booktabs alone, and no wider than the text.

Widths are those of Computer Modern at 10 points, estimated character by character, so that a table is set smaller,
turned on its side or split before anything runs into the margin.
"""

from __future__ import annotations

__all__ = ["PACKAGES", "TEXT_WIDTH", "to_latex"]

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from evalkit.report.tables import MISSING, Column, Table
from evalkit.shown import shown_on_one_line

PACKAGES = ("booktabs",)
"""What the preamble needs."""
TEXT_WIDTH = 345.0
"""Width of the text of LaTeX's article class, in points."""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "•": r"\textbullet{}",
    "\N{MINUS SIGN}": "$-$",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "≠": r"$\neq$",
    "≈": r"$\approx$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "∞": r"$\infty$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "√": r"$\surd$",
    "✓": r"$\surd$",
    "✗": r"$\times$",
    "°": r"$^\circ$",
    "µ": r"$\mu$",
    "μ": r"$\mu$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "κ": r"$\kappa$",
    "λ": r"$\lambda$",
    "ρ": r"$\rho$",
    "σ": r"$\sigma$",
    "τ": r"$\tau$",
    "ω": r"$\omega$",
    "Δ": r"$\Delta$",
    "²": r"$^2$",
    "³": r"$^3$",
    "ı": r"\i{}",
    "ß": r"\ss{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "å": r"\aa{}",
    "Å": r"\AA{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
}
_ACCENT = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
# Points of Computer Modern Roman at 10 points; letters that are not named take 5.3.
_POINTS = {
    char: points
    for points, chars in (
        (2.8, "ijl.,:;'!|[]I "),
        (3.9, "rtf()-/`"),
        (4.4, "sczvxyeg"),
        (5.0, "0123456789abdhknopqu?"),
        (7.2, "wBCEFLPRSTZJ"),
        (7.8, "ADGHKNOQUVXY&−+=<>≤≥≠≈±×"),
        (8.3, "m%"),
        (10.3, "MW@–"),
    )
    for char in chars
}
# Size, width of its letters beside the normal ones, and the space on either side of a column in points.
_SIZES = (("", 1.03, 6.0), (r"\small", 0.96, 4.0), (r"\footnotesize", 0.89, 3.0))
_INTERVAL = 0.81  # of \scriptsize, in which intervals stand whatever the size
_NARROWEST = 60.0  # points that a column of words keeps when it is folded
_ROWS_ASIDE = 6  # rows that may become columns
_LINES_PER_PAGE = 44
_NOTES_IN_FLOAT = 6


@dataclass(frozen=True, slots=True)
class _Grid:
    """Cells as plain text with their columns, and how many columns on the left name the row."""

    headings: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    keys: int

    def take(self, picked: Sequence[int]) -> _Grid:
        """Return the same rows with some of the columns."""
        return _Grid(
            tuple(self.headings[k] for k in picked),
            tuple(self.columns[k] for k in picked),
            tuple(tuple(row[k] for k in picked) for row in self.rows),
            self.keys,
        )


def to_latex(table: Table, width: float = TEXT_WIDTH) -> str:
    r"""Return a table as one or more ``table`` environments.

    A table that is wider than the text is set in ``\small``, then in ``\footnotesize``; then one of few rows is
    turned (its columns become rows), and any other is split into blocks of columns, each with those that name its
    rows. Words are folded in columns of a fixed width. More rows than a page holds go on in a further table;
    many notes stand below the table as text. A column in which no row has anything is left out.

    Args:
        table: What to show.
        width: Width of the text in points.
    """
    table = table.without_gaps()
    grid = _Grid(
        tuple(column.heading for column in table.columns),
        table.columns,
        tuple(tuple(shown_on_one_line(cell) for cell in row) for row in table.shown()),
        _leading_words(table.columns),
    )
    size, pages, notes = _layout(grid, width)
    parts = []
    for number, blocks in enumerate(pages):
        below = (*notes, *table.notes) if number == len(pages) - 1 else ()
        parts.append(_float(table, size, blocks, width, going_on=number > 0, notes=below))
    return "\n".join(parts)


def _leading_words(columns: Sequence[Column]) -> int:
    count = 0
    for column in columns:
        if not column.text:
            break
        count += 1
    return min(count, 2) or 1


def _layout(grid: _Grid, width: float) -> tuple[int, list[list[_Grid]], list[str]]:
    """Return the place of the size in `_SIZES`, the blocks of each page below one another, and further notes."""
    sizes = range(len(_SIZES))
    for place in sizes:
        if _points(grid, place) <= width:
            return place, _pages([grid], place, width), []
    place = sizes[-1]
    if 0 < len(grid.rows) <= _ROWS_ASIDE:
        turned, notes = _turned(grid, width / (1 + len(grid.rows)))
        blocks = list(_blocks(turned, place, width))
        if all(_points(block, place) <= width for block in blocks):
            return place, [page for block in blocks for page in _pages([block], place, width)], notes
    return place, _pages(list(_blocks(grid, place, width)), place, width), []


def _pages(blocks: Sequence[_Grid], place: int, width: float) -> list[list[_Grid]]:
    """Return blocks of columns cut into as many rows as stand on a page."""
    rows = len(blocks[0].rows)
    lines = sum(math.ceil(_points(block, place) / width) for block in blocks)  # of a row: words are folded
    many = max(3, (_LINES_PER_PAGE - 3 * len(blocks)) // lines)  # a block's heading and rules take three
    return [
        [replace(block, rows=block.rows[start : start + many]) for block in blocks]
        for start in range(0, max(1, rows), many)
    ]


def _turned(grid: _Grid, room: float) -> tuple[_Grid, list[str]]:
    """Return the table on its side, and as notes the columns of words that are wider than the room for a cell."""
    names = [", ".join(filter(None, row[: grid.keys])) for row in grid.rows]
    rows, notes = [], []
    for k in range(grid.keys, len(grid.columns)):
        cells = [row[k] for row in grid.rows]
        if grid.columns[k].text and max(map(_text_points, cells)) > room:
            said = "; ".join(f"{name}: {cell}" for name, cell in zip(names, cells, strict=True))
            notes.append(f"{grid.headings[k]}: {said}.")
        else:
            rows.append((grid.headings[k], *cells))
    interval = any(column.interval for column in grid.columns)
    columns = (Column("", text=True), *(Column(name, interval=interval) for name in names))
    return _Grid(("", *names), columns, tuple(rows), 1), notes


def _blocks(grid: _Grid, place: int, width: float) -> Iterator[_Grid]:
    """Yield the table column by column, as many at a time as fit beside those that name the row."""
    keys = list(range(grid.keys))
    picked = list(keys)
    for k in range(grid.keys, len(grid.columns)):
        if len(picked) > len(keys) and _points(grid.take([*picked, k]), place) > width:
            yield grid.take(picked)
            picked = list(keys)
        picked.append(k)
    yield grid.take(picked)


def _points(grid: _Grid, place: int) -> float:
    """Return the width of a table in points."""
    return sum(_column_points(grid, place)) + 2 * _SIZES[place][2] * len(grid.columns)


def _narrowest(grid: _Grid, place: int) -> list[float]:
    """Return each column's width in points once its words are folded: none is cut, and few lines are needed."""
    share = _SIZES[place][1]
    found = []
    for k, (one, column) in enumerate(zip(_column_points(grid, place), grid.columns, strict=True)):
        words = [share * _text_points(word) for row in grid.rows for word in row[k].split()]
        found.append(min(one, max([_NARROWEST, *words])) if column.text else one)
    return found


def _column_points(grid: _Grid, place: int) -> list[float]:
    share = _SIZES[place][1]
    return [
        max(share * _text_points(heading), *(_cell_points(row[k], column, share) for row in grid.rows), 5.0)
        for k, (heading, column) in enumerate(zip(grid.headings, grid.columns, strict=True))
    ]


def _text_points(text: str) -> float:
    return sum(_POINTS.get(char) or _other_points(char) for char in text)


def _other_points(char: str) -> float:
    if char.isascii():
        return 5.3
    return 40.0 if _character(char).startswith("[U+") else 7.8


def _cell_points(text: str, column: Column, share: float) -> float:
    value, bracket, rest = text.partition(" [") if column.interval else (text, "", "")
    signs = 3.9 * rest.count("-")  # a minus is as wide as two hyphens
    return share * _text_points(value) + _INTERVAL * (_text_points(bracket + rest) + signs)


def _float(
    table: Table, size: int, blocks: Sequence[_Grid], width: float, *, going_on: bool, notes: Sequence[str]
) -> str:
    name, _, space = _SIZES[size]
    label = re.sub("[^a-zA-Z0-9:-]+", "-", table.label)
    caption = _text(table.caption) + (" (continued)" if going_on else "")
    lines = [
        r"\begin{table}[tp]",
        r"  \centering",
        rf"  \caption{{{caption}}}",
        *([rf"  \label{{tab:{label}}}"] if label and not going_on else []),
        *([rf"  {name}\setlength{{\tabcolsep}}{{{space:g}pt}}"] if name else []),
    ]
    for k, block in enumerate(blocks):
        lines += [r"  \par\medskip"] if k else []
        lines += _tabular(block, size, width)
    below = [rf"\par\smallskip{{\footnotesize\raggedright\noindent {_text(note)}\par}}" for note in notes]
    end = r"\end{table}"
    inside = len(below) <= _NOTES_IN_FLOAT
    return "\n".join([*lines, *(f"  {note}" for note in below), end] if inside else [*lines, end, *below]) + "\n"


def _tabular(grid: _Grid, size: int, width: float) -> list[str]:
    align = "".join(_alignment(grid, size, width))
    body = [
        " & ".join(_cell(cell, column) for cell, column in zip(row, grid.columns, strict=True))
        for row in grid.rows
    ]
    return [
        rf"  \begin{{tabular}}{{{align}}}",
        r"    \toprule",
        "    " + " & ".join(map(_text, grid.headings)) + r" \\",
        r"    \midrule",
        *(f"    {line} \\\\" for line in body),
        r"    \bottomrule",
        r"  \end{tabular}",
    ]


def _alignment(grid: _Grid, size: int, width: float) -> Iterator[str]:
    """Yield each column's letter; where the table is too wide, words are folded into what numbers leave."""
    space = _SIZES[size][2]
    points = _column_points(grid, size)
    over = sum(points) + 2 * space * len(points) - width
    narrowest = _narrowest(grid, size)
    slack = sum(points) - sum(narrowest)
    for one, least, column in zip(points, narrowest, grid.columns, strict=True):
        if least < one and over > 0:
            yield rf"p{{{max(least, one - over * (one - least) / slack):.0f}pt}}"
        else:
            yield "l" if column.text else "r"


def _cell(text: str, column: Column) -> str:
    if column.interval and " [" in text:
        value, _, rest = text.partition(" [")
        return f"{_numeral(value)} {{\\scriptsize [{_text(rest).replace('-', '$-$')}}}"
    return _text(text) if column.text else _numeral(text)


def _numeral(text: str) -> str:
    if text == MISSING:
        return "--"
    return "$-$" + _text(text[1:]) if text.startswith("-") else _text(text)


def _text(text: str) -> str:
    """Return plain text with what is LaTeX's own written out, and a letter that it has no form for as its code."""
    folded = unicodedata.normalize("NFC", shown_on_one_line(text))
    parts = [_character(char) for char in folded]
    if parts and parts[0].startswith(("[", "*")):  # behind \\ either would be read as its argument
        parts.insert(0, "{}")
    # `` and '' in a row of quotes, -- of two hyphens: ligatures that nobody wrote.
    return "".join(
        f"{{}}{after}" if before[-1:] == after[:1] and after[:1] in "-`'" and len(after) == 1 else after
        for before, after in pairwise(["", *parts])
    )


def _character(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    if char.isascii():
        return char
    if unicodedata.category(char) == "Zs":
        return "~"
    letters = unicodedata.normalize("NFD", char)
    base, marks = letters[0], letters[1:]
    if base.isascii() and base.isalpha() and marks in _ACCENT:
        return rf"\{_ACCENT[marks]}{{{base}}}"
    plain = unicodedata.normalize("NFKC", char)
    if plain.isascii() and plain.isprintable():
        return "".join(map(_character, plain))
    return f"[U+{ord(char):04X}]"
