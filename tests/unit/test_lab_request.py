"""What a lab is asked for: which runs it makes, where they lie, and what it remembers of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.cli.main import main
from evalkit.errors import DataError, UsageError
from evalkit.run.lab import LAB_FILE, LabRequest, lab_runs, read_lab, write_lab
from evalkit.run.options import RunOptions


def options(**more: object) -> RunOptions:
    return RunOptions(task="ovobench", model="full", **more)


def test_every_model_runs_with_every_compression_in_a_folder_named_after_both() -> None:
    request = LabRequest(models=("full", "sliding"), compress=("none", "pruner(keep=60)"))
    (runs,) = lab_runs(request, options(limit=2), Path("lab"))
    assert list(runs) == ["full+none", "full+pruner-keep=60", "sliding+none", "sliding+pruner-keep=60"]
    one = runs["sliding+pruner-keep=60"]
    assert (one.model, one.compress, one.limit) == ("sliding", "pruner(keep=60)", 2)
    assert one.out == str(Path("lab") / "sliding+pruner-keep=60")


def test_one_compression_is_every_models_and_no_part_of_its_name() -> None:
    (runs,) = lab_runs(LabRequest(models=("full",), compress=("stc",)), options(), Path("lab"))
    assert {label: run.compress for label, run in runs.items()} == {"full": "stc"}


def test_seeds_are_rounds_whose_runs_lie_in_a_folder_of_their_model() -> None:
    rounds = lab_runs(LabRequest(models=("full", "sliding")), options(seeds=2, seed=7), Path("lab"))
    assert [[(run.seed, run.seeds, run.out) for run in runs.values()] for runs in rounds] == [
        [(seed, None, f"lab/{name}/seed-{seed}") for name in ("full", "sliding")] for seed in (7, 8)
    ]


def test_two_runs_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="full is named twice"):
        lab_runs(LabRequest(models=("full", "full")), options(), Path("lab"))


def test_a_lab_remembers_its_options_without_a_password_and_finds_its_data_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = options(data="mine", base_url="http://me:secret@host/v1", settings={"memory.sink": 4}, resume=True)
    write_lab(tmp_path / "lab", LabRequest(models=("full",), judge="overlap"), asked)
    assert "secret" not in (tmp_path / "lab" / LAB_FILE).read_text()
    found = read_lab(tmp_path / "lab")
    assert (found.models, found.judge) == (("full",), "overlap")
    assert found.options == {
        "task": "ovobench",
        "data": str(tmp_path / "mine"),
        "base_url": "http://host/v1",
        "settings": {"memory.sink": 4},
    }


@pytest.mark.parametrize("text", ["", "{", "[]", '{"models": []}', '{"models": ["full"], "more": 1}'])
def test_a_file_that_no_lab_wrote_is_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no lab"):
        read_lab(tmp_path)
    (tmp_path / LAB_FILE).write_text(text)
    with pytest.raises(DataError, match=r"lab\.json is not what evalkit lab wrote"):
        read_lab(tmp_path)


def test_a_folder_in_use_is_not_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "notes").write_text("mine")
    words = ["lab", "--task", "ovobench", "--models", "full", "--data", "demo", "--out", str(tmp_path / "lab")]
    assert main(words) == 2
    assert "is not an empty folder: name another" in capsys.readouterr().err
    (tmp_path / "lab" / LAB_FILE).write_text("{}")
    assert main(words) == 2
    assert "pass --resume to go on with it" in capsys.readouterr().err
