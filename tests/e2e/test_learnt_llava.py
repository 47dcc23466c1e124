"""The checkpoint `learnt-llava` answers questions about matches it never saw, and what is taken from it shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from learnt.llava_vocabulary import ASKED, QUESTION_OF

from evalkit.cli.main import main

Command = Callable[..., tuple[int, str, str]]
Shares = dict[str, float]
MATCHES, SEED = 4, 31


def asked(out: Path, matches: int, seed: int) -> Path:
    size = ("--matches", str(matches), "--minutes", "1", "--seed", str(seed))
    assert main(["data", "demo", "--task", "streamingbench", *size, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asked(tmp_path_factory.mktemp("questions") / "data", MATCHES, SEED)


@pytest.fixture(scope="module")
def many_questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asked(tmp_path_factory.mktemp("many") / "data", 24, 900)


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Shares]:
    """Runs a model on the real-time questions; per cent of right answers by kind, each run made once."""
    made: dict[tuple[str, ...], Shares] = {}

    def run(questions: Path, model: str, *more: str) -> Shares:
        key = (str(questions), model, *more)
        if key not in made:
            out = tmp_path_factory.mktemp("runs") / model
            words = ["--task", "streamingbench", "--data", str(questions), "--checkpoint", "learnt-llava"]
            real = ["--set", "task.tasks=OP,CR,CS,ATP,EU,TR,PR,SU,ACP,CT"]
            assert main(["run", *words, *real, "--model", model, *more, "--out", str(out)]) == 0
            made[key] = by_kind(out)
        return made[key]

    return run


def by_kind(run: Path) -> Shares:
    found: dict[str, list[bool]] = {"all": []}
    for line in (run / "answers.jsonl").read_text().splitlines():
        answer = json.loads(line)
        kind = next(kind for text, kind in QUESTION_OF.items() if text in answer["prompt"])
        for name in (kind, "all"):
            found.setdefault(name, []).append(answer["parsed"] == answer["gold"])
    return {kind: 100 * sum(right) / len(right) for kind, right in found.items()}


def test_what_was_shown_is_answered_and_a_guess_is_a_guess(questions: Path, shares: Callable[..., Shares]) -> None:
    seen, guessed = shares(questions, "full"), shares(questions, "blind")
    assert seen["venue"] >= 90
    assert seen["shown"] >= 90
    assert guessed["all"] < 45
    assert seen["all"] > guessed["all"] + 30


def test_a_window_forgets_the_opening_and_sees_what_is_on_screen(
    questions: Path, shares: Callable[..., Shares]
) -> None:
    window = shares(questions, "streamingvlm")
    assert window["shown"] >= 90
    assert window["venue"] < shares(questions, "full")["venue"] - 30


def test_reusing_what_a_frame_long_ago_gave_costs_what_is_seen(
    questions: Path, shares: Callable[..., Shares]
) -> None:
    reused = shares(questions, "full", "--compress", "cacher(interval=16,reuse=0.95,variant=stc-paper)")
    assert reused["shown"] < shares(questions, "full")["shown"] - 40


@pytest.mark.slow
def test_pruning_as_in_the_paper_costs_less_than_pruning_nearly_all(
    many_questions: Path, shares: Callable[..., Shares]
) -> None:
    paper = shares(many_questions, "full", "--compress", "pruner(pruned=0.7,strategy=dual-anchor)")
    nearly_all = shares(many_questions, "full", "--compress", "pruner(pruned=0.95,strategy=dual-anchor)")
    assert shares(many_questions, "full")["all"] > paper["all"] > nearly_all["all"]


@pytest.mark.parametrize(
    ("task", "more", "told"),
    [
        ("inf-streams", (), "narration"),
        ("streamingbench", ("--set", "task.fps=2"), "this run has 2 frames a second"),
        ("ovobench", ("--set", "task.protocol=logit"), "answers that begin with a letter"),
        ("streamingbench", (), "other questions"),
    ],
)
def test_a_run_outside_its_training_says_what_it_was_trained_on(
    task: str, more: tuple[str, ...], told: str, evalkit: Command
) -> None:
    words = ("run", "--task", task, "--data", "demo", "--model", "full", "--checkpoint", "learnt-llava")
    code, _, err = evalkit(*words, *more, "--dry-run")
    assert code == 0
    [line] = [line for line in err.splitlines() if "trained on" in line]
    assert "448x224 pixels at 1 frames a second, asked about them" in line
    assert told in line


def test_the_kinds_of_questions_are_those_of_the_demos(questions: Path) -> None:
    files = json.loads((questions / "questions_real.json").read_text())
    asked = {question["question"] for entry in files for question in entry["questions"]}
    assert asked <= set(ASKED.values())
