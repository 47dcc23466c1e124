"""Strict scoring over predictions and the shape of a score sheet; each benchmark's own rule stays with it.

Strict means: every question of the sub-tasks present counts, and only a reply that a strict parser reads as the
gold is correct. Missing, failed and unparsed replies are wrong. Two replies to one question count once, and only
where both say the same. Where a judge was asked about an unparsed reply, what it found stands in for the parser's.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from evalkit.errors import DataError, suggest
from evalkit.parse import Parsed, Unparsed, letters_for, parse, parse_choice
from evalkit.records import AnswerRecord
from evalkit.tasks.contract import Average, Averaging, Prediction, Problem, Scores, ScoreSheet

__all__ = [
    "ABSENT",
    "EXPECTED",
    "HIDDEN_GOLD",
    "Average",
    "Mark",
    "Scored",
    "Tally",
    "absent",
    "average",
    "beyond_problems",
    "blank_problems",
    "duplicate_problems",
    "expected_counts",
    "from_records",
    "known_tasks",
    "make_scores",
    "make_sheet",
    "mark",
    "percent",
    "sheet_to_json",
    "tally",
    "unscored_sheet",
]

ABSENT = "absent"
"""Tag of a prediction whose question has no row in the files; official rules never see it."""

EXPECTED = "expected"
"""Tag with the number of questions that the prediction's sub-task has in the data given, or in the run planned."""

HIDDEN_GOLD = "hidden-gold"
"""Tag of a prediction whose gold is not published; nothing is scored then."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What one question earned under the strict rule.

    Args:
        id: Question id.
        task: Official abbreviation of the sub-task.
        cluster: Video id.
        answered: A parser read the reply.
        correct: It read the gold.
        reason: Why nothing was read; empty where something was.
        rule: What read it, ``fallback:<judge>`` where that was a judge; empty where nothing was read.
    """

    id: str
    task: str
    cluster: str
    answered: bool
    correct: bool
    reason: str = ""
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one sub-task: questions in the denominator, read replies, correct replies."""

    n: int
    answered: int
    correct: int


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores with the tallies by sub-task that they were made from."""

    scores: Scores
    counts: Mapping[str, Tally]


def percent(correct: float, n: float) -> float | None:
    """Return ``correct / n`` in percent, unrounded; ``None`` where ``n`` is 0."""
    return 100.0 * correct / n if n else None


def average(rule: Average, counts: Mapping[str, Tally], known: Mapping[str, float | None]) -> float | None:
    """Return one named average in percent.

    Args:
        rule: What to average.
        counts: Tallies by sub-task.
        known: Percentages of sub-tasks and of averages computed so far.
    """
    if rule.rule == "micro":
        tallies = [counts.get(part) for part in rule.parts]
        if any(entry is None or not entry.n for entry in tallies):
            return None
        present = [entry for entry in tallies if entry is not None]
        return percent(sum(entry.correct for entry in present), sum(entry.n for entry in present))
    values = [known.get(part) for part in rule.parts]
    weights = rule.weights or (1,) * len(values)
    if any(value is None for value in values):
        return None
    return sum(value * weight for value, weight in zip(values, weights, strict=True) if value is not None) / sum(
        weights
    )


def make_scores(
    order: Sequence[str], counts: Mapping[str, Tally], averages: Sequence[Average], total: str | None
) -> Scores:
    """Turn tallies into percentages by sub-task, named groups and the total.

    Args:
        order: All sub-tasks of the benchmark, in the order of its tables.
        counts: Tallies of the sub-tasks present.
        averages: Named averages; a later one may use an earlier one.
        total: Name of the average that is the headline; ``None`` where there is none.
    """
    tasks = {name: percent(counts[name].correct, counts[name].n) if name in counts else None for name in order}
    known: dict[str, float | None] = dict(tasks)
    groups: dict[str, float | None] = {}
    for rule in averages:
        groups[rule.name] = known[rule.name] = average(rule, counts, known)
    return Scores(tasks=tasks, groups=groups, total=None if total is None else known[total])


def mark(predictions: Iterable[Prediction]) -> list[Mark]:
    """Read every reply strictly and return one mark per question, in the order of first appearance."""
    by_id: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        by_id.setdefault(prediction.id, []).append(prediction)
    return [_mark_one(rows) for rows in by_id.values()]


