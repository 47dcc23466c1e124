"""The table of a replay (one row per policy) and its JSON; what cannot be said is a cell that says why."""

from __future__ import annotations

__all__ = ["brief_table", "live_run", "replay_json", "replay_notes", "replay_table", "replay_tables"]

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from evalkit.records import Metric
from evalkit.report.alignment import LEAST_SECONDS, Alignment, narration_lag
from evalkit.report.emission import Accuracies, AnswerFigures, accuracies, answer_figures, capped_score
from evalkit.report.growth import growth_json
from evalkit.report.latency import summarize_ticks
from evalkit.report.live import LiveClock, live_clock, live_json, live_note
from evalkit.report.replay import MissRate, Replay
from evalkit.report.runs import LATENCY_MARKS, Run
from evalkit.report.scores import coverage_counts, headline, scaled, score_name
from evalkit.report.tables import Cell, Column, Estimate, Table
from evalkit.timing import STAGES, Percentiles, needed_for_percentile

_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

_COLUMNS = (
    Column("Policy", text=True),
    Column("Accuracy offline", digits=2, interval=True),
    Column("Accuracy at emission", text=True),
    Column("Accuracy by deadline", digits=2, interval=True),
    Column("Coverage", "%", digits=1),
    Column("Seconds", digits=0),
    *(Column(f"RTF {name}") for name in _SHARES),
    Column("Missed", "%", digits=2, interval=True),
    Column("Missed in warm-up", text=True),
    *(Column(f"Lag {name}", "s") for name in ("p50", "p95", "max")),
    Column("Backlog max", "seconds", digits=0),
    Column("Dropped", "seconds", digits=0),
    Column("Falls behind at", text=True),
    *(
        Column(f"First token {name}", "s")
        for name in ("engine p50", "request p50", "request p95", "perceptual p50")
    ),
    *(Column(f"TPOT {name}", "ms", digits=1) for name in _SHARES),
    *(Column(f"ITL {name}", "ms", digits=1) for name in _SHARES),
    Column("Staleness p50", "s"),
    Column("Alignment lag", "s", text=True),
    Column("Peak", "GiB", digits=2),
    Column("Growth", "MiB/min", digits=2, interval=True),
    Column("Vision", "tokens/s", digits=0),
    Column("Cache max", "tokens", digits=0),
    *(Column(f"Stage {stage.replace('_', ' ')}", "%", digits=0) for stage in STAGES),
)


def live_run(run: Run, replay: Replay) -> str | None:
    """Return the command that measures what the replay had to take for granted; ``None`` where it took nothing."""
    if not replay.notes:
        return None
    options, settings = run.records.manifest.options, replay.settings
    words = ["evalkit", "run", "--task", run.records.manifest.task, "--model", run.records.manifest.model]
    for name in ("data", "checkpoint", "protocol", "compress"):
        words += [f"--{name}", str(options[name])] if options.get(name) else []
    given = options.get("settings") or {}
    changed = {key: value for key, value in given.items() if key != "task.fps" or settings.fps is None}
    words += ["--pace", "realtime", "--overload", settings.overload]
    for key, value in changed.items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    if settings.fps is not None:
        words += ["--set", f"task.fps={settings.fps:g}"]
    command = shlex.join(words)
    return command if settings.hardware == 1 else f"{command} on the machine meant"


def _figure(found: Percentiles | None, name: str, scale: float = 1.0) -> Cell:
    """Return a percentile, or how many seconds it would have to rest on."""
    if found is None:
        return None
    needed = needed_for_percentile(_SHARES[name])
    return scale * getattr(found, name) if found.n >= needed else f"n<{needed}"


def _missed(rate: MissRate) -> Estimate:
    if rate.rate is None:
        return Estimate(None)
    return Estimate(100 * rate.rate, *(None if end is None else 100 * end for end in (rate.low, rate.high)))


def _behind(replay: Replay) -> str:
    if not replay.streams:
        return "–"
    at = replay.behind_at()
    if at is not None:
        return f"{at:.0f} s"
    return f"not in {replay.horizon:.0f} s" if replay.horizon >= 60 else f"too short ({replay.horizon:.0f} s)"


def _main_score(run: Run) -> Metric | None:
    """Return the score that accuracies are of; for questions without a total, the share of them that are right."""
    asked = any(one.kind != "narration" for one in run.records.answers)
    return headline(run) or (capped_score(run, set()) if asked and not run.unfinished else None)


