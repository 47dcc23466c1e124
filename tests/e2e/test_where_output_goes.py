"""Output that cannot be written: a closed stdout, a folder in the place of a page, a place that takes no file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.records import write_atomic
from tests.run_folders import narration_run

Call = Callable[..., tuple[int, str, str]]
EVALKIT = Path(sys.executable).with_name("evalkit")


def closing(stream: str, *words: str) -> tuple[int, str, str]:
    """Run the command line with a stream closed."""
    command = ["/bin/sh", "-c", f'exec "$0" "$@" {stream}', EVALKIT, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", [["list", "tasks"], ["list", "tasks", "--json"], ["--version"], ["--help"]])
def test_a_closed_stdout_is_one_line(words: list[str]) -> None:
    code, _, err = closing(">&-", *words)
    assert code == 2
    assert err == "evalkit: stdout is closed, so no result can be printed: send it to a file or to /dev/null\n"


def test_a_closed_stderr_takes_nothing_from_the_result() -> None:
    code, out, _ = closing("2>&-", "list", "tasks")
    assert code == 0
    assert "inf-streams" in out


def test_wrong_use_with_a_closed_stderr_still_has_its_exit_code() -> None:
    assert closing("2>&-", "list", "taskz") == (2, "", "")


def test_both_closed_is_silence_and_an_exit_code() -> None:
    assert closing(">&- 2>&-", "list", "tasks") == (2, "", "")


def test_a_folder_in_the_place_of_a_page_is_told_what_to_name(tmp_path: Path, evalkit: Call) -> None:
    run = narration_run(tmp_path / "run")
    (tmp_path / "pages").mkdir()
    said = "evalkit: --out pages is a folder: name the page to write, such as --out pages/report.html\n"
    assert evalkit("report", run, "--out", "pages") == (2, "", said)
    assert not list((tmp_path / "pages").iterdir())


def test_a_run_folder_that_takes_no_file_is_told_to_write_elsewhere(
    tmp_path: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only folder, also for a superuser, whom no mode bits stop."""
    run = narration_run(tmp_path / "run")
    opened = Path.open

    def refuse(path: Path, mode: str = "r", *rest: object, **more: object) -> object:
        if "w" in mode and path.parent == run:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, mode, *rest, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    said = f"evalkit: {run}/report.html cannot be written (Permission denied): name another place with --out\n"
    assert evalkit("report", run) == (2, "", said)
    assert evalkit("report", run, "--out", "page.html")[0] == 0


def test_a_page_below_a_file_is_told_to_go_elsewhere(tmp_path: Path, evalkit: Call) -> None:
    run = narration_run(tmp_path / "run")
    (tmp_path / "file").write_text("mine")
    code, out, err = evalkit("report", run, "--out", "file/page.html")
    assert (code, out) == (2, "")
    assert err == "evalkit: file/page.html cannot be written (File exists): name another place with --out\n"


def test_the_file_that_was_meant_is_named_not_the_part_written_first(
    tmp_path: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "figures.json").mkdir()
    monkeypatch.setattr("evalkit.cli.listing.run", lambda _: write_atomic(Path("figures.json"), "text"))
    assert evalkit("list", "tasks") == (2, "", "evalkit: figures.json: Is a directory\n")
