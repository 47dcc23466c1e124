"""What a token compressor is given beside features, and what it gives back."""

from __future__ import annotations

__all__ = ["Compressed", "NoState", "SideProducts", "checked_rows"]

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evalkit.errors import ModelError
from evalkit.records import CompressorReport


@dataclass(frozen=True, slots=True)
class SideProducts:
    """What the vision tower's last used layer leaves beside features, on the grid of the features, float32.

    A tower's places are brought to that grid as its features are: pooled where they are pooled, the mean of a
    group where a group becomes one token.

    Args:
        attention: ``(frames, tokens)`` attention that each place receives, mean over heads and queries.
        keys: ``(frames, tokens, head_dim)`` keys before any rotation, mean over heads.
    """

    attention: Tensor
    keys: Tensor


@dataclass(frozen=True, slots=True)
class Compressed:
    """Which rows of a call's flattened features go on, or what is to stand at them.

    Args:
        kept: Rows of ``(frames * tokens)``, ascending. Frames may keep different numbers of them, and none.
        report: For the second's record.
        features: ``(rows, dim)`` vectors that are to stand at these rows, where tokens were merged: a row is then
            the place of what stands for the merged ones. ``None`` where the rows' own features go on.
    """

    kept: Tensor
    report: CompressorReport
    features: Tensor | None = None

    def rows(self) -> Tensor:
        """Return the rows."""
        return self.kept


class NoState:
    """The memory of a compressor that has none."""

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return nothing."""
        return {}, {}

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Go back to nothing."""


def checked_rows(result: Any, features: Tensor, name: str) -> tuple[NDArray[np.int64], Tensor | None]:
    """Return the rows and new vectors of a token compressor's result, if it is one.

    Args:
        result: What ``prune`` returned.
        features: ``(frames, tokens, dim)`` that it was given.
        name: What to call the compressor.

    Returns:
        Rows ``(kept,)`` and vectors ``(kept, dim)``, ``None`` where nothing was merged.

    Raises:
        ModelError: The result lacks something, or its rows or vectors do not fit the features.
    """
    rows, report = getattr(result, "rows", None), getattr(result, "report", None)
    if not callable(rows) or not isinstance(report, CompressorReport):
        raise ModelError(f"compressor {name}: prune returned {type(result).__name__}, no Compressed(kept, report)")
    found = rows()
    frames, tokens, dim = features.shape
    if not isinstance(found, Tensor) or found.ndim != 1 or found.dtype != torch.int64:
        raise ModelError(f"compressor {name}: its rows are no int64 tensor (rows,)")
    kept: NDArray[np.int64] = found.cpu().numpy()
    if kept.size and (kept[0] < 0 or kept[-1] >= frames * tokens or (np.diff(kept) < 0).any()):
        raise ModelError(f"compressor {name}: its rows are not ascending places of {frames} x {tokens} tokens")
    merged = getattr(result, "features", None)
    if merged is None and (np.diff(kept) == 0).any():
        raise ModelError(f"compressor {name}: a row stands twice, and no merged features are given for it")
    if merged is not None and (not isinstance(merged, Tensor) or tuple(merged.shape) != (len(kept), dim)):
        shape = tuple(getattr(merged, "shape", ()))
        raise ModelError(f"compressor {name}: merged features are {shape}, not {(len(kept), dim)} as its rows")
    return kept, merged
