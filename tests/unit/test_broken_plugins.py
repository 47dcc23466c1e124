"""Somebody's broken package in the environment: it is listed with its error, and hides nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import evalkit.registry

Call = Callable[..., tuple[int, str, str]]

GROUPS = ("evalkit.tasks", "evalkit.models", "evalkit.judges", "evalkit.compressors")


@pytest.fixture
def broken(tmp_path: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points of a package that cannot be imported, and of one that gives something else, in every group."""
    (tmp_path / "fails_on_import.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / "gives_a_number.py").write_text("thing = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = evalkit_entries()

    def entries(*, group: str) -> list[EntryPoint]:
        added = [
            EntryPoint("aaa-fails", "fails_on_import:thing", group),
            EntryPoint("zzz-number", "gives_a_number:thing", group),
        ]
        return [*own(group=group), *added]

    monkeypatch.setattr(evalkit_registry(), "entry_points", entries)


def evalkit_registry() -> object:
    return evalkit.registry


def evalkit_entries() -> Callable[..., list[EntryPoint]]:
    entries: Callable[..., list[EntryPoint]] = evalkit.registry.entry_points  # what the fixture put there
    return entries


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("what", ["tasks", "models", "compressors"])
def test_it_is_listed_with_its_error_beside_what_works(what: str, evalkit: Call) -> None:
    code, out, err = evalkit("list", what, "--json")
    assert (code, err) == (0, "")
    rows = {row["name"]: row["summary"] for row in json.loads(out)[what]}
    assert "No module named 'a_package_that_is_not_there'" in rows["aaa-fails"]
    assert rows["zzz-number"].startswith("BROKEN: ")
    works = {"tasks": "ovobench", "models": "streamingvlm", "compressors": "stc"}[what]
    assert not rows[works].startswith("BROKEN")


@pytest.mark.usefixtures("broken")
def test_judges_are_listed_without_loading_any(evalkit: Call) -> None:
    code, out, _ = evalkit("list", "judges")
    assert code == 0
    assert {"openai", "overlap", "aaa-fails", "zzz-number"} <= {line.split()[0] for line in out.splitlines()}


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    "words",
    [
        ("run", "--task", "aaa-fails", "--model", "full", "--data", "demo"),
        ("run", "--task", "zzz-number", "--model", "full", "--data", "demo"),
        ("run", "--task", "ovobench", "--model", "aaa-fails", "--data", "demo"),
        ("run", "--task", "ovobench", "--model", "zzz-number", "--data", "demo"),
        ("run", "--task", "ovobench", "--model", "full", "--data", "demo", "--compress", "aaa-fails"),
        ("run", "--task", "ovobench", "--model", "full", "--data", "demo", "--compress", "zzz-number"),
    ],
)
def test_where_it_is_named_one_line_says_what_is_wrong(words: tuple[str, ...], evalkit: Call) -> None:
    code, _, err = evalkit(*words, "--checkpoint", "tiny", "--dry-run")
    assert (code, len(err.splitlines())) == (2, 1), err
    assert "aaa-fails" in err or "zzz-number" in err


@pytest.mark.usefixtures("broken")
def test_what_works_still_runs(evalkit: Call) -> None:
    words = ("--task", "ovobench", "--model", "stc", "--data", "demo", "--checkpoint", "tiny", "--dry-run")
    assert evalkit("run", *words)[0] == 0
