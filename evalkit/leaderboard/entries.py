"""From a finished run to a row of its task's leaderboard, and the row into the file's content."""

from __future__ import annotations

__all__ = ["NewRow", "add_row", "empty_board", "row_of_run"]

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.errors import DataError, UsageError
from evalkit.leaderboard.answers import (
    common_judging,
    is_judged,
    judged_windows,
    require_finished,
    score_run,
    score_runs,
)
from evalkit.leaderboard.fingerprint import comparison_digest
from evalkit.leaderboard.latency import hardware
from evalkit.leaderboard.schema import COVERAGE_FLOOR, Entry, Leaderboard, RunSource, Setting
from evalkit.records import Metric, RunRecords
from evalkit.report.scores import scaled

if TYPE_CHECKING:
    from evalkit.stats import Estimate

_OF_RUNS = "run-"
_WIN_RATE = "win rate"
_TOTAL = "total"
# A total that is the plain mean over questions agrees with it up to rounding.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row and the setting it belongs to."""

    entry: Entry
    setting: Setting


@dataclass(frozen=True, slots=True)
class _Figures:
    """The numbers of a row; ``primary`` is the name of the one with the interval, in percent and points."""

    primary: str
    metrics: dict[str, float | None]
    n: int | None
    coverage: float | None
    clusters: int | None
    estimate: Estimate | None
    judged: tuple[str, str] | None = None


def slug(name: str) -> str:
    """Return a name as an id: lower case, other characters than letters, digits, dots and dashes as dashes.

    Raises:
        UsageError: Nothing of the name is left.
    """
    found = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")
    if not found:
        raise UsageError(f"a row cannot be named {name!r}: use letters or digits")
    return found


def row_of_run(
    run: RunRecords, *, name: str | None = None, baseline: str | None = None, judge: str | None = None
) -> NewRow:
    """Return the row of a finished run.

    Args:
        run: The run.
        name: What the table calls it; the model with its checkpoint by default. A row of the same name is
            replaced when it is added.
        baseline: For judged runs, whom it was judged against.
        judge: For judged runs, who judged.

    Raises:
        DataError: The run is not finished, has no answers or no scores, or its scores are not numbers.
        UsageError: A name without letters and digits.
    """
    manifest = run.manifest
    require_finished(run)
    score_runs({manifest.model: run}, baseline=baseline, judge=judge)
    figures = _judged(run, baseline, judge) if is_judged(run) else _scored(run)
    shown = name or _default_name(run)
    digest = comparison_digest(manifest.fingerprint, judged=figures.judged or ())
    setting = Setting(
        id=f"{_OF_RUNS}{digest}",
        title=_title(run, figures),
        note=f"Runs of evalkit that agree in everything but the model under test (setting {digest}).",
        primary=figures.primary,
        columns=tuple(figures.metrics),
    )
    estimate = figures.estimate

    def points(share: float | None) -> float | None:
        return None if share is None else round(100 * share, 6)

    noted = estimate.note if estimate else "no interval on record for this average"
    lacking = f"on {manifest.videos_lacking}" if manifest.videos_lacking else ""
    entry = Entry(
        id=slug(shown),
        name=shown,
        setting=setting.id,
        score="judged" if figures.judged else "strict",
        metrics={key: None if value is None else round(value, 6) for key, value in figures.metrics.items()},
        n=figures.n,
        coverage=None if figures.coverage is None else round(figures.coverage, 6),
        clusters=figures.clusters,
        se=points(estimate.se) if estimate else None,
        low=points(estimate.low) if estimate else None,
        high=points(estimate.high) if estimate else None,
        method=estimate.method if estimate else "",
        judge=figures.judged[1] if figures.judged else None,
        hardware=hardware(manifest) or None,
        date=(manifest.finished or manifest.started)[:10],
        fingerprint=manifest.fingerprint,
        fingerprint_digest=manifest.fingerprint_digest,
        source=RunSource(run=run.folder.path.resolve().name, model=manifest.model, git=manifest.git),
        note="; ".join(part for part in (lacking, noted) if part),
    )
    return NewRow(entry, setting)


def _default_name(run: RunRecords) -> str:
    checkpoint = run.manifest.fingerprint.get("model.checkpoint") or run.manifest.options.get("checkpoint")
    last = str(checkpoint or "").rstrip("/").rpartition("/")[2]
    return f"{run.manifest.model} ({last})" if last else run.manifest.model


def _title(run: RunRecords, figures: _Figures) -> str:
    if figures.judged:
        return f"Win rate against {figures.judged[0]}, judged by {figures.judged[1]}"
    fingerprint = run.manifest.fingerprint
    protocol = fingerprint.get("task.protocol") or fingerprint.get("protocol")
    return "Strict accuracy" + (f", {protocol} protocol" if protocol else "")


