"""The ticks of a run as columns: a large run has hundreds of thousands, and figures want one column at a time."""

from __future__ import annotations

__all__ = ["STAGE_COLUMNS", "TickTable", "TokenCounts", "TokenTimes", "read_ticks"]

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import DataError
from evalkit.records.jsonl import stream_jsonl
from evalkit.records.schema import CompressorReport, HeldTokens, PacedTick, StageTimes, TickRecord

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STAGE_COLUMNS = tuple(StageTimes.model_fields)
_WHOLE = ("v", "second", "frames", "generated", "cache_tokens")
_REAL = ("start", "end", "peak_mib", "rss_mib")
_COUNTED = ("tokens_in", "kept", "evicted")


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Token counts by span kind, one set of them a tick.

    Args:
        kinds: Names of the kinds; ``codes`` are places in it.
        first: Shape ``(ticks,)``, where the counts of each tick begin.
        size: Shape ``(ticks,)``, how many kinds it names.
        codes: Shape ``(counts,)``, kind of each count.
        counts: Shape ``(counts,)``, tokens.
    """

    kinds: tuple[str, ...]
    first: Ints
    size: Ints
    codes: NDArray[np.int32]
    counts: Ints

    def row(self, place: int) -> dict[str, int]:
        """Return the counts of one tick by kind."""
        begin = int(self.first[place])
        part = slice(begin, begin + int(self.size[place]))
        return {
            self.kinds[code]: count
            for code, count in zip(self.codes[part].tolist(), self.counts[part].tolist(), strict=True)
        }

    def columns(self) -> dict[str, Ints]:
        """Return for each kind that a tick names its counts, shape ``(ticks,)``, 0 where a tick has none."""
        ticks = np.repeat(np.arange(self.size.size), self.size)
        within = np.arange(ticks.size) - np.repeat(np.cumsum(self.size) - self.size, self.size)
        places = np.repeat(self.first, self.size) + within
        codes, counts = self.codes[places], self.counts[places]
        found: dict[str, Ints] = {}
        for code in np.unique(codes):
            column = np.zeros(self.size.size, dtype=np.int64)
            chosen = codes == code
            column[ticks[chosen]] = counts[chosen]
            found[self.kinds[code]] = column
        return found

    def where(self, rows: NDArray[Any]) -> TokenCounts:
        """Return the counts of the ticks chosen by a mask or by places."""
        return TokenCounts(self.kinds, self.first[rows], self.size[rows], self.codes, self.counts)


@dataclass(frozen=True, slots=True, eq=False)
class TokenTimes:
    """When each token of each tick came, seconds from the start of work on it.

    Args:
        first: Shape ``(ticks,)``, where the times of each tick begin.
        size: Shape ``(ticks,)``, how many it has.
        times: Shape ``(tokens,)``.
    """

    first: Ints
    size: Ints
    times: Floats

    def row(self, place: int) -> list[float]:
        """Return the times of one tick."""
        begin = int(self.first[place])
        found: list[float] = self.times[begin : begin + int(self.size[place])].tolist()
        return found

    def where(self, rows: NDArray[Any]) -> TokenTimes:
        """Return the times of the ticks chosen by a mask or by places."""
        return TokenTimes(self.first[rows], self.size[rows], self.times)

    def last(self) -> Floats:
        """Return when the last token of each tick came, NaN where it has none, shape ``(ticks,)``."""
        found = np.full(self.size.size, np.nan)
        some = self.size > 0
        found[some] = self.times[self.first[some] + self.size[some] - 1]
        return found

    def gaps(self) -> Floats:
        """Return the time between tokens that follow one another in a tick; those that came as one have none."""
        first, size = self.first[self.size > 1], self.size[self.size > 1]
        if not first.size:
            return np.empty(0)
        steps = size - 1
        within = np.arange(int(steps.sum())) - np.repeat(np.cumsum(steps) - steps, steps)
        places = np.repeat(first, steps) + within
        gaps: Floats = self.times[places + 1] - self.times[places]
        return gaps[gaps > 0]


@dataclass(frozen=True, slots=True, eq=False)
class TickTable(Sequence[TickRecord]):
    """The ticks of a run; a column is an array of shape ``(ticks,)``, an item is made a record on demand.

    Args:
        samples: Names of the samples; ``sample`` holds places in it, in order of appearance.
        sample: Sample of each tick.
        whole: The integer columns of `TickRecord` by name.
        real: Its float columns by name; ``first_token`` is NaN where there is none.
        stages: Shape ``(ticks, 10)``, seconds by stage in the order of ``STAGE_COLUMNS``, ``total`` last.
        counted: ``tokens_in``, ``kept`` and ``evicted``.
        token_times: When each token came.
        compressors: Shape ``(ticks,)``, tuples of reports; equal ones are one object.
        memory: Sampled memory by what was read, MiB, NaN where it was not, each of shape ``(ticks,)``.
        held: Shape ``(ticks,)``, what a memory that sees tensors holds; ``None`` in any other.
        pace: Shape ``(ticks,)``, when each second of a paced run came and was done; ``None`` in any other.
    """

    samples: tuple[str, ...]
    sample: NDArray[np.int32]
    whole: dict[str, Ints]
    real: dict[str, Floats]
    stages: Floats
    counted: dict[str, TokenCounts]
    token_times: TokenTimes
    compressors: NDArray[np.object_]
    memory: dict[str, Floats]
    held: NDArray[np.object_]
    pace: NDArray[np.object_]

    @classmethod
    def of(cls, ticks: Iterable[TickRecord]) -> TickTable:
        """Return the table of any ticks; a table as it is."""
        if isinstance(ticks, TickTable):
            return ticks
        columns = _Columns()
        for tick in ticks:
            columns.append(tick)
        return columns.table()

    @property
    def start(self) -> Floats:
        """Media second at which each tick begins."""
        return self.real["start"]

    @property
    def end(self) -> Floats:
        """Media second at which it ends."""
        return self.real["end"]

    @property
    def media(self) -> Floats:
        """Media seconds it lasts."""
        return self.end - self.start

    @property
    def total(self) -> Floats:
        """Its service time, seconds."""
        return self.stage("total")

    @property
    def dropped(self) -> NDArray[np.bool_]:
        """Which seconds a paced run never worked on."""
        return np.array([pace is not None and pace.dropped for pace in self.pace], dtype=bool)

    def stage(self, name: str) -> Floats:
        """Return the seconds of one stage."""
        column: Floats = self.stages[:, STAGE_COLUMNS.index(name)]
        return column

    def where(self, rows: NDArray[Any]) -> TickTable:
        """Return the ticks chosen by a mask or by places, shape ``(chosen,)``."""
        return TickTable(
            samples=self.samples,
            sample=self.sample[rows],
            whole={name: column[rows] for name, column in self.whole.items()},
            real={name: column[rows] for name, column in self.real.items()},
            stages=self.stages[rows],
            counted={name: counts.where(rows) for name, counts in self.counted.items()},
            token_times=self.token_times.where(rows),
            compressors=self.compressors[rows],
            memory={name: column[rows] for name, column in self.memory.items()},
            held=self.held[rows],
            pace=self.pace[rows],
        )

    def in_order(self, samples: Sequence[str]) -> TickTable:
        """Return the ticks sample by sample in the order given; within one, and of samples not named, as they are.

        Several workers leave theirs in turns. A table that is in this order already is returned itself.
        """
        ranks = {name: rank for rank, name in enumerate(dict.fromkeys(samples))}
        order = sorted(range(len(self.samples)), key=lambda code: ranks.get(self.samples[code], len(ranks)))
        places = np.empty(len(order), dtype=np.int32)
        places[order] = np.arange(len(order), dtype=np.int32)
        ranked = places[self.sample]
        if order == sorted(order) and bool(np.all(ranked[1:] >= ranked[:-1])):
            return self
        table = replace(self, samples=tuple(self.samples[code] for code in order), sample=ranked)
        return table.where(np.argsort(ranked, kind="stable"))

    def by_sample(self) -> dict[str, Ints]:
        """Return the places of each sample's ticks, in the order of the table."""
        order = np.argsort(self.sample, kind="stable")
        sizes = np.bincount(self.sample, minlength=len(self.samples))
        parts = np.split(order, np.cumsum(sizes)[:-1]) if self.samples else []
        return {name: part for name, part in zip(self.samples, parts, strict=True) if part.size}

    def __len__(self) -> int:
        return self.sample.size

    @overload
    def __getitem__(self, place: int) -> TickRecord: ...

    @overload
    def __getitem__(self, place: slice) -> TickTable: ...

    def __getitem__(self, place: int | slice) -> TickRecord | TickTable:
        """Return one tick as a record, or a part of the table."""
        if isinstance(place, slice):
            return self.where(np.arange(len(self))[place])
        place = range(len(self))[place]
        first = float(self.real["first_token"][place])
        return TickRecord(
            sample=self.samples[self.sample[place]],
            stages=StageTimes(**dict(zip(STAGE_COLUMNS, self.stages[place].tolist(), strict=True))),
            compressors=self.compressors[place],
            memory={
                name: float(column[place]) for name, column in self.memory.items() if not np.isnan(column[place])
            },
            held=self.held[place],
            pace=self.pace[place],
            first_token=None if np.isnan(first) else first,
            token_times=self.token_times.row(place),
            **{name: int(column[place]) for name, column in self.whole.items()},  # type: ignore[arg-type]
            **{name: float(self.real[name][place]) for name in _REAL},  # type: ignore[arg-type]
            **{name: counts.row(place) for name, counts in self.counted.items()},  # type: ignore[arg-type]
        )

    def __eq__(self, other: object) -> bool:
        """Tell whether another sequence has the same ticks."""
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class _Counts:
    """Collects token counts by kind."""

    def __init__(self) -> None:
        self._kinds: dict[str, int] = {}
        self._first, self._size = array("q"), array("q")
        self._codes, self._counts = array("i"), array("q")

    def append(self, counts: dict[str, int]) -> None:
        self._first.append(len(self._codes))
        self._size.append(len(counts))
        for kind, count in counts.items():
            self._codes.append(self._kinds.setdefault(kind, len(self._kinds)))
            self._counts.append(count)

    def finished(self) -> TokenCounts:
        first, size = _ints(self._first), _ints(self._size)
        codes = np.frombuffer(self._codes, dtype=np.int32) if self._codes else np.empty(0, np.int32)
        return TokenCounts(tuple(self._kinds), first, size, codes, _ints(self._counts))


