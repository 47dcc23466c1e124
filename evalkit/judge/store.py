"""Verdicts on disk: appended as they come, found again by their key."""

from __future__ import annotations

__all__ = ["VerdictStore"]

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from evalkit.errors import UsageError
from evalkit.records.jsonl import JsonlWriter, read_jsonl
from evalkit.records.schema import VerdictRecord


class VerdictStore:
    """A ``verdicts.jsonl``.

    A verdict that failed for want of a reply is not found again, so a re-run asks once more.

    Args:
        path: The file; made if missing, its torn last line is cut off and named in `warnings`.

    Raises:
        DataError: A complete line is no verdict, or is of a newer version.
        UsageError: The file cannot be written, or another run is writing it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = self._take_lock(path)
        try:
            records, self.warnings = read_jsonl(path, VerdictRecord)
            self._writer: JsonlWriter[VerdictRecord] = JsonlWriter(path)
        except BaseException:
            self._lock.close()
            raise
        self._by_key = {record.key: record for record in records if record.error is None}
        self._written = {(record.pair, record.order, record.key) for record in records if record.error is None}

    @staticmethod
    def _take_lock(path: Path) -> contextlib.ExitStack:
        stack = contextlib.ExitStack()
        try:
            file = stack.enter_context(path.open("ab"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stack.close()
            raise UsageError(f"{path}: another run is writing verdicts there; wait for it") from error
        except OSError as error:
            stack.close()
            raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
        return stack

    def find(self, key: str) -> VerdictRecord | None:
        """Return the verdict with this key, if one was recorded."""
        return self._by_key.get(key)

    def append(self, record: VerdictRecord) -> None:
        """Write one verdict and flush it; one that lies there already is not written twice.

        Raises:
            UsageError: The disk is full or the file went away; what was written before stays whole.
        """
        place = (record.pair, record.order, record.key)
        if place in self._written:
            return
        end = self._writer.offset()
        try:
            self._writer.append(record)
        except OSError as error:
            self._cut_back(end)
            raise UsageError(
                f"{self.path}: cannot write ({error.strerror}); earlier verdicts are kept, run again to go on"
            ) from error
        if record.error is None:
            self._written.add(place)
            self._by_key[record.key] = record

    def _cut_back(self, end: int) -> None:
        """Drop a line that was written in part, with what the writer still holds of it."""
        with contextlib.suppress(OSError):
            self._writer.close()
        os.truncate(self.path, end)
        self._writer = JsonlWriter(self.path)

    def close(self) -> None:
        """Close the file and let others write it."""
        with contextlib.suppress(OSError):
            self._writer.close()
        self._lock.close()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()
