"""Line charts as inline SVG for the page: colours come from its style sheet, so they follow light and dark."""

from __future__ import annotations

__all__ = [
    "Chart",
    "cache_chart",
    "dial_charts",
    "line_chart",
    "pareto_charts",
    "replay_charts",
    "run_charts",
    "time_chart",
]

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from evalkit.records import TickTable
from evalkit.report.curves import Curve, bin_width, tick_curve
from evalkit.report.dial import SPEEDS, Dial, dial_of
from evalkit.report.latency import Floats, elapsed, memory_of, timed, token_latency
from evalkit.report.per_question import works_when_asked
from evalkit.report.plots import place_run
from evalkit.report.replay import Replay
from evalkit.report.replay_curves import replay_curves
from evalkit.report.runs import Run
from evalkit.report.tables import Estimate

WIDTH, HEIGHT = 640, 250
# Room for labels at the size they have on a phone, where the whole picture is scaled down.
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 14, 52
_BINS = 160
_STREAM_TIME = (60.0, "Stream time (min)")


@dataclass(frozen=True)
class Chart:
    """A drawn chart with the words around it."""

    title: str
    caption: str
    svg: str


def ticks_of(top: float, about: int = 5) -> list[float]:
    """Return round tick values from 0 to at most ``top``: steps of 1, 2 or 5 times a power of ten."""
    if top <= 0:
        return [0.0]
    raw = top / about
    power = 10 ** math.floor(math.log10(raw))
    step = next((part * power for part in (1, 2, 5) if part * power >= raw), 10 * power)
    return [round(place * step, 10) for place in range(int(top / step + 1e-9) + 1)]


def _points(line: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in line)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def _brief(value: float) -> str:
    """Return a tick value in at most five characters."""
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:.10g}"


def _axes(
    span: float, top: float, labels: tuple[str, str], across: str
) -> tuple[list[str], Callable[[float, float], tuple[float, float]]]:
    """Return the open SVG with grid and labels, and what places a point of drawn units in it.

    Args:
        span: Largest x.
        top: Largest y.
        labels: What the picture shows, and the y axis with its unit.
        across: The x axis with its unit.
    """

    def at(x: float, y: float) -> tuple[float, float]:
        wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
        return _LEFT + wide * x / span, _TOP + high * (1 - y / top)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" class="chart" xmlns="http://www.w3.org/2000/svg">',
        f"<title>{escape(labels[0])}</title>",
    ]
    for value in ticks_of(top):
        y = at(0, value)[1]
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(_text(_LEFT - 6, y + 5, _brief(value), "end"))
    for value in ticks_of(span, 6):
        parts.append(_text(at(value, 0)[0], HEIGHT - _BOTTOM + 20, f"{value:g}", "middle"))
    parts.append(_text((WIDTH + _LEFT - _RIGHT) / 2, HEIGHT - 8, across, "middle", "label"))
    middle = (HEIGHT - _BOTTOM + _TOP) / 2
    parts.append(
        f'<text transform="translate(17 {middle:.1f}) rotate(-90)" text-anchor="middle" class="label">'
        f"{escape(labels[1])}</text>"
    )
    return parts, at


def pareto_charts(runs: Sequence[Run]) -> list[Chart]:
    """Return the charts of score against time and against peak memory; none where no run has both.

    None either where runs have different main scores: no axis fits them all. Series are numbered as the runs are.
    """
    placed = [place_run(run) for run in runs]
    names = {found[1] for found in placed if found}
    if len(names) != 1:
        return []
    (score,) = names
    shown = [found[0] if found else None for found in placed]
    charts = []
    units = {one.unit for one in shown if one}
    time = "Time per question, median (s)" if "question" in units else "Time per second of stream, median (s)"
    for title, across, costs in (
        (
            "Score against time",
            time,
            [one.time.value if one and len(units) == 1 else None for one in shown],
        ),
        ("Score against memory", "Peak memory (GiB)", [one.memory if one else None for one in shown]),
    ):
        points = [
            (place, cost, one.score)
            for place, (one, cost) in enumerate(zip(shown, costs, strict=True))
            if one is not None and cost is not None
        ]
        if points:
            alt = f"{title} for {', '.join(one.name for one in shown if one)}"
            caption = f"{score}. Points: runs; bars: 95 % interval of the score. Up and left is better."
            charts.append(Chart(title, caption, _point_chart(points, (alt, "Score"), across)))
    return charts


