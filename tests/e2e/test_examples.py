"""The examples run as printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(*words: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=120, check=False, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_policy_of_ones_own_bounds_the_memory() -> None:
    lines = run_example(str(EXAMPLES / "own_policy.py")).splitlines()
    assert len(lines) == 10
    vision = [int(line.split("tokens, ")[1].split()[0]) for line in lines]
    assert vision[4:] == [vision[4]] * 6
    assert vision[0] < vision[4]


@pytest.mark.slow  # two runs with their reports: what is on the page on Python runs in the fast suite
def test_a_model_of_ones_own_answers_and_narrates(tmp_path: Path) -> None:
    lines = run_example(str(EXAMPLES / "own_model.py"), cwd=tmp_path).splitlines()
    assert sum(line.startswith("records: runs/") for line in lines) == 2
    assert any("words_per_second" in line for line in lines)


def test_the_model_of_ones_own_is_as_short_as_the_page_on_it_says() -> None:
    source = (EXAMPLES / "own_model.py").read_text(encoding="utf-8")
    code = [line for line in source.splitlines() if line.strip() and not line.strip().startswith(('"""', "#"))]
    assert len(code) <= 40
