"""Whether a new run is worse than a base by more than a margin: fails, passes, or says that it cannot tell.

The rule, for a loss margin m stated beforehand and D = head minus base on the same questions:

* L and U are the lower and the upper one-sided 95 % bounds of D, from the paired difference clustered by video
  (CR1, Student's t on videos - 1).
* U < -m: the drop is shown to be larger than the margin. The gate fails.
* L > -m: the drop is shown to be smaller than the margin (non-inferiority). The gate passes.
* otherwise the videos are too few to tell. The gate neither fails nor passes, and names how many videos would give
  80 % power to show a drop smaller than m if there is none (or, where m could be seen with the videos at hand, to
  tell the drop found from m).

Where no two videos differ there is no spread to take a bound from: two runs that agree on three videos are no
proof. Then up to a share s = 1 - 0.05^(1/C) of all videos may behave otherwise (the rule of three, exactly),
anything may happen on those, and L = (1 - s) D - s, U = (1 - s) D + s. One video alone tells nothing.

Speed is judged on the ratio of the median second, head over base, on the stream seconds both have, with bounds
from a block bootstrap (`evalkit.leaderboard.latency`): a lower bound above 1 + margin fails, an upper bound up to
it passes.
"""

from __future__ import annotations

__all__ = ["GateCheck", "GateResult", "Outcome", "judge_score", "judge_speed", "overall", "run_gate"]

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from evalkit.errors import DataError, UsageError
from evalkit.leaderboard.answers import align, require_finished, score_runs
from evalkit.leaderboard.compare import check_comparable
from evalkit.leaderboard.fingerprint import Mismatch, comparable, fields_named, model_changes
from evalkit.leaderboard.latency import SecondRatio, hardware, median_seconds
from evalkit.leaderboard.transcripts import Transcripts, compare_transcripts
from evalkit.records import RunRecords

if TYPE_CHECKING:
    from collections.abc import Hashable

Outcome = Literal["pass", "fail", "cannot tell"]