def _ints(values: array[int]) -> Ints:
    return np.frombuffer(values, dtype=np.int64) if values else np.empty(0, np.int64)


def _floats(values: array[float]) -> Floats:
    return np.frombuffer(values, dtype=np.float64) if values else np.empty(0, np.float64)


class _Columns:
    """Collects ticks one by one, so that no two records need to be there at a time."""

    def __init__(self) -> None:
        self._samples: dict[str, int] = {}
        self._sample = array("q")
        self._whole = {name: array("q") for name in _WHOLE}
        self._real = {name: array("d") for name in (*_REAL, "first_token")}
        self._stages = array("d")
        self._counted = {name: _Counts() for name in _COUNTED}
        self._token_times, self._token_sizes = array("d"), array("q")
        self._compressors: list[tuple[CompressorReport, ...]] = []
        self._held: list[HeldTokens | None] = []
        self._pace: list[PacedTick | None] = []
        self._memory: dict[str, array[float]] = {}
        self._known: dict[tuple[CompressorReport, ...], tuple[CompressorReport, ...]] = {}

    def append(self, tick: TickRecord) -> None:
        """Add one tick.

        Raises:
            OverflowError: An integer in it is of 64 bits or more.
        """
        # A record's own dictionary, because attribute by attribute took a third of the time of reading a run.
        values = tick.__dict__
        self._sample.append(self._samples.setdefault(tick.sample, len(self._samples)))
        for name, whole in self._whole.items():
            whole.append(values[name])
        for name in _REAL:
            self._real[name].append(values[name])
        first = tick.first_token
        self._real["first_token"].append(np.nan if first is None else first)
        self._stages.extend(map(tick.stages.__dict__.__getitem__, STAGE_COLUMNS))
        for name, counts in self._counted.items():
            counts.append(values[name])
        self._token_times.extend(tick.token_times)
        self._token_sizes.append(len(tick.token_times))
        if tick.memory or self._memory:
            self._remember(tick.memory)
        self._held.append(tick.held)
        self._pace.append(tick.pace)
        self._compressors.append(self._known.setdefault(tick.compressors, tick.compressors))

    def _remember(self, memory: dict[str, float]) -> None:
        before = len(self._pace)
        for name in memory:  # in the order in which they were read
            if name not in self._memory:
                self._memory[name] = array("d", [np.nan]) * before
        for name, column in self._memory.items():
            column.append(memory.get(name, np.nan))

    def table(self) -> TickTable:
        """Return what was collected."""
        reports = np.empty(len(self._compressors), dtype=object)
        for place, report in enumerate(self._compressors):
            reports[place] = report
        sizes = _ints(self._token_sizes)
        pace = np.empty(len(self._pace), dtype=object)
        pace[:] = self._pace
        held = np.empty(len(self._held), dtype=object)
        held[:] = self._held
        return TickTable(
            samples=tuple(self._samples),
            sample=_ints(self._sample).astype(np.int32),
            whole={name: _ints(values) for name, values in self._whole.items()},
            real={name: _floats(values) for name, values in self._real.items()},
            stages=_floats(self._stages).reshape(-1, len(STAGE_COLUMNS)),
            counted={name: counts.finished() for name, counts in self._counted.items()},
            token_times=TokenTimes(np.cumsum(sizes) - sizes, sizes, _floats(self._token_times)),
            compressors=reports,
            memory={name: _floats(values) for name, values in self._memory.items()},
            held=held,
            pace=pace,
        )


def read_ticks(path: Path, damaged: list[str] | None = None) -> tuple[TickTable, list[str]]:
    """Read ``ticks.jsonl``, one record at a time.

    Args:
        path: File to read; a missing file has no ticks.
        damaged: Where given, it gets what is wrong with each line that is no tick, which is then left out.

    Returns:
        The ticks, and warnings (a torn last line that was dropped).

    Raises:
        DataError: As `read_jsonl`; or an integer in a line does not fit into 64 bits.
    """
    columns = _Columns()
    warnings: list[str] = []
    for tick in stream_jsonl(path, TickRecord, warnings, damaged):
        try:
            columns.append(tick)
        except OverflowError as error:
            where = f"{path}: {tick.sample}, second {str(tick.second)[:20]}"
            raise DataError(f"{where}: a number too large to be a count", path=path) from error
    return columns.table(), warnings
