"""Plots for papers from run folders: what is drawn, its caption, and its data as CSV beside it."""

from __future__ import annotations

__all__ = ["PLOT_KINDS", "Placed", "Plot", "draw_plot", "place_run", "plot_runs", "write_plot"]

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from evalkit.errors import NothingCountedError, UsageError, suggest
from evalkit.records import Metric, RunRecords, write_atomic
from evalkit.report.curves import bin_width, tick_curve
from evalkit.report.latency import elapsed, summarize_ticks, timed, token_latency
from evalkit.report.per_question import question_costs, works_when_asked
from evalkit.report.runs import Run, load_runs, mismatch_notice
from evalkit.report.scores import coverage_counts, group_label, headline, scaled, score_name
from evalkit.report.tables import Cell, Column, Estimate, Table, to_csv
from evalkit.report.verdicts import Contest, contests, slot_rates, win_rate
from evalkit.shown import videos_of
from evalkit.stats.one import Estimate as Statistic
from evalkit.timing import percentiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 120


@dataclass(frozen=True)
class Plot:
    """A drawn figure with its caption and its data."""

    figure: Figure
    caption: str
    data: Table


def _percent(estimate: Statistic | None) -> Estimate:
    if estimate is None:
        return Estimate(None)
    low, high = (None if end is None else 100 * end for end in (estimate.low, estimate.high))
    return Estimate(100 * estimate.value, low, high)


def _contests(run: Run) -> list[Contest]:
    return [] if run.unfinished else contests(run.records.verdicts, run.label)


def _latency(runs: Sequence[Run]) -> Plot | None:
    from evalkit.report import figures

    streamed = [run for run in runs if not works_when_asked(run.records)]
    tables = {run.label: table for run in streamed if len(table := timed(run.records.ticks))}
    if not tables:
        return None
    width = bin_width(max(float(elapsed(table).max()) for table in tables.values()), _BINS)
    seconds = [tick_curve(name, table, table.total, width) for name, table in tables.items()]
    tokens = [tick_curve(name, table, token_latency(table), width) for name, table in tables.items()]
    with_tokens = any(line.x for line in tokens)
    figure, axes = figures.new_figure(3.2 if with_tokens else 2.1, 2 if with_tokens else 1)
    media = float(next(iter(tables.values())).media[0])
    per = "1 s of stream" if media == 1 else f"{media:g} s of stream"
    figures.curves(axes[0], seconds, scale=1, label=f"Time per {per} (s)", limit=(media, "real time"))
    if with_tokens:
        figures.curves(axes[1], tokens, scale=1000, label="Time per token (ms)", limit=None)
    axes[-1].set_xlabel("Stream time (min)")
    figures.legend(axes[0])
    rows: list[tuple[Cell, ...]] = [
        (line.name, quantity, x, mid, low, high, n)
        for quantity, lines in (("second", seconds), ("token", tokens))
        for line in lines
        for x, mid, low, high, n in zip(line.x, line.mid, line.low, line.high, line.n, strict=True)
    ]
    columns = (
        Column("Model", text=True),
        Column("Time per", text=True),
        Column("Stream time", "s", digits=1),
        *(Column(name, "s", digits=6) for name in ("Median", "p5", "p95")),
        Column("n"),
    )
    counts = ", ".join(f"{name}: {len(table)}" for name, table in tables.items())
    token = "Time per token: (vision encode + prefill + generate) / tokens of that second. " if with_tokens else ""
    left_out = ", ".join(run.label for run in runs if run not in streamed)
    unseen = f" Left out, because the frames are seen only with the questions: {left_out}." if left_out else ""
    caption = (
        f"Service time over stream time. Lines: median of bins of {width:g} s; bands: 5th to 95th percentile. "
        f"{token}Seconds, n: {counts}.{unseen}"
    )
    return Plot(figure, caption, Table(caption, columns, tuple(rows)))


