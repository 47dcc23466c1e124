"""How many videos a comparison needs, from a pilot's own spread.

With two pilot runs the spread of their differences is used. With one, the difference is taken to be between two
models that score like it and agree as much as --rho says.
"""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
from dataclasses import asdict
from pathlib import Path

from evalkit.cli.compare import add_judging, points
from evalkit.cli.output import emit_json, say
from evalkit.shown import videos_of

# Two models on the same questions correlate with 0.5 to 0.9 (0.56 to 0.91 among the published StreamingBench
# files of one host model); the low end asks for more videos, so it is the safe guess.
_RHO = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("pilot", type=Path, metavar="PILOT_RUN", help="run folder of a pilot")
    parser.add_argument("other", type=Path, nargs="?", metavar="RUN2", help="a second pilot on the same questions")
    parser.add_argument(
        "--effect", type=points, default=1.0, metavar="POINTS", help="difference to be found (1.0)"
    )
    parser.add_argument(
        "--rho", type=float, default=_RHO, help="correlation of two models, for one pilot (default %(default)s)"
    )
    parser.add_argument("--confidence", type=float, default=0.95, help="of the test (default %(default)s)")
    parser.add_argument("--power", type=float, default=0.8, help="chance of finding it (default %(default)s)")
    parser.add_argument("--allow-mismatch", action="store_true", help="pilots that differ in more than the model")
    add_judging(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(args: argparse.Namespace) -> int:
    """Print the number of videos.

    Raises:
        UsageError: A pilot on one video, or without any spread.
        DataError: A run cannot be read, or the two may not be compared.
    """
    from evalkit.leaderboard.answers import align, require_finished, score_runs
    from evalkit.leaderboard.compare import check_comparable
    from evalkit.report.runs import load_runs
    from evalkit.stats import videos_needed

    paths = [args.pilot] if args.other is None else [args.pilot, args.other]
    runs = load_runs(paths, ticks=False)
    if not args.allow_mismatch:
        for one in runs:
            require_finished(one.records)
    scored = score_runs({one.label: one.records for one in runs}, baseline=args.baseline, judge=args.judge)
    aligned = align(scored)
    if len(scored) > 1:
        check_comparable(scored, aligned, allow=args.allow_mismatch)
    columns = list(aligned.scores.values())
    pilot = columns[0] if len(columns) == 1 else [a - b for a, b in zip(*columns, strict=True)]
    needed = videos_needed(
        pilot,
        aligned.clusters,
        args.effect / 100,
        composition=aligned.composition,
        rho=args.rho if len(columns) == 1 else None,
        confidence=args.confidence,
        power=args.power,
    )
    if args.json:
        mde = None if needed.pilot_mde is None else needed.pilot_mde * 100
        in_points = {"effect": needed.effect * 100, "pilot_mde": mde}
        emit_json({"metric": scored[0].metric, "unit": "points", **asdict(needed), **in_points})
        return 0
    say(
        f"{needed.videos} videos ({needed.questions} questions) are needed to find a difference of "
        f"{args.effect:g} points in {scored[0].metric} with {100 * needed.power:g} % power."
    )
    found = "" if needed.pilot_mde is None else f"; it could itself have found {100 * needed.pilot_mde:.2f} points"
    say(
        f"The pilot has {videos_of(needed.pilot_videos)} with {needed.questions_per_video:.1f} questions each"
        + ("" if needed.deff is None else f", design effect {needed.deff:.2f}")
        + f"{found}."
    )
    if needed.note:
        say(f"Note: {needed.note}.")
    return 0
