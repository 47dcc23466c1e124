"""Gate, diff and compare test the benchmark's own headline, and any other score by its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ovo_runs import ovo_run
from run_folders import question_run

from evalkit.cli.main import main
from evalkit.errors import UsageError
from evalkit.leaderboard.answers import align, score_run
from evalkit.records import read_run
from evalkit.run.finish import score_run as sheet_of
from evalkit.tasks.headline import composed_score
from evalkit_tasks.ovobench.published import BACKWARD, FORWARD, REALTIME, TASKS

# A sub-task with many questions gains, small ones lose: over questions the run gets better, by the headline worse.
SIZES = {task: 200 if task in REALTIME else 20 for task in TASKS}


def before(task: str, number: int) -> bool:
    return number % 2 == 0


def after(task: str, number: int) -> bool:
    return number % 10 < (6 if task in REALTIME else 3)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return ovo_run(folder / "a", before, sizes=SIZES), ovo_run(folder / "b", after, sizes=SIZES)


def gate(runs, *words: str) -> int:
    return main(["gate", "--base", str(runs[0]), "--head", str(runs[1]), *words])


def test_the_gate_holds_the_headline_and_not_the_mean_over_questions(runs, capsys):
    assert gate(runs, "--max-drop", "2", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    sheets = [sheet_of(read_run(run)) for run in runs]
    assert found["metric"] == "ovo_avg_brf, strict accuracy"
    score = found["checks"][0]
    assert [score["base"], score["head"]] == pytest.approx([sheet.strict.total for sheet in sheets])
    assert gate(runs, "--max-drop", "2", "--metric", "accuracy", "--json") == 0
    score = json.loads(capsys.readouterr().out)["checks"][0]
    assert score["change"] > 0


@pytest.mark.parametrize("metric", ["backward", "realtime", "ovo_avg_br", "ovo_micro_3035", "EPM", "total"])
def test_any_score_of_the_benchmark_is_held_by_its_name(runs, metric, capsys):
    gate(runs, "--max-drop", "2", "--metric", metric, "--json")
    found = json.loads(capsys.readouterr().out)
    strict = sheet_of(read_run(runs[1])).strict
    known = {**strict.tasks, **strict.groups, "total": strict.total}
    assert found["checks"][0]["head"] == pytest.approx(known[metric])
    n = {"EPM": 20, "backward": 20 * len(BACKWARD), "realtime": 200 * len(REALTIME)}.get(metric)
    assert n is None or found["checks"][0]["n"] == n


@pytest.mark.parametrize(
    ("metric", "said"),
    [("backwards", "did you mean 'backward'?"), ("fun", "ovo_avg_brf"), ("win rate", "accuracy")],
)
def test_a_score_that_there_is_not_is_refused_with_those_that_there_are(runs, metric, said, capsys):
    assert gate(runs, "--max-drop", "2", "--metric", metric) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err


def test_compare_tests_the_headline_too(runs, capsys):
    assert main(["compare", str(runs[0]), str(runs[1]), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    sheets = [sheet_of(read_run(run)) for run in runs]
    assert found["metric"] == "ovo_avg_brf, strict accuracy"
    assert found["pairs"][0]["difference"] == pytest.approx(sheets[0].strict.total - sheets[1].strict.total)
    assert [run["score"] for run in found["runs"]] == pytest.approx([sheet.strict.total for sheet in sheets])
    assert main(["compare", str(runs[0]), str(runs[1]), "--metric", "accuracy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"][0]["difference"] < 0


def test_a_part_of_the_benchmark_has_no_headline_gate_asks_for_a_metric_and_compare_says_what_it_took(
    tmp_path, capsys
):
    part = dict.fromkeys(FORWARD, 0)
    folders = [ovo_run(tmp_path / name, before, sizes=part) for name in "ab"]
    assert gate(folders, "--max-drop", "50") == 2
    err = capsys.readouterr().err
    assert f"no questions of {', '.join(FORWARD)}" in err
    assert "--metric (accuracy, " in err
    assert gate(folders, "--max-drop", "50", "--metric", "ovo_avg_br") == 0
    assert main(["compare", *map(str, folders), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["metric"] == "strict accuracy"
    assert any("the mean over its questions is compared" in line for line in found["warnings"])


def test_every_score_of_every_sheet_is_the_weighted_mean_it_is_said_to_be(runs):
    run = read_run(runs[1])
    sheet = sheet_of(run)
    known = {**sheet.strict.tasks, **sheet.strict.groups, "total": sheet.strict.total}
    for name, value in known.items():
        made = composed_score(sheet, name)
        assert sum(made.weights.values()) == pytest.approx(1)
        assert 100 * score_run("b", run, metric=name).value == pytest.approx(value)


def test_a_score_without_an_interval_names_the_part_that_lies_on_one_video(tmp_path, capsys):
    run = ovo_run(tmp_path / "a", before, sizes={"OCR": 1})
    assert main(["score", "--task", "ovobench", str(run)]) == 0
    assert "no interval: OCR on one video only" in capsys.readouterr().out


def test_runs_are_aligned_with_the_parts_of_the_score(runs):
    scored = [score_run(name, read_run(run)) for name, run in zip("ab", runs, strict=True)]
    aligned = align(scored)
    assert set(aligned.composition.names) == set(TASKS)
    assert aligned.composition.weights.sum() == pytest.approx(1)


def test_a_task_that_is_not_installed_has_its_accuracy_alone(tmp_path):
    run = read_run(question_run(tmp_path / "a"))
    assert score_run("a", run, metric="accuracy").value == pytest.approx(0.6, abs=0.1)
    with pytest.raises(UsageError, match="not installed"):
        score_run("a", run, metric="backward")
