"""Scores of several runs side by side: a row for each figure or sub-task, a column for each model."""

from __future__ import annotations

__all__ = ["Row", "table_by_model"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evalkit.records import Metric
from evalkit.report.runs import Run
from evalkit.report.scores import scaled
from evalkit.report.tables import Cell, Column, Estimate, Table

Getter = Callable[[Metric], Cell]


@dataclass(frozen=True)
class Row:
    """A figure of each run.

    Args:
        key: Texts of the first columns.
        found: The metric of each run that has it, by the run's label.
    """

    key: tuple[str, ...]
    found: Mapping[str, Metric]


def _coverage(metric: Metric) -> Cell:
    return None if metric.coverage is None else 100 * metric.coverage


_FACTS: tuple[tuple[Column, Getter], ...] = (
    (Column("Coverage", "%", digits=2), _coverage),
    (Column("n"), lambda metric: metric.n),
    (Column("Videos"), lambda metric: metric.clusters),
)


def table_by_model(
    caption: str,
    keys: Sequence[str],
    rows: Sequence[Row],
    runs: Sequence[Run],
    *,
    label: str,
    value: Column | None = None,
) -> Table | None:
    """Return the table, or ``None`` where there is no row.

    Coverage, n and videos are one column where all runs have the same, and one for each run where they differ; a
    column without any value is left out.

    Args:
        caption: What is shown.
        keys: Headings of the first columns.
        rows: The rows.
        runs: The runs, whose labels head the columns.
        label: Of the table.
        value: How a value is shown, in percent with two decimals by default; its name heads a single run's column.
    """
    if not rows:
        return None
    like = value or Column("Value", "%", digits=2)
    shown = [run for run in runs if any(run.label in row.found for row in rows)]
    columns = [Column(name, text=True) for name in keys]
    cells: list[list[Cell]] = [list(row.key) for row in rows]
    for run in shown:
        shown_values: list[Cell] = [_estimate(row.found.get(run.label)) for row in rows]
        name = like.name if len(runs) == 1 else run.label
        # A unit of every row's own stands with the figure's name.
        columns.append(Column(name, like.unit, like.digits, interval=True))
        _append(cells, shown_values)
    for column, get in _FACTS:
        for heading, values in _shared(column.name, get, rows, shown):
            columns.append(Column(heading, column.unit, column.digits))
            _append(cells, values)
    return Table(caption, tuple(columns), tuple(map(tuple, cells)), _notes(rows, shown), label)


def _estimate(metric: Metric | None) -> Estimate:
    return Estimate(None) if metric is None else scaled(metric)[0]


def _append(cells: list[list[Cell]], values: Sequence[Cell]) -> None:
    for line, cell in zip(cells, values, strict=True):
        line.append(cell)


def _shared(name: str, get: Getter, rows: Sequence[Row], runs: Sequence[Run]) -> list[tuple[str, list[Cell]]]:
    """Return the columns of a fact: none, one for all runs, or one for each."""
    found = {
        run.label: [get(row.found[run.label]) if run.label in row.found else None for row in rows] for run in runs
    }
    if all(value is None for values in found.values() for value in values):
        return []
    together = [{values[place] for values in found.values()} - {None} for place in range(len(rows))]
    if all(len(values) <= 1 for values in together):
        return [(name, [next(iter(values), None) for values in together])]
    return [(f"{name} {label}", values) for label, values in found.items()]


def _notes(rows: Sequence[Row], runs: Sequence[Run]) -> tuple[str, ...]:
    """Return what metrics say of themselves, each text once, with the rows it is said of."""
    said: dict[str, list[str]] = {}
    for row in rows:
        by_note: dict[str, list[str]] = {}
        for run in runs:
            metric = row.found.get(run.label)
            if metric is not None and metric.note:
                by_note.setdefault(metric.note, []).append(run.label)
        for note, labels in by_note.items():
            of_all = len(labels) == len(runs)
            said.setdefault(note, []).append(row.key[0] + ("" if of_all else f" of {' and '.join(labels)}"))
    return tuple(
        f"{note[:1].upper()}{note[1:]}"
        + ("." if len(names) == len(rows) else f": {', '.join(dict.fromkeys(names))}.")
        for note, names in said.items()
    )
