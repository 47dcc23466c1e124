"""Recorded runs behind the virtual clock: the command, its JSON, what is withheld and taken for granted."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli.main import main
from evalkit.records import StageTimes, TickRecord
from evalkit.report import build_report
from evalkit.report.latency import summarize_ticks
from evalkit.report.replay import ReplaySettings, replay_ticks
from evalkit.report.replay_table import live_run, replay_table
from evalkit.report.runs import load_runs
from tests.run_folders import manifest, narration_run, question_run, write_run


def tick(second: int, total: float, *, sample: str = "a", frames: int = 2, **more: Any) -> TickRecord:
    stages = StageTimes(generate=total, total=total)
    values = {"start": 100.0 + second, "end": 101.0 + second, "generated": 5, "first_token": total / 2} | more
    return TickRecord(sample=sample, second=second, frames=frames, stages=stages, **values)


@pytest.fixture(scope="module")
def narrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return narration_run(tmp_path_factory.mktemp("replay") / "full", "full", seconds=150, videos=2)


def figures(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["replay", *words, "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert len(models) == 1
    return next(iter(models.values()))


def by_hand(run: Path, deadline: float, speed: float) -> dict[str, Any]:
    """Work the queue by hand from the raw lines."""
    streams = defaultdict(list)
    for line in (run / "ticks.jsonl").read_text().splitlines():
        row = json.loads(line)
        streams[row["sample"]].append((row["start"], row["end"], row["stages"]["total"] / speed))
    lags, backlog = [], 0
    for rows in streams.values():
        begun, free, spans = rows[0][0], 0.0, []
        for _, end, total in rows:
            free = max(end - begun, free) + total
            spans.append((end - begun, free))
        lags += [done - came for came, done in spans]
        backlog = max(backlog, *(sum(came <= now < done for came, done in spans) for now, _ in spans))
    misses = sum(lag > deadline for lag in lags)
    return {"seconds": len(lags), "misses": misses, "max": max(lags), "backlog_max": backlog}


@pytest.mark.parametrize("speed", [1.0, 0.5, 2.0])
def test_the_figures_are_the_recursion_over_what_is_on_record(
    narrated: Path, speed: float, capsys: pytest.CaptureFixture[str]
) -> None:
    found = figures(capsys, str(narrated), "--overload", "queue", "--deadline", "1", "--hardware", str(speed))
    hand = by_hand(narrated, 1.0, speed)
    assert {name: found[name] for name in ("seconds", "misses", "backlog_max")} == {
        name: hand[name] for name in ("seconds", "misses", "backlog_max")
    }
    assert found["miss_rate"] == hand["misses"] / hand["seconds"]
    assert found["lag"]["max"] == pytest.approx(hand["max"])
    assert found["dropped"] == 0
    parts = [found["warm_up"], found["after_warm_up"]]
    assert sum(part["seconds"] for part in parts) == found["seconds"]
    assert sum(part["misses"] for part in parts) == found["misses"]
    after = found["after_warm_up"]
    assert after["low"] <= after["miss_rate"] <= after["high"]


def test_hardware_of_the_recording_gives_the_recording(narrated: Path) -> None:
    (run,) = load_runs([narrated])
    replay, summary = replay_ticks(run.label, run.records.ticks, ReplaySettings()), None
    summary = summarize_ticks(run.label, run.records.ticks)
    assert replay.overall_factor == pytest.approx(summary.overall_rtf)
    assert [window[2] for window in replay.by_window()] == [window[2] for window in summary.by_window]
    services = sorted(service for stream in replay.streams for service in stream.service.tolist())
    assert services == sorted(run.records.ticks.total.tolist())
    assert replay.notes == ()


def test_twice_the_frame_rate_is_half_the_time_between_arrivals() -> None:
    ticks = [tick(second, 0.6) for second in range(10)]
    double = replay_ticks("m", ticks, ReplaySettings(fps=4))
    assert double.streams[0].times.arrival.tolist() == pytest.approx([0.5 * (k + 1) for k in range(10)])
    assert double.chunk == double.deadline == 0.5
    assert double.lag[-1] == pytest.approx(0.6 + 9 * 0.1)
    assert "4 fps" in double.notes[0]
    assert replay_ticks("m", ticks, ReplaySettings(fps=2)).notes == (), "as recorded"


def test_a_frame_rate_that_is_not_on_record_cannot_be_replayed_at_another() -> None:
    found = replay_ticks("m", [tick(0, 0.5, frames=0)], ReplaySettings(fps=4))
    assert "no frame rate" in found.withheld[0]


def test_staleness_and_the_three_first_tokens_count_from_the_newest_frame_and_from_arrival() -> None:
    found = replay_ticks("m", [tick(second, 1.5) for second in range(10)], ReplaySettings())
    stale, first = found.staleness(), found.first_tokens()
    assert stale is not None
    assert stale.max == pytest.approx(1.5 + 9 * 0.5 + 0.5), (
        "the lag and half a second since the last of two frames"
    )
    assert first.engine is not None
    assert first.engine.max == pytest.approx(0.75)
    assert first.request is not None
    assert first.request.max == pytest.approx(0.75 + 9 * 0.5)
    assert first.perceptual is not None
    assert first.perceptual.max == pytest.approx(first.request.max + 0.5)
    per_token = found.per_output_token()
    assert per_token is not None
    assert per_token.p50 == pytest.approx(0.75 / 4)


def test_a_missing_second_is_named_and_what_needs_it_is_withheld(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = [tick(second, 0.5) for second in range(20) if second not in (0, 7, 8)]
    run = write_run(tmp_path / "gap", manifest("t", "m"), ticks=ticks)
    found = figures(capsys, str(run))
    assert (found["misses"], found["miss_rate"], found["backlog_max"], found["dropped"]) == (None,) * 4
    assert found["lag"]["p50"] is None
    assert found["real_time_factor"]["max"] == 0.5, "what each second took is on record all the same"
    assert "a: 3 seconds are missing (0, 7 to 8)" in found["withheld"][0]
    assert main(["replay", str(run)]) == 0
    assert "withheld: a: 3 seconds are missing" in capsys.readouterr().out


def test_a_damaged_line_costs_the_clock_and_a_torn_last_one_only_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "torn", manifest("t", "m"), ticks=[tick(second, 0.5) for second in range(20)])
    lines = (run / "ticks.jsonl").read_text().splitlines()
    (run / "ticks.jsonl").write_text("\n".join([*lines[:-1], lines[-1][:30]]))
    found = figures(capsys, str(run))
    assert (found["seconds"], found["misses"]) == (19, 0)
    assert "torn last line" in found["warnings"][0]
    (run / "ticks.jsonl").write_text("\n".join([*lines[:5], lines[5][:30], *lines[6:]]) + "\n")
    found = figures(capsys, str(run))
    assert found["misses"] is None
    assert "ticks.jsonl:6" in found["withheld"][0]


def test_ticks_that_overlap_or_have_no_time_are_no_stream() -> None:
    clips = [tick(0, 0.5, end=130.0), tick(0, 0.5, start=110.0, end=140.0)]
    assert "whole clips" in replay_ticks("m", clips, ReplaySettings()).withheld[0]
    assert "no valid service time" in replay_ticks("m", [tick(0, -1.0)], ReplaySettings()).withheld[0]
    assert "no second has a service time" in replay_ticks("m", [tick(0, 0.0)], ReplaySettings()).withheld[0]
    assert "no second is on record" in replay_ticks("m", [], ReplaySettings()).withheld[0]


@pytest.mark.parametrize("rule", ["drop-new", "skip-to-latest"])
def test_a_rule_that_drops_says_what_was_not_measured_and_which_live_run_would_settle_it(
    narrated: Path, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = figures(capsys, str(narrated), "--overload", rule, "--hardware", "0.5")
    assert found["dropped"] > 0
    assert found["misses"] >= found["dropped"]
    assert any("nobody measured" in line for line in found["notes"])
    assert f"--pace realtime --overload {rule}" in found["live_run"]
    calm = figures(capsys, str(narrated), "--overload", rule, "--hardware", "8")
    assert calm["dropped"] == 0
    assert not any("dropped" in line for line in calm["notes"])


def test_the_live_run_that_would_settle_it_has_the_settings_of_the_run(tmp_path: Path) -> None:
    options = {
        "task": "t",
        "model": "m",
        "settings": {"task.chunk_seconds": 100, "memory.on": True, "task.fps": 2},
    }
    folder = write_run(tmp_path / "run", manifest("t", "m", options=options), ticks=[tick(0, 0.5)])
    (run,) = load_runs([folder])
    command = live_run(run, replay_ticks("m", run.records.ticks, ReplaySettings(fps=4.0)))
    assert command == (
        "evalkit run --task t --model m --pace realtime --overload queue --set task.chunk_seconds=100 "
        "--set memory.on=true --set task.fps=4"
    )


def test_a_percentile_that_too_few_seconds_support_is_a_cell_that_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "short", manifest("t", "m"), ticks=[tick(second, 0.5) for second in range(30)])
    runs = load_runs([run])
    table = replay_table(runs, [replay_ticks("m", runs[0].records.ticks, ReplaySettings())])
    cells = dict(zip([column.name for column in table.columns], table.shown()[0], strict=True))
    assert (cells["RTF p50"], cells["RTF p95"], cells["RTF p99"]) == ("0.500", "n<90", "n<459")
    assert cells["Missed in warm-up"] == "0 of 10"
    assert cells["Falls behind at"] == "too short (30 s)"


def test_the_command_leaves_table_and_plots_in_every_form(
    narrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(narrated), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr()
    assert "overload rule queue" in shown.out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"replay.md", "replay.tex", "replay.csv"} <= names
    assert {f"{plot}.{form}" for plot in ("backlog", "lag", "horizon") for form in ("pdf", "svg", "csv")} <= names


def test_json_writes_nothing_unless_asked_to(narrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(narrated.rglob("*"))
    figures(capsys, str(narrated))
    assert sorted(narrated.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--hardware", "16"], "0.25 to 8"),
        (["--fps", "0"], "0.1 to 120"),
        (["--deadline", "soon"], "no number"),
        (["--overload", "drop"], "drop-new"),
    ],
)
def test_an_option_out_of_range_is_one_line(
    narrated: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", str(narrated), *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1


def test_a_clock_that_jumped_marks_the_table_and_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jumped = "the clock jumped by +30.0 s at media time 6 s (a machine that slept, or a clock that was set)"
    ticks = [tick(second, 0.5) for second in range(20)]
    run = write_run(tmp_path / "run", manifest("t", "m", warnings=[jumped]), ticks=ticks)
    assert figures(capsys, str(run))["clock_jumps"] == [jumped]
    assert main(["replay", str(run)]) == 0
    assert jumped in capsys.readouterr().out


def test_runs_under_load_stand_in_a_table_of_their_own_and_are_marked_in_plots(tmp_path: Path) -> None:
    ticks = [tick(second, 0.5) for second in range(20)]
    alone = write_run(tmp_path / "alone", manifest("t", "alone"), ticks=ticks)
    loaded = write_run(tmp_path / "loaded", manifest("t", "many", latency="loaded"), ticks=ticks)
    assert main(["replay", str(alone), str(loaded), "--out", str(tmp_path / "out")]) == 0
    first, second = ((tmp_path / "out" / f"replay{more}.md").read_text() for more in ("", "-loaded"))
    assert "alone" in first
    assert "many" not in first
    assert "many" in second
    assert "several samples under way at once" in second
    assert "many, under load" in (tmp_path / "out" / "backlog.csv").read_text()


def test_the_page_has_runs_behind_the_clock(narrated: Path, tmp_path: Path) -> None:
    page = build_report([narrated], tmp_path / "page.html").read_text()
    assert 'id="clock"' in page
    assert page.count("<svg") >= 8
    asked = build_report([question_run(tmp_path / "asked")], tmp_path / "asked.html").read_text()
    assert "is not part of lag and misses" in asked


RULES = {"queue": (2, 0, 2, 1.75), "drop-new": (2, 1, 1, 1.5), "skip-to-latest": (2, 0, 2, 1.75)}


@pytest.mark.parametrize(("rule", "expected"), RULES.items())
def test_a_folder_with_hand_written_ticks_and_nothing_else_is_replayed(
    tmp_path: Path, rule: str, expected: tuple[int, int, int, float], capsys: pytest.CaptureFixture[str]
) -> None:
    # Arrivals at 1, 2, 3, 4. queue: 1-1.5, 2-3.5, 3.5-4.75, 4.75-5: lags 0.5, 1.5, 1.75, 1. drop-new: the third
    # comes while the second is in work. skip-to-latest: nobody has overtaken the third at 3.5.
    lines = [
        {"sample": "a", "second": second, "start": second, "end": second + 1, "stages": {"total": total}}
        for second, total in enumerate((0.5, 1.5, 1.25, 0.25))
    ]
    (tmp_path / "ticks.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = figures(capsys, str(tmp_path), "--overload", rule, "--deadline", "1")
    misses, dropped, backlog, worst = expected
    assert (found["seconds"], found["misses"], found["miss_rate"]) == (4, misses, misses / 4)
    assert (found["dropped"], found["backlog_max"], found["lag"]["max"]) == (dropped, backlog, worst)