def _mark_one(rows: Sequence[Prediction]) -> Mark:
    first = rows[0]
    read = [_read(row) for row in rows]
    values = {found.value for found in read if isinstance(found, Parsed)}
    if len(values) > 1:
        return Mark(first.id, first.task, first.cluster, False, False, "contradiction")
    failed = next((found for found in read if isinstance(found, Unparsed)), None)
    if failed is not None:
        return Mark(first.id, first.task, first.cluster, False, False, failed.reason.split(":", 1)[0])
    value = next(iter(values))
    correct = value.casefold() == first.gold.casefold() if first.kind == "open" else value == first.gold
    rules = [found.rule for found in read if isinstance(found, Parsed)]
    judged = (rule for rule, row in zip(rules, rows, strict=True) if row.fallback and rule == row.fallback.rule)
    return Mark(first.id, first.task, first.cluster, True, correct, rule=next(judged, rules[0]))


def _read(row: Prediction) -> Parsed | Unparsed:
    if row.response is None:
        return Unparsed("missing: no reply")
    found = parse(row.kind, row.response, row.choices)
    return row.fallback if row.fallback is not None and isinstance(found, Unparsed) else found


def tally(marks: Iterable[Mark], expected: Mapping[str, int]) -> dict[str, Tally]:
    """Count marks by sub-task over the number of questions that each sub-task has.

    Args:
        marks: One per question; sub-tasks without a mark stay out.
        expected: Questions by sub-task; a sub-task that is not named has as many as it has marks.
    """
    found: dict[str, list[int]] = {}
    for entry in marks:
        counts = found.setdefault(entry.task, [0, 0, 0])
        counts[0] += 1
        counts[1] += entry.answered
        counts[2] += entry.correct
    return {
        task: Tally(max(expected.get(task, 0), counts[0]), counts[1], counts[2]) for task, counts in found.items()
    }


def expected_counts(predictions: Iterable[Prediction], nominal: Mapping[str, int]) -> dict[str, int]:
    """Return the questions each sub-task has: as tagged in the predictions, else the nominal counts."""
    expected = dict(nominal)
    for prediction in predictions:
        tagged = prediction.tags.get(EXPECTED)
        if tagged is not None:
            expected[prediction.task] = int(tagged)
    return expected


def absent(prediction: Prediction) -> bool:
    """Say whether the prediction only stands for a question that the files do not answer."""
    return ABSENT in prediction.tags


def duplicate_problems(predictions: Iterable[Prediction]) -> list[Problem]:
    """Name every question answered more than once, and whether the answers differ."""
    replies: dict[str, list[str | None]] = {}
    for prediction in predictions:
        replies.setdefault(prediction.id, []).append(prediction.response)
    return [
        Problem(
            kind="duplicate",
            message=f"answered {len(texts)} times, "
            + ("with different replies" if len(set(texts)) > 1 else "with the same reply")
            + "; counted once in strict",
            item=id_,
        )
        for id_, texts in replies.items()
        if len(texts) > 1
    ]


def blank_problems(counts: Mapping[str, Tally]) -> list[Problem]:
    """Name every sub-task whose questions are not all answered, with the numbers."""
    return [
        Problem("incomplete", f"{task}: {entry.answered} of {entry.n} questions have a readable answer", item=task)
        for task, entry in counts.items()
        if entry.answered < entry.n
    ]


def beyond_problems(predictions: Iterable[Prediction]) -> list[Problem]:
    """Name replies to multiple-choice questions that state a letter beyond the options."""
    problems = []
    for found in predictions:
        letters = letters_for(found.choices)
        if found.kind != "choice" or found.response is None:
            continue
        if isinstance(parse(found.kind, found.response, found.choices), Parsed):
            continue
        wider = parse_choice(found.response, string.ascii_uppercase)
        if isinstance(wider, Parsed) and wider.value not in letters:
            message = (
                f"the reply is {wider.value}, the options are {letters[0]} to {letters[-1]}: it counts as wrong"
            )
            problems.append(Problem("beyond-options", message, item=found.id))
    return problems


def make_sheet(
    *,
    task: str,
    format: str,
    source: Scored,
    strict: Scored,
    marks: Sequence[Mark],
    problems: Sequence[Problem] = (),
    facts: Mapping[str, Any] | None = None,
    averaging: Averaging | None = None,
) -> ScoreSheet:
    """Assemble a score sheet with its counts; sub-tasks that are not fully answered become problems.

    Args:
        task: Task name.
        format: Layout the predictions came in.
        source: Scores and tallies by the benchmark's own rule.
        strict: Scores and tallies by the strict rule.
        marks: One per question.
        problems: What is wrong with the predictions.
        facts: What else a reader of the sheet should know.
        averaging: How groups are made of questions, for their intervals.
    """
    n = sum(entry.n for entry in strict.counts.values())
    answered = sum(entry.answered for entry in strict.counts.values())
    reasons = Counter(entry.reason for entry in marks if entry.reason)
    return ScoreSheet(
        task=task,
        format=format,
        n=n,
        answered=answered,
        coverage=answered / n if n else 0.0,
        source=source.scores,
        strict=strict.scores,
        problems=(*problems, *blank_problems(strict.counts)),
        correct=tuple((entry.id, entry.cluster, entry.task, entry.correct) for entry in marks),
        unanswered=frozenset(entry.id for entry in marks if not entry.answered),
        averaging=averaging or Averaging(),
        facts={
            "counts": {name: asdict(entry) for name, entry in strict.counts.items()},
            "source_counts": {name: asdict(entry) for name, entry in source.counts.items()},
            "unread": dict(reasons),
            **({"denominator": "the questions the run set out to answer"} if format == "evalkit" else {}),
            **(facts or {}),
        },
    )