def _by_video(contest: Contest) -> tuple[float, ...]:
    videos = defaultdict(list)
    for pair in contest.counted():
        videos[pair.cluster].append(pair)
    rates = [win_rate(pairs) for _, pairs in sorted(videos.items())]
    return tuple(100 * rate.value for rate in rates if rate)


def _winrate(runs: Sequence[Run]) -> Plot | None:
    from evalkit.report import figures

    rated = [(contest, rate) for run in runs for contest in _contests(run) if (rate := win_rate(contest.pairs))]
    if not rated:
        return None
    judges = list(dict.fromkeys(contest.judge_label for contest, _ in rated))
    bars = [
        figures.Bar(
            contest.judge_label, f"{contest.model} vs {contest.baseline}", _percent(rate), _by_video(contest)
        )
        for contest, rate in rated
    ]
    figure, (axis,) = figures.new_figure(0.95 + 0.34 * len(bars))
    figures.bars(axis, bars, label="Win rate, ties one half (%)", middle=50)
    axis.set_xlim(0, 100)
    columns = (
        *(Column(name, text=True) for name in ("Model", "Baseline", "Judge")),
        Column("Win rate", "%", digits=2, interval=True),
        *(Column(name) for name in ("Pairs", "Videos", "Left out")),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (c.model, c.baseline, c.judge_label, _percent(rate), rate.n, rate.clusters, len(c.pairs) - rate.n)
        for c, rate in rated
    )
    n = "; ".join(
        f"{c.model} vs {c.baseline}: n = {rate.n} pairs of {videos_of(rate.clusters)}, {len(c.pairs) - rate.n} "
        "left out as invalid or half judged"
        for c, rate in rated
    )
    notes = " ".join(dict.fromkeys(f"{rate.note[0].upper()}{rate.note[1:]}." for _, rate in rated if rate.note))
    caption = (
        f"Win rate in pairwise judging (both orders, ties one half) with 95 % intervals clustered by video; dots "
        f"are single videos. Judge: {', '.join(judges)}. {n}. {notes}"
    ).strip()
    if len(judges) == 1:
        figures.title(axis, f"Judge: {judges[0]}")
    return Plot(figure, caption, Table(caption, columns, rows))


def _accuracy(runs: Sequence[Run]) -> Plot | None:
    from evalkit.report import figures

    bars: list[figures.Bar] = []
    rows: list[tuple[Cell, ...]] = []
    for run in runs:
        official = {
            (metric.name, metric.group): scaled(metric)[0].value
            for metric in run.metrics
            if metric.score == "official"
        }
        for metric in run.metrics:
            estimate, unit = scaled(metric)
            if metric.score == "strict" and estimate.value is not None and unit == "%":
                other = official.get((metric.name, metric.group))
                group = _brief_group(metric, run.records.manifest.task)
                bars.append(figures.Bar(run.label, group, estimate, mark=other))
                rows.append((run.label, group, estimate, other, metric.n, metric.clusters))
    if not bars:
        return None
    groups = len({bar.group for bar in bars})
    figure, (axis,) = figures.new_figure(0.9 + groups * max(0.2, 0.11 * len(runs)))
    figures.bars(axis, bars, label="Score (%)")
    axis.set_xlim(0, 100)
    columns = (
        *(Column(name, text=True) for name in ("Model", "Group")),
        Column("Strict", "%", digits=2, interval=True),
        Column("Official", "%", digits=2),
        *(Column(name) for name in ("n", "Videos")),
    )
    sizes = ", ".join(f"{group}: {n}" for group, n in {row[1]: row[4] for row in rows}.items() if n is not None)
    diamonds = " Diamonds: the score by the benchmark's own parser." if any(bar.mark for bar in bars) else ""
    caption = f"Strict score by task with 95 % intervals.{diamonds} Questions, n: {sizes}."
    return Plot(figure, caption, Table(caption, columns, tuple(rows)))


def _brief_group(metric: Metric, task: str) -> str:
    """Return the name of a bar: a sub-task's abbreviation where it has one, else its name."""
    name = group_label(metric, task)
    return metric.name if name.endswith(f"({metric.name})") else name


