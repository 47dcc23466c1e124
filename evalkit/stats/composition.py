"""How a headline is made of questions: one mean over all of them, or a fixed weighting of means of groups."""

from __future__ import annotations

__all__ = ["Composition"]

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evalkit.errors import UsageError
from evalkit.stats.clusters import FloatArray

_ONE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Composition:
    """The fixed combination ``sum_g w_g * mean_g`` over cells g (sub-tasks, groups of questions).

    A question may belong to several cells, and then counts in each.

    Args:
        rows: Shape ``(m,)``: question of each membership, as a position from 0.
        cells: Shape ``(m,)``: its cell, 0 .. G-1.
        weights: Shape ``(G,)``, none negative, adding up to 1.
        names: What the G cells are called.
    """

    rows: NDArray[np.intp]
    cells: NDArray[np.intp]
    weights: FloatArray
    names: tuple[str, ...]

    @classmethod
    def whole(cls, questions: int) -> Composition:
        """Return the plain mean over so many questions."""
        return cls(np.arange(questions), np.zeros(questions, dtype=np.intp), np.ones(1), ("all questions",))

    @classmethod
    def of(cls, cells: Mapping[str, Sequence[int]], weights: Mapping[str, float]) -> Composition:
        """Return a weighted mean of means.

        Args:
            cells: For each cell the positions of its questions.
            weights: For each cell its weight.

        Raises:
            UsageError: Another set of names in the two, a cell without questions, or weights that are negative or
                do not add up to 1.
        """
        if not cells or set(cells) != set(weights):
            raise UsageError(_fixed_beforehand(cells, weights))
        empty = [name for name, positions in cells.items() if len(positions) == 0]
        if empty:
            raise UsageError(f"a macro average is fixed beforehand: no questions for {', '.join(sorted(empty))}")
        shares = np.array([weights[name] for name in cells], dtype=np.float64)
        if not np.all(shares >= 0) or abs(float(shares.sum()) - 1) > _ONE:
            raise UsageError(f"the weights of an average are shares that add up to 1, got {dict(weights)}")
        rows = np.concatenate([np.asarray(positions, dtype=np.intp) for positions in cells.values()])
        sizes = [len(positions) for positions in cells.values()]
        return cls(rows, np.repeat(np.arange(len(cells)), sizes), shares, tuple(cells))

    @classmethod
    def of_groups(cls, groups: Sequence[Hashable], weights: Mapping[Hashable, float] | None = None) -> Composition:
        """Return a weighted mean of the means of groups that share no question.

        Args:
            groups: The group of each question.
            weights: Weight of each group; equal weights when absent.

        Raises:
            UsageError: A question without a group, a group without a weight, or what `of` raises.
        """
        codes, names = pd.factorize(np.fromiter(groups, dtype=object, count=len(groups)))
        if np.any(codes < 0):
            raise UsageError("every question of an average needs a group, none of them missing")
        shares = dict.fromkeys(names, 1 / len(names)) if weights is None else dict(weights)
        if set(shares) != set(names):
            raise UsageError(_fixed_beforehand(names, shares))
        labels = [str(name) for name in names]
        order = {label: np.flatnonzero(codes == code).tolist() for code, label in enumerate(labels)}
        return cls.of(order, {label: shares[name] for label, name in zip(labels, names, strict=True)})

    def counts_in(self, codes: NDArray[np.intp], clusters: int) -> FloatArray:
        """Return how many questions each video has in each cell, shape ``(C, G)``.

        Args:
            codes: Shape ``(n,)``: video of each question.
            clusters: Number of videos C.
        """
        return self.sums_in(np.ones(self.rows.size), codes, clusters)

    def sums_in(self, values: FloatArray, codes: NDArray[np.intp], clusters: int) -> FloatArray:
        """Return the sums by video and cell, shape ``(C, G)``, of one value per membership."""
        size = self.weights.size
        flat = np.bincount(codes[self.rows] * size + self.cells, weights=values, minlength=clusters * size)
        return flat.astype(np.float64, copy=False).reshape(clusters, size)


def _fixed_beforehand(cells: Iterable[Hashable], weights: Iterable[Hashable]) -> str:
    odd = ", ".join(sorted(str(name) for name in set(cells) ^ set(weights)))
    return f"a macro average is fixed beforehand: no questions or no weight for {odd or 'anything'}"
