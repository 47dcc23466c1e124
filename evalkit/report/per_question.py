"""What a question costs, from records alone, and which runs do their work only then, not by the second."""

from __future__ import annotations

__all__ = [
    "QuestionCosts",
    "question_costs",
    "question_seconds",
    "question_stages",
    "question_table",
    "works_when_asked",
]

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.records import AnswerRecord, RunRecords, TickTable
from evalkit.report.tables import Cell, Column, Table
from evalkit.timing import percentiles

Floats = NDArray[np.float64]

NARRATION = "narration"
_CLIP = "frames"
"""Tag of answers whose frames were shown with the question, by a frame preset of the official protocol."""
_NO_WORK = 0.01
"""Share of a run's time below which seconds between questions are book-keeping: frames put aside, none encoded."""
_KEEPING = ("decode", "preprocess", "cache")


@dataclass(frozen=True)
class QuestionCosts:
    """What the answered questions of a run took, in the order of the records.

    Args:
        at: Media second of each question, from the beginning of its sample, shape ``(n,)``.
        seconds: From the question to the end of its answer, with what was shown only then, shape ``(n,)``.
        first_token: From the question to the first token; NaN where the model does not tell, shape ``(n,)``.
    """

    at: Floats
    seconds: Floats
    first_token: Floats


def _asked(records: RunRecords) -> list[AnswerRecord]:
    return [one for one in records.answers if one.kind != NARRATION and one.status == "ok"]


def _shown_in_clips(answers: Sequence[AnswerRecord]) -> bool:
    return any(one.tags.get(_CLIP) for one in answers)


def works_when_asked(records: RunRecords) -> bool:
    """Whether a run's model sees its frames only with the questions, so that its seconds of stream cost nothing.

    True of the official protocols, which show a clip in one prefill, and of models that put frames aside until
    they are asked. A second of such a run is comparable with no other.
    """
    answers = _asked(records)
    if not answers:
        return False
    if _shown_in_clips(answers):
        return True
    ticks = records.ticks
    work = ticks.total - sum(ticks.stage(stage) for stage in _KEEPING)
    return float(np.nansum(work)) < _NO_WORK * sum(one.seconds for one in answers)


def question_costs(records: RunRecords) -> QuestionCosts:
    """Return what each answered question took.

    Args:
        records: The run. Of clips shown with a question, its ticks are added to the time of its answer; questions
            that share sample and moment share them evenly.
    """
    answers = _asked(records)
    shown = _clip_seconds(records.ticks) if _shown_in_clips(answers) else {}
    places = [(one.sample, _moment(one.at)) for one in answers]
    sharing = Counter(places)
    extra = [shown.get(place, 0.0) / sharing[place] for place in places]
    missing = float("nan")
    return QuestionCosts(
        at=np.array([one.at - one.start for one in answers], dtype=np.float64),
        seconds=np.array([one.seconds for one in answers], dtype=np.float64) + np.array(extra, dtype=np.float64),
        first_token=np.array(
            [missing if one.first_token is None else one.first_token for one in answers], dtype=np.float64
        ),
    )


def question_seconds(records: RunRecords) -> dict[tuple[str, str], float]:
    """Return what each answered question took, as `question_costs` has it, by sample and question."""
    keys = [(one.sample, one.query) for one in _asked(records)]
    return dict(zip(keys, question_costs(records).seconds.tolist(), strict=True))


def _moment(second: float) -> float:
    return round(second, 3)


def _clip_seconds(ticks: TickTable) -> dict[tuple[str, float], float]:
    """Return the seconds it took to show clips, by sample and the media second at which a clip ends."""
    found: dict[tuple[str, float], float] = defaultdict(float)
    for sample, rows in ticks.by_sample().items():
        # Parts of one clip follow each other; what does not start later than the part before it is another clip.
        for clip in np.split(rows, np.flatnonzero(np.diff(ticks.start[rows]) <= 0) + 1):
            if clip.size:
                found[sample, _moment(float(ticks.end[clip[-1]]))] += float(np.nansum(ticks.total[clip]))
    return dict(found)


def question_table(named: Sequence[tuple[str, RunRecords]]) -> Table | None:
    """Return what a question takes, one row per run that answered any, or ``None``.

    Args:
        named: What tables call each run, and its records.
    """
    rows: list[tuple[Cell, ...]] = []
    for name, records in named:
        costs = question_costs(records)
        spread, first = percentiles(costs.seconds), percentiles(costs.first_token)
        if spread is None or not spread.max:
            continue
        when = "with the question" if works_when_asked(records) else "second by second"
        rows.append(
            (name, when, spread.n, first.p50 if first else None, spread.p50, spread.p95, spread.max)
        )  # fmt: skip
    columns = (
        Column("Model", text=True),
        Column("Frames are seen", text=True),
        Column("Questions"),
        Column("First token p50", "s"),
        *(Column(f"Answer {name}", "s") for name in ("p50", "p95", "max")),
    )
    note = (
        "Answer: from the question to the end of its answer, with seeing the frames where that happens only then; "
        "models that see them second by second have paid for that before, in the table by second."
    )
    return Table("Latency by question", columns, tuple(rows), (note,), "questions") if rows else None


def question_stages(named: Sequence[tuple[str, RunRecords]]) -> Table | None:
    """Return where the time of a question goes and what it retrieved, one row per run that says so, or ``None``.

    Args:
        named: What tables call each run, and its records.
    """
    rows: list[tuple[Cell, ...]] = []
    for name, records in named:
        answers = [one for one in _asked(records) if one.stages]
        total = sum(sum(one.stages.values()) for one in answers)
        if not total:
            continue
        spent = {stage: sum(one.stages.get(stage, 0.0) for one in answers) for stage in _QUESTION_STAGES}
        rest = total - sum(spent.values())
        shares = [100 * seconds / total if seconds else None for seconds in (*spent.values(), rest)]
        rows.append((name, *shares, *_retrieved(answers)))
    columns = (
        Column("Model", text=True),
        *(Column(stage.replace("_", " ").capitalize(), "%", digits=1) for stage in (*_QUESTION_STAGES, "other")),
        Column("Blocks a layer", digits=1),
        Column("Blocks stored", digits=0),
        Column("Look back p50", "s", digits=1),
    )
    note = (
        "Blocks: frames that a question retrieved in each layer, mean, of at most so many stored. Look back: "
        "stream time between the question and what it retrieved, over layers and frames."
    )
    notes = (note,) if any(row[-1] is not None for row in rows) else ()
    return (
        Table("Where the time of a question goes", columns, tuple(rows), notes, "question-stages")
        if rows
        else None
    )


_QUESTION_STAGES = ("retrieve", "vision_encode", "prefill", "generate")


def _retrieved(answers: Sequence[AnswerRecord]) -> tuple[Cell, Cell, Cell]:
    """Return blocks a layer, most blocks stored, and the median look back."""
    found = [(one, one.retrieved) for one in answers if one.retrieved is not None]
    if not found:
        return None, None, None
    blocks = [count for _, got in found for count in got.blocks]
    back = [
        distance
        for one, got in found
        for second, layers in got.seconds
        for distance in [one.at - one.start - second] * layers
    ]
    return float(np.mean(blocks)), max(got.stored for _, got in found), float(np.median(back)) if back else None