def _judged(run: RunRecords, baseline: str | None, judge: str | None) -> _Figures:
    from evalkit.stats import summarise_pairs

    judged = common_judging({run.manifest.model: run}, baseline, judge)
    summary = summarise_pairs(judged_windows(run, *judged))
    shares = {
        _WIN_RATE: summary.win_rate,
        "decided win rate": summary.decided_win_rate,
        "win rate by votes": summary.win_rate_votes,
        "ties": summary.tie_rate,
        "consistency": summary.consistency,
    }
    return _Figures(
        primary=_WIN_RATE,
        metrics={key: None if share is None else 100 * share for key, share in shares.items()},
        n=summary.pairs,
        coverage=summary.judged_pairs / summary.pairs,
        clusters=summary.clusters,
        estimate=summary.interval,
        judged=judged,
    )


def _scored(run: RunRecords) -> _Figures:
    path = run.folder.metrics_path
    if run.metrics is None:
        raise DataError(f"{run.folder.path} has no metrics.json: it was not scored", path=path)
    if run.metrics.fingerprint_digest != run.manifest.fingerprint_digest:
        raise DataError(f"{path} belongs to another run (its fingerprint differs from run.json)", path=path)
    strict = [metric for metric in run.metrics.metrics if metric.score == "strict"]
    headline = _headline(strict)
    if headline is None or headline.value is None:
        raise DataError(f"{path} holds no strict overall score (a part of the benchmark was not run)", path=path)
    official = _headline([metric for metric in run.metrics.metrics if metric.score == "official"])
    columns: dict[str, Metric] = {_TOTAL: headline}
    if official is not None:
        columns["official total"] = official
    for metric in strict:
        if metric.group:
            columns.setdefault(metric.name if metric.name != headline.name else metric.group, metric)
    for key, metric in columns.items():
        if metric.value is not None and not math.isfinite(metric.value):
            raise DataError(f"{path}: {key} is {metric.value}, no number", path=path)
    metrics = {key: scaled(metric)[0].value for key, metric in columns.items()}
    return _Figures(
        primary=_TOTAL,
        metrics=metrics,
        n=headline.n,
        coverage=headline.coverage,
        clusters=headline.clusters,
        estimate=_interval(run, headline, metrics[_TOTAL]),
    )


def _headline(metrics: Sequence[Metric]) -> Metric | None:
    overall = [metric for metric in metrics if not metric.group]
    return next((metric for metric in overall if metric.name == _TOTAL), overall[0] if overall else None)


def _interval(run: RunRecords, headline: Metric, value: float | None) -> Estimate | None:
    """Return the interval on record, or that of the plain mean where the total is one; None for other averages."""
    from evalkit.stats import Estimate, mean_by_cluster

    known = scaled(headline)[0]
    if value is not None and known.low is not None and known.high is not None:
        n, clusters = headline.n or 0, headline.clusters or 0
        low, high = known.low / 100, known.high / 100
        return Estimate(value / 100, None, low, high, n, clusters, None, None, headline.method, headline.note)
    scored = score_run(run.manifest.model, run)
    ids = list(scored.scores)
    mean = mean_by_cluster([scored.scores[id_] for id_ in ids], [scored.clusters[id_] for id_ in ids])
    return mean if value is not None and abs(100 * mean.value - value) < _ROUNDING else None


def empty_board(task: str) -> Leaderboard:
    """Return a leaderboard without rows."""
    return Leaderboard(task=task, title=task, coverage_floor=COVERAGE_FLOOR, settings=(), entries=())


def add_row(board: Leaderboard, row: NewRow) -> Leaderboard:
    """Return the board with the row added, in place of a row of the same id; settings without rows go.

    Raises:
        UsageError: The id is a published row's.
    """
    old = next((entry for entry in board.entries if entry.id == row.entry.id), None)
    if old is not None and old.source.kind == "published":
        raise UsageError(f"{old.id!r} is the id of a published row: give the run another name with --name")
    entries = (*(entry for entry in board.entries if entry is not old), row.entry)
    used = {entry.setting for entry in entries}
    known = next((setting for setting in board.settings if setting.id == row.setting.id), None)
    setting = row.setting
    if known is not None:
        columns = tuple(dict.fromkeys([*known.columns, *row.setting.columns]))
        setting = known.model_copy(update={"columns": columns})
    settings = [setting if one.id == setting.id else one for one in board.settings]
    if known is None:
        settings.append(setting)
    kept = tuple(one for one in settings if one.id in used or not one.id.startswith(_OF_RUNS))
    return Leaderboard(
        task=board.task,
        title=board.title,
        coverage_floor=board.coverage_floor,
        settings=kept,
        entries=tuple(sorted(entries, key=lambda entry: entry.id)),
    )
