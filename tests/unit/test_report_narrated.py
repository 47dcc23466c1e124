"""Narrations with one right line a second, side by side: the demo's tables and plot, from records alone."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from run_folders import manifest, tick, write_run

from evalkit.records import AnswerRecord
from evalkit.report.narrated import by_minute_table, draw_by_minute, policy_table, side_by_side
from evalkit.report.runs import Run, load_runs
from evalkit_tasks.demo import line, make_match
from evalkit_tasks.demo.score import narration_metrics

MATCH = make_match(5, 150)


def run(folder: Path, model: str, forgets_at: int) -> Path:
    """Write a run that says nothing any more from a second on."""
    answers, ticks = [], []
    rng = random.Random(0)
    for moment in MATCH.moments:
        gold = " ".join(line(MATCH, moment))
        answers.append(
            AnswerRecord(
                sample="m", query=f"m@{moment.at}", kind="narration", at=moment.at + 1, start=moment.at,
                end=moment.at + 1, text=f" {gold} ..." if moment.at < forgets_at else "", gold=gold, cluster="m",
                tags={"reference": "exact"},
            )
        )  # fmt: skip
        ticks.append(tick("m", moment.at, 0.0, rng, bounded=model != "full"))
    made = manifest("inf-streams", model)
    return write_run(folder, made, answers=answers, ticks=ticks, metrics=narration_metrics(answers))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    out = tmp_path_factory.mktemp("runs")
    return load_runs([run(out / "full", "full", 60), run(out / "svlm", "streamingvlm", 1000)])


def test_each_minute_of_each_policy_has_its_figures(runs: list[Run]) -> None:
    table = by_minute_table(runs)
    found = {(row[0], row[1]): row[2:] for row in table.rows}
    assert found.keys() == {(name, minute) for name in ("full", "streamingvlm") for minute in (1, 2, 3)}
    assert (found["full", 1][0], found["full", 2][0], found["streamingvlm", 3][0]) == (100, 0, 100)
    assert found["full", 3][-1] > found["full", 1][-1]
    assert found["streamingvlm", 3][-1] == found["streamingvlm", 2][-1]


def test_the_first_table_tells_each_policy_in_a_row_at_the_end_of_its_stream(runs: list[Run]) -> None:
    rows = {row[0]: row[1:] for row in policy_table(runs).rows}
    last = {(row[0], row[1]): row[2:] for row in by_minute_table(runs).rows}
    for name in ("full", "streamingvlm"):
        assert rows[name][1] == last[name, 3][0]
        assert rows[name][2:] == last[name, 3][-3:]
    assert rows["full"][1] < rows["full"][0] < rows["streamingvlm"][0] == 100


def test_what_was_said_stands_beside_the_truth_and_what_is_wrong_is_marked(runs: list[Run]) -> None:
    table = side_by_side(runs, "m", asking=("score", "here"), most=6)
    assert len(table.rows) == 6
    assert {str(row[1]).split()[0] for row in table.rows} <= {"score", "here"}
    for second, gold, full, ours in table.rows:
        assert ours == gold
        assert full == (gold if str(second) < "01:00" else "x ")


def test_the_plot_is_written_in_three_forms(runs: list[Run], tmp_path: Path) -> None:
    paths = draw_by_minute(runs, tmp_path / "deep" / "policies")
    assert {path.suffix for path in paths} == {".pdf", ".svg", ".png"}
    assert all(path.stat().st_size > 2000 for path in paths)
