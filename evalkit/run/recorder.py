"""Writing a run's records so that it can be killed at any moment: nothing is lost, nothing stands twice."""

from __future__ import annotations

__all__ = ["DoneRecord", "Recorder"]

import threading
from types import TracebackType
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from evalkit.records import (
    AnswerRecord,
    JsonlWriter,
    RecordCounts,
    RunFolder,
    TickRecord,
    TickTable,
    broken_off,
    read_jsonl,
    refuse_doubled,
    short_of,
)
from evalkit.records.completeness import count_records


class DoneRecord(BaseModel):
    """A finished sample (``state/done.jsonl``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample: str
    status: Literal["done", "failed"]
    counts: RecordCounts | None = None
    """How many records it left; unknown in files of earlier versions."""


class Recorder:
    """Appends to a run folder's files.

    A resumed sample goes through seconds that are on record already; their records are kept as they stand and
    not written again. Where a repeated second says something else, ``differences`` names it. Of what this process
    narrates itself nothing is kept, so that memory does not grow with the stream.

    A finished sample whose records are not all there any more is not finished: it runs again, and ``gone`` names
    it.

    Args:
        folder: The run folder.

    Raises:
        DataError: A record is malformed or stands twice.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._held = threading.RLock()  # samples may be under way at once
        folder.state_path.mkdir(parents=True, exist_ok=True)
        done_path = folder.state_path / "done.jsonl"
        answers, torn_answers = read_jsonl(folder.answers_path, AnswerRecord)
        ticks, torn_ticks = read_jsonl(folder.ticks_path, TickRecord)
        done, _ = read_jsonl(done_path, DoneRecord)
        self.warnings = torn_answers + torn_ticks
        self.differences: list[str] = []
        self._answers = {(a.sample, a.query): a.text for a in answers}
        self._spoken_until: dict[str, float] = {}
        for answer in answers:
            self._note_end(answer)
        self._ticks = {_moment(t) for t in ticks}
        table = TickTable.of(ticks)
        refuse_doubled(folder.path, answers, table)
        self._counts = count_records(answers, table)
        self._done = {d.sample: d.status for d in done}
        self._gaps = broken_off(table)
        self.gone = [sample for sample, mark in {d.sample: d for d in done}.items() if self._is_gone(mark)]
        for sample in self.gone:
            del self._done[sample]
        self._answer_file: JsonlWriter[AnswerRecord] = JsonlWriter(folder.answers_path)
        self._tick_file: JsonlWriter[TickRecord] = JsonlWriter(folder.ticks_path)
        self._done_file: JsonlWriter[DoneRecord] = JsonlWriter(done_path)

    def _is_gone(self, mark: DoneRecord) -> bool:
        found = self._counts.get(mark.sample, RecordCounts())
        if mark.counts is None:
            return found == RecordCounts() or mark.sample in self._gaps
        return short_of(mark.counts, found)

    def recorded(self) -> dict[str, RecordCounts]:
        """Return how many records each finished sample has."""
        return {sample: self._counts.get(sample, RecordCounts()) for sample in self._done}

    def _count(self, sample: str, *, answers: int = 0, ticks: int = 0) -> None:
        before = self._counts.get(sample, RecordCounts())
        self._counts[sample] = RecordCounts(answers=before.answers + answers, ticks=before.ticks + ticks)

    def status(self, sample: str) -> str | None:
        """Return ``done`` or ``failed`` for a finished sample, ``None`` for one that is not."""
        return self._done.get(sample)

    def answered(self, sample: str, query: str) -> bool:
        """Whether a reply is on record."""
        return (sample, query) in self._answers

    def reply(self, sample: str, query: str) -> str | None:
        """Return the reply that is on record, ``None`` where there is none."""
        return self._answers.get((sample, query))

    def spoken_until(self, sample: str) -> float | None:
        """Return the media second up to which a sample is narrated, ``None`` where it is not."""
        return self._spoken_until.get(sample)

    def _note_end(self, record: AnswerRecord) -> None:
        if record.kind == "narration" and record.status != "failed":
            self._spoken_until[record.sample] = max(self._spoken_until.get(record.sample, 0.0), record.end)

    def tick(self, record: TickRecord) -> None:
        """Put a second on record, unless it is."""
        if _moment(record) not in self._ticks:
            with self._held:
                self._tick_file.append(record)
                self._count(record.sample, ticks=1)

    def answer(self, record: AnswerRecord) -> None:
        """Put a reply on record, unless it is."""
        key = (record.sample, record.query)
        with self._held:
            known = self._answers.get(key)
            if known is None:
                self._answer_file.append(record)
                self._count(record.sample, answers=1)
                self._note_end(record)
                if record.kind != "narration":
                    self._answers[key] = record.text
                return
        if known != record.text:
            self.differences.append(f"{record.query}: said {known!r} before the resume, {record.text!r} after it")

    def sync(self) -> None:
        """Force what was recorded onto the disk, so that no checkpoint is ahead of its records."""
        with self._held:
            for file in (self._answer_file, self._tick_file):
                file.sync()

    def finish(self, sample: str, status: Literal["done", "failed"]) -> None:
        """Mark a sample as finished."""
        with self._held:
            self.sync()
            counts = self._counts.get(sample, RecordCounts())
            self._done_file.append(DoneRecord(sample=sample, status=status, counts=counts))
            self._done[sample] = status

    def __enter__(self) -> Self:
        """Return the recorder itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        for file in (self._answer_file, self._tick_file, self._done_file):
            file.close()


def _moment(tick: TickRecord) -> tuple[str, int, float, float]:
    """Return what tells ticks apart: a second cut at questions has parts, and one of them may have no length."""
    return tick.sample, tick.second, tick.start, tick.end
