"""The server: seeks in videos, knows only the videos a manifest names, and serves this machine alone."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from evalkit.errors import UsageError
from evalkit.report.view import ReportServer, byte_range, make_server
from tests.run_folders import narration_run

FILM = bytes(range(256)) * 64


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReportServer]:
    video = tmp_path / "game-0.mp4"
    video.write_bytes(FILM)
    (tmp_path / "secret.txt").write_text("secret")
    run = narration_run(tmp_path / "run", videos=1, seconds=5, media={"game-0": str(video)})
    with make_server([run]) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server: ReportServer, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    try:
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read()
    finally:
        connection.close()


def test_the_page_comes_with_its_policy_and_the_video_by_number(server: ReportServer) -> None:
    status, headers, body = ask(server, "/")
    assert status == 200
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert b'"video_urls":{"game-0":"/media/0"}' in body
    status, headers, body = ask(server, "/media/0")
    assert (status, headers["Content-Type"], body) == (200, "video/mp4", FILM)


def test_a_browser_can_seek(server: ReportServer) -> None:
    status, headers, body = ask(server, "/media/0", Range="bytes=100-199")
    assert (status, headers["Content-Range"], body) == (206, f"bytes 100-199/{len(FILM)}", FILM[100:200])
    assert ask(server, "/media/0", Range="bytes=16000-")[2] == FILM[16000:]
    assert ask(server, "/media/0", Range="bytes=-5")[2] == FILM[-5:]
    status, headers, _ = ask(server, "/media/0", Range=f"bytes={len(FILM)}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{len(FILM)}")


def test_head_has_the_length_and_no_body(server: ReportServer) -> None:
    status, headers, body = ask(server, "/media/0", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(FILM)), b"")


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt", "/media/1", "/media/-1", "/media/../secret.txt", "/media/..%2f..%2fsecret.txt", "/media/",
        "/media/0/..", "//etc/passwd", "/media//etc/passwd", "/media/%00", "/run/run.json", "/media/٠",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file_the_manifest_does_not_name(server: ReportServer, path: str) -> None:
    status, _, body = ask(server, quote(path, safe="/%"))
    assert status == 404
    assert b"secret" not in body.replace(path.encode(), b"")


def test_only_reading_is_served(server: ReportServer) -> None:
    assert ask(server, "/", "POST")[0] == 501


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "10.0.0.1", ""])
def test_a_page_elsewhere_cannot_reach_the_server_under_its_own_name(server: ReportServer, host: str) -> None:
    assert ask(server, "/", Host=host)[0] == 403


def test_a_reload_shows_what_a_run_recorded_meanwhile(server: ReportServer, tmp_path: Path) -> None:
    before = ask(server, "/")[2]
    manifest = tmp_path / "run" / "run.json"
    manifest.write_text(manifest.read_text().replace('"git": "0123abc"', '"git": "4567def"'))
    after = ask(server, "/")[2]
    assert b"4567def" in after
    assert b"4567def" not in before


def test_a_port_in_use_is_one_line(server: ReportServer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot serve on 127\.0\.0\.1"):
        make_server([tmp_path / "run"], port=server.server_address[1])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None), ("bytes=0-0", (0, 0)), ("bytes=5-", (5, 9)), ("bytes=-3", (7, 9)), ("bytes=-30", (0, 9)),
        ("bytes=2-100", (2, 9)), ("bytes=0-1,3-4", None), ("items=0-1", None), ("bytes=-", None),
        ("bytes=5-2", None),
    ],
)  # fmt: skip
def test_ranges_are_read_as_rfc_9110_has_them(header: str | None, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=-0"])
def test_a_range_outside_the_file_is_an_error(header: str) -> None:
    with pytest.raises(ValueError, match="of 10"):
        byte_range(header, 10)


def test_ctrl_c_ends_the_server_without_a_traceback(tmp_path: Path) -> None:
    run = narration_run(tmp_path / "run", videos=1, seconds=5)
    program = (
        "import sys; from pathlib import Path; from evalkit.report.view import serve\n"
        "serve(Path(sys.argv[1]), on_ready=lambda url: print(url, flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(run)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
