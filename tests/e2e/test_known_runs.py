"""What a run folder says is not asked again: going on with a run, and scoring one, from its path alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]

BEGUN = ("--task", "ovobench", "--data", "demo", "--model", "sliding", "--checkpoint", "tiny", "--sample")
OPTIONS = ("--seed", "7", "--set", "memory.vision_window=4", "--set", "generation.max_new_tokens=3")


def _first_sample() -> str:
    from evalkit.tasks.catalog import data_folder, task_named

    task = task_named("ovobench")
    return task.load(data_folder(task, "demo"), task.settings()).samples[0].id


def test_a_run_goes_on_from_its_folder_alone_and_is_scored_from_it(
    evalkit: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = _first_sample()
    code, _, err = evalkit("run", *BEGUN, sample, *OPTIONS, "--out", "run")
    assert code == 0, err
    answers = tmp_path / "run" / "answers.jsonl"
    said = answers.read_text().splitlines()
    answers.write_text("")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    code, _, err = evalkit("run", "--resume", "--out", "../run")
    assert code == 0, err
    texts = [[json.loads(line)["text"] for line in lines] for lines in (said, answers.read_text().splitlines())]
    assert texts[0] == texts[1]
    named = evalkit("score", "--task", "ovobench", "--format", "evalkit", "../run")
    assert named[0] == 0
    assert evalkit("score", "../run") == named


def test_going_on_with_other_options_is_refused(evalkit: Call) -> None:
    assert evalkit("run", *BEGUN, _first_sample(), *OPTIONS, "--out", "run")[0] == 0
    code, _, err = evalkit("run", "--resume", "--out", "run", "--seed", "8")
    assert code == 2
    assert "run was run with other settings and cannot be resumed" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("score", "file.json"), "file.json is no run folder, so name its benchmark with --task"),
        (("score", "one", "two"), "these runs are of several tasks: one of ovobench, two of videomme"),
        (("score", "--task", "videomme", "one"), "one is a run of ovobench, not of videomme: leave --task out"),
        (("run", "--resume", "--out", "none", "--model", "full"), "none holds no run to go on with"),
    ],
)
def test_what_nobody_says_is_asked_in_one_line(
    words: tuple[str, ...], said: str, evalkit: Call, tmp_path: Path
) -> None:
    from tests.run_folders import question_run

    (tmp_path / "file.json").write_text("[]")
    for name, task in (("one", "ovobench"), ("two", "videomme")):
        question_run(tmp_path / name, task=task)
    code, _, err = evalkit(*words)
    assert (code, len(err.splitlines())) == (2, 1)
    assert said in err
