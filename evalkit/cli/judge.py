"""Judge a finished run against another, each pair in both orders; or analyse votes that were recorded before."""

from __future__ import annotations

__all__ = ["check_against", "configure", "judge_endpoint", "run"]

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.cli.main import EXIT_DONE
from evalkit.cli.output import emit_json, note, say
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.judge import Endpoint, JudgeSummary


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="run folder of the model under test")
    parser.add_argument("--against", metavar="RUN|FILE", help="run folder or merged_result.jsonl of the other")
    parser.add_argument("--judge", metavar="SPEC", help="openai:MODEL, or overlap (built in, not an LLM)")
    parser.add_argument("--base-url", metavar="URL", help="server of the judge (OPENAI_BASE_URL otherwise)")
    parser.add_argument("--concurrency", type=int, default=64, metavar="N", help="questions under way at once")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="longest wait for a reply")
    parser.add_argument("--price-in", type=float, metavar="P", help="price of a million prompt tokens")
    parser.add_argument("--price-out", type=float, metavar="P", help="price of a million completion tokens")
    parser.add_argument("--from-votes", metavar="FILE", help="analyse recorded votes instead of judging")
    parser.add_argument("--format", choices=("livecc", "evalkit"), help="layout of --from-votes")
    parser.add_argument("--model", metavar="NAME", help="model under test of --from-votes")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")


def judge_endpoint(base_url: str | None) -> Endpoint:
    """Return address and key of a chat judge, from the command line and the environment."""
    from evalkit import env
    from evalkit.judge import Endpoint

    return Endpoint(base_url or env.judge_base_url(), env.judge_key())


def check_against(path: Path) -> None:
    """Refuse what is neither a run folder nor a file.

    Raises:
        UsageError: There is nothing there.
        DataError: It is a folder, but not of a run.
    """
    from evalkit.records import RunFolder

    if not path.exists():
        raise UsageError(f"--against {path} does not exist")
    if path.is_dir():
        RunFolder(path).read_manifest()


def run(args: argparse.Namespace) -> int:
    """Judge, or analyse votes; print the figures."""
    summary = _from_votes(args) if args.from_votes else _judge(args)
    if args.json:
        emit_json(summary.to_json())
    else:
        say(summary_text(summary))
    return EXIT_DONE


def _from_votes(args: argparse.Namespace) -> JudgeSummary:
    from evalkit.judge import read_votes, summarise_votes

    if args.run or args.against or args.judge:
        raise UsageError("--from-votes analyses a file of votes: leave RUN, --against and --judge out")
    if not args.format:
        raise UsageError("--from-votes needs --format livecc or --format evalkit")
    return summarise_votes(read_votes(Path(args.from_votes), args.format, model=args.model))


def _judge(args: argparse.Namespace) -> JudgeSummary:
    from evalkit.judge import JudgeSettings
    from evalkit.run.finish import finish_run
    from evalkit.run.judging import JudgeRequest, judge_run

    for name, value in (("RUN", args.run), ("--against", args.against), ("--judge", args.judge)):
        if not value:
            raise UsageError(f"evalkit judge needs {name}; see evalkit judge --help")
    check_against(Path(args.against))
    settings = JudgeSettings(
        concurrency=args.concurrency, timeout=args.timeout, price_in=args.price_in, price_out=args.price_out
    )
    endpoint = judge_endpoint(args.base_url)
    summary = judge_run(JudgeRequest(Path(args.run), Path(args.against), args.judge, endpoint, settings), note)
    finish_run(Path(args.run), [summary])
    return summary


def summary_text(summary: JudgeSummary) -> str:
    """Return the figures of a judgement as lines for people."""
    values = summary.to_json()

    def share(name: str) -> str:
        return "–" if values[name] is None else f"{100 * values[name]:.2f} %"

    interval = values["interval"]
    spread = (
        f" [{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]" if interval else f" ({values['interval_note']})"
    )
    lines = [
        f"{values['model']} against {values['baseline']}, judge: {values['judge']}",
        f"win rate           {share('win_rate')}{spread}, ties one half",
        f"win rate by votes  {share('win_rate_votes')} (the original's definition)",
        f"decided win rate   {share('decided_win_rate')}",
        f"pairs              {values['pairs']} in {values['clusters']} videos; {values['ties']} ties, "
        f"{values['invalid']} invalid, {values['skipped']} windows not judged",
        f"consistency        {share('consistency')}; first slot chosen {share('first_slot_rate')}",
        f"wins shown first   {share('wins_shown_first')}; shown second {share('wins_shown_second')}",
    ]
    usage = values["usage"]
    cost = "" if usage["cost"] is None else f", cost {usage['cost']:.4f}"
    tokens = f"{usage['prompt_tokens']} + {usage['completion_tokens']} tokens"
    lines.append(f"usage              {usage['calls']} calls, {tokens}{cost}; {usage['reused']} verdicts reused")
    return "\n".join(lines + [f"note: {text}" for text in values["notes"]])
