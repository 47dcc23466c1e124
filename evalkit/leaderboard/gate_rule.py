"""What a gate may conclude from scores and from times: a drop is shown, is ruled out, or cannot be told.

The rule, for a loss margin m stated beforehand and D = head minus base on the same questions:

* L and U are the lower and the upper one-sided bound of D (`evalkit.stats.exact_bounds`). They assume nothing but
  that videos are drawn alike: one more video is imagined, at the worst value. They are never tighter than Clopper
  and Pearson's exact bounds where videos are lost wholly or not at all, they exist where no two videos differ, and
  a worse answer of the head never raises either of them.
* U < -m: the drop is shown to be larger than the margin. The gate fails.
* L > -m: the drop is shown to be smaller than the margin (non-inferiority). The gate passes.
* otherwise the videos are too few to tell, and the gate neither fails nor passes.

Since both bounds can only fall as answers of the head get worse, a worse head never gets a better verdict.

Each bound errs in at most 5 of 100 gates. Where a series of heads is held against one base, each at 5 %, some head
will be failed without reason sooner or later. The N-th look at a series may instead err with
``0.05 / (N (N + 1))``: over a series of any length these add up to less than 0.05, and by Bonferroni's inequality
so does the chance of any wrong verdict, however the heads hang together (alpha spending, Lan & DeMets 1983, over
looks without end).
"""

from __future__ import annotations