def _quality(told: _Told) -> tuple[Cell, Cell]:
    run, main = told.run, told.main
    counts = coverage_counts(run.records.answers)
    total = sum(counts.values())
    return scaled(main)[0] if main else Estimate(None), 100 * counts["answered"] / total if total else None


@dataclass(frozen=True)
class _Told:
    """A run behind the clock with what its records tell beside its ticks, each computed once."""

    run: Run
    replay: Replay

    @cached_property
    def accuracies(self) -> Accuracies | None:
        return accuracies(self.run, self.replay)

    @cached_property
    def spoken(self) -> AnswerFigures:
        """Times of what was said: of the seconds, or of the answers where nothing is said of itself."""
        found = None if self.narrates else answer_figures(self.run, self.replay)
        return found or AnswerFigures(
            self.replay.first_tokens(),
            self.replay.per_output_token(),
            self.replay.between_tokens(),
            self.replay.staleness(),
        )

    @property
    def narrates(self) -> bool:
        """Whether seconds have words of their own."""
        return bool((self.replay.ticks.whole["generated"] > 0).any())

    @cached_property
    def main(self) -> Metric | None:
        return _main_score(self.run)

    @cached_property
    def alignment(self) -> Alignment | None:
        return narration_lag(self.run, self.replay)

    @cached_property
    def live(self) -> LiveClock | None:
        return live_clock(self.replay, str(self.run.records.manifest.options.get("overload")))


def _at_emission(told: _Told) -> str:
    found = told.accuracies
    if found is None:
        return "–"
    if found.emission is None:
        return "not told"
    share = f"{100 * found.emission.right / found.emission.known:.2f}"
    known, asked = found.emission.known, found.emission.asked
    return share if known == asked else f"{share} ({known} of {asked})"


def _lag_cell(alignment: Alignment | None) -> str:
    if alignment is None:
        return "–"
    if alignment.seconds < LEAST_SECONDS:
        return f"n<{LEAST_SECONDS}"
    return "none stands out" if alignment.lag is None else f"{alignment.lag}"


def _row(told: _Told) -> tuple[Cell, ...]:
    from evalkit.timing import percentiles

    run, replay = told.run, told.replay
    quality, coverage = _quality(told)
    capped = told.accuracies.capped if told.accuracies else None
    summary = summarize_ticks(run.label, replay.ticks)
    spent = float(replay.ticks.total.sum()) / replay.settings.hardware
    vision = replay.ticks.counted["tokens_in"].columns().get("vision")
    slope, spoken, factors = summary.slope, told.spoken, percentiles(replay.factors)
    first = spoken.first
    lag, warm = percentiles(replay.lag), replay.miss_rate(warm_up=True)
    memory = summary.peak_mib or summary.rss_mib
    queued = bool(replay.streams)
    return (
        run.label,
        quality,
        _at_emission(told),
        scaled(capped)[0] if capped else Estimate(None),
        coverage,
        len(replay.ticks),
        *(_figure(factors, name) for name in _SHARES),
        _missed(replay.miss_rate(warm_up=False)),
        f"{warm.misses} of {warm.seconds}" if warm.seconds else "–",
        _figure(lag, "p50"),
        _figure(lag, "p95"),
        lag.max if lag else None,
        replay.backlog_max if queued else None,
        replay.dropped if queued else None,
        _behind(replay),
        _figure(first.engine, "p50"),
        _figure(first.request, "p50"),
        _figure(first.request, "p95"),
        _figure(first.perceptual, "p50"),
        *(_figure(spoken.per_token, name, 1e3) for name in _SHARES),
        *(_figure(spoken.between, name, 1e3) for name in _SHARES),
        _figure(spoken.staleness, "p50"),
        _lag_cell(told.alignment),
        memory / 1024 if memory else None,
        Estimate(slope.slope, slope.low, slope.high) if slope else Estimate(None),
        float(vision.sum()) / spent if vision is not None and spent else None,
        summary.cache_tokens.max if summary.cache_tokens else None,
        *(100 * share if (share := summary.stage_shares.get(stage)) else None for stage in STAGES),
    )


def _machine(run: Run) -> str:
    host = run.records.manifest.host
    return ", ".join(str(host[key]) for key in ("gpu", "processor", "cpu", "cores", "device") if host.get(key))


def _jumps(run: Run) -> list[str]:
    """Return what a paced run was warned of: its clock was set, or its machine slept."""
    return [one for one in run.records.manifest.warnings if "the clock jumped" in one]


