"""The gold of OVO-Bench's forward probes at other moments than their own, as far as other probes tell it."""

from __future__ import annotations

__all__ = ["gold_at"]

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence

from evalkit.records import AnswerRecord

Key = tuple[str, str]

# What is counted (REC) has happened for good, and what is enough to answer (CRR) stays so: between two probes with
# one gold it does not change. A step that is carried out (SSR) may end and begin again; each probe has its own.
_MONOTONE = ("REC", "CRR")
_SLACK = 1e-6


def gold_at(answers: Sequence[AnswerRecord], moments: Mapping[Key, float]) -> dict[Key, str]:
    """Return the gold of questions at moments not before their own.

    Known are a probe's own moment, every moment between two probes of one record with the same gold, and for CRR
    every moment after a probe whose gold is yes.

    Args:
        answers: The run's answers; those of other sub-tasks tell nothing.
        moments: Media second by sample and query.
    """
    probes: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    for answer in answers:
        if answer.tags.get("task") in _MONOTONE and answer.gold is not None:
            probes[_record(answer)].append((answer.at, answer.gold))
    for series in probes.values():
        series.sort()
    known: dict[Key, str] = {}
    for answer in answers:
        key = (answer.sample, answer.query)
        moment = moments.get(key)
        if moment is None or _record(answer) not in probes or answer.tags.get("task") not in _MONOTONE:
            continue
        gold = _between(probes[_record(answer)], moment, lasting=answer.tags["task"] == "CRR")
        if gold is not None:
            known[key] = gold
    return known


def _record(answer: AnswerRecord) -> tuple[str, str]:
    return answer.cluster, answer.query.rpartition("_")[0]


def _between(series: Sequence[tuple[float, str]], moment: float, *, lasting: bool) -> str | None:
    place = bisect_right([at for at, _ in series], moment + _SLACK)
    if place == 0:
        return None
    at, gold = series[place - 1]
    if moment <= at + _SLACK or (lasting and gold == "Yes"):
        return gold
    following = series[place][1] if place < len(series) else None
    return gold if following == gold else None
