"""The error of a composed mean whose videos are unequal: CR2 with Satterthwaite degrees of freedom."""

from __future__ import annotations

__all__ = ["ClusteredStatistic", "clustered_statistic"]

from dataclasses import dataclass

import numpy as np

from evalkit.stats.clusters import NEGLIGIBLE, Clusters, FloatArray
from evalkit.stats.composition import Composition

# Cells on fewer videos lost coverage in the simulations (tests/simulation/tables.py macro).
_THIN = 10
# Fewer videos than these on which two models differ give no variance to trust (tests/simulation).
_FEW_DIFFERING = 10


@dataclass(frozen=True, slots=True, eq=False)
class ClusteredStatistic:
    """A composed mean with its errors, before anybody chooses an interval.

    Args:
        value: ``sum_g w_g * mean_g``.
        se: CR2 clustered standard error; None with one video, and where a cell lies on one video only.
        freedom: Degrees of freedom of `se`; None where that is None.
        clt_se: Standard error as if questions were independent; None where a cell has one question.
        intraclass: Correlation of two questions of one video, estimated; between 0 and 1.
        n: Questions.
        clusters: Videos C.
        shares: Shape ``(C,)``: weight of each video in `value`, adding up to 1.
        means: Shape ``(C,)``: weighted mean score on each video, so that ``shares @ means == value``.
        random_share: Weight of the video of a question drawn at random, in the cell where that is largest.
        lone_cells: Names of the cells that lie on one video.
        thin_cells: Of several cells, those on fewer than ten videos: their spread may be nil by accident.
    """

    value: float
    se: float | None
    freedom: float | None
    clt_se: float | None
    intraclass: float
    n: int
    clusters: int
    shares: FloatArray
    means: FloatArray
    random_share: float
    lone_cells: tuple[str, ...]
    thin_cells: tuple[str, ...]

    @property
    def effective_videos(self) -> float:
        """How many videos of equal weight would spread the weight as widely: ``1 / sum_c q_c**2`` (Kish 1965)."""
        return float(1 / np.dot(self.shares, self.shares))

    @property
    def largest_share(self) -> float:
        """Weight of the video that counts most."""
        return float(self.shares.max())

    @property
    def without_spread(self) -> bool:
        """Whether no two videos differ, so that a standard error would be zero for want of data."""
        return self.se is not None and self.se <= NEGLIGIBLE * max(1.0, abs(self.value))

    @property
    def differing(self) -> int:
        """Of differences: videos that show one."""
        return int(np.count_nonzero(self.means))

    @property
    def few_differ(self) -> bool:
        """Of differences: whether so few videos show one that their spread says nothing of others."""
        return self.differing < min(_FEW_DIFFERING, self.clusters)

    @property
    def deff(self) -> float | None:
        """Design effect: clustered over independent variance; None where either is unknown or zero."""
        if not self.se or not self.clt_se or self.without_spread:
            return None
        return (self.se / self.clt_se) ** 2

    @property
    def effective_n(self) -> float | None:
        """How many independent questions would say as much, never more than n; None where DEFF is unknown."""
        deff = self.deff
        return min(float(self.n), self.n / deff) if deff else None


