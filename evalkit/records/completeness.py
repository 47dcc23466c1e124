"""What a run has left against what it says it did: records that are gone are named, doubled ones are refused."""

from __future__ import annotations

__all__ = [
    "count_records",
    "count_verdicts",
    "missing_samples",
    "missing_text",
    "missing_verdicts",
    "refuse_doubled",
    "short_of",
]

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from evalkit.errors import DataError
from evalkit.records.schema import AnswerRecord, RecordCounts, RunManifest, VerdictRecord
from evalkit.records.ticks import TickTable

_NAMED = 3


def count_records(answers: Iterable[AnswerRecord], ticks: TickTable) -> dict[str, RecordCounts]:
    """Return how many records each sample has."""
    said = Counter(answer.sample for answer in answers)
    seen = Counter({sample: places.size for sample, places in ticks.by_sample().items()})
    return {sample: RecordCounts(answers=said[sample], ticks=seen[sample]) for sample in said | seen}


def refuse_doubled(path: Path, answers: Iterable[AnswerRecord], ticks: TickTable) -> None:
    """Refuse records that stand twice: no run writes them, and every mean would count them twice.

    Args:
        path: The run folder.
        answers: All of its answers.
        ticks: All of its seconds.

    Raises:
        DataError: A reply, or a second with the same times on its clock, stands twice.
    """
    replies = Counter((answer.sample, answer.query) for answer in answers)
    _refuse(path / "answers.jsonl", [query for (_, query), times in replies.items() if times > 1])
    seconds = np.column_stack([ticks.sample, ticks.whole["second"], ticks.start, ticks.end, ticks.total])
    unlike, times = np.unique(seconds, axis=0, return_counts=True)
    twice = unlike[times > 1]
    _refuse(path / "ticks.jsonl", [f"{ticks.samples[int(row[0])]} second {int(row[1])}" for row in twice])


def _refuse(path: Path, doubled: Sequence[str]) -> None:
    if doubled:
        message = f"{path}: {_listed(doubled)} on record twice: take the doubled lines out"
        raise DataError(message, path=path)


def missing_samples(
    manifest: RunManifest, found: Mapping[str, RecordCounts], *, ticks: bool = True
) -> tuple[str, ...]:
    """Return the samples a run says it has finished whose records are not all there.

    Of a run that did not count its records this alone is known: every sample it planned left an answer.

    Args:
        manifest: Its ``run.json``; one that is not done says nothing.
        found: How many records each sample has.
        ticks: Whether ``found`` knows of ticks.
    """
    if manifest.status != "done":
        return ()
    if not manifest.recorded:
        return tuple(sample for sample in manifest.planned if not found.get(sample, RecordCounts()).answers)
    return tuple(
        sample
        for sample, wanted in manifest.recorded.items()
        if short_of(wanted, found.get(sample, RecordCounts()), ticks=ticks)
    )


def count_verdicts(verdicts: Iterable[VerdictRecord]) -> dict[str, int]:
    """Return how many verdicts there are of each judging: a judge, and the side that the run was held against."""
    return dict(Counter(f"{one.baseline_name} {one.baseline_id}, judge {one.judge}" for one in verdicts))


def missing_verdicts(manifest: RunManifest, verdicts: Iterable[VerdictRecord]) -> list[str]:
    """Name every judging that rests on more verdicts than are on record, one line each."""
    if not manifest.judged:
        return []
    found = count_verdicts(verdicts)
    gone = {judging: wanted - found.get(judging, 0) for judging, wanted in manifest.judged.items()}
    again = "evalkit judge asks for them again"
    return [
        f"{count} of {manifest.judged[judging]} verdicts against {judging} are gone: {again}"
        for judging, count in gone.items()
        if count > 0
    ]


def short_of(wanted: RecordCounts, found: RecordCounts, *, ticks: bool = True) -> bool:
    """Say whether there are fewer records than there were."""
    return found.answers < wanted.answers or (ticks and found.ticks < wanted.ticks)


def missing_text(manifest: RunManifest, missing: Sequence[str]) -> str:
    """Return what is said of samples whose records are gone."""
    return f"records of {len(missing)} of {len(manifest.planned)} samples are gone ({_listed(missing)})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")
