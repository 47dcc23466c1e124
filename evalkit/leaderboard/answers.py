"""One score per question out of a run's records, and the same questions of several runs side by side."""

from __future__ import annotations

__all__ = [
    "NARRATION",
    "SEED",
    "STRICT",
    "WIN_RATE",
    "Aligned",
    "Repeats",
    "ScoredRun",
    "align",
    "averaged",
    "common_judging",
    "is_judged",
    "judged_windows",
    "require_finished",
    "require_one_model",
    "require_verdicts",
    "score_run",
    "score_runs",
]

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import stdev
from typing import TYPE_CHECKING, Literal

from evalkit.errors import DataError, NothingCountedError, UsageError, suggest
from evalkit.leaderboard.fingerprint import Mismatch, comparable, describe_mismatches, model_changes
from evalkit.records import RunRecords, VerdictRecord, missing_text
from evalkit.registry import Registry

if TYPE_CHECKING:
    from evalkit.stats import Composition, PairOutcome
    from evalkit.tasks.headline import ComposedScore

NARRATION = "narration"
STRICT = "strict accuracy"
WIN_RATE = "win rate"
SEED = "seed"
"""Fingerprint field that may differ between runs that are averaged."""

_EMPTY_RULES = "empty-"
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Repeats:
    """How far runs of one model lie apart: what another seed or another pass changes, on the same questions.

    Args:
        seeds: Seed of each run.
        values: The metric of each run, a share.
        sd: Standard deviation of the values between runs.
        noise: Mean variance of a question's score between runs (`evalkit.stats.repeat_noise`).
    """

    seeds: tuple[int | None, ...]
    values: tuple[float, ...]
    sd: float
    noise: float

    def sentence(self) -> str:
        """Return number of runs, their seeds, their scores and the deviations as one line."""
        told = sorted({seed for seed in self.seeds if seed is not None})
        seeds = f"seeds {', '.join(map(str, told))}" if len(told) > 1 else "one seed"
        scores = ", ".join(f"{100 * value:.2f}" for value in self.values)
        return (
            f"mean of {len(self.values)} runs ({seeds}): {scores} %; standard deviation between runs "
            f"{100 * self.sd:.2f} points, of one question's score {100 * self.noise**0.5:.1f} points"
        )


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """A run as statistics see it.

    Args:
        label: What tables call the run.
        records: What it left on disk.
        metric: What the runs are compared by: a strict score, or the win rate against whom, by which judge.
        unit: What there is one score of: ``questions``, ``windows`` of narration, ``replies``, or ``facts``.
        scores: Question (or judged window) to score, between 0 and 1.
        clusters: Question to video.
        answers: Question to what was answered, to count flips; for judged windows the score itself.
        asked: All questions or windows of the run, those without a readable verdict too.
        cells: What the metric is made of: for each cell its questions.
        weights: For each cell its weight; they add up to 1.
        notes: What was left out, in words.
        repeats: How far several runs of the model lay apart, where the scores are means over them.
    """

    label: str
    records: RunRecords
    metric: str
    unit: Literal["questions", "windows", "replies", "facts"]
    scores: Mapping[str, float]
    clusters: Mapping[str, str]
    answers: Mapping[str, str]
    asked: frozenset[str]
    cells: Mapping[str, tuple[str, ...]]
    weights: Mapping[str, float]
    notes: tuple[str, ...] = ()
    repeats: Repeats | None = None

    @property
    def value(self) -> float:
        """The metric, a share between 0 and 1."""
        return sum(
            weight * sum(self.scores[id_] for id_ in self.cells[name]) / len(self.cells[name])
            for name, weight in self.weights.items()
        )


@dataclass(frozen=True, slots=True)
class Aligned:
    """The questions that all runs have, in one order.

    Args:
        ids: The questions.
        clusters: The video of each.
        scores: For each run's label, one score per question.
        composition: What the metric is made of, over the questions in their order.
        mismatches: Where the runs' questions or videos differ; empty where they are the same.
    """

    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    scores: Mapping[str, list[float]]
    composition: Composition
    mismatches: list[Mismatch] = field(default_factory=list)


