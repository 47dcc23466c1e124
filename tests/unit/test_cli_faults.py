"""An exception that nobody meant: one line that says whose code it was and where, and an exit code of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from evalkit.cli.main import EXIT_FAULT

Call = Callable[..., tuple[int, str, str]]

_PLUGIN = """
class Broken:
    @property
    def summary(self):
        return self.words()

    def words(self):
        return {}["colour"]

TASK = Broken()
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of somebody's, whose task fails when it is looked at."""
    module = tmp_path / "colour_task.py"
    module.write_text(_PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = EntryPoints([EntryPoint("colour", "colour_task:TASK", "evalkit.tasks")])
    monkeypatch.setattr("evalkit.cli.faults.entry_points", lambda: entries)
    return module


def _fail(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    monkeypatch.setattr("evalkit.cli.listing._tasks", act)


def test_a_fault_of_a_plugin_names_it_with_file_and_line(
    plugin: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    import colour_task  # type: ignore[import-not-found]

    _fail(monkeypatch, lambda: colour_task.TASK.summary)
    code, out, err = evalkit("list", "tasks")
    line = _PLUGIN.splitlines().index('        return {}["colour"]') + 1
    assert (code, out) == (EXIT_FAULT, "")
    assert err == (
        f"evalkit: a fault of the plug-in colour_task ({plugin}:{line}, in words): KeyError: 'colour'; "
        "--debug shows the traceback\n"
    )


def test_a_fault_of_evalkit_asks_to_be_reported(evalkit: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.cli.listing._tasks", None)
    code, _, err = evalkit("list", "tasks")
    assert code == EXIT_FAULT
    said = r"evalkit: a fault of evalkit, please report it \(.*listing\.py:\d+, in run\): TypeError: .*"
    assert re.fullmatch(said, err.strip())


@pytest.mark.parametrize("words", [("--debug", "list", "tasks"), ("list", "tasks", "--debug")])
def test_debug_lets_the_traceback_through(
    words: tuple[str, ...], evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalkit.cli.listing._tasks", None)
    with pytest.raises(TypeError):
        evalkit(*words)
