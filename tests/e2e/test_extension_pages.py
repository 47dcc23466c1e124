"""What the pages on extending evalkit print is one package here: installed, listed, run and judged as they say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("adding-a-task.md", "adding-a-policy.md", "adding-a-judge.md", "adding-a-model.md")
POINT = '[project.entry-points."evalkit.'
Call = Callable[..., tuple[int, str, str]]


def blocks(page: str, language: str) -> list[str]:
    """Return the printed blocks of a language that stand before the page's second entry point."""
    text = (DOCS / page).read_text(encoding="utf-8")
    first = text.index("```", text.index(POINT))
    return re.findall(rf"```{language}\n(.*?)```", text[: first + 3], re.DOTALL)


def printed(page: str) -> str:
    """Return the module a page prints; what it says of calling it in Python is no part of the module."""
    return "\n\n".join(block for block in blocks(page, "python") if "evalkit.run(" not in block)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as pip installed it: a module for each page, and the entry points they print."""
    folder = tmp_path_factory.mktemp("package")
    points: dict[str, dict[str, str]] = {}
    (folder / "my_package").mkdir()
    (folder / "my_package" / "__init__.py").write_text("")
    for page in PAGES:
        module = page.removesuffix(".md").replace("-", "_")
        (folder / "my_package" / f"{module}.py").write_text(printed(page))
        said = tomllib.loads("\n".join(block for block in blocks(page, "toml") if POINT in block))
        for group, entries in said["project"]["entry-points"].items():
            moved = {
                name: value.replace("my_package:", f"my_package.{module}:") for name, value in entries.items()
            }
            points.setdefault(group, {}).update(moved)
    lines = [
        line
        for group, entries in points.items()
        for line in (
            f'[project.entry-points."{group}"]',
            *(f'{name} = "{value}"' for name, value in entries.items()),
        )
    ]
    project = [
        "[project]",
        'name = "my-package"',
        'version = "1"',
        "[tool.setuptools]",
        'packages = ["my_package"]',
    ]
    (folder / "pyproject.toml").write_text("\n".join([*project, *lines]) + "\n")
    target = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(folder)], check=True, capture_output=True, timeout=120)
    return target


@pytest.fixture
def call(evalkit: Call, installed: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line with the package there."""

    def entries(*, group: str) -> list[EntryPoint]:
        known = ("evalkit", "my-package")
        return [entry for entry in entry_points(group=group) if entry.dist and entry.dist.name in known]

    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.setattr("evalkit.registry.entry_points", entries)
    return evalkit


def test_every_page_gives_a_name_that_is_listed(call: Call) -> None:
    for what, name in (("tasks", "my-bench"), ("models", "last8"), ("models", "colour"), ("judges", "numbers")):
        code, out, _ = call("list", what)
        assert code == 0
        assert name in {line.split()[0] for line in out.splitlines() if line.strip()}, what


def test_the_policy_narrates_and_the_judge_decides(call: Call, small_data: Path, tmp_path: Path) -> None:
    common = ("--task", "inf-streams", "--data", small_data, "--set", "task.start_seconds=5")
    for model, settings in (("last8", ("--set", "memory.seconds=4", "--checkpoint", "tiny")), ("colour", ())):
        short = ("--set", "generation.max_new_tokens=2") if settings else ()
        code, _, err = call("run", *common, "--model", model, *settings, *short, "--out", model)
        assert code == 0, err
    manifest = json.loads((tmp_path / "last8" / "run.json").read_text())
    assert manifest["fingerprint"]["model.memory.seconds"] == 4
    code, out, err = call("judge", "last8", "--against", "colour", "--judge", "numbers:2", "--allow-mismatch")
    assert code == 0, err
    assert "numbers (not an LLM" in out
    verdicts = [json.loads(line) for line in (tmp_path / "last8" / "verdicts.jsonl").read_text().splitlines()]
    assert {one["judge"].partition(" ")[0] for one in verdicts} == {"numbers"}
    assert {one["order"] for one in verdicts} == {"ab", "ba"}


def test_the_task_is_run_to_its_score(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    code, _, err = call("run", "--task", "my-bench", "--data", "demo", "--model", "colour", "--out", "run")
    assert code == 0, err
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]
    assert any(one["score"] == "strict" and one["n"] == 6 and one["answered"] == 6 for one in scores)
    assert call("data", "check", "--task", "my-bench", "--data", tmp_path / "cache" / "demo" / "my-bench")[0] == 0
