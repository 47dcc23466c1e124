"""The paper-figure script: draws what there is, names what there is not, and fails on a wrong folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.run_folders import question_run


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "make_paper_figures.py"
    spec = importlib.util.spec_from_file_location("make_paper_figures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_figures_and_tables_are_written_and_what_has_no_data_is_named(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = question_run(tmp_path / "run", questions=40)
    kinds = ["--kind", "accuracy", "--kind", "winrate"]
    assert script.main([str(run), *kinds, "--out", str(tmp_path / "figures")]) == 0
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"accuracy.pdf", "accuracy.svg", "accuracy.csv", "table-scores.tex", "table-latency.md"} <= names
    assert "winrate.pdf" not in names
    printed = capsys.readouterr()
    assert "left out: nothing to draw for 'winrate'" in printed.err
    assert sorted(Path(line).name for line in printed.out.splitlines()) == sorted(names)


def test_a_wrong_folder_is_one_line_and_exit_code_2(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "figures")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
