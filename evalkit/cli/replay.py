"""Put recorded runs behind a virtual clock: what would have been late, on this machine or on another.

Frames arrive on time and wait for the session, whose service times are those on record: lag, backlog, deadline
misses, real-time factors and the age of what is said are computed anew, from ticks.jsonl alone. Nothing is run.
"""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.cli.output import emit_json, note, say
from evalkit.errors import UsageError
from evalkit.timing import OVERLOAD_RULES

if TYPE_CHECKING:
    from evalkit.report.replay import Replay
    from evalkit.report.tables import Table


def _number(low: float, high: float, unit: str) -> Callable[[str], float]:
    """Return a reader of numbers from ``low`` up to ``high``, for argparse."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {low:g} to {high:g}{unit}")
        return value

    return read


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders of one task")
    parser.add_argument(
        "--fps",
        type=_number(0.1, 120, " fps"),
        help="frame rate at which the recorded frames arrive (as recorded)",
    )
    parser.add_argument(
        "--hardware",
        type=_number(0.25, 8, ""),
        default=1.0,
        metavar="SPEED",
        help="speed of the machine over the recorded one, 0.25 to 8 (1)",
    )
    parser.add_argument(
        "--overload",
        choices=OVERLOAD_RULES,
        default="queue",
        help="what happens to a second that comes while the session works (default %(default)s)",
    )
    parser.add_argument(
        "--deadline",
        type=_number(0, 86400, " seconds"),
        metavar="S",
        help="lag that is late (one chunk of stream)",
    )
    parser.add_argument(
        "--warm-up",
        type=_number(0, 86400, " seconds"),
        default=10.0,
        metavar="S",
        help="seconds at the start of each stream that the miss rate leaves out (10)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the files (default replay/ in the first run)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead, and write files only with --out"
    )


def run(args: argparse.Namespace) -> int:
    """Print the table and write it beside the plots.

    Raises:
        UsageError: Runs of different tasks, or an option out of range.
        DataError: A run cannot be read.
    """
    from evalkit.records import collector_paused
    from evalkit.report.replay import ReplaySettings, replay_run
    from evalkit.report.replay_table import replay_json, replay_table
    from evalkit.report.runs import load_runs
    from evalkit.report.tables import to_text

    settings = ReplaySettings(args.overload, args.hardware, args.fps, args.deadline, args.warm_up)
    with collector_paused():
        runs = load_runs(args.runs, damaged_ticks=True)
        replays = [replay_run(one, settings) for one in runs]
    for one in runs:
        for line in one.records.warnings:
            note(f"warning: {one.label}: {line}; the figures are of the seconds before it")
        for line in one.records.damaged:
            note(f"warning: {one.label}: {line}; left out")
    if args.json:
        figures = {one.label: replay_json(one, replay) for one, replay in zip(runs, replays, strict=True)}
        clock = {"overload": args.overload, "hardware": args.hardware, "fps": args.fps, "warm_up": args.warm_up}
        emit_json({"task": runs[0].records.manifest.task, "clock": clock, "models": figures})
    else:
        table = replay_table(runs, replays)
        say(to_text(table))
    if args.out or not args.json:
        out = args.out or args.runs[0] / "replay"
        try:
            _write(replay_table(runs, replays) if args.json else table, replays, out)
        except OSError as error:
            raise UsageError(
                f"{out} cannot be written ({error.strerror}): name another folder with --out"
            ) from error
        note(f"table and plots: {out}")
    return 0


def _write(table: Table, replays: Sequence[Replay], out: Path) -> None:
    """Write the table as Markdown, LaTeX and CSV, and every plot there is something to draw for."""
    from evalkit.report.plots import write_plot
    from evalkit.report.replay_plots import REPLAY_PLOTS
    from evalkit.report.table_files import write_table

    write_table(table, out)
    for name, draw in REPLAY_PLOTS.items():
        plot = draw(replays)
        if plot is not None:
            write_plot(plot, name, out)
