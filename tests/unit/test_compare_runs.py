"""Runs against each other, from run folders to the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_folders import manifest, narration_run, question_run

from evalkit.cli.main import main
from evalkit.errors import DataError, UsageError
from evalkit.leaderboard.answers import align, score_runs
from evalkit.leaderboard.compare import compare_runs
from evalkit.leaderboard.comparison_table import comparison_table, comparison_to_json
from evalkit.leaderboard.latency import timed_apart
from evalkit.records import JsonlWriter, RunFolder, TickRecord, VerdictRecord, read_jsonl, read_run
from evalkit.report.latex import to_latex
from evalkit.report.tables import to_csv, to_markdown, to_text
from evalkit.stats import CompareOptions, compare_pair
from tests.growth import LINEAR, growth

SAME = {"policy": "one"}


def questions(folder: Path, model: str = "full", **changes) -> Path:
    return question_run(folder, model, fingerprint={**SAME, **changes.pop("fingerprint", {})}, **changes)


def rewrite(folder: Path, **changes) -> Path:
    """Change the manifest of a run folder."""
    path = RunFolder(folder).manifest_path
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def compared(*folders: Path, **options):
    return compare_runs({folder.name: read_run(folder) for folder in folders}, **options)


def compare_json(capsys, *words: object) -> dict:
    assert main(["compare", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_figures_are_those_of_the_statistics_on_the_records(tmp_path):
    a, b = questions(tmp_path / "a", "full"), questions(tmp_path / "b", "streamingvlm", accuracy=0.8)
    row = compared(a, b).rows[0]
    marks = []
    for folder in (a, b):
        answers = read_run(folder).answers
        marks.append(
            {one.query: (float(one.status == "ok" and one.parsed == one.gold), one.cluster) for one in answers}
        )
    first = [marks[0][query][0] for query in marks[0]]
    second = [marks[1][query][0] for query in marks[0]]
    expected = compare_pair(first, second, [cluster for _, cluster in marks[0].values()])
    assert row.paired == expected


def test_points_p_values_and_counts_are_all_in_the_json(tmp_path, capsys):
    found = compare_json(capsys, questions(tmp_path / "a"), questions(tmp_path / "b", "stc"), "--margin", "1.0")
    pair = found["pairs"][0]
    assert pair["difference"] == pytest.approx(pair["score_a"] - pair["score_b"])
    assert pair["low"] < pair["difference"] < pair["high"]
    for key in ("p", "p_holm", "p_t", "p_mcnemar", "rho", "mde", "deff", "se"):
        assert isinstance(pair[key], float), key
    assert pair["only_a"] + pair["only_b"] > 0
    assert pair["clusters"] == 25
    assert pair["non_inferiority"]["margin"] == pytest.approx(1.0)
    assert pair["seconds"]["ratio"] > 0
    assert found["n"] == 200
    assert found["mismatched"] is False


def test_holm_is_taken_over_the_whole_table(tmp_path):
    folders = [questions(tmp_path / f"r{i}", f"m{i}", accuracy=0.5 + 0.1 * i) for i in range(4)]
    rows = compared(*folders).rows
    assert len(rows) == 6
    smallest = min(rows, key=lambda row: row.paired.permutation_p)
    assert smallest.p_holm == pytest.approx(min(1.0, 6 * smallest.paired.permutation_p))


@pytest.mark.parametrize("write", [to_text, to_markdown, to_latex, to_csv])
def test_every_form_of_the_table_shows_the_same_difference(tmp_path, write):
    comparison = compared(questions(tmp_path / "a"), questions(tmp_path / "b", "stc", accuracy=0.3))
    shown = f"{100 * comparison.rows[0].paired.difference:.2f}"
    assert shown in write(comparison_table(comparison))


def test_the_minimal_detectable_effect_stands_under_the_table(tmp_path, capsys):
    assert main(["compare", str(questions(tmp_path / "a")), str(questions(tmp_path / "b", "stc"))]) == 0
    out = capsys.readouterr().out
    assert "Minimal detectable effect (80 % power, two-sided):" in out
    assert "n = 200 questions on 25 videos" in out


def test_two_runs_of_one_model_show_how_many_answers_flipped(tmp_path):
    a = questions(tmp_path / "a", seed=1)
    b = questions(tmp_path / "b", seed=2)
    row = compared(a, b).rows[0]
    assert row.same_model
    assert 0.3 < row.flips.value < 0.7
    assert compared(a, questions(tmp_path / "c", "stc")).rows[0].flips is None


def test_runs_that_differ_in_more_than_the_model_are_refused_with_the_fields(tmp_path, capsys):
    a = questions(tmp_path / "a", fingerprint={"fps": 2.0})
    b = questions(tmp_path / "b", "stc", fingerprint={"fps": 8.0})
    assert main(["compare", str(a), str(b)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "fps (2.0 against 8.0)" in err
    assert "--allow-mismatch" in err


def test_allow_mismatch_goes_on_and_marks_the_result(tmp_path, capsys):
    a = questions(tmp_path / "a", fingerprint={"fps": 2.0})
    b = questions(tmp_path / "b", "stc", fingerprint={"fps": 8.0})
    found = compare_json(capsys, a, b, "--allow-mismatch")
    assert found["mismatched"] is True
    assert found["pairs"][0]["mismatches"] == [{"field": "fps", "a": 2.0, "b": 8.0}]
    assert main(["compare", str(a), str(b), "--allow-mismatch"]) == 0
    out = capsys.readouterr().out
    assert "full ≠" in out
    assert "NOT comparable" in out


def test_runs_on_other_questions_are_refused_and_share_only_the_common_ones_on_demand(tmp_path):
    a, b = questions(tmp_path / "a"), questions(tmp_path / "b", "stc", questions=160)
    with pytest.raises(DataError, match=r"questions \(\"200 of which 40 alone: q160"):
        compared(a, b)
    assert compared(a, b, allow_mismatch=True).n == 160


def test_runs_without_a_common_question_are_one_line(tmp_path):
    a, b = questions(tmp_path / "a", questions=20), questions(tmp_path / "b", "stc", questions=20)
    records = read_run(b)
    answers = [one.model_copy(update={"query": f"other-{one.query}"}) for one in records.answers]
    records.folder.answers_path.unlink()
    with JsonlWriter(records.folder.answers_path) as writer:
        for one in answers:
            writer.append(one)
    with pytest.raises(DataError, match="no question in common"):
        compared(a, b, allow_mismatch=True)


def test_runs_of_different_tasks_are_refused(tmp_path, capsys):
    a, b = questions(tmp_path / "a"), questions(tmp_path / "b", task="videomme")
    assert main(["compare", str(a), str(b), "--allow-mismatch"]) == 2
    assert "different tasks" in capsys.readouterr().err
    with pytest.raises(UsageError, match="different tasks"):
        compared(a, b)


def test_a_run_without_answers_is_refused(tmp_path):
    a, b = questions(tmp_path / "a"), questions(tmp_path / "b", "stc")
    (b / "answers.jsonl").unlink()
    with pytest.raises(DataError, match="samples are gone"):
        compared(a, b)


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_an_unfinished_run_is_refused(tmp_path, status):
    a, b = questions(tmp_path / "a"), rewrite(questions(tmp_path / "b", "stc"), status=status)
    with pytest.raises(DataError, match=str(b)):
        compared(a, b)


def test_one_video_alone_has_no_interval_and_says_so(tmp_path, capsys):
    a, b = questions(tmp_path / "a", questions=8), questions(tmp_path / "b", "stc", questions=8, accuracy=0.2)
    pair = compare_json(capsys, a, b)["pairs"][0]
    assert (pair["low"], pair["high"], pair["p"], pair["mde"]) == (None, None, None, None)
    assert "one video only" in pair["note"]


def test_runs_that_are_all_correct_are_compared_without_a_wrong_number(tmp_path):
    folders = []
    for name in ("full", "stc"):
        records = read_run(questions(tmp_path / name, name))
        answers = [
            one.model_copy(
                update={"text": one.gold, "parsed": one.gold, "status": "ok", "unparsed": None, "error": None}
            )
            for one in records.answers
        ]
        records.folder.answers_path.unlink()
        with JsonlWriter(records.folder.answers_path) as writer:
            for one in answers:
                writer.append(one)
        folders.append(records.folder.path)
    row = compared(*folders, options=CompareOptions(margin=0.01)).rows[0]
    assert (row.paired.mean_a, row.paired.difference, row.paired.rho, row.paired.mde) == (1.0, 0.0, None, None)
    assert row.paired.identical
    assert "could still differ" in row.paired.note


def test_compression_that_changes_no_answer_is_warned_about(tmp_path):
    a = questions(tmp_path / "a", fingerprint={"model.compress": ""})
    b = questions(tmp_path / "b", fingerprint={"model.compress": "stc"})
    c = questions(tmp_path / "c", seed=5, fingerprint={"model.compress": "stc"})
    assert any("check that the compressor took effect" in line for line in compared(a, b).warnings)
    assert not any("compressor" in line for line in compared(a, c).warnings)


def test_times_on_different_machines_give_no_ratio(tmp_path):
    a = questions(tmp_path / "a")
    b = rewrite(questions(tmp_path / "b", "stc"), host={"gpu": "H200", "device": "cuda:0"})
    comparison = compared(a, b)
    assert comparison.rows[0].seconds is None
    assert any("different machines" in line for line in comparison.warnings)


def test_the_ratio_of_seconds_is_that_of_the_medians_over_common_seconds(tmp_path):
    a, b = questions(tmp_path / "a"), questions(tmp_path / "b", "stc")
    ticks, _ = read_jsonl(a / "ticks.jsonl", TickRecord)
    (b / "ticks.jsonl").unlink()
    with JsonlWriter(b / "ticks.jsonl") as writer:
        for one in ticks[:-30]:
            stages = one.stages.model_copy(update={"total": one.stages.total / 2})
            writer.append(one.model_copy(update={"stages": stages}))
    ratio = compared(a, b).rows[0].seconds
    assert ratio.ratio == pytest.approx(2.0)
    assert ratio.low == pytest.approx(2.0, abs=0.01)
    assert ratio.seconds == 60


def test_a_time_that_is_no_number_is_left_out_of_the_ratio(tmp_path):
    a, b = questions(tmp_path / "a"), questions(tmp_path / "b", "stc")
    path = b / "ticks.jsonl"
    lines = path.read_text().splitlines()
    first = json.loads(lines[0])
    first["stages"]["total"] = 0.0
    path.write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    assert compared(a, b).rows[0].seconds.seconds == 89


def test_narration_is_compared_by_win_rates_against_the_common_baseline(tmp_path):
    a = narration_run(tmp_path / "a", "full", videos=5, fingerprint=SAME)
    b = narration_run(tmp_path / "b", "streamingvlm", videos=5, fingerprint=SAME)
    comparison = compared(a, b)
    assert comparison.metric == "win rate against baseline, judged by overlap (not an LLM)"
    assert comparison.unit == "windows"
    assert comparison.clusters == 5
    assert comparison.n <= 20
    assert comparison.rows[0].paired.low is not None


def test_narration_without_verdicts_names_the_command(tmp_path):
    a = narration_run(tmp_path / "a", "full", fingerprint=SAME, judged=False)
    b = narration_run(tmp_path / "b", "streamingvlm", fingerprint=SAME)
    with pytest.raises(DataError, match="judge it first"):
        compared(a, b)


def rejudge(folder: Path, **changes) -> Path:
    """Add the same verdicts again as of another judging."""
    verdicts, _ = read_jsonl(folder / "verdicts.jsonl", VerdictRecord)
    with JsonlWriter(folder / "verdicts.jsonl") as writer:
        for one in verdicts:
            writer.append(one.model_copy(update={"key": f"again {one.key}", **changes}))
    return folder


def test_runs_judged_twice_ask_which_judging_is_meant(tmp_path):
    folders = [
        rejudge(narration_run(tmp_path / name, name, fingerprint=SAME), judge="another") for name in ("a", "b")
    ]
    with pytest.raises(UsageError, match="--judge"):
        compared(*folders)
    assert compared(*folders, judge="another").metric.endswith("judged by another")
    assert compared(*folders, judge="overlap").metric.endswith("judged by overlap (not an LLM)")


def test_runs_judged_against_different_baselines_are_refused(tmp_path):
    folders = [narration_run(tmp_path / name, name, fingerprint=SAME) for name in ("a", "b")]
    path = folders[1] / "verdicts.jsonl"
    path.write_text(path.read_text().replace('"baseline_name":"baseline"', '"baseline_name":"other"'))
    with pytest.raises(DataError, match="not judged against one baseline"):
        compared(*folders)


def test_runs_judged_against_two_baselines_of_one_name_are_refused(tmp_path):
    folders = [narration_run(tmp_path / name, name, fingerprint=SAME) for name in ("a", "b")]
    for folder, id_ in zip(folders, ("11111111", "22222222"), strict=True):
        path = folder / "verdicts.jsonl"
        path.write_text(path.read_text().replace('"baseline_id":""', f'"baseline_id":"{id_}"'))
    with pytest.raises(DataError, match="different baselines of the name baseline"):
        compared(*folders)


def test_windows_that_tie_in_all_runs_are_no_difference(tmp_path):
    folders = [narration_run(tmp_path / name, name, fingerprint=SAME) for name in ("a", "b")]
    for folder in folders:
        verdicts, _ = read_jsonl(folder / "verdicts.jsonl", VerdictRecord)
        (folder / "verdicts.jsonl").unlink()
        with JsonlWriter(folder / "verdicts.jsonl") as writer:
            for one in verdicts:
                writer.append(one.model_copy(update={"vote": "tie", "winner": "tie"}))
    row = compared(*folders).rows[0]
    assert (row.paired.mean_a, row.paired.mean_b, row.paired.difference) == (0.5, 0.5, 0.0)


def test_a_moved_video_is_a_mismatch(tmp_path):
    a, b = (read_run(questions(tmp_path / name, name)) for name in ("full", "stc"))
    first = b.answers[0].model_copy(update={"cluster": "elsewhere"})
    moved = [first, *b.answers[1:]]
    aligned = align(score_runs({"a": a, "b": type(b)(b.folder, b.manifest, moved, [], [], None)}))
    assert [one.field for one in aligned.mismatches] == ["video of q0"]


def test_one_run_alone_is_no_comparison(tmp_path, capsys):
    assert main(["compare", str(questions(tmp_path / "a"))]) == 2
    assert "two or more" in capsys.readouterr().err


@pytest.mark.parametrize("margin", ["0", "-1", "nan", "200", "x", "1e-300"])
def test_a_margin_that_is_none_is_refused(margin, capsys):
    assert main(["compare", "a", "b", f"--margin={margin}"]) == 2
    assert "points above 0" in capsys.readouterr().err


def test_power_of_one_pilot_states_what_it_assumes(tmp_path, capsys):
    assert main(["power", str(questions(tmp_path / "a")), "--effect", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["effect"] == 2.0
    assert found["videos"] > found["pilot_videos"] == 25
    assert "correlation of 0.5" in found["note"]


def test_power_of_two_pilots_uses_the_spread_of_their_differences(tmp_path, capsys):
    a, b = questions(tmp_path / "a"), questions(tmp_path / "b", "stc")
    assert main(["power", str(a), str(b), "--effect", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    pair = comparison_to_json(compared(a, b))["pairs"][0]
    assert found["pilot_mde"] == pytest.approx(pair["mde"], rel=0.01)
    assert main(["power", str(a), str(b)]) == 0
    assert "videos" in capsys.readouterr().out


def test_power_from_one_video_is_one_line(tmp_path, capsys):
    assert main(["power", str(questions(tmp_path / "a", questions=8))]) == 2
    assert "one video" in capsys.readouterr().err


def test_comparing_grows_in_proportion_to_the_answers(tmp_path):
    def compare(count):
        runs = [
            read_run(questions(tmp_path / f"{count}-{name}", name, questions=count)) for name in ("full", "stc")
        ]
        return lambda: compare_runs({run.manifest.model: run for run in runs})

    assert growth(compare, 250) < LINEAR


def test_what_two_runs_were_timed_apart_by_is_said_and_nothing_else() -> None:
    host = {"processor": "EPYC", "cores": 2}
    alone, loaded = manifest("t", "m", host=host), manifest("t", "m", host=host, latency="loaded")
    other = manifest("t", "m", host=host | {"cores": 16})
    assert timed_apart([alone, alone]) is None
    assert (
        timed_apart([alone, loaded]) == "not in the same company (one at a time against several samples at once)"
    )
    assert timed_apart([alone, other]) == "on different machines (cores 2 against cores 16)"
    assert timed_apart([alone, manifest("t", "m", host={})]) == (
        "on different machines (processor EPYC, cores 2 against unrecorded)"
    )
