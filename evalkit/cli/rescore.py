"""Score runs again from their records, after a parser or a scoring rule has changed: old and new side by side."""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.cli.main import EXIT_DONE
from evalkit.cli.output import TABLE_FORMATS, emit_json, note, say_tables

if TYPE_CHECKING:
    from evalkit.report.tables import Table
    from evalkit.run.rescore import Rescored


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders that are done")
    parser.add_argument("--all", action="store_true", help="show figures that have not changed, too")
    parser.add_argument("--format", choices=TABLE_FORMATS, default="text", help="of the tables (default text)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")


def run(args: argparse.Namespace) -> int:
    """Score again and print what changed."""
    from evalkit.records import run_folders
    from evalkit.run.rescore import rescore

    found = [rescore(path) for path in run_folders(args.runs)]
    if args.json:
        emit_json({"runs": [asdict(one) | {"path": str(one.path)} for one in found]})
        return EXIT_DONE
    say_tables([_table(one, everything=args.all) for one in found], args.format)
    for one in found:
        note(
            f"{one.path}: {one.read_otherwise} of {one.replies} replies are read otherwise; the page is made anew"
        )
    return EXIT_DONE


def _table(found: Rescored, *, everything: bool) -> Table:
    from evalkit.report.tables import Column, Table

    shown = [one for one in found.figures if everything or one.changed or not one.group]
    columns = (
        Column("Figure", text=True),
        Column("Score", text=True),
        Column("Before", digits=2),
        Column("After", digits=2),
        Column("Change", digits=2),
    )
    rows = tuple(
        (
            " ".join(filter(None, (one.group, one.name))),
            one.score or "",
            one.before,
            one.after,
            None if one.before is None or one.after is None else one.after - one.before,
        )
        for one in shown
    )
    same = sum(not one.changed for one in found.figures)
    notes = (
        f"Parsers: version {found.parser_before} then, {found.parser_after} now. "
        f"{same} of {len(found.figures)} figures have not changed.",
    )
    return Table(f"{found.path}, scored again", columns, rows, notes, "rescored")
