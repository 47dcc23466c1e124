"""Write one self-contained HTML page of one or more runs."""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
from pathlib import Path

from evalkit.cli.main import EXIT_DONE, EXIT_USAGE
from evalkit.cli.output import note, say
from evalkit.errors import UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    parser.add_argument("--out", metavar="FILE", help="page to write (default report.html in the first run)")


def run(args: argparse.Namespace) -> int:
    """Write the page and name it.

    Returns:
        0 done, 2 where records of a run are gone: the page names them and withholds its scores.
    """
    from evalkit.records import RunFolder
    from evalkit.report import build_report

    runs = [Path(run) for run in args.runs]
    out = Path(args.out) if args.out else runs[0] / "report.html"
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder: name the page to write, such as --out {out / 'report.html'}")
    try:
        say(f"report: {build_report(runs, out)}")
    except OSError as error:
        if error.filename is None or not _is_where(out, Path(error.filename)):
            raise
        raise UsageError(f"{out} cannot be written ({error.strerror}): name another place with --out") from error
    short = [path for path in runs if RunFolder(path).records_gone()]
    for path in short:
        note(f"{path}: records are gone, the page names them: --resume --out {path} runs them again")
    return EXIT_USAGE if short else EXIT_DONE


def _is_where(out: Path, concerned: Path) -> bool:
    """Say whether an error concerns the page, the part of it that is written first, or a folder above it."""
    return concerned in (out, *out.parents) or (concerned.parent == out.parent and concerned.suffix == ".part")
