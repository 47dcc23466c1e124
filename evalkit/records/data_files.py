"""What lies in a data folder, as it was when it was last looked at: so that nothing is hashed or opened twice.

A file whose size, time of change and time of its inode's change are those on record is taken as unchanged. One
whose modification time was set back has another inode time, so it is looked at again.
"""

from __future__ import annotations

__all__ = [
    "MANIFEST",
    "FileState",
    "Manifest",
    "data_files",
    "known_videos",
    "read_manifest",
    "state_of",
    "write_manifest",
]

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalkit.errors import DataError
from evalkit.records.folder import write_atomic
from evalkit.records.reading import read_plain

MANIFEST = "evalkit-files.json"


class FileState(BaseModel):
    """A file when it was last looked at.

    Args:
        size: Bytes.
        mtime_ns: Time of its last change, nanoseconds.
        ctime_ns: Time of its inode's last change.
        sha256: Digest of its content, once it was read.
        video: Duration (seconds), frame rate, size and codec, once it was opened; or ``error``.
    """

    model_config = ConfigDict(extra="forbid")

    size: int
    mtime_ns: int
    ctime_ns: int
    sha256: str | None = None
    video: dict[str, Any] | None = None

    def unchanged(self, path: Path) -> bool:
        """Whether the file is still as it was."""
        try:
            now = state_of(path)
        except OSError:
            return False
        return (now.size, now.mtime_ns, now.ctime_ns) == (self.size, self.mtime_ns, self.ctime_ns)


class Manifest(BaseModel):
    """``evalkit-files.json`` in a data folder.

    Args:
        task: The benchmark.
        repo: Where it came from; empty for a folder made by hand.
        revision: The commit that was fetched.
        videos: How many videos the chosen samples need.
        absent: Which of them could not be had, with the reason.
        files: By path below the folder.
    """

    model_config = ConfigDict(extra="forbid")

    v: int = 1
    task: str
    repo: str = ""
    revision: str = ""
    videos: int = 0
    absent: dict[str, str] = Field(default_factory=dict)
    files: dict[str, FileState] = Field(default_factory=dict)


def state_of(path: Path) -> FileState:
    """Return a file's size and times.

    Raises:
        OSError: It is not there.
    """
    stat = path.stat()
    return FileState(size=stat.st_size, mtime_ns=stat.st_mtime_ns, ctime_ns=stat.st_ctime_ns)


def read_manifest(folder: Path) -> Manifest | None:
    """Return what is on record of a data folder, ``None`` where nothing is.

    Raises:
        DataError: The record cannot be read.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        return Manifest.model_validate_json(read_plain(path))
    except ValidationError as error:
        raise DataError(f"{path} is no record of files: delete it, it is made anew", path=path) from error


def data_files(folder: Path) -> list[str]:
    """Return the paths of a data folder's files below it, but for records of ours and what begins with a dot."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    shown = (path for path in paths if not any(part.startswith((".", "evalkit-")) for part in path.parts))
    return sorted(path.as_posix() for path in shown)


def known_videos(paths: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """Return what is on record of videos that have not changed since they were opened last.

    Args:
        paths: Video files, in data folders that may have a record of their files.
    """
    found: dict[Path, dict[str, Any]] = {}
    records: dict[Path, tuple[Path, Manifest] | None] = {}
    for path in paths:
        place = records[path.parent] if path.parent in records else _record_above(path.parent, records)
        if place is None:
            continue
        root, manifest = place
        state = manifest.files.get(path.relative_to(root).as_posix())
        if state is not None and state.video is not None and "error" not in state.video and state.unchanged(path):
            found[path] = state.video
    return found


def _record_above(
    folder: Path, records: dict[Path, tuple[Path, Manifest] | None], levels: int = 6
) -> tuple[Path, Manifest] | None:
    """Return the record of the data folder that a folder lies in, and remember it."""
    for root in [folder, *folder.parents][:levels]:
        if (root / MANIFEST).is_file():
            try:
                manifest = read_manifest(root)
            except DataError:  # it is only spared work: the videos are opened
                manifest = None
            records[folder] = None if manifest is None else (root, manifest)
            return records[folder]
    records[folder] = None
    return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace what is on record."""
    content: Mapping[str, Any] = manifest.model_dump(mode="json", exclude_none=True)
    write_atomic(folder / MANIFEST, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
