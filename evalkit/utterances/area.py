"""Area under the grade of what was said so far, over the span in which it was due (PAUC of ProactiveVideoQA)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from evalkit.errors import UsageError
from evalkit.utterances.match import Window

__all__ = ["BEST_GRADE", "OMEGAS", "START_GRADE", "GradedReply", "area_score", "pauc"]

START_GRADE = 0.5
"""Grade before anything was said in a span."""

BEST_GRADE = 2.0
"""Grades are shown from 0 to 2; a judge gives 1 to 3."""

OMEGAS = (0.0, 0.5, 1.0)
"""Weights that are reported: 0 takes the area alone, where time counts most, 1 the last grade alone."""


@dataclass(frozen=True, slots=True, order=True)
class GradedReply:
    """The grade of all replies of a turn up to a moment.

    Args:
        at: Media second of the reply.
        grade: 0 to 2.

    Raises:
        UsageError: The grade is out of range.
    """

    at: float
    grade: float

    def __post_init__(self) -> None:
        if not 0 <= self.grade <= BEST_GRADE:
            raise UsageError(f"a grade is 0 to {BEST_GRADE:g}, not {self.grade}")


def area_score(replies: Iterable[GradedReply], span: Window, omega: float = 0.0) -> float:
    """Return one turn's score in grades, 0 to 2.

    The grade is a step line over the span: ``START_GRADE`` until the first reply, then the grade of the replies so
    far until the next. Replies before the span count from its start, replies after its end not at all. With A the
    mean height of that line and g its last grade, the score is ``(1 - omega) * A + omega * g``; that is the area
    under the line with all times multiplied by ``1 - omega`` (ProactiveVideoQA,
    ``pauc/judge_llm_scores_openai.py``).

    Args:
        replies: Graded replies, in any order; of two at one time the last given counts.
        span: When the turn is due.
        omega: 0 to 1; the larger, the less it matters when something was said.

    Raises:
        UsageError: ``omega`` is out of range.
    """
    if not 0 <= omega <= 1:
        raise UsageError(f"omega is 0 to 1, not {omega}")
    grade, since, area = START_GRADE, span.start, 0.0
    for reply in sorted(replies, key=lambda one: one.at):
        if reply.at > span.end:
            break
        at = max(reply.at, span.start)
        area += grade * (at - since)
        grade, since = reply.grade, at
    length = span.end - span.start
    mean = (area + grade * (span.end - since)) / length if length > 0 else grade
    return (1 - omega) * mean + omega * grade


def pauc(turns: Sequence[tuple[Sequence[GradedReply], Window]], omega: float = 0.0) -> float | None:
    """Return the mean over turns as a share of the best grade, 0 to 1; ``None`` without a turn.

    Args:
        turns: Graded replies and span of each turn.
        omega: See `area_score`.
    """
    return fmean(area_score(replies, span, omega) for replies, span in turns) / BEST_GRADE if turns else None
