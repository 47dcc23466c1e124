"""What a question costs is told by question; a run that works only when asked has no seconds to be compared by."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.leaderboard import compare_runs
from evalkit.records import AnswerRecord, RunRecords, StageTimes, TickRecord, read_run
from evalkit.report.over_time import opening_charts
from evalkit.report.per_question import question_costs, question_stages, question_table, works_when_asked
from evalkit.report.plots import plot_runs
from evalkit.report.runs import load_runs
from evalkit.report.seen import seen_by
from evalkit.report.summary import latency_tables
from tests.run_folders import manifest, question_run, write_run


def asked(number: int, at: float, *, seconds: float = 0.5, **changes: object) -> AnswerRecord:
    fields = {
        "sample": "s0", "query": f"q{number}", "kind": "choice", "at": at, "start": 0.0, "end": at, "text": "A",
        "parsed": "A", "gold": "A", "cluster": "s0", "seconds": seconds, "first_token": 0.1, **changes,
    }  # fmt: skip
    return AnswerRecord.model_validate(fields)


def second(
    number: int, start: float, end: float, *, frames: int, work: float, decode: float = 0.001
) -> TickRecord:
    stages = StageTimes(decode=decode, prefill=work, total=decode + work)
    return TickRecord(
        sample="s0", second=number, start=start, end=end, frames=frames, stages=stages, cache_tokens=9
    )


def run_of(folder: Path, answers: list[AnswerRecord], ticks: list[TickRecord]) -> RunRecords:
    return read_run(write_run(folder, manifest("t", "m"), answers=answers, ticks=ticks))


def test_a_model_that_puts_frames_aside_works_when_asked_and_one_that_encodes_them_does_not(
    tmp_path: Path,
) -> None:
    answers = [asked(0, 5.0)]
    idle = run_of(tmp_path / "idle", answers, [second(k, k, k + 1, frames=1, work=0.0) for k in range(5)])
    busy = run_of(tmp_path / "busy", answers, [second(k, k, k + 1, frames=1, work=0.1) for k in range(5)])
    assert (works_when_asked(idle), works_when_asked(busy)) == (True, False)
    assert question_costs(busy).seconds.tolist() == [0.5], "its seconds were paid for before"


def test_showing_a_clip_is_in_the_time_of_its_question_and_is_shared_where_two_have_one(tmp_path: Path) -> None:
    clip = {"tags": {"frames": "uniform-64"}}
    answers = [asked(0, 9.0, **clip), asked(1, 4.0, **clip), asked(2, 4.0, **clip)]
    ticks = [
        second(0, 0.0, 9.0, frames=64, work=3.0),
        second(1, 0.0, 2.0, frames=32, work=1.0),
        second(2, 2.0, 4.0, frames=32, work=1.0),
    ]
    run = run_of(tmp_path / "run", answers, ticks)
    assert works_when_asked(run)
    assert question_costs(run).seconds.tolist() == pytest.approx([3.501, 1.501, 1.501])
    (table,) = [one for one in (question_table([("m", run)]),) if one is not None]
    assert table.rows[0][:3] == ("m", "with the question", 3)


def test_there_is_no_latency_by_second_no_plot_and_no_ratio_for_a_run_that_works_when_asked(
    tmp_path: Path,
) -> None:
    stream = question_run(tmp_path / "stream", "full", questions=40)
    ticks = [second(k, k, k + 1, frames=1, work=0.0) for k in range(90)]
    records = read_run(stream)
    lazy = write_run(
        tmp_path / "lazy", manifest("ovo-bench", "lazy", planned=records.manifest.planned),
        answers=records.answers, ticks=ticks, metrics=list(records.metrics.metrics if records.metrics else ()),
    )  # fmt: skip
    tables = {table.label: table for table in latency_tables(load_runs([stream, lazy]))}
    assert [row[0] for row in tables["questions"].rows] == ["full", "lazy"]
    assert [row[0] for row in tables["latency"].rows] == ["full"]
    compared = compare_runs({"full": read_run(stream), "lazy": read_run(lazy)}, allow_mismatch=True)
    assert compared.rows[0].seconds is None
    assert any("no ratio of seconds, lazy sees its frames only with the question" in w for w in compared.warnings)
    with pytest.raises(UsageError, match="lazy: the frames are seen only with the questions"):
        plot_runs([stream, lazy], "pareto", tmp_path / "plots")
    titles = [chart.title for chart in opening_charts(load_runs([stream, lazy]))]
    assert titles == ["Right answers over stream time", "Time per question over stream time"]


def test_what_was_shown_before_a_question_is_told_by_frames_and_their_moments(tmp_path: Path) -> None:
    ticks = [second(k, float(k), k + 1.0, frames=2, work=0.1) for k in range(6)]
    run = run_of(tmp_path / "stream", [asked(0, 4.0), asked(1, 5.5, start=2.0)], ticks)
    seen = seen_by(run)
    assert (seen["s0", "q0"].frames, seen["s0", "q0"].last) == (8, (2.0, 2.5, 3.0, 3.5))
    assert (seen["s0", "q1"].frames, seen["s0", "q1"].held) == (6, 9)
    clips = [second(0, 0.0, 8.0, frames=4, work=0.1), second(1, 0.0, 3.0, frames=3, work=0.1)]
    run = run_of(tmp_path / "clips", [asked(0, 8.0), asked(1, 3.0)], clips)
    assert seen_by(run)["s0", "q1"].last == (0.0, 1.0, 2.0)
    assert seen_by(run)["s0", "q0"].frames == 4


def test_what_a_question_retrieved_and_where_its_time_went_is_told(tmp_path: Path) -> None:
    retrieved = {"most": 2, "stored": 8, "blocks": (2, 1), "tokens": (12, 6), "seconds": ((1, 2), (7, 1))}
    stages = {"retrieve": 0.3, "prefill": 0.1, "generate": 0.5, "other": 0.1}
    answers = [asked(0, 9.0, stages=stages, retrieved=retrieved), asked(1, 9.0)]
    run = run_of(tmp_path / "run", answers, [second(0, 0.0, 1.0, frames=1, work=0.1)])
    (table,) = [one for one in (question_stages([("m", run)]),) if one is not None]
    (row,) = table.rows
    assert row == (
        "m",
        pytest.approx(30),
        None,
        pytest.approx(10),
        pytest.approx(50),
        pytest.approx(10),
        1.5,
        8,
        8.0,
    )
    silent = run_of(tmp_path / "silent", [asked(0, 9.0)], [])
    assert question_stages([("m", silent)]) is None
