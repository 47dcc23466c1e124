"""How much of what a base said a head says too, word for word: a score that needs no gold and no able model."""

from __future__ import annotations

__all__ = ["AGREEMENT", "score_agreement"]

from collections.abc import Mapping, Sequence

from evalkit.errors import DataError
from evalkit.leaderboard.answers import ScoredRun
from evalkit.records import RunRecords

AGREEMENT = "agreement"
"""Name of the score."""

_Reply = tuple[str, str]


def score_agreement(label: str, runs: Sequence[RunRecords], reference: RunRecords) -> list[ScoredRun]:
    """Score every reply of runs by whether it is the reference's, word for word.

    Weights that are random, or answers without a gold, tell a change of the code in this way just as well: what
    changed nothing agrees wholly. A reply that only one of the two has does not agree.

    Args:
        label: What the runs are called.
        runs: The runs.
        reference: Whose replies are looked for, its own run among them or not.

    Raises:
        DataError: A run has no replies.
    """
    wanted, videos = _replies(reference)
    scored = []
    for number, run in enumerate(runs, start=1):
        said, where = _replies(run)
        if not said:
            raise DataError(
                f"{run.folder.path} has no answers on record: nothing to compare", path=run.folder.path
            )
        keys = dict.fromkeys([*wanted, *said])
        names = {key: " ".join(key) for key in keys}
        scores = {names[key]: float(key in wanted and said.get(key) == wanted[key]) for key in keys}
        scored.append(
            ScoredRun(
                label=f"{label} {number}",
                records=run,
                metric=f"{AGREEMENT} with the base's replies",
                unit="replies",
                scores=scores,
                clusters={names[key]: videos.get(key) or where[key] for key in keys},
                answers={names[key]: "".join(said.get(key, ())) for key in keys},
                asked=frozenset(scores),
                cells={AGREEMENT: tuple(scores)},
                weights={AGREEMENT: 1.0},
            )
        )
    return scored


def _replies(run: RunRecords) -> tuple[Mapping[_Reply, tuple[str, str]], Mapping[_Reply, str]]:
    """Return what was said, and the video it was said of, by sample and query."""
    said = {(answer.sample, answer.query): (answer.status, answer.text) for answer in run.answers}
    videos = {(answer.sample, answer.query): answer.cluster or answer.sample for answer in run.answers}
    return said, videos
