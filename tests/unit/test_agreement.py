"""The gate on how much of what the base said the head says too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from run_folders import narration_run, question_run

from evalkit.cli.main import main


def gate(capsys, base: Path | list[Path], head: Path | list[Path], *words: str) -> tuple[int, dict]:
    sides = [[str(one) for one in (side if isinstance(side, list) else [side])] for side in (base, head)]
    code = main(["gate", "--base", *sides[0], "--head", *sides[1], "--metric", "agreement", *words, "--json"])
    return code, json.loads(capsys.readouterr().out or "null")


def changed(base: Path, target: Path, say) -> Path:
    shutil.copytree(base, target)
    path = target / "answers.jsonl"
    rows = [say(number, json.loads(line)) for number, line in enumerate(path.read_text().splitlines())]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows if row is not None))
    return target


def test_a_narration_without_verdicts_is_held_second_by_second(tmp_path, capsys):
    base = narration_run(tmp_path / "a", videos=20, seconds=10, judged=False)
    same = narration_run(tmp_path / "b", videos=20, seconds=10, judged=False)
    code, found = gate(capsys, base, same, "--max-drop", "20")
    assert code == 0
    score = found["checks"][0]
    assert (score["base"], score["head"], score["n"], score["videos"]) == (100, 100, 200, 20)
    assert (found["unit"], found["metric"]) == ("replies", "agreement with the base's replies")
    late = changed(base, tmp_path / "c", lambda n, row: {**row, "text": "other"} if n % 10 > 3 else row)
    code, found = gate(capsys, base, late, "--max-drop", "20")
    assert code == 1
    assert found["checks"][0]["head"] == pytest.approx(40)


def test_it_sees_what_the_score_does_not(tmp_path, capsys):
    base = question_run(tmp_path / "a", "full", questions=400)
    reworded = changed(base, tmp_path / "b", lambda _, row: {**row, "text": row["text"] + "."})
    assert main(["gate", "--base", str(base), "--head", str(reworded), "--max-drop", "10"]) == 0
    capsys.readouterr()
    assert gate(capsys, base, reworded, "--max-drop", "10")[0] == 1


def test_a_reply_that_one_side_lacks_does_not_agree(tmp_path, capsys):
    base = question_run(tmp_path / "a", "full", questions=400)
    fewer = changed(base, tmp_path / "b", lambda n, row: row if n % 2 else None)
    code, found = gate(capsys, base, fewer, "--max-drop", "20")
    assert code == 1
    assert (found["checks"][0]["head"], found["checks"][0]["n"]) == (50, 400)


def test_a_base_that_does_not_repeat_itself_is_no_full_agreement(tmp_path, capsys):
    base = question_run(tmp_path / "a", "full", questions=400)
    again = changed(base, tmp_path / "b", lambda n, row: {**row, "text": "?"} if n % 4 == 0 else row)
    code, found = gate(capsys, [base, again], [base, again], "--max-drop", "10")
    assert code == 0
    assert found["checks"][0]["base"] == pytest.approx(87.5)
