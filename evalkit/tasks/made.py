"""Made-up data: how much of it is made, and the settings that a data folder brings along (no torch)."""

from __future__ import annotations

__all__ = ["FOLDER_SETTINGS_NAME", "DemoSize", "folder_settings", "write_folder_settings"]

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evalkit.errors import DataError, UsageError
from evalkit.records import decode_json, read_plain

FOLDER_SETTINGS_NAME: Final = "evalkit.json"


@dataclass(frozen=True, slots=True)
class DemoSize:
    """How much made-up data is made.

    Args:
        matches: How many matches, 1 or more.
        seconds: Length of each, 20 or more.
        seed: Whole number, 0 or more; equal sizes give equal data, other seeds other matches.

    Raises:
        UsageError: A number is out of its range.
    """

    matches: int = 2
    seconds: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("matches", 1), ("seconds", 20), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise UsageError(f"demo data: {name} must be at least {least}, not {value}")


def folder_settings(data: Path) -> dict[str, Any]:
    """Return the task settings that a data folder brings along; they stand in for the defaults.

    Args:
        data: Folder of a benchmark's files; most bring none.

    Raises:
        DataError: Its file of settings is damaged.
    """
    path = data / FOLDER_SETTINGS_NAME
    if not path.is_file():
        return {}
    try:
        content = decode_json(read_plain(path))
        return dict(content["task"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: an object with the table 'task' is wanted", path=path) from error


def write_folder_settings(data: Path, task: Mapping[str, Any]) -> None:
    """Leave task settings in a data folder.

    Args:
        data: The folder.
        task: Settings of its benchmark by name.
    """
    text = json.dumps({"task": dict(task)}, indent=1)
    (data / FOLDER_SETTINGS_NAME).write_text(text + "\n", encoding="utf-8")
