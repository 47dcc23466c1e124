"""Serve a run's page on this machine, with its videos seekable, or the list of the runs below a folder."""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
from pathlib import Path

from evalkit.cli.main import EXIT_DONE
from evalkit.cli.output import say


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or one folder with runs below it")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8765, help="port to listen on (default 8765; 0 for any)")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from evalkit.report import serve

    serve([Path(run) for run in args.runs], host=args.host, port=args.port, on_ready=say)
    return EXIT_DONE
