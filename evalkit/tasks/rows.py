"""Annotation files to checked rows, a bad one named by file, index and field.

What a row means is the benchmark's own affair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from evalkit.errors import DataError, DecodeError
from evalkit.records import NotJsonError, decode_json, has_lone_surrogate, read_plain, read_text, require_plain
from evalkit.records.data_files import known_videos
from evalkit.tasks.contract import Problem
from evalkit.video.probe import VideoInfo, probe

__all__ = [
    "check_rows",
    "digest_files",
    "inside",
    "probe_videos",
    "read_json",
    "read_rows",
    "require_name",
    "single_rows",
    "video_problems",
]

Row = TypeVar("Row", bound=BaseModel)
_SHOWN = 80
_LONGEST_PART = 255
"""Bytes of a name on every file system in use (NAME_MAX)."""
_LONGEST_PATH = 3000
"""Bytes of a path below a data folder, whose own path has the rest of the 4096 (PATH_MAX)."""


def read_json(path: Path) -> Any:
    """Decode a JSON file.

    Raises:
        DataError: It is missing, not UTF-8 or not JSON; the text says where.
    """
    text = read_text(path)
    try:
        return decode_json(text)
    except NotJsonError as error:
        raise DataError(f"{path} is not valid JSON ({error})", path=path) from error


def read_rows(path: Path) -> list[Any]:
    """Read the rows of a ``.json`` (a list), ``.jsonl`` or ``.parquet`` file.

    Raises:
        DataError: The file cannot be read or holds no list.
    """
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    if path.suffix == ".jsonl":
        return _line_rows(path)
    content = read_json(path)
    if not isinstance(content, list):
        raise DataError(f"{path} holds no list of questions but {_kind(content)}", path=path)
    return content


def _line_rows(path: Path) -> list[Any]:
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(decode_json(line))
        except NotJsonError as error:
            raise DataError(f"{path}:{number} is not valid JSON ({error})", path=path) from error
    return rows


def _parquet_rows(path: Path) -> list[Any]:
    # pyarrow takes half a second to import; only parquet needs it.
    import pyarrow
    import pyarrow.parquet

    require_plain(path)
    try:
        rows: list[Any] = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} is no parquet file that can be read ({first})", path=path) from error
    return rows


def _kind(content: Any) -> str:
    return {dict: "an object", str: "a text", type(None): "null"}.get(type(content), f"a {type(content).__name__}")


def check_rows(rows: Sequence[Any], model: type[Row], file: str) -> tuple[list[tuple[int, Row]], list[Problem]]:
    """Validate rows one by one.

    Args:
        rows: Decoded rows.
        model: Schema of a row.
        file: Name of the file, for problems.

    Returns:
        ``(index from 1, row)`` of the good ones, and a ``bad-row`` problem for each field at fault.
    """
    good: list[tuple[int, Row]] = []
    problems: list[Problem] = []
    for index, row in enumerate(rows, start=1):
        try:
            good.append((index, model.model_validate(row)))
        except ValidationError as error:
            problems.extend(_complaints(error, row, file, index))
    return good, problems


def single_rows(
    good: Sequence[tuple[int, Row]], file: str, *, field: str, called: str, same: Callable[[Row], Hashable]
) -> tuple[list[tuple[int, Row]], list[Problem]]:
    """Leave out rows whose id stands in an earlier one, and name rows that ask the same; those stay.

    Args:
        good: ``(index from 1, row)``, as from `check_rows`.
        file: Name of the file, for problems.
        field: Field of the id.
        called: What an id is called in messages.
        same: What rows that ask the same agree in.
    """
    rows: list[tuple[int, Row]] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    asked: dict[Hashable, str] = {}
    for index, row in good:
        id_ = str(getattr(row, field))
        if id_ in seen:
            message = f"{called} {id_} stands in row {seen[id_]} already; this row is left out"
            problems.append(Problem("duplicate", message, file, index, field, id_))
            continue
        seen[id_] = index
        key = same(row)
        if key in asked:
            message = f"the same question and options as {asked[key]}; both are kept"
            problems.append(Problem("duplicate-question", message, file, index, "question", id_))
        asked.setdefault(key, id_)
        rows.append((index, row))
    return rows, problems


def _complaints(error: ValidationError, row: Any, file: str, index: int) -> list[Problem]:
    item = None
    if isinstance(row, Mapping):
        given = row.get("id", row.get("question_id"))
        item = given if isinstance(given, str) else None
    found = []
    for fault in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in fault["loc"]) or None
        value = repr(fault["input"])
        shown = "" if fault["type"] == "missing" else f" (it is {value[:_SHOWN]})"
        message = fault["msg"].removeprefix("Value error, ")
        found.append(Problem("bad-row", f"{message}{shown}", file, index, field, item))
    return found


def inside(path: str) -> str:
    """Return a path of an annotation file if it stays below its folder and a system could have it.

    Raises:
        ValueError: It is empty, absolute or climbs out with ``..``, has too long
            a part, or holds what no name can.
    """
    parts = PurePosixPath(path.replace("\\", "/"))
    if not path or parts.is_absolute() or ".." in parts.parts:
        raise ValueError("must be a path below the data folder")
    require_name(path)
    return path


def require_name(path: str) -> None:
    """Refuse a path that no file can have, before the system is asked for it.

    Raises:
        ValueError: It holds a NUL or half a character, or is too long.
    """
    if "\0" in path or has_lone_surrogate(path):
        raise ValueError("must be a file's name, without NUL and half characters")
    if len(path.encode()) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_PART for part in path.split("/")):
        raise ValueError(f"must be a file's name, with parts of at most {_LONGEST_PART} bytes")


def digest_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of files' contents, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(read_plain(path))
    return digest.hexdigest()


def probe_videos(paths: Iterable[Path]) -> dict[Path, VideoInfo | DecodeError]:
    """Open each video once and decode its first frame; one whose data folder has it on record is not opened.

    Args:
        paths: Video files; repeated ones are opened once.

    Returns:
        Its properties, or what is wrong with it.
    """

    def look(path: Path) -> VideoInfo | DecodeError:
        try:
            if path in known:
                with suppress(KeyError, ValueError, TypeError):  # a record of another version
                    return VideoInfo.from_record(path, known[path])
            return probe(path)
        except DecodeError as error:
            return error

    unique = list(dict.fromkeys(paths))
    known = known_videos(unique)
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(unique, pool.map(look, unique), strict=True))


def video_problems(infos: Mapping[Path, VideoInfo | DecodeError]) -> list[Problem]:
    """Name every video that is missing or unreadable."""
    problems = []
    for path, info in infos.items():
        if isinstance(info, DecodeError):
            kind = "unreadable-video" if path.exists() else "missing-video"
            problems.append(Problem(kind, str(info), path.name))
    return problems
