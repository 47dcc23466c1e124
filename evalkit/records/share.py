"""A run as files for others: parquet tables with a card for a hub, or its figures as one flat table (trackers)."""

from __future__ import annotations

__all__ = ["TABLES", "scalars", "write_parquet", "write_scalars", "write_tensorboard"]

import json
import re
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.records.folder import write_atomic
from evalkit.records.tables import RunTables

TABLES = ("answers", "ticks", "verdicts", "metrics")
"""Tables of a run, by the name of the property of `RunTables` and of the file."""


def write_parquet(run: RunTables, out: Path) -> list[Path]:
    """Write a run's tables and a card, in the layout of a hub data set.

    Args:
        run: The run.
        out: Folder to make; one that exists must be empty.

    Returns:
        The files, tables without rows left out.

    Raises:
        UsageError: The folder is taken.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} exists and is not an empty folder")
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name in TABLES:
        frame = getattr(run, name)
        if len(frame):
            frame.to_parquet(out / f"{name}.parquet", index=False)
            written.append(out / f"{name}.parquet")
    manifest = out / "run.json"
    write_atomic(manifest, run.manifest.model_dump_json(indent=2) + "\n")
    card = out / "README.md"
    write_atomic(card, _card(run, [path.stem for path in written]))
    return [*written, manifest, card]


def _card(run: RunTables, tables: list[str]) -> str:
    """Return what a hub shows of the data set: how each table is loaded, and what was run."""
    manifest = run.manifest
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.parquet\n" for name in tables)
    lines = [
        f"| {key} | {json.dumps(value)} |"
        for key, value in sorted(manifest.fingerprint.items())
        if value is not None
    ]
    return (
        f"---\nconfigs:\n{configs}tags:\n- evalkit\n---\n\n# {manifest.model} on {manifest.task}\n\n"
        f"A run of evalkit, {manifest.started}, {manifest.status}, {len(manifest.planned)} samples, "
        f"{len(manifest.failed)} failed. Units of every column: `evalkit.read` in evalkit's docs/python.md.\n\n"
        "| fingerprint | value |\n|---|---|\n" + "\n".join(lines) + "\n"
    )


def scalars(run: RunTables) -> dict[str, float]:
    """Return a run's figures by a name that trackers take: group, figure and score joined by ``/``.

    An interval stands beside its figure as ``NAME/low`` and ``NAME/high``. What has no value is left out.
    """
    metrics = run.records.metrics
    found: dict[str, float] = {}
    for metric in () if metrics is None else metrics.metrics:
        parts = [part for part in (metric.group, metric.name, metric.score) if part]
        name = "/".join(re.sub(r"[^\w.,-]+", "_", part).strip("_") for part in parts)
        for suffix, value in (("", metric.value), ("/low", metric.low), ("/high", metric.high)):
            if value is not None:
                found[f"{name}{suffix}"] = value
    return found


def write_scalars(run: RunTables, out: Path) -> Path:
    """Write a run's figures as one flat JSON object, or as CSV where the file's name ends so.

    Args:
        run: The run.
        out: The file.

    Raises:
        UsageError: ``out`` is a folder.
    """
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder: name a file of scalars, such as --out {out / 'figures.json'}")
    values: dict[str, Any] = scalars(run)
    if out.suffix == ".csv":
        lines = ["name,value", *(f"{name},{value!r}" for name, value in values.items())]
        write_atomic(out, "\n".join(lines) + "\n")
    else:
        write_atomic(out, json.dumps(values, indent=1) + "\n")
    return out


def write_tensorboard(run: RunTables, out: Path) -> Path:
    """Write a run for TensorBoard with its own client (extra ``[tensorboard]``).

    Its figures are scalars by the names of `scalars`; the time of each second of stream is a series by media time,
    one for each sample; what was run is a text.

    Args:
        run: The run.
        out: Log folder; several runs in folders below one are compared by ``tensorboard --logdir``.

    Raises:
        UsageError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError("--format tensorboard needs its package: pip install 'evalkit[tensorboard]'") from error
    with SummaryWriter(str(out)) as writer:
        for name, value in scalars(run).items():
            writer.add_scalar(name, value)
        for tick in run.records.ticks:
            writer.add_scalar(f"second/{tick.sample}", tick.stages.total, round(tick.end))
        writer.add_text("run", _card(run, []))
    return out