__all__ = ["ERROR", "GateCheck", "Outcome", "error_of_look", "judge_score", "judge_speed", "overall"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from evalkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Hashable

    from evalkit.leaderboard.slowdown import Slowdown
    from evalkit.stats import Composition

Outcome = Literal["pass", "fail", "cannot tell"]

ERROR = 0.05
"""Chance of a wrong verdict that a single gate accepts, on either side."""

_POWER = 0.8


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One thing the gate looked at; scores as shares between 0 and 1, speed as a ratio.

    Args:
        name: ``score`` or ``speed``.
        outcome: What was shown.
        base: Of the base: score, or median second in seconds.
        head: Of the head.
        change: Head minus base, or head over base.
        low: Lower one-sided bound of the change; None where there is none.
        high: Upper one-sided bound.
        limit: What the bound is held against: minus the margin, or one plus the margin.
        resolution: Smallest margin that these data could pass if nothing had changed; None where unknown.
        n: Questions, or stream seconds.
        timed: What is timed where the check is of speed.
        videos: Videos they are on.
        runs: Runs of each side.
        videos_needed: Videos to be able to tell; None where it can tell, or nobody knows.
        reason: In words.
    """

    name: Literal["score", "speed"]
    outcome: Outcome
    base: float | None
    head: float | None
    change: float | None
    low: float | None
    high: float | None
    limit: float
    resolution: float | None
    n: int
    videos: int
    runs: int
    videos_needed: int | None
    reason: str
    timed: Literal["second", "question"] = "second"


def error_of_look(look: int | None) -> float:
    """Return the error that the N-th look at a series may have; that of a single gate where there is no series.

    Raises:
        UsageError: Looks are counted from 1.
    """
    if look is None:
        return ERROR
    if look < 1:
        raise UsageError(f"--look counts the gates of a series from 1, not {look}")
    return ERROR / (look * (look + 1))


def overall(checks: Sequence[GateCheck]) -> Outcome:
    """Return the worst outcome: a failure outweighs doubt, doubt outweighs a pass."""
    outcomes = {check.outcome for check in checks}
    return "fail" if "fail" in outcomes else "cannot tell" if "cannot tell" in outcomes else "pass"


def judge_score(
    base: Sequence[float],
    head: Sequence[float],
    clusters: Sequence[Hashable],
    max_drop: float,
    *,
    composition: Composition | None = None,
    error: float = ERROR,
) -> GateCheck:
    """Decide about a score by the rule above.

    Args:
        base: Scores of the base, one per question, between 0 and 1.
        head: Scores of the head, in the same order.
        clusters: The video of each question.
        max_drop: Margin m, a share, > 0.
        composition: What the score is made of; the mean over all questions when absent.
        error: Accepted chance of a wrong verdict, on either side.
    """
    from evalkit.stats import CompareOptions, compare_pair, exact_bounds, videos_to_decide

    paired = compare_pair(head, base, clusters, composition=composition, options=CompareOptions(draws=1))
    changes = [one - other for one, other in zip(head, base, strict=True)]
    confidence = 1 - error
    low = high = resolution = needed = None
    outcome: Outcome = "cannot tell"
    alone = _on_one_video(clusters, composition)
    if not alone:
        bounds = exact_bounds(changes, clusters, composition=composition, confidence=confidence)
        low, high = bounds.low, bounds.high
        outcome = "fail" if high < -max_drop else "pass" if low > -max_drop else "cannot tell"
        unchanged = [0.0] * len(changes)
        resolution = -exact_bounds(unchanged, clusters, composition=composition, confidence=confidence).low
        if outcome == "cannot tell":
            needed = videos_to_decide(
                changes, clusters, max_drop, composition=composition, confidence=confidence, power=_POWER
            )
    return GateCheck(
        name="score",
        outcome=outcome,
        base=paired.mean_b,
        head=paired.mean_a,
        change=paired.difference,
        low=low,
        high=high,
        limit=-max_drop,
        resolution=resolution,
        n=paired.n,
        videos=paired.clusters,
        runs=1,
        # More videos than are at hand: the plan must not answer "you have enough" where the bound said no.
        videos_needed=None if needed is None else max(needed, paired.clusters + 1),
        reason=_score_reason(outcome, max_drop, alone, needed),
    )


def _on_one_video(clusters: Sequence[Hashable], composition: Composition | None) -> tuple[str, ...]:
    """Return the parts of a score that lie on one video alone: nothing tells how the next one would differ."""
    from evalkit.stats import Composition

    made = composition or Composition.whole(len(clusters))
    videos: list[set[Hashable]] = [set() for _ in made.names]
    for row, cell in zip(made.rows, made.cells, strict=True):
        videos[cell].add(clusters[row])
    parts = zip(made.names, made.weights, videos, strict=True)
    return tuple(name for name, weight, found in parts if weight > 0 and len(found) == 1)


def _score_reason(outcome: Outcome, max_drop: float, alone: Sequence[str], needed: int | None) -> str:
    margin = f"{100 * max_drop:g} points"
    if outcome == "fail":
        return f"the drop is larger than {margin}: its upper one-sided bound lies below -{100 * max_drop:g}"
    if outcome == "pass":
        return f"a drop of {margin} is ruled out: its lower one-sided bound lies above -{100 * max_drop:g}"
    if alone:
        return f"cannot tell: {', '.join(alone)} on one video only, which has no interval; 2 videos at least"
    if needed is None:
        return f"cannot tell: the change found is as good as the margin of {margin}"
    return f"cannot tell a drop of {margin} from none with so few videos: about {needed} needed"


def judge_speed(found: Slowdown, max_slowdown: float) -> GateCheck:
    """Decide about the speed.

    Args:
        found: Of the head over the base.
        max_slowdown: Margin, a share: 0.1 allows seconds 10 % longer.
    """
    limit = 1 + max_slowdown
    outcome: Outcome = "cannot tell"
    resolution = None
    if found.low is None or found.high is None or found.ratio is None:
        reason = f"cannot tell: {found.why}"
    else:
        outcome = "fail" if found.low > limit else "pass" if found.high <= limit else "cannot tell"
        resolution = found.high / found.ratio
        reason = {
            "fail": f"the median {found.unit} is over {100 * max_slowdown:g} % longer "
            f"(at least {found.low:.3f}-fold)",
            "pass": f"a slowdown of {100 * max_slowdown:g} % is ruled out (at most {found.high:.3f}-fold)",
            "cannot tell": f"cannot tell: {found.runs} runs of either side do not show {100 * max_slowdown:g} %",
        }[outcome]
    return GateCheck(
        name="speed",
        outcome=outcome,
        base=found.base,
        head=found.head,
        change=found.ratio,
        low=found.low,
        high=found.high,
        limit=limit,
        resolution=resolution,
        n=found.seconds,
        videos=found.videos,
        runs=found.runs,
        videos_needed=None,
        reason=reason,
        timed=found.unit,
    )
