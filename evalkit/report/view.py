"""Serves the report of runs on this machine alone, with their videos seekable; the page is the one on disk."""

from __future__ import annotations

__all__ = ["ReportServer", "byte_range", "make_server", "serve"]

import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from evalkit.errors import EvalkitError, UsageError
from evalkit.records import collector_paused
from evalkit.report.html import Page, render_page
from evalkit.report.media import Thumbnails, open_video, servable_videos, thumbnail_reader
from evalkit.report.runs import load_runs

_MEDIA = "/media/"
_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_BLOCK = 1 << 18
_RECORDS = ("run.json", "answers.jsonl", "ticks.jsonl", "verdicts.jsonl", "metrics.json")


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Read a ``Range`` header (RFC 9110, section 14): one range of bytes.

    Args:
        header: The header, ``None`` where there is none.
        size: Length of the file, bytes.

    Returns:
        First and last byte, both inside the file; ``None`` where the whole file is meant, which a header of
        another form (several ranges, another unit) asks for too.

    Raises:
        ValueError: The range lies outside the file.
    """
    match = _RANGE.match(header.strip()) if header else None
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        first, last = max(0, size - int(match[2])), size - 1
    else:
        first, last = int(match[1]), min(int(match[2]) if match[2] else size - 1, size - 1)
        if match[2] and int(match[2]) < int(match[1]):
            return None
    if first >= size or last < first:
        raise ValueError(f"bytes {first} to {last} of {size}")
    return first, last


class ReportServer(ThreadingHTTPServer):
    """Serves one page and the videos of the runs' data, by number; it knows no other path.

    Args:
        address: Host and port.
        runs: Run folders.
        thumbnails: Pictures of videos that are not here.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], runs: Sequence[Path], thumbnails: Thumbnails | None) -> None:
        super().__init__(address, _Handler)
        self._runs, self._thumbnails = list(runs), thumbnails
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, int], ...] = ()
        self._page: Page | None = None
        self.videos: list[Path] = []

    @property
    def url(self) -> str:
        """Where a browser finds the page."""
        host, port = self.server_address[0], self.server_address[1]
        name = host.decode() if isinstance(host, bytes | bytearray) else host
        return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"

    def page(self) -> Page:
        """Return the page; it is made again when a record file changed, so a reload follows a running run."""
        with self._lock:
            stamps = tuple(_stamp(run / name) for run in self._runs for name in _RECORDS)
            if self._page is None or stamps != self._seen:
                with collector_paused():
                    runs = load_runs(self._runs)
                    videos = servable_videos(runs)
                    numbers = {name: number for number, name in enumerate(videos)}
                    self._page = render_page(
                        runs,
                        lambda name, _: f"{_MEDIA}{numbers[name]}" if name in numbers else None,
                        self._thumbnails,
                    )
                self.videos, self._seen = list(videos.values()), stamps
            return self._page

    def allows(self, host: str | None) -> bool:
        """Tell whether a ``Host`` header names this machine: a page elsewhere cannot rebind its name to it."""
        name = urlsplit(f"//{host or ''}").hostname or ""
        if name == "localhost" or name == str(self.server_address[0]):
            return True
        try:
            return ip_address(name).is_loopback or not _is_loopback(str(self.server_address[0]))
        except ValueError:
            return False


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size