def _quality(run: Run) -> tuple[Estimate, str, int | None] | None:
    """Return the score a run is placed by, its name, and n."""
    metric = headline(run)
    if metric and metric.name != "win_rate":
        estimate, unit = scaled(metric)
        return estimate, f"{score_name(metric)} ({unit})" if unit else score_name(metric), metric.n
    for contest in _contests(run):
        rate = win_rate(contest.pairs)
        if rate:
            judge = f", judge {contest.judge_label}" if contest.offline else ""
            return _percent(rate), f"Win rate vs {contest.baseline} (%){judge}", rate.n
    return None


@dataclass(frozen=True)
class Placed:
    """A run by what it scores and costs.

    Args:
        name: Of the run.
        score: Main score with its interval.
        n: Questions or pairs.
        time: Seconds per second of stream, or per question: median, to the 95th percentile.
        memory: Peak, GiB; ``None`` where none is on record.
        seconds: Seconds on record, or questions.
        unit: What the time is of: ``question`` where the model sees its frames only then.
    """

    name: str
    score: Estimate
    n: int | None
    time: Estimate
    memory: float | None
    seconds: int
    unit: Literal["second", "question"] = "second"

    def beaten_by(self, other: Placed) -> bool:
        """Whether another run is at least as good in everything and better in something."""
        mine, theirs = (
            ((one.time.value or 0.0), one.memory or 0.0, -(one.score.value or 0.0)) for one in (self, other)
        )
        return theirs != mine and all(a <= b for a, b in zip(theirs, mine, strict=True))


def place_run(run: Run) -> tuple[Placed, str] | None:
    """Return where a run stands and what its score is called."""
    quality, summary = _quality(run), summarize_ticks(run.label, run.records.ticks)
    asked = works_when_asked(run.records)
    time = percentiles(question_costs(run.records).seconds) if asked else summary.per_second
    if not quality or time is None or quality[0].value is None:
        return None
    memory = summary.peak_mib or summary.rss_mib
    spread = Estimate(time.p50, time.p50, time.p95)
    gib = memory / 1024 if memory else None
    return Placed(
        run.timed_label, quality[0], quality[2], spread, gib, time.n, "question" if asked else "second"
    ), quality[1]


def _pareto(runs: Sequence[Run]) -> Plot | None:
    from evalkit.report import figures

    found = [one for run in runs if (one := place_run(run))]
    if not found:
        return None
    names = dict.fromkeys(name for _, name in found)
    if len(names) > 1:
        raise UsageError(
            f"these runs have different main scores ({', '.join(names)}), so no axis fits them all; "
            "judge every run against the same baseline"
        )
    (score,), placed = names, [one for one, _ in found]
    units = {one.unit for one in placed}
    if len(units) > 1:
        asked = ", ".join(one.name for one in placed if one.unit == "question")
        raise UsageError(
            f"{asked}: the frames are seen only with the questions, so no axis fits their time and that of a "
            "second of stream: plot them apart"
        )
    (unit,) = units
    remembered = all(one.memory is not None for one in placed)
    figure, axes = figures.new_figure(4.4 if remembered else 2.5, 2 if remembered else 1, share=False)
    times = {one.name: (one.time, one.score) for one in placed}
    figures.points(
        axes[0], times, labels=(f"Time per {unit}{' of stream' if unit == 'second' else ''} (s)", score)
    )
    if remembered:
        sizes = {one.name: (Estimate(one.memory), one.score) for one in placed}
        figures.points(axes[1], sizes, labels=("Peak memory (GiB)", score), named=False)
    columns = (
        Column("Model", text=True),
        Column(f"{unit.capitalize()} p50", "s", digits=6),
        Column(f"{unit.capitalize()} p95", "s", digits=6),
        Column("Peak", "GiB", digits=6),
        Column("Score", digits=3, interval=True),
        Column("n"),
        Column(f"{unit.capitalize()}s"),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (one.name, one.time.value, one.time.high, one.memory, one.score, one.n, one.seconds) for one in placed
    )
    counts = "; ".join(
        f"{one.name}: n = {one.n if one.n is not None else 'unknown'}, {one.seconds} {unit}s" for one in placed
    )
    best = ", ".join(one.name for one in placed if not any(one.beaten_by(other) for other in placed))
    together = f" No run beats in score, time{' and memory' if remembered else ''} together: {best}."
    costs = "service time and peak memory" if remembered else "service time"
    caption = (
        f"{score} against {costs}. Points: median {unit}, bar to its 95th percentile; vertical bars: 95 % "
        f"interval of the score; line: runs no other run beats.{together} {counts}."
    )
    return Plot(figure, caption, Table(caption, columns, rows))


