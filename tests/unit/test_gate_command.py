"""The command `evalkit gate`: exit codes, what it prints, and what it refuses."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from run_folders import question_run

from evalkit.cli.main import main
from evalkit.errors import DataError, UsageError
from evalkit.leaderboard.gate import GateRule, run_gate
from evalkit.records import RunFolder, read_run

SAME = {"policy": "one"}


def questions(folder: Path, model: str = "full", **changes) -> Path:
    return question_run(folder, model, fingerprint={**SAME, **changes.pop("fingerprint", {})}, **changes)


def gate(base: Path | list[Path], head: Path | list[Path], *words: str) -> int:
    sides = [[str(one) for one in (side if isinstance(side, list) else [side])] for side in (base, head)]
    return main(["gate", "--base", *sides[0], "--head", *sides[1], *words])


def test_the_command_exits_1_where_a_drop_is_shown(tmp_path, capsys):
    a, b = questions(tmp_path / "a", accuracy=0.9), questions(tmp_path / "b", "stc", accuracy=0.3)
    assert gate(a, b, "--max-drop", "1.0") == 1
    out = capsys.readouterr().out
    assert "gate: fail" in out
    assert "had nothing changed, these data would rule out" in out


def test_the_command_exits_0_where_a_drop_is_ruled_out(tmp_path, capsys):
    a, b = questions(tmp_path / "a", accuracy=0.3), questions(tmp_path / "b", "stc", accuracy=0.9)
    assert gate(a, b, "--max-drop", "1.0") == 0
    assert "gate: pass" in capsys.readouterr().out


def test_the_command_exits_4_where_it_cannot_tell(tmp_path, capsys):
    a, b = questions(tmp_path / "a"), questions(tmp_path / "b", "stc")
    assert gate(a, b, "--max-drop", "1.0") == 4
    assert re.search(r"so few videos: about \d+ needed", capsys.readouterr().out)


def timed(folder: Path, started: int, factor: float, **changes) -> Path:
    """Write a run that began at a minute of one hour and whose seconds took `factor` as long, 3 % noise by run."""
    run = questions(folder, started=f"2025-03-01T10:{started:02}:00Z", **changes)
    path = run / "ticks.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row["stages"]["total"] *= factor * (1 + 0.03 * math.sin(started))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def turns(tmp_path: Path, factor: float, **changes) -> tuple[list[Path], list[Path]]:
    """Write three runs of either side that took turns; the head's seconds take `factor` as long."""
    bases = [timed(tmp_path / f"base-{n}", 10 * n, 1.0, **changes) for n in range(3)]
    heads = [timed(tmp_path / f"head-{n}", 10 * n + 5, factor, **changes) for n in range(3)]
    return bases, heads


def test_the_json_holds_every_figure_of_the_decision(tmp_path, capsys):
    assert gate(*turns(tmp_path, 1.0), "--max-drop", "30", "--max-slowdown", "50%", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["exit_code"], found["error"]) == ("pass", 0, 0.05)
    score, speed = found["checks"]
    assert score["limit"] == -30
    assert -30 < score["low"] <= -score["resolution"] < 0
    assert (speed["limit"], speed["runs"]) == (1.5, 3)
    assert 1 < speed["high"] <= 1.5


def test_a_slowdown_that_repeated_runs_show_fails_although_the_score_is_fine(tmp_path, capsys):
    bases, heads = turns(tmp_path, 1.5)
    assert gate(bases, heads, "--max-drop", "30", "--max-slowdown", "10%") == 1
    assert "the median second is over 10 % longer" in capsys.readouterr().out
    assert gate(bases, heads, "--max-drop", "30") == 0


def test_one_run_of_either_side_cannot_tell_a_slowdown(tmp_path, capsys):
    bases, heads = turns(tmp_path, 1.5)
    assert gate(bases[0], heads[0], "--max-drop", "30", "--max-slowdown", "10%") == 4
    assert "does not show how much runs differ" in capsys.readouterr().out


