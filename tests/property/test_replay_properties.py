"""Whatever ticks a file holds: figures that make sense, or none and a reason."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.records import AnswerRecord, PacedTick, StageTimes, TickRecord
from evalkit.report.live import live_clock
from evalkit.report.replay import ReplaySettings, at_speed, replay_ticks
from evalkit.report.replay_table import replay_json, replay_table
from evalkit.report.runs import load_runs
from evalkit.report.tables import to_text
from evalkit.timing import OVERLOAD_RULES
from tests.run_folders import manifest, write_run

odd = st.sampled_from([math.nan, math.inf, -1.0, 0.0, 1e300])
moments = st.floats(-5, 50)
whole = st.builds(
    lambda sample, totals: [
        TickRecord(
            sample=sample, second=second, start=3.0 + second, end=4.0 + second, frames=2, generated=second % 4,
            stages=StageTimes(generate=total, total=total), first_token=total / 2,
        )
        for second, total in enumerate(totals)
    ],
    st.sampled_from(["a", "b"]),
    st.lists(st.floats(0.001, 5), min_size=1, max_size=90),
)  # fmt: skip
walls = st.floats(-10, 100)
paces = st.builds(
    PacedTick,
    arrival=walls,
    start=st.one_of(st.none(), walls),
    end=st.one_of(st.none(), walls),
    first_token=st.one_of(st.none(), walls),
    lag=st.one_of(st.none(), walls),
    backlog=st.integers(0, 9),
)
hostile = st.lists(
    st.builds(
        TickRecord,
        sample=st.sampled_from(["a", "b"]),
        second=st.integers(0, 12),
        start=moments,
        end=moments,
        frames=st.integers(0, 3),
        stages=st.builds(StageTimes, total=st.one_of(st.floats(0, 3), odd)),
        generated=st.integers(0, 3),
        first_token=st.one_of(st.none(), odd, st.floats(0, 3)),
        token_times=st.lists(st.floats(0, 3), max_size=3),
        pace=st.one_of(st.none(), paces),
        memory=st.dictionaries(st.sampled_from(["rss", "device"]), st.floats(0, 1e6), max_size=2),
    ),
    max_size=30,
)
clocks = st.builds(
    ReplaySettings,
    overload=st.sampled_from(OVERLOAD_RULES),
    hardware=st.sampled_from([0.25, 1.0, 3.0, 8.0]),
    fps=st.sampled_from([None, 0.5, 2.0, 30.0]),
    deadline=st.one_of(st.none(), st.floats(0, 10)),
    warm_up=st.floats(0, 20),
)


def sensible(replay: Any) -> None:
    """Hold what must hold of any replay that has figures."""
    assert (replay.lag >= 0).all()
    assert replay.lag.size + replay.dropped == len(replay.ticks) == replay.missed.size
    assert 1 <= replay.backlog_max <= len(replay.ticks)
    parts = [replay.miss_rate(warm_up=warm) for warm in (True, False)]
    assert sum(part.misses for part in parts) == int(replay.missed.sum())
    for part in parts:
        assert part.rate is None or part.low is None or part.low <= part.rate <= part.high


@settings(max_examples=60, deadline=None)
@given(whole, clocks)
def test_a_whole_stream_has_sensible_figures_behind_every_clock(ticks: Any, clock: ReplaySettings) -> None:
    replay = replay_ticks("m", ticks, clock)
    assert not replay.withheld
    sensible(replay)
    same = at_speed(replay, clock.hardware)
    assert (same.lag == replay.lag).all()


@settings(max_examples=60, deadline=None)
@given(whole)
def test_hardware_1_is_the_recording(ticks: Any) -> None:
    replay = replay_ticks("m", ticks, ReplaySettings())
    assert [service for stream in replay.streams for service in stream.service.tolist()] == [
        tick.stages.total for tick in ticks
    ]
    assert np.allclose(replay.factors, [tick.stages.total for tick in ticks])


@settings(max_examples=100, deadline=None)
@given(hostile, clocks)
def test_hostile_ticks_have_figures_that_make_sense_or_none_and_a_reason(
    ticks: Any, clock: ReplaySettings
) -> None:
    replay = replay_ticks("m", ticks, clock)
    if replay.withheld:
        assert not replay.streams
        assert all(replay.withheld)
        assert replay.missed.size == 0
    else:
        sensible(replay)
    live = live_clock(replay, "queue")
    assert live is None or live.seconds == len(ticks)


asked = st.builds(
    lambda query, sample, at, seconds, first, times, emitted, kind: AnswerRecord(
        sample=sample, query=query, kind=kind, at=at, start=0, end=max(0.0, at), text="1", parsed="1", gold="1",
        cluster="v", tags={"task": "REC"}, seconds=seconds, first_token=first, token_times=times, emitted=emitted,
    ),
    st.sampled_from("pqrs"), st.sampled_from("abc"), moments, st.one_of(odd, st.floats(0, 3)),
    st.one_of(st.none(), odd), st.lists(st.floats(0, 3), max_size=3), st.one_of(st.none(), walls),
    st.sampled_from(["count", "narration"]),
)  # fmt: skip
PACED = {"pace": "realtime", "overload": "queue"}


@settings(max_examples=40, deadline=None)
@given(hostile, st.lists(asked, max_size=6, unique_by=lambda one: (one.sample, one.query)), clocks)
def test_table_and_json_are_made_of_any_ticks_and_answers(
    tmp_path_factory: Any, ticks: Any, answers: Any, clock: ReplaySettings
) -> None:
    once = {(tick.sample, tick.second, tick.start, tick.end): tick for tick in ticks}
    path: Path = tmp_path_factory.mktemp("any") / "run"
    written = write_run(path, manifest("ovobench", "m", options=PACED), ticks=once.values())
    (read,) = load_runs([written], damaged_ticks=True)
    run = replace(read, records=replace(read.records, answers=answers))
    replay = replay_ticks("m", run.records.ticks, clock)
    assert to_text(replay_table([run], [replay]))
    assert json.dumps(replay_json(run, replay), allow_nan=False)
