"""Show what a memory policy is worth: four of them narrate the same made-up matches with the checkpoint `learnt`.

`learnt` is a small model that really sees and remembers, within what it was trained on: chunks of 24 s of such
matches. Past that length full attention forgets and slows down, restarts forget what went before, sliding with
overlap is right and slow, and StreamingVLM's cache goes on at flat cost.
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
_POLICIES = (_BASELINE, "sliding-chunked", "sliding", _MODEL)
_ASKING = ("here", "score", "goal")
_MATCHES, _SECONDS, _SEED = 2, 180, 60


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--out", metavar="DIR", help="folder for all runs (default runs/demo/STARTED)")
    parser.add_argument(
        "--watch", action="store_true", help="print what is said second by second, and more tables"
    )


def run(args: argparse.Namespace) -> int:
    """Run the policies, judge one against another, print the tables, draw the plot and write the page."""
    from evalkit import env
    from evalkit.cli.judge import summary_text
    from evalkit.errors import UsageError
    from evalkit.judge import Endpoint
    from evalkit.report import build_report
    from evalkit.report.narrated import by_minute_table, draw_by_minute, policy_table, side_by_side
    from evalkit.report.replay import ReplaySettings, replay_run
    from evalkit.report.replay_table import brief_table
    from evalkit.report.runs import load_runs
    from evalkit.report.tables import to_text
    from evalkit.run import RunOptions, make_plan
    from evalkit.run.finish import finish_run
    from evalkit.run.judging import JudgeRequest, judge_run
    from evalkit.run.runner import execute
    from evalkit.tasks import DemoSize
    from evalkit.tasks.catalog import task_named

    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    out = Path(args.out) if args.out else Path("runs") / "demo" / stamp
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} exists and is not an empty folder")
    data = env.cache_dir() / "demo" / "inf-streams-show"
    task_named("inf-streams").make_demo(data, DemoSize(_MATCHES, _SECONDS, _SEED))
    for name in _POLICIES:
        options = RunOptions(
            task="inf-streams", model=name, data=str(data), checkpoint="learnt", out=str(out / name), device="cpu"
        )
        watch = _print_second if args.watch and name == _MODEL else None
        note(f"{name} narrates {'(second, tokens in memory, words | truth)' if watch else '...'}")
        result = execute(make_plan(options), note, watch)
        if result.interrupted:
            return EXIT_INTERRUPTED
        finish_run(out / name)
    folders = [out / name for name in _POLICIES]
    summary = judge_run(JudgeRequest(out / _MODEL, out / _BASELINE, "overlap", Endpoint()), note)
    finish_run(out / _MODEL, [summary])
    runs = load_runs(folders)
    first = runs[0].records.answers[0].sample
    tables = [policy_table(runs), side_by_side(runs, first, asking=_ASKING, most=18 if args.watch else 6)]
    if args.watch:
        replays = [replay_run(one, ReplaySettings()) for one in runs]
        tables += [by_minute_table(runs), brief_table(runs, replays)]
    say("\n".join(map(to_text, tables)))
    if args.watch:
        say("\n" + summary_text(summary))
    drawn = draw_by_minute(runs, out / "policies")
    page = build_report(folders, out / "report.html")
    say(f"\nrecords: {out}\nplot: {drawn[-1]}\nreport: {page}")
    return EXIT_DONE


def _print_second(answer: AnswerRecord, tick: TickRecord) -> None:
    minute, second = divmod(int(answer.start), 60)
    said = answer.text.strip().removesuffix("...").strip()
    told = "" if said == answer.gold else f"   | {answer.gold}"
    note(f"  {minute:02d}:{second:02d}  {tick.cache_tokens:>5} tokens  {said}{told}")