def require_finished(run: RunRecords) -> None:
    """Refuse a run whose records are a part of what was planned.

    Raises:
        DataError: It is still running, was interrupted, or failed, or records of it are gone.
    """
    status, path = run.manifest.status, run.folder.path
    if status == "running":
        raise DataError(
            f"{path} is still running (or was killed): let it finish, or resume it with --resume", path=path
        )
    if status == "interrupted":
        raise DataError(f"{path} was interrupted: finish it with --resume first", path=path)
    if status == "failed":
        raise DataError(f"{path} failed ({run.manifest.error or 'no reason recorded'}): run it again", path=path)
    if run.missing:
        gone = missing_text(run.manifest, run.missing)
        raise DataError(f"{path}: {gone}: --resume --out {path} runs them again", path=path)


def require_verdicts(run: RunRecords) -> None:
    """Refuse a run of whose verdicts a part is gone.

    Raises:
        DataError: A judging has fewer verdicts than it left.
    """
    if run.verdicts_gone:
        path, again = run.folder.path, "evalkit judge asks for them again"
        raise DataError(f"{path}: {'; '.join(run.verdicts_gone)}: {again}", path=path)


def score_runs(
    runs: Mapping[str, RunRecords],
    *,
    metric: str | None = None,
    whole: bool = False,
    baseline: str | None = None,
    judge: str | None = None,
) -> list[ScoredRun]:
    """Score runs of one task by the same measure.

    Args:
        runs: Label to records.
        metric: Which score of the benchmark; its headline when absent.
        whole: Refuse runs of a part of the benchmark, of which there is no headline; else the mean over their
            questions stands in for it, and a note says so.
        baseline: For judged runs, whom they were judged against; needed where several are common to all.
        judge: For judged runs, who judged, with or without the settings in parentheses; needed where several are
            common to all.

    Raises:
        DataError: A run has no answers or no verdicts, or judged runs share no baseline and judge.
        UsageError: Runs of different tasks, a metric they do not have, or several common judgings to choose from.
    """
    tasks = {records.manifest.task: label for label, records in runs.items()}
    if len(tasks) > 1:
        named = ", ".join(f"{task} ({label})" for task, label in tasks.items())
        raise UsageError(f"runs of different tasks cannot be compared: {named}; name runs of one task")
    for records in runs.values():
        if not records.answers and not records.verdicts:
            raise DataError(f"{records.folder.path} has no answers on record: nothing to compare")
    if not all(is_judged(records) for records in runs.values()):
        return [score_run(label, records, metric=metric, whole=whole) for label, records in runs.items()]
    if metric not in (None, WIN_RATE):
        return [_told_run(label, records, metric) for label, records in runs.items()]
    chosen = common_judging(runs, baseline, judge)
    return [_judged_run(label, records, *chosen) for label, records in runs.items()]


def is_judged(records: RunRecords) -> bool:
    """Say whether a run is narration that is judged, not scored."""
    from evalkit.tasks import UtteranceTask

    registry = Registry("evalkit.tasks", "task")
    name = records.manifest.task
    if name in registry.names() and isinstance(registry.get(name), UtteranceTask):
        return False
    return all(answer.kind == NARRATION for answer in records.answers)


