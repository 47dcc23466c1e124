"""How far tokens lie from anchors: channels that vary least, a sum of Gaussian kernels, and the lowest by place.

Shared by STC-Pruner (`model/prune.py`) and VidCom2 (`token_compressor/vidcom2/vidcom2.py`), which score alike.
"""

from __future__ import annotations

__all__ = ["calm_channels", "highest", "kernel_sum", "lowest"]

import torch
from torch import Tensor

# Bandwidths of the released kernel sum, 2^-3 .. 2^1.
_BANDWIDTHS = tuple(2.0**power for power in range(-3, 2))


def calm_channels(rows: Tensor, count: int) -> Tensor:
    """Return the ``count`` channels of ``rows (tokens, dim)`` that vary least, calmest first, first of equals."""
    return rows.float().var(dim=0, unbiased=False).sort(stable=True).indices[:count]


def kernel_sum(unit: Tensor, anchor: Tensor) -> Tensor:
    """Return how near unit vectors are to an anchor: the kernel of each bandwidth, summed.

    Args:
        unit: ``(..., dim)``.
        anchor: Broadcast against it.
    """
    squared = (unit - anchor).square_().sum(dim=-1)
    return torch.stack([torch.exp(-squared / (2.0 * width)) for width in _BANDWIDTHS]).sum(dim=0)


def lowest(scores: Tensor, count: int) -> Tensor:
    """Return the places of the ``count`` lowest scores of each row, ascending; of equal scores the first places.

    Args:
        scores: ``(..., tokens)``, float32: in half precision many are equal, and the choice is another one.
        count: How many.
    """
    return scores.float().sort(dim=-1, stable=True).indices[..., :count].sort(dim=-1).values


def highest(scores: Tensor, count: int) -> Tensor:
    """Return the places of the ``count`` highest scores of each row, ascending; of equal ones the first places."""
    return lowest(-scores.float(), count)
