"""When the gate fails, passes, or cannot tell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from run_folders import question_run

from evalkit.cli.main import main
from evalkit.errors import DataError, UsageError
from evalkit.leaderboard.gate import judge_score, judge_speed, overall, run_gate
from evalkit.leaderboard.latency import SecondRatio, median_seconds
from evalkit.records import RunFolder, StageTimes, TickRecord, read_run
from evalkit.stats import CompareOptions, compare_pair

SAME = {"policy": "one"}


def questions(folder: Path, model: str = "full", **changes) -> Path:
    return question_run(folder, model, fingerprint={**SAME, **changes.pop("fingerprint", {})}, **changes)


def scores(drop: float, videos: int, seed: int = 0, per_video: int = 5):
    """Return correlated base and head scores whose true difference is -drop."""
    rng = np.random.default_rng(seed)
    n = videos * per_video
    base = (rng.random(n) < 0.6).astype(float)
    changed = rng.random(n) < 0.1
    head = np.where(changed, (rng.random(n) < 0.6).astype(float), base)
    lost = (rng.random(n) < drop / 0.6) & (head == 1)
    return base, np.where(lost, 0.0, head), np.repeat(np.arange(videos), per_video)


def test_a_drop_that_is_shown_to_exceed_the_margin_fails():
    check = judge_score(*scores(0.10, 500), 0.01)
    assert check.outcome == "fail"
    assert check.high < -0.01
    assert check.videos_needed is None


def test_a_drop_that_is_ruled_out_passes():
    check = judge_score(*scores(0.0, 3000), 0.01)
    assert check.outcome == "pass"
    assert check.low > -0.01


def test_too_few_videos_cannot_tell_and_say_how_many_are_needed():
    check = judge_score(*scores(0.0, 30), 0.01)
    assert check.outcome == "cannot tell"
    assert check.mde > 0.01
    assert check.videos_needed > 30
    assert f"cannot tell: {check.videos_needed} videos needed" in check.reason


def test_the_bounds_are_those_of_the_paired_comparison():
    base, head, videos = scores(0.02, 60)
    check = judge_score(base, head, videos, 0.01)
    paired = compare_pair(head, base, videos, options=CompareOptions(confidence=0.9))
    assert (check.low, check.high, check.mde) == (paired.low, paired.high, paired.mde)


def test_the_number_of_videos_it_asks_for_is_enough():
    pilot = judge_score(*scores(0.0, 100, seed=3), 0.01)
    assert pilot.outcome == "cannot tell"
    told = [
        judge_score(*scores(0.0, 2 * pilot.videos_needed, seed=seed), 0.01).outcome == "pass" for seed in range(20)
    ]
    assert np.mean(told) >= 0.8


@pytest.mark.parametrize("drop", [0.02])
def test_a_true_drop_of_exactly_the_margin_seldom_passes_and_seldom_fails(drop):
    outcomes = [judge_score(*scores(drop, 300, seed=seed), drop).outcome for seed in range(200)]
    assert outcomes.count("pass") / 200 <= 0.09
    assert outcomes.count("fail") / 200 <= 0.09


def test_few_videos_that_agree_are_no_proof():
    same = [1.0, 0.0] * 3
    check = judge_score(same, same, [0, 0, 1, 1, 2, 2], 0.01)
    assert check.outcome == "cannot tell"
    assert check.videos_needed == 299
    assert "no two differ" in check.reason


def test_as_many_agreeing_videos_as_it_asks_for_pass():
    same = [1.0] * 299
    assert judge_score(same, same, list(range(299)), 0.01).outcome == "pass"
    assert judge_score(same[1:], same[1:], list(range(298)), 0.01).outcome == "cannot tell"


def test_a_head_that_loses_every_question_fails_although_nothing_spreads():
    assert judge_score([1.0] * 20, [0.0] * 20, list(range(20)), 0.01).outcome == "fail"


def test_one_video_alone_cannot_tell():
    check = judge_score([1.0, 0.0, 1.0], [0.0, 0.0, 0.0], ["a"] * 3, 0.5)
    assert check.outcome == "cannot tell"
    assert check.videos_needed == 2
    assert (check.low, check.high, check.mde) == (None, None, None)


def ratio(value: float, low: float | None, high: float | None) -> SecondRatio:
    return SecondRatio(value, low, high, None if low is None else 0.02, value, 1.0, 600, 4)


@pytest.mark.parametrize(
    ("measured", "outcome"),
    [
        (ratio(1.2, 1.15, 1.25), "fail"),
        (ratio(1.0, 0.97, 1.03), "pass"),
        (ratio(1.08, 1.02, 1.14), "cannot tell"),
        (ratio(1.0, None, None), "cannot tell"),
        (None, "cannot tell"),
    ],
)
def test_speed_is_judged_by_the_bounds_of_the_ratio(measured, outcome):
    assert judge_speed(measured, 0.10).outcome == outcome


def test_a_failure_outweighs_doubt_and_doubt_a_pass():
    failing, passing = judge_speed(ratio(2, 1.9, 2.1), 0.1), judge_speed(ratio(1, 0.99, 1.01), 0.1)
    unsure = judge_speed(None, 0.1)
    assert overall([passing, unsure, failing]) == "fail"
    assert overall([passing, unsure]) == "cannot tell"
    assert overall([passing]) == "pass"


def ticks(factor: float, seconds: int = 1200, seed: int = 0) -> list[TickRecord]:
    rng = np.random.default_rng(seed)
    drift = np.repeat(rng.normal(0, 0.03, seconds // 60 + 1), 60)[:seconds]
    times = factor * np.exp(rng.normal(0, 0.1, seconds) + drift)
    times[:: seconds // 10] *= 20
    return [
        TickRecord(sample="v", second=i, start=i, end=i + 1, frames=2, stages=StageTimes(total=float(time)))
        for i, time in enumerate(times)
    ]


def test_a_few_very_slow_seconds_do_not_move_the_median_ratio():
    found = median_seconds({"a": ticks(1.1), "b": ticks(1.0, seed=1)}).ratio("a", "b")
    assert found.ratio == pytest.approx(1.1, abs=0.04)
    assert found.low < 1.1 < found.high


def test_the_interval_of_the_ratio_covers_the_truth():
    hits = 0
    for seed in range(30):
        found = median_seconds({"a": ticks(1.1, 900, seed), "b": ticks(1.0, 900, 1000 + seed)}, draws=200).ratio(
            "a", "b"
        )
        hits += found.low <= 1.1 <= found.high
    assert hits >= 25


def test_a_stream_too_short_to_resample_has_no_interval():
    found = median_seconds({"a": ticks(1.0, 40), "b": ticks(1.0, 40)}).ratio("a", "b")
    assert (found.low, found.high) == (None, None)


def gate(base: Path, head: Path, *words: str) -> int:
    return main(["gate", "--base", str(base), "--head", str(head), *words])


def test_the_command_exits_1_where_a_drop_is_shown(tmp_path, capsys):
    a, b = questions(tmp_path / "a", accuracy=0.9), questions(tmp_path / "b", "stc", accuracy=0.3)
    assert gate(a, b, "--max-drop", "1.0") == 1
    out = capsys.readouterr().out
    assert "gate: fail" in out
    assert "minimal detectable effect" in out


def test_the_command_exits_0_where_a_drop_is_ruled_out(tmp_path, capsys):
    a, b = questions(tmp_path / "a", accuracy=0.3), questions(tmp_path / "b", "stc", accuracy=0.9)
    assert gate(a, b, "--max-drop", "1.0") == 0
    assert "gate: pass" in capsys.readouterr().out


def test_the_command_exits_4_where_it_cannot_tell(tmp_path, capsys):
    a, b = questions(tmp_path / "a"), questions(tmp_path / "b", "stc")
    assert gate(a, b, "--max-drop", "1.0") == 4
    assert "videos needed" in capsys.readouterr().out


def test_the_json_holds_every_figure_of_the_decision(tmp_path, capsys):
    a, b = questions(tmp_path / "a"), questions(tmp_path / "b", "stc")
    assert gate(a, b, "--max-drop", "30", "--max-slowdown", "500%", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["exit_code"]) == ("pass", 0)
    score, speed = found["checks"]
    assert score["limit"] == -30
    assert score["low"] > -30
    assert speed["limit"] == 6.0
    assert speed["high"] <= 6.0


def test_a_slowdown_that_is_shown_fails_although_the_score_is_fine(tmp_path):
    base, head = questions(tmp_path / "a", accuracy=0.3), questions(tmp_path / "b", "stc", accuracy=0.9)
    path = head / "ticks.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row["stages"]["total"] *= 3
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert gate(base, head, "--max-drop", "1", "--max-slowdown", "10%") == 1
    assert gate(base, head, "--max-drop", "1") == 0


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
        run_gate(read_run(a), read_run(b), max_drop=0.5, max_slowdown=0.1)


@pytest.mark.parametrize(
    "words", [["--max-drop", "0"], ["--max-drop", "nan"], ["--max-drop", "1", "--max-slowdown", "0%"], []]
)
def test_margins_that_are_none_are_refused(tmp_path, capsys, words):
    assert gate(tmp_path, tmp_path, *words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_margin_must_be_positive_in_python_too(tmp_path):
    run = read_run(questions(tmp_path / "a"))
    with pytest.raises(UsageError):
        run_gate(run, run, max_drop=0.0)


def test_a_run_without_answers_is_one_line(tmp_path, capsys):
    a, b = questions(tmp_path / "a"), questions(tmp_path / "b", "stc")
    (b / "answers.jsonl").unlink()
    assert gate(a, b, "--max-drop", "1") == 2
    assert "no answers on record" in capsys.readouterr().err
