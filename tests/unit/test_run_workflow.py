"""The script that runs a workflow's steps on this machine."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("yaml", reason="PyYAML is not installed")

WORKFLOW = """
jobs:
  measure:
    env:
      BASE: ${{ github.event.pull_request.base.sha }}
    steps:
      - uses: actions/checkout@0000
      - name: count
        id: count
        run: |
          printf 'words=%s\\n' "$(wc -w < text.txt)" >> "$GITHUB_OUTPUT"
          echo counted >> "$GITHUB_STEP_SUMMARY"
      - name: install
        run: |
          git worktree add --quiet --detach ../base "$BASE"
          python -m venv ../base/.venv
          ../base/.venv/bin/python -m pip install --quiet -e ../base
          ../base/.venv/bin/evalkit --version > ../version.txt
      - name: compare
        env:
          WORDS: ${{ steps.count.outputs.words }}
        run: |
          echo "$WORDS $(wc -w < ../base/text.txt)" > ../result.txt
          false | true
      - name: never
        run: touch ../never.txt
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "run_workflow.py"
    spec = importlib.util.spec_from_file_location("run_workflow", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_workflow"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits: one word, then three."""
    monkeypatch.delenv("GIT_DIR", raising=False)
    folder = tmp_path / "repository"
    (folder / "tasks").mkdir(parents=True)

    def git(*words: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)

    git("init", "-q")
    for text in ("one", "one two three"):
        (folder / "text.txt").write_text(text)
        git("add", ".")
        git("commit", "-q", "-m", text)
    return folder


def run(script: ModuleType, repository: Path, tmp_path: Path, *words: str, text: str = WORKFLOW) -> int:
    workflow = tmp_path / "workflow.yml"
    workflow.write_text(text)
    given = ["--base", "HEAD~1", "--repository", str(repository), "--work", str(tmp_path / "work")]
    code: int = script.main([str(workflow), *given, *(words or ("--job", "measure", "--python", sys.executable))])
    return code


def test_steps_run_in_order_and_stop_at_the_first_that_fails(script, repository, tmp_path, capfd):
    assert run(script, repository, tmp_path) == 1
    err = capfd.readouterr().err
    assert "-- actions/checkout@0000: an action, passed over" in err
    assert err.index("== count") < err.index("== install") < err.index("== compare")
    assert (tmp_path / "work" / "result.txt").read_text() == "3 1\n"
    assert (tmp_path / "work" / "version.txt").read_text().startswith("evalkit ")
    assert (tmp_path / "work" / "github-step_summary").read_text() == "counted\n"
    assert not (tmp_path / "work" / "never.txt").exists()


def test_all_steps_that_end_well_give_0(script, repository, tmp_path):
    assert run(script, repository, tmp_path, text=WORKFLOW.replace("false | true", "true")) == 0
    assert (tmp_path / "work" / "never.txt").exists()


@pytest.mark.parametrize(
    ("text", "job", "said"),
    [
        (WORKFLOW, "meassure", "no job 'meassure'"),
        ("on: push", "measure", "no workflow"),
        (WORKFLOW.replace("steps.count.outputs.words", "secrets.WORDS"), "measure", "secrets.WORDS"),
    ],
)
def test_what_cannot_be_run_here_is_one_line(script, repository, tmp_path, capfd, text, job, said):
    assert run(script, repository, tmp_path, "--job", job, "--python", sys.executable, text=text) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("run_workflow: ")
    assert said in last
