"""Reads and writes ``leaderboards/<task>.json``: a broken file gives one line with a line number, no guess."""

from __future__ import annotations

__all__ = ["board_path", "dump_board", "parse_board", "read_board", "task_names", "write_board"]

import json
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evalkit.errors import DataError, UsageError
from evalkit.leaderboard.schema import LEADERBOARD_VERSION, Leaderboard
from evalkit.records import read_plain, write_atomic

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)")
_TASK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def board_path(folder: Path, task: str) -> Path:
    """Return where a task's leaderboard lies.

    Raises:
        UsageError: The name could not be a file's.
    """
    if not _TASK.fullmatch(task):
        raise UsageError(f"{task!r} is no task name")
    return folder / f"{task}.json"


def task_names(folder: Path) -> list[str]:
    """Return the tasks that have a leaderboard in `folder`, sorted."""
    return sorted(path.stem for path in folder.glob("*.json"))


def read_board(path: Path) -> Leaderboard:
    """Read a leaderboard.

    Raises:
        DataError: No such file, or `parse_board` refuses it.
    """
    if not path.exists():
        raise DataError(f"no leaderboard at {path}", path=path)
    try:
        text = read_plain(path).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text", path=path) from error
    return parse_board(text, str(path))


def parse_board(text: str, name: str) -> Leaderboard:
    """Read a leaderboard from its text.

    Args:
        text: JSON.
        name: What messages call it: a path, or ``REV:path``.

    Raises:
        DataError: A merge conflict, broken JSON, a newer schema, a duplicate id or a field that is wrong; the
            message starts with ``name:line``.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        if _CONFLICT.match(line):
            raise DataError(f"{name}:{number}: a merge conflict stands in the file: resolve it first", path=name)
    try:
        content = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise DataError(f"{name}:{error.lineno}: not valid JSON ({error.msg})", path=name) from error
    except ValueError as error:
        raise DataError(f"{name}:{_line_of(text, error.args[-1])}: {error.args[0]}", path=name) from error
    except RecursionError as error:
        raise DataError(f"{name}:1: nested too deep for a leaderboard", path=name) from error
    _check_shape(content, text, name)
    try:
        return Leaderboard.model_validate(content)
    except ValidationError as error:
        raise DataError(_complaint(content, text, name, error), path=name) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the field {key!r} stands twice in one object", f'"{key}"')
        found[key] = value
    return found


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is no number a leaderboard may hold; use null", word)


def _line_of(text: str, needle: str, occurrence: int = 1) -> int:
    """Return the line of the n-th occurrence of a piece of text, 1 where there is none."""
    position = -1
    for _ in range(occurrence):
        position = text.find(needle, position + 1)
        if position < 0:
            return 1
    return text.count("\n", 0, position) + 1


def _id_line(text: str, id_: str, occurrence: int = 1) -> int:
    pattern = re.compile(r'"id"\s*:\s*' + re.escape(json.dumps(id_, ensure_ascii=False)))
    matches = list(pattern.finditer(text))
    return text.count("\n", 0, matches[occurrence - 1].start()) + 1 if len(matches) >= occurrence else 1


def _check_shape(content: Any, text: str, name: str) -> None:
    if not isinstance(content, dict):
        raise DataError(f"{name}:1: not a leaderboard (a JSON object is expected)", path=name)
    version = content.get("v")
    if isinstance(version, int) and version > LEADERBOARD_VERSION:
        line = _line_of(text, '"v"')
        raise DataError(
            f"{name}:{line}: written by a newer evalkit (schema {version}, this one reads {LEADERBOARD_VERSION}): "
            "update evalkit",
            path=name,
        )
    seen: set[str] = set()
    entries = content.get("entries")
    for entry in entries if isinstance(entries, list) else []:
        id_ = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(id_, str):
            continue
        newer = entry.get("v")
        if isinstance(newer, int) and newer > LEADERBOARD_VERSION:
            raise DataError(
                f"{name}:{_id_line(text, id_)}: entry {id_!r} was written by a newer evalkit (schema {newer}, "
                f"this one reads {LEADERBOARD_VERSION}): update evalkit",
                path=name,
            )
        if id_ in seen:
            raise DataError(f"{name}:{_id_line(text, id_, 2)}: the entry {id_!r} stands twice", path=name)
        seen.add(id_)


def _complaint(content: Any, text: str, name: str, error: ValidationError) -> str:
    first = error.errors()[0]
    where = list(first["loc"])
    line = 1
    if len(where) > 1 and where[0] in ("entries", "settings") and isinstance(where[1], int):
        part = content[where[0]][where[1]]
        if isinstance(part, dict) and isinstance(part.get("id"), str):
            line = _id_line(text, part["id"])
            where[:2] = [f"{part['id']}"]
    field = ".".join(str(part) for part in where)
    said = first["msg"].removeprefix("Value error, ")
    return f"{name}:{line}: {field}: {said}" if field else f"{name}:{line}: {said}"


def dump_board(board: Leaderboard) -> str:
    """Return a leaderboard as the text of its file: entries by id, one field a line, for readable diffs."""
    content = board.model_dump(mode="json", exclude_defaults=True)
    for part in content["entries"]:
        source = part["source"]
        part["source"] = {"kind": "published" if "reference" in source else "run", **source}
    content["entries"].sort(key=lambda entry: entry["id"])
    return json.dumps({"v": board.v, **content}, indent=2, ensure_ascii=False) + "\n"


def write_board(path: Path, board: Leaderboard) -> None:
    """Replace a leaderboard file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, dump_board(board))