def score_run(label: str, records: RunRecords, *, metric: str | None = None, whole: bool = False) -> ScoredRun:
    """Score the questions of one run strictly, by its task's scorer where the task is installed.

    Args:
        label: What tables call the run.
        records: What it left on disk.
        metric: See `score_runs`.
        whole: See `score_runs`.

    Raises:
        DataError: It answered no question, or a record cannot be scored.
        UsageError: A metric that the task does not have, or not of these questions.
    """
    from evalkit.tasks.headline import ACCURACY

    rows, made, notes = _composed(records, metric, whole=whole)
    within = {id_ for members in made.cells.values() for id_ in members}
    marked = {row.id: row for row in rows if row.id in within}
    said: dict[str, str] = {}
    for answer in records.answers:
        said.setdefault(answer.query, answer.parsed if answer.parsed is not None else f"\0{answer.text}")
    return ScoredRun(
        label=label,
        records=records,
        metric=STRICT if made.name == ACCURACY else f"{made.name}, {STRICT}",
        unit="questions",
        scores={id_: float(row.correct) for id_, row in marked.items()},
        clusters={id_: row.cluster for id_, row in marked.items()},
        answers={id_: said.get(id_, "") for id_ in marked},
        asked=frozenset(marked),
        cells=made.cells,
        weights=made.weights,
        notes=tuple(f"{label}: {note}" for note in notes),
    )


@dataclass(frozen=True, slots=True)
class _Marked:
    """A question with its video and whether it was answered rightly."""

    id: str
    cluster: str
    correct: bool


def _composed(
    records: RunRecords, metric: str | None, *, whole: bool
) -> tuple[list[_Marked], ComposedScore, list[str]]:
    """Return the marked questions of a run, what its score is made of, and what to say of it."""
    from evalkit.tasks.headline import ACCURACY, ComposedScore, composed_score
    from evalkit.tasks.scoring import mark
    from evalkit.tasks.spoken import run_predictions

    path, name = records.folder.path, records.manifest.task
    registry = Registry("evalkit.tasks", "task")
    predictions = run_predictions(registry.get(name) if name in registry.names() else None, records.answers)
    if not predictions:
        raise DataError(f"{path} answered no question: nothing to compare", path=path)
    if name not in registry.names():
        rows = [_Marked(one.id, one.cluster, one.correct) for one in mark(predictions)]
        if metric not in (None, ACCURACY, "total"):
            raise UsageError(f"task {name} is not installed, so its runs have no score {metric!r} but {ACCURACY}")
        return rows, ComposedScore(ACCURACY, {ACCURACY: tuple(row.id for row in rows)}, {ACCURACY: 1.0}), []
    sheet = registry.get(name).score(predictions, "evalkit")
    rows = [_Marked(id_, cluster, correct) for id_, cluster, _, correct in sheet.correct]
    try:
        return rows, composed_score(sheet, metric), []
    except UsageError as error:
        if metric is not None or whole:
            raise
        return rows, composed_score(sheet, ACCURACY), [f"the mean over its questions is compared: {error}"]


def _told_run(label: str, records: RunRecords, metric: str) -> ScoredRun:
    """Score a narration by one kind of fact that its data tell."""
    from evalkit.tasks import FactTask

    registry = Registry("evalkit.tasks", "task")
    task = registry.get(records.manifest.task) if records.manifest.task in registry.names() else None
    facts = task.facts(records.answers) if isinstance(task, FactTask) else []
    known = sorted({fact.name for fact in facts})
    mine = {fact.id: fact for fact in facts if fact.name == metric}
    if not mine:
        others = ", ".join([WIN_RATE, *known])
        raise UsageError(f"these narrations have no score {metric!r}{suggest(metric, known)} (here: {others})")
    return ScoredRun(
        label=label,
        records=records,
        metric=metric,
        unit="facts",
        scores={id_: float(fact.correct) for id_, fact in mine.items()},
        clusters={id_: fact.cluster for id_, fact in mine.items()},
        answers={id_: str(fact.correct) for id_, fact in mine.items()},
        asked=frozenset(mine),
        cells={metric: tuple(mine)},
        weights={metric: 1.0},
    )


def _judgings(records: RunRecords) -> Counter[tuple[str, str]]:
    """Count verdicts by baseline and judge; pairs decided without a judge name none."""
    asked = Counter(
        (one.baseline_name, one.judge) for one in records.verdicts if not one.rule.startswith(_EMPTY_RULES)
    )
    return asked or Counter((one.baseline_name, one.judge) for one in records.verdicts)


