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

from evalkit.cli.main import EXIT_DONE, EXIT_USAGE
from evalkit.cli.output import emit_json, note, say
from evalkit.errors import UsageError
from evalkit.timing import OVERLOAD_RULES, ReplayOption, ReplaySettings

if TYPE_CHECKING:
    from evalkit.report.replay import Replay
    from evalkit.report.runs import Run
    from evalkit.report.tables import Table


def _number(option: ReplayOption) -> Callable[[str], float]:
    """Return a reader of numbers in an option's range, for argparse."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not option.low <= value <= option.high:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no number from {option.low:g} to {option.high:g} {option.unit}"
            )
        return value

    return read


def configure(parser: argparse.ArgumentParser) -> None:
    """Add one option per field of `ReplaySettings`."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders of one task")
    standard = ReplaySettings()
    for name, option in ReplaySettings.options().items():
        flag, default = "--" + name.replace("_", "-"), getattr(standard, name)
        shown = default if isinstance(default, str | None) else f"{default:g}"
        text = option.help if shown is None else f"{option.help} (default {shown})"
        if name == "overload":
            parser.add_argument(flag, choices=OVERLOAD_RULES, default=default, help=text)
        else:
            metavar = option.unit.upper()
            parser.add_argument(flag, type=_number(option), default=default, metavar=metavar, help=text)
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
    from evalkit.records import collector_paused, missing_text, read_bare_ticks
    from evalkit.report.replay import replay_run
    from evalkit.report.replay_table import replay_json, replay_tables
    from evalkit.report.runs import load_runs
    from evalkit.report.tables import to_text

    settings = ReplaySettings(**{name: getattr(args, name) for name in ReplaySettings.options()})
    with collector_paused():
        runs = load_runs([read_bare_ticks(path) or path for path in args.runs], damaged_ticks=True)
        replays = [replay_run(one, settings) for one in runs]
    for one in runs:
        for line in one.records.warnings:
            note(f"warning: {one.label}: {line}")
        for line in one.records.damaged:
            note(f"warning: {one.label}: {line}; left out")
        if one.records.missing:
            note(f"{one.label}: {missing_text(one.records.manifest, one.records.missing)}; no figure of the clock")
    if args.json:
        figures = {one.label: replay_json(one, replay) for one, replay in zip(runs, replays, strict=True)}
        clock = {"overload": args.overload, "hardware": args.hardware, "fps": args.fps, "warm_up": args.warm_up}
        emit_json({"task": runs[0].records.manifest.task, "clock": clock, "models": figures})
    else:
        tables = replay_tables(runs, replays)
        say("\n".join(map(to_text, tables)))
    if args.out or not args.json:
        out = args.out or args.runs[0] / "replay"
        try:
            _write(replay_tables(runs, replays) if args.json else tables, runs, replays, out)
        except OSError as error:
            raise UsageError(
                f"{out} cannot be written ({error.strerror}): name another folder with --out"
            ) from error
        note(f"table and plots: {out}")
    return EXIT_USAGE if any(one.records.missing for one in runs) else EXIT_DONE


def _write(tables: Sequence[Table], runs: Sequence[Run], replays: Sequence[Replay], out: Path) -> None:
    """Write the table as Markdown, LaTeX and CSV, and every plot there is something to draw for."""
    from evalkit.report.dial import dial_plot
    from evalkit.report.plots import write_plot
    from evalkit.report.replay_plots import REPLAY_PLOTS
    from evalkit.report.table_files import write_table

    for table in tables:
        write_table(table, out)
    plots = {name: draw(replays) for name, draw in REPLAY_PLOTS.items()}
    plots["dial"] = dial_plot(runs, replays)
    for name, plot in plots.items():
        if plot is not None:
            write_plot(plot, name, out)