def unscored_sheet(
    task: str, format: str, predictions: Sequence[Prediction], tasks: Sequence[str], groups: Iterable[str]
) -> ScoreSheet:
    """Return the sheet of a set whose gold is hidden: every number is ``None`` and a problem says why.

    Args:
        task: Task name.
        format: Layout the predictions came in.
        predictions: Replies, which are counted.
        tasks: Sub-tasks of the benchmark.
        groups: Its named averages.
    """
    none = Scores(dict.fromkeys(tasks), dict.fromkeys(groups), None)
    answered = sum(entry.answered for entry in mark(predictions))
    n = len({prediction.id for prediction in predictions})
    message = "the test set's gold is hidden: nothing is scored, write a submission file instead"
    return ScoreSheet(
        task=task,
        format=format,
        n=n,
        answered=answered,
        coverage=answered / n if n else 0.0,
        source=none,
        strict=none,
        problems=(Problem("hidden-gold", message), *duplicate_problems(predictions)),
        facts={"gold": "hidden"},
    )


def sheet_to_json(sheet: ScoreSheet) -> dict[str, Any]:
    """Return the sheet as the JSON object that ``evalkit score --json`` prints; percentages 0-100, unrounded."""
    return {
        "task": sheet.task,
        "format": sheet.format,
        "n": sheet.n,
        "answered": sheet.answered,
        "coverage": sheet.coverage,
        "source": _scores_to_json(sheet.source),
        "strict": _scores_to_json(sheet.strict),
        "problems": [
            {key: value for key, value in asdict(problem).items() if value is not None}
            for problem in sheet.problems
        ],
        "facts": dict(sheet.facts),
    }


def _scores_to_json(scores: Scores) -> dict[str, Any]:
    return {"tasks": dict(scores.tasks), "groups": dict(scores.groups), "total": scores.total}


_KINDS: dict[str, Literal["choice", "count", "yes-no", "open", "proactive"]] = {
    "choice": "choice",
    "count": "count",
    "yes-no": "yes-no",
    "open": "open",
    "proactive": "proactive",
}


def from_records(
    records: Iterable[AnswerRecord], task_tag: str = "task", *, hidden_gold: bool = False
) -> list[Prediction]:
    """Turn the answers of a run into predictions; a failed answer becomes one without a response.

    Args:
        records: Answers of one run; narration is passed over.
        task_tag: Tag that holds the sub-task.
        hidden_gold: Take an answer without gold too, with the tag ``hidden-gold``.

    Raises:
        DataError: A record has no gold or no sub-task, so it cannot be scored.
    """
    predictions = []
    for record in records:
        kind = _KINDS.get(record.kind)
        if kind is None:
            continue
        hidden = record.gold is None
        if (hidden and not hidden_gold) or task_tag not in record.tags:
            raise DataError(
                f"the answer to {record.query} has no gold or no sub-task: the run's gold is hidden or it is of "
                "another benchmark",
                sample=record.sample,
            )
        predictions.append(
            Prediction(
                id=record.query,
                task=record.tags[task_tag],
                response=record.text if record.status == "ok" else None,
                gold=record.gold or "",
                kind=kind,
                choices=record.choices,
                cluster=record.cluster,
                tags={**record.tags, "at": str(record.at), **({HIDDEN_GOLD: "yes"} if hidden else {})},
            )
        )
    return predictions


def known_tasks(chosen: tuple[str, ...], known: Sequence[str]) -> tuple[str, ...]:
    """Return the sub-tasks chosen if all of them exist; for the validators of task settings.

    Raises:
        ValueError: One does not exist; the text suggests one and lists all.
    """
    for name in chosen:
        if name not in known:
            raise ValueError(f"no sub-task {name!r}{suggest(name, known)}; known: {', '.join(known)}")
    return chosen
