"""Write one self-contained HTML page of one or more runs."""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
from pathlib import Path

from evalkit.cli.main import EXIT_DONE
from evalkit.cli.output import say


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--out", metavar="FILE", help="page to write (default report.html in the first run)")


def run(args: argparse.Namespace) -> int:
    """Write the page and name it."""
    from evalkit.report import build_report

    runs = [Path(run) for run in args.runs]
    out = Path(args.out) if args.out else runs[0] / "report.html"
    say(f"report: {build_report(runs, out)}")
    return EXIT_DONE