def replay_notes(run: Run, replay: Replay) -> list[str]:
    """Return what a reader must know of one row, one line each."""
    return _notes(_Told(run, replay))


def _notes(told: _Told) -> list[str]:
    run, replay = told.run, told.replay
    lines = [f"{run.label}: lag, misses and backlog are withheld: {reason}." for reason in replay.withheld]
    lines += [f"{run.label}: {note}." for note in replay.notes]
    lines += [f"{run.label}: {live_note(told.live)}."] if told.live else []
    lines += [f"{run.label}: {one}." for one in _jumps(run)]
    command = live_run(run, replay)
    lines += [f"{run.label}: a live run would settle it: {command}"] if command else []
    lines += [f"{run.label}: {line}" for line in _accuracy_notes(told)]
    rate = replay.miss_rate(warm_up=False)
    if rate.seconds:
        how = f"minutes of stream resampled, {rate.blocks} of them" if rate.method == "block bootstrap" else (
            f"exact binomial, seconds taken for independent ({rate.blocks} minutes of stream)"
        )  # fmt: skip
        claim = "is supported" if rate.supports_one_percent else "is not supported"
        lines.append(f"{run.label}: interval of Missed: {how}; a miss rate of 1 % {claim} at 99 %.")
    lines += [f"{run.label}: accuracy is {score_name(told.main)}."] if told.main else []
    machine = _machine(run)
    tokens = run.records.manifest.fingerprint.get("generation.max_new_tokens")
    cap = "" if tokens is None else f"at most {tokens} tokens a second, "
    lines.append(
        f"{run.label}: {cap}horizon {replay.horizon:.0f} s, a chunk every {replay.chunk:g} s, deadline "
        f"{replay.deadline:g} s{', recorded on ' + machine if machine else ''}."
    )
    return lines


def _accuracy_notes(told: _Told) -> list[str]:
    found, answers = told.accuracies, told.run.records.answers
    if found is None:
        return []
    answering = sum(one.seconds for one in answers if one.kind != "narration" and one.status == "ok")
    lines = [
        f"answering took {answering:.1f} s in all: it holds answers up (median {found.delay:.2f} s after the "
        f"question, {found.late} later than {told.replay.deadline:g} s), and is not part of lag and misses."
    ]
    if found.emission is None:
        lines.append(f"no accuracy at emission: {found.why}.")
    elif found.emission.known < found.emission.asked:
        share = 100 * found.emission.offline / found.emission.known
        lines.append(
            f"accuracy at emission is of the {found.emission.known} of {found.emission.asked} questions whose "
            f"gold at that moment the data tell; offline these score {share:.2f}."
        )
    return lines


def replay_tables(runs: Sequence[Run], replays: Sequence[Replay]) -> list[Table]:
    """Return what a viewer would have seen, one row per run; those not timed alone in tables of their own.

    Seconds of a model with several samples under way at once are no single-stream latencies.

    Args:
        runs: The runs.
        replays: Each of them behind the same clock, in the same order.
    """
    tables = []
    for state, mark in LATENCY_MARKS.items():
        chosen = [pair for pair in zip(runs, replays, strict=True) if pair[0].records.manifest.latency == state]
        if chosen:
            table = replay_table([run for run, _ in chosen], [replay for _, replay in chosen])
            label = table.label + ("" if state == "alone" else f"-{state}")
            tables.append(replace(table, caption=table.caption + mark, label=label))
    return tables


def replay_table(runs: Sequence[Run], replays: Sequence[Replay]) -> Table:
    """Return what a viewer would have seen, one row per run, all alone or all under load.

    Args:
        runs: The runs.
        replays: Each of them behind the same clock, in the same order.
    """
    settings = replays[0].settings
    machine = "as recorded" if settings.hardware == 1 else f"{settings.hardware:g} times as fast"
    rate = "" if settings.fps is None else f", {settings.fps:g} fps"
    caption = f"Behind the clock: overload rule {settings.overload}, machine {machine}{rate}"
    rows = [_Told(run, replay) for run, replay in zip(runs, replays, strict=True)]
    notes = [line for told in rows for line in _notes(told)]
    notes.append(
        f"Missed: late or dropped, after the first {settings.warm_up:g} s of each stream. Falls behind at: first "
        "stream time with a 60-s RTF over 1 (too short: no stream has 60 s). n<N: too few seconds to claim the "
        "percentile at 99 %."
    )
    return Table(caption, _COLUMNS, tuple(map(_row, rows)), tuple(notes), "replay")


