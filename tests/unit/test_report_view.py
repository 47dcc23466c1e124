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
from evalkit.report.media import looks_like_video
from evalkit.report.view import ReportServer, byte_range, make_server
from tests.run_folders import narration_run

FILM = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 64


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReportServer]:
    video = tmp_path / "game-0.mp4"
    video.write_bytes(FILM)
    (tmp_path / "secret.txt").write_text("secret")
    run = narration_run(
        tmp_path / "run", videos=1, seconds=5, media={"game-0": str(video)}, data={"path": str(tmp_path)}
    )
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


def test_only_videos_by_content_that_lie_where_the_data_lie_are_served(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (data, elsewhere):
        folder.mkdir()
    (elsewhere / "private.mp4").write_bytes(FILM)
    (elsewhere / "linked.mp4").write_bytes(FILM)
    (elsewhere / "id_rsa").write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    (data / "game.mp4").write_bytes(FILM)
    (data / "note.mp4").write_text("no film at all, only words that are long enough to be read as a head")
    (data / "by-link.mp4").symlink_to(elsewhere / "linked.mp4")
    os.mkfifo(data / "pipe.mp4")
    media = {
        "game": data / "game.mp4",
        "note": data / "note.mp4",
        "pipe": data / "pipe.mp4",
        "by-link": elsewhere / "linked.mp4",  # a run records where a link leads
        "private": elsewhere / "private.mp4",
        "key": elsewhere / "id_rsa",
        "passwd": Path("/etc/passwd"),
    }
    run = narration_run(
        tmp_path / "run",
        videos=1,
        seconds=5,
        media={name: str(path) for name, path in media.items()},
        data={"path": str(data)},
    )
    with make_server([run]) as made:
        assert sorted(path.name for path in made.videos) == ["game.mp4", "linked.mp4"]
        assert b"private" not in made.page().html.encode()


def test_a_video_that_became_another_file_since_is_not_served(server: ReportServer, tmp_path: Path) -> None:
    (tmp_path / "game-0.mp4").unlink()
    (tmp_path / "game-0.mp4").symlink_to(tmp_path / "secret.txt")
    status, _, body = ask(server, "/media/0")
    assert (status, body) == (404, b"the video is gone\n")


@pytest.mark.parametrize(
    ("path", "host"), [("/", "["), ("/", "[::1"), ("http://[/", "127.0.0.1"), ("/media/0", "[evil")]
)
def test_a_host_or_path_that_cannot_be_read_is_a_bad_request(server: ReportServer, path: str, host: str) -> None:
    assert ask(server, path, Host=host)[0] == 400


@pytest.mark.parametrize(
    ("head", "is_video"),
    [
        (b"\x00\x00\x00\x18ftypmp42", True),
        (b"\x00\x00\x00\x08wide\x00\x00", True),
        (b"I am free", False),
        (b"\x1aE\xdf\xa3", True),
        (b"RIFF\x00\x00\x00\x00AVI LIST", True),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", False),
        (b"\x47" + bytes(187) + b"\x47" + bytes(187) + b"\x47" + bytes(100), True),
        (b"G" * 10, False),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", False),
        (b"root:x:0:0:root:/root:/bin/bash", False),
        (b"", False),
    ],
)
def test_a_video_is_told_by_its_first_bytes(head: bytes, is_video: bool) -> None:
    assert looks_like_video(head, 4000) is is_video
