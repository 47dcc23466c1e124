"""The runs below a folder, as a page: task, model, date, state, score with interval, and what to compare."""

from __future__ import annotations

__all__ = ["RunRow", "find_runs", "render_index", "row_of"]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import DataError
from evalkit.records import Metric, RunFolder, RunManifest
from evalkit.report.pages import Page, environment, page_policy, static, trusted
from evalkit.report.scores import main_score, scaled, score_name

_DEPTH = 6
"""Folders below which runs are looked for; ``runs/TASK/MODEL/RUN/seed-1`` are five."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it is listed.

    Args:
        number: Its number in the page's addresses.
        path: Folder, below the one that is listed.
        task: Benchmark.
        model: Model.
        started: When, UTC.
        state: ``done``, ``running`` ...; ``unreadable`` where ``run.json`` cannot be read.
        failed: Samples that failed.
        figure: Name of its main score.
        score: The score with its interval, as it is shown.
        latency: Median seconds that a stream second or a question took, as it is shown.
        note: What is wrong with an unreadable one.
    """

    number: int
    path: str
    task: str = ""
    model: str = ""
    started: str = ""
    state: str = "unreadable"
    failed: int = 0
    figure: str = ""
    score: str = ""
    latency: str = ""
    note: str = ""

    @property
    def short_path(self) -> str:
        """The path without the task and the model it begins with, which stand beside it."""
        return self.path.removeprefix(f"{self.task}/{self.model}/")


def find_runs(folder: Path) -> list[Path]:
    """Return every run folder below a folder, in order of their paths; runs inside a run are found too."""
    found = []
    for path in folder.rglob("run.json"):
        below = path.relative_to(folder).parts
        if len(below) <= _DEPTH and not any(part.startswith(".") for part in below):
            found.append(path.parent)
    return sorted(found)


def row_of(number: int, run: Path, folder: Path) -> RunRow:
    """Return how a run is listed; its large records are not read."""
    name = str(run.relative_to(folder))
    try:
        manifest = RunFolder(run).read_manifest()
        metrics = RunFolder(run).read_metrics()
    except DataError as error:
        return RunRow(number, name, note=str(error))
    known = () if metrics is None or manifest.status != "done" else metrics.metrics
    figure = main_score(known)
    return RunRow(
        number,
        name,
        manifest.task,
        manifest.model,
        manifest.started[:16].replace("T", " "),
        _state(manifest),
        len(manifest.failed),
        "" if figure is None else score_name(figure),
        "" if figure is None else _shown(figure),
        _latency(known),
    )


def _state(manifest: RunManifest) -> str:
    return (
        f"done, {len(manifest.failed)} failed"
        if manifest.status == "done" and manifest.failed
        else manifest.status
    )


def _latency(metrics: Sequence[Metric]) -> str:
    """Return the median second, or the median question where a run's model works only when asked."""
    medians = {metric.name: metric.value for metric in metrics if metric.group == "p50"}
    for name, of in (("latency_per_second", "a second"), ("latency_per_question", "a question")):
        value = medians.get(name)
        if value is not None:
            return f"{value:.3f} s {of}"
    return ""


def _shown(metric: Metric) -> str:
    estimate, unit = scaled(metric)
    if estimate.value is None:
        return ""
    spread = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.1f}, {estimate.high:.1f}]"
    return f"{estimate.value:.1f}{spread}{' %' if unit == '%' else ''}"


def render_index(rows: Sequence[RunRow], folder: str) -> Page:
    """Return the page of some runs, the newest first.

    Args:
        rows: The runs.
        folder: What is listed, for the heading.
    """
    newest = sorted(rows, key=lambda row: row.started, reverse=True)
    early, style = static("theme.js"), static("report.css")
    script = static("colours.js") + static("index.js")
    policy = page_policy((early, script), style, "form-action 'self'")
    html = (
        environment()
        .get_template("index.html.jinja")
        .render(
            rows=newest,
            folder=folder,
            policy=policy,
            going=any(row.state == "running" for row in rows),
            early=trusted(early),
            style=trusted(style),
            script=trusted(script),
        )
    )
    return Page(html, policy)
