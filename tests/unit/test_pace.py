"""Streams on the wall clock: arrivals, overload rules, a bounded backlog, a clock that jumps, the virtual twin."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.cli.main import main
from evalkit.models.protocol import Placement, SessionRequest, Spoken, StepReport
from evalkit.records import AnswerRecord, RunFolder, TickRecord, read_jsonl, read_ticks
from evalkit.report.live import live_clock, live_note
from evalkit.report.replay import ReplaySettings, replay_ticks
from evalkit.report.scores import coverage_counts
from evalkit.run.checkpoint import SessionCheckpoints
from evalkit.run.pace import BacklogError, Clock, Pace
from evalkit.run.pool import run_all
from evalkit.run.recorder import Recorder
from evalkit.run.sample import SampleRunner
from evalkit.run.stop import StopRequest
from evalkit.stream import Chunk, Narration, StreamSample
from evalkit.timing import OVERLOAD_RULES, Overload, run_queue
from evalkit.video import write_mp4


@dataclass
class Hands:
    """A clock that only moves when somebody sleeps; its wall clock can be set."""

    seconds: float = 1000.0
    set_by: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, lambda: self.seconds + self.set_by, self.sleep)


@dataclass
class Sleeper:
    """Speaks after the service time of each second has passed on a clock."""

    services: Any
    clock: Clock
    after: Callable[[int], None] = lambda second: None
    name: str = "sleeper"
    placement: Placement = field(default_factory=Placement)

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        return width, height

    def open(self, request: SessionRequest) -> Sleeper:
        return self

    def identity(self) -> dict[str, Any]:
        return {}

    def peak_mib(self) -> float:
        return 0.0

    def speak(self, chunk: Chunk) -> Spoken:
        began = self.clock.now()
        self.clock.sleep(self.services[chunk.tick.index])
        spent = self.clock.now() - began
        self.after(chunk.tick.index)
        stages = {"decode": chunk.wait_seconds, "generate": spent}
        return Spoken("goal", [1, 2], StepReport(stages, {}, {}, {}, 0, generated=2, first_token=spent / 2))  # type: ignore[arg-type]

    def state(self) -> None:
        return None

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_mp4(path, (np.full((16, 16, 3), number % 256, np.uint8) for number in range(90)), fps=2, gop=2)
    return path


def run(
    film: Path,
    folder: Path,
    services: Any,
    pace: Pace,
    after: Callable[[int], None] = lambda second: None,
    after_record: Callable[[], None] = lambda: None,
) -> tuple[list[TickRecord], list[AnswerRecord], list[str]]:
    """Narrate as many seconds as there are service times; return what is on record and what was warned of."""
    folder.mkdir(exist_ok=True)
    target, warnings = RunFolder(folder), list[str]()
    sample = StreamSample("s", film, 2, 2 + len(services), 2, narration=Narration("speak"))
    with Recorder(target) as recorder:
        SampleRunner(
            model=Sleeper(services, pace.clock, after),  # type: ignore[arg-type]
            recorder=recorder,
            checkpoints=SessionCheckpoints(target.state_path),
            seed=0,
            checkpoint_seconds=1000,
            stopping=lambda: False,
            advanced=lambda seconds: after_record(),
            warn=warnings.append,
            pace=pace,
        ).run(sample)
    return (*on_record(folder), warnings)


def on_record(folder: Path) -> tuple[list[TickRecord], list[AnswerRecord]]:
    target = RunFolder(folder)
    return read_jsonl(target.ticks_path, TickRecord)[0], read_jsonl(target.answers_path, AnswerRecord)[0]


def test_each_second_has_its_arrival_start_first_token_end_lag_and_backlog_on_record(
    film: Path, tmp_path: Path
) -> None:
    ticks, answers, warnings = run(film, tmp_path / "r", [0.5, 1.5, 1.25, 0.25], Pace(clock=Hands().clock))
    paces = [tick.pace for tick in ticks if tick.pace is not None]
    assert [pace.arrival for pace in paces] == [1, 2, 3, 4]
    assert [pace.start for pace in paces] == pytest.approx([1, 2, 3.5, 4.75])
    assert [pace.end for pace in paces] == pytest.approx([1.5, 3.5, 4.75, 5])
    assert [pace.first_token for pace in paces] == pytest.approx([1.25, 2.75, 4.125, 4.875])
    assert [pace.lag for pace in paces] == pytest.approx([0.5, 1.5, 1.75, 1])
    assert [pace.backlog for pace in paces] == [1, 1, 2, 2]
    assert [answer.emitted for answer in answers] == [pace.end for pace in paces]
    assert warnings == []


@pytest.mark.parametrize("rule", OVERLOAD_RULES)
@pytest.mark.parametrize("seed", range(3))
def test_a_paced_run_is_what_the_virtual_clock_says(film: Path, tmp_path: Path, rule: Overload, seed: int) -> None:
    services = np.random.default_rng(seed).uniform(0.2, 2.2, 40)
    ticks, answers, _ = run(film, tmp_path / "r", services, Pace(rule, clock=Hands().clock))
    virtual = run_queue(np.arange(1.0, 41), services, rule)
    paces = [tick.pace for tick in ticks if tick.pace is not None]
    assert [pace.dropped for pace in paces] == virtual.dropped.tolist()
    lags = [np.nan if pace.lag is None else pace.lag for pace in paces]
    assert [pace.backlog for pace in paces] == virtual.backlog.tolist()
    assert lags == pytest.approx(virtual.lag.tolist(), nan_ok=True)
    assert len(ticks) == len(answers) == 40, "a dropped second is on record, with nothing said"
    expected = ["dropped" if pace.dropped else "ok" for pace in paces]
    assert [answer.status for answer in answers] == expected
    assert all((answer.text == "") == (answer.status == "dropped") for answer in answers)
    assert coverage_counts(answers)["answered"] == expected.count("ok")


def test_a_run_and_its_virtual_twin_agree_and_the_difference_is_said(film: Path, tmp_path: Path) -> None:
    speed = 10.0
    clock = Clock(
        lambda: speed * time.monotonic(), lambda: speed * time.time(), lambda seconds: time.sleep(seconds / speed)
    )
    services = [1.6, 0.2, 0.2, 0.2] * 9  # lags of 1.6 and 0.8 s, then free again: far from the deadline of 1 s
    run(film, tmp_path / "r", services, Pace(clock=clock))
    table, _ = read_ticks(RunFolder(tmp_path / "r").ticks_path)
    replay = replay_ticks("m", table, ReplaySettings(deadline=1.2))
    live = live_clock(replay, "queue")
    assert live is not None
    assert live.difference is not None
    # Where the machine was too busy, the time between seconds is what parts the two clocks, second for second.
    assert abs(live.difference) <= 0.02 or live.misses == live.explained_misses
    assert f"on the wall clock {live.misses} of 36 seconds were missed" in live_note(live)
    assert "points" in live_note(live)
    assert all(tick.pace is not None and tick.pace.start is not None for tick in table)


def test_time_between_seconds_is_what_parts_a_run_from_its_twin_and_the_note_says_so(
    film: Path, tmp_path: Path
) -> None:
    hands = Hands()
    pace = Pace(clock=hands.clock)
    # 0.4 s go by after each second before the next can begin: writing, in the twin's eyes, takes no time.
    run(film, tmp_path / "r", [0.7] * 30, pace, after_record=lambda: hands.sleep(0.4))
    table, _ = read_ticks(RunFolder(tmp_path / "r").ticks_path)
    live = live_clock(replay_ticks("m", table, ReplaySettings(deadline=1.0)), "queue")
    assert live is not None
    # Work on second k begins at 1 + 1.1 k: its lag, 0.7 + 0.1 k, passes 1 from k = 4 on.
    assert (live.misses, live.twin_misses, live.explained_misses) == (26, 0, 26)
    # 0.1, 0.2 and 0.3 s of them pass while the next second has not come, then all 0.4 do.
    assert live.between == pytest.approx(0.6 + 26 * 0.4)
    assert "+86.7 points" in live_note(live)
    assert "with these on it the virtual clock says 26" in live_note(live)


def test_past_the_largest_backlog_the_sample_fails_with_the_media_time_and_keeps_its_records(
    film: Path, tmp_path: Path
) -> None:
    with pytest.raises(BacklogError, match=r"at media time 9 s more than 3 seconds .*--max-backlog 3"):
        run(film, tmp_path / "r", [0.5, 0.5, 0.5, 4.5, 0.5, 0.5, 0.5, 0.5, 0.5], Pace("queue", 3, Hands().clock))
    ticks, answers = on_record(tmp_path / "r")
    assert len(ticks) == len(answers) == 4


@pytest.mark.parametrize("rule", OVERLOAD_RULES)
def test_samples_under_way_at_once_have_each_its_own_arrivals(film: Path, tmp_path: Path, rule: Overload) -> None:
    services = {f"s{number}": np.random.default_rng(number).uniform(0.2, 2.2, 30) for number in range(4)}
    folder = RunFolder(tmp_path)
    with Recorder(folder) as recorder:

        def narrate(sample: StreamSample) -> None:
            pace = Pace(rule, clock=Hands(seconds=1000.0 + 7 * int(sample.id[1:])).clock)
            SampleRunner(
                model=Sleeper(services[sample.id], pace.clock),  # type: ignore[arg-type]
                recorder=recorder,
                checkpoints=SessionCheckpoints(folder.state_path),
                seed=0,
                checkpoint_seconds=1000,
                stopping=lambda: False,
                advanced=lambda seconds: None,
                warn=lambda line: None,
                pace=pace,
            ).run(sample)

        samples = [StreamSample(name, film, 2, 32, 2, narration=Narration("speak")) for name in services]
        run_all(samples, narrate, 3, StopRequest())
    ticks, answers = on_record(tmp_path)
    assert len(ticks) == len(answers) == 120
    for name, spent in services.items():
        virtual = run_queue(np.arange(1.0, 31), spent, rule)
        mine = sorted((tick for tick in ticks if tick.sample == name), key=lambda tick: tick.second)
        lags = [np.nan if one.pace is None or one.pace.lag is None else one.pace.lag for one in mine]
        assert lags == pytest.approx(virtual.lag.tolist(), nan_ok=True)


def test_a_clock_that_jumps_is_told_with_its_media_time(film: Path, tmp_path: Path) -> None:
    hands = Hands()

    def set_the_clock(second: int) -> None:
        hands.set_by += 30.0 if second == 2 else 0.0

    *_, warnings = run(film, tmp_path / "r", [0.5] * 6, Pace(clock=hands.clock), set_the_clock)
    (warning,) = warnings
    assert "jumped by +30.0 s at media time 6 s" in warning


def test_seconds_dropped_as_a_run_went_are_no_service_times(film: Path, tmp_path: Path) -> None:
    run(film, tmp_path / "r", [2.5, 0.5, 0.5, 0.5, 0.5], Pace("drop-new", clock=Hands().clock))
    table, _ = read_ticks(RunFolder(tmp_path / "r").ticks_path)
    replay = replay_ticks("m", table, ReplaySettings(overload="drop-new"))
    assert "2 seconds were dropped as it ran" in replay.withheld[0]
    live = live_clock(replay, "drop-new")
    assert live is not None
    assert (live.seconds, live.misses, live.dropped, live.difference) == (5, 3, 2, None)
    assert np.isfinite(replay.factors).sum() == 3, "a dropped second has no real-time factor"


def test_records_without_a_pace_stay_readable_and_those_with_one_come_back_whole(
    film: Path, tmp_path: Path
) -> None:
    run(film, tmp_path / "r", [0.5, 2.5, 0.5, 0.5], Pace("drop-new", clock=Hands().clock))
    path = RunFolder(tmp_path / "r").ticks_path
    lines = path.read_text().splitlines()
    table, _ = read_ticks(path)
    assert [one.model_dump_json() for one in table] == lines
    old = {key: value for key, value in json.loads(lines[0]).items() if key != "pace"}
    assert TickRecord.model_validate_json(json.dumps(old)).pace is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--overload", "drop-new"], "--overload drop-new needs --pace realtime"),
        (["--max-backlog", "4"], "--max-backlog 4 needs --pace realtime"),
        (["--pace", "realtime", "--overload", "drop-new", "--max-backlog", "4"], "leave it out"),
        (["--pace", "fast"], "--pace 'fast'"),
        (["--pace", "realtime", "--max-backlog", "0"], "--max-backlog '0'"),
    ],
)
def test_a_pace_that_means_nothing_is_refused_in_one_line(
    small_data: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["run", "--task", "inf-streams", "--model", "full", "--checkpoint", "tiny", "--data", str(small_data)]
    base += ["--set", "task.start_seconds=4"]
    assert main([*base, *words, "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1
