"""A generated data folder: built aside, moved into place whole, and built again when its generator changes."""

from __future__ import annotations

__all__ = ["STAMP_NAME", "build_demo", "generator_version"]

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError

STAMP_NAME = ".evalkit-demo.json"


def generator_version(*sources: str | Path) -> str:
    """Return a digest of the code that makes a data set, so that any change to it is noticed.

    Args:
        sources: Source files besides those of this package, whose matches the data are made of.
    """
    files = [*sorted(Path(__file__).parent.glob("*.py")), *map(Path, sources)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def build_demo(folder: Path, version: str, build: Callable[[Path], None]) -> bool:
    """Make a data folder unless it is there already.

    The folder is filled beside its place and then renamed, so that a reader sees all of it or none. A stamp in
    it names the version and the files with their sizes; a folder whose stamp does not fit is built again.

    Args:
        folder: Where the data shall lie; its parents are made.
        version: What the stamp must say; see `generator_version`.
        build: Called with an empty folder, fills it.

    Returns:
        Whether anything was built.

    Raises:
        UsageError: ``folder`` holds files that no demo generator wrote.
    """
    if _is_current(folder, version):
        return False
    if folder.exists() and not (folder / STAMP_NAME).is_file() and any(folder.iterdir()):
        raise UsageError(f"{folder} holds other files; name an empty or new folder for the demo data")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fresh = aside / "fresh"
        fresh.mkdir()
        build(fresh)
        (fresh / STAMP_NAME).write_text(json.dumps({"version": version, "files": _sizes(fresh)}, indent=1))
        _swap(folder, fresh, aside / "stale", version)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return True


def _swap(folder: Path, fresh: Path, stale: Path, version: str) -> None:
    if folder.exists():
        folder.rename(stale)
    try:
        fresh.rename(folder)
    except OSError:
        # Another process may have put the same data there between the two renames.
        if not _is_current(folder, version):
            raise


def _is_current(folder: Path, version: str) -> bool:
    try:
        stamp: Any = json.loads((folder / STAMP_NAME).read_text())
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(stamp, dict) or stamp.get("version") != version:
        return False
    return bool(stamp.get("files") == _sizes(folder))


def _sizes(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != STAMP_NAME
    }
