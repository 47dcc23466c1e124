"""LongVideoBench's scores: the rule of lmms-eval, to which the benchmark defers, and the strict one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    HIDDEN_GOLD,
    Scored,
    absent,
    beyond_problems,
    duplicate_problems,
    make_sheet,
    mark,
    unscored_sheet,
)
from evalkit_tasks.longvideobench.annotations import (
    CATEGORIES,
    DURATION_GROUPS,
    PERCEPTION,
    PUBLISHED_QUESTIONS,
    RELATION,
    VAL_CATEGORIES,
    VAL_DURATIONS,
)
from evalkit_tasks.longvideobench.extract import lmms_eval_letter

__all__ = ["OF_VALIDATION", "score_predictions", "submission"]

OF_VALIDATION = "of-validation"
"""Tag of replies that are a part of the published validation set, where its files were not given."""

_OVERALL = "longvideobench_overall"
_DURATIONS = tuple(f"longvideobench_{group}" for group in DURATION_GROUPS)
_LEVELS = {"L1-Perception": "longvideobench_perception", "L2-Relation": "longvideobench_relation"}


def _rule(whole: bool) -> GroupRule:
    return GroupRule(
        tasks=CATEGORIES,
        micro=(*_DURATIONS, *_LEVELS.values(), _OVERALL),
        macro={
            "longvideobench_macro_duration": _DURATIONS,
            "longvideobench_macro_category": PERCEPTION + RELATION,
        },
        total=_OVERALL,
        parts=_DURATIONS,
        whole=whole,
    )


def _groups(prediction: Prediction) -> tuple[str, ...]:
    level = _LEVELS.get(prediction.tags.get("level", ""))
    return (f"longvideobench_{prediction.tags.get('duration', '')}", *([level] if level else []), _OVERALL)


def submission(predictions: Sequence[Prediction]) -> dict[str, str]:
    """Return what the hidden test set is submitted as: the raw reply by question id, as lmms-eval writes it.

    Args:
        predictions: Replies to the questions of one split; one without a reply becomes an empty text.
    """
    return {prediction.id: prediction.response or "" for prediction in predictions}


def score_predictions(predictions: Sequence[Prediction], format: str) -> ScoreSheet:
    """Score replies by lmms-eval's rule (``source``) and strictly.

    ``source`` takes the first letter A-E after deleting prefixes; a reply without one is wrong here, where
    lmms-eval draws an option at random: ``facts['random_choices']`` says how often. Overall is the mean over
    questions (lmms-eval's weighted mean over two partitions of the same questions is the same number).

    Where any gold is hidden nothing is scored: every number is ``None`` and a problem says why.

    Args:
        predictions: As ``read_predictions`` gives them.
        format: Layout they came in.
    """
    if any(HIDDEN_GOLD in prediction.tags for prediction in predictions):
        rule = _rule(True)
        return unscored_sheet("longvideobench", format, predictions, CATEGORIES, [*rule.micro, *rule.macro])
    marks = {entry.id: entry for entry in mark(predictions)}
    strict, seen = [], set()
    for prediction in predictions:
        if prediction.id not in seen:
            seen.add(prediction.id)
            entry = marks[prediction.id]
            here = not absent(prediction)
            strict.append(
                Outcome(prediction.task, _groups(prediction), entry.correct, entry.answered, present=here)
            )
    strict = drop_missing_parts(strict, _DURATIONS, _OVERALL)
    source, facts = _source(predictions)
    by_strict, by_source = count_groups(strict), count_groups(source)
    if any(OF_VALIDATION in prediction.tags for prediction in predictions):
        by_strict = _over_validation(by_strict)
    return make_sheet(
        task="longvideobench",
        format=format,
        source=_scored(by_source, _rule(True)),
        strict=_scored(by_strict, _rule(False)),
        marks=list(marks.values()),
        problems=[*duplicate_problems(predictions), *beyond_problems(predictions)],
        averaging=Averaging(_rule(False).averages, {entry.id: _groups(entry) for entry in predictions}),
        facts={"total_is": _OVERALL, "source_rule": "lmms-eval, without its random choice", **facts},
    )


def _over_validation(counts: Mapping[str, GroupCount]) -> dict[str, GroupCount]:
    """Return counts over all questions of the validation set; those without a row are wrong.

    Where a duration group has no row at all there is no total, and sub-tasks are over the rows there are.
    """
    published = {f"longvideobench_{group}": n for group, n in VAL_DURATIONS.items()}
    if published.keys() <= counts.keys():
        levels = ((name, PERCEPTION if level.startswith("L1") else RELATION) for level, name in _LEVELS.items())
        published |= {name: sum(VAL_CATEGORIES[one] for one in categories) for name, categories in levels}
        published |= VAL_CATEGORIES
    published[_OVERALL] = PUBLISHED_QUESTIONS["val"]
    none = GroupCount(0, 0, 0, 0, 0)
    found = dict(counts)
    for name, n in published.items():
        here = counts.get(name, none)
        found[name] = replace(here, n=max(here.n, n), counted=max(here.counted, n))
    return found


def _scored(counts: Mapping[str, GroupCount], rule: GroupRule) -> Scored:
    return Scored(
        group_scores(counts, rule),
        MappingProxyType({name: counts[name].tally for name in rule.tasks if name in counts}),
    )


def _source(predictions: Sequence[Prediction]) -> tuple[list[Outcome], dict[str, object]]:
    outcomes = []
    random_choices = logged = logged_right = 0
    for prediction in predictions:
        here = not absent(prediction)
        letter = lmms_eval_letter(prediction.response) if prediction.response is not None else ""
        random_choices += here and not letter
        if "logged" in prediction.tags:
            logged += 1
            logged_right += prediction.tags["logged"] == prediction.gold
        outcomes.append(
            Outcome(
                prediction.task,
                _groups(prediction),
                letter == prediction.gold,
                bool(letter),
                counted=here,
                present=here,
            )
        )
    facts: dict[str, object] = {"random_choices": random_choices}
    if logged:
        facts["logged_overall"] = 100.0 * logged_right / logged
        facts["logged_note"] = "by the letters in the log, random choices included"
    return outcomes, facts
