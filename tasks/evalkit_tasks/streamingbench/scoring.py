"""StreamingBench's scores: the official rule, STC's rule and the strict one, with the named averages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from evalkit.parse import Parsed, parse_yes_no
from evalkit.parse.official import exact_after_strip, first_character, proactive_time
from evalkit.tasks.contract import Average, Averaging, Prediction, Problem, ScoreSheet
from evalkit.tasks.scoring import (
    Mark,
    Scored,
    Tally,
    absent,
    duplicate_problems,
    expected_counts,
    make_scores,
    make_sheet,
    mark,
    tally,
)
from evalkit_tasks.streamingbench.predictions import EMPTY, HISTORY, UNKNOWN
from evalkit_tasks.streamingbench.published import GROUPS, JSON_COUNTS, TASKS, group_of

__all__ = ["AVERAGES", "join_polls", "mark_proactive", "score_predictions"]

AVERAGES = (
    Average("real", "micro", GROUPS["real"]),
    Average("omni", "micro", GROUPS["omni"]),
    Average("contextual", "weighted", GROUPS["contextual"], (250, 250, 250, 51)),
    Average("streamingbench_overall_4301", "weighted", ("real", "omni", "contextual"), (2500, 1000, 801)),
    Average("real_macro", "macro", GROUPS["real"]),
    Average("omni_macro", "macro", GROUPS["omni"]),
)
"""Contextual and overall use the nominal counts, as the published tables do to the cent; the macro averages are
nobody's published figures."""

_OVERALL = "streamingbench_overall_4301"


def score_predictions(predictions: Sequence[Prediction], format: str) -> ScoreSheet:
    """Score predictions twice.

    ``source``: with ``official`` (and ``evalkit``) the first character of the reply, not stripped, equals the
    letter; with ``stc`` the stripped reply does. Unanswered questions leave the denominator. Proactive output
    counts where the last turn is within 2 s of the gold time.

    The total is the overall figure over 4,301. Where the files hold one group only (``count.py`` is run per
    file), it is that group's; ``facts.total_is`` says which. It is ``None`` where sub-tasks are missing.

    Args:
        predictions: Replies, with unanswered questions tagged; the polls of a run are joined first.
        format: ``official``, ``stc`` or ``evalkit``.
    """
    joined = join_polls(predictions)
    known = [found for found in joined if UNKNOWN not in found.tags]
    given = [found for found in joined if not absent(found)]
    marks = _in_order(known)
    strict_counts = tally(marks, expected_counts(known, JSON_COUNTS))
    source_counts = _source(given, format)
    total = _total_name(strict_counts)
    problems = [*duplicate_problems(given), *_rule_problems(given, format)]
    return make_sheet(
        task="streamingbench",
        format=format,
        source=Scored(make_scores(TASKS, source_counts, AVERAGES, total), source_counts),
        strict=Scored(make_scores(TASKS, strict_counts, AVERAGES, total), strict_counts),
        marks=marks,
        problems=problems,
        averaging=Averaging(AVERAGES),
        facts={"total_is": total, "proactive": _proactive_facts(given)},
    )


def _total_name(counts: dict[str, Tally]) -> str:
    present = {group_of(task) for task in counts}
    return present.pop() if len(present) == 1 else _OVERALL


def _in_order(known: Sequence[Prediction]) -> list[Mark]:
    """Return strict marks: choice questions by their letter, proactive ones by the second of the first yes."""
    choice = mark(found for found in known if found.task != "PO")
    by_id: dict[str, list[Prediction]] = {}
    for found in known:
        if found.task == "PO":
            by_id.setdefault(found.id, []).append(found)
    return [*choice, *(mark_proactive(rows) for rows in by_id.values())]


def _turns(found: Prediction) -> list[tuple[float, str]]:
    return [(float(second), str(reply)) for second, reply in json.loads(found.tags.get(HISTORY, "[]"))]


def mark_proactive(rows: Sequence[Prediction]) -> Mark:
    """Return the strict mark of one proactive question.

    Correct is a question whose first reply read as yes comes within 2 s of the gold time, and whose earlier
    replies are all read as no. A reply that is neither makes the question unanswered; so do two different dialogs.
    """
    first = rows[0]
    dialogs = {json.dumps(_turns(row)) for row in rows}
    if len(dialogs) > 1:
        return Mark(first.id, first.task, first.cluster, False, False, "contradiction")
    turns = _turns(first)
    if not turns:
        return Mark(first.id, first.task, first.cluster, False, False, "missing")
    for second, reply in turns:
        read = parse_yes_no(reply)
        if not isinstance(read, Parsed):
            return Mark(first.id, first.task, first.cluster, False, False, read.reason.split(":", 1)[0])
        if read.value == "Yes":
            correct = proactive_time(second, float(first.tags["gold_time"]))
            return Mark(first.id, first.task, first.cluster, True, correct)
    return Mark(first.id, first.task, first.cluster, True, False)


