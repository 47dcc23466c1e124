"""What a run has left against what it says it did: records that are gone are named, doubled ones are refused."""

from __future__ import annotations

__all__ = [
    "broken_off",
    "count_records",
    "count_verdicts",
    "judging_group",
    "missing_samples",
    "missing_text",
    "missing_verdicts",
    "refuse_doubled",
    "refuse_doubled_verdicts",
    "short_of",
    "uncounted",
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


def refuse_doubled_verdicts(path: Path, verdicts: Iterable[VerdictRecord]) -> None:
    """Refuse a verdict that stands twice; one that failed for want of a reply may stand beside its repetition.

    Raises:
        DataError: Two lines hold the same judgement.
    """
    places = Counter(
        (one.pair, one.order, one.key, one.judge, one.model_name, one.baseline_name, one.baseline_id, one.reply)
        for one in verdicts
        if one.error is None
    )
    _refuse(path, [f"{place[0]} in order {place[1]}" for place, times in places.items() if times > 1])


def judging_group(baseline: str, judge: str) -> str:
    """Return what one judging is called in ``run.json`` and ``metrics.json``: two judges, or baselines, are two.

    Args:
        baseline: The other side's name.
        judge: The judge's identity; its settings, in parentheses, are left out.
    """
    return f"vs {baseline}, judge {judge.partition(' (')[0]}"


def count_verdicts(verdicts: Iterable[VerdictRecord]) -> dict[str, int]:
    """Return of each judging how many pairs and orders have a verdict."""
    judged = {(judging_group(one.baseline_name, one.judge), one.pair, one.order) for one in verdicts}
    return dict(Counter(group for group, _, _ in judged))


def missing_verdicts(manifest: RunManifest, verdicts: Iterable[VerdictRecord]) -> tuple[str, ...]:
    """Return of each judging that has fewer verdicts than it left how many are gone, in words."""
    if not manifest.judged:
        return ()
    found = count_verdicts(verdicts)
    return tuple(
        f"{wanted - found.get(group, 0)} of {wanted} verdicts {group}, are gone"
        for group, wanted in manifest.judged.items()
        if found.get(group, 0) < wanted
    )


def uncounted(manifest: RunManifest) -> bool:
    """Say whether a run is of an evalkit that did not count what it left."""
    return manifest.status == "done" and bool(manifest.planned) and not manifest.recorded


def broken_off(ticks: TickTable) -> set[str]:
    """Return the samples among whose seconds one is not there: a sample's are counted from 0 without a gap."""
    found = set()
    for sample, places in ticks.by_sample().items():
        seconds = np.unique(ticks.whole["second"][places])
        if seconds[-1] + 1 != seconds.size:
            found.add(sample)
    return found


def missing_samples(
    manifest: RunManifest, found: Mapping[str, RecordCounts], ticks: TickTable | None = None
) -> tuple[str, ...]:
    """Return the samples a run says it has finished whose records are not all there.

    Of a run that did not count its records (`uncounted`) only those without an answer, or with a gap among their
    seconds, are known.

    Args:
        manifest: Its ``run.json``; one that is not done says nothing.
        found: How many records each sample has.
        ticks: Its seconds; ``None`` where ``found`` knows nothing of them.
    """
    if manifest.status != "done":
        return ()
    none = RecordCounts()
    if manifest.recorded:
        counts = manifest.recorded.items()
        known = ticks is not None
        return tuple(one for one, wanted in counts if short_of(wanted, found.get(one, none), ticks=known))
    gaps = set() if ticks is None else broken_off(ticks)
    return tuple(one for one in manifest.planned if one in gaps or not found.get(one, none).answers)


def short_of(wanted: RecordCounts, found: RecordCounts, *, ticks: bool = True) -> bool:
    """Say whether there are fewer records than there were."""
    return found.answers < wanted.answers or (ticks and found.ticks < wanted.ticks)


def missing_text(manifest: RunManifest, missing: Sequence[str]) -> str:
    """Return what is said of samples whose records are gone."""
    return f"records of {len(missing)} of {len(manifest.planned)} samples are gone ({_listed(missing)})"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")