def _point_chart(points: Sequence[tuple[int, float, Estimate]], labels: tuple[str, str], across: str) -> str:
    """Return the SVG of scores with their intervals over a cost; points are ``(series, cost, score)``."""
    span = 1.1 * max(cost for _, cost, _ in points) or 1.0
    top = 1.05 * max(score.high or score.value or 0.0 for *_, score in points) or 1.0
    parts, at = _axes(span, top, labels, across)
    for place, cost, score in points:
        x, y = at(cost, score.value or 0.0)
        if score.low is not None and score.high is not None:
            low, high = at(cost, score.low)[1], at(cost, score.high)[1]
            parts.append(f'<polyline points="{_points([(x, low), (x, high)])}" class="line s{place % 7}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="point s{place % 7}"/>')
    return "".join([*parts, "</svg>"])


def line_chart(
    lines: Sequence[Curve],
    *,
    scale: float,
    labels: tuple[str, str],
    limit: float | None = None,
    across: tuple[float, str] = _STREAM_TIME,
    top: float | None = None,
) -> str:
    """Return the SVG of medians with their bands over stream time, or over what ``across`` says.

    Args:
        lines: One curve per run; line k has the class ``s<k>``.
        scale: What values are multiplied with (1000 shows seconds as ms).
        labels: What the picture shows, for readers who do not see it, and the y axis with its unit.
        limit: A horizontal line, in the drawn unit (real time).
        across: What x values are divided by, and the label of the x axis with its unit.
        top: Where the y axis ends, in the drawn unit; just above the largest value by default.
    """
    span = max((line.x[-1] + line.width / 2 for line in lines if line.x), default=1.0) / across[0] or 1.0
    most = max((y * scale for line in lines for y in line.high), default=1.0)
    most = max(most, limit) if limit is not None and limit <= 3 * most else most
    # A little above the end, so that a line along it is seen whole.
    end = 1.02 * top if top is not None else 1.05 * most or 1.0
    parts, at = _axes(span, end, labels, across[1])
    for place, line in enumerate(lines):
        low = [at(x / across[0], y * scale) for x, y in zip(line.x, line.low, strict=True)]
        high = [at(x / across[0], y * scale) for x, y in zip(line.x, line.high, strict=True)]
        mid = [at(x / across[0], y * scale) for x, y in zip(line.x, line.mid, strict=True)]
        parts.append(f'<polygon points="{_points([*low, *reversed(high)])}" class="band s{place % 7}"/>')
        if len(mid) == 1:  # no line goes through one point
            parts.append(f'<circle cx="{mid[0][0]:.1f}" cy="{mid[0][1]:.1f}" r="4" class="point s{place % 7}"/>')
        else:
            parts.append(f'<polyline points="{_points(mid)}" class="line s{place % 7}"/>')
    if limit is not None and limit <= end:
        y = at(0, limit)[1]
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="limit"/>')
        parts.append(_text(WIDTH - _RIGHT, y - 4, "real time", "end"))
    return "".join([*parts, "</svg>"])


_TIME, _CACHE = "Time per second of stream", "Cache length"
_NO_TICKS = TickTable.of(())


def time_chart(runs: Sequence[Run]) -> Chart | None:
    """Return the chart of the time a second of stream takes, or ``None`` where no run has such seconds."""
    return next((chart for chart in run_charts(runs) if chart.title == _TIME), None)


def cache_chart(runs: Sequence[Run]) -> Chart | None:
    """Return the chart of the tokens in memory, or ``None`` where no run has them on record."""
    return next((chart for chart in run_charts(runs) if chart.title == _CACHE), None)


