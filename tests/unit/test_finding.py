"""The sentence a page opens with: the comparison asked for, its interval and what it means."""

from __future__ import annotations

from pathlib import Path

from evalkit.leaderboard.finding import findings
from evalkit.report.runs import load_runs
from tests.run_folders import narration_run, question_run

SAME = {"model": "m", "policy": "m"}
"""What the records call a model is no field of these, so that they compare."""


def test_two_models_far_apart_on_many_videos_are_told_apart(tmp_path: Path) -> None:
    runs = [
        question_run(tmp_path / "good", "full", accuracy=0.9, questions=400, fingerprint=SAME),
        question_run(tmp_path / "bad", "blind", accuracy=0.3, questions=400, fingerprint=SAME),
    ]
    (one,) = findings(load_runs(runs))
    assert one.state == "better"
    assert one.meaning.startswith("full is better (p = 0.0")
    assert "points more than blind [" in one.text
    assert "400 questions on 50 videos" in one.text
    (other,) = findings(load_runs(runs[::-1]))
    assert other.state == "worse"
    assert "points less than full [" in other.text


def test_two_videos_tell_nothing_and_the_sentence_says_so(tmp_path: Path) -> None:
    runs = [
        question_run(tmp_path / name, name, questions=16, accuracy=accuracy, fingerprint=SAME)
        for name, accuracy in (("a", 0.9), ("b", 0.2))
    ]
    (one,) = findings(load_runs(runs))
    assert (one.state, one.meaning) == ("open", "Cannot tell: 2 videos.")


def test_the_same_replies_and_runs_that_do_not_compare_are_named_as_such(tmp_path: Path) -> None:
    same = [question_run(tmp_path / name, questions=80) for name in ("one", "two")]
    (one,) = findings(load_runs(same))
    assert one.meaning == "The same replies to everything: there is nothing to tell apart."
    assert "[" not in one.text.partition("against")[0]
    other = question_run(tmp_path / "other", "x", questions=80, fingerprint={"parser": "other"}, seed=1)
    (barred,) = findings(load_runs([same[0], other]))
    assert barred.state == "barred"
    assert "they differ in parser" in barred.meaning


def test_a_judged_run_is_held_against_its_baseline(tmp_path: Path) -> None:
    (one,) = findings(load_runs([narration_run(tmp_path / "run", videos=2, seconds=60)]))
    assert "windows against baseline" in one.text
    assert one.text.endswith("as overlap (not an LLM) sees it.")
    assert one.meaning == "Cannot tell: 2 videos."


def test_nothing_is_said_of_one_unjudged_run_or_of_an_unfinished_one(tmp_path: Path) -> None:
    run = question_run(tmp_path / "run", questions=40)
    going = question_run(tmp_path / "going", "other", questions=40, status="running", finished=None)
    assert findings(load_runs([run])) == []
    assert findings(load_runs([run, going])) == []
