"""Fail only if a run is shown to be worse than a base by more than a margin.

Exit 0: a drop of --max-drop points is ruled out (the lower one-sided 95 % bound of head minus base, paired by
question and clustered by video, lies above minus the margin). Exit 1: a larger drop is shown (the upper bound
lies below it). Exit 4: these videos cannot tell; the line names how many are needed. A worse head never gets a
better verdict. What is held is the benchmark's own headline, or any other score by --metric.

With --max-slowdown a longer median second fails in the same way. It takes repeated runs of both sides that took
turns on one machine (several folders after --base and after --head), else it cannot tell.
"""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.cli.compare import add_choice, add_judging, points
from evalkit.cli.main import EXIT_CANNOT_TELL, EXIT_CHECK_FAILED, EXIT_DONE
from evalkit.cli.output import emit_json, say
from evalkit.errors import NothingCountedError
from evalkit.shown import videos_of

if TYPE_CHECKING:
    from evalkit.leaderboard.gate import GateResult
    from evalkit.leaderboard.gate_rule import GateCheck

_EXIT = {"pass": EXIT_DONE, "fail": EXIT_CHECK_FAILED, "cannot tell": EXIT_CANNOT_TELL}


def _percent(text: str) -> float:
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage above 0, such as 10%")
    return value


class _Example(argparse.Action):
    """Print a workflow that gates, and end: no other option is wanted then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        say((Path(__file__).parent / "examples" / "github.yml").read_text(encoding="utf-8"))
        parser.exit()


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--example", action=_Example, choices=("github",), help="print a workflow for a repository of your own"
    )
    for side, text in (("base", "to be held against"), ("head", "in question")):
        parser.add_argument(
            f"--{side}",
            type=Path,
            nargs="+",
            required=True,
            metavar="RUN",
            help=f"run folder {text}; several (or a folder of them) are one model, averaged per question",
        )
    parser.add_argument("--max-drop", type=points, required=True, metavar="POINTS", help="largest accepted drop")
    parser.add_argument(
        "--max-slowdown", type=_percent, metavar="PERCENT", help="largest accepted slowdown, as 10%%"
    )
    add_choice(parser, ", or agreement: the share of replies that are the base's, word for word")
    parser.add_argument(
        "--look",
        type=int,
        metavar="N",
        help="this is the N-th gate of a series: all of them together err in 5 of 100 series, instead of each one",
    )
    parser.add_argument(
        "--allow-mismatch", action="store_true", help="judge runs that should not be compared, and mark the result"
    )
    add_judging(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(args: argparse.Namespace) -> int:
    """Hold head against base.

    Returns:
        0 passed, 1 failed, 4 cannot tell.

    Raises:
        DataError: A run cannot be read, has no answers, or may not be compared.
        UsageError: A margin, a metric or a field that is none.
    """
    from evalkit.leaderboard.gate import GateRule, run_gate
    from evalkit.records import read_run, run_folders

    timed = args.max_slowdown is not None
    rule = GateRule(
        max_drop=args.max_drop / 100,
        max_slowdown=args.max_slowdown / 100 if timed else None,
        metric=args.metric,
        look=args.look,
        ignored=tuple(args.ignore_field),
        allow_mismatch=args.allow_mismatch,
        baseline=args.baseline,
        judge=args.judge,
    )
    bases, heads = ([read_run(path, ticks=timed) for path in run_folders(side)] for side in (args.base, args.head))
    try:
        result = run_gate(bases, heads, rule)
    except NothingCountedError as finding:
        return _without_figure(str(finding), as_json=args.json)
    code = _EXIT[result.outcome]
    if args.json:
        emit_json(_to_json(result, code))
        return code
    for line in _lines(result):
        say(line)
    return code


def _without_figure(why: str, *, as_json: bool) -> int:
    """Say that the gate cannot tell, since a run has no figure."""
    if as_json:
        emit_json({"outcome": "cannot tell", "exit_code": EXIT_CANNOT_TELL, "checks": [], "notes": [why]})
    else:
        say(f"gate: cannot tell ({why})")
    return EXIT_CANNOT_TELL


def _lines(result: GateResult) -> Iterator[str]:
    from evalkit.leaderboard.fingerprint import describe_mismatches

    for check in result.checks:
        yield f"{check.name}: {check.reason}"
        if check.base is not None and check.head is not None:
            yield from _figures(check, 1 - result.error, result.unit)
    yield f"answers: {result.transcripts.sentence()}"
    yield "under test: " + (describe_mismatches(result.changed) or "no model setting differs")
    if result.ignored:
        yield f"allowed to differ: {describe_mismatches(result.ignored)}"
    for note in result.notes:
        yield f"note: {note}"
    if result.mismatches:
        yield f"NOT comparable, judged on demand: {describe_mismatches(result.mismatches)}"
    yield f"gate: {result.outcome} ({result.metric})"


def _figures(check: GateCheck, confidence: float, unit_of_n: str) -> Iterator[str]:
    score = check.name == "score"
    unit, factor, digits, sign = ("points", 100.0, 2, "+") if score else ("times", 1.0, 3, "")

    def shown(value: float | None) -> str:
        return "unknown" if value is None else f"{value * factor:{sign}.{digits}f}"

    base, head = (f"{100 * one:.2f} %" if score else f"{one:.4f} s" for one in (check.base or 0, check.head or 0))
    counted = unit_of_n if score else "stream seconds" if check.timed == "second" else "questions"
    runs = f", {check.runs} runs of either side" if check.runs > 1 else ""
    yield (
        f"  base {base}, head {head}, change {shown(check.change)} {unit}, limit {shown(check.limit)}, "
        f"{check.n} {counted} on {videos_of(check.videos)}{runs}"
    )
    if check.low is not None and check.high is not None and check.resolution is not None:
        yield (
            f"  one-sided {100 * confidence:.6g} % bounds {shown(check.low)} and {shown(check.high)}; had nothing "
            f"changed, these data would rule out {shown(check.resolution).lstrip('+')} {unit} and nothing smaller"
        )


def _to_json(result: GateResult, code: int) -> dict[str, Any]:
    return {
        "outcome": result.outcome,
        "exit_code": code,
        "metric": result.metric,
        "unit": result.unit,
        "error": result.error,
        "checks": [_check_to_json(check) for check in result.checks],
        "transcripts": {**asdict(result.transcripts), "identical": result.transcripts.identical},
        "changed": [asdict(one) for one in result.changed],
        "ignored": [asdict(one) for one in result.ignored],
        "mismatches": [asdict(one) for one in result.mismatches],
        "notes": list(result.notes),
    }


def _check_to_json(check: GateCheck) -> dict[str, Any]:
    """Return a check with scores in points and speeds as ratios and seconds."""
    found = asdict(check)
    if check.name == "score":
        for key in ("base", "head", "change", "low", "high", "limit", "resolution"):
            found[key] = None if found[key] is None else 100 * found[key]
    return {**found, "unit": "points" if check.name == "score" else "ratio"}
