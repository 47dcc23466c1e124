#!/usr/bin/env python3
"""Draws every figure the given runs have data for, and their tables as Markdown, LaTeX and CSV.

    python scripts/make_paper_figures.py runs/inf-streams/*/* --out figures

The same runs give the same bytes, so the folder can be kept under version control.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from evalkit.errors import EvalkitError, UsageError
from evalkit.records import write_atomic
from evalkit.report import to_csv, to_latex, to_markdown
from evalkit.report.plots import PLOT_KINDS, plot_runs
from evalkit.report.runs import load_runs
from evalkit.report.summary import summary_tables


def write_tables(runs: Sequence[Path], out: Path) -> list[Path]:
    """Write every table of the runs in three forms.

    Args:
        runs: Run folders of one task.
        out: Folder that gets ``table-<name>.md``, ``.tex`` and ``.csv``.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for table in summary_tables(load_runs(runs)):
        for ending, render in (("md", to_markdown), ("tex", to_latex), ("csv", to_csv)):
            path = out / f"table-{table.label}.{ending}"
            write_atomic(path, render(table))
            written.append(path)
    return written


def make_figures(runs: Sequence[Path], kinds: Sequence[str], out: Path) -> tuple[list[Path], list[str]]:
    """Draw the figures; a kind without data is left out and named.

    Returns:
        The files written, and one line per kind that was left out.
    """
    written: list[Path] = []
    left_out = []
    for kind in kinds:
        try:
            written += plot_runs(runs, kind, out)
        except UsageError as error:
            left_out.append(str(error))
    return written, left_out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 where the runs cannot be read or no figure could be drawn."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders of one task")
    parser.add_argument("--out", type=Path, default=Path("figures"), help="folder to write to (default: figures)")
    parser.add_argument("--kind", action="append", choices=PLOT_KINDS, help="only this kind; may be repeated")
    options = parser.parse_args(arguments)
    try:
        # Before any figure, so that a wrong folder is one error and not one per kind.
        tables = write_tables(options.runs, options.out)
        figures, left_out = make_figures(options.runs, options.kind or PLOT_KINDS, options.out)
    except EvalkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    for path in [*tables, *figures]:
        print(path)
    return 0 if figures else 2


if __name__ == "__main__":
    sys.exit(main())
