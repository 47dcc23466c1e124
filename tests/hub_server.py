"""A server on loopback that speaks the hub's API for one data set, with the faults of real ones."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class HubServer:
    """What is served, and what goes wrong.

    Args:
        repo: ``owner/name``.
        files: Content by path.
        revision: The commit that ``main`` stands at.
        cuts: By path: after how many bytes of a reply the connection ends, one entry a reply.
        codes: By path: status codes of the next replies.
        gated: Whether the terms were not accepted.
        ranges: Whether parts of files are served.
    """

    files: dict[str, bytes]
    repo: str = "owner/set"
    revision: str = "a" * 40
    cuts: dict[str, list[int]] = field(default_factory=dict)
    codes: dict[str, list[int]] = field(default_factory=dict)
    gated: bool = False
    ranges: bool = True
    asked: list[str] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> HubServer:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub._answer(self, body=True)

            def do_HEAD(self) -> None:
                hub._answer(self, body=False)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hung up
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        path = unquote(urlsplit(request.path).path)
        self.asked.append(f"{request.command} {path} {request.headers.get('Range', '')}".strip())
        api, resolve = f"/api/datasets/{self.repo}/", f"/datasets/{self.repo}/resolve/"
        if path.startswith(f"{api}revision/"):
            self._revision(request, path.removeprefix(f"{api}revision/"))
        elif path.startswith(f"{api}tree/"):
            self._json(request, [self._entry(name, content) for name, content in self.files.items()])
        elif path.startswith(resolve):
            self._file(request, path.removeprefix(resolve).partition("/")[2], body=body)
        elif path.startswith("/raw/") and path.removeprefix("/raw/") in self.files:
            self._file(request, path.removeprefix("/raw/"), body=body)
        else:
            self._error(request, 404, "RepoNotFound")

    def _revision(self, request: BaseHTTPRequestHandler, name: str) -> None:
        if name not in ("main", self.revision):
            self._error(request, 404, "RevisionNotFound")
            return
        self._json(request, {"id": self.repo, "sha": self.revision, "siblings": []})

    @staticmethod
    def _entry(name: str, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        lfs = {"oid": digest, "size": len(content), "pointerSize": 130}
        return {"type": "file", "path": name, "size": len(content), "oid": digest[:40], "lfs": lfs}

    def _file(self, request: BaseHTTPRequestHandler, name: str, *, body: bool) -> None:
        if self.gated:
            self._error(request, 403, "GatedRepo")
            return
        if self.codes.get(name):
            self._error(request, self.codes[name].pop(0), "")
            return
        content = self.files[name]
        start, stop = 0, len(content)
        wanted = request.headers.get("Range", "")
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        if_range = request.headers.get("If-Range", etag)
        if wanted and self.ranges and if_range == etag:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1, len(content)) if last else len(content)
            if start >= len(content):
                self._error(request, 416, "")
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(stop - start))
        request.send_header("ETag", etag)
        request.send_header("X-Repo-Commit", self.revision)
        request.send_header("Accept-Ranges", "bytes")
        request.end_headers()
        if not body:
            return
        cut = self.cuts[name].pop(0) if self.cuts.get(name) else stop - start
        sent = content[start : start + min(cut, stop - start)]
        request.wfile.write(sent)
        self.sent[name] += len(sent)
        if cut < stop - start:
            request.close_connection = True

    @staticmethod
    def _json(request: BaseHTTPRequestHandler, value: Any) -> None:
        content = json.dumps(value).encode()
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    @staticmethod
    def _error(request: BaseHTTPRequestHandler, code: int, kind: str) -> None:
        request.send_response(code)
        request.send_header("X-Error-Code", kind)
        if code == 429:
            request.send_header("Retry-After", "0")
        request.send_header("Content-Length", "0")
        request.end_headers()
