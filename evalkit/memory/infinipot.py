"""InfiniPot-V: cut a cache to a budget without a question, by what is unlike now and what has large values.

Kim et al., arXiv 2506.15745; rules as in `kvcache_utils.py` of the authors' repository. Every layer and KV head
chooses its own tokens, equally many; what stands where is therefore a matter of tensors, not of spans.
"""

from __future__ import annotations

__all__ = ["InfiniPotSettings", "select_in_layer", "select_tokens"]

import torch
from torch import Tensor
from torch.nn import functional as F

from evalkit.errors import UsageError
from evalkit.memory.budgets import InfiniPotSettings
from evalkit.memory.tensors import LayerTokens

_KERNELS = (7, 5, 3)
"""Of pooling in three, two and one dimensions, in the first three quarters of the layers."""


def select_tokens(
    keys: Tensor, values: Tensor, settings: InfiniPotSettings, *, tokens: int, height: int
) -> Tensor:
    """Choose the tokens that stay in every layer.

    Args:
        keys: ``(layers, kv_heads, frames * tokens, head_dim)``, as cached (rotated).
        values: As ``keys``.
        settings: How many stay and how they are chosen.
        tokens: Tokens of a frame.
        height: Rows of a frame's grid.

    Returns:
        ``(layers, kv_heads, kept)`` places, ascending; all of them where there are no more frames than may stay.

    Raises:
        UsageError: The tokens are no whole frames, or the newest frames alone are more than their share.
    """
    layers, _, length, _ = keys.shape
    if length % tokens or tokens % height:
        raise UsageError(f"{length} cached tokens are no whole frames of {tokens} in {height} rows")
    grid = (length // tokens, height, tokens // height)
    held = (LayerTokens(one, layers, keys[one], values[one], None, grid) for one in range(layers))
    return torch.stack([select_in_layer(layer, settings) for layer in held])


def select_in_layer(held: LayerTokens, settings: InfiniPotSettings) -> Tensor:
    """Choose the tokens that stay in one layer, ``(kv_heads, kept)``; see `select_tokens`."""
    heads, length, _ = held.keys.shape
    frames, tokens = held.grid[0], held.per_frame
    if frames <= settings.frames:
        return torch.arange(length, device=held.keys.device).expand(heads, -1)
    budget = settings.frames * tokens
    unlike_now = budget - round((1 - settings.tar_ratio) * budget)
    scores = held.values.float().norm(dim=-1)
    if settings.pooling:
        scores = _pooled(scores, held.layer, held.layers, held.grid)
    if settings.tar_ratio > 0:
        chosen = _unlike_now(held.keys.float(), unlike_now, frames, tokens, settings.query_ratio)
        top = scores.max() + 1
        scores = scores.scatter(1, chosen, top.expand(heads, chosen.shape[-1]))
    order = (-scores).sort(dim=-1, stable=True).indices
    return order[:, :budget].sort(dim=-1).values


def _unlike_now(keys: Tensor, count: int, frames: int, tokens: int, query_ratio: float) -> Tensor:
    """Return the tokens of the newest frames, and of the older ones those least like them at the same place."""
    newest = int(frames * query_ratio)
    if newest < 1 or count < newest * tokens:
        raise UsageError(
            f"{newest} of {frames} frames are the newest ({query_ratio:g} of them), {newest * tokens} tokens, and "
            f"{count} tokens may be chosen by them: raise tar_ratio or frames, or change query_ratio"
        )
    unit = keys / (keys.norm(dim=-1, keepdim=True) + 1e-9)
    grid = unit.unflatten(1, (frames, tokens))
    older, now = grid[:, : frames - newest], grid[:, frames - newest :].mean(dim=1, keepdim=True)
    cosine = (older * now).sum(dim=-1).flatten(1)
    order = cosine.sort(dim=-1, stable=True).indices[..., : count - newest * tokens]
    last = torch.arange((frames - newest) * tokens, frames * tokens, device=keys.device)
    return torch.cat([order, last.expand(order.shape[0], -1)], dim=-1)


def _pooled(norms: Tensor, layer: int, layers: int, grid: tuple[int, int, int]) -> Tensor:
    """Average value norms over neighbours: in time and space, in space, along the sequence, or not at all.

    Args:
        norms: ``(kv_heads, frames * height * width)``.
        layer: Which layer.
        layers: Of how many.
        grid: Frames, height, width.
    """
    group = layer // max(1, layers // 4)
    if group >= len(_KERNELS):
        return norms
    frames, height, width = grid
    kernel = min(_KERNELS[group], frames, height, width) if group < 2 else min(_KERNELS[group], norms.shape[-1])
    kernel -= kernel % 2 == 0
    if kernel < 2:
        return norms
    pad = kernel // 2
    if group == 0:
        return F.avg_pool3d(norms.view(-1, 1, *grid), kernel, stride=1, padding=pad).flatten(1)
    if group == 1:
        maps = norms.view(-1, frames, height, width)
        return F.avg_pool2d(maps, kernel, stride=1, padding=pad).flatten(1)
    return F.avg_pool1d(norms.unsqueeze(1), kernel, stride=1, padding=pad).squeeze(1)