_CONFIDENCE, _POWER = 0.95, 0.8
_TWO_SIDED = 2 * _CONFIDENCE - 1
_BASE, _HEAD = "base", "head"


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One thing the gate looked at; scores as shares between 0 and 1, speed as a ratio.

    Args:
        name: ``score`` or ``speed``.
        outcome: What was shown.
        base: Of the base: mean score, or median second in seconds.
        head: Of the head.
        change: Head minus base, or head over base.
        low: Lower one-sided 95 % bound of the change; None where there is none.
        high: Upper one-sided 95 % bound.
        limit: What the bound is held against: minus the margin, or one plus the margin.
        mde: Smallest drop (or ratio) that these videos would show with 80 % power; None where unknown.
        n: Questions, or stream seconds.
        videos: Videos they are on.
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
    mde: float | None
    n: int
    videos: int
    videos_needed: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the gate decided.

    Args:
        outcome: ``fail`` if any check failed, else ``cannot tell`` if any could not tell, else ``pass``.
        metric: What the scores are.
        checks: Score, and speed where it was asked for.
        transcripts: What the two said, side by side.
        changed: Fields of the model under test that differ.
        ignored: Other fields that differ and were named as those that may.
        mismatches: What was compared although it should not be.
        notes: What a reader must know.
    """

    outcome: Outcome
    metric: str
    checks: tuple[GateCheck, ...]
    transcripts: Transcripts
    changed: tuple[Mismatch, ...]
    ignored: tuple[Mismatch, ...]
    mismatches: tuple[Mismatch, ...]
    notes: tuple[str, ...]


def overall(checks: Sequence[GateCheck]) -> Outcome:
    """Return the worst outcome: a failure outweighs doubt, doubt outweighs a pass."""
    outcomes = {check.outcome for check in checks}
    return "fail" if "fail" in outcomes else "cannot tell" if "cannot tell" in outcomes else "pass"


def judge_score(
    base: Sequence[float], head: Sequence[float], clusters: Sequence[Hashable], max_drop: float
) -> GateCheck:
    """Decide about the score by the rule above.

    Args:
        base: Scores of the base, one per question.
        head: Scores of the head, in the same order.
        clusters: The video of each question.
        max_drop: Margin m, a share, > 0.
    """
    from evalkit.stats import CompareOptions, compare_pair, videos_needed

    paired = compare_pair(head, base, clusters, options=CompareOptions(confidence=_TWO_SIDED, draws=1))
    difference, videos = paired.difference, paired.clusters
    needed: int | None = None
    mde: float | None = None
    if videos == 1:
        low = high = None
    elif paired.mde is None:
        low, high = _without_spread(difference, videos)
        needed = _videos_without_spread(difference, max_drop)
    else:
        low, high, mde = paired.low, paired.high, paired.mde
        changes = [one - other for one, other in zip(head, base, strict=True)]
        effect = max_drop if mde > max_drop else abs(difference + max_drop)
        if effect > 0:
            needed = videos_needed(changes, clusters, effect, confidence=_TWO_SIDED, power=_POWER).videos
    outcome = _decide(low, high, -max_drop)
    # More videos than are at hand: the plan's normal theory must not answer "you have enough" when t said no.
    needed = max(needed, videos + 1) if needed is not None and outcome == "cannot tell" else None
    return GateCheck(
        name="score",
        outcome=outcome,
        base=paired.mean_b,
        head=paired.mean_a,
        change=difference,
        low=low,
        high=high,
        limit=-max_drop,
        mde=mde,
        n=paired.n,
        videos=videos,
        videos_needed=2 if videos == 1 else needed,
        reason=_score_reason(outcome, videos, needed, max_drop, paired.mde is None),
    )


def _decide(low: float | None, high: float | None, limit: float) -> Outcome:
    """Return what is shown about a change that must not lie below `limit`."""
    if low is None or high is None:
        return "cannot tell"
    return "fail" if high < limit else "pass" if low > limit else "cannot tell"


def _without_spread(difference: float, videos: int) -> tuple[float, float]:
    from evalkit.stats.exact import unseen_share

    share = unseen_share(videos, _CONFIDENCE)
    return (1 - share) * difference - share, (1 - share) * difference + share


def _videos_without_spread(difference: float, max_drop: float) -> int | None:
    """Return how many videos without spread would settle it; None where the drop equals the margin."""
    if difference > -max_drop:
        share = (difference + max_drop) / (1 + difference)
    elif difference < -max_drop:
        share = (-max_drop - difference) / (1 - difference)
    else:
        return None
    return 2 if share >= 1 else max(2, math.floor(math.log(1 - _CONFIDENCE) / math.log(1 - share)) + 1)


def _score_reason(outcome: Outcome, videos: int, needed: int | None, max_drop: float, flat: bool) -> str:
    margin = f"{100 * max_drop:g} points"
    if outcome == "fail":
        return f"the drop is larger than {margin}: the upper one-sided 95 % bound lies below -{100 * max_drop:g}"
    if outcome == "pass":
        return f"a drop of {margin} is ruled out: the lower one-sided 95 % bound lies above -{100 * max_drop:g}"
    if videos == 1:
        return "cannot tell: at least 2 videos needed, one alone has no interval"
    if needed is None:
        return f"cannot tell: the drop found equals the margin of {margin}"
    why = f"on {videos} videos no two differ, which does not rule out a drop of {margin}" if flat else ""
    return f"cannot tell: {needed} videos needed" + (f" ({why})" if why else f" (these are {videos})")


def judge_speed(ratio: SecondRatio | None, max_slowdown: float) -> GateCheck:
    """Decide about the speed.

    Args:
        ratio: Median second of the head over the base with its one-sided 95 % bounds; None without ticks.
        max_slowdown: Margin, a share: 0.1 allows seconds 10 % longer.
    """
    limit = 1 + max_slowdown
    if ratio is None:
        reason = "cannot tell: the runs have no stream second in common that was timed"
        return GateCheck("speed", "cannot tell", None, None, None, None, None, limit, None, 0, 0, None, reason)
    mde = needed = None
    if ratio.low is None or ratio.high is None or ratio.log_se is None:
        outcome: Outcome = "cannot tell"
        reason = f"cannot tell: {ratio.seconds} common seconds are too few for an interval; run on longer videos"
    else:
        outcome = "fail" if ratio.low > limit else "pass" if ratio.high <= limit else "cannot tell"
        visible = _detectable_log_ratio(ratio.log_se)
        mde = math.exp(visible)
        room = math.log(limit) if visible > math.log(limit) else abs(math.log(ratio.ratio / limit))
        if outcome == "cannot tell" and room > 0:
            needed = max(ratio.videos + 1, math.ceil(ratio.videos * (visible / room) ** 2))
        reason = {
            "fail": f"the median second is over {100 * max_slowdown:g} % longer (at least {ratio.low:.3f}-fold)",
            "pass": f"a slowdown of {100 * max_slowdown:g} % is ruled out (at most {ratio.high:.3f}-fold)",
            "cannot tell": f"cannot tell: {needed or 'more'} videos needed (these are {ratio.videos}, "
            f"{ratio.seconds} s)",
        }[outcome]
    return GateCheck(
        name="speed",
        outcome=outcome,
        base=ratio.reference,
        head=ratio.median,
        change=ratio.ratio,
        low=ratio.low,
        high=ratio.high,
        limit=limit,
        mde=mde,
        n=ratio.seconds,
        videos=ratio.videos,
        videos_needed=needed,
        reason=reason,
    )


def _detectable_log_ratio(log_se: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(_CONFIDENCE) + norm.ppf(_POWER)) * log_se


def run_gate(
    base: RunRecords,
    head: RunRecords,
    *,
    max_drop: float,
    max_slowdown: float | None = None,
    allow_mismatch: bool = False,
    ignored: Sequence[str] = (),
    judging: tuple[str | None, str | None] = (None, None),
) -> GateResult:
    """Hold a run against a base.

    Args:
        base: The run to be held against.
        head: The run in question.
        max_drop: Largest drop of the score that is accepted, a share, > 0.
        max_slowdown: Largest lengthening of the median second that is accepted, a share; None leaves speed out.
        allow_mismatch: Go on although the runs differ in more than the model under test, and mark it.
        ignored: Fingerprint fields that may differ, ``code`` for every ``code.*`` where the code is what changed.
        judging: For narrated runs, baseline and judge to be read.

    Raises:
        DataError: A run has no answers or is not finished, or the two may not be compared.
        UsageError: Runs of different tasks, a margin that is not positive, or a field that no run has.
    """
    if not 0 < max_drop <= 1 or (max_slowdown is not None and max_slowdown <= 0):
        raise UsageError("the margins of a gate are positive: --max-drop in points up to 100, --max-slowdown in %")
    if not allow_mismatch:
        for run in (base, head):
            require_finished(run)
    fingerprints = base.manifest.fingerprint, head.manifest.fingerprint
    may_differ = fields_named(ignored, *fingerprints)
    scored = score_runs({_BASE: base, _HEAD: head}, baseline=judging[0], judge=judging[1])
    aligned = align(scored)
    mismatches = check_comparable(scored, aligned, allow=allow_mismatch, ignored=sorted(may_differ))[_BASE, _HEAD]
    checks = [judge_score(aligned.scores[_BASE], aligned.scores[_HEAD], aligned.clusters, max_drop)]
    if max_slowdown is not None:
        machines = hardware(base.manifest), hardware(head.manifest)
        if machines[0] != machines[1] and not allow_mismatch:
            raise DataError(
                f"the runs were timed on different machines ({machines[0] or 'unrecorded'} against "
                f"{machines[1] or 'unrecorded'}): leave --max-slowdown out, or run both on one"
            )
        medians = median_seconds({_BASE: base.ticks, _HEAD: head.ticks})
        ratio = None if medians is None else medians.ratio(_HEAD, _BASE, confidence=_TWO_SIDED)
        checks.append(judge_speed(ratio, max_slowdown))
    return GateResult(
        outcome=overall(checks),
        metric=scored[0].metric,
        checks=tuple(checks),
        transcripts=compare_transcripts(*scored),
        changed=tuple(model_changes(*fingerprints)),
        ignored=tuple(one for one in comparable(*fingerprints) if one.field in may_differ),
        mismatches=mismatches,
        notes=tuple(note for run in scored for note in run.notes),
    )
