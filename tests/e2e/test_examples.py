"""The examples run as printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_policy_of_ones_own_bounds_the_memory() -> None:
    lines = run_example(str(EXAMPLES / "own_policy.py")).splitlines()
    assert len(lines) == 10
    vision = [int(line.split("tokens, ")[1].split()[0]) for line in lines]
    assert vision[4:] == [vision[4]] * 6
    assert vision[0] < vision[4]