def _source(given: Iterable[Prediction], format: str) -> dict[str, Tally]:
    """Return the benchmark's own tallies: unanswered questions are out of the denominator."""
    rule = exact_after_strip if format == "stc" else first_character
    counts: dict[str, list[int]] = {}
    for found in given:
        gold = found.tags.get("file_gold") or found.gold
        if found.task == "PO":
            turns = _turns(found)
            if not turns:
                continue
            correct = proactive_time(turns[-1][0], float(found.tags["gold_time"]))
        elif found.response is None or (_skipped_when_empty(found, format) and not found.response):
            continue
        else:
            correct = rule(found.response, gold)
        entry = counts.setdefault(found.task, [0, 0])
        entry[0] += 1
        entry[1] += correct
    return {task: Tally(n, n, correct) for task, (n, correct) in counts.items()}


def _skipped_when_empty(found: Prediction, format: str) -> bool:
    """Say whether the official script passes over an empty reply, as it does for sequential questions alone."""
    return found.task == "SQA" and format != "stc"


def _rule_problems(given: Sequence[Prediction], format: str) -> list[Problem]:
    """Name replies on which the official script stops, and files that the official rule cannot read at all."""
    if format == "stc":
        return []
    problems = []
    empty = sum(EMPTY in found.tags for found in given if not _skipped_when_empty(found, format))
    if empty:
        message = f"the official script stops on {empty} empty replies; counted as wrong"
        problems.append(Problem("official-stops", message))
    texts = [found.response for found in given if found.response and found.task != "PO"]
    spaced = sum(text[0].isspace() for text in texts)
    if format == "official" and spaced:
        message = (
            f"{spaced} replies begin with white space, which the official rule (first character) counts as wrong"
        )
        problems.append(Problem("leading-space", message + "; --format stc strips"))
    return problems


def _proactive_facts(given: Iterable[Prediction]) -> dict[str, int]:
    """Return how many proactive questions also said the gold output (the official ``answer_correct``)."""
    polled = [found for found in given if found.task == "PO" and HISTORY in found.tags]
    on_time = [found for found in polled if proactive_time(_turns(found)[-1][0], float(found.tags["gold_time"]))]
    said = [found for found in on_time if found.tags.get("gold_output", "") in _turns(found)[-1][1]]
    return {"asked": len(polled), "time_correct": len(on_time), "answer_correct": len(said)}


def join_polls(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Join the polls of a run into one prediction per proactive question; others pass through.

    The dialog ends with the first reply that holds ``yes`` (the official stop rule) and the output asked for then,
    whatever was polled after it.
    """
    polls: dict[str, list[Prediction]] = {}
    rest: list[Prediction] = []
    for found in predictions:
        if found.task == "PO" and "turn" in found.tags:
            polls.setdefault(found.tags["question"], []).append(found)
        else:
            rest.append(found)
    return [*rest, *(_joined(question, turns) for question, turns in polls.items())]


def _joined(question: str, turns: Sequence[Prediction]) -> Prediction:
    ordered = sorted(turns, key=lambda found: (float(found.tags["at"]), found.tags["turn"] == "output"))
    dialog: list[tuple[float, str]] = []
    stopped: float | None = None
    failed = False
    for found in ordered:
        second = float(found.tags["at"])
        output = found.tags["turn"] == "output"
        if stopped is not None and (second > stopped or not output):
            continue
        if found.response is None:
            failed = True
            continue
        dialog.append((second, found.response))
        if not output and "yes" in found.response.lower():
            stopped = second
    first = ordered[0]
    history = {} if failed and stopped is None else {HISTORY: json.dumps(dialog)}
    tags = {key: value for key, value in first.tags.items() if key not in ("turn", "question", "poll", "polls")}
    return replace(
        first,
        id=question,
        gold="Yes",
        response=dialog[-1][1] if history and dialog else None,
        tags={**tags, **history},
    )
