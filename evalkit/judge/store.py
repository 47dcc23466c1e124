"""What a judge decided, on disk: appended as it comes, found again by its key."""

from __future__ import annotations

__all__ = ["FallbackStore", "GradeStore", "RecordStore", "VerdictStore"]

import contextlib
import fcntl
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Generic, NamedTuple, Self, TypeVar

from evalkit.errors import DataError, UsageError
from evalkit.records.jsonl import JsonlWriter, read_jsonl
from evalkit.records.reading import require_plain
from evalkit.records.schema import FallbackRecord, GradeRecord, VerdictRecord

R = TypeVar("R", VerdictRecord, FallbackRecord, GradeRecord)
P = TypeVar("P", bound=Hashable)


class RecordStore(ABC, Generic[R, P]):
    """A JSONL file of decisions.

    One that failed for want of a reply is not found again, so a re-run asks once more.

    Args:
        path: The file; made if missing, its torn last line is cut off and named in `warnings`.
        model: Schema of a line.
        called: What the file holds, for messages.

    Raises:
        DataError: A complete line is no such record, is of a newer version, or stands twice; or it is no file.
        UsageError: The file cannot be written, or another run is writing it.
    """

    def __init__(self, path: Path, model: type[R], called: str) -> None:
        self.path = path
        self._called = called
        self._lock = self._take_lock()
        try:
            records, self.warnings = read_jsonl(path, model)
            self._refuse_doubled(records)
            self._writer: JsonlWriter[R] = JsonlWriter(path)
        except BaseException:
            self._lock.close()
            raise
        self._by_key: dict[str, R] = {record.key: record for record in records if record.error is None}
        self._written = {self._place(record) for record in records if record.error is None}

    @abstractmethod
    def _place(self, record: R) -> P:
        """Return what tells a record from one that lies there already."""

    def _refuse_doubled(self, records: Sequence[R]) -> None:
        places = Counter(self._place(record) for record in records if record.error is None)
        doubled = sum(times - 1 for times in places.values())
        if doubled:
            said = f"{doubled} {self._called} on record twice: take the doubled lines out"
            raise DataError(f"{self.path}: {said}", path=self.path)

    @property
    def decided(self) -> int:
        """How many decisions are on record."""
        return len(self._written)

    def _take_lock(self) -> contextlib.ExitStack:
        if self.path.exists():
            require_plain(self.path)  # to open a pipe waits for whoever reads it
        stack = contextlib.ExitStack()
        try:
            file = stack.enter_context(self.path.open("ab"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stack.close()
            raise UsageError(f"{self.path}: another run is writing {self._called} there; wait for it") from error
        except OSError as error:
            stack.close()
            raise UsageError(f"{self.path}: cannot be written ({error.strerror})") from error
        return stack

    def find(self, key: str) -> R | None:
        """Return the record with this key, if one was recorded."""
        return self._by_key.get(key)

    def append(self, record: R) -> None:
        """Write one record and flush it; one that lies there already is not written twice.

        Raises:
            UsageError: The disk is full or the file went away; what was written before stays whole.
        """
        place = self._place(record)
        if place in self._written:
            return
        end = self._writer.offset()
        try:
            self._writer.append(record)
        except OSError as error:
            self._cut_back(end)
            kept = f"earlier {self._called} are kept, run again to go on"
            raise UsageError(f"{self.path}: cannot write ({error.strerror}); {kept}") from error
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
            if not self.path.stat().st_size:
                self.path.unlink()  # nothing was decided: no trace of it is left
        self._lock.close()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


class _Place(NamedTuple):
    model_name: str
    baseline_name: str
    baseline_id: str
    pair: str
    order: str
    key: str


class VerdictStore(RecordStore[VerdictRecord, _Place]):
    """A ``verdicts.jsonl``; the same texts may stand there under several pairs and baselines.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, VerdictRecord, "verdicts")

    def name_of_baseline(self, name: str, id_: str) -> str:
        """Return what a baseline is called here: its name, with its id where another one bears the name already.

        Args:
            name: Its name.
            id_: What tells it from others of that name.
        """
        known = {place.baseline_id for place in self._written if place.baseline_name == name}
        return name if not known or id_ in known else f"{name}-{id_}"

    def _place(self, record: VerdictRecord) -> _Place:
        return _Place(
            record.model_name, record.baseline_name, record.baseline_id, record.pair, record.order, record.key
        )


class FallbackStore(RecordStore[FallbackRecord, str]):
    """A ``fallback.jsonl``.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, FallbackRecord, "readings")

    def _place(self, record: FallbackRecord) -> str:
        return record.key


class GradeStore(RecordStore[GradeRecord, tuple[str, int, str]]):
    """A ``grades.jsonl``; the same reply may stand there under several items.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, GradeRecord, "grades")

    def _place(self, record: GradeRecord) -> tuple[str, int, str]:
        return record.item, record.draw, record.key
