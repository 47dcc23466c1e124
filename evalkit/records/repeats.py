"""One model run again and again: a folder of run folders, which every reader takes in place of one run."""

from __future__ import annotations

__all__ = ["run_folders"]

import re
from collections.abc import Iterable
from pathlib import Path

from evalkit.records.folder import RunFolder

_PARTS = re.compile(r"(\d+)")


def run_folders(paths: Iterable[Path]) -> list[Path]:
    """Return the run folders that are meant: each path itself, or the runs in it where it holds several.

    ``evalkit run --seeds 3 --out runs/mine`` leaves ``runs/mine/seed-42``, ``seed-43`` and ``seed-44``, each a run
    folder like any other; nothing but them is in ``runs/mine``.

    Args:
        paths: Run folders, or folders of run folders; what is neither is returned as it is.
    """
    found: list[Path] = []
    for path in paths:
        inner = [] if RunFolder(path).manifest_path.exists() or not path.is_dir() else _runs_in(path)
        found += inner or [path]
    return found


def _runs_in(path: Path) -> list[Path]:
    return sorted((one for one in path.iterdir() if RunFolder(one).manifest_path.is_file()), key=_place)


def _place(path: Path) -> list[tuple[int, str]]:
    """Sort ``run-2`` before ``run-10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _PARTS.split(path.name)]
