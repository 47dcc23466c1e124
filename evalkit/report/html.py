"""Builds the report: one HTML file that opens from disk, asks nobody for anything, and treats all text as data."""

from __future__ import annotations

__all__ = ["Following", "build_report", "render_page"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from evalkit import __version__
from evalkit.leaderboard.finding import findings
from evalkit.records import Metric, RunRecords, collector_paused, write_atomic
from evalkit.report import summary
from evalkit.report.charts import Chart, dial_charts, pareto_charts, replay_charts, run_charts
from evalkit.report.media import (
    Thumbnails,
    find_video,
    local_videos,
    relative_url,
    sought_videos,
    thumbnail_reader,
    thumbnails_of,
)
from evalkit.report.over_time import opening_charts
from evalkit.report.pages import Page, environment, page_policy, static, trusted
from evalkit.report.payload import Block, build_payload, embed
from evalkit.report.replay import ReplaySettings, replay_run
from evalkit.report.replay_table import replay_tables
from evalkit.report.runs import Run, load_runs
from evalkit.report.scores import coverage_counts, headline, percent, scaled, score_name
from evalkit.report.verdicts import contests

_MEDIA = "media-src 'self' file:; form-action 'none'"
"""A page plays videos beside it, and nothing else comes from anywhere."""


@dataclass(frozen=True)
class Following:
    """How a page follows a run that goes on.

    Args:
        seconds: Between looks at whether the records have grown.
        stamp: What the records were when the page was made.
    """

    seconds: float
    stamp: str


def _drawn(charts: Sequence[Chart]) -> list[tuple[Chart, Markup]]:
    """Return charts with their SVG as markup; texts in it are escaped."""
    return [(chart, Markup(chart.svg)) for chart in charts]  # noqa: S704


def render_page(
    runs: Sequence[Run],
    video_url: Callable[[str, Path], str | None],
    thumbnails: Thumbnails | None = None,
    follows: Following | None = None,
) -> Page:
    """Render the report of runs already read.

    Args:
        runs: Runs of one task, the one under test first.
        video_url: Gives the address under which the page finds a video, from its name and path; ``None`` where it
            cannot.
        thumbnails: Gives pictures of videos that are not at hand.
        follows: Of a page that is served while a run goes on; ``None`` for a page that stands.
    """
    found = {name: video_url(name, path) for name, path in local_videos(runs).items()}
    urls = {name: url for name, url in found.items() if url is not None}
    payload = build_payload(runs, lambda cluster, sample: find_video(urls, cluster, sample))
    pictures, left_out = thumbnails_of(thumbnails, payload.unseen)
    lines = summary.notices(runs)
    if left_out:
        lines.append(f"{left_out} seconds have no thumbnail: a page holds only so many.")
    early, style = static("theme.js"), static("report.css")
    script = static("colours.js") + static("follow.js") + static("timeline.js") + static("report.js")
    policy = page_policy((early, script), style, _MEDIA if follows is None else f"{_MEDIA}; connect-src 'self'")
    replays = [replay_run(run, ReplaySettings()) for run in runs]
    on_clock = any(replay.streams for replay in replays)
    places = {"video_urls": urls, "sought": sought_videos(runs)}
    opening = opening_charts(runs)
    has_timelines, questions = bool(payload.timelines), payload.index["questions"]["n"]
    html = (
        environment()
        .get_template("report.html.jinja")
        .render(
            title=f"{runs[0].records.manifest.task}: {', '.join(run.label for run in runs)}",
            task=runs[0].records.manifest.task,
            runs=runs,
            notices=lines,
            findings=findings(runs),
            opening=_drawn(opening),
            **_tables(runs),
            charts=_drawn([one for one in (*run_charts(runs), *pareto_charts(runs)) if one not in opening]),
            clock=replay_tables(runs, replays) if on_clock else [],
            clock_charts=_drawn([*replay_charts(replays), *dial_charts(runs, replays)]),
            headline=_headline(runs),
            timelines=len(payload.timelines),
            questions=questions,
            has_samples=has_timelines or questions,
            policy=policy,
            follows=follows,
            version=__version__,
            script=trusted(script),
            early=trusted(early),
            style=trusted(style),
            index=_trusted_block(
                embed({**payload.index, **places, "thumbnails": pictures, "follows": follows is not None})
            ),
            timeline_data=[_trusted_block(timeline) for timeline in payload.timelines],
        )
    )
    return Page(html.encode("utf-8", "replace").decode(), policy)


def _trusted_block(block: Block) -> Block:
    """Mark a block as safe: `embed` leaves no character in it that could end its element."""
    return replace(block, text=Markup(block.text))  # noqa: S704


def _headline(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return a card for each run that has a main score: the score in large figures, and what qualifies it."""
    cards = []
    for place, run in enumerate(runs):
        main = headline(run)
        if main is None:
            continue
        side = main.name, main.group
        official = next((m for m in run.metrics if m.score == "official" and (m.name, m.group) == side), None)
        cards.append(
            {
                "place": place,
                "label": run.label,
                "name": score_name(main),
                "value": _figure(main),
                "interval": _interval(main),
                "official": _figure(official) if official else None,
                "n": main.n,
                "clusters": main.clusters,
                "coverage": percent(main.coverage) if main.coverage is not None else None,
                "judge": _judge(run, main),
                "digest": run.records.manifest.fingerprint_digest[:8],
            }
        )
    return cards


def _tables(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the tables of the page by the names that its template has for them."""
    return {
        "scores": summary.score_tables(runs),
        "groups": summary.group_tables(runs),
        "judging": summary.judge_table(runs),
        "coverage": summary.coverage_table(runs) if _not_all_answered(runs) else None,
        "failures": summary.failure_tables(runs),
        "latency": summary.latency_tables(runs),
        "setup": summary.setup_table(runs),
        "fingerprint": summary.fingerprint_table(runs),
    }


def _not_all_answered(runs: Sequence[Run]) -> bool:
    """Whether any answer was unparsed, failed or dropped: otherwise a table of answers says nothing."""
    counts = [coverage_counts(run.records.answers) for run in runs]
    return any(count for one in counts for state, count in one.items() if state != "answered")


def _judge(run: Run, main: Metric) -> str | None:
    """Return who judged, where the card shows a win rate: a judge that is no language model is named as such."""
    if main.name != "win_rate":
        return None
    baseline, _, judge = main.group.removeprefix("vs ").partition(", judge ")
    named = {
        contest.baseline: contest.judge_label
        for contest in contests(run.records.verdicts)
        if contest.judge.startswith(judge)
    }
    return named.get(baseline) or main.note or None


def _figure(metric: Metric) -> str | None:
    estimate, unit = scaled(metric)
    return None if estimate.value is None else f"{estimate.value:.2f} {unit}".strip()


def _interval(metric: Metric) -> str | None:
    estimate, unit = scaled(metric)
    return (
        None
        if estimate.low is None or estimate.high is None
        else f"{estimate.low:.2f} – {estimate.high:.2f} {unit}"
    )


def build_report(
    runs: Sequence[Path | RunRecords], out: Path, *, thumbnails: Path | Thumbnails | None = None
) -> Path:
    """Write the report of one or more runs of a task as a single file without external requests.

    Args:
        runs: Run folders, or runs as read, the run under test first.
        out: The file to write; its folder is made if missing. Videos are linked relative to it.
        thumbnails: For videos that are not on this machine: a folder ``<video>/<second>.jpg`` or a callable
            that gives the picture of a video at a second; they are embedded.

    Returns:
        ``out``.

    Raises:
        UsageError: A missing folder, or runs of different tasks.
        DataError: A folder is not a run's, or a newer evalkit wrote it.
    """
    with collector_paused():
        loaded = load_runs(runs)
        page = render_page(loaded, lambda _, path: relative_url(path, out), thumbnail_reader(thumbnails))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, page.html)
    return out
