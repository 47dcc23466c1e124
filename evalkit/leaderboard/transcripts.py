"""What two runs said, side by side: whether it is the same, what changed either way, how much could be read."""

from __future__ import annotations

__all__ = ["Transcripts", "compare_transcripts"]

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.records import AnswerRecord

if TYPE_CHECKING:
    from evalkit.leaderboard.answers import ScoredRun

_Reply = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Transcripts:
    """Two runs' replies side by side: answers, and what was said in each second of a narration.

    Args:
        replies: Replies of either run.
        differing: Replies whose text (or failure) is another one, those that only one run has among them.
        first: The first of these in the order of the base, empty where there is none.
        lost: Questions on which the head scores less than the base.
        gained: Questions on which it scores more.
        scored: Questions that both runs have a score for.
        coverage: Share of replies that could be read, of the base and of the head.
    """

    replies: int
    differing: int
    first: str
    lost: int
    gained: int
    scored: int
    coverage: tuple[float, float]

    @property
    def identical(self) -> bool:
        """Whether both runs said the same, word for word, and nothing scores otherwise.

        Means over several runs may differ although the first runs, whose replies these are, said the same.
        """
        return self.differing == 0 and self.lost == self.gained == 0

    @property
    def same(self) -> str:
        """What to say of two runs that said the same."""
        return f"identical answers (transcripts equal): {self.replies} of {self.replies} replies"

    def sentence(self) -> str:
        """Return identity, flips both ways and coverage of both sides as one line."""
        if self.differing == 0:
            said = self.same
        else:
            said = f"{self.differing} of {self.replies} replies differ, the first at {self.first}"
        changed = f"{self.lost} of {self.scored} scores fell, {self.gained} rose"
        covered = " and ".join(
            f"{side} {100 * share:.2f} %" for side, share in zip(("base", "head"), self.coverage, strict=True)
        )
        return f"{said}; {changed}; coverage {covered}"


def compare_transcripts(base: ScoredRun, head: ScoredRun) -> Transcripts:
    """Put the raw replies and the scores of two runs side by side.

    Replies are compared as they were given, before any parser: two models may answer alike for different reasons.

    Args:
        base: The run that was there before.
        head: The run in question.
    """
    said = [_replies(run.records.answers) for run in (base, head)]
    keys = list(dict.fromkeys([*said[0], *said[1]]))
    differing = [key for key in keys if said[0].get(key) != said[1].get(key)]
    both = [id_ for id_ in base.scores if id_ in head.scores]
    changes = [head.scores[id_] - base.scores[id_] for id_ in both]
    return Transcripts(
        replies=len(keys),
        differing=len(differing),
        first=differing[0][1] if differing else "",
        lost=sum(change < 0 for change in changes),
        gained=sum(change > 0 for change in changes),
        scored=len(both),
        coverage=(_coverage(base.records.answers), _coverage(head.records.answers)),
    )


def _replies(answers: Iterable[AnswerRecord]) -> Mapping[_Reply, tuple[str, str]]:
    return {(answer.sample, answer.query): (answer.status, answer.text) for answer in answers}


def _coverage(answers: Iterable[AnswerRecord]) -> float:
    read = [answer.status == "ok" and answer.unparsed is None for answer in answers]
    return sum(read) / len(read) if read else 0.0