def common_judging(runs: Mapping[str, RunRecords], baseline: str | None, judge: str | None) -> tuple[str, str]:
    """Return the baseline and the judge that all runs were judged with.

    Raises:
        DataError: A run has no verdicts, or not all of them any more, or the runs share no baseline and judge.
        UsageError: Several judgings to choose from.
    """
    for records in runs.values():
        require_verdicts(records)
    found = {label: _judgings(records) for label, records in runs.items()}
    for label, judgings in found.items():
        if not judgings:
            raise DataError(
                f"{runs[label].folder.path} narrates and has no verdicts: judge it first "
                "(evalkit judge RUN --against BASELINE --judge ...)"
            )
    common = set.intersection(*(set(judgings) for judgings in found.values()))
    common = {
        one
        for one in common
        if (baseline is None or one[0] == baseline) and judge in (None, one[1], one[1].partition(" (")[0])
    }
    if len(common) == 1:
        _require_one_baseline(runs, next(iter(common)))
        return common.pop()
    each = "; ".join(
        f"{label}: " + ", ".join(f"{base} by {by}" for base, by in sorted(judgings))
        for label, judgings in found.items()
    )
    if not common:
        raise DataError(
            f"the runs were not judged against one baseline by one judge ({each}): judge them against the same"
        )
    raise UsageError(f"the runs were judged more than once ({each}): choose with --baseline and --judge")


def _require_one_baseline(runs: Mapping[str, RunRecords], judging: tuple[str, str]) -> None:
    ids = {
        label: {
            one.baseline_id
            for one in records.verdicts
            if one.baseline_id and (one.baseline_name, one.judge) == judging
        }
        for label, records in runs.items()
    }
    if len(set.union(*ids.values())) > 1:
        each = "; ".join(f"{label}: {', '.join(sorted(found))}" for label, found in ids.items())
        raise DataError(
            f"the runs were judged against different baselines of the name {judging[0]} ({each}): judge them "
            "against the same"
        )


def judged_windows(records: RunRecords, baseline: str, judge: str) -> list[PairOutcome]:
    """Return the windows of one judging with the winner in each order, those decided without the judge too."""
    from evalkit.stats import PairOutcome

    windows: dict[str, dict[str, VerdictRecord]] = {}
    for verdict in records.verdicts:
        by_rule = verdict.rule.startswith(_EMPTY_RULES)
        if verdict.baseline_name == baseline and (verdict.judge == judge or by_rule):
            window = f"{verdict.cluster} {verdict.start:g}-{verdict.end:g} s"
            windows.setdefault(window, {})[verdict.order] = verdict
    return [
        PairOutcome(
            pair=window,
            cluster=next(iter(orders.values())).cluster,
            ab=orders["ab"].winner if "ab" in orders else None,
            ba=orders["ba"].winner if "ba" in orders else None,
        )
        for window, orders in windows.items()
    ]


def _judged_run(label: str, records: RunRecords, baseline: str, judge: str) -> ScoredRun:
    from evalkit.stats import combined_score

    windows = judged_windows(records, baseline, judge)
    scores: dict[str, float] = {}
    for one in windows:
        if one.ab is not None and one.ba is not None and "invalid" not in (one.ab, one.ba):
            scores[one.pair] = combined_score(one.ab, one.ba)
    left_out = len(windows) - len(scores)
    if not scores:
        raise NothingCountedError(
            f"{records.folder.path}: none of its {len(windows)} windows has a readable verdict in both orders"
        )
    notes = (f"{label}: {left_out} of {len(windows)} windows left out, without a readable verdict in both orders",)
    return ScoredRun(
        label=label,
        records=records,
        metric=f"{WIN_RATE} against {baseline}, judged by {judge}",
        unit="windows",
        scores=scores,
        clusters={one.pair: one.cluster for one in windows if one.pair in scores},
        answers={window: str(score) for window, score in scores.items()},
        asked=frozenset(one.pair for one in windows),
        cells={WIN_RATE: tuple(scores)},
        weights={WIN_RATE: 1.0},
        notes=notes if left_out else (),
    )