def test_runs_with_other_seeds_are_compared_where_both_sides_average_over_several(tmp_path, capsys):
    folders = [questions(tmp_path / f"{seed}", fingerprint={"seed": seed}, seed=seed) for seed in range(4)]
    assert gate(folders[0], folders[1], "--max-drop", "90") == 2
    assert "seed (0 against 1)" in capsys.readouterr().err
    assert gate(folders[:2], folders[2:], "--max-drop", "90", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    means = [np.mean([right(folder) for folder in side], axis=0) for side in (folders[:2], folders[2:])]
    assert found["checks"][0]["change"] == pytest.approx(100 * (means[1].mean() - means[0].mean()))
    assert [one["field"] for one in found["ignored"]] == ["seed"]


def right(folder: Path) -> list[bool]:
    rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    return [row["parsed"] == row["gold"] for row in rows]


def test_runs_of_one_side_that_are_not_one_model_are_refused(tmp_path, capsys):
    a = questions(tmp_path / "a", fingerprint={"model.memory.sink": 4})
    b = questions(tmp_path / "b", fingerprint={"model.memory.sink": 0})
    assert gate([a, b], [a, b], "--max-drop", "90") == 2
    assert "model.memory.sink (4 against 0)" in capsys.readouterr().err


def test_a_series_of_gates_names_its_confidence(tmp_path, capsys):
    a = questions(tmp_path / "a")
    assert gate(a, a, "--max-drop", "50", "--look", "20") == 0
    assert "one-sided 99.9881 % bounds" in capsys.readouterr().out
    assert gate(a, a, "--max-drop", "50", "--look", "0") == 2
    assert "from 1" in capsys.readouterr().err


def test_runs_that_may_not_be_compared_are_refused_unless_asked(tmp_path, capsys):
    a = questions(tmp_path / "a", fingerprint={"code.revision": "1"})
    b = questions(tmp_path / "b", "stc", fingerprint={"code.revision": "2"})
    assert gate(a, b, "--max-drop", "90") == 2
    assert 'code.revision ("1" against "2")' in capsys.readouterr().err
    assert gate(a, b, "--max-drop", "90", "--ignore-field", "code.revision") == 0
    assert "NOT comparable" not in capsys.readouterr().out
    assert gate(a, b, "--max-drop", "90", "--allow-mismatch") == 0
    assert "NOT comparable, judged on demand: code.revision" in capsys.readouterr().out


def test_a_field_that_no_run_has_is_refused_with_a_suggestion(tmp_path, capsys):
    a = questions(tmp_path / "a", fingerprint={"code.revision": "1"})
    assert gate(a, a, "--max-drop", "90", "--ignore-field", "code.revison") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "did you mean 'code.revision'?" in err


def test_what_may_differ_is_named_with_both_values(tmp_path, capsys):
    a = questions(tmp_path / "a", fingerprint={"code.revision": "1", "code.change": None})
    b = questions(tmp_path / "b", fingerprint={"code.revision": "1", "code.change": "f00"})
    assert gate(a, b, "--max-drop", "90", "--ignore-field", "code") == 0
    assert 'allowed to differ: code.change (absent against "f00")' in capsys.readouterr().out


def test_the_text_says_whether_the_answers_are_the_same_and_which_way_they_changed(tmp_path, capsys):
    a, same = questions(tmp_path / "a"), questions(tmp_path / "same")
    other = questions(tmp_path / "other", "stc", fingerprint={"model.memory.sink": 0})
    assert gate(a, same, "--max-drop", "90") == 0
    out = capsys.readouterr().out
    assert "identical answers (transcripts equal): 200 of 200 replies" in out
    assert "under test: no model setting differs" in out
    gate(a, other, "--max-drop", "90", "--json")
    found = json.loads(capsys.readouterr().out)
    transcripts = found["transcripts"]
    score = found["checks"][0]
    assert not transcripts["identical"]
    assert 0 < transcripts["lost"] + transcripts["gained"] < transcripts["differing"] < 200
    assert (transcripts["gained"] - transcripts["lost"]) / 2 == pytest.approx(score["change"])
    assert {one["field"] for one in found["changed"]} == {"model", "model.memory.sink"}
    assert all(0.9 < share < 1 for share in transcripts["coverage"])


def test_times_of_different_machines_are_refused(tmp_path):
    a, b = questions(tmp_path / "a"), questions(tmp_path / "b", "stc")
    path = RunFolder(b).manifest_path
    path.write_text(json.dumps({**json.loads(path.read_text()), "host": {"gpu": "H200"}}))
    with pytest.raises(DataError, match="different machines"):
        run_gate([read_run(a)], [read_run(b)], GateRule(max_drop=0.5, max_slowdown=0.1))


@pytest.mark.parametrize(
    "words", [["--max-drop", "0"], ["--max-drop", "nan"], ["--max-drop", "1", "--max-slowdown", "0%"], []]
)
def test_margins_that_are_none_are_refused(tmp_path, capsys, words):
    assert gate(tmp_path, tmp_path, *words) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("margins", [{"max_drop": 0.0}, {"max_drop": 0.1, "max_slowdown": 0.0}, {"max_drop": 1.5}])
def test_a_margin_must_be_positive_in_python_too(margins):
    with pytest.raises(UsageError, match="margins"):
        GateRule(**margins)


def test_a_run_without_answers_is_one_line(tmp_path, capsys):
    a, b = questions(tmp_path / "a"), questions(tmp_path / "b", "stc")
    (b / "answers.jsonl").unlink()
    assert gate(a, b, "--max-drop", "1") == 2
    assert "records of 50 of 50 samples are gone" in capsys.readouterr().err
