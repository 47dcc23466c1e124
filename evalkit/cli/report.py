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
    from evalkit.records import collector_paused
    from evalkit.report import build_report
    from evalkit.report.runs import load_runs

    runs = [Path(run) for run in args.runs]
    out = Path(args.out) if args.out else runs[0] / "report.html"  # of a folder of runs, too
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder: name the page to write, such as --out {out / 'report.html'}")
    with collector_paused():
        loaded = [run.records for run in load_runs(runs)]
    try:
        say(f"report: {build_report(loaded, out)}")
    except OSError as error:
        if error.filename is None or not _is_where(out, Path(error.filename)):
            raise
        raise UsageError(f"{out} cannot be written ({error.strerror}): name another place with --out") from error
    for one in loaded:
        if one.missing:
            again = f"--resume --out {one.folder.path} runs them again"
            note(f"{one.folder.path}: records are gone, the page names them: {again}")
        elif one.verdicts_gone:
            note(f"{one.folder.path}: {'; '.join(one.verdicts_gone)}: evalkit judge asks for them again")
    return EXIT_USAGE if any(one.missing or one.verdicts_gone for one in loaded) else EXIT_DONE


def _is_where(out: Path, concerned: Path) -> bool:
    """Say whether an error concerns the page, the part of it that is written first, or a folder above it."""
    return concerned in (out, *out.parents) or (concerned.parent == out.parent and concerned.suffix == ".part")
