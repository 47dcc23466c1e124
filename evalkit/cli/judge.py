"""Judge a finished run against another, each pair in both orders; or analyse votes that were recorded before."""

from __future__ import annotations

__all__ = ["add_chat_options", "chat_settings", "configure", "run"]

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.cli.main import EXIT_DONE
from evalkit.cli.output import emit_json, note, say
from evalkit.errors import UsageError
from evalkit.shown import videos_of

if TYPE_CHECKING:
    from evalkit.judge import GradeSummary, JudgeSettings, JudgeSummary
    from evalkit.run.judging import JudgeRequest


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="run folder of the model under test")
    parser.add_argument(
        "--against",
        metavar="RUN|FILE",
        help="run folder of the other, or its file (merged_result.jsonl, captions)",
    )
    parser.add_argument(
        "--judge",
        metavar="SPEC",
        help="openai:MODEL, or overlap (built in, not an LLM); with --from-votes: whose votes count",
    )
    add_chat_options(parser)
    parser.add_argument(
        "--allow-mismatch", action="store_true", help="judge what should not be compared, and mark the result"
    )
    parser.add_argument(
        "--rubric",
        action="store_true",
        help="grade the run's replies on its benchmark's scales, without another side",
    )
    parser.add_argument("--draws", type=int, metavar="N", help="grades each reply gets with --rubric (default 1)")
    parser.add_argument("--labels", metavar="FILE", help="human grades to hold those of --rubric against (JSONL)")
    parser.add_argument("--from-votes", metavar="FILE", help="analyse recorded votes instead of judging")
    parser.add_argument(
        "--format",
        choices=("livecc", "evalkit"),
        help="layout of --from-votes (default: evalkit for a run folder or its verdicts.jsonl, else livecc)",
    )
    parser.add_argument("--model", metavar="NAME", help="model under test of --from-votes")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")


def add_chat_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a chat model: where it is, how it is asked, what it costs."""
    parser.add_argument("--base-url", metavar="URL", help="server of the judge (OPENAI_BASE_URL otherwise)")
    parser.add_argument("--concurrency", type=int, default=64, metavar="N", help="questions under way at once")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="longest wait for a reply")
    parser.add_argument("--price-in", type=_price, metavar="P", help="price of a million prompt tokens")
    parser.add_argument("--price-out", type=_price, metavar="P", help="price of a million completion tokens")


def chat_settings(args: argparse.Namespace) -> JudgeSettings:
    """Return how a chat model is asked, from the options that `add_chat_options` adds."""
    from evalkit.judge import JudgeSettings

    return JudgeSettings(
        concurrency=args.concurrency, timeout=args.timeout, price_in=args.price_in, price_out=args.price_out
    )


def _price(text: str) -> float:
    """Read a price.

    Raises:
        argparse.ArgumentTypeError: It is no number of 0 or more.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no price of 0 or more")
    return value


def run(args: argparse.Namespace) -> int:
    """Judge, or analyse votes; print the figures.

    Raises:
        UsageError: Options that do not go together, or nothing to judge.
        DataError: A run or a file of votes cannot be read, or the sides differ in more than the model under test.
        JudgeError: The judge cannot go on.
    """
    if args.rubric:
        return _grade(args)
    for name, value in (("--draws", args.draws), ("--labels", args.labels)):
        if value is not None:
            raise UsageError(f"{name} belongs to --rubric, which grades a run's replies")
    summary = _from_votes(args) if args.from_votes is not None else _judge(args)
    if args.json:
        emit_json(summary.to_json() | _mismatches(args))
    else:
        say(summary_text(summary))
    if summary.alarm:
        note(f"NOTICE: {summary.alarm}")
    return EXIT_DONE


def _grade(args: argparse.Namespace) -> int:
    from evalkit.records import hold_folder
    from evalkit.run.finish import finish_run
    from evalkit.run.grading import GradeRequest, grade_run
    from evalkit.run.judging import PATIENCE, judge_endpoint

    for name, value in (("--against", args.against), ("--from-votes", args.from_votes), ("--format", args.format)):
        if value is not None:
            raise UsageError(f"--rubric grades one run by itself: leave {name} out")
    if args.model is not None:
        raise UsageError("--rubric grades one run by itself: leave --model out")
    for name, value in (("RUN", args.run), ("--judge", args.judge)):
        if not value:
            raise UsageError(f"evalkit judge --rubric needs {name}; see evalkit judge --help")
    request = GradeRequest(
        Path(args.run),
        args.judge,
        judge_endpoint(args.base_url),
        chat_settings(args),
        draws=1 if args.draws is None else args.draws,
        labels=None if args.labels is None else Path(args.labels),
        allow_mismatch=args.allow_mismatch,
    )
    summary = grade_run(request, note)
    with hold_folder(request.run, patience=PATIENCE):  # metrics.json is read, changed and replaced
        finish_run(request.run, graded=[summary])
    if args.json:
        emit_json(summary.to_json())
    else:
        say(grades_text(summary))
    return EXIT_DONE


