"""When answers come out behind the clock, and what that does to accuracy: at emission, and under a deadline.

The same answers are scored three times: offline (the clock plays no part), at emission (against the gold of the
moment at which they are out, where the task's data tell it) and deadline-capped (one that is late is none).
"""

from __future__ import annotations

__all__ = [
    "Accuracies",
    "AnswerFigures",
    "AnswerMoment",
    "Momentary",
    "accuracies",
    "answer_delays",
    "answer_figures",
    "answer_moments",
    "capped_score",
    "paced_alike",
]

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.errors import EvalkitError
from evalkit.records import AnswerRecord, Metric, TickTable
from evalkit.report.replay import FirstTokens, Replay
from evalkit.report.runs import Run
from evalkit.timing import EXACT, Asked, Percentiles, answer_times, percentiles

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


@dataclass(frozen=True, slots=True)
class AnswerMoment:
    """When one question was asked and its answer out, seconds since the stream's start.

    Args:
        answer: The record.
        asked: When it was asked.
        out: When its last token was out.
        age: Age of the newest frame shown when it was asked, seconds; NaN where none was.
    """

    answer: AnswerRecord
    asked: float
    out: float
    age: float

    @property
    def delay(self) -> float:
        """From question to answer."""
        return self.out - self.asked


@dataclass(frozen=True, slots=True)
class AnswerFigures:
    """Times of a run's answers; each ``None`` where nothing tells it.

    Args:
        first: The three times to first token.
        per_token: Time per token after the first (TPOT).
        between: Time from token to token (ITL).
        staleness: Age of the newest frame seen when an answer was out.
    """

    first: FirstTokens
    per_token: Percentiles | None
    between: Percentiles | None
    staleness: Percentiles | None


def answer_moments(run: Run, replay: Replay) -> list[AnswerMoment]:
    """Return when each question was asked and answered; not of failed ones, none where the clock is withheld.

    On the wall clock where the run was paced as it is replayed; else behind the virtual clock, where answering
    holds the session up as seconds do.

    Args:
        run: The run.
        replay: It behind the clock.
    """
    by_sample: dict[str, list[AnswerRecord]] = defaultdict(list)
    for answer in run.records.answers:
        if answer.kind != "narration" and answer.status == "ok":
            by_sample[answer.sample].append(answer)
    paced = paced_alike(run, replay)
    rows = replay.ticks.by_sample() if paced else {}
    streams = {stream.sample: stream for stream in replay.streams}
    found: list[AnswerMoment] = []
    for sample, answers in by_sample.items():
        asked = sorted(answers, key=lambda one: one.at)
        live = paced and all(one.emitted is not None for one in asked)
        stream = streams.get(sample)
        if stream is None and not (live and sample in rows):
            continue
        ticks = replay.ticks.where(rows[sample]) if stream is None else stream.ticks
        start, ends = float(ticks.start.min()), np.maximum.accumulate(ticks.end)
        after = np.searchsorted(ends, np.array([one.at for one in asked]) + _SLACK, side="right")
        questions = [
            Asked((one.at - start) * replay.stretch, _spent(one) / replay.settings.hardware, int(place))
            for one, place in zip(asked, after, strict=True)
        ]
        if live:
            out = [max(question.at, one.emitted or 0.0) for one, question in zip(asked, questions, strict=True)]
        elif stream is not None:
            out = answer_times(stream.times.arrival, stream.service, questions, replay.settings.overload)
        ages = _ages(ticks, questions, start, replay.stretch)
        found += [
            AnswerMoment(one, question.at, time, age)
            for one, question, time, age in zip(asked, questions, out, ages, strict=True)
        ]
    return found


def _ages(ticks: TickTable, questions: Sequence[Asked], start: float, stretch: float) -> list[float]:
    """Return the age of the newest frame at each question, NaN where none had been shown."""
    frames = ticks.whole["frames"]
    shown = np.divide(ticks.media, frames, out=np.full(len(ticks), np.nan), where=frames > 0)
    newest = np.fmax.accumulate(np.where(frames > 0, ticks.end - shown, np.nan)) if len(ticks) else shown
    return [
        question.at - (float(newest[question.after - 1]) - start) * stretch if question.after else float("nan")
        for question in questions
    ]


def answer_delays(run: Run, replay: Replay) -> dict[Key, float]:
    """Return how long after its question each answer is out, by sample and query, seconds."""
    return {(one.answer.sample, one.answer.query): one.delay for one in answer_moments(run, replay)}


def answer_figures(run: Run, replay: Replay) -> AnswerFigures | None:
    """Return the times of a run's answers, or ``None`` where it asked nothing or has no clock."""
    moments, speed = answer_moments(run, replay), replay.settings.hardware
    if not moments:
        return None
    engine = np.array([_number(one.answer.first_token) / speed for one in moments])
    before = np.array([one.delay - _spent(one.answer) / speed for one in moments])
    ages = np.array([one.age for one in moments])
    request = np.maximum(before, 0) + engine
    times = [np.array(one.answer.token_times) / speed for one in moments]
    per_token = [(one[-1] - one[0]) / (one.size - 1) for one in times if one.size > 1]
    gaps = np.concatenate([np.diff(one) for one in times]) if times else np.empty(0)
    return AnswerFigures(
        first=FirstTokens(percentiles(engine), percentiles(request), percentiles(request + ages)),
        per_token=percentiles(per_token),
        between=percentiles(gaps[gaps > 0]),
        staleness=percentiles(np.array([one.delay for one in moments]) + ages),
    )


def _spent(answer: AnswerRecord) -> float:
    """Return what answering took, seconds; nothing where the record says what no clock can have said."""
    return answer.seconds if math.isfinite(answer.seconds) and answer.seconds > 0 else 0.0


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


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
