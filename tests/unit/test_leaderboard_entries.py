"""From a run to a row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_folders import narration_run, question_run

from evalkit.cli.main import main
from evalkit.errors import DataError, UsageError
from evalkit.leaderboard.entries import add_row, empty_board, row_of_run, slug
from evalkit.leaderboard.files import read_board
from evalkit.leaderboard.schema import Entry, Leaderboard, PublishedSource, Setting
from evalkit.records import RunFolder, read_run

SAME = {"policy": "one"}


def questions(folder: Path, model: str = "full", **changes) -> Path:
    return question_run(folder, model, fingerprint={**SAME, **changes.pop("fingerprint", {})}, **changes)


def add(tmp_path: Path, *words: str) -> int:
    return main(["leaderboard", "add", *words, "--leaderboards", str(tmp_path / "boards")])


def test_a_run_becomes_a_row_with_its_interval_fingerprint_and_source(tmp_path):
    row = row_of_run(read_run(questions(tmp_path / "2025-run")))
    entry = row.entry
    assert entry.id == "full-tiny"
    assert entry.metrics["total"] == pytest.approx(entry.low + 5, abs=1e-6)
    assert entry.n == 200
    assert entry.clusters == 25
    assert 0.9 < entry.coverage < 1
    assert entry.source.run == "2025-run"
    assert entry.source.git == "0123abc"
    assert entry.fingerprint["dtype"] == "float32"
    assert entry.hardware == "cpu 16 cores, machine x86_64, device cpu"
    assert entry.date == "2025-03-01"
    assert "OCR" in entry.metrics


def test_no_path_of_the_machine_reaches_the_file(tmp_path):
    assert add(tmp_path, str(questions(tmp_path / "run"))) == 0
    assert str(tmp_path) not in (tmp_path / "boards" / "ovo-bench.json").read_text()


def test_runs_share_a_setting_exactly_where_they_differ_in_the_model_alone(tmp_path):
    a = row_of_run(read_run(questions(tmp_path / "a", "full")))
    b = row_of_run(read_run(questions(tmp_path / "b", "streamingvlm")))
    c = row_of_run(read_run(questions(tmp_path / "c", "full", fingerprint={"fps": 8.0})))
    assert a.setting.id == b.setting.id != c.setting.id


def test_adding_the_same_name_again_replaces_the_row_and_drops_its_empty_setting(tmp_path):
    first = row_of_run(read_run(questions(tmp_path / "a")))
    again = row_of_run(read_run(questions(tmp_path / "b", fingerprint={"fps": 8.0})))
    board = add_row(add_row(empty_board("ovo-bench"), first), again)
    assert [entry.source.run for entry in board.entries] == ["b"]
    assert [setting.id for setting in board.settings] == [again.setting.id]


def test_a_published_row_is_not_replaced_by_a_run(tmp_path):
    row = row_of_run(read_run(questions(tmp_path / "a")), name="GPT-4o")
    setting = Setting(id="s", title="S", primary="total", columns=("total",))
    published = Entry(
        id="gpt-4o", name="GPT-4o", setting="s", score="official", metrics={"total": 1.0},
        source=PublishedSource(reference="paper"),
    )  # fmt: skip
    board = Leaderboard(task="t", title="T", coverage_floor=0.99, settings=(setting,), entries=(published,))
    with pytest.raises(UsageError, match="--name"):
        add_row(board, row)


def test_a_judged_run_is_ranked_by_win_rate_and_names_judge_and_baseline(tmp_path):
    entry = row_of_run(read_run(narration_run(tmp_path / "run"))).entry
    assert entry.score == "judged"
    assert entry.judge == "overlap (not an LLM)"
    assert 0 < entry.metrics["win rate"] < 100
    assert entry.low < entry.metrics["win rate"] < entry.high
    assert entry.n == 12
    assert entry.clusters == 3


def test_a_run_below_the_coverage_floor_is_added_with_a_word(tmp_path, capsys):
    assert add(tmp_path, str(questions(tmp_path / "run"))) == 0
    assert "listed, not ranked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "running"}, "is still running"),
        ({"status": "interrupted"}, "was interrupted"),
        ({"status": "failed", "error": "out of memory"}, "failed (out of memory)"),
    ],
)
def test_an_unfinished_run_is_refused(tmp_path, changes, said):
    with pytest.raises(DataError, match=said.replace("(", r"\(").replace(")", r"\)")):
        row_of_run(read_run(questions(tmp_path / "run", **changes)))


def test_an_unscored_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="was not scored"):
        row_of_run(read_run(questions(tmp_path / "run", scored=False)))


def test_an_unjudged_narration_is_refused(tmp_path):
    with pytest.raises(DataError, match="judge it first"):
        row_of_run(read_run(narration_run(tmp_path / "run", judged=False)))


def test_metrics_of_another_run_are_refused(tmp_path):
    folder = RunFolder(questions(tmp_path / "run"))
    content = json.loads(folder.metrics_path.read_text())
    folder.metrics_path.write_text(json.dumps({**content, "fingerprint_digest": "other"}))
    with pytest.raises(DataError, match="belongs to another run"):
        row_of_run(read_run(folder.path))


def test_a_score_that_is_no_number_is_refused(tmp_path):
    folder = RunFolder(questions(tmp_path / "run"))
    content = json.loads(folder.metrics_path.read_text())
    content["metrics"][0]["value"] = float("nan")
    folder.metrics_path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="no number"):
        row_of_run(read_run(folder.path))


def test_a_missing_interval_of_a_plain_mean_is_computed_from_the_answers(tmp_path):
    folder = RunFolder(questions(tmp_path / "run"))
    known = row_of_run(read_run(folder.path)).entry
    content = json.loads(folder.metrics_path.read_text())
    answers = [json.loads(line) for line in folder.answers_path.read_text().splitlines()]
    right = sum(one["parsed"] == one["gold"] and one["status"] == "ok" for one in answers)
    content["metrics"][0].update(value=100 * right / len(answers), unit="%", low=None, high=None, method="")
    folder.metrics_path.write_text(json.dumps(content))
    entry = row_of_run(read_run(folder.path)).entry
    assert entry.method == "cr2-logit"
    assert entry.se is not None
    assert entry.low < entry.metrics["total"] < entry.high
    assert known.method == "cr2-logit"


def test_the_command_writes_a_file_that_reads_back(tmp_path, capsys):
    assert add(tmp_path, str(questions(tmp_path / "run")), "--name", "My model") == 0
    board = read_board(tmp_path / "boards" / "ovo-bench.json")
    assert [entry.name for entry in board.entries] == ["My model"]
    assert "written to" in capsys.readouterr().out


def test_a_folder_that_is_no_run_is_one_line(tmp_path, capsys):
    assert add(tmp_path, str(tmp_path)) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_a_name_without_letters_is_refused():
    with pytest.raises(UsageError):
        slug("***")
