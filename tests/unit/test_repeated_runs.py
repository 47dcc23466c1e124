"""Several runs of one model: where they lie, what they are averaged to, what options ask for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_folders import question_run

from evalkit.cli.main import main
from evalkit.errors import UsageError
from evalkit.records import read_run, run_folders
from evalkit.report.runs import load_runs
from evalkit.run.options import RunOptions
from evalkit.run.several import single_runs


def model(folder: Path, name: str, accuracy: float, seeds: tuple[int, ...]) -> Path:
    """Write one run per seed, each with its own right answers, below one folder."""
    for seed in seeds:
        fingerprint = {"policy": "one", "seed": seed}
        question_run(folder / f"seed-{seed}", name, accuracy=accuracy, seed=seed, fingerprint=fingerprint)
    return folder


def options(**more: object) -> RunOptions:
    return RunOptions(task="inf-streams", model="streamingvlm", **more)


def test_runs_of_a_folder_are_found_in_the_order_of_their_numbers(tmp_path):
    for name in ("run-10", "run-2", "notes"):
        (tmp_path / name).mkdir()
    for name in ("run-10", "run-2"):
        (tmp_path / name / "run.json").write_text("{}")
    assert run_folders([tmp_path]) == [tmp_path / "run-2", tmp_path / "run-10"]
    assert run_folders([tmp_path / "run-2", tmp_path / "none"]) == [tmp_path / "run-2", tmp_path / "none"]


def test_a_score_of_several_seeds_is_their_mean_with_the_deviation_apart(tmp_path, capsys):
    folder = model(tmp_path / "a", "full", 0.6, (1, 2, 3))
    assert main(["score", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    values = found["repeats"]["values"]
    assert len(set(values)) > 1
    assert found["mean"]["value"] == pytest.approx(100 * sum(values) / 3)
    assert found["mean"]["low"] < found["mean"]["value"] < found["mean"]["high"]
    assert main(["score", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "mean of 3 runs (seeds 1, 2, 3)" in out
    assert "standard deviation between runs" in out


def test_sides_with_several_seeds_each_compare_and_gate_though_the_seeds_differ(tmp_path, capsys):
    a, b = model(tmp_path / "a", "full", 0.6, (1, 2, 3)), model(tmp_path / "b", "stc", 0.6, (4, 5))
    assert main(["compare", str(a), str(b), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    means = [100 * sum(run["repeats"]["values"]) / len(run["repeats"]["values"]) for run in found["runs"]]
    assert [run["score"] for run in found["runs"]] == pytest.approx(means)
    assert found["pairs"][0]["difference"] == pytest.approx(means[0] - means[1])
    assert main(["gate", "--base", str(a), "--head", str(b), "--max-drop", "90"]) == 0
    assert "note: head: mean of 2 runs (seeds 4, 5)" in capsys.readouterr().out
    assert main(["compare", str(a / "seed-1"), str(b / "seed-4")]) == 2
    assert "seed (1 against 4)" in capsys.readouterr().err


def test_runs_of_two_models_are_not_averaged(tmp_path, capsys):
    folder = model(tmp_path / "a", "full", 0.6, (1,))
    question_run(folder / "seed-2", "stc", fingerprint={"policy": "two", "seed": 2, "fps": 1.0})
    assert main(["score", str(folder)]) == 2
    assert "not one model in one setting" in capsys.readouterr().err


def test_a_page_plots_and_places_are_made_of_every_run_of_a_folder(tmp_path, capsys):
    mine = model(tmp_path, "mine", 0.6, (1, 2))
    assert main(["report", str(mine), "--out", str(tmp_path / "page.html")]) == 0
    assert {run.label for run in load_runs([mine])} == {"mine seed 1", "mine seed 2"}
    capsys.readouterr()
    assert main(["judge", str(mine), "--against", str(mine), "--judge", "overlap"]) == 2
    assert "holds 2 runs (seed-1, seed-2): name one of them" in capsys.readouterr().err


def test_seeds_are_runs_with_one_seed_each():
    runs = single_runs(options(seeds=3, seed=7, out="o"))
    assert [(run.seed, run.out, run.seeds) for run in runs] == [(n, f"o/seed-{n}", None) for n in (7, 8, 9)]


def test_two_sides_are_timed_in_turns(tmp_path):
    beside = tmp_path / "b.toml"
    beside.write_text("[memory]\nsink = 0\n")
    runs = single_runs(options(repeat=2, beside=str(beside), out="o", settings={"memory.window": 4}))
    assert [run.out for run in runs] == ["o/a/run-1", "o/b/run-1", "o/a/run-2", "o/b/run-2"]
    assert [run.settings.get("memory.sink") for run in runs] == [None, 0, None, 0]
    assert all(run.settings["memory.window"] == 4 for run in runs)


def test_finished_runs_are_not_run_again(tmp_path):
    question_run(tmp_path / "run-1", "full")
    read_run(tmp_path / "run-1")
    runs = single_runs(options(repeat=2, out=str(tmp_path), resume=True))
    assert [(Path(run.out or "").name, run.resume) for run in runs][-1] == ("run-2", False)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"seeds": 2, "repeat": 2}, "one of the two"),
        ({"beside": "b.toml"}, "wants --repeat"),
        ({"seeds": 2, "resume": True}, "wants their folder"),
    ],
)
def test_options_that_do_not_go_together_are_refused(more, text):
    with pytest.raises(UsageError, match=text):
        single_runs(options(**more))


def test_a_second_side_that_changes_nothing_or_the_data_is_refused(tmp_path):
    beside = tmp_path / "b.toml"
    beside.write_text("seed = 42\n")
    with pytest.raises(UsageError, match="changes nothing"):
        single_runs(options(repeat=2, beside=str(beside), out="o"))
    beside.write_text("limit = 2\n")
    with pytest.raises(UsageError, match="limit must be the same"):
        single_runs(options(repeat=2, beside=str(beside), out="o"))


def test_sides_whose_first_runs_say_the_same_are_not_called_identical_where_their_means_differ(tmp_path, capsys):
    a, b = model(tmp_path / "a", "full", 0.6, (1, 2)), model(tmp_path / "b", "full", 0.6, (1, 3))
    assert main(["compare", str(a), str(b), "--json"]) == 0
    pair = json.loads(capsys.readouterr().out)["pairs"][0]
    assert pair["replies_differing"] == 0
    assert pair["difference"] != 0
    assert pair["low"] is not None
    assert not pair["transcripts_equal"]
