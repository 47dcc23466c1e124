"""One process at a time where a file is read, changed and replaced."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from run_folders import question_run

from evalkit.cli.main import EXIT_DONE, EXIT_USAGE, main
from evalkit.errors import UsageError
from evalkit.leaderboard import files
from evalkit.leaderboard.schema import Leaderboard
from evalkit.records import hold_folder


def test_a_held_folder_is_refused_at_once_without_patience_and_held_again_afterwards(tmp_path: Path) -> None:
    refused = pytest.raises(UsageError, match="another process is writing into")
    with hold_folder(tmp_path), refused, hold_folder(tmp_path):
        pytest.fail("held twice")
    with hold_folder(tmp_path / "made"):
        assert (tmp_path / "made").is_dir()


def test_patience_waits_until_the_other_lets_go(tmp_path: Path) -> None:
    order: list[str] = []
    held = threading.Event()

    def other() -> None:
        with hold_folder(tmp_path):
            held.set()
            time.sleep(0.2)
            order.append("other")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(other)
        held.wait()
        with hold_folder(tmp_path, patience=30):
            order.append("this")
    assert order == ["other", "this"]


def test_rows_added_to_one_leaderboard_at_once_all_stand_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = files.read_board

    def slowly(path: Path) -> Leaderboard:
        board = read(path)
        time.sleep(0.05)  # long enough for all others to read the same file, were they let in
        return board

    monkeypatch.setattr(files, "read_board", slowly)
    run = question_run(tmp_path / "run", "full")
    boards = tmp_path / "boards"

    def add(number: int) -> int:
        return main(["leaderboard", "add", str(run), "--name", f"m{number}", "--leaderboards", str(boards)])

    assert add(0) == EXIT_DONE
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(add, range(1, 9))) == {EXIT_DONE}
    (file,) = boards.glob("*.json")
    assert len(json.loads(file.read_text())["entries"]) == 9


def test_a_leaderboard_that_is_held_too_long_ends_with_wrong_use_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evalkit.cli.leaderboard._PATIENCE", 0.0)
    run = question_run(tmp_path / "run", "full")
    with hold_folder(tmp_path / "boards"):
        assert main(["leaderboard", "add", str(run), "--leaderboards", str(tmp_path / "boards")]) == EXIT_USAGE
    assert "another process is writing into" in capsys.readouterr().err
    assert not list((tmp_path / "boards").iterdir())
