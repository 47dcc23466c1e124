"""Scores narrations of made-up matches: what was seen, remembered and added, right or wrong, word by word."""

from __future__ import annotations

__all__ = [
    "FACTS",
    "LABELS",
    "REFERENCE_TAG",
    "Mark",
    "mark_narration",
    "narration_facts",
    "narration_metrics",
    "narration_predictions",
    "narration_sheet",
]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from evalkit.records import AnswerRecord, Metric
from evalkit.tasks import Fact, Prediction, Scores, ScoreSheet
from evalkit_tasks.demo.match import COLOURS, POINTS
from evalkit_tasks.demo.speech import SCORERS

REFERENCE_TAG: Final = "reference"
"""Tag of records whose gold is the one right line of their second (``exact``)."""

FACTS: Final[dict[str, str]] = {
    "sight": "what is on screen: event, team, third, or the sign that asks",
    "venue": "the venue, shown once at the opening and asked for later",
    "kept": "the clock's score is the one this narration said last",
    "added": "a goal adds one, for the right side, to the score this narration said last",
    "board": "both numbers of the score board",
    "scorer": "who scored last, asked for by a replay",
    "score": "the true score wherever a score is said: goals, clock, board",
    "line": "every word of a second",
}
"""Facts a narration is scored on, and what each asks."""

LABELS: Final[dict[str, str]] = {
    "demo.line": "Right lines",
    "demo.sight": "Seen",
    "demo.venue": "Venue",
    "demo.score": "True score",
    "demo.board": "Score board",
    "demo.scorer": "Scorer",
    "demo.kept": "Score kept",
    "demo.added": "Goal added",
}
"""What tables call the facts."""

_SCORED: Final = frozenset({"goal", "score", "board"})
_BY_ITSELF: Final = frozenset({"kept", "added"})
_MINUTE: Final = 60

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Mark:
    """One fact of one second.

    Args:
        fact: Key of ``FACTS``.
        id: The second's id in the run, ``/`` and the fact.
        stream: Whose second it is, as statistics cluster by it.
        second: Media second.
        right: Whether it was said rightly.
    """

    fact: str
    id: str
    stream: str
    second: int
    right: bool


def mark_narration(answers: Sequence[AnswerRecord]) -> Iterator[Mark]:
    """Yield the marks of a run's narration, stream by stream.

    Args:
        answers: Records; those without a gold line are left out.
    """
    told = sorted(
        (a for a in answers if a.kind == "narration" and a.gold and a.tags.get(REFERENCE_TAG) == "exact"),
        key=lambda answer: (answer.sample, answer.start),
    )
    for _, seconds in groupby(told, key=lambda answer: answer.sample):
        yield from _mark_stream(seconds)


def _mark_stream(seconds: Iterator[AnswerRecord]) -> Iterator[Mark]:
    last: Pair | None = None
    for answer in seconds:
        gold, said = tuple((answer.gold or "").split()), _said(answer.text)
        second = int(answer.start)
        for fact, right in _facts(gold, said, last, opening=second == 0):
            yield Mark(fact, f"{answer.query}/{fact}", answer.cluster or answer.sample, second, right)
        last = _pair(said) or last


def narration_predictions(answers: Sequence[AnswerRecord]) -> list[Prediction]:
    """Return the seconds that have one right line, as a task's scorer takes them."""
    return [
        Prediction(
            id=answer.query,
            task="line",
            response=answer.text if answer.status == "ok" else None,
            gold=answer.gold,
            kind="open",
            cluster=answer.cluster,
            tags={REFERENCE_TAG: "exact", "sample": answer.sample, "start": repr(answer.start)},
        )
        for answer in answers
        if answer.kind == "narration" and answer.gold and answer.tags.get(REFERENCE_TAG) == "exact"
    ]


def _record(said: Prediction) -> AnswerRecord:
    start = float(said.tags["start"])
    return AnswerRecord(
        sample=said.tags["sample"],
        query=said.id,
        kind="narration",
        at=start + 1,
        start=start,
        end=start + 1,
        text=said.response or "",
        gold=said.gold,
        cluster=said.cluster,
        tags={REFERENCE_TAG: said.tags[REFERENCE_TAG]},
    )


