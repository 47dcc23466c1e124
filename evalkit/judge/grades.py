"""From grades to figures: means by scale and sub-task with intervals by video, totals, agreement with people."""

from __future__ import annotations

__all__ = ["GradeSummary", "HumanGrade", "read_human_grades", "summarise_grades"]

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from evalkit.errors import DataError, UsageError
from evalkit.judge.contract import judge_name
from evalkit.judge.rubric import Rubric
from evalkit.judge.summary import Usage
from evalkit.records.reading import read_lines
from evalkit.records.schema import GradeRecord


class HumanGrade(BaseModel):
    """One line of a file of human grades: the item, and a grade for each scale."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    item: str
    grades: dict[str, float]


@dataclass(frozen=True, slots=True)
class ScaleFigures:
    """One scale of one sub-task.

    Args:
        mean: Mean over graded items, draws of an item averaged first.
        low: Lower end of its 95 % interval, by video; ``None`` where there is none.
        high: Upper end.
        spread: Mean over items of the standard deviation of its draws; ``None`` with one draw.
    """

    mean: float
    low: float | None
    high: float | None
    spread: float | None


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """One sub-task: items, how many of them got no grade, its scales, and the sum of their means."""

    items: int
    invalid: int
    clusters: int
    scales: Mapping[str, ScaleFigures]
    total: float | None


@dataclass(frozen=True, slots=True)
class GradeSummary:
    """All figures of one grading.

    Args:
        judge: Who graded, with settings.
        tasks: By sub-task.
        total: Mean of the sub-tasks' totals; ``None`` where one of the benchmark's is missing or has no grade.
        draws: Grades an item got.
        invalid: Draws without grades, by reason.
        decided_by_rule: Items graded without the judge, by rule.
        usage: What it has cost.
        human: Agreement with human grades by scale, where there are some.
        notes: What a reader must know.
        figures: What the benchmark makes of the grades besides, shares between 0 and 1.
    """

    judge: str
    tasks: Mapping[str, TaskFigures]
    total: float | None
    draws: int
    invalid: Mapping[str, int]
    decided_by_rule: Mapping[str, int]
    usage: Usage
    human: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    figures: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Who graded, without details."""
        return judge_name(self.judge)

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``evalkit judge --rubric --json`` prints."""
        return {
            "judge": self.judge,
            "total": self.total,
            "figures": dict(self.figures),
            "tasks": {name: asdict(figures) for name, figures in self.tasks.items()},
            "items": sum(figures.items for figures in self.tasks.values()),
            "draws": self.draws,
            "invalid": sum(self.invalid.values()),
            "invalid_reasons": dict(self.invalid),
            "decided_by_rule": dict(self.decided_by_rule),
            "usage": asdict(self.usage),
            "human": {name: dict(found) for name, found in self.human.items()},
            "notes": list(self.notes),
        }


def read_human_grades(path: Path) -> dict[str, HumanGrade]:
    """Read a JSONL file of human grades by item.

    Raises:
        DataError: It is missing, a line is malformed (its number is named), or an item stands there twice.
    """
    found: dict[str, HumanGrade] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            one = HumanGrade.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise DataError(f"{path}:{number}: {where or 'line'}: {first['msg']}", path=path) from error
        if one.item in found:
            raise DataError(f"{path}:{number}: item {one.item!r} has grades already", path=path)
        found[one.item] = one
    if not found:
        raise DataError(f"{path}: no human grades in it", path=path)
    return found


def summarise_grades(
    records: Sequence[GradeRecord],
    rubrics: Mapping[str, Rubric],
    *,
    human: Mapping[str, HumanGrade] | None = None,
) -> GradeSummary:
    """Summarise what `grade_items` returned.

    An item's grade is the mean of its draws that gave one; an item none of whose draws did is invalid,
    counted, and in no mean. A sub-task's total is the sum of its scales' means; the whole total is the mean
    of the sub-tasks'.

    Args:
        records: Of one judge.
        rubrics: By sub-task of the benchmark; a total needs all of them.
        human: Human grades by item.

    Raises:
        UsageError: There are no records.
    """
    if not records:
        raise UsageError("no replies to grade")
    tasks = {task: _task([one for one in records if one.task == task], rubric) for task, rubric in rubrics.items()}
    totals = [figures.total for figures in tasks.values()]
    known = [value for value in totals if value is not None]
    fallen = Counter(one.invalid for one in records if one.invalid is not None)
    ruled = Counter(one.rule for one in records if one.rule and one.draw == 0)
    judges = Counter(one.judge for one in records if not one.rule) or Counter(one.judge for one in records)
    notes = [f"{count} replies graded by rule {rule}, not by the judge" for rule, count in sorted(ruled.items())]
    if fallen:
        notes.append(f"{sum(fallen.values())} of {len(records)} draws gave no grades")
    names = {judge_name(judge) for judge in judges}
    identity = judges.most_common(1)[0][0] if len(judges) == 1 else f"{names.pop()} ({len(judges)} rubrics)"
    return GradeSummary(
        judge=identity,
        tasks={task: figures for task, figures in tasks.items() if figures.items},
        total=fmean(known) if len(known) == len(totals) else None,
        draws=1 + max(one.draw for one in records),
        invalid=dict(sorted(fallen.items())),
        decided_by_rule=dict(sorted(ruled.items())),
        usage=Usage.of(records),
        human={} if human is None else _with_people(records, human),
        notes=tuple(notes),
    )


def _task(records: Sequence[GradeRecord], rubric: Rubric) -> TaskFigures:
    items: dict[str, list[GradeRecord]] = {}
    for one in records:
        items.setdefault(one.item, []).append(one)
    graded = {id_: [one.grades for one in rows if one.grades] for id_, rows in items.items()}
    valid = {id_: draws for id_, draws in graded.items() if draws}
    videos = {one.item: one.cluster for one in records}
    scales = {scale.name: _scale(scale.name, valid, videos) for scale in rubric.scales} if valid else {}
    return TaskFigures(
        items=len(items),
        invalid=len(items) - len(valid),
        clusters=len({videos[id_] for id_ in valid}),
        scales=scales,
        total=sum(figures.mean for figures in scales.values()) if scales else None,
    )


def _scale(
    name: str, items: Mapping[str, Sequence[Mapping[str, float]]], videos: Mapping[str, str]
) -> ScaleFigures:
    from evalkit.stats import mean_by_cluster  # loads scipy and pandas

    means = [fmean(draw[name] for draw in draws) for draws in items.values()]
    found = mean_by_cluster(means, [videos[id_] for id_ in items])
    spreads = [_deviation([draw[name] for draw in draws]) for draws in items.values() if len(draws) > 1]
    return ScaleFigures(fmean(means), found.low, found.high, fmean(spreads) if spreads else None)


def _deviation(values: Sequence[float]) -> float:
    from statistics import stdev

    return stdev(values)


def _with_people(records: Sequence[GradeRecord], human: Mapping[str, HumanGrade]) -> dict[str, dict[str, Any]]:
    """Return, by scale, how the judge's grades agree with people's: differences, and alpha of rounded grades."""
    from evalkit.stats import krippendorff_alpha

    items: dict[str, list[GradeRecord]] = {}
    for one in records:
        if one.item in human and one.grades:
            items.setdefault(one.item, []).append(one)
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({name for rows in items.values() for one in rows for name in one.grades}):
        both = [
            (fmean(one.grades[name] for one in rows), human[id_].grades[name], rows[0].cluster)
            for id_, rows in items.items()
            if name in human[id_].grades
        ]
        if not both:
            continue
        judged, people, videos = zip(*both, strict=True)
        alpha = krippendorff_alpha(
            [[str(round(one)) for one in judged], [str(round(one)) for one in people]], videos
        )
        found[name] = {
            "items": len(both),
            "mean_difference": fmean(a - b for a, b, _ in both),
            "mean_absolute_difference": fmean(abs(a - b) for a, b, _ in both),
            "alpha": asdict(alpha),
        }
    return found
