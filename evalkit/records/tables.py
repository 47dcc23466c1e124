"""A run's records as pandas frames, for people who compute figures of their own."""

from __future__ import annotations

__all__ = ["RunTables", "read_tables"]

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from evalkit.errors import UsageError
from evalkit.records.folder import RunFolder, RunRecords, read_run
from evalkit.records.schema import (
    AnswerRecord,
    FailedSample,
    Metric,
    RunManifest,
    StageTimes,
    TickRecord,
    VerdictRecord,
)

if TYPE_CHECKING:
    import pandas as pd


class RunTables:
    """A run folder, read: its `manifest`, and a frame for each file of records.

    A field that holds several values by name becomes several columns: ``stages.prefill``, ``kept.vision``,
    ``tags.task``, ``call.prompt_tokens``. What a record does not have is missing (``NaN`` or ``None``).

    Args:
        path: The run folder.

    Raises:
        DataError: Not a run folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.manifest: RunManifest = RunFolder(self.path).read_manifest()

    @property
    def folder(self) -> str:
        """The folder, as text."""
        return str(self.path)

    @property
    def status(self) -> str:
        """``done``, ``failed``, ``interrupted`` or ``running``."""
        return self.manifest.status

    @property
    def failed(self) -> list[FailedSample]:
        """Samples that broke, each with its reason; they count in every denominator."""
        return self.manifest.failed

    @cached_property
    def records(self) -> RunRecords:
        """The records as typed objects.

        Raises:
            DataError: A file is malformed.
        """
        return read_run(self.path)

    @cached_property
    def answers(self) -> pd.DataFrame:
        """One row per reply: an answered question, or what was said in one second of narration.

        ``at``, ``start`` and ``end`` are media seconds: when it was asked, and what of the video could be seen.
        ``seconds`` and ``first_token`` are wall seconds from the question to the last and first token. ``text`` is
        the reply as it came, ``parsed`` what was read in it, ``unparsed`` why nothing was. ``status`` is ``ok``,
        ``failed``, or ``dropped`` for a second that a paced run never showed its model. ``call.*`` is what a
        server was asked: tokens, ``call.cost`` in the currency of the prices given, ``call.retry_seconds`` and
        ``call.queue_seconds`` in wall seconds that are part of no latency.
        """
        return _frame(AnswerRecord, self.records.answers)

    @cached_property
    def ticks(self) -> pd.DataFrame:
        """One row per second of stream.

        ``start`` and ``end`` are media seconds. ``stages.*`` and ``first_token`` are wall seconds; the stages sum
        to ``stages.total``. ``tokens_in.*``, ``kept.*`` and ``evicted.*`` are tokens by kind, ``cache_tokens``
        keys per layer. ``peak_mib`` and ``rss_mib`` are MiB.
        """
        return _frame(TickRecord, self.records.ticks)

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """One row per judgement of one pair in one order.

        ``start`` and ``end`` are media seconds, ``seconds`` wall seconds, ``cost`` in the currency of the prices
        given. ``winner`` is ``test``, ``baseline``, ``tie`` or ``invalid``.
        """
        return _frame(VerdictRecord, self.records.verdicts)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row per figure of ``metrics.json``; ``unit`` says how to read ``value``, ``low`` and ``high``.

        ``score`` is ``strict`` (all questions count) or ``official`` (the benchmark's own rule). ``coverage`` is
        the share of questions with a readable answer, ``clusters`` the number of videos behind the interval.
        """
        metrics = self.records.metrics
        return _frame(Metric, () if metrics is None else metrics.metrics)

    def to_datasets(self) -> Any:
        """Return a ``datasets.DatasetDict`` of the tables that have rows (extra ``[data]``).

        Raises:
            UsageError: ``datasets`` is not installed.
        """
        try:
            from datasets import Dataset, DatasetDict
        except ImportError as error:
            raise UsageError("to_datasets needs the package datasets: pip install 'evalkit[data]'") from error
        frames = {name: getattr(self, name) for name in ("answers", "ticks", "verdicts", "metrics")}
        return DatasetDict(
            {
                name: Dataset.from_pandas(frame, preserve_index=False)
                for name, frame in frames.items()
                if len(frame)
            }
        )

    def __repr__(self) -> str:
        """Name folder, task, model and status."""
        manifest = self.manifest
        return f"<run of {manifest.model} on {manifest.task}: {manifest.status}, {self.path}>"


def read_tables(folder: Path | str) -> RunTables:
    """Read a run folder; its frames are ``answers``, ``ticks``, ``verdicts`` and ``metrics``, each with its units.

    Args:
        folder: What ``evalkit run`` named.

    Raises:
        DataError: Not a run folder.
    """
    return RunTables(folder)


_GROUPS: dict[str, tuple[str, ...]] = {"stages": tuple(StageTimes.model_fields)}
"""Columns that a field is made of even where no record has any."""


def _frame(kind: type[BaseModel], records: Iterable[BaseModel]) -> pd.DataFrame:
    import pandas as pd

    rows = [dict(_flat(record.model_dump())) for record in records]
    known = [column for name in kind.model_fields for column in _columns(name, rows)]
    return pd.DataFrame(rows, columns=known)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _columns(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """Return the columns of a field, in the order of their first rows; the field itself where it has none."""
    if name in _GROUPS:
        return [f"{name}.{part}" for part in _GROUPS[name]]
    found = dict.fromkeys(column for row in rows for column in row if column.startswith(f"{name}."))
    plain = [name] if not found or any(row.get(name) is not None for row in rows) else []
    return [*plain, *found]
