"""What a model had been shown when it was asked: frames, the moments of the last ones, tokens in memory."""

from __future__ import annotations

__all__ = ["Seen", "seen_by"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.records import AnswerRecord, RunRecords, TickTable

LAST = 4
"""Moments of the last frames that are told of each question."""
_SLACK = 1e-3
"""Seconds by which a tick may end after the question it belongs to: times on record are rounded."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What had been shown before one question.

    Args:
        frames: Frames shown between the beginning of what may be seen and the question.
        held: Tokens in memory after the last of them; ``None`` where the model keeps none.
        last: Media seconds of the last frames, oldest first, as evenly spaced as their second has them.
    """

    frames: int
    held: int | None
    last: tuple[float, ...]


def seen_by(records: RunRecords) -> dict[tuple[str, str], Seen]:
    """Return what had been shown before each question of a run, by sample and question.

    Args:
        records: The run; narrated seconds are left out.
    """
    places = records.ticks.by_sample()
    asked: dict[str, list[AnswerRecord]] = {}
    for one in records.answers:
        if one.kind != "narration" and one.sample in places:
            asked.setdefault(one.sample, []).append(one)
    found = {}
    for sample, answers in asked.items():
        ticks = records.ticks.where(places[sample])
        clips = _overlap(ticks)
        for one in answers:
            found[sample, one.query] = _seen(ticks, one, clips=clips)
    return found


def _overlap(ticks: TickTable) -> bool:
    """Whether the ticks of a sample are clips of single questions, each from its beginning, and no stream."""
    return bool((np.diff(ticks.start) < 0).any() or (np.diff(ticks.start) == 0).any())


def _seen(ticks: TickTable, answer: AnswerRecord, *, clips: bool) -> Seen:
    inside = (ticks.end <= answer.at + _SLACK) & (ticks.end > answer.start + _SLACK) & ~ticks.dropped
    if clips:
        inside &= np.abs(ticks.end - answer.at) <= _SLACK
    rows = np.flatnonzero(inside)
    if not rows.size:
        return Seen(0, None, ())
    held = int(ticks.whole["cache_tokens"][rows[-1]])
    frames = ticks.whole["frames"][rows]
    return Seen(int(frames.sum()), held or None, _last(ticks, rows.tolist()))


def _last(ticks: TickTable, rows: Sequence[int]) -> tuple[float, ...]:
    moments: list[float] = []
    for row in reversed(rows):
        count = int(ticks.whole["frames"][row])
        start, media = float(ticks.start[row]), float(ticks.media[row])
        moments += [start + media * place / count for place in reversed(range(count))]
        if len(moments) >= LAST:
            break
    return tuple(round(moment, 2) for moment in reversed(moments[:LAST]))
