"""Scores by group where one question belongs to several groups at once.

A part without any row is missing, and so is every number made of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.tasks.contract import Average, Scores
from evalkit.tasks.scoring import Tally, percent

__all__ = ["GroupCount", "GroupRule", "Outcome", "count_groups", "drop_missing_parts", "group_scores"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one question earned under one rule; equal outcomes are counted together.

    Args:
        task: Sub-task.
        groups: Names of the groups it belongs to, the overall one included.
        correct: Whether the reply is right.
        answered: Whether a reply was read.
        counted: Whether the rule has it in its denominator.
        present: Whether the files have a row for it.
    """

    task: str
    groups: tuple[str, ...]
    correct: bool
    answered: bool
    counted: bool = True
    present: bool = True


@dataclass(frozen=True, slots=True)
class GroupCount:
    """Counts of one group: questions, rows in the files, the denominator, read and right replies."""

    n: int
    present: int
    counted: int
    answered: int
    correct: int

    @property
    def tally(self) -> Tally:
        """The counts that a score sheet keeps."""
        return Tally(self.counted, self.answered, self.correct)


@dataclass(frozen=True, slots=True)
class GroupRule:
    """Which averages a benchmark reports.

    Args:
        tasks: All sub-tasks, in the order of its tables.
        micro: Names of groups averaged over their questions.
        macro: Names of averages over parts (sub-tasks or micro groups), with their parts.
        total: Group that is the headline.
        parts: Micro groups that the headline needs, where the data have questions of them.
        whole: Whether a group needs every one of its questions' rows (the rule of a published scorer);
            otherwise questions without a row count as wrong.
    """

    tasks: Sequence[str]
    micro: Sequence[str]
    macro: Mapping[str, Sequence[str]]
    total: str
    parts: Sequence[str]
    whole: bool

    @property
    def averages(self) -> tuple[Average, ...]:
        """The same as named averages over sub-tasks and groups of questions."""
        over_questions = (Average(name, "micro", (name,)) for name in self.micro)
        return (*over_questions, *(Average(name, "macro", tuple(parts)) for name, parts in self.macro.items()))


def drop_missing_parts(outcomes: Sequence[Outcome], parts: Sequence[str], total: str) -> list[Outcome]:
    """Take questions of parts that have no row at all out of the sub-tasks.

    They stay in their part and in the total, so that both are ``None``.

    Args:
        outcomes: All outcomes.
        parts: Groups that make the total.
        total: Name of the total.
    """
    here = {name for outcome in outcomes if outcome.present for name in outcome.groups}
    missing = {name for outcome in outcomes for name in outcome.groups if name in parts} - here
    return [
        replace(outcome, task="", groups=(*(name for name in outcome.groups if name in missing), total))
        if missing.intersection(outcome.groups)
        else outcome
        for outcome in outcomes
    ]


def count_groups(outcomes: Iterable[Outcome]) -> dict[str, GroupCount]:
    """Count outcomes by sub-task and by group."""
    sums: dict[str, list[int]] = {}
    for outcome, times in Counter(outcomes).items():
        row = (1, outcome.present, outcome.counted, outcome.answered, outcome.correct)
        for name in (outcome.task, *outcome.groups):
            into = sums.setdefault(name, [0, 0, 0, 0, 0])
            for place, value in enumerate(row):
                into[place] += value * times
    return {name: GroupCount(*values) for name, values in sums.items()}


def group_scores(counts: Mapping[str, GroupCount], rule: GroupRule) -> Scores:
    """Turn counts into percentages; ``None`` where a part is missing.

    Args:
        counts: From ``count_groups``.
        rule: What is reported.
    """
    tasks = {name: _percent(counts.get(name), whole=False) for name in rule.tasks}
    groups = {name: _percent(counts.get(name), whole=rule.whole) for name in rule.micro}
    if any(groups.get(part) is None for part in rule.parts if part in counts):
        groups[rule.total] = None
    known = {**tasks, **groups}
    for name, parts in rule.macro.items():
        values = [known[part] for part in parts if part in counts]
        present = [value for value in values if value is not None]
        groups[name] = sum(present) / len(present) if present and len(present) == len(values) else None
    return Scores(tasks, groups, groups[rule.total])


def _percent(count: GroupCount | None, *, whole: bool) -> float | None:
    if count is None or not count.present or (whole and count.present < count.n):
        return None
    return percent(count.correct, count.counted)
