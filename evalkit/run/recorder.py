"""Writing a run's records so that it can be killed at any moment: nothing is lost, nothing stands twice."""

from __future__ import annotations

__all__ = ["DoneRecord", "Moment", "Recorder", "Records", "Said", "moment_of"]

import threading
from collections import defaultdict
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self

from pydantic import BaseModel, ConfigDict

from evalkit.records import (
    AnswerRecord,
    JsonlWriter,
    RecordCounts,
    RunFolder,
    TickRecord,
    TickTable,
    broken_off,
    json_line,
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


class Moment(NamedTuple):
    """What tells ticks apart: a second cut at questions has parts, and one of them may have no length."""

    sample: str
    second: int
    start: float
    end: float


class Said(NamedTuple):
    """What is remembered of a reply.

    Args:
        sample: Sample id.
        query: Query id.
        text: The reply.
        spoken_until: Media second up to which it narrates; ``None`` for an answer, or where narration failed.
        narration: Whether it is a second of narration.
    """

    sample: str
    query: str
    text: str
    spoken_until: float | None
    narration: bool

    @classmethod
    def of(cls, record: AnswerRecord) -> Said:
        """Return that of a record."""
        narration = record.kind == "narration"
        until = record.end if narration and record.status != "failed" else None
        return cls(record.sample, record.query, record.text, until, narration)


def moment_of(tick: TickRecord) -> Moment:
    """Return what tells a tick from others."""
    return Moment(tick.sample, tick.second, tick.start, tick.end)


class Records(Protocol):
    """Where the records of a sample go while it runs."""

    def answered(self, sample: str, query: str) -> bool:
        """Whether a reply is on record."""

    def reply(self, sample: str, query: str) -> str | None:
        """Return the reply that is on record, ``None`` where there is none."""

    def tick(self, record: TickRecord) -> None:
        """Put a second on record, unless it is."""

    def answer(self, record: AnswerRecord) -> None:
        """Put a reply on record, unless it is."""

    def sync(self) -> None:
        """Force what was recorded onto the disk, so that no checkpoint is ahead of its records."""


class Recorder:
    """Appends to a run folder's files.

    A resumed sample goes through seconds that are on record already; their records are kept as they stand and
    not written again. Where a repeated second says something else, ``differences`` names it. Of what is narrated
    meanwhile nothing is kept, so that memory does not grow with the stream, unless another worker may narrate it
    again: then it is kept until its sample is finished.

    A finished sample whose records are not all there any more is not finished: it runs again, and ``gone`` names
    it.

    Args:
        folder: The run folder.
        repeats: Whether a sample may be gone on with while this recorder is open.

    Raises:
        DataError: A record is malformed or stands twice.
    """

    def __init__(self, folder: RunFolder, *, repeats: bool = False) -> None:
        self._repeats = repeats
        self._held = threading.RLock()  # samples may be under way at once
        folder.state_path.mkdir(parents=True, exist_ok=True)
        done_path = folder.state_path / "done.jsonl"
        answers, torn_answers = read_jsonl(folder.answers_path, AnswerRecord)
        ticks, torn_ticks = read_jsonl(folder.ticks_path, TickRecord)
        done, _ = read_jsonl(done_path, DoneRecord)
        self.warnings = torn_answers + torn_ticks
        self.differences: list[str] = []
        self._answers: dict[str, dict[str, str]] = defaultdict(dict)
        self._spoken_until: dict[str, float] = {}
        for answer in answers:
            self._answers[answer.sample][answer.query] = answer.text
            self._note_end(Said.of(answer))
        self._ticks: dict[str, set[Moment]] = defaultdict(set)
        for tick in ticks:
            self._ticks[tick.sample].add(moment_of(tick))
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
        return query in self._answers.get(sample, ())

    def reply(self, sample: str, query: str) -> str | None:
        """Return the reply that is on record, ``None`` where there is none."""
        return self.replies(sample).get(query)

    def replies(self, sample: str) -> dict[str, str]:
        """Return the replies of an unfinished sample that are on record, by query."""
        return self._answers.get(sample, {})

    def spoken_until(self, sample: str) -> float | None:
        """Return the media second up to which a sample is narrated, ``None`` where it is not."""
        return self._spoken_until.get(sample)

    def _note_end(self, said: Said) -> None:
        if said.spoken_until is not None:
            self._spoken_until[said.sample] = max(self._spoken_until.get(said.sample, 0.0), said.spoken_until)

    def tick(self, record: TickRecord) -> None:
        """Put a second on record, unless it is."""
        self.put_tick(moment_of(record), json_line(record))

    def put_tick(self, moment: Moment, line: bytes) -> None:
        """Put the line of a second on record, unless it is."""
        with self._held:
            known = self._ticks.get(moment.sample)
            if known is not None and moment in known:
                return
            self._tick_file.append_line(line)
            self._count(moment.sample, ticks=1)
            if self._repeats:
                self._ticks[moment.sample].add(moment)

    def answer(self, record: AnswerRecord) -> None:
        """Put a reply on record, unless it is."""
        self.put_answer(Said.of(record), json_line(record))

    def put_answer(self, said: Said, line: bytes) -> None:
        """Put the line of a reply on record, unless it is."""
        with self._held:
            known = self.replies(said.sample).get(said.query)
            if known is None:
                self._answer_file.append_line(line)
                self._count(said.sample, answers=1)
                self._note_end(said)
                if self._repeats or not said.narration:
                    self._answers[said.sample][said.query] = said.text
            elif known != said.text:
                self.differences.append(f"{said.query}: said {known!r} before the resume, {said.text!r} after it")

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
            self._answers.pop(sample, None)
            self._ticks.pop(sample, None)

    def __enter__(self) -> Self:
        """Return the recorder itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        for file in (self._answer_file, self._tick_file, self._done_file):
            file.close()
