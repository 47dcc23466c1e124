"""Files that anybody may have written: what is no plain file, no JSON or no number is refused by name."""

from __future__ import annotations

__all__ = [
    "NotJsonError",
    "decode_json",
    "has_lone_surrogate",
    "read_lines",
    "read_plain",
    "read_text",
    "real_number",
    "require_plain",
]

import json
import math
import os
import re
import stat
from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evalkit.errors import DataError

_GZIP = b"\x1f\x8b"
_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotJsonError(ValueError):
    """A text is no JSON, or nests too deep to be any record or annotation; its text says which."""


def require_plain(path: Path) -> None:
    """Refuse what would block or never end when it is read.

    Raises:
        DataError: There is nothing, no plain file, or no path that the system could have.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist", path=path) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})", path=path) from error
    except ValueError as error:  # a NUL in it
        raise DataError(f"{str(path)!r} is no path ({error})", path=path) from error
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "something else")
        raise DataError(f"{path} is {kind}, not a file", path=path)


def read_plain(path: Path) -> bytes:
    """Read a plain file.

    Raises:
        DataError: `require_plain` refuses it, or it cannot be read.
    """
    require_plain(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})", path=path) from error


def read_text(path: Path) -> str:
    """Read a file of text.

    Raises:
        DataError: It is missing, compressed or not UTF-8; the text says at which byte and line.
    """
    content = read_plain(path)
    if content.startswith(_GZIP):
        raise DataError(f"{path} is compressed by gzip: unpack it first (gunzip)", path=path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path} is not UTF-8 (byte {error.start}, line {line})", path=path) from error


def read_lines(path: Path) -> list[bytes]:
    """Read the lines of a file that people may have edited: a byte order mark before the first is no part of it.

    Raises:
        DataError: See `read_plain`.
    """
    return read_plain(path).removeprefix(BOM_UTF8).split(b"\n")


def decode_json(text: str | bytes, *, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Decode a JSON text.

    Args:
        text: UTF-8 where it is bytes.
        pairs: Makes an object of its pairs, which may repeat a key.

    Raises:
        NotJsonError: It is none.
    """
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except RecursionError as error:
        raise NotJsonError("brackets nest too deep") from error
    except ValueError as error:
        raise NotJsonError(str(error)) from error


def has_lone_surrogate(text: str) -> bool:
    r"""Say whether a text holds half a character (``"\ud83d"`` alone), which no file, model or server can take."""
    return _SURROGATE.search(text) is not None


def real_number(value: Any) -> float | None:
    """Return a decoded number as a float; ``None`` for what is none, not finite, or beyond all floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