def _bias(runs: Sequence[Run]) -> Plot | None:
    from evalkit.report import figures

    bars: list[figures.Bar] = []
    rows: list[tuple[Cell, ...]] = []
    texts = []
    found = [contest for run in runs for contest in _contests(run)]
    several = len({contest.model for contest in found}) < len(found)
    for contest in found:
        name = f"{contest.model} vs {contest.baseline}, judged by {contest.judge_label}"
        for place, rate in slot_rates(contest.pairs).items():
            label = "votes for first slot" if place == "first slot" else f"wins {place}"
            bars.append(figures.Bar(name if several else contest.model, label, _percent(rate)))
            rows.append((name, label, _percent(rate), rate.n, rate.clusters))
        summary = contest.summary()
        if summary.consistency is not None:
            same = f"same winner in both orders {100 * summary.consistency:.1f} %"
            texts.append(f"{name}: n = {summary.judged_pairs} pairs, {same}")
    if not bars:
        return None
    series = len({bar.series for bar in bars})
    figure, (axis,) = figures.new_figure(1.1 + 0.4 * series)
    figures.bars(axis, bars, label="Votes (%)", middle=50)
    axis.set_xlim(0, 100)
    columns = (
        *(Column(name, text=True) for name in ("Contest", "Share")),
        Column("Votes", "%", digits=2, interval=True),
        *(Column(name) for name in ("n", "Videos")),
    )
    caption = f"What the place on the page does to votes, with 95 % intervals by video. {'; '.join(texts)}."
    return Plot(figure, caption, Table(caption, columns, tuple(rows)))


def _coverage(runs: Sequence[Run]) -> Plot | None:
    from evalkit.report import figures

    counted = {run.label: coverage_counts(run.records.answers) for run in runs if run.records.answers}
    if not counted:
        return None
    shares = {
        name: {part: 100 * count / sum(counts.values()) for part, count in counts.items()}
        for name, counts in counted.items()
    }
    figure, (axis,) = figures.new_figure(0.95 + 0.28 * len(shares))
    figures.stacks(axis, shares, label="Answers on record (%)")
    columns = (
        Column("Model", text=True),
        *(Column(part.capitalize()) for part in next(iter(counted.values()))),
        Column("Coverage", "%", digits=2),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, *counts.values(), shares[name]["answered"]) for name, counts in counted.items()
    )
    n = ", ".join(f"{name}: n = {sum(counts.values())}" for name, counts in counted.items())
    caption = (
        "Coverage: answers that were read, could not be parsed, failed, or are of a second that was dropped "
        f"(a count, so without interval). {n}."
    )
    return Plot(figure, caption, Table(caption, columns, rows))


def _replayed(kind: str) -> Callable[[Sequence[Run]], Plot | None]:
    """Return what draws runs behind the clock as `evalkit replay` sets it by default."""

    def draw(runs: Sequence[Run]) -> Plot | None:
        from evalkit.report.replay import ReplaySettings, replay_run
        from evalkit.report.replay_plots import REPLAY_PLOTS

        return REPLAY_PLOTS[kind]([replay_run(run, ReplaySettings()) for run in runs])

    return draw


