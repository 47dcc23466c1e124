"""Serves the report of runs on this machine alone, with their videos seekable; the page is the one on disk."""

from __future__ import annotations

__all__ = ["IndexServer", "ReportServer", "ServedReport", "byte_range", "make_server", "serve"]

import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

from evalkit.errors import DataError, EvalkitError, UsageError
from evalkit.records import collector_paused, why_no_run
from evalkit.report.html import Following, render_page
from evalkit.report.index import find_runs, render_index, row_of
from evalkit.report.media import Thumbnails, open_video, servable_videos, thumbnail_reader
from evalkit.report.pages import Page
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
_VIEW = re.compile(r"/view/(\d{1,5}(?:-\d{1,5}){0,19})(/.*)")
_FOLLOW_SECONDS, _REST = 3.0, 10.0
"""A page that follows a run looks so often, seconds, and not before so many times what it took to make it."""
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


class ServedReport:
    """The page of some runs and the videos it plays, by number.

    Args:
        runs: Run folders.
        thumbnails: Pictures of videos that are not here.
        base: Path its videos are served below.
    """

    def __init__(self, runs: Sequence[Path], thumbnails: Thumbnails | None, base: str = "") -> None:
        self._runs, self._thumbnails, self._base = list(runs), thumbnails, base
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, int], ...] = ()
        self._page: Page | None = None
        self._took = 0.0
        self.videos: list[Path] = []

    def stamp(self) -> str:
        """Return what changes whenever the records do."""
        return _as_text(self._stamps())

    def page(self) -> Page:
        """Return the page; it is made again when a record file changed, and follows a run that goes on."""
        with self._lock:
            stamps = self._stamps()
            if self._page is None or stamps != self._seen:
                begun = time.perf_counter()
                with collector_paused():
                    runs = load_runs(self._runs)
                    videos = servable_videos(runs)
                    numbers = {name: number for number, name in enumerate(videos)}
                    going = any(run.records.manifest.status == "running" for run in runs)
                    self._page = render_page(
                        runs,
                        lambda name, _: f"{self._base}{_MEDIA}{numbers[name]}" if name in numbers else None,
                        self._thumbnails,
                        Following(max(_FOLLOW_SECONDS, _REST * self._took), _as_text(stamps)) if going else None,
                    )
                self._took = time.perf_counter() - begun
                self.videos, self._seen = list(videos.values()), stamps
            return self._page

    def _stamps(self) -> tuple[tuple[int, int], ...]:
        return tuple(_stamp(run / name) for run in self._runs for name in _RECORDS)


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
        self._thumbnails = thumbnails
        self._report = ServedReport(runs, thumbnails)

    @property
    def url(self) -> str:
        """Where a browser finds the page."""
        host, port = self.server_address[0], self.server_address[1]
        name = host.decode() if isinstance(host, bytes | bytearray) else host
        return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"

    @property
    def videos(self) -> list[Path]:
        """The videos of the first page, by number."""
        return self._report.videos

    def page(self) -> Page:
        """Return the first page."""
        return self._report.page()

    def find(self, path: str) -> tuple[ServedReport | None, str]:
        """Return the report that a path belongs to, and the path within it."""
        return self._report, path

    def moved(self, address: str) -> str | None:
        """Return where an address has its page instead, or ``None``."""
        return None

    def allows(self, host: str | None) -> bool:
        """Tell whether a ``Host`` header names this machine: a page elsewhere cannot rebind its name to it."""
        name = urlsplit(f"//{host or ''}").hostname or ""
        if name == "localhost" or name == str(self.server_address[0]):
            return True
        try:
            return ip_address(name).is_loopback or not _is_loopback(str(self.server_address[0]))
        except ValueError:
            return False


