"""How far judges agree beyond chance: kappa, AC1 and alpha with cluster-bootstrap intervals."""

from __future__ import annotations

__all__ = ["Agreement", "cohen_kappa", "gwet_ac1", "krippendorff_alpha"]

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalkit.errors import UsageError
from evalkit.stats.bootstrap import BOOTSTRAP_DRAWS
from evalkit.stats.clusters import Clusters, FloatArray, Labels
from evalkit.stats.macro import bootstrap_by_cluster
from evalkit.stats.one import ONE_VIDEO

Ratings = Sequence[Hashable | None]


@dataclass(frozen=True, slots=True)
class Agreement:
    """An agreement coefficient: 1 is perfect, 0 what chance gives.

    Args:
        coefficient: The figure; None where chance alone already agrees always (a single category).
        low: Lower end of the percentile interval over resampled videos; None where there is none.
        high: Upper end.
        observed: Share of agreement seen, p_o (for alpha 1 - D_o).
        expected: Share of agreement that chance gives, p_e (for alpha 1 - D_e).
        n: Items with at least two ratings.
        clusters: Videos they come from.
        note: What a reader must know; empty when there is nothing.
    """

    coefficient: float | None
    low: float | None
    high: float | None
    observed: float
    expected: float
    n: int
    clusters: int
    note: str = ""


# Totals (B, ...) to observed and expected agreement, each (B,).
_Shares = Callable[[FloatArray], tuple[FloatArray, FloatArray]]


