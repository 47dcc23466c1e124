"""Run the main job on built-in data with the tiny model: narrate, judge, print the tables, write the page.

The tiny model has random weights: what it says makes no sense, and its win rate means nothing. Everything else is
the real thing: frames on schedule, bounded memory, records, verdicts, intervals.
"""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.cli.main import EXIT_DONE, EXIT_INTERRUPTED
from evalkit.cli.output import note, say

if TYPE_CHECKING:
    from evalkit.records import AnswerRecord, TickRecord

_MODEL, _BASELINE = "streamingvlm", "full"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--out", metavar="DIR", help="folder for both runs (default runs/demo/STARTED)")
    parser.add_argument("--quiet", action="store_true", help="do not print what is said second by second")


def run(args: argparse.Namespace) -> int:
    """Run both models, judge one against the other, print the tables and name the page."""
    from evalkit.cli.judge import summary_text
    from evalkit.cli.run import terminal_report
    from evalkit.judge import Endpoint
    from evalkit.report import build_report
    from evalkit.run import RunOptions, make_plan
    from evalkit.run.finish import finish_run
    from evalkit.run.judging import JudgeRequest, judge_run
    from evalkit.run.runner import execute

    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    out = Path(args.out) if args.out else Path("runs") / "demo" / stamp
    for name in (_BASELINE, _MODEL):
        options = RunOptions(
            task="inf-streams", model=name, data="demo", checkpoint="tiny", out=str(out / name), device="cpu"
        )
        watch = None if args.quiet or name != _MODEL else _print_second
        note(f"\n{name} narrates {'(second, tokens in memory, words)' if watch else '...'}")
        result = execute(make_plan(options), note, watch)
        if result.interrupted:
            return EXIT_INTERRUPTED
        finish_run(out / name)
    test, baseline = out / _MODEL, out / _BASELINE
    summary = judge_run(JudgeRequest(test, baseline, "overlap", Endpoint()), note)
    finish_run(test, [summary])
    say(terminal_report([test, baseline]))
    say(summary_text(summary))
    page = build_report([test, baseline], out / "report.html")
    say(f"\nrecords: {test}\nreport: {page}")
    return EXIT_DONE


def _print_second(answer: AnswerRecord, tick: TickRecord) -> None:
    minute, second = divmod(int(answer.start), 60)
    note(f"  {minute:02d}:{second:02d}  {tick.cache_tokens:>5} tokens  {answer.text.strip()}")
