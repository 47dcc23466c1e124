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
MATCHES, SEED = 6, 31


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("questions") / "data"
    size = ("--matches", str(MATCHES), "--minutes", "1", "--seed", str(SEED))
    assert main(["data", "demo", "--task", "streamingbench", *size, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def shares(questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Shares]:
    """Runs a model on the real-time questions; per cent of right answers by kind, each run made once."""
    made: dict[tuple[str, ...], Shares] = {}

    def run(model: str, *more: str) -> Shares:
        if (model, *more) not in made:
            out = tmp_path_factory.mktemp("runs") / model
            words = ["--task", "streamingbench", "--data", str(questions), "--checkpoint", "learnt-llava"]
            real = ["--set", "task.tasks=OP,CR,CS,ATP,EU,TR,PR,SU,ACP,CT"]
            assert main(["run", *words, *real, "--model", model, *more, "--out", str(out)]) == 0
            made[(model, *more)] = by_kind(out)
        return made[(model, *more)]

    return run


def by_kind(run: Path) -> Shares:
    found: dict[str, list[bool]] = {"all": []}
    for line in (run / "answers.jsonl").read_text().splitlines():
        answer = json.loads(line)
        kind = next(kind for text, kind in QUESTION_OF.items() if text in answer["prompt"])
        for name in (kind, "all"):
            found.setdefault(name, []).append(answer["parsed"] == answer["gold"])
    return {kind: 100 * sum(right) / len(right) for kind, right in found.items()}


def test_what_was_shown_is_answered_and_a_guess_is_a_guess(shares: Callable[..., Shares]) -> None:
    seen, guessed = shares("full"), shares("blind")
    assert seen["venue"] >= 90
    assert seen["shown"] >= 85
    assert guessed["all"] < 45
    assert seen["all"] > guessed["all"] + 30


def test_a_window_forgets_the_opening_and_sees_what_is_on_screen(shares: Callable[..., Shares]) -> None:
    window = shares("streamingvlm")
    assert window["shown"] >= 85
    assert window["venue"] < shares("full")["venue"] - 30


def test_pruning_as_in_the_paper_costs_less_than_pruning_nearly_all(shares: Callable[..., Shares]) -> None:
    paper = shares("full", "--compress", "pruner(pruned=0.7,strategy=dual-anchor)")
    nearly_all = shares("full", "--compress", "pruner(pruned=0.95,strategy=dual-anchor)")
    assert shares("full")["all"] > nearly_all["all"] + 10
    assert paper["all"] > nearly_all["all"] + 5


@pytest.mark.parametrize(
    ("task", "more", "told"),
    [
        ("inf-streams", (), "this run has narration"),
        ("streamingbench", ("--set", "task.fps=2"), "this run has 2 frames a second"),
        ("ovobench", ("--set", "task.protocol=logit"), "answers that begin with a letter"),
        ("mlvu", (), "other questions"),
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