def _is_loopback(host: str) -> bool:
    return host == "localhost" or ip_address(host).is_loopback


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    protocol_version = "HTTP/1.1"
    server_version = "evalkit"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet: a line per video range helps nobody."""

    def _answer(self, *, body: bool) -> None:
        try:
            path, allowed = urlsplit(self.path).path, self.server.allows(self.headers.get("Host"))
        except ValueError:  # no address: a bracket that is never closed
            path, allowed = "", None
        try:
            if allowed is None:
                self._text(HTTPStatus.BAD_REQUEST, "the request's Host or path cannot be read", body)
            elif not allowed:
                self._text(HTTPStatus.FORBIDDEN, "this page is for this machine alone", body)
            elif path == "/":
                self._page(body)
            elif path.startswith(_MEDIA):
                self._video(path.removeprefix(_MEDIA), body)
            else:
                self._text(HTTPStatus.NOT_FOUND, "no such page", body)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            # A browser that seeks drops the range under way; nothing is lost.
            self.close_connection = True

    def _page(self, body: bool) -> None:
        try:
            page = self.server.page()
        except EvalkitError as error:
            self._text(HTTPStatus.INTERNAL_SERVER_ERROR, str(error), body)
            return
        blob = page.html.encode()
        self._head(HTTPStatus.OK, "text/html; charset=utf-8", len(blob), {"Content-Security-Policy": page.policy})
        if body:
            self.wfile.write(blob)

    def _text(self, status: HTTPStatus, text: str, body: bool) -> None:
        blob = f"{text}\n".encode()
        self._head(status, "text/plain; charset=utf-8", len(blob), {})
        if body:
            self.wfile.write(blob)

    def _video(self, name: str, body: bool) -> None:
        number = int(name) if name.isascii() and name.isdigit() and len(name) < 7 else -1
        if not 0 <= number < len(self.server.videos):
            self._text(HTTPStatus.NOT_FOUND, "no such video", body)
            return
        path = self.server.videos[number]
        try:
            file = open_video(path)
        except OSError:
            self._text(HTTPStatus.NOT_FOUND, "the video is gone", body)
            return
        with file:
            self._send_video(file, path, body)

    def _send_video(self, file: BinaryIO, path: Path, body: bool) -> None:
        size = file.seek(0, 2)
        more = {"Accept-Ranges": "bytes"}
        kind = _TYPES.get(path.suffix.lower(), "application/octet-stream")
        try:
            span = byte_range(self.headers.get("Range"), size)
        except ValueError:
            self._head(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, kind, 0, {**more, "Content-Range": f"bytes */{size}"}
            )
            return
        first, last = span or (0, size - 1)
        if span:
            more["Content-Range"] = f"bytes {first}-{last}/{size}"
        self._head(HTTPStatus.PARTIAL_CONTENT if span else HTTPStatus.OK, kind, last - first + 1, more)
        if body:
            file.seek(first)
            self._copy(file, last - first + 1)

    def _copy(self, file: BinaryIO, length: int) -> None:
        while length > 0 and (block := file.read(min(_BLOCK, length))):
            self.wfile.write(block)
            length -= len(block)

    def _head(self, status: HTTPStatus, kind: str, length: int, more: dict[str, str]) -> None:
        self.send_response(status)
        fixed = {
            "Content-Type": kind,
            "Content-Length": str(length),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in {**fixed, **more}.items():
            self.send_header(name, value)
        self.end_headers()


def make_server(
    runs: Sequence[Path],
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    thumbnails: Path | Thumbnails | None = None,
) -> ReportServer:
    """Read the runs, bind the port, and return the server; ``serve_forever`` starts it.

    Args:
        runs: Run folders of one task.
        host: Address to listen on.
        port: Port, 0 for any free one (``url`` then says which).
        thumbnails: As for `build_report`.

    Raises:
        UsageError: The port is taken, the host is none of this machine's, or the runs do not go together.
        DataError: A folder is not a readable run.
    """
    try:
        server = ReportServer((host, port), runs, thumbnail_reader(thumbnails))
    except (OSError, OverflowError) as error:
        raise UsageError(f"cannot serve on {host}:{port} ({error}); choose another --port") from error
    try:
        server.page()
    except BaseException:
        server.server_close()
        raise
    return server


def serve(
    runs: Path | Sequence[Path],
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    on_ready: Callable[[str], None] | None = None,
    thumbnails: Path | Thumbnails | None = None,
) -> None:
    """Serve the report until Ctrl-C, which ends it without a traceback.

    Args:
        runs: One run folder or several of one task.
        host: Address to listen on; the loopback one by default, so that nobody else can reach it.
        port: Port, 0 for any free one.
        on_ready: Called with the URL once the page can be opened.
        thumbnails: As for `build_report`.

    Raises:
        UsageError: As for `make_server`.
        DataError: As for `make_server`.
    """
    folders = [runs] if isinstance(runs, Path) else list(runs)
    with suppress(KeyboardInterrupt), make_server(folders, host, port, thumbnails=thumbnails) as server:
        if on_ready:
            on_ready(server.url)
        server.serve_forever(poll_interval=0.2)
