"""A run as files that others read: the same rows back, a card, and figures a tracker takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from run_folders import narration_run, question_run

from evalkit.records.share import scalars
from evalkit.records.tables import RunTables

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return question_run(tmp_path / "run", questions=20, task="ovobench")


def test_parquet_holds_the_rows_and_the_card_says_how_each_table_is_loaded(
    run: Path, evalkit: Call, tmp_path: Path
) -> None:
    code, out, err = evalkit("data", "export", run, "--out", "shared")
    assert (code, err) == (0, "")
    assert "shared/answers.parquet" in out
    tables = RunTables(run)
    for name in ("answers", "ticks", "metrics"):
        back = pd.read_parquet(tmp_path / "shared" / f"{name}.parquet")
        ours = getattr(tables, name)
        assert list(back.columns) == list(ours.columns)
        assert len(back) == len(ours)
    assert not (tmp_path / "shared" / "verdicts.parquet").exists()
    front = (tmp_path / "shared" / "README.md").read_text().split("---")[1]
    named = {config["config_name"]: config["data_files"] for config in yaml.safe_load(front)["configs"]}
    assert named == {name: f"{name}.parquet" for name in ("answers", "ticks", "metrics")}
    code, _, err = evalkit("data", "export", run, "--out", "shared")
    assert (code, len(err.splitlines())) == (2, 1)


def test_narration_with_verdicts_goes_too(evalkit: Call, tmp_path: Path) -> None:
    path = narration_run(tmp_path / "told", videos=1, seconds=20, window=10)
    assert evalkit("data", "export", path, "--out", "shared")[0] == 0
    back = pd.read_parquet(tmp_path / "shared" / "verdicts.parquet")
    assert len(back) == len(RunTables(path).verdicts) > 0


@pytest.mark.parametrize("name", ["figures.json", "figures.csv"])
def test_scalars_are_one_flat_table_with_intervals_beside(
    name: str, run: Path, evalkit: Call, tmp_path: Path
) -> None:
    assert evalkit("data", "export", run, "--format", "scalars", "--out", name)[0] == 0
    text = (tmp_path / name).read_text()
    if name.endswith("csv"):
        rows = [line.split(",") for line in text.splitlines()[1:]]
        values = {row[0]: float(row[1]) for row in rows}
    else:
        values = json.loads(text)
    assert values["total/strict/low"] < values["total/strict"] < values["total/strict/high"]
    assert all(isinstance(value, float | int) for value in values.values())
    assert not any(" " in key for key in values)


def test_datasets_gets_the_tables(run: Path) -> None:
    pytest.importorskip("datasets", reason="datasets is an extra (data)")
    made = RunTables(run).to_datasets()
    assert set(made) == {"answers", "ticks", "metrics"}
    assert made["answers"].num_rows == 20


def test_tensorboard_gets_the_figures_and_the_seconds(evalkit: Call, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is an extra (tensorboard)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = narration_run(tmp_path / "told", videos=2, seconds=20, window=10)
    code, _, err = evalkit("data", "export", path, "--format", "tensorboard", "--out", "logs/told")
    assert code == 0, err
    read = EventAccumulator(str(tmp_path / "logs" / "told")).Reload()
    run = RunTables(path)
    for name, value in scalars(run).items():
        assert read.Scalars(name)[0].value == pytest.approx(value, rel=1e-6)
    series = read.Scalars(f"second/{run.records.ticks[0].sample}")
    assert len(series) == 20
    assert series[0].value == pytest.approx(run.records.ticks[0].stages.total, rel=1e-6)


def test_without_tensorboard_the_extra_is_named(run: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    code, _, err = evalkit("data", "export", run, "--format", "tensorboard", "--out", "logs")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "pip install 'evalkit[tensorboard]'" in err
