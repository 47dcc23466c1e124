"""Reads the run folders a report or a plot is made of, names them apart, and says what is wrong with them."""

from __future__ import annotations

__all__ = ["LATENCY_MARKS", "Run", "differing_fields", "load_runs", "mismatch_notice"]

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.records import Latency, Metric, RunRecords, missing_text, read_run, run_folders, why_no_run

# What names the model under test: runs that differ in these alone compare fairly.
MODEL_FIELDS = ("model", "checkpoint", "policy", "memory", "compress", "backbone")


LATENCY_MARKS: dict[Latency, str] = {
    "alone": "",
    "loaded": ", several samples under way at once",
    "batched": ", streams advancing as one batch",
    "turns": ", models in turns in one process (memory is of all)",
}
"""What is said of times by what shared the model; those of different kinds stand in tables of their own."""
_LATENCY_LABELS: dict[Latency, str] = {
    "alone": "",
    "loaded": ", under load",
    "batched": ", in a batch",
    "turns": ", in turns",
}


@dataclass(frozen=True)
class Run:
    """A run with the name that tells it from the others.

    Args:
        label: Unique among the runs read together.
        records: What the run left on disk.
    """

    label: str
    records: RunRecords

    @property
    def timed_label(self) -> str:
        """Return the label beside times, which says where several samples were under way at once."""
        return self.label + _LATENCY_LABELS[self.records.manifest.latency]

    @property
    def unfinished(self) -> str | None:
        """Why no score may be read from this run yet, or ``None``."""
        manifest = self.records.manifest
        if self.records.missing:
            gone = missing_text(manifest, self.records.missing)
            again = f"--resume --out {self.records.folder.path} runs them again"
            return f"{self.label}: {gone}, scores are withheld; {again}."
        if self.records.verdicts_gone:
            gone = "; ".join(self.records.verdicts_gone)
            return f"{self.label}: {gone}, scores are withheld; evalkit judge asks for them again."
        if manifest.status not in ("running", "interrupted"):
            return None
        seen = {answer.sample for answer in self.records.answers} | {tick.sample for tick in self.records.ticks}
        planned = f" of {len(manifest.planned)}" if manifest.planned else ""
        state = "is still running" if manifest.status == "running" else "was interrupted"
        return f"{self.label} {state}: records of {len(seen)}{planned} samples so far, scores are withheld."

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The run's metrics; none while it is unfinished, because they would be of a part of the samples.

        Without answers there are no scores: what metrics.json says of them is of answers that are gone.
        """
        if self.unfinished or self.records.metrics is None:
            return ()
        metrics = self.records.metrics.metrics
        return metrics if self.records.answers else tuple(one for one in metrics if not one.score)

    def notices(self) -> list[str]:
        """Return what a reader must know before reading a number, one line each."""
        manifest, records = self.records.manifest, self.records
        lines = [self.unfinished] if self.unfinished else []
        if manifest.status == "failed":
            lines.append(f"{self.label} failed: {manifest.error or 'no reason recorded'}.")
        if records.uncounted:
            lines.append(
                f"{self.label} did not count its records: one lost at a sample's end would not be missed."
            )
        if (videos := manifest.videos_lacking) is not None:
            lines.append(f"{self.label} is on {videos}; what was asked of the others counts as not answered.")
        if not records.answers:
            lines.append(f"{self.label} has no answers on record.")
        if not self.unfinished and records.metrics is None:
            lines.append(f"{self.label} has no metrics.json: it was not scored, so no score is shown.")
        odd = [metric for metric in self.metrics if metric.value is not None and not math.isfinite(metric.value)]
        if odd:
            names = ", ".join(sorted({f"{metric.name} {metric.group}".strip() for metric in odd})[:5])
            lines.append(f"{self.label}: {len(odd)} metrics are not numbers ({names}); they show as a dash.")
        digest = records.metrics.fingerprint_digest if records.metrics else manifest.fingerprint_digest
        if digest != manifest.fingerprint_digest:
            lines.append(f"{self.label}: metrics.json belongs to another run (fingerprint {digest[:8]}).")
        return [*lines, *(f"{self.label}: {line}" for line in (*records.warnings, *manifest.warnings))]


def load_runs(runs: Iterable[Path | RunRecords], *, ticks: bool = True, damaged_ticks: bool = False) -> list[Run]:
    """Read run folders of one task.

    Args:
        runs: The folders, of runs or of several runs of one model (``--seeds``, ``--repeat``); records that are in
            memory already are taken as they are.
        ticks: Whether to read ``ticks.jsonl`` too.
        damaged_ticks: Whether to go on without lines of it that are no ticks.

    Raises:
        UsageError: No folder, a folder that does not exist or is named twice, or runs of different tasks.
        DataError: A folder is not a run's, a record is malformed, or a newer evalkit wrote it.
    """
    given = [one for run in runs for one in ([run] if isinstance(run, RunRecords) else run_folders([Path(run)]))]
    folders = [run.folder.path if isinstance(run, RunRecords) else Path(run) for run in given]
    if not folders:
        raise UsageError("name at least one run folder")
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(why_no_run(folder))
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("a run folder is named twice")
    records = [
        run if isinstance(run, RunRecords) else read_run(Path(run), ticks=ticks, damaged_ticks=damaged_ticks)
        for run in given
    ]
    tasks = {record.manifest.task: folder for record, folder in zip(records, folders, strict=True)}
    if len(tasks) > 1:
        named = ", ".join(f"{task} ({folder})" for task, folder in tasks.items())
        raise UsageError(f"runs of different tasks do not stand side by side: {named}; name runs of one task")
    return [Run(label, record) for label, record in zip(_labels(records), records, strict=True)]


def _labels(records: Sequence[RunRecords]) -> list[str]:
    """Name each run by its model, then by what tells it from others of that name, until no two are alike.

    That is its compression, its checkpoint, its seed, its fingerprint, its folder.
    """
    names = [record.name for record in records]
    for more in (_compression, _checkpoint, _seed, _digest, lambda record: record.folder.path.name):
        parts = [more(record) for record in records]
        told: dict[str, set[str]] = {}
        for name, part in zip(names, parts, strict=True):
            told.setdefault(name, set()).add(part)
        names = [
            f"{name} {part}".strip() if len(told[name]) > 1 and part not in name else name
            for name, part in zip(names, parts, strict=True)
        ]
    counts = Counter(names)
    return [f"{name} #{place + 1}" if counts[name] > 1 else name for place, name in enumerate(names)]


def _compression(record: RunRecords) -> str:
    return str(record.manifest.options.get("compress") or "")


def _seed(record: RunRecords) -> str:
    seed = record.manifest.seeds.get("run")
    return "" if seed is None else f"seed {seed}"


def _digest(record: RunRecords) -> str:
    return record.manifest.fingerprint_digest[:8]


def _checkpoint(record: RunRecords) -> str:
    return str(record.manifest.options.get("checkpoint") or "").rstrip("/").rpartition("/")[2]


def differing_fields(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return the fingerprint fields in which runs differ, each with the runs' values (``None``: absent)."""
    prints = [run.records.manifest.fingerprint for run in runs]
    names = sorted({name for fingerprint in prints for name in fingerprint})
    values = {name: [fingerprint.get(name) for fingerprint in prints] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row[1:])}


def mismatch_notice(runs: Sequence[Run]) -> str | None:
    """Return a line naming the fields, other than the model's own, in which the runs differ, or ``None``."""
    fields = [name for name in differing_fields(runs) if not name.replace("-", "_").startswith(MODEL_FIELDS)]
    if not fields:
        return None
    return (
        f"These runs differ in more than the model under test ({', '.join(fields)}): "
        "read their scores side by side, not as a comparison."
    )
