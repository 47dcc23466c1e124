"""A score of a sheet, by name, as a fixed weighting of means over its questions; intervals and tests need that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evalkit.errors import UsageError, suggest
from evalkit.tasks.contract import ScoreSheet
from evalkit.tasks.metrics import TOTAL_IS, Cell, cells_of

__all__ = ["ACCURACY", "ComposedScore", "composed_score"]

ACCURACY = "accuracy"
"""Name of the plain mean over all questions, which every benchmark has."""

_TOTAL = "total"


@dataclass(frozen=True, slots=True)
class ComposedScore:
    """The strict score ``sum_c weight_c * mean over the questions of c``.

    Args:
        name: Of the score.
        cells: For each cell (a sub-task, or questions that are averaged together) its questions.
        weights: For each cell its weight; they add up to 1.
    """

    name: str
    cells: Mapping[str, tuple[str, ...]]
    weights: Mapping[str, float]


def composed_score(sheet: ScoreSheet, metric: str | None = None) -> ComposedScore:
    """Return what a score is made of.

    Args:
        sheet: Score sheet of a run.
        metric: ``accuracy``, a named average, a group or a sub-task; the benchmark's headline when absent.

    Raises:
        UsageError: The benchmark has no such score, or these questions are not all that it is made of.
    """
    total = str(sheet.facts.get(TOTAL_IS) or "")
    name = (total or ACCURACY) if metric in (None, _TOTAL) else str(metric)
    everything = tuple(id_ for id_, _, _, _ in sheet.correct)
    if name == ACCURACY or (name == total and not sheet.averaging.averages):
        return ComposedScore(name, {ACCURACY: everything}, {ACCURACY: 1.0})
    values = {**({total: sheet.strict.total} if total else {}), **sheet.strict.groups, **sheet.strict.tasks}
    usable = [ACCURACY, *(key for key, value in values.items() if value is not None)]
    if name not in values:
        raise UsageError(f"{sheet.task} has no score {name!r}{suggest(name, values)} (here: {', '.join(usable)})")
    parts = {cell.name: cell for cell in cells_of(name, sheet.averaging.averages)}
    labelled = _labelled(sheet)
    cells = {part: _questions(cell, labelled) for part, cell in parts.items()}
    missing = [part for part, questions in cells.items() if not questions]
    if missing or values[name] is None:
        lacking = f"no questions of {', '.join(missing)}" if missing else "questions of it were not asked"
        raise UsageError(
            f"{name} cannot be had from these runs ({lacking}): choose another with --metric ({', '.join(usable)})"
        )
    whole = sum(cell.weight for cell in parts.values())
    return ComposedScore(name, cells, {part: cell.weight / whole for part, cell in parts.items()})


def _labelled(sheet: ScoreSheet) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for id_, _, task, _ in sheet.correct:
        for label in {task, *sheet.averaging.groups_of.get(id_, ())}:
            found.setdefault(label, []).append(id_)
    return found


def _questions(cell: Cell, labelled: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Return the questions of a cell; one with two of its labels is in it once."""
    return tuple(dict.fromkeys(id_ for label in sorted(cell.labels) for id_ in labelled.get(label, ())))
