"""OVO-Bench's scores: the official rule, the logit protocol's rule, the strict one, and the named averages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from evalkit.parse.official import contains_letter, joined_digits, starts_with_answer, yes_no_contained
from evalkit.tasks.contract import Average, Averaging, Prediction, Problem, ScoreSheet
from evalkit.tasks.scoring import (
    Scored,
    Tally,
    absent,
    beyond_problems,
    duplicate_problems,
    expected_counts,
    make_scores,
    make_sheet,
    mark,
    tally,
)
from evalkit_tasks.ovobench.predictions import LIST_VALUE, UNKNOWN
from evalkit_tasks.ovobench.published import BACKWARD, FORWARD, NOMINAL, REALTIME, TASKS

__all__ = ["AVERAGES", "score_predictions"]

AVERAGES = (
    Average("backward", "macro", BACKWARD),
    Average("realtime", "macro", REALTIME),
    Average("forward", "macro", FORWARD),
    Average("ovo_avg_brf", "macro", ("backward", "realtime", "forward")),
    Average("ovo_avg_br", "macro", ("backward", "realtime")),
    Average("ovo_micro_3035", "micro", TASKS),
)
"""``ovo_avg_brf`` is the official total (mean of three category means); ``ovo_avg_br`` leaves Forward out, as
SimpleStream's "OVO Avg." does; ``ovo_micro_3035`` is over all queries and is nobody's published figure."""

_TOTAL = "ovo_avg_brf"


def score_predictions(predictions: Sequence[Prediction], format: str) -> ScoreSheet:
    """Score predictions twice.

    ``source`` counts what the files hold, duplicates and unknown ids included: the gold letter occurs in the
    reply; all digits joined equal the count; the gold word occurs in the reply. Replies that are lists are
    compared by membership; the official script stops on a list in REC, whose source score is then ``None``. With
    the format ``logit``, or for answers of a logit run, the reply's beginning must equal the gold.

    Args:
        predictions: Replies, with absent questions tagged.
        format: ``official``, ``logit``, ``livecc``, ``lmms-eval`` or ``evalkit``.
    """
    known = [found for found in predictions if UNKNOWN not in found.tags]
    given = [found for found in predictions if not absent(found)]
    marks = mark(known)
    strict_counts = tally(marks, expected_counts(known, NOMINAL))
    source_counts, stopped = _source(given, format)
    problems = [*duplicate_problems(given), *beyond_problems(given), *stopped]
    return make_sheet(
        task="ovobench",
        format=format,
        source=Scored(make_scores(TASKS, source_counts, AVERAGES, _TOTAL), source_counts),
        strict=Scored(make_scores(TASKS, strict_counts, AVERAGES, _TOTAL), strict_counts),
        marks=marks,
        problems=problems,
        averaging=Averaging(AVERAGES),
        facts={"total_is": _TOTAL},
    )


def _source(given: Iterable[Prediction], format: str) -> tuple[dict[str, Tally], list[Problem]]:
    """Return the official tallies by sub-task and the sub-tasks on which the official script stops."""
    counts: dict[str, list[int]] = {}
    stopped: dict[str, Problem] = {}
    for found in given:
        logit = format in ("logit", "livecc") or found.tags.get("protocol") == "logit"
        if found.task == "REC" and LIST_VALUE in found.tags and not logit:
            message = "the official script stops on list replies in REC; no source score"
            stopped.setdefault(found.task, Problem("official-stops", message, item=found.task))
        entry = counts.setdefault(found.task, [0, 0, 0])
        entry[0] += 1
        entry[1] += found.response is not None or LIST_VALUE in found.tags
        entry[2] += _credited(found, logit)
    tallies = {task: Tally(*entry) for task, entry in counts.items() if task not in stopped}
    return tallies, list(stopped.values())


def _credited(found: Prediction, logit: bool) -> bool:
    """Say whether the benchmark's own rule counts a reply as correct."""
    gold = found.tags.get("file_gold", found.gold)
    if logit:
        return found.response is not None and starts_with_answer(found.response, gold)
    if found.kind == "count":
        return joined_digits(found.response, gold)
    reply: str | list[str] | None = found.response
    if LIST_VALUE in found.tags:
        reply = [value for value in json.loads(found.tags[LIST_VALUE]) if isinstance(value, str)]
    return contains_letter(reply, gold) if found.kind == "choice" else yes_no_contained(reply, gold)
