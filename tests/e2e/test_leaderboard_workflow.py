"""The workflow of this repository, run here: a fault in what the model keeps fails, a refactoring passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="PyYAML is not installed")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
POLICIES = "evalkit/memory/policies.py"
SINK = "_ends(text, self.text_sink, last)"


def git(tree: Path, *words: str) -> str:
    name = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(
        ["git", "-C", str(tree), *name, *words], capture_output=True, text=True, check=True
    ).stdout


def measure(folder: Path, old: str, new: str) -> tuple[int, str]:
    """Commit a change of the policies on top of what is committed here, and run the job on it."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository: the workflow checks out commits")
    change = folder / "change"
    git(ROOT, "clone", "--quiet", "--shared", ".", str(change))
    base = git(change, "rev-parse", "HEAD").strip()
    path = change / POLICIES
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    git(change, "commit", "--quiet", "--all", "--message", "Change the policy")
    words = [str(ROOT / "scripts" / "run_workflow.py"), str(ROOT / ".github/workflows/leaderboard.yml")]
    words += ["--job", "measure", "--base", base, "--repository", str(change), "--work", str(folder / "work")]
    done = subprocess.run([sys.executable, *words, "--python", sys.executable], capture_output=True, check=False)
    comment = folder / "work" / "head" / "out" / "comment.md"
    assert comment.exists(), done.stderr.decode()
    return done.returncode, comment.read_text(encoding="utf-8")


def test_a_policy_that_lost_its_sink_fails_the_job(tmp_path):
    code, comment = measure(tmp_path, SINK, "_ends(text, 0, last)")
    assert code == 1
    assert "gate: fail (demo.venue)" in comment
    assert "under test: no model setting differs" in comment
    assert "code.revision" in comment


def test_a_policy_that_was_only_rewritten_passes_the_job(tmp_path):
    code, comment = measure(tmp_path, SINK, "_ends(text, int(self.text_sink), last)")
    assert code == 0
    assert comment.count("identical answers (transcripts equal)") == 3
    assert "gate: fail" not in comment
