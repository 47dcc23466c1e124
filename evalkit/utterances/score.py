"""Counts and rates of timed utterances by record, by sub-task and over all, with intervals by video."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import UsageError
from evalkit.utterances.match import Matching, Utterance, Window, match

__all__ = ["NEAR", "TimedRecord", "TimingCounts", "TimingScore", "score_records", "timing_counts"]

NEAR = 10.0
"""An utterance that answers nothing is called early or late where a missed window lies so near, seconds."""

_DRAWS = 2000
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class TimingCounts:
    """What one stream's utterances amount to.

    Args:
        golds: Windows there were.
        utterances: Utterances there were.
        hits: Windows that were answered.
        early: Utterances that answer nothing, within ``NEAR`` seconds before a missed window.
        late: The same after one.
        false_alarms: Utterances that answer nothing, early and late ones included.
        seconds: Length of the stream.
    """

    golds: int
    utterances: int
    hits: int
    early: int
    late: int
    false_alarms: int
    seconds: float

    @property
    def misses(self) -> int:
        """Windows that nothing answers."""
        return self.golds - self.hits

    @property
    def recall(self) -> float:
        """Answered windows over all; 0 where there is none."""
        return self.hits / self.golds if self.golds else 0.0

    @property
    def precision(self) -> float:
        """Utterances that answer a window over all; 0 where nothing was said."""
        return self.hits / self.utterances if self.utterances else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        return f1_of(self.recall, self.precision)

    @property
    def false_alarms_per_hour(self) -> float:
        """False alarms an hour of stream."""
        return self.false_alarms * _HOUR / self.seconds if self.seconds > 0 else 0.0


def f1_of(recall: float, precision: float) -> float:
    """Return the harmonic mean; 0 where both are."""
    return 2 * recall * precision / (recall + precision) if recall + precision else 0.0


def timing_counts(
    utterances: Iterable[Utterance], windows: Sequence[Window], *, tolerance: float, seconds: float
) -> TimingCounts:
    """Count what a stream's utterances amount to; see `match` for the rule.

    Args:
        utterances: What was said.
        windows: What was due.
        tolerance: Seconds around a window in which an utterance still answers it.
        seconds: Length of the stream, > 0.
    """
    said = list(utterances)
    found = match(said, windows, tolerance)
    early, late = _near_misses(found)
    return TimingCounts(
        len(windows), len(said), len(found.hits), early, late, len(found.unmatched), float(seconds)
    )


def _near_misses(found: Matching) -> tuple[int, int]:
    """Return how many unmatched utterances lie near before, and near after, the missed window nearest to them."""
    early = late = 0
    for said in found.unmatched:
        distances = [window.distance(said.at) for window in found.missed]
        nearest = min(distances, key=abs, default=None)
        if nearest is None or abs(nearest) > NEAR:
            continue
        early += nearest < 0
        late += nearest > 0
    return early, late


@dataclass(frozen=True, slots=True)
class TimedRecord:
    """One stream that was asked something.

    Args:
        id: Its id.
        task: Sub-task.
        video: Video; records of one video are not independent.
        counts: What its utterances amount to.
    """

    id: str
    task: str
    video: str
    counts: TimingCounts


@dataclass(frozen=True, slots=True)
class TimingScore:
    """Figures over records; shares between 0 and 1.

    Args:
        recall: By sub-task, mean over its records.
        precision: By sub-task, mean over its records.
        f1: By sub-task, from these two means.
        total: Mean of the sub-tasks' F1.
        intervals: 95 % intervals of ``total`` and of each sub-task's F1, whole videos resampled; none of fewer
            than five videos.
        counts: Sums over all records, by sub-task.
    """

    recall: Mapping[str, float]
    precision: Mapping[str, float]
    f1: Mapping[str, float]
    total: float
    intervals: Mapping[str, tuple[float, float]]
    counts: Mapping[str, TimingCounts]


def score_records(records: Sequence[TimedRecord], *, seed: int = 0) -> TimingScore:
    """Average records by sub-task, F1 from the two means, total the mean of the F1 (OVO-Timing).

    Args:
        records: All records.
        seed: Of the resamples.

    Raises:
        UsageError: There is no record.
    """
    if not records:
        raise UsageError("no records: nothing to score")
    tasks = list(dict.fromkeys(record.task for record in records))
    by_task = {task: [record for record in records if record.task == task] for task in tasks}
    recall = {task: float(np.mean([one.counts.recall for one in rows])) for task, rows in by_task.items()}
    precision = {task: float(np.mean([one.counts.precision for one in rows])) for task, rows in by_task.items()}
    f1 = {task: f1_of(recall[task], precision[task]) for task in tasks}
    return TimingScore(
        recall=recall,
        precision=precision,
        f1=f1,
        total=float(np.mean(list(f1.values()))),
        intervals=_intervals(by_task, seed),
        counts={task: _sum(one.counts for one in rows) for task, rows in by_task.items()},
    )


def _sum(counts: Iterable[TimingCounts]) -> TimingCounts:
    rows = list(counts)
    whole = (sum(getattr(one, name) for one in rows) for name in TimingCounts.__slots__)
    return TimingCounts(*whole)


_FEWEST_VIDEOS = 5


def _intervals(by_task: Mapping[str, Sequence[TimedRecord]], seed: int) -> dict[str, tuple[float, float]]:
    """Return percentile intervals of whole videos resampled; a draw without a record of a sub-task is left out."""
    videos = sorted({one.video for rows in by_task.values() for one in rows})
    if len(videos) < _FEWEST_VIDEOS:
        return {}
    place = {video: number for number, video in enumerate(videos)}
    draws = np.random.default_rng(seed).multinomial(len(videos), [1 / len(videos)] * len(videos), size=_DRAWS)
    f1: dict[str, NDArray[np.float64]] = {}
    for task, rows in by_task.items():
        weights = draws[:, [place[one.video] for one in rows]].astype(float)
        n = weights.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = weights @ np.array([one.counts.recall for one in rows]) / n
            precision = weights @ np.array([one.counts.precision for one in rows]) / n
            both = recall + precision
            f1[task] = np.where(both > 0, 2 * recall * precision / both, np.where(n > 0, 0.0, np.nan))
    found = {task: _percentiles(values) for task, values in f1.items()}
    return {"total": _percentiles(np.mean(list(f1.values()), axis=0)), **found}


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
