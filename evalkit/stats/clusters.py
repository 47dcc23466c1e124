"""Questions grouped by video: checked input and sums by cluster; leaves errors and intervals to others."""

from __future__ import annotations

__all__ = [
    "NEGLIGIBLE",
    "Clusters",
    "FloatArray",
    "Labels",
    "checked_confidence",
    "checked_scores",
]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from evalkit.errors import UsageError

NEGLIGIBLE = 1e-12
"""Standard errors up to this (relative) are rounding, not spread."""

FloatArray = NDArray[np.float64]
Labels = Sequence[Any] | NDArray[Any]


def checked_scores(values: ArrayLike, name: str = "scores") -> FloatArray:
    """Return `values` as a float vector of shape ``(n,)`` in which every entry is a number.

    Args:
        values: One score per question.
        name: What the message calls them.

    Raises:
        UsageError: Nothing in it, more than one dimension, or an entry that is NaN or infinite (a missing
            answer is a wrong answer or a failed sample, decided before statistics are computed).
    """
    try:
        scores = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} must be numbers: {error}") from error
    if scores.ndim != 1:
        raise UsageError(f"{name} must be one number per question, got an array of shape {scores.shape}")
    if scores.size == 0:
        raise UsageError(f"{name} are empty: a run without answers has no statistics")
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise UsageError(
            f"{name} hold {bad.size} value(s) that are not finite, the first {scores[bad[0]]} at position "
            f"{bad[0]}; count a missing answer as wrong or leave its sample out before computing statistics"
        )
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Which cluster (video) each of n questions belongs to.

    Args:
        codes: Shape ``(n,)``, cluster of each question as 0 .. count-1.
        count: Number of clusters C.
    """

    codes: NDArray[np.intp]
    count: int

    @classmethod
    def of(cls, labels: Labels | Clusters, questions: int) -> Clusters:
        """Number the distinct labels in order of appearance.

        Args:
            labels: One label (video id) per question, or clusters already numbered.
            questions: How many questions there must be.

        Raises:
            UsageError: Another number of labels than questions, or a missing label.
        """
        if isinstance(labels, Clusters):
            known = labels
        else:
            array = labels if isinstance(labels, np.ndarray) else np.asarray(labels, dtype=object)
            if array.ndim != 1:
                raise UsageError(f"clusters must be one label per question, got shape {array.shape}")
            codes, distinct = pd.factorize(array)
            known = cls(codes.astype(np.intp, copy=False), len(distinct))
        if known.codes.size != questions:
            raise UsageError(f"{known.codes.size} cluster labels for {questions} questions: give one per question")
        missing = np.flatnonzero(known.codes < 0)
        if missing.size:
            raise UsageError(f"question at position {missing[0]} has no cluster (video id)")
        return known

    def sums(self, values: NDArray[Any]) -> FloatArray:
        """Add up `values` within each cluster: ``(n,)`` gives ``(C,)`` and ``(n, k)`` gives ``(C, k)``."""
        if values.ndim == 1:
            return np.bincount(self.codes, weights=values, minlength=self.count).astype(np.float64, copy=False)
        columns = [np.bincount(self.codes, weights=column, minlength=self.count) for column in values.T]
        return np.stack(columns, axis=1) if columns else np.zeros((self.count, 0))

    def sizes(self) -> FloatArray:
        """Return the number of questions of each cluster, shape ``(C,)``."""
        return np.bincount(self.codes, minlength=self.count).astype(np.float64)

    def where(self, keep: NDArray[np.bool_]) -> Clusters:
        """Return the clusters of the kept questions only; clusters left empty are gone."""
        return Clusters.of(self.codes[keep], int(keep.sum()))


def checked_confidence(confidence: float) -> float:
    """Return `confidence` if it lies strictly between 0 and 1.

    Raises:
        UsageError: It does not.
    """
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must lie between 0 and 1, got {confidence}")
    return confidence
