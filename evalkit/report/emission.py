"""When answers come out behind the clock, and what that does to accuracy: at emission, and under a deadline.

The same answers are scored three times: offline (the clock plays no part), at emission (against the gold of the
moment at which they are out, where the task's data tell it) and deadline-capped (one that is late is none).
"""

from __future__ import annotations

__all__ = ["Accuracies", "Momentary", "accuracies", "answer_delays", "capped_score", "paced_alike"]

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.records import AnswerRecord, Metric
from evalkit.report.replay import Replay
from evalkit.report.runs import Run
from evalkit.timing import EXACT, Asked, answer_times

Key = tuple[str, str]

_SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Momentary:
    """Accuracy at emission, of the questions whose gold at that moment the data tell.

    Args:
        right: Of them answered with that gold.
        known: Of how many questions it is known.
        asked: Of how many there are.
        offline: Of the known ones, those answered with the gold of the moment of the question.
    """

    right: int
    known: int
    asked: int
    offline: int


@dataclass(frozen=True, slots=True)
class Accuracies:
    """What the clock makes of a run's score.

    Args:
        emission: At emission; ``None`` where the task's data tell the gold of no other moment.
        capped: The main score with late answers as none; ``None`` where there is none.
        late: Answers that came out late.
        delay: From question to answer, the median, seconds.
        why: Why there is no accuracy at emission, empty where there is one.
    """

    emission: Momentary | None
    capped: Metric | None
    late: int
    delay: float | None
    why: str


def answer_delays(run: Run, replay: Replay) -> dict[Key, float]:
    """Return how long after its question each answer is out, by sample and query, seconds; not of failed ones.

    On the wall clock where the run was paced as it is replayed; else behind the virtual clock, where answering
    holds the session up as seconds do. Empty where the clock's figures are withheld.

    Args:
        run: The run.
        replay: It behind the clock.
    """
    answers = [one for one in run.records.answers if one.kind != "narration" and one.status == "ok"]
    begun = _begins(replay)
    if paced_alike(run, replay) and all(one.emitted is not None for one in answers):
        return {
            (one.sample, one.query): max(0.0, (one.emitted or 0.0) - (one.at - begun[one.sample]))
            for one in answers
            if one.sample in begun
        }
    by_sample: dict[str, list[AnswerRecord]] = defaultdict(list)
    for answer in answers:
        by_sample[answer.sample].append(answer)
    speed, found = replay.settings.hardware, dict[Key, float]()
    for stream in replay.streams:
        asked = sorted(by_sample.get(stream.sample, ()), key=lambda one: one.at)
        ends = np.maximum.accumulate(stream.ticks.end)
        start = float(stream.ticks.start[0])
        questions = [
            Asked(
                at=(one.at - start) * replay.stretch,
                takes=one.seconds / speed,
                after=int(np.searchsorted(ends, one.at + _SLACK, side="right")),
            )
            for one in asked
        ]
        times = answer_times(stream.times.arrival, stream.service, questions, replay.settings.overload)
        found |= {
            (one.sample, one.query): out - question.at
            for one, question, out in zip(asked, questions, times, strict=True)
        }
    return found


def _begins(replay: Replay) -> dict[str, float]:
    ticks = replay.ticks
    return {sample: float(ticks.start[rows].min()) for sample, rows in ticks.by_sample().items()}


def paced_alike(run: Run, replay: Replay) -> bool:
    """Whether a run was paced on the wall clock as it is replayed, so that its own times are the ones to take."""
    options, settings = run.records.manifest.options, replay.settings
    return (
        options.get("pace") == "realtime"
        and options.get("overload") == settings.overload
        and settings.hardware == 1
        and settings.fps is None
    )


def accuracies(run: Run, replay: Replay) -> Accuracies | None:
    """Return what the clock makes of a run's score, or ``None`` where it asked nothing or has no clock.

    Args:
        run: The run.
        replay: It behind the clock.
    """
    answers = [one for one in run.records.answers if one.kind != "narration"]
    delays = answer_delays(run, replay) if answers else {}
    if not delays:
        return None
    momentary, why = _at_emission(run, replay, answers, delays)
    late = {key for key, delay in delays.items() if delay > replay.deadline + EXACT}
    return Accuracies(
        emission=momentary,
        capped=capped_score(run, late),
        late=len(late),
        delay=float(np.median(list(delays.values()))),
        why=why,
    )


def capped_score(run: Run, late: set[Key]) -> Metric | None:
    """Return the run's main score with some answers as none; ``None`` where its task gives none.

    Without all sub-tasks a benchmark has no total: then the share of the questions asked that are right.

    Args:
        run: The run.
        late: The answers that do not count, by sample and query.
    """
    from evalkit.tasks.catalog import task_named
    from evalkit.tasks.spoken import run_predictions

    kept = [
        one.model_copy(update={"status": "failed", "error": "late"}) if (one.sample, one.query) in late else one
        for one in run.records.answers
    ]
    try:
        task = task_named(run.records.manifest.task)
        predictions = run_predictions(task, kept, hidden_gold=True)
        sheet = task.score(predictions, "evalkit")
        metrics = task.metrics(sheet)
    except EvalkitError:  # another benchmark's records, or gold that is hidden: nothing to score by
        return None
    strict = (one for one in metrics if one.score == "strict" and not one.group and one.value is not None)
    total = next(strict, None)
    if total is not None or not sheet.correct:
        return total
    right = sum(correct for *_, correct in sheet.correct)
    share = 100 * right / len(sheet.correct)
    return Metric(name="questions_right", value=share, unit="%", score="strict", n=len(sheet.correct))


def _at_emission(
    run: Run, replay: Replay, answers: Sequence[AnswerRecord], delays: Mapping[Key, float]
) -> tuple[Momentary | None, str]:
    from evalkit.tasks.catalog import task_named
    from evalkit.tasks.contract import MomentTask

    try:
        task = task_named(run.records.manifest.task)
    except EvalkitError:
        return None, "the task is not known here"
    if not isinstance(task, MomentTask):
        return None, "the data tell the gold of the moment of the question alone"
    by_key = {(one.sample, one.query): one for one in answers}
    moments = {key: by_key[key].at + delay / replay.stretch for key, delay in delays.items()}
    gold = task.gold_at(answers, moments)
    if not gold:
        return None, "the data tell the gold of no moment at which an answer was out"
    return Momentary(
        right=sum(_same(by_key[key].parsed, told) for key, told in gold.items()),
        known=len(gold),
        asked=len(answers),
        offline=sum(_same(by_key[key].parsed, by_key[key].gold) for key in gold),
    ), ""


def _same(parsed: str | None, gold: str | None) -> bool:
    return parsed is not None and gold is not None and parsed.casefold() == gold.casefold()
