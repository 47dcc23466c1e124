"""Bring one file from an address to a path, going on where it was cut or killed, and check it."""

from __future__ import annotations

__all__ = ["Progress", "digest", "download", "of_transport", "read_range"]

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from evalkit.errors import DataError

Progress = Callable[[int], None]
"""Told how many bytes came."""

_TRIES = 5
_PAUSES = (0.0, 0.2, 1.0, 3.0, 8.0)
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


def download(
    url: str, target: Path, *, size: int | None = None, sha256: str | None = None, progress: Progress | None = None
) -> None:
    """Bring a file to a path that holds either nothing or all of it.

    What came stands in ``.NAME.part`` beside the target, the server's mark of its version in ``.NAME.etag``; the
    next call goes on behind it where the version is the same.

    Args:
        url: Where it is.
        target: Where it goes.
        size: Its bytes, where they are known.
        sha256: Its digest, where it is known.
        progress: Told of the bytes that came.

    Raises:
        DataError: The server refuses, stays away after several tries without progress, or sends something else.
        OSError: The disk is full or cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    tries = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            whole = _go_on(url, part, progress)
        except _CutError as cut:
            grown = part.exists() and part.stat().st_size > before
            tries = 0 if grown else tries + 1
            if tries >= _TRIES:
                raise DataError(f"{url}: {cut}; what came is kept, the same command goes on") from cut
            time.sleep(
                cut.pause if cut.pause is not None else _PAUSES[min(tries, len(_PAUSES)) - 1] if tries else 0
            )
            continue
        wanted = whole if size is None else size
        if wanted is None or part.stat().st_size == wanted:
            break
        raise _wrong(part, f"{url}: {part.stat().st_size} bytes came where there should be {wanted}")
    if sha256 is not None and digest(part) != sha256:
        raise _wrong(part, f"{url}: what came is not what the hub says it is (sha256)")
    os.replace(part, target)
    _etag_file(part).unlink(missing_ok=True)


class _CutError(Exception):
    """A connection ended early, or the server asks to come again."""

    def __init__(self, said: str, pause: float | None = None) -> None:
        super().__init__(said)
        self.pause = pause


def _wrong(part: Path, message: str) -> DataError:
    part.unlink(missing_ok=True)
    _etag_file(part).unlink(missing_ok=True)
    return DataError(f"{message}; it was thrown away: run the same command again")


def _etag_file(part: Path) -> Path:
    return part.with_suffix(".etag")


def _go_on(url: str, part: Path, progress: Progress | None) -> int | None:
    """Append to a part what is missing; return the size of the whole where the server said it."""
    have = part.stat().st_size if part.exists() else 0
    known = _etag_file(part).read_text() if have and _etag_file(part).exists() else None
    headers = {"Range": f"bytes={have}-", **({"If-Range": known} if known else {})} if have else {}
    try:
        with _session().stream("GET", url, headers=_headers() | headers, follow_redirects=True) as reply:
            if reply.status_code == 416:  # all of it is here, or the file has become shorter
                return have
            _require(reply, url)
            begins = have if reply.status_code == 206 else 0
            _etag_file(part).write_text(reply.headers.get("ETag", ""))
            length = reply.headers.get("Content-Length")
            with part.open("r+b" if begins else "wb") as file:
                file.seek(begins)
                file.truncate()
                if progress and begins < have:
                    progress(begins - have)
                for block in reply.iter_raw():
                    file.write(block)
                    if progress:
                        progress(len(block))
                end = file.tell()
    except Exception as error:
        if isinstance(error, DataError | _CutError) or not of_transport(error):
            raise
        raise _CutError(" ".join(str(error).split()) or type(error).__name__) from error
    whole = begins + int(length) if length and length.isdigit() else None
    if whole is not None and end < whole:
        raise _CutError(f"the connection ended after {end} of {whole} bytes")
    return whole


def read_range(url: str, start: int, stop: int) -> bytes:
    """Return bytes ``[start, stop)`` of a remote file.

    Raises:
        DataError: The server refuses, or stays away.
    """
    tries = 0
    while True:
        try:
            reply = _session().get(
                url, headers=_headers() | {"Range": f"bytes={start}-{stop - 1}"}, follow_redirects=True
            )
            _require(reply, url)
            if reply.status_code != 206:
                raise DataError(f"{url}: the server sends no part of a file, so it has to be fetched whole")
            return bytes(reply.content)
        except Exception as error:
            if isinstance(error, DataError) or not (isinstance(error, _CutError) or of_transport(error)):
                raise
            tries += 1
            if tries >= _TRIES:
                raise DataError(f"{url}: {error}") from error
            time.sleep(_PAUSES[tries])


def digest(path: Path) -> str:
    """Return a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _session() -> Any:
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    return get_session()


def _headers() -> dict[str, str]:
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    return {**build_hf_headers(), "Accept-Encoding": "identity"}


def of_transport(error: BaseException) -> bool:
    """Whether an error is of the HTTP client that huggingface_hub uses."""
    return type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2")


def _require(reply: Any, url: str) -> None:
    """Refuse a reply that holds no file.

    Raises:
        DataError: For good.
        _CutError: For now.
    """
    code = reply.status_code
    if code < 400:
        return
    if code in _AGAIN:
        pause = None
        with suppress(ValueError):
            pause = min(60.0, float(reply.headers.get("Retry-After", "")))
        raise _CutError(f"the server answered {code}", pause)
    kind = reply.headers.get("X-Error-Code", "")
    if kind == "GatedRepo" or code in (401, 403):
        raise DataError(f"{url}: refused ({code}): accept the terms on the data set's page, then `hf auth login`")
    raise DataError(f"{url}: the server answered {code}")