class IndexServer(ReportServer):
    """Serves the list of the runs below a folder, each with its page, and the page of several together.

    Args:
        address: Host and port.
        folder: Where runs are looked for, at each request anew.
        thumbnails: Pictures of videos that are not here.
    """

    def __init__(self, address: tuple[str, int], folder: Path, thumbnails: Thumbnails | None) -> None:
        super().__init__(address, (), thumbnails)
        self._folder = folder
        self._known: list[Path] = []  # a run keeps its number while the server runs
        self._reports: dict[tuple[int, ...], ServedReport] = {}
        self._changing = threading.Lock()

    def page(self) -> Page:
        """Return the list.

        Raises:
            DataError: There is no run below the folder.
        """
        found = find_runs(self._folder)
        if not found:
            raise DataError(f"there is no run below {self._folder}", path=self._folder)
        with self._changing:
            self._known += [path for path in found if path not in self._known]
            numbers = {path: number for number, path in enumerate(self._known)}
        return render_index([row_of(numbers[path], path, self._folder) for path in found], str(self._folder))

    def find(self, path: str) -> tuple[ServedReport | None, str]:
        """Return the report of ``/view/NUMBERS/...``."""
        match = _VIEW.fullmatch(path)
        numbers = tuple(int(number) for number in match[1].split("-")) if match else ()
        if match is None or any(number >= len(self._known) for number in numbers):
            return None, path
        with self._changing:
            if numbers not in self._reports:
                runs = [self._known[number] for number in numbers]
                self._reports[numbers] = ServedReport(runs, self._thumbnails, f"/view/{match[1]}")
            return self._reports[numbers], match[2]

    def moved(self, address: str) -> str | None:
        """Return the page that ``/compare?run=1&run=2`` stands for."""
        parts = urlsplit(address)
        if parts.path != "/compare":
            return None
        numbers = [value for value in parse_qs(parts.query).get("run", []) if value.isascii() and value.isdigit()]
        return f"/view/{'-'.join(numbers)}/" if numbers else "/"


def _as_text(stamps: Sequence[tuple[int, int]]) -> str:
    return " ".join(f"{at}-{size}" for at, size in stamps)


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
            else:
                self._find(path, body)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            # A browser that seeks drops the range under way; nothing is lost.
            self.close_connection = True

    def _find(self, path: str, body: bool) -> None:
        if (elsewhere := self.server.moved(self.path)) is not None:
            self._head(HTTPStatus.SEE_OTHER, "text/plain; charset=utf-8", 0, {"Location": elsewhere})
            return
        if path == "/":
            self._page(self.server.page, body)
            return
        report, rest = self.server.find(path)
        if report is not None and rest == "/":
            self._page(report.page, body)
        elif report is not None and rest == "/stamp":
            self._text(HTTPStatus.OK, report.stamp(), body)
        elif report is not None and rest.startswith(_MEDIA):
            self._video(report, rest.removeprefix(_MEDIA), body)
        else:
            self._text(HTTPStatus.NOT_FOUND, "no such page", body)

    def _page(self, make: Callable[[], Page], body: bool) -> None:
        try:
            page = make()
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

    def _video(self, report: ServedReport, name: str, body: bool) -> None:
        number = int(name) if name.isascii() and name.isdigit() and len(name) < 7 else -1
        if not 0 <= number < len(report.videos):
            self._text(HTTPStatus.NOT_FOUND, "no such video", body)
            return
        path = report.videos[number]
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
        runs: Run folders of one task, or one folder with runs below it, which are listed.
        host: Address to listen on.
        port: Port, 0 for any free one (``url`` then says which).
        thumbnails: As for `build_report`.

    Raises:
        UsageError: The port is taken, the host is none of this machine's, or the runs do not go together.
        DataError: A folder is not a readable run.
    """
    for run in runs:
        if not run.is_dir():
            raise UsageError(why_no_run(run))
    reader = thumbnail_reader(thumbnails)
    try:
        server = (
            IndexServer((host, port), runs[0], reader)
            if len(runs) == 1 and runs[0].is_dir() and not (runs[0] / "run.json").exists()
            else ReportServer((host, port), runs, reader)
        )
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
        runs: One run folder, several of one task, or a folder with runs below it.
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