def cohen_kappa(
    first: Ratings,
    second: Ratings,
    clusters: Labels | Clusters,
    *,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> Agreement:
    """Return Cohen's kappa (1960): (p_o - p_e) / (1 - p_e), p_e = sum_k p_k^1 p_k^2.

    Args:
        first: Labels of one judge (or the judge's first pass), None where missing.
        second: Labels of the other judge, the human, or the second pass.
        clusters: The video of each item.
        draws: Resamples of the interval.
        seed: Of the resamples.

    Raises:
        UsageError: Different numbers of items, or none that both rated.
    """
    return _two_raters([first, second], clusters, _kappa_shares, draws, seed)


def gwet_ac1(
    first: Ratings,
    second: Ratings,
    clusters: Labels | Clusters,
    *,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> Agreement:
    """Return Gwet's AC1 (2008): p_e = sum_k pi_k (1 - pi_k) / (K - 1), pi_k the mean of both margins.

    Steadier than kappa where nearly every label is the same. K counts the labels seen.

    Args:
        first: Labels of one judge, None where missing.
        second: Labels of the other.
        clusters: The video of each item.
        draws: Resamples of the interval.
        seed: Of the resamples.

    Raises:
        UsageError: Different numbers of items, or none that both rated.
    """
    return _two_raters([first, second], clusters, _ac1_shares, draws, seed)


def krippendorff_alpha(
    ratings: Sequence[Ratings],
    clusters: Labels | Clusters,
    *,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> Agreement:
    """Return Krippendorff's nominal alpha = 1 - D_o / D_e (2011, "Computing Krippendorff's alpha-reliability").

    Any number of judges; an item counts with the ratings it has, if they are two or more.

    Args:
        ratings: For each judge its labels in one order of items, None where missing.
        clusters: The video of each item.
        draws: Resamples of the interval.
        seed: Of the resamples.

    Raises:
        UsageError: Fewer than two judges, different numbers of items, or no item rated twice.
    """
    codes, categories, videos = _coded(ratings, clusters)
    counts = (codes[:, :, None] == np.arange(categories)).sum(axis=0).astype(np.float64)
    rated = counts.sum(axis=1)
    keep = rated >= 2
    if not keep.any():
        raise UsageError("no item has two ratings: agreement cannot be computed")
    counts, rated = counts[keep], rated[keep]
    # Coincidences of one item: o_ck = n_c (n_k - [c = k]) / (m - 1); they add up over items.
    pairs = counts[:, :, None] * (counts[:, None, :] - np.eye(categories))
    return _agreement(pairs / (rated - 1)[:, None, None], videos.where(keep), _alpha_shares, draws, seed)


def _coded(ratings: Sequence[Ratings], clusters: Labels | Clusters) -> tuple[NDArray[np.intp], int, Clusters]:
    """Number the labels: codes ``(judges, items)`` with -1 for missing, how many labels, and the videos."""
    if len(ratings) < 2:
        raise UsageError("agreement needs at least two judges")
    items = len(ratings[0])
    if items == 0 or any(len(one) != items for one in ratings):
        raise UsageError(f"judges must rate the same items, got {[len(one) for one in ratings]} ratings")
    flat = np.empty(len(ratings) * items, dtype=object)
    flat[:] = [label for one in ratings for label in one]
    codes, names = pd.factorize(flat)
    return codes.astype(np.intp).reshape(len(ratings), items), len(names), Clusters.of(clusters, items)


def _two_raters(
    ratings: Sequence[Ratings], clusters: Labels | Clusters, shares: _Shares, draws: int, seed: int
) -> Agreement:
    codes, categories, videos = _coded(ratings, clusters)
    keep = np.all(codes >= 0, axis=0)
    if not keep.any():
        raise UsageError("no item is rated by both judges: agreement cannot be computed")
    cells = codes[0, keep] * categories + codes[1, keep]
    tables = np.eye(categories * categories)[cells].reshape(-1, categories, categories)
    return _agreement(tables, videos.where(keep), shares, draws, seed)


def _kappa_shares(totals: FloatArray) -> tuple[FloatArray, FloatArray]:
    table = totals / totals.sum(axis=(1, 2), keepdims=True)
    return np.trace(table, axis1=1, axis2=2), np.sum(table.sum(axis=1) * table.sum(axis=2), axis=1)


def _ac1_shares(totals: FloatArray) -> tuple[FloatArray, FloatArray]:
    table = totals / totals.sum(axis=(1, 2), keepdims=True)
    margin = (table.sum(axis=1) + table.sum(axis=2)) / 2
    others = table.shape[1] - 1
    by_chance = np.sum(margin * (1 - margin), axis=1) / others if others else np.ones(len(table))
    return np.trace(table, axis1=1, axis2=2), by_chance


def _alpha_shares(totals: FloatArray) -> tuple[FloatArray, FloatArray]:
    ratings = totals.sum(axis=(1, 2))
    margins = totals.sum(axis=1)
    matching = np.sum(margins * (margins - 1), axis=1) / (ratings * (ratings - 1))
    return np.trace(totals, axis1=1, axis2=2) / ratings, matching


def _agreement(tables: FloatArray, videos: Clusters, shares: _Shares, draws: int, seed: int) -> Agreement:
    """Return the coefficient of tables ``(items, K, K)`` that add up over items, with its interval."""
    size = tables.shape[1]

    def coefficient(totals: FloatArray) -> FloatArray:
        observed, expected = shares(totals.reshape(-1, size, size))
        chance = 1 - expected
        # Rounding must not turn "chance always agrees" into a huge coefficient.
        return np.where(chance > 1e-12, (observed - expected) / np.where(chance > 1e-12, chance, 1.0), np.nan)

    sums = videos.sums(tables.reshape(len(tables), -1))
    observed, expected = (float(one[0]) for one in shares(sums.sum(axis=0).reshape(1, size, size)))
    estimate = bootstrap_by_cluster(sums, coefficient, n=len(tables), draws=draws, seed=seed)
    if not np.isfinite(estimate.value):
        note = "only one label was used: agreement beyond chance is undefined"
        return Agreement(None, None, None, observed, expected, len(tables), videos.count, note)
    note = ONE_VIDEO if videos.count == 1 else estimate.note
    return Agreement(
        estimate.value, estimate.low, estimate.high, observed, expected, len(tables), videos.count, note
    )
