"""ToMe: merge similar tokens inside a vision tower, layer by layer, each merged token weighing what went into it.

Bolya et al., arXiv 2210.09461; rules as in `tome/{merge,utils}.py` and `tome/patch/timm.py` of the authors'
repository.
"""

from __future__ import annotations

__all__ = ["Matching", "match", "merge", "merges_per_layer", "unmerge", "weighted_attention"]

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Matching:
    """Which tokens of a layer are merged into which.

    Args:
        tokens: Tokens that go in.
        merged: ``(batch, r)`` places of those that are merged, from the most similar on.
        into: ``(batch, r)`` places of those they are merged into.
        order: ``(batch, tokens - r)`` the place that each token that comes out stands for, in the original's
            order.
    """

    tokens: int
    merged: Tensor
    into: Tensor
    order: Tensor


def match(metric: Tensor, r: int, *, class_token: bool = False, distill_token: bool = False) -> Matching | None:
    """Pair tokens at even places with their most similar ones at odd places.

    Args:
        metric: ``(batch, tokens, dim)``; cosine is what counts.
        r: Tokens to merge; at most half of those that are not protected.
        class_token: Whether place 0 is one; it is never merged.
        distill_token: Whether place 1 is one; nothing is merged into it.

    Returns:
        The pairs, or ``None`` where nothing is merged.
    """
    batch, tokens, _ = metric.shape
    r = min(r, (tokens - class_token - distill_token) // 2)
    if r <= 0:
        return None
    unit = metric.float()
    unit = unit / unit.norm(dim=-1, keepdim=True)
    scores = unit[:, ::2] @ unit[:, 1::2].transpose(1, 2)
    if class_token:
        scores[:, 0] = -torch.inf
    if distill_token:
        scores[:, :, 0] = -torch.inf
    best, partner = scores.max(dim=-1)
    ranked = best.sort(dim=-1, descending=True, stable=True).indices
    merged, alone = ranked[:, :r], ranked[:, r:]
    if class_token:
        alone = alone.sort(dim=-1).values
    into = partner.gather(1, merged)
    odd = torch.arange(1, tokens, 2, device=metric.device).expand(batch, -1)
    even = 2 * alone
    if distill_token:
        order = torch.cat([even[:, :1], odd[:, :1], even[:, 1:], odd[:, 1:]], dim=1)
    else:
        order = torch.cat([even, odd], dim=1)
    return Matching(tokens, 2 * merged, 2 * into + 1, order)


def merge(values: Tensor, matching: Matching, mode: str = "sum") -> Tensor:
    """Merge values by a matching.

    Args:
        values: ``(batch, tokens, dim)``.
        matching: From `match`.
        mode: How a token takes in another: ``sum``, ``mean``, ``amax``.
    """
    wide = (-1, -1, values.shape[-1])
    index = matching.into.unsqueeze(-1).expand(*wide)
    source = values.gather(1, matching.merged.unsqueeze(-1).expand(*wide))
    grown = values.scatter_reduce(1, index, source, reduce=mode, include_self=True)
    return grown.gather(1, matching.order.unsqueeze(-1).expand(*wide))


def unmerge(values: Tensor, matching: Matching) -> Tensor:
    """Write merged values back to every place that went into them.

    Args:
        values: ``(batch, tokens - r, dim)``, as `merge` gives them.
        matching: From `match`.
    """
    wide = (-1, -1, values.shape[-1])
    shape = (values.shape[0], matching.tokens, values.shape[-1])
    out = values.new_zeros(shape).scatter(1, matching.order.unsqueeze(-1).expand(*wide), values)
    back = out.gather(1, matching.into.unsqueeze(-1).expand(*wide))
    return out.scatter(1, matching.merged.unsqueeze(-1).expand(*wide), back)


def merges_per_layer(layers: int, r: int | Sequence[float]) -> list[int]:
    """Return how many tokens each layer merges.

    Args:
        layers: Layers of the tower.
        r: The same for all; a pair ``(r, inflection)``, which rises or falls linearly about a mean of ``r``; or a
            list, filled up with zeros.
    """
    if isinstance(r, int):
        mean, inflection = r, 0.0
    elif len(r) == 2 and isinstance(r[1], float):
        mean, inflection = int(r[0]), r[1]
    else:
        return [int(value) for value in r] + [0] * (layers - len(r))
    low = int(mean * (1.0 - inflection))
    high = 2 * mean - low
    step = (high - low) / (layers - 1) if layers > 1 else 0.0
    return [int(low + step * layer) for layer in range(layers)]


def weighted_attention(scores: Tensor, size: Tensor | None) -> Tensor:
    """Return softmaxed attention in which a token counts as often as tokens went into it.

    Args:
        scores: ``(batch, heads, queries, tokens)``, scaled.
        size: ``(batch, tokens, 1)``; ``None`` before the first merge.
    """
    if size is not None:
        scores = scores + size.log()[:, None, None, :, 0]
    return scores.softmax(dim=-1)
