"""The run folder: where each record lies, how ``run.json`` is replaced, how a finished run is read back."""

from __future__ import annotations

__all__ = ["RunFolder", "RunRecords", "read_bare_ticks", "read_run", "why_no_run", "write_atomic"]

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from evalkit.errors import DataError
from evalkit.records.completeness import (
    count_records,
    missing_samples,
    missing_verdicts,
    refuse_doubled,
    refuse_doubled_verdicts,
    uncounted,
)
from evalkit.records.jsonl import count_lines, read_jsonl
from evalkit.records.reading import NotJsonError, decode_json, read_plain
from evalkit.records.schema import (
    SCHEMA_VERSION,
    AnswerRecord,
    MetricsFile,
    RunManifest,
    VerdictRecord,
)
from evalkit.records.ticks import TickTable, read_ticks

M = TypeVar("M", bound=BaseModel)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file so that a reader sees the old one or the new one, never a part.

    Args:
        path: Where to.
        data: Bytes, or text to be written as UTF-8.
    """
    blob = data.encode() if isinstance(data, str) else data
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def why_no_run(path: Path) -> str:
    """Return what to say of a place without ``run.json`` that was named as a run."""
    why = (
        "it is a file" if path.is_file() else "it has no run.json" if path.is_dir() else "there is no such folder"
    )
    return f"{path} is not a run folder ({why})"


@dataclass(frozen=True)
class RunFolder:
    """Paths inside one run's folder.

    Args:
        path: The folder.
    """

    path: Path

    @property
    def manifest_path(self) -> Path:
        """``run.json``."""
        return self.path / "run.json"

    @property
    def answers_path(self) -> Path:
        """``answers.jsonl``."""
        return self.path / "answers.jsonl"

    @property
    def ticks_path(self) -> Path:
        """``ticks.jsonl``."""
        return self.path / "ticks.jsonl"

    @property
    def verdicts_path(self) -> Path:
        """``verdicts.jsonl``."""
        return self.path / "verdicts.jsonl"

    @property
    def grades_path(self) -> Path:
        """``grades.jsonl``."""
        return self.path / "grades.jsonl"

    @property
    def fallback_path(self) -> Path:
        """``fallback.jsonl``, where a chat model read replies that the strict parser could not."""
        return self.path / "fallback.jsonl"

    @property
    def metrics_path(self) -> Path:
        """``metrics.json``."""
        return self.path / "metrics.json"

    @property
    def captions_path(self) -> Path:
        """``captions/``, one WebVTT file per video."""
        return self.path / "captions"

    @property
    def state_path(self) -> Path:
        """``state/``: checkpoints of unfinished samples, and which samples are finished."""
        return self.path / "state"

    @property
    def reported(self) -> bool:
        """Whether what is computed from the records of a run that is done lies beside them.

        A run is ``done`` when every sample is on record; figures, page and plots come after that, in this order,
        and the caption is the last file of a plot.
        """
        wanted = [self.metrics_path, self.path / "report.html"]
        for records, plot in ((self.ticks_path, "latency"), (self.verdicts_path, "winrate")):
            if records.exists() and records.stat().st_size:
                wanted.append(self.path / "plots" / f"{plot}.caption.txt")
        return all(path.exists() for path in wanted)

    def write_manifest(self, manifest: RunManifest) -> None:
        """Replace ``run.json`` atomically."""
        write_atomic(self.manifest_path, manifest.model_dump_json(indent=2) + "\n")

    def write_metrics(self, metrics: MetricsFile) -> None:
        """Replace ``metrics.json`` atomically."""
        write_atomic(self.metrics_path, metrics.model_dump_json(indent=2) + "\n")

    def read_manifest(self) -> RunManifest:
        """Read ``run.json``.

        Raises:
            DataError: It is not there, is not a manifest, or was written by a newer evalkit.
        """
        path = self.manifest_path
        if not path.exists():
            inner = sorted(one.parent.name for one in self.path.glob("*/run.json"))
            if inner:
                names = ", ".join(inner[:3]) + (", ..." if len(inner) > 3 else "")
                raise DataError(f"{self.path} holds {len(inner)} runs ({names}): name one of them", path=path)
            raise DataError(why_no_run(self.path), path=path)
        return _validate(path, RunManifest)

    def read_metrics(self) -> MetricsFile | None:
        """Read ``metrics.json``, or return ``None`` where there is none yet."""
        return _validate(self.metrics_path, MetricsFile) if self.metrics_path.exists() else None


def _validate(path: Path, model: type[M]) -> M:
    try:
        content = decode_json(read_plain(path))
    except NotJsonError as error:
        raise DataError(f"{path} is not valid JSON ({error})", path=path) from error
    version = content.get("v") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise DataError(
            f"{path} was written by a newer evalkit (schema {version}, this one reads {SCHEMA_VERSION})",
            path=path,
        )
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: field {where!r}: {first['msg']}", path=path) from error


@dataclass(frozen=True)
class RunRecords:
    """Everything a run left behind, in memory."""

    folder: RunFolder
    manifest: RunManifest
    answers: list[AnswerRecord]
    ticks: TickTable
    verdicts: list[VerdictRecord]
    metrics: MetricsFile | None
    warnings: list[str] = field(default_factory=list)
    missing: tuple[str, ...] = ()
    """Samples that were finished and whose records are not all there any more."""
    verdicts_gone: tuple[str, ...] = ()
    """Judgings that have fewer verdicts than they left, in words."""
    damaged: list[str] = field(default_factory=list)

    @property
    def uncounted(self) -> bool:
        """Whether the run is of an evalkit that did not count its records, so that few are missed."""
        return uncounted(self.manifest)

    @property
    def name(self) -> str:
        """How tables call the run: its model, with the checkpoint where one was named."""
        return self.manifest.model


def read_run(path: Path, *, ticks: bool = True, damaged_ticks: bool = False) -> RunRecords:
    """Read a run folder.

    Args:
        path: The folder.
        ticks: Whether to read ``ticks.jsonl`` too (it is the largest file).
        damaged_ticks: Whether to go on without lines of it that are no ticks; ``damaged`` names them.

    Returns:
        The records in the order of the samples, whoever of several workers put them on record when.

    Raises:
        DataError: Not a run folder, a file in it is malformed, or a record stands in it twice.
    """
    folder = RunFolder(path)
    manifest = folder.read_manifest()
    answers, torn_answers = read_jsonl(folder.answers_path, AnswerRecord)
    damaged: list[str] = []
    tolerated = damaged if damaged_ticks else None
    tick_table, torn_ticks = read_ticks(folder.ticks_path, tolerated) if ticks else (TickTable.of(()), [])
    verdicts, torn_verdicts = read_jsonl(folder.verdicts_path, VerdictRecord)
    refuse_doubled(path, answers, tick_table)
    refuse_doubled_verdicts(folder.verdicts_path, verdicts)
    missing = _missing(folder, manifest, answers, tick_table if ticks else None)
    return RunRecords(
        folder=folder,
        manifest=manifest,
        answers=_in_order(answers, manifest.planned),
        ticks=tick_table.in_order(manifest.planned),
        verdicts=verdicts,
        metrics=folder.read_metrics(),
        warnings=torn_answers + torn_ticks + torn_verdicts,
        missing=missing,
        verdicts_gone=missing_verdicts(manifest, verdicts),
        damaged=damaged,
    )


def _in_order(answers: list[AnswerRecord], samples: Sequence[str]) -> list[AnswerRecord]:
    """Return answers sample by sample, in the order given; within one, and of samples not named, as they are."""
    ranks = {name: rank for rank, name in enumerate(samples)}
    return sorted(answers, key=lambda answer: ranks.get(answer.sample, len(ranks)))


def read_bare_ticks(path: Path) -> RunRecords | None:
    """Read a folder that holds ``ticks.jsonl`` and no ``run.json``, as another program may have written it.

    Args:
        path: The folder; it stands for the model's name.

    Returns:
        ``None`` where it is not such a folder.

    Raises:
        DataError: A second stands in the file twice.
    """
    folder = RunFolder(path)
    if folder.manifest_path.exists() or not folder.ticks_path.is_file():
        return None
    damaged: list[str] = []
    ticks, torn = read_ticks(folder.ticks_path, damaged)
    refuse_doubled(path, (), ticks)
    name = path.resolve().name
    manifest = RunManifest(
        task="unknown", model=name, status="done", started="", options={}, fingerprint={}, fingerprint_digest=""
    )
    warnings = [*torn, "run.json is not there: the run is named after its folder"]
    return RunRecords(folder, manifest, [], ticks, [], None, warnings, damaged=damaged)


def _missing(
    folder: RunFolder, manifest: RunManifest, answers: list[AnswerRecord], ticks: TickTable | None
) -> tuple[str, ...]:
    """Return the samples whose records are gone; unwanted ticks are read only where their number is off."""
    if ticks is None and manifest.status == "done":
        wanted = sum(counts.ticks for counts in manifest.recorded.values())
        if uncounted(manifest) or count_lines(folder.ticks_path) != wanted:
            ticks = read_ticks(folder.ticks_path)[0]
            refuse_doubled(folder.path, (), ticks)
    return missing_samples(manifest, count_records(answers, TickTable.of(ticks or ())), ticks)