def _dial(runs: Sequence[Run]) -> Plot | None:
    from evalkit.report.dial import dial_plot
    from evalkit.report.replay import ReplaySettings, replay_run

    return dial_plot(runs, [replay_run(run, ReplaySettings()) for run in runs])


_KINDS: dict[str, tuple[Callable[[Sequence[Run]], Plot | None], str]] = {
    "latency": (_latency, "no seconds with times; frames that are seen only with the questions have none"),
    "winrate": (_winrate, "no pair judged in both orders; judge the run first (evalkit judge)"),
    "accuracy": (_accuracy, "no strict scores in metrics.json"),
    "pareto": (_pareto, "no run with both a score and ticks"),
    "bias": (_bias, "no valid verdicts; judge the run first (evalkit judge)"),
    "coverage": (_coverage, "no answers"),
    "backlog": (_replayed("backlog"), "no whole stream with service times (evalkit replay says why)"),
    "lag": (_replayed("lag"), "no whole stream with service times (evalkit replay says why)"),
    "dial": (_dial, "no whole stream with service times (evalkit replay says why)"),
    "horizon": (_replayed("horizon"), "no whole stream of a minute or more with service times"),
}
PLOT_KINDS = tuple(_KINDS)


def draw_plot(runs: Sequence[Run], kind: str) -> Plot:
    """Draw one figure of runs already read.

    Args:
        runs: The runs.
        kind: One of ``PLOT_KINDS``.

    Raises:
        UsageError: The runs have nothing of this kind to draw.
        NothingCountedError: There are verdicts, and none that counts.
    """
    draw, missing = _KINDS[kind]
    plot = draw(runs)
    if plot is None:
        names = ", ".join(run.label for run in runs)
        withheld = " ".join(run.unfinished for run in runs if run.unfinished)
        if any(run.records.verdicts for run in runs) and kind in ("winrate", "bias"):
            raise NothingCountedError(f"nothing to draw for {kind!r} in {names}: no verdict can be read")
        raise UsageError(f"nothing to draw for {kind!r} in {names}: {missing}. {withheld}".strip())
    return plot


def plot_runs(runs: Iterable[Path | RunRecords], kind: str, out: Path) -> list[Path]:
    """Draw one figure from run folders.

    Args:
        runs: Run folders of one task, or runs as read.
        kind: One of ``PLOT_KINDS``.
        out: Folder that gets ``<kind>.pdf``, ``.svg``, ``.png``, ``.csv`` (the data) and ``.caption.txt``.

    Returns:
        The files written; the same runs give the same bytes.

    Raises:
        UsageError: An unknown kind, or the runs have nothing of this kind to draw.
        DataError: A folder is not a readable run.
        NothingCountedError: There are verdicts, and none that counts.
    """
    if kind not in _KINDS:
        raise UsageError(f"unknown plot {kind!r}: one of {', '.join(_KINDS)}{suggest(kind, _KINDS)}")
    loaded = load_runs(runs, ticks=kind in ("latency", "pareto", "backlog", "lag", "dial", "horizon"))
    plot = draw_plot(loaded, kind)
    notices = [line for line in (mismatch_notice(loaded), *(run.unfinished for run in loaded)) if line]
    return write_plot(plot, kind, out, notices)


def write_plot(plot: Plot, name: str, out: Path, notices: Sequence[str] = ()) -> list[Path]:
    """Write a plot as PDF, SVG and PNG, its data as CSV and its caption as text.

    Args:
        plot: The plot.
        name: Stem of its files.
        out: Folder for them; made if missing.
        notices: Lines below the caption.

    Returns:
        The files written.
    """
    from evalkit.report import figures

    out.mkdir(parents=True, exist_ok=True)
    paths = figures.save(plot.figure, out / name)
    texts = {f"{name}.csv": to_csv(plot.data), f"{name}.caption.txt": "\n".join([plot.caption, *notices]) + "\n"}
    for file, text in texts.items():
        write_atomic(out / file, text)
    return [*paths, *(out / file for file in texts)]