def narration_sheet(predictions: Sequence[Prediction]) -> ScoreSheet:
    """Return the facts of a narration as a score sheet: its sub-tasks are the facts, its total whole lines.

    Args:
        predictions: Of `narration_predictions`.
    """
    marks = list(mark_narration([_record(said) for said in predictions]))
    counts = {fact: [mark.right for mark in marks if mark.fact == fact] for fact in FACTS}
    shares = {fact: 100 * sum(right) / len(right) for fact, right in counts.items() if right}
    scores = Scores(tasks=shares, groups={}, total=shares.get("line"))
    seconds = len(counts["line"])
    silent = {said.id for said in predictions if said.response is None}
    unanswered = frozenset(mark.id for mark in marks if mark.id.rpartition("/")[0] in silent)
    answered = {fact: sum(mark.fact == fact and mark.id not in unanswered for mark in marks) for fact in FACTS}
    return ScoreSheet(
        task="inf-streams",
        format="evalkit",
        n=seconds,
        answered=answered["line"],
        coverage=answered["line"] / seconds if seconds else 0.0,
        source=scores,
        strict=scores,
        correct=tuple((mark.id, mark.stream, mark.fact, mark.right) for mark in marks),
        unanswered=unanswered,
        facts={
            "counts": {
                fact: {"n": len(right), "answered": answered[fact]} for fact, right in counts.items() if right
            }
        },
    )


def _said(text: str) -> tuple[str, ...]:
    return tuple(text.removesuffix("...").split())


def _pair(words: tuple[str, ...]) -> Pair | None:
    """Return the score that a line gives, if it gives one."""
    if not words or words[0] not in _SCORED or len(words) < 3:
        return None
    red, blue = words[-2], words[-1]
    if not (red.isdigit() and blue.startswith("-") and blue[1:].isdigit()):
        return None
    return int(red), int(blue[1:])


def _facts(
    gold: tuple[str, ...], said: tuple[str, ...], last: Pair | None, *, opening: bool
) -> Iterator[tuple[str, bool]]:
    kind = gold[0]
    seen = 2 if kind == "goal" or kind in COLOURS else 1 if kind in ("score", "board", "last", "here") else 3
    yield "sight", said[:seen] == gold[:seen]
    yield "line", said == gold
    pair = _pair(said) if said[:1] == gold[:1] else None
    if kind == "here" and not opening:
        yield "venue", said == gold
    if kind == "last":
        yield "scorer", said == gold
    if kind == "board":
        yield "board", pair == _pair(gold)
    if kind in _SCORED:
        yield "score", pair == _pair(gold)
    if kind == "score" and last is not None:
        yield "kept", pair == last
    if kind == "goal" and last is not None:
        yield "added", pair == _plus_one(last, SCORERS.index(gold[1]))


def _plus_one(score: Pair, side: int) -> Pair:
    red, blue = score
    return ((red + 1) % POINTS, blue) if side == 0 else (red, (blue + 1) % POINTS)


def narration_facts(answers: Sequence[AnswerRecord]) -> list[Fact]:
    """Return the marks that two narrations of the same data both have, whatever they say.

    ``kept`` and ``added`` are asked of what a narration itself said before, so that each has its own: they are
    left out.

    Args:
        answers: A run's records; those of other data have no gold line and give none.
    """
    return [
        Fact(f"{mark.stream}@{mark.second} {mark.fact}", f"demo.{mark.fact}", mark.stream, mark.right)
        for mark in mark_narration(answers)
        if mark.fact not in _BY_ITSELF
    ]


def narration_metrics(answers: Sequence[AnswerRecord]) -> list[Metric]:
    """Return ``demo.FACT`` over all and by minute of the stream, per cent with 95 % intervals clustered by stream.

    Args:
        answers: A run's records; those of other data have no gold line and give no rows.
    """
    marks = list(mark_narration(answers))
    rows: list[Metric] = []
    for fact in FACTS:
        mine = [mark for mark in marks if mark.fact == fact]
        rows += _row(fact, "", mine)
        minutes: dict[int, list[Mark]] = {}
        for mark in mine:
            minutes.setdefault(mark.second // _MINUTE + 1, []).append(mark)
        for minute in sorted(minutes):
            rows += _row(fact, f"minute {minute}", minutes[minute])
    return rows


def _row(fact: str, group: str, marks: Sequence[Mark]) -> list[Metric]:
    from evalkit.stats import mean_by_cluster  # loads scipy

    if not marks:
        return []
    found = mean_by_cluster([float(mark.right) for mark in marks], [mark.stream for mark in marks])
    ends: dict[str, Any] = {}
    if found.low is not None and found.high is not None:
        ends = {"low": 100 * found.low, "high": 100 * found.high}
    return [
        Metric(
            name=f"demo.{fact}",
            value=100 * found.value,
            unit="%",
            group=group,
            n=found.n,
            clusters=found.clusters,
            method=found.method,
            note=found.note,
            **ends,
        )
    ]
