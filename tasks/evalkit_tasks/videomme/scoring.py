"""Video-MME's scores: the official rule with its shrinking denominator, and the strict one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from evalkit.tasks.contract import Averaging, Prediction, ScoreSheet
from evalkit.tasks.grouping import (
    GroupCount,
    GroupRule,
    Outcome,
    count_groups,
    drop_missing_parts,
    group_scores,
)
from evalkit.tasks.scoring import (
    ABSENT,
    Mark,
    Scored,
    absent,
    beyond_problems,
    duplicate_problems,
    make_sheet,
    mark,
)
from evalkit_tasks.videomme.extract import EXTRACTORS, official_letter
from evalkit_tasks.videomme.predictions import UNKNOWN_LABELS, against_published
from evalkit_tasks.videomme.published import DOMAINS, DURATIONS, SUB_CATEGORIES, TASK_COUNTS, TASK_TYPES

__all__ = ["LABELS", "group_name", "score_predictions"]

_OVERALL = "videomme_overall"
_QUESTIONS_PER_SUB_CATEGORY = 30


def group_name(kind: str, value: str) -> str:
    """Return a group's stable name: ``videomme_short``, ``videomme_domain_life_record`` ...

    Args:
        kind: ``duration``, ``domain`` or ``sub_category``.
        value: Published name.
    """
    slug = re.sub(r"[^a-z0-9]+", "_", value.lower().replace("&", "and")).strip("_")
    return f"videomme_{slug}" if kind == "duration" else f"videomme_{kind}_{slug}"


LABELS: Mapping[str, str] = MappingProxyType(
    {
        **{group_name("duration", name): f"{name.capitalize()} videos" for name in DURATIONS},
        **{group_name("domain", name): name for name in DOMAINS},
        **{group_name("sub_category", name): name for name in SUB_CATEGORIES},
        _OVERALL: "Overall",
        "videomme_macro_duration": "Mean of durations",
        "videomme_macro_domain": "Mean of domains",
        "videomme_macro_task": "Mean of sub-tasks",
    }
)
"""Names of the groups."""

_DURATION_GROUPS = tuple(group_name("duration", name) for name in DURATIONS)
_DOMAIN_GROUPS = tuple(group_name("domain", name) for name in DOMAINS)
_SUB_GROUPS = tuple(group_name("sub_category", name) for name in SUB_CATEGORIES)


@lru_cache(maxsize=4096)
def _groups(duration: str, domain: str, sub_category: str) -> tuple[str, ...]:
    groups = [group_name("duration", duration), _OVERALL]
    groups += [group_name("domain", domain)] if domain else []
    groups += [group_name("sub_category", sub_category)] if sub_category else []
    return tuple(groups)


def _rule(whole: bool) -> GroupRule:
    return GroupRule(
        tasks=TASK_TYPES,
        micro=(*_DURATION_GROUPS, _OVERALL, *_DOMAIN_GROUPS, *_SUB_GROUPS),
        macro={
            "videomme_macro_duration": _DURATION_GROUPS,
            "videomme_macro_domain": _DOMAIN_GROUPS,
            "videomme_macro_task": TASK_TYPES,
        },
        total=_OVERALL,
        parts=_DURATION_GROUPS,
        whole=whole,
    )


def _labels(predictions: Sequence[Prediction]) -> Callable[[Prediction], tuple[str, tuple[str, ...]]]:
    """Return a function that gives a prediction's task type and groups, each to be called once in order.

    Questions of the published set that a file lacks have no labels in it. How many of them each task type,
    domain and sub-category has is known, so they are dealt out by count; which is which does not matter to
    any score.
    """
    pools: dict[str, dict[str, Iterator[str]]] = {}
    if any(UNKNOWN_LABELS in prediction.tags for prediction in predictions):
        for kind in ("task", "domain", "sub_category"):
            remainders = _remainders(predictions, kind)
            pools[kind] = {duration: iter(left) for duration, left in remainders.items()}

    def label(prediction: Prediction) -> tuple[str, tuple[str, ...]]:
        tags = prediction.tags
        duration = tags.get("duration", "")
        task, domain, sub = prediction.task, tags.get("domain", ""), tags.get("sub_category", "")
        if UNKNOWN_LABELS in tags:
            task, domain, sub = (next(pools[kind][duration], "") for kind in pools)
        return task, _groups(duration, domain, sub)

    return label


def _remainders(predictions: Iterable[Prediction], kind: str) -> dict[str, list[str]]:
    """Return, by duration, the labels of one kind that the published set has and the predictions lack."""
    have: set[tuple[str, str, str]] = set()
    for prediction in predictions:
        if UNKNOWN_LABELS not in prediction.tags:
            value = prediction.task if kind == "task" else prediction.tags.get(kind, "")
            have.add((prediction.id, prediction.tags.get("duration", ""), value))
    counted = Counter((duration, value) for _, duration, value in have)
    left: dict[str, list[str]] = {}
    for place, duration in enumerate(DURATIONS):
        published = _published_counts(kind, place)
        left[duration] = [
            value for value, count in published.items() for _ in range(max(0, count - counted[duration, value]))
        ]
    return left


def _published_counts(kind: str, place: int) -> Mapping[str, int]:
    if kind == "task":
        return {name: counts[place] for name, counts in TASK_COUNTS.items()}
    return DOMAINS if kind == "domain" else dict.fromkeys(SUB_CATEGORIES, _QUESTIONS_PER_SUB_CATEGORY)


def score_predictions(predictions: Sequence[Prediction], format: str) -> ScoreSheet:
    """Score replies by the official rule (``source``) and strictly.

    ``source`` takes the first capital A-D after deleting prefixes; a reply without one leaves numerator and
    denominator. The official script stops unless a duration has all its 300 videos, so a duration that lacks
    one is ``None``, and the total with it. Strict counts every question of the durations present.

    Of lmms-eval's samples ``source`` is lmms-eval's own score, in which unread replies are wrong.

    ``facts['other_rules']`` has the overall score by lmms-eval's and VLMEvalKit's way of reading, over all
    rows, unread ones wrong.

    Args:
        predictions: As ``read_predictions`` gives them.
        format: Layout they came in.
    """
    marks = {entry.id: entry for entry in mark(predictions)}
    questions = against_published(predictions)[0] if format == "evalkit" else list(predictions)
    once = list({prediction.id: prediction for prediction in reversed(questions)}.values())[::-1]
    label = _labels(once)
    labelled = {prediction.id: label(prediction) for prediction in once}
    scored = _in_strict(once, format)
    strict = drop_missing_parts(
        [_strict(p, marks.get(p.id), *labelled[p.id]) for p in scored], _DURATION_GROUPS, _OVERALL
    )
    own = _lmms_eval if format == "lmms-eval" else _official
    source = [own(p, *labelled[p.id]) for p in questions if p.tags.get(ABSENT) != "question"]
    by_strict, by_source = count_groups(strict), count_groups(source)
    rows = [prediction for prediction in predictions if not absent(prediction)]
    dropped = sum(not outcome.counted for outcome in source if outcome.present)
    return make_sheet(
        task="videomme",
        format=format,
        source=_scored(by_source, _rule(True)),
        strict=_scored(by_strict, _rule(False)),
        marks=[marks[p.id] for p, outcome in zip(scored, strict, strict=True) if outcome.task],
        problems=[*duplicate_problems(predictions), *beyond_problems(rows)],
        averaging=Averaging(_rule(False).averages, {id_: groups for id_, (_, groups) in labelled.items()}),
        facts={
            "total_is": _OVERALL,
            "source_rule": "lmms-eval: best-marked letter, unread replies wrong"
            if format == "lmms-eval"
            else "official: first capital A-D, unread replies out of the denominator",
            "dropped_by_source": dropped,
            "rows": len(rows),
            "other_rules": _other_rules(rows),
        },
    )


def _in_strict(once: Sequence[Prediction], format: str) -> list[Prediction]:
    """Return the questions of the strict denominator.

    Of a run these are its own; a published duration of which it has none at all stays, so that there is no
    total.
    """
    if format != "evalkit":
        return list(once)
    here = {prediction.tags.get("duration") for prediction in once if UNKNOWN_LABELS not in prediction.tags}
    return [p for p in once if UNKNOWN_LABELS not in p.tags or p.tags.get("duration") not in here]


def _strict(prediction: Prediction, entry: Mark | None, task: str, groups: tuple[str, ...]) -> Outcome:
    if entry is None:
        return Outcome(task, groups, correct=False, answered=False, present=False)
    return Outcome(task, groups, entry.correct, entry.answered, present=not absent(prediction))


_official_letter = lru_cache(maxsize=4096)(official_letter)


def _official(prediction: Prediction, task: str, groups: tuple[str, ...]) -> Outcome:
    here = not absent(prediction)
    letter = _official_letter(prediction.response) if prediction.response is not None else ""
    return Outcome(
        task, groups, bool(letter) and letter == prediction.gold, bool(letter), bool(letter), present=here
    )


def _lmms_eval(prediction: Prediction, task: str, groups: tuple[str, ...]) -> Outcome:
    here = not absent(prediction)
    letter = EXTRACTORS["lmms-eval"](prediction.response) if prediction.response is not None else ""
    return Outcome(task, groups, bool(letter) and letter == prediction.gold, bool(letter), here, present=here)


def _scored(counts: Mapping[str, GroupCount], rule: GroupRule) -> Scored:
    tallies = {name: counts[name].tally for name in rule.tasks if name in counts}
    return Scored(group_scores(counts, rule), MappingProxyType(tallies))


def _other_rules(rows: Sequence[Prediction]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in ("lmms-eval", "vlmevalkit"):
        read = lru_cache(maxsize=4096)(EXTRACTORS[name])
        right = sum(row.response is not None and read(row.response) == row.gold for row in rows)
        found[name] = 100.0 * right / len(rows) if rows else None
    return found
