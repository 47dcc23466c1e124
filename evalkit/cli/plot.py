"""Draw figures of runs as PDF, SVG and PNG, each with its data as CSV."""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
from pathlib import Path

from evalkit.cli.main import EXIT_DONE
from evalkit.cli.output import say

_KINDS = ("latency", "winrate", "accuracy", "pareto", "bias", "coverage", "backlog", "lag", "dial", "horizon")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--kind", choices=_KINDS, required=True, help="what is drawn")
    parser.add_argument("--out", metavar="DIR", default=".", help="folder for the files (default .)")


def run(args: argparse.Namespace) -> int:
    """Draw and name the files."""
    from evalkit.report import plot_runs

    for path in plot_runs([Path(run) for run in args.runs], args.kind, Path(args.out)):
        say(str(path))
    return EXIT_DONE
