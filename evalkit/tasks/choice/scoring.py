"""A multiple-choice benchmark's scores: its own way of reading a reply, the strict one, and named averages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalkit.tasks.choice.questions import LABELS
from evalkit.tasks.contract import Average, Averaging, Prediction, ScoreSheet
from evalkit.tasks.scoring import (
    HIDDEN_GOLD,
    Scored,
    Tally,
    absent,
    beyond_problems,
    duplicate_problems,
    expected_counts,
    make_scores,
    make_sheet,
    mark,
    percent,
    unscored_sheet,
)

__all__ = ["ChoiceRule", "score_choices"]

ReadLetter = Callable[[str, Prediction], str]
"""From a reply and its question to the letter read, empty where none is."""


@dataclass(frozen=True, slots=True)
class ChoiceRule:
    """How a benchmark scores.

    Args:
        tasks: Sub-tasks, in the order of its tables.
        read: How its own scorer reads a reply.
        said: The rule in words.
        averages: Named averages.
        total: Name of the one that is the headline.
        others: Other scorers' ways of reading, by name; what they give over the rows is among the facts.
        count_missing: Whether its own scorer counts questions without a reply as wrong.
    """

    tasks: Sequence[str]
    read: ReadLetter
    said: str
    averages: Sequence[Average]
    total: str
    others: Mapping[str, ReadLetter] = field(default_factory=dict)
    count_missing: bool = False


def score_choices(task: str, predictions: Sequence[Prediction], format: str, rule: ChoiceRule) -> ScoreSheet:
    """Score replies by a benchmark's own rule (``source``) and strictly.

    A question with two rows counts once in both; where its replies are read differently it is wrong, and named.
    Where any gold is hidden nothing is scored.

    Args:
        task: Name of the benchmark.
        predictions: As read from files, with stand-ins for questions without a row.
        format: Layout they came in.
        rule: How the benchmark scores.
    """
    closed = [found for found in predictions if found.kind == "choice"]
    if any(HIDDEN_GOLD in found.tags for found in closed):
        return unscored_sheet(task, format, closed, rule.tasks, [one.name for one in rule.averages])
    marks = mark(closed)
    rows: dict[str, list[Prediction]] = {}
    for found in closed:
        rows.setdefault(found.id, []).append(found)
    expected = expected_counts(closed, {})
    labels = {id_: _labels(found[0]) for id_, found in rows.items()}
    own = [_own(found, rule.read, rule.count_missing) for found in rows.values()]
    strict = _tallies(((one.task, labels[one.id], one.answered, one.correct) for one in marks), expected)
    counted = [one for one in own if one is not None]
    source = _tallies(counted, expected if rule.count_missing else {})
    here = [found for found in closed if not absent(found)]
    facts: dict[str, Any] = {"total_is": rule.total, "source_rule": rule.said, "rows": len(here)}
    facts["unread_by_source"] = sum(not answered for _, _, answered, _ in counted)
    if rule.others:
        facts["other_rules"] = {name: _other(rule, other, rows) for name, other in rule.others.items()}
    return make_sheet(
        task=task,
        format=format,
        source=_scored(source, rule),
        strict=_scored(strict, rule),
        marks=marks,
        problems=[*duplicate_problems(here), *beyond_problems(here)],
        averaging=Averaging(tuple(rule.averages), {id_: found for id_, found in labels.items() if found}),
        facts=facts,
    )


_Row = tuple[str, tuple[str, ...], bool, bool]
"""Sub-task, other groups, whether a letter was read, whether it is right."""


def _labels(found: Prediction) -> tuple[str, ...]:
    return tuple(found.tags[LABELS].split("\n")) if LABELS in found.tags else ()


def _own(rows: Sequence[Prediction], read: ReadLetter, count_missing: bool) -> _Row | None:
    """Return what a question earned by the benchmark's own rule; ``None`` where that does not count it."""
    first = rows[0]
    if absent(first):
        return (first.task, _labels(first), False, False) if count_missing else None
    letters = {"" if row.response is None else read(row.response, row) for row in rows}
    letter = next(iter(letters)) if len(letters) == 1 else ""
    return first.task, _labels(first), bool(letter), bool(letter) and letter == first.gold


def _tallies(rows: Iterable[_Row], expected: Mapping[str, int]) -> tuple[dict[str, Tally], dict[str, Tally]]:
    """Return tallies by sub-task, and by the other groups."""
    found: tuple[dict[str, list[int]], dict[str, list[int]]] = ({}, {})
    for task, labels, answered, correct in rows:
        for into, names in zip(found, ((task,), labels), strict=True):
            for name in names:
                counts = into.setdefault(name, [0, 0, 0])
                counts[0] += 1
                counts[1] += answered
                counts[2] += correct
    tasks, groups = found
    return (
        {name: Tally(max(expected.get(name, 0), n), read, right) for name, (n, read, right) in tasks.items()},
        {name: Tally(*counts) for name, counts in groups.items()},
    )


def _scored(tallies: tuple[dict[str, Tally], dict[str, Tally]], rule: ChoiceRule) -> Scored:
    tasks, groups = tallies
    return Scored(make_scores(rule.tasks, {**tasks, **groups}, rule.averages, rule.total), tasks)


def _other(
    rule: ChoiceRule, read: ReadLetter, rows: Mapping[str, Sequence[Prediction]]
) -> dict[str, float | None]:
    """Return what another scorer's way of reading gives: the benchmark's total, and the mean over questions."""
    own = [one for found in rows.values() if (one := _own(found, read, rule.count_missing)) is not None]
    scores = _scored(_tallies(own, {}), rule).scores
    return {"total": scores.total, "over_questions": percent(sum(right for *_, right in own), len(own))}