def run_charts(runs: Sequence[Run]) -> list[Chart]:
    """Return the charts of latency and memory over stream time; none where no run has ticks.

    A quantity that no run recorded (no tokens, no memory) has no chart, a run that sees its frames only with the
    questions no line. Series are numbered as the runs are.
    """
    tables = [_NO_TICKS if works_when_asked(run.records) else timed(run.records.ticks) for run in runs]
    if not any(map(len, tables)):
        return []
    width = bin_width(max(float(elapsed(ticks).max()) for ticks in tables if len(ticks)), _BINS)
    media = float(next(ticks.media[0] for ticks in tables if len(ticks)))
    spread = f"Line: median of {width:g} s; band: 5th to 95th percentile."
    wanted: tuple[tuple[str, str, Callable[[TickTable], Floats], float, float | None], ...] = (
        (_TIME, f"Seconds per {media:g} s", lambda ticks: ticks.total, 1, media),
        ("Time per token", "Milliseconds", token_latency, 1000, None),
        (_CACHE, "Tokens", lambda ticks: ticks.whole["cache_tokens"].astype(float), 1, None),
        ("Memory", "MiB", memory_of, 1, None),
    )
    charts = []
    for title, unit, values, scale, limit in wanted:
        lines = [
            tick_curve(run.label, ticks, values(ticks), width) for run, ticks in zip(runs, tables, strict=True)
        ]
        if any(y > 0 for line in lines for y in line.high):
            alt = f"{title} over stream time for {', '.join(run.label for run in runs)}"
            charts.append(Chart(title, spread, line_chart(lines, scale=scale, labels=(alt, unit), limit=limit)))
    return charts


def dial_charts(runs: Sequence[Run], replays: Sequence[Replay]) -> list[Chart]:
    """Return the charts of misses and accuracy against the machine's speed; none where no run is behind the clock.

    Args:
        runs: The runs; series are numbered as they are.
        replays: Each of them behind the clock.
    """
    dials = [dial_of(run, replay) for run, replay in zip(runs, replays, strict=True)]
    names = ", ".join(dial.name for dial in dials if dial)
    charts = []
    for title, unit, part in (
        ("Misses by machine speed", "Seconds missed (%)", "missed"),
        ("Accuracy by the deadline by machine speed", "Score (%)", "by_deadline"),
        ("Accuracy at emission by machine speed", "Answers right (%)", "at_emission"),
    ):
        lines = [_dialled(dial, part) for dial in dials]
        if any(line.x for line in lines):
            svg = line_chart(
                lines, scale=1, labels=(f"{title} for {names}", unit), across=(1.0, "Speed (1: as recorded)")
            )
            charts.append(Chart(title, "The same seconds on machines of other speeds, 0.25 to 8 times.", svg))
    return charts


def _dialled(dial: Dial | None, part: str) -> Curve:
    values = getattr(dial, part) if dial else ()
    known = [(speed, value) for speed, value in zip(SPEEDS, values, strict=False) if value is not None]
    x, y = tuple(speed for speed, _ in known), tuple(value for _, value in known)
    return Curve(dial.name if dial else "", 0.0, x, y, y, y, (1,) * len(x))


def replay_charts(replays: Sequence[Replay]) -> list[Chart]:
    """Return the charts of runs behind the clock; none where no run can be put there.

    Args:
        replays: One per run, in the order of the runs: series are numbered alike.
    """
    curves = replay_curves(replays, _BINS)
    if not curves:
        return []
    names = ", ".join(replay.name for replay in replays)
    spread = f"Line: median of {curves[0].service.width:g} s; band: 5th to 95th percentile."
    by_name = {one.service.name: one for one in curves}
    shown = [by_name.get(replay.name) for replay in replays]
    blank = Curve("", 0.0, (), (), (), (), ())
    chunk = replays[0].chunk
    charts = []
    for title, unit, lines, limit, across, caption in (
        ("Service time", f"Seconds per {chunk:g} s", [one.service if one else blank for one in shown], chunk,
         _STREAM_TIME, spread),
        ("Backlog", "Chunks", [one.backlog if one else blank for one in shown], None, _STREAM_TIME, spread),
        ("Real-time factor of the last minute", "RTF", [one.minute if one else blank for one in shown], 1.0,
         _STREAM_TIME, spread),
        ("Lag", "Seconds done (%)", [one.lag if one else blank for one in shown], None, (1.0, "Lag (s)"),
         f"Share of all seconds done within a lag; the deadline is {replays[0].deadline:g} s."),
    ):  # fmt: skip
        if any(line.x for line in lines):
            svg = line_chart(lines, scale=1, labels=(f"{title} for {names}", unit), limit=limit, across=across)
            charts.append(Chart(title, caption, svg))
    return charts
