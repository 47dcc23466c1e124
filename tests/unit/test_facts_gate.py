"""Narrations whose data tell what is right are held by the facts they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_folders import manifest, narration_run, write_run

from evalkit.cli.main import main
from evalkit.records import AnswerRecord
from evalkit_tasks.demo import line, make_match

VIDEOS = 40


def told(folder: Path, forgets: bool = False) -> Path:
    """Write a run that says every line of 40 made-up matches, but names no venue where it forgets."""
    answers = []
    for seed in range(VIDEOS):
        match = make_match(seed, 90)
        for moment in match.moments:
            gold = " ".join(line(match, moment))
            lost = forgets and gold.startswith("here") and moment.at > 0
            answers.append(
                AnswerRecord(
                    sample=f"m{seed}",
                    query=f"m{seed}@{moment.at}",
                    kind="narration",
                    at=moment.at + 1.0,
                    start=float(moment.at),
                    end=moment.at + 1.0,
                    text=" here ..." if lost else f" {gold} ...",
                    gold=gold,
                    cluster=f"m{seed}",
                    tags={"reference": "exact"},
                )
            )
    planned = [f"m{seed}" for seed in range(VIDEOS)]
    return write_run(folder, manifest("inf-streams", "streamingvlm", planned=planned), answers=answers)


def gate(base: Path, head: Path, *words: str) -> int:
    return main(["gate", "--base", str(base), "--head", str(head), "--max-drop", "20", *words])


def test_a_narration_that_forgets_fails_by_what_it_forgot_and_passes_by_what_it_saw(tmp_path, capsys):
    base, head = told(tmp_path / "a"), told(tmp_path / "b", forgets=True)
    assert gate(base, head, "--metric", "demo.venue") == 1
    out = capsys.readouterr().out
    assert "base 100.00 %, head 0.00 %" in out
    assert "gate: fail (demo.venue)" in out
    assert gate(base, head, "--metric", "demo.sight", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["unit"], found["checks"][0]["n"]) == ("facts", VIDEOS * 90)
    assert gate(base, told(tmp_path / "c"), "--metric", "demo.venue") == 0
    assert main(["compare", str(base), str(head), "--metric", "demo.venue", "--json"]) == 0


def test_a_fact_that_the_data_do_not_tell_is_refused_with_those_they_do(tmp_path, capsys):
    base = told(tmp_path / "a")
    assert gate(base, base, "--metric", "demo.venues") == 2
    assert "did you mean 'demo.venue'?" in capsys.readouterr().err
    other = narration_run(tmp_path / "other")
    assert gate(other, other, "--metric", "demo.venue") == 2
    assert "(here: win rate)" in capsys.readouterr().err


@pytest.mark.parametrize("metric", ["demo.kept", "demo.added"])
def test_what_depends_on_the_narration_itself_is_no_score_of_two(tmp_path, metric):
    base = told(tmp_path / "a")
    assert gate(base, base, "--metric", metric) == 2
