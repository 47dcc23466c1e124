"""Compare runs of one task question by question, clustered by video.

For every pair: the difference A minus B in points with its 95 % interval, p-values (clustered t, Holm over the
table, sign flips of whole videos, exact McNemar), the correlation, how many questions only one of them has right,
and the smallest difference these videos could have shown. Narrated runs are compared by their win rates against a
common baseline. Runs that differ in more than the model under test are refused.
"""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
import math
from pathlib import Path

from evalkit.cli.output import TABLE_FORMATS, emit_json, say_tables
from evalkit.errors import UsageError

_LEAST_POINTS = 1e-6


def points(text: str) -> float:
    """Read a positive number of percentage points.

    Raises:
        argparse.ArgumentTypeError: Not a number from a millionth of a point up to 100.
    """
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not _LEAST_POINTS <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of points above 0 and up to 100")
    return value


def add_judging(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose one judging of narrated runs."""
    parser.add_argument("--baseline", metavar="NAME", help="narrated runs: whom they were judged against")
    parser.add_argument("--judge", metavar="NAME", help="narrated runs: who judged, as verdicts name it")


def add_choice(parser: argparse.ArgumentParser, also: str = "") -> None:
    """Add what is compared, and which differences are no obstacle.

    Args:
        parser: Of the command.
        also: Further scores, in words.
    """
    text = f"score by name, or accuracy over all questions{also} (default: the benchmark's headline)"
    parser.add_argument("--metric", metavar="NAME", help=text)
    parser.add_argument(
        "--ignore-field",
        action="append",
        default=[],
        metavar="FIELD",
        help="fingerprint field that may differ, or its group: code where the code is what changed (repeatable)",
    )


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="run folders, two or more; a folder of runs (run --seeds, --repeat) counts as their mean",
    )
    parser.add_argument(
        "--margin", type=points, metavar="POINTS", help="also test that A is worse than B by less than this"
    )
    add_choice(parser)
    parser.add_argument("--confidence", type=float, default=0.95, help="of the intervals (default %(default)s)")
    parser.add_argument("--power", type=float, default=0.8, help="for the detectable effect (default %(default)s)")
    parser.add_argument("--draws", type=int, default=2000, help="sign flips and resamples (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of sign flips and resamples (default %(default)s)")
    parser.add_argument(
        "--allow-mismatch", action="store_true", help="compare what should not be compared, and mark the result"
    )
    add_judging(parser)
    parser.add_argument(
        "--format", choices=TABLE_FORMATS, default="text", help="of the table (default %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(args: argparse.Namespace) -> int:
    """Compare the runs and print the table.

    Raises:
        UsageError: Fewer than two runs, runs of different tasks, or an option out of range.
        DataError: A run cannot be read, has no answers, or differs in more than the model under test.
    """
    if len(args.runs) < 2:
        raise UsageError("a comparison needs two or more run folders: evalkit compare RUN RUN")
    from evalkit.leaderboard.compare import compare_runs
    from evalkit.leaderboard.comparison_table import comparison_table, comparison_to_json
    from evalkit.records import read_run, run_folders
    from evalkit.report.runs import load_runs
    from evalkit.stats import CompareOptions

    options = CompareOptions(
        margin=None if args.margin is None else args.margin / 100,
        confidence=args.confidence,
        power=args.power,
        draws=args.draws,
        seed=args.seed,
    )
    sides = [run_folders([path]) for path in args.runs]
    firsts = load_runs([side[0] for side in sides])
    comparison = compare_runs(
        {
            one.label: [one.records, *(read_run(path) for path in side[1:])]
            for one, side in zip(firsts, sides, strict=True)
        },
        options=options,
        metric=args.metric,
        ignored=args.ignore_field,
        allow_mismatch=args.allow_mismatch,
        baseline=args.baseline,
        judge=args.judge,
    )
    if args.json:
        emit_json(comparison_to_json(comparison))
        return 0
    say_tables([comparison_table(comparison)], args.format)
    return 0