def require_one_model(runs: Sequence[RunRecords], name: str) -> None:
    """Refuse runs to be averaged that are not one model in one setting, but for the seed.

    Args:
        runs: The runs of one side.
        name: What the reader calls them.

    Raises:
        DataError: Something else differs.
    """
    first = runs[0].manifest.fingerprint
    for other in runs[1:]:
        found = other.manifest.fingerprint
        differ = [*comparable(first, found), *model_changes(first, found)]
        differ = [one for one in differ if one.field != SEED]
        if differ:
            raise DataError(
                f"the runs of {name} are not one model in one setting ({describe_mismatches(differ)}): give "
                "runs that differ in their seed at most"
            )


def averaged(side: Sequence[ScoredRun], label: str) -> ScoredRun:
    """Return runs of one model as one: each question's score is the mean over the runs.

    Args:
        side: The runs; replies and seconds of the result are those of the first.
        label: What tables call it.
    """
    if len(side) == 1:
        return replace(side[0], label=label)
    ids = [id_ for id_ in side[0].scores if all(id_ in run.scores for run in side)]
    if not ids:
        raise DataError(f"the runs of {label} have no question in common")
    scores = {id_: sum(run.scores[id_] for run in side) / len(side) for id_ in ids}
    shared = frozenset(ids)
    cells = {name: tuple(id_ for id_ in members if id_ in shared) for name, members in side[0].cells.items()}
    return replace(side[0], label=label, scores=scores, cells=cells, repeats=_repeats(side, ids))


def _repeats(side: Sequence[ScoredRun], ids: Sequence[str]) -> Repeats:
    from evalkit.stats import repeat_noise

    values = tuple(run.value for run in side)
    return Repeats(
        seeds=tuple(run.records.manifest.fingerprint.get(SEED) for run in side),
        values=values,
        sd=stdev(values),
        noise=repeat_noise([[run.scores[id_] for run in side] for id_ in ids]),
    )


def align(runs: Sequence[ScoredRun]) -> Aligned:
    """Put the questions of all runs in one order, that of the first.

    Raises:
        DataError: The runs have no question in common.
    """
    first = runs[0]
    mismatches = [
        Mismatch("questions", _own(first, other), _own(other, first))
        for other in runs[1:]
        if first.asked != other.asked
    ]
    ids = tuple(id_ for id_ in first.scores if all(id_ in other.scores for other in runs[1:]))
    if not ids:
        names = " and ".join(str(run.records.folder.path) for run in runs)
        raise DataError(f"{names} have no question in common: they ran on different samples")
    for other in runs[1:]:
        moved = [id_ for id_ in ids if first.clusters[id_] != other.clusters[id_]]
        if moved:
            one = moved[0]
            mismatches.append(Mismatch(f"video of {one}", first.clusters[one], other.clusters[one]))
    return Aligned(
        ids=ids,
        clusters=tuple(first.clusters[id_] for id_ in ids),
        scores={run.label: [run.scores[id_] for id_ in ids] for run in runs},
        composition=_composition(first, ids),
        mismatches=mismatches,
    )


def _composition(run: ScoredRun, ids: Sequence[str]) -> Composition:
    """Return what a run's metric is made of, over these questions of it.

    Raises:
        DataError: None of the questions of a cell is among them.
    """
    from evalkit.stats import Composition

    place = {id_: number for number, id_ in enumerate(ids)}
    cells = {name: [place[id_] for id_ in members if id_ in place] for name, members in run.cells.items()}
    empty = [name for name, members in cells.items() if not members]
    if empty:
        raise DataError(
            f"the runs have no question of {', '.join(empty)} in common: they ran on different samples"
        )
    return Composition.of(cells, run.weights)


def _own(run: ScoredRun, other: ScoredRun) -> str:
    """Return how many questions a run has, and some that the other lacks."""
    own = sorted(run.asked - other.asked)
    named = ", ".join(own[:_NAMED]) + (" …" if len(own) > _NAMED else "")
    return f"{len(run.asked)} of which {len(own)} alone" + (f": {named}" if own else "")
