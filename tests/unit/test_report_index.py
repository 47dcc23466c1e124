"""The list of runs below a folder: what stands in it, its pages, and nothing else that the server would give."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.errors import DataError
from evalkit.report.index import find_runs
from evalkit.report.view import IndexServer, make_server
from tests.run_folders import narration_run, question_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one task, one of another, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("runs")
    question_run(folder / "ovobench" / "full" / "a", "full", questions=20, task="ovobench")
    question_run(folder / "ovobench" / "stc" / "b", "stc", questions=20, task="ovobench", seed=1)
    narration_run(folder / "inf" / "c", videos=1, seconds=20, window=10)
    (folder / "torn").mkdir()
    (folder / "torn" / "run.json").write_text("{")
    return folder


@pytest.fixture
def server(folder: Path) -> Iterator[IndexServer]:
    made = make_server([folder])
    assert isinstance(made, IndexServer)
    with made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def ask(server: IndexServer, path: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=30)
    connection.request("GET", path)
    reply = connection.getresponse()
    return reply.status, dict(reply.getheaders()), reply.read().decode()


def numbers(server: IndexServer, folder: Path) -> dict[str, int]:
    page = server.page().html
    names = [str(path.relative_to(folder)) for path in find_runs(folder)]
    return {
        name: int(page.partition(f'/" title="{name}"')[0].rpartition("/view/")[2])
        for name in names
        if name != "torn"
    }


def test_every_run_is_listed_with_its_score_and_one_that_is_torn_with_the_reason(
    server: IndexServer, folder: Path
) -> None:
    status, headers, page = ask(server, "/")
    assert status == 200
    assert "script-src 'sha256-" in headers["Content-Security-Policy"]
    assert page.count("<tr data-task=") == 4
    assert page.count('type="checkbox"') == 3
    assert "unreadable" in page
    assert "run.json is not valid JSON" in page
    assert set(numbers(server, folder)) == {"ovobench/full/a", "ovobench/stc/b", "inf/c"}
    row = page.partition('title="ovobench/full/a"')[2].partition("</tr>")[0]
    assert "ovobench" in row
    assert "%" in row


def test_a_run_has_its_page_and_several_have_one_together(server: IndexServer, folder: Path) -> None:
    known = numbers(server, folder)
    one, other = known["ovobench/full/a"], known["ovobench/stc/b"]
    status, _, page = ask(server, f"/view/{one}/")
    assert status == 200
    assert "<title>" in page
    status, headers, _ = ask(server, f"/compare?run={one}&run={other}")
    assert (status, headers["Location"]) == (303, f"/view/{one}-{other}/")
    status, _, page = ask(server, headers["Location"])
    assert status == 200
    assert "stc" in page


def test_runs_of_different_tasks_are_refused_in_a_line(server: IndexServer, folder: Path) -> None:
    known = numbers(server, folder)
    status, _, text = ask(server, f"/view/{known['ovobench/full/a']}-{known['inf/c']}/")
    assert status == 500
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("path", ["/view/99/", "/view/../", "/view/0", "/view/0-/", "/torn/run.json", "/view/0/x"])
def test_no_other_path_gives_anything(path: str, server: IndexServer) -> None:
    server.page()
    assert ask(server, path)[0] == 404


def test_a_run_that_begins_later_is_listed_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    question_run(tmp_path / "runs" / "m", questions=8, task="ovobench")
    with make_server([tmp_path / "runs"]) as server:
        assert isinstance(server, IndexServer)
        before = numbers(server, tmp_path / "runs")
        question_run(tmp_path / "runs" / "a", questions=8, task="ovobench")
        after = numbers(server, tmp_path / "runs")
    assert after == {**before, "a": 1}


def test_a_folder_without_runs_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no run below"):
        make_server([tmp_path])
