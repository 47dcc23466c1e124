"""A score sheet as rows of ``metrics.json``: each score officially and strictly, strict ones with intervals."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from evalkit.records import Metric
from evalkit.tasks.contract import Average, Scores, ScoreSheet

__all__ = ["Cell", "cells_of", "sheet_metrics"]

TOTAL_IS = "total_is"
"""Fact of a sheet that names the average which is the total."""

_SAME = 1e-6
_NO_VIDEOS = "the files do not say which video a question is of: name the data folder for an interval (--data DIR)"


@dataclass(frozen=True, slots=True)
class Cell:
    """Questions whose mean enters an average with one weight.

    Args:
        labels: Sub-tasks or groups; a question with any of them is in the cell.
        weight: Weight of the cell's mean; those of an average add up to 1.
    """

    labels: frozenset[str]
    weight: float

    @property
    def name(self) -> str:
        """What messages call it; no two cells of one average have the same labels."""
        return "+".join(sorted(self.labels))


def cells_of(name: str, averages: Sequence[Average]) -> tuple[Cell, ...]:
    """Return the cells of a named average, of a sub-task, or of a group of questions.

    A mean of means of sub-tasks becomes one weighted mean over sub-tasks; what is averaged over questions is one
    cell.

    Args:
        name: An average, or a label that questions have.
        averages: All averages of the benchmark.
    """
    rule = next((entry for entry in averages if entry.name == name), None)
    if rule is None:
        return (Cell(frozenset({name}), 1.0),)
    if rule.rule == "micro":
        return (Cell(frozenset(rule.parts), 1.0),)
    weights = rule.weights or (1,) * len(rule.parts)
    return tuple(
        replace(cell, weight=cell.weight * weight / sum(weights))
        for part, weight in zip(rule.parts, weights, strict=True)
        for cell in cells_of(part, averages)
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """A question as intervals see it."""

    cluster: str
    correct: bool
    answered: bool


Rows = Mapping[str, Sequence[_Row]]
"""Questions by label: a sub-task or a group."""


def sheet_metrics(sheet: ScoreSheet) -> list[Metric]:
    """Return total, groups and sub-tasks, each by the benchmark's own rule and strictly.

    Strict scores carry a 95 % interval: of a mean over questions by the CR1 error clustered by video, of a mean of
    means by resampling videos. There is none where questions without a record count as wrong, since nothing tells
    how those would have come out.
    """
    questions: list[_Row] = []
    labelled: dict[str, list[_Row]] = {}
    for id_, cluster, task, correct in sheet.correct:
        row = _Row(cluster, correct, id_ not in sheet.unanswered)
        questions.append(row)
        for label in {task, *sheet.averaging.groups_of.get(id_, ())}:
            labelled.setdefault(label, []).append(row)
    return [row for score in _SCORES for row in _side(sheet, questions, labelled, score)]


_SCORES: tuple[Literal["official", "strict"], ...] = ("official", "strict")


def _side(
    sheet: ScoreSheet, questions: Sequence[_Row], labelled: Rows, score: Literal["official", "strict"]
) -> Iterator[Metric]:
    scores: Scores = sheet.strict if score == "strict" else sheet.source
    counts = sheet.facts.get("counts" if score == "strict" else "source_counts", {})
    everything = {key: sum(entry[key] for entry in counts.values()) for key in ("n", "answered")}
    total = Metric(name="total", value=scores.total, unit="%", score=score, **_counted(everything))
    named = [(str(sheet.facts.get(TOTAL_IS, "")), total)]
    for name, value in scores.groups.items():
        named.append((name, Metric(name=name, value=value, unit="%", group="groups", score=score)))
    for name, value in scores.tasks.items():
        row = Metric(name=name, value=value, unit="%", group="tasks", score=score)
        named.append((name, row.model_copy(update=_counted(counts.get(name, {"n": 0, "answered": 0})))))
    for name, metric in named:
        members = _members(cells_of(name, sheet.averaging.averages), labelled)
        rows = [row for _, inside in members for row in inside]
        if metric.group != "tasks" and name == "":
            rows = list(questions)
        update: dict[str, Any] = {"clusters": len({row.cluster for row in rows} - {""})}
        if metric.group == "groups" and score == "strict":
            update |= _counted({"n": len(rows), "answered": sum(row.answered for row in rows)})
        if metric.group == "groups" and score == "official":
            update |= _of_parts(name, sheet, counts)
        if score == "strict" and metric.value is not None:
            own = sheet.intervals
            update |= _interval(members, metric.value) if own is None else _given_interval(own.get(metric.name))
        yield metric.model_copy(update=update)


def _of_parts(name: str, sheet: ScoreSheet, counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Return what the official rule counts in a group; nothing where its parts are no sub-tasks."""
    parts = {label for cell in cells_of(name, sheet.averaging.averages) for label in cell.labels}
    if not parts <= counts.keys():
        return {}
    return _counted({key: sum(counts[part][key] for part in parts) for key in ("n", "answered")})


def _counted(entry: Mapping[str, int]) -> dict[str, Any]:
    n, answered = entry["n"], entry["answered"]
    return {"n": n, "answered": answered, "coverage": answered / n if n else None}


def _members(cells: Sequence[Cell], labelled: Rows) -> list[tuple[Cell, list[_Row]]]:
    """Return the questions of each cell that has any; a question with two labels of a cell is in it once."""
    found = []
    for cell in cells:
        rows = {id(row): row for label in sorted(cell.labels) for row in labelled.get(label, ())}
        if rows:
            found.append((cell, list(rows.values())))
    return found


def _given_interval(bounds: tuple[float, float] | None) -> dict[str, Any]:
    if bounds is None:
        return {"note": "too few videos: no interval"}
    return {"low": bounds[0], "high": bounds[1], "method": "videos resampled"}


def _interval(members: Sequence[tuple[Cell, Sequence[_Row]]], value: float) -> dict[str, Any]:
    """Return the interval of a score, or nothing where the questions on record do not give that score."""
    from evalkit.stats import macro_average, mean_by_cluster  # loads scipy and pandas

    if not members:
        return {}
    scores = [float(row.correct) for _, rows in members for row in rows]
    videos = [row.cluster for _, rows in members for row in rows]
    if not any(videos):
        return {"note": _NO_VIDEOS}
    if len(members) == 1:
        shares = mean_by_cluster(scores, videos)
    else:
        groups = [cell.name for cell, rows in members for _ in rows]
        whole = sum(cell.weight for cell, _ in members)
        weights: dict[Hashable, float] = {cell.name: cell.weight / whole for cell, _ in members}
        shares = macro_average(scores, groups, videos, weights=weights)
    if not math.isclose(100 * shares.value, value, abs_tol=_SAME):
        return {"note": "questions without a record count as wrong: no interval"}
    found: dict[str, Any] = {"method": shares.method, "note": shares.note}
    if shares.low is not None and shares.high is not None:
        found |= {"low": 100 * shares.low, "high": 100 * shares.high}
    return found
