"""The table and figure of a compression comparison: time saved against error; measures nothing itself."""

from __future__ import annotations

__all__ = ["compression_table", "plot_compression"]

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.records import write_atomic
from evalkit.report.tables import Cell, Column, Estimate, Table, to_csv


def compression_table(figures: Mapping[str, Any]) -> Table:
    """Return one row per specification.

    Args:
        figures: What `evalkit.bench.compression.compression_json` returned.
    """
    columns = (
        Column("Compression", text=True),
        Column("Vision encode saved", "%", digits=1),
        Column("Prefill saved", "%", digits=1),
        Column("Time saved", "%", digits=1),
        Column("Error mean", digits=3),
        Column("Error max", digits=3),
        Column("Equal tokens", "%", digits=1),
        Column("Same answers", "%", digits=1),
        Column("Reused", "%", digits=1),
        Column("Kept", "%", digits=1),
    )
    rows: list[tuple[Cell, ...]] = []
    for name, spec in figures["specs"].items():
        errors = [error for error in spec["relative_error_by_second"] if error is not None]
        shares = (spec["equal_tokens"], spec["same_answers"], spec["reused_share"], spec["kept_share"])
        rows.append(
            (
                name,
                *(100 * spec["saved"][stage] for stage in ("vision_encode", "prefill", "all")),
                spec["relative_error"],
                max(errors, default=None),
                *(None if share is None else 100 * share for share in shares),
            )
        )
    notes = (
        f"{figures['checkpoint']} on {figures['device']}, {figures['seconds']} seconds of stream, each done with "
        "and without compression in turn.",
        "Time saved: of vision encode, compress and prefill together. Error: |with - without| / |without| over "
        "the features that enter the language model, by second. Answers: greedy, to one question each second.",
    )
    return Table("What compression costs and saves", columns, tuple(rows), notes, "compression")


def plot_compression(figures: Mapping[str, Any], out: Path) -> list[Path]:
    """Draw time saved against error, one point per specification.

    Args:
        figures: What `evalkit.bench.compression.compression_json` returned.
        out: Folder that gets ``compression.pdf``, ``.svg``, ``.png``, ``.csv`` and ``.caption.txt``.

    Returns:
        The files written.
    """
    from evalkit.report import figures as drawing

    table = compression_table(figures)
    placed = {"none": (Estimate(0.0), Estimate(0.0))}
    for name, spec in figures["specs"].items():
        errors = sorted(error for error in spec["relative_error_by_second"] if error is not None)
        middle = spec["relative_error"] or 0.0
        ends = (errors[0], errors[-1]) if errors else (middle, middle)
        placed[name] = (Estimate(middle, *ends), Estimate(100 * spec["saved"]["all"]))
    figure, (axis,) = drawing.new_figure(2.7)
    labels = ("Relative error of the features", "Time saved (%)")
    drawing.points(axis, placed, labels=labels)
    axis.set_xlim(left=-0.03 * axis.get_xlim()[1])  # A pruner alone has no error: its mark is to be seen whole.
    out.mkdir(parents=True, exist_ok=True)
    paths = drawing.save(figure, out / "compression")
    caption = (
        "Time saved in vision encode, compression and prefill against the relative error of the features that "
        "enter the language model. Points: mean over the stream; bars: least and largest second; line: settings "
        f"no other one beats. {table.notes[0]}"
    )
    texts = {"compression.csv": to_csv(table), "compression.caption.txt": caption + "\n"}
    for name, text in texts.items():
        write_atomic(out / name, text)
    return [*paths, *(out / name for name in texts)]
