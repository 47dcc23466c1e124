"""A table as the files that people paste from: Markdown, LaTeX and CSV."""

from __future__ import annotations

__all__ = ["write_table"]

from pathlib import Path

from evalkit.records import write_atomic
from evalkit.report.latex import to_latex
from evalkit.report.tables import Table, to_csv, to_markdown


def write_table(table: Table, out: Path) -> list[Path]:
    """Write a table three times, named by its label.

    Args:
        table: The table.
        out: Folder for the files; made if missing.

    Returns:
        The files written.
    """
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, render in (("md", to_markdown), ("tex", to_latex), ("csv", to_csv)):
        paths.append(out / f"{table.label}.{suffix}")
        write_atomic(paths[-1], render(table))
    return paths
