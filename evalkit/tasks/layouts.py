"""Prediction files to rows: lists, JSON Lines, logs, mappings, CSV; what a row means is the benchmark's affair."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import DataError
from evalkit.records import NotJsonError, decode_json, read_text
from evalkit.tasks.contract import Prediction, Problem
from evalkit.tasks.replies import read_reply

__all__ = ["FileRow", "RowError", "lmms_reply", "mapping_rows", "object_rows", "take_rows"]


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row of a prediction file.

    Args:
        file: Name of the file.
        line: Line (JSON Lines, CSV) or record index, from 1.
        content: The decoded row.
    """

    file: str
    line: int
    content: Any


class RowError(ValueError):
    """A row cannot be used.

    Args:
        field: Field at fault, ``None`` where it is the row itself.
        message: What is wrong with it.
        item: Id of the question, where it is known.
    """

    def __init__(self, field: str | None, message: str, item: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.item = item


def object_rows(path: Path, problems: list[Problem]) -> list[FileRow]:
    """Read the rows of a ``.json`` list (or the list ``logs`` in it), of JSON Lines, or of a CSV file with a head.

    Args:
        path: The file.
        problems: Takes lines that are not JSON.

    Raises:
        DataError: The file cannot be read, or a ``.json`` file has no list.
    """
    text = read_text(path)
    if path.suffix == ".csv":
        return _csv_rows(path, text)
    if path.suffix == ".json":
        content = _decode(path, text)
        rows = content.get("logs") if isinstance(content, dict) else content
        if not isinstance(rows, list):
            raise DataError(f"{path} is no lmms-eval log: it has no list of logs", path=path)
        return [FileRow(path.name, index, row) for index, row in enumerate(rows, start=1)]
    found = []
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            found.append(FileRow(path.name, line, decode_json(content)))
        except NotJsonError as error:
            problems.append(Problem("bad-row", f"not valid JSON ({error})", path.name, line))
    return found


def mapping_rows(path: Path, columns: tuple[str, str]) -> list[FileRow]:
    """Read an object of one value per id, or a CSV file with two columns; a repeated id gives a row each time.

    Args:
        path: The file.
        columns: What id and value are called in the rows returned, and in the head of a CSV file.

    Raises:
        DataError: The file cannot be read or is neither.
    """
    text = read_text(path)
    if path.suffix == ".csv":
        rows = _csv_rows(path, text)
        if rows and not set(columns) <= set(rows[0].content):
            raise DataError(f"{path} is no submission: its first line must be {','.join(columns)}", path=path)
        return rows
    pairs: list[tuple[str, Any]] = []

    def outermost(items: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = items  # objects close from the inside out, so the outermost comes last
        return dict(items)

    try:
        content = decode_json(text, pairs=outermost)
    except NotJsonError as error:
        raise DataError(f"{path} is not valid JSON ({error})", path=path) from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is no submission: it must be one object of {{id: reply}}", path=path)
    return [
        FileRow(path.name, place, dict(zip(columns, pair, strict=True)))
        for place, pair in enumerate(pairs, start=1)
    ]


def _decode(path: Path, text: str) -> Any:
    try:
        return decode_json(text)
    except NotJsonError as error:
        raise DataError(f"{path} is not valid JSON ({error})", path=path) from error


def _csv_rows(path: Path, text: str) -> list[FileRow]:
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), restkey="rest"))
    except csv.Error as error:
        raise DataError(f"{path} is no CSV file that can be read ({error})", path=path) from error
    return [FileRow(path.name, line, row) for line, row in enumerate(rows, start=2)]


def take_rows(
    rows: Iterable[FileRow],
    take: Callable[[FileRow], tuple[Prediction, Sequence[Problem]]],
    problems: list[Problem],
) -> list[Prediction]:
    """Turn rows into predictions; one that cannot be used is named and left out.

    Args:
        rows: The rows.
        take: Turns one into a prediction and what is odd about it, or raises `RowError`.
        problems: Takes what is wrong.
    """
    found = []
    for row in rows:
        try:
            if not isinstance(row.content, Mapping):
                raise RowError(None, "not an object")
            prediction, odd = take(row)
        except RowError as error:
            problems.append(Problem("bad-row", str(error), row.file, row.line, error.field, error.item))
            continue
        found.append(prediction)
        problems += odd
    return found


def lmms_reply(row: FileRow, item: str) -> tuple[str | None, list[Problem]]:
    """Return the reply of one row of lmms-eval's samples: ``filtered_resps``, else ``resps``.

    Args:
        row: The row.
        item: Id of its question.
    """
    field = next((name for name in ("filtered_resps", "resps") if row.content.get(name) is not None), None)
    if field is None:
        return None, [Problem("no-reply", "the row has no reply", row.file, row.line, "filtered_resps", item)]
    return read_reply(row.content[field], file=row.file, line=row.line, field=field, item=item)