_BRIEF = (
    "Policy",
    "RTF p50",
    "RTF p95",
    "Missed",
    "Lag p95",
    "Backlog max",
    "Falls behind at",
    "First token request p50",
    "TPOT p50",
    "Staleness p50",
    "Alignment lag",
)


def brief_table(runs: Sequence[Run], replays: Sequence[Replay]) -> Table:
    """Return the columns that a reader looks for first, with one note.

    Args:
        runs: The runs.
        replays: Each of them behind the same clock, in the same order.
    """
    whole = replay_table(runs, replays)
    places = [place for place, column in enumerate(whole.columns) if column.name in _BRIEF]
    rows = tuple(tuple(row[place] for place in places) for row in whole.rows)
    note = (
        f"A second is missed where it is done more than {replays[0].deadline:g} s after it has passed. evalkit "
        "replay RUN prints everything, for other machines, frame rates and overload rules too."
    )
    return Table(whole.caption, tuple(whole.columns[place] for place in places), rows, (note,), "replay-brief")


def _percentiles_json(found: Percentiles | None) -> dict[str, Any] | None:
    if found is None:
        return None
    claimed = {name: found.n >= needed_for_percentile(share) for name, share in _SHARES.items()}
    return {**found.as_dict(), "n": found.n, "claimed": claimed}


def _rate_json(rate: MissRate) -> dict[str, Any]:
    return {
        "seconds": rate.seconds,
        "misses": rate.misses,
        "miss_rate": rate.rate,
        "low": rate.low,
        "high": rate.high,
        "method": rate.method,
        "blocks": rate.blocks,
        "supports_one_percent": rate.supports_one_percent,
    }


def _accuracy_json(told: _Told) -> dict[str, Any] | None:
    found, offline = told.accuracies, told.main
    if found is None:
        return None
    return {
        "offline": None if offline is None else offline.value,
        "at_emission": None if found.emission is None else asdict(found.emission),
        "by_deadline": None if found.capped is None else found.capped.value,
        "late": found.late,
        "delay": found.delay,
        "why": found.why or None,
    }


def replay_json(run: Run, replay: Replay) -> dict[str, Any]:
    """Return one run's figures for ``--json``; those of the queue are null where they are withheld.

    ``seconds``, ``misses`` and ``miss_rate`` count every second on record; ``warm_up`` and ``after_warm_up`` part
    them. A percentile that too few seconds support is given and marked in ``claimed``.
    """
    from evalkit.timing import percentiles

    queued = bool(replay.streams)
    misses = int(replay.missed.sum()) if queued else None
    lag = _percentiles_json(percentiles(replay.lag))
    told = _Told(run, replay)
    spoken = told.spoken
    windows = [
        {"from": low, "to": None if high == float("inf") else high, **(_percentiles_json(found) or {})}
        for low, high, found in replay.by_window()
        if found
    ]
    return {
        "seconds": len(replay.ticks),
        "misses": misses,
        "miss_rate": None if misses is None else misses / len(replay.ticks),
        "lag": lag or dict.fromkeys(("p50", "p95", "p99", "max")),
        "backlog_max": replay.backlog_max if queued else None,
        "dropped": replay.dropped if queued else None,
        "latency": run.records.manifest.latency,
        "deadline": replay.deadline,
        "chunk": replay.chunk,
        "horizon": replay.horizon,
        "warm_up": _rate_json(replay.miss_rate(warm_up=True)),
        "after_warm_up": _rate_json(replay.miss_rate(warm_up=False)),
        "real_time_factor": {
            **(_percentiles_json(percentiles(replay.factors)) or {}),
            "overall": replay.overall_factor,
            "windows": windows,
            "behind_at": replay.behind_at(),
        },
        "first_token": {
            name: _percentiles_json(getattr(spoken.first, name)) for name in ("engine", "request", "perceptual")
        },
        "per_output_token": _percentiles_json(spoken.per_token),
        "between_tokens": _percentiles_json(spoken.between),
        "staleness": _percentiles_json(spoken.staleness),
        "memory": growth_json(replay.ticks, run.records.manifest.host),
        "accuracy": _accuracy_json(told),
        "alignment": None if told.alignment is None else asdict(told.alignment),
        "live": live_json(told.live) if told.live else None,
        "withheld": list(replay.withheld),
        "notes": list(replay.notes),
        "live_run": live_run(run, replay),
        "clock_jumps": _jumps(run),
        "warnings": [*run.records.warnings, *run.records.damaged],
    }