def clustered_statistic(
    values: FloatArray, videos: Clusters, composition: Composition | None = None
) -> ClusteredStatistic:
    """Return a composed mean with its CR2 error (Bell & McCaffrey 2002; Pustejovsky & Tipton 2018).

    CR2 divides each video's residuals by what the mean has already taken out of them: in a cell with N_g questions
    of which n_cg lie on video c, by ``sqrt(1 - n_cg / N_g)``. The degrees of freedom are Satterthwaite's for that
    variance where questions of one video correlate by the estimated intraclass correlation (Imbens & Kolesar
    2016); with a correlation of 0 they are Bell and McCaffrey's, with equal videos C - 1.

    Args:
        values: Shape ``(n,)``, checked.
        videos: The same n questions.
        composition: What the mean is made of; all questions alike when absent.
    """
    made = composition or Composition.whole(values.size)
    counts = made.counts_in(videos.codes, videos.count)
    totals = counts.sum(axis=0)
    scores = values[made.rows]
    means = np.bincount(made.cells, weights=scores, minlength=totals.size) / totals
    residuals = scores - means[made.cells]
    by_video = made.sums_in(residuals, videos.codes, videos.count)
    shares = counts @ (made.weights / totals)
    sums = made.sums_in(scores, videos.codes, videos.count) @ (made.weights / totals)
    counted = made.weights > 0
    spread_over = np.count_nonzero(counts, axis=0)
    lone = np.flatnonzero(counted & (spread_over == 1))
    thin = np.flatnonzero(counted & (spread_over < _THIN))
    intraclass = _intraclass(residuals, videos.codes[made.rows], videos.count)
    se = freedom = None
    if videos.count > 1 and not lone.size:
        left = np.where(counted, 1 - counts / totals, 1.0)
        scale = np.where(counted, made.weights, 0.0) / totals / np.sqrt(left)
        influence = np.sum(scale * by_video, axis=1)
        se = float(np.sqrt(influence @ influence))
        freedom = _freedom(counts, totals, scale, intraclass)
    return ClusteredStatistic(
        value=float(means @ made.weights),
        se=se,
        freedom=freedom,
        clt_se=_independent_error(residuals, made, totals),
        intraclass=intraclass,
        n=values.size,
        clusters=videos.count,
        shares=shares,
        means=np.divide(sums, shares, out=np.zeros_like(sums), where=shares > 0),
        random_share=float(np.max((shares @ counts / totals)[counted])),
        lone_cells=tuple(made.names[cell] for cell in lone),
        thin_cells=tuple(made.names[cell] for cell in thin) if totals.size > 1 else (),
    )


def _independent_error(residuals: FloatArray, made: Composition, totals: FloatArray) -> float | None:
    """Return the standard error if questions were independent; None where a cell has a single one."""
    if np.any(totals[made.weights > 0] < 2):
        return None
    squares = np.bincount(made.cells, weights=residuals**2, minlength=totals.size)
    return float(np.sqrt(np.sum(made.weights**2 * squares / np.maximum(totals - 1, 1) / totals)))


def _intraclass(residuals: FloatArray, codes: np.ndarray[tuple[int], np.dtype[np.intp]], count: int) -> float:
    """Return the one-way ANOVA estimate of the intraclass correlation, held between 0 and 1 (Donner 1986)."""
    sizes = np.bincount(codes, minlength=count).astype(np.float64)
    sizes, present = sizes[sizes > 0], np.flatnonzero(sizes > 0)
    n, groups = float(sizes.sum()), sizes.size
    if groups < 2 or n <= groups:
        return 0.0
    sums = np.bincount(codes, weights=residuals, minlength=count)[present]
    between = float(np.sum(sums**2 / sizes))
    within = max(0.0, float(residuals @ residuals) - between) / (n - groups)
    between /= groups - 1
    typical = (n - float(sizes @ sizes) / n) / (groups - 1)
    spread = between + (typical - 1) * within
    return min(1.0, max(0.0, (between - within) / spread)) if spread > 0 else 0.0


def _freedom(counts: FloatArray, totals: FloatArray, scale: FloatArray, intraclass: float) -> float:
    """Return ``trace(M)**2 / trace(M @ M)`` for ``M = G' Omega G``, the CR2 variance as a quadratic form.

    G holds a column per video, ``(I - H)`` applied to its adjusted weights; Omega is the working covariance
    ``(1 - rho) I + rho Z Z'`` with Z the videos' indicators. Both terms are a diagonal plus a matrix of rank 2 G
    (twice the number of cells), so no matrix of videos by videos is formed.
    """
    held = counts * scale
    diagonal, pooled = np.sum(counts * scale**2, axis=1), held.sum(axis=1)
    spread = pooled[:, None] * (counts / totals)
    basis = np.concatenate([held, spread], axis=1)
    cells = totals.size
    core = np.zeros((2 * cells, 2 * cells))
    core[:cells, :cells] = -(1 - intraclass) * np.diag(1 / totals)
    core[:cells, :cells] += intraclass * (counts / totals).T @ (counts / totals)
    core[:cells, cells:] = core[cells:, :cells] = -intraclass * np.eye(cells)
    main = (1 - intraclass) * diagonal + intraclass * pooled**2
    gram = basis.T @ basis
    trace = float(main.sum() + np.trace(core @ gram))
    mixed = 2 * np.trace(core @ (basis.T @ (main[:, None] * basis)))
    square = float(main @ main + mixed + np.trace(core @ gram @ core @ gram))
    return trace**2 / square if square > 0 else float(counts.shape[0] - 1)
