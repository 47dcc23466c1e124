"""The score of several runs of one model: averaged per question first, with what runs differ by shown apart."""

from __future__ import annotations

__all__ = ["repeated_score"]

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evalkit.leaderboard.answers import ScoredRun, align, averaged, require_finished, require_one_model, score_runs
from evalkit.records import RunRecords

if TYPE_CHECKING:
    from evalkit.stats import Estimate


def repeated_score(runs: Sequence[RunRecords], name: str) -> tuple[ScoredRun, Estimate]:
    """Return the mean of runs of one model by the benchmark's headline, with its 95 % interval over videos.

    Args:
        runs: Two or more, which may differ in their seed.
        name: What the reader calls them.

    Raises:
        DataError: A run is not finished or has no answers, or they are not one model in one setting.
    """
    from evalkit.stats import headline_estimate

    for run in runs:
        require_finished(run)
    require_one_model(runs, name)
    scored = score_runs({str(number): run for number, run in enumerate(runs, start=1)})
    mean = averaged(scored, name)
    aligned = align([mean])
    return mean, headline_estimate(aligned.scores[name], aligned.clusters, composition=aligned.composition)
