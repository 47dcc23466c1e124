"""What a page was opened for, as a sentence: who is better by how much, its interval, and what that means."""

from __future__ import annotations

__all__ = ["Finding", "findings"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from evalkit.errors import EvalkitError
from evalkit.leaderboard.compare import Comparison, PairRow, compare_runs
from evalkit.leaderboard.fingerprint import describe_mismatches
from evalkit.report.naming import short_name
from evalkit.report.runs import Run
from evalkit.report.verdicts import Contest, contests, win_rate
from evalkit.shown import videos_of

State = Literal["better", "worse", "open", "barred"]

_LEVEL: Final = 0.05
_EVEN: Final = 0.5
_TOLD_BY: Final = "demo.line"
"""What narrations of made-up matches are compared by where no judge has seen them: right lines."""
_FEWEST_VIDEOS: Final = 6
"""Below, no whole-video sign flip reaches p = 0.05 (2 / 2**6 = 0.03, 2 / 2**5 = 0.06)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison in words.

    Args:
        text: What was measured, with interval, n and videos.
        meaning: What follows from it.
        state: ``better`` or ``worse`` of the run under test, ``open`` where it cannot be told, ``barred`` where
            the two must not be compared.
        cost: What a second of stream took either side; empty where it is not comparable.
    """

    text: str
    meaning: str
    state: State
    cost: str = ""


def findings(runs: Sequence[Run]) -> list[Finding]:
    """Return what runs read together say of the first: against each other one, or against what it was judged by.

    Nothing is said of runs that are not finished or that cannot be scored.

    Args:
        runs: Runs of one task, the one under test first.
    """
    if any(run.unfinished or run.records.manifest.status != "done" for run in runs):
        return []
    found = [_judged(contest) for run in runs for contest in contests(run.records.verdicts, run.label)]
    judged = [one for one in found if one is not None]
    if len(runs) < 2 or (judged and not all(run.records.verdicts for run in runs)):
        return judged
    return judged + _against_first(runs)


def _judged(contest: Contest) -> Finding | None:
    rate = win_rate(contest.pairs)
    if rate is None:
        return None
    text = (
        f"{contest.model} wins {100 * rate.value:.1f} %{_interval(rate.low, rate.high)} of {rate.n} windows "
        f"against {contest.baseline}, ties one half, as {contest.judge_label} sees it."
    )
    if rate.low is not None and rate.low > _EVEN:
        return Finding(text, f"{contest.model} is better.", "better")
    if rate.high is not None and rate.high < _EVEN:
        return Finding(text, f"{contest.baseline} is better.", "worse")
    return Finding(text, f"Cannot tell: {videos_of(rate.clusters)}.", "open")


def _interval(low: float | None, high: float | None) -> str:
    return " (no interval)" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"


def _against_first(runs: Sequence[Run]) -> list[Finding]:
    sides = {run.label: run.records for run in runs}
    for metric in (None, _TOLD_BY):
        try:
            comparison = compare_runs(sides, metric=metric, allow_mismatch=True)
        except EvalkitError:  # no such score of these runs: their tables stand alone
            continue
        task = runs[0].records.manifest.task
        return [_pair(row, comparison, task) for row in comparison.rows if row.a == runs[0].label]
    return []


def _pair(row: PairRow, comparison: Comparison, task: str) -> Finding:
    paired = row.paired
    name, _, kind = comparison.metric.partition(", ")
    what = short_name(name, task) + (f" ({kind})" if kind else "")
    points = 100 * paired.difference
    more = (
        "as much as"
        if round(points, 1) == 0
        else f"{abs(points):.1f} points {'more' if points > 0 else 'less'} than"
    )
    low, high = (paired.low, paired.high) if points >= 0 else (_minus(paired.high), _minus(paired.low))
    interval = "" if row.transcripts.identical else _interval(low, high)
    text = (
        f"{row.a} scores {more} {row.b}{interval}: {100 * paired.mean_a:.1f} % against "
        f"{100 * paired.mean_b:.1f} %, {what}, {paired.n} {comparison.unit} on {videos_of(paired.clusters)}."
    )
    meaning, state = _meaning(row, comparison)
    return Finding(text, meaning, state, _cost(row))


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _meaning(row: PairRow, comparison: Comparison) -> tuple[str, State]:
    if row.mismatches:
        return f"Not to be compared: they differ in {describe_mismatches(row.mismatches)}.", "barred"
    if row.transcripts.identical:
        return "The same replies to everything: there is nothing to tell apart.", "open"
    p = row.p_holm if row.p_holm is not None else row.paired.permutation_p
    if p is not None and p < _LEVEL:
        better = row.a if row.paired.difference > 0 else row.b
        return f"{better} is better (p = {p:.4f}).", "better" if better == row.a else "worse"
    if row.paired.clusters < _FEWEST_VIDEOS:
        return f"Cannot tell: {videos_of(row.paired.clusters)}.", "open"
    missed = (
        "" if row.paired.mde is None else f"; a true difference below {100 * row.paired.mde:.1f} points is missed"
    )
    return f"Cannot tell (p = {p:.2f}){missed}." if p is not None else "Cannot tell.", "open"


def _cost(row: PairRow) -> str:
    if row.seconds is None or row.mismatches:
        return ""
    one = row.seconds
    interval = "" if one.low is None or one.high is None else f" [{one.low:.2f}, {one.high:.2f}]"
    return (
        f"A second of stream takes {row.a} {one.ratio:.2f}{interval} times what it takes {row.b} "
        f"({one.median:.3g} s against {one.reference:.3g} s, medians)."
    )
