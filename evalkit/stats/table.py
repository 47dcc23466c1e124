"""Many models on the same questions: every pair compared, with Holm's correction over the table."""

from __future__ import annotations

__all__ = ["ComparedPair", "compare_all", "holm"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from evalkit.errors import UsageError, suggest
from evalkit.stats.clusters import Clusters, Labels, checked_scores
from evalkit.stats.composition import Composition
from evalkit.stats.robust import clustered_statistic
from evalkit.stats.two import CompareOptions, PairedComparison, PairedScores, compared, sign_flip_p


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """One row of a comparison table.

    Args:
        a: Name of model A.
        b: Name of model B.
        comparison: A against B.
        p_holm: `comparison.permutation_p` after Holm's correction over the table; None where there is no p-value.
    """

    a: str
    b: str
    comparison: PairedComparison
    p_holm: float | None


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return p-values corrected for how many are in the table: p_(k) * (m-k+1), made monotone (Holm 1979).

    Args:
        p_values: As tested; None marks a comparison without a test, which neither counts nor changes.

    Raises:
        UsageError: A value outside [0, 1].
    """
    known = [p for p in p_values if p is not None]
    if any(not 0 <= p <= 1 for p in known):
        raise UsageError("p-values lie between 0 and 1")
    if not known:
        return tuple(p_values)
    # Imported here: statsmodels takes longer to load than the correction takes to make.
    from statsmodels.stats.multitest import multipletests

    corrected = iter(multipletests(known, method="holm")[1])
    return tuple(None if p is None else float(next(corrected)) for p in p_values)


def compare_all(
    runs: Mapping[str, ArrayLike],
    clusters: Labels | Clusters,
    *,
    reference: str | None = None,
    composition: Composition | None = None,
    options: CompareOptions | None = None,
) -> tuple[ComparedPair, ...]:
    """Compare every pair of models, or every model with one reference, on the same questions.

    Args:
        runs: Scores of each model, shape ``(n,)``, in one order of questions.
        clusters: The video of each question.
        reference: Model B of every row; without it all pairs, A before B in the order of `runs`.
        composition: What the headline is made of; the mean over all questions when absent.
        options: Confidence, margin, power, draws and seed.

    Raises:
        UsageError: Fewer than two models, an unknown reference, or different numbers of questions.
    """
    chosen = options or CompareOptions()
    if len(runs) < 2:
        raise UsageError("a comparison needs at least two runs")
    if reference is not None and reference not in runs:
        raise UsageError(f"no run named {reference!r} to compare with{suggest(reference, runs)}")
    scores = {name: checked_scores(values, f"scores of {name}") for name, values in runs.items()}
    sizes = {name: values.size for name, values in scores.items()}
    if len(set(sizes.values())) > 1:
        raise UsageError(f"a paired comparison needs the same questions; the runs have {sizes}")
    videos = Clusters.of(clusters, next(iter(sizes.values())))
    if reference is None:
        pairs = list(combinations(scores, 2))
    else:
        pairs = [(name, reference) for name in scores if name != reference]
    made = composition or Composition.whole(next(iter(sizes.values())))
    rows = [
        PairedScores(scores[a], scores[b], made, clustered_statistic(scores[a] - scores[b], videos, made))
        for a, b in pairs
    ]
    shifts = np.stack([row.found.shares * row.found.means for row in rows], axis=1)
    flips = sign_flip_p(shifts, draws=chosen.draws, seed=chosen.seed)
    results = [compared(row, float(p), chosen) for row, p in zip(rows, flips, strict=True)]
    corrected = holm([result.permutation_p for result in results])
    return tuple(
        ComparedPair(a, b, result, p) for (a, b), result, p in zip(pairs, results, corrected, strict=True)
    )