def grades_text(summary: GradeSummary) -> str:
    """Return the figures of a grading as lines for people."""
    values = summary.to_json()
    lines = [f"graded by {values['judge']}, {values['draws']} draws a reply"]
    for name, task in values["tasks"].items():
        total = "–" if task["total"] is None else f"{task['total']:.2f}"
        lines.append(f"{name:<20} {total}   ({task['items']} replies, {task['invalid']} without grades)")
        for scale, found in task["scales"].items():
            spread = "" if found["low"] is None else f" [{found['low']:.2f}, {found['high']:.2f}]"
            lines.append(f"  {scale:<18} {found['mean']:.2f}{spread}")
    lines.append(f"{'total':<20} {'–' if values['total'] is None else format(values['total'], '.2f')}")
    lines += [f"{name:<20} {100 * value:.2f} %" for name, value in values["figures"].items() if value is not None]
    for name, found in values["human"].items():
        alpha = found["alpha"]["coefficient"]
        agreed = "–" if alpha is None else f"{alpha:.2f}"
        lines.append(
            f"people, {name}: {found['items']} replies, difference {found['mean_difference']:+.2f}, alpha {agreed}"
        )
    usage = values["usage"]
    cost = "" if usage["cost"] is None else f", cost {usage['cost']:.4f}"
    tokens = f"{usage['prompt_tokens']} + {usage['completion_tokens']} tokens"
    lines.append(f"usage                {usage['calls']} calls, {tokens}{cost}; {usage['reused']} grades reused")
    return "\n".join(lines + [f"note: {text}" for text in values["notes"]])


def _from_votes(args: argparse.Namespace) -> JudgeSummary:
    from evalkit.judge import read_votes, summarise_votes

    if args.run or args.against:
        raise UsageError("--from-votes analyses a file of votes: leave RUN and --against out")
    path = Path(args.from_votes)
    layout = args.format or ("evalkit" if path.is_dir() or path.name == "verdicts.jsonl" else "livecc")
    if args.judge and layout == "livecc":
        raise UsageError("a livecc file does not say who judged: leave --judge out")
    if args.base_url or args.allow_mismatch:
        raise UsageError("--from-votes asks no judge and reads one file: leave --base-url, --allow-mismatch out")
    votes = read_votes(path, layout, model=args.model, judge=args.judge)
    return summarise_votes(votes)


def _judge(args: argparse.Namespace) -> JudgeSummary:
    from evalkit.records import hold_folder
    from evalkit.run.finish import finish_run
    from evalkit.run.judging import PATIENCE, check_against, judge_run

    for name, value in (("RUN", args.run), ("--against", args.against), ("--judge", args.judge)):
        if not value:
            raise UsageError(f"evalkit judge needs {name}; see evalkit judge --help")
    for name, value in (("--format", args.format), ("--model", args.model)):
        if value:
            raise UsageError(f"{name} belongs to --from-votes FILE, which analyses recorded votes")
    check_against(Path(args.against))
    summary = judge_run(_request(args), note)
    with hold_folder(Path(args.run), patience=PATIENCE):  # metrics.json is read, changed and replaced
        finish_run(Path(args.run), [summary])
    return summary


def _request(args: argparse.Namespace) -> JudgeRequest:
    from evalkit.run.judging import JudgeRequest, judge_endpoint

    endpoint, settings = judge_endpoint(args.base_url), chat_settings(args)
    return JudgeRequest(
        Path(args.run), Path(args.against), args.judge, endpoint, settings, allow_mismatch=args.allow_mismatch
    )


def _mismatches(args: argparse.Namespace) -> dict[str, Any]:
    """Return what JSON says of sides that should not be compared; nothing for recorded votes."""
    if args.from_votes is not None:
        return {}
    from dataclasses import asdict

    from evalkit.run.judging import check_sides

    found = check_sides(_request(args), lambda _: None)
    return {"mismatched": bool(found), "mismatches": [asdict(one) for one in found]}


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
        f"win rate              {share('win_rate')}{spread}, ties one half",
        f"win rate by votes     {share('win_rate_votes')} (the original's definition)",
        f"ties and unread lost  {share('win_rate_ties_lost')} (LiveCC's and StreamingVLM's rule on LiveSports-3K)",
        f"decided win rate      {share('decided_win_rate')}",
        f"pairs                 {values['pairs']} in {videos_of(values['clusters'])}; {values['ties']} ties, "
        f"{values['invalid']} invalid, {values['skipped']} windows not judged",
        f"consistency           {share('consistency')}; first slot chosen {share('first_slot_rate')}",
        f"wins shown first      {share('wins_shown_first')}; shown second {share('wins_shown_second')}",
    ]
    usage = values["usage"]
    cost = "" if usage["cost"] is None else f", cost {usage['cost']:.4f}"
    tokens = f"{usage['prompt_tokens']} + {usage['completion_tokens']} tokens"
    lines.append(
        f"usage                 {usage['calls']} calls, {tokens}{cost}; {usage['reused']} verdicts reused"
    )
    return "\n".join(lines + [f"note: {text}" for text in values["notes"]])
