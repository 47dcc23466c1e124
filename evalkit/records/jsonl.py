"""Append-only JSONL files: one flushed line per record, a torn last line dropped and named.

Another program may have written them: a last record that lacks only its line end, an empty line and a byte order
mark lose nothing.
"""

from __future__ import annotations

__all__ = ["JsonlWriter", "count_lines", "json_line", "read_jsonl", "stream_jsonl"]

import os
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from pydantic import BaseModel, ValidationError

from evalkit.errors import DataError
from evalkit.records.reading import decode_json, require_plain
from evalkit.records.schema import SCHEMA_VERSION

R = TypeVar("R", bound=BaseModel)


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Yield ``(line number, text, whether it is whole)``."""
    require_plain(path)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(BOM_UTF8) if number == 1 else line
            yield number, text, line.endswith(b"\n") or _is_object(text)


def _is_object(text: bytes) -> bool:
    """Say whether a text is a whole JSON object; no part of a record, cut off at its end, is one."""
    try:
        return isinstance(decode_json(text), dict)
    except ValueError:
        return False


def count_lines(path: Path) -> int:
    """Return how many whole lines a file has; a missing file has none.

    Raises:
        DataError: It is no plain file.
    """
    if not path.exists():
        return 0
    require_plain(path)
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def read_jsonl(path: Path, model: type[R]) -> tuple[list[R], list[str]]:
    """Read every record of a file.

    Args:
        path: File to read; a missing file has no records.
        model: Schema of a line.

    Returns:
        The records, and warnings (a torn last line that was dropped).

    Raises:
        DataError: A complete line is not a record of this schema, or is of a newer version.
    """
    warnings: list[str] = []
    return list(stream_jsonl(path, model, warnings)), warnings


def stream_jsonl(path: Path, model: type[R], warnings: list[str], damaged: list[str] | None = None) -> Iterator[R]:
    """Yield the records of a file one by one.

    Args:
        path: File to read; a missing file has no records.
        model: Schema of a line.
        warnings: Gets a line where a torn last line was dropped.
        damaged: Where given, it gets what is wrong with each line that is no record, which is then left out.

    Raises:
        DataError: A complete line is not a record of this schema (and ``damaged`` was not given), or is of a newer
            version.
    """
    if not path.exists():
        return
    named = set(model.model_fields)
    for number, line, complete in _lines(path):
        if not complete:
            warnings.append(f"{path.name}:{number}: torn last line dropped")
            continue
        try:
            record = model.model_validate_json(line)
        except ValidationError as error:
            if not line.strip():
                continue
            complaint = _complaint(path, number, line, error)
            if damaged is None or (_version(line) or 0) > SCHEMA_VERSION:
                raise DataError(complaint, path=path) from error
            damaged.append(complaint)
            continue
        version: int = getattr(record, "v", SCHEMA_VERSION)
        if version > SCHEMA_VERSION:
            raise DataError(_newer(path, number, version), path=path)
        # Which fields its line named is asked of no record, and took three quarters of its memory.
        object.__setattr__(record, "__pydantic_fields_set__", named)
        yield record


def _newer(path: Path, number: int, version: int) -> str:
    return f"{path}:{number}: written by a newer evalkit (schema {version}, this one reads {SCHEMA_VERSION})"


def _version(line: bytes) -> int | None:
    """Return the schema a line says it is of, this one where it says none; ``None`` where it is no object."""
    try:
        version = decode_json(line).get("v", SCHEMA_VERSION)
    except (ValueError, AttributeError):
        return None
    return version if isinstance(version, int) else SCHEMA_VERSION


def _complaint(path: Path, number: int, line: bytes, error: ValidationError) -> str:
    version = _version(line)
    if version is None:
        return f"{path}:{number}: not a JSON object"
    if version > SCHEMA_VERSION:
        return _newer(path, number, version)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{path}:{number}: field {where!r}: {first['msg']}"


def json_line(record: BaseModel) -> bytes:
    """Return the line of a record, with its end."""
    return record.model_dump_json(exclude_defaults=False).encode() + b"\n"


class JsonlWriter(Generic[R]):
    """Appends records, one flushed line each.

    Opening cuts off a torn last line, so that a resumed file stays readable; one that lacks its end alone gets it.

    Args:
        path: File to append to; made if missing.

    Raises:
        DataError: It is a pipe or something else that is no plain file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists():
            require_plain(path)
            _end_last_line(path)
        self._file = path.open("ab", buffering=0)

    def append(self, record: R) -> None:
        """Hand one record to the operating system, whole or, where the disk is full, not at all.

        Raises:
            OSError: It cannot be written.
        """
        self.append_line(json_line(record))

    def append_line(self, text: bytes) -> None:
        """Hand on the line of one record, as `json_line` gives it.

        Raises:
            OSError: It cannot be written.
        """
        line = memoryview(text)
        end = self._file.tell()
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError:
            self._file.truncate(end)
            raise

    def offset(self) -> int:
        """Return the file's length in bytes, for checkpoints."""
        return self._file.tell()

    def truncate(self, offset: int) -> None:
        """Cut the file back to ``offset`` bytes."""
        self._file.truncate(offset)
        self._file.seek(offset)

    def sync(self) -> None:
        """Force what was written onto the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


def _end_last_line(path: Path) -> None:
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            step = min(4096, position)
            file.seek(position - step)
            newline = file.read(step).rfind(b"\n")
            if newline >= 0:
                position = position - step + newline + 1
                break
            position -= step
        file.seek(position)
        last = file.read()
        if _is_object(last):
            file.write(b"\n")
        elif last:
            file.truncate(position)
