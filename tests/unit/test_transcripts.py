"""What two runs said, side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_folders import narration_run, question_run

from evalkit.leaderboard.answers import score_run, score_runs
from evalkit.leaderboard.transcripts import compare_transcripts
from evalkit.records import read_run


def edited(folder: Path, change) -> Path:
    """Write a run of 40 questions whose answer records `change` may alter or take away (None)."""
    question_run(folder, "full", questions=40)
    path = folder / "answers.jsonl"
    rows = [change(number, json.loads(line)) for number, line in enumerate(path.read_text().splitlines())]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows if row is not None))
    return folder


def pair(tmp_path: Path, change):
    folders = edited(tmp_path / "a", lambda _, row: row), edited(tmp_path / "b", change)
    return compare_transcripts(*(score_run(path.name, read_run(path)) for path in folders))


def test_equal_runs_are_identical(tmp_path):
    found = pair(tmp_path, lambda _, row: row)
    assert found.identical
    assert (found.replies, found.differing, found.lost, found.gained) == (40, 0, 0, 0)
    assert "identical answers (transcripts equal): 40 of 40 replies" in found.sentence()


def test_another_wording_of_the_same_letter_is_another_reply_and_no_flip(tmp_path):
    found = pair(tmp_path, lambda n, row: {**row, "text": row["text"] + "!"} if n == 7 else row)
    assert (found.differing, found.first, found.lost, found.gained) == (1, "q7", 0, 0)
    assert not found.identical
    assert "1 of 40 replies differ, the first at q7; 0 of 40 scores fell, 0 rose" in found.sentence()


def spoilt(row):
    wrong = "A" if row["gold"] != "A" else "B"
    return {**row, "text": f"({wrong})", "parsed": wrong}


def mended(row):
    return {**row, "text": f"({row['gold']})", "parsed": row["gold"], "status": "ok", "unparsed": None}


def test_flips_are_counted_both_ways(tmp_path):
    def change(number, row):
        return spoilt(row) if number < 10 else mended(row)

    rows = [json.loads(line) for line in (edited(tmp_path / "c", lambda _, r: r) / "answers.jsonl").open()]
    right = [row["parsed"] == row["gold"] for row in rows]
    found = pair(tmp_path, change)
    assert found.lost == sum(right[:10]) > 0
    assert found.gained == sum(not one for one in right[10:]) > 0


def test_a_reply_that_failed_or_cannot_be_read_lowers_the_coverage_of_its_side(tmp_path):
    def change(number, row):
        if number == 0:
            return {**row, "status": "failed", "text": "", "error": "x", "parsed": None, "unparsed": None}
        return {**row, "parsed": None, "unparsed": "two letters"} if number == 1 else mended(row)

    found = pair(tmp_path, change)
    assert found.coverage[1] == pytest.approx(38 / 40)
    assert found.sentence().endswith("head 95.00 %")


def test_a_reply_that_one_run_lacks_differs(tmp_path):
    found = pair(tmp_path, lambda n, row: None if n == 3 else row)
    assert (found.replies, found.differing, found.first, found.scored) == (40, 1, "q3", 39)


def test_narrations_are_compared_second_by_second(tmp_path):
    paths = [narration_run(tmp_path / name, videos=2, seconds=40, seed=0) for name in ("a", "b")]
    scored = score_runs({path.name: read_run(path) for path in paths})
    found = compare_transcripts(*scored)
    assert found.identical
    assert found.replies == 80
