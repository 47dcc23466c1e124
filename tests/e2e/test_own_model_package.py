"""A model of one's own from a package that is built here, on the command line; the page on Python as it stands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Call = Callable[..., tuple[int, str, str]]

_MODULE = '''
from pydantic import BaseModel, Field


class Settings(BaseModel):
    word: str = Field(default="grass", description="What it says of green.")


class Colour:
    """Says what colour it sees."""

    settings = Settings

    def __init__(self, settings):
        self.word = settings.word

    def identity(self):
        return {"version": "1"}

    def open(self, request):
        if self.word == "fault":
            raise RuntimeError("no licence")
        return Stream(self.word, request)

    def close(self):
        if self.word == "noise":
            raise RuntimeError("still busy")


class Stream:
    def __init__(self, word, request):
        self.word, self.request = word, request

    def speak(self, chunk):
        if self.word == "ahead":
            self.request.seen.frames_at([chunk.tick.end + 30])
        if self.word == "noise":
            print("a library's banner")
        return None if self.word == "nothing" else " " + self.word
'''

_PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "colour-model"
version = "1"

[tool.setuptools]
py-modules = ["colour_model"]

[project.entry-points."evalkit.models"]
colour = "colour_model:Colour"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the package as pip installed it."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "colour_model.py").write_text(_MODULE)
    (folder / "pyproject.toml").write_text(_PROJECT)
    target = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(folder)], check=True, capture_output=True, timeout=120)
    return target


def _entries(*, group: str) -> list[EntryPoint]:
    """Return the entries of evalkit and of the package: what else is installed is no matter of this test."""
    known = ("evalkit", "colour-model")
    return [entry for entry in entry_points(group=group) if entry.dist and entry.dist.name in known]


@pytest.fixture
def run(evalkit: Call, installed: Path, small_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Runs the installed model on a small data set."""
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.setattr("evalkit.registry.entry_points", _entries)
    options = ("--task", "inf-streams", "--data", small_data, "--set", "task.start_seconds=5", "--out", "run")
    return lambda *words: evalkit("run", "--model", "colour", *options, *words)


def test_a_packages_model_is_listed_run_and_judged_like_any_other(
    run: Call, evalkit: Call, tmp_path: Path
) -> None:
    code, out, _ = evalkit("list", "models", "colour")
    assert code == 0
    assert "colour: Says what colour it sees." in out
    assert "model.word  str  grass  What it says of green." in out
    code, _, err = run("--set", "model.word=turf")
    assert code == 0, err
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["fingerprint"]["model.word"] == "turf"
    assert manifest["fingerprint"]["model.class"] == "colour_model:Colour"
    spoken = [json.loads(line)["text"] for line in (tmp_path / "run" / "answers.jsonl").read_text().splitlines()]
    assert spoken == [" turf"] * 20
    assert (tmp_path / "run" / "merged_result.jsonl").exists()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("fault", "failed: match: colour.open raised RuntimeError: no licence ("),
        ("nothing", 'failed: match: colour.speak must return text ("" for silence) or Spoken, not None'),
        ("ahead", "failed: match: frames of 36.000 s were asked for when the stream had reached 6.000 s"),
    ],
)
def test_a_fault_of_the_model_is_one_line_and_fails_its_sample(word: str, said: str, run: Call) -> None:
    code, _, err = run("--set", f"model.word={word}")
    assert code == 3
    assert said in err
    assert "Traceback" not in err


def test_what_a_model_prints_stays_out_of_the_json_and_its_closing_out_of_the_result(run: Call) -> None:
    code, out, err = run("--set", "model.word=noise", "--json")
    assert code == 0, err
    assert json.loads(out)["status"] == "done"
    assert "a library's banner" in err
    assert "warning: colour.close raised RuntimeError: still busy (" in err


def test_the_page_on_python_runs_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 8
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert names["right"].between(0, 1).all()  # type: ignore[attr-defined]
    assert names["compared"].values["task"] == "ovobench"  # type: ignore[attr-defined]
    assert (tmp_path / "page.html").exists()
    assert "did you mean 'streamingvlm'" in capsys.readouterr().out
