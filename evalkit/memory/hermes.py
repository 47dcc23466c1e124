"""HERMES: a budget of vision tokens a layer, by recency in shallow layers and attention in deep ones.

arXiv 2601.14724; rules as in `inference/llavaov_online_official.py` of the January 2026 release. Layers keep
different tokens at different positions, and a deep layer gets one token that stands for what it dropped.
"""

from __future__ import annotations

__all__ = ["LayerCache", "LayerLooks", "compress_round", "grow"]

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

_SHORT, _LONG = 0.3, 0.7
_FREE = 1024
"""Positions that stay free below the model's limit."""
_BLEND = {"short": 0.1, "mid": 0.3, "long": 0.4}
"""How much of the next layer's scores a layer takes over."""


@dataclass(frozen=True, slots=True)
class LayerCache:
    """What one layer holds.

    Args:
        keys: ``(kv_heads, tokens, head_dim)``, rotated to their positions.
        values: As ``keys``.
        positions: ``(tokens,)``.
    """

    keys: Tensor
    values: Tensor
    positions: Tensor


@dataclass(frozen=True, slots=True)
class LayerLooks:
    """What three fixed questions look at in one layer: ``(heads, question, tokens + question)`` each."""

    local: Tensor
    overall: Tensor
    mixed: Tensor


def grow(cache: LayerCache | None, keys: Tensor, values: Tensor) -> LayerCache:
    """Append tokens at the positions behind the layer's own last one.

    Args:
        cache: The layer; ``None`` at first.
        keys: ``(kv_heads, new, head_dim)``, rotated to these positions.
        values: As ``keys``.
    """
    first = 0 if cache is None else int(cache.positions[-1]) + 1
    positions = torch.arange(first, first + keys.shape[1], device=keys.device)
    if cache is None:
        return LayerCache(keys, values, positions)
    return LayerCache(
        torch.cat([cache.keys, keys], dim=1),
        torch.cat([cache.values, values], dim=1),
        torch.cat([cache.positions, positions]),
    )


def compress_round(
    layers: Sequence[LayerCache],
    looks: Sequence[LayerLooks],
    *,
    start: int,
    budget: int,
    max_positions: int,
    theta: float,
) -> tuple[list[LayerCache], list[Tensor]]:
    """Cut every layer to its budget.

    Args:
        layers: The cache, shallow to deep.
        looks: What the fixed questions look at, by layer.
        start: Tokens before the vision part, which always stay.
        budget: Vision tokens of a layer.
        max_positions: The model's limit.
        theta: Base of its rotary frequencies.

    Returns:
        The layers after the round, and the rows each chose, ascending (also where nothing had to go).
    """
    scores = _blended([_score(look, layer, len(layers), start) for layer, look in enumerate(looks)])
    kept = []
    for layer, score in enumerate(scores):
        count = min(budget - (_kind(layer, len(layers)) == "long"), score.shape[0])
        chosen = (-score).sort(stable=True).indices[:count].sort().values + start
        kept.append(torch.cat([torch.arange(start, device=chosen.device), chosen]))
    if layers[0].positions.shape[0] <= budget:
        return list(layers), kept
    compact = any(int(one.positions[-1]) > max_positions - _FREE for one in layers)
    after = [
        _cut(one, rows, theta, compact=compact, summary=_kind(layer, len(layers)) == "long")
        for layer, (one, rows) in enumerate(zip(layers, kept, strict=True))
    ]
    return after, kept


def _kind(layer: int, layers: int) -> str:
    if layer < int(_SHORT * layers):
        return "short"
    return "long" if layer >= int(layers * (1 - _SHORT)) else "mid"


def _score(look: LayerLooks, layer: int, layers: int, start: int) -> Tensor:
    """Return ``(vision tokens,)``: attention and recency, each between 0 and 1, weighed by depth."""
    kind = _kind(layer, layers)
    attention = {"short": look.local, "long": look.overall, "mid": look.mixed}[kind].float()
    length = attention.shape[-1] - attention.shape[1]
    seen = attention[..., start:length].mean(dim=0).mean(dim=0)
    count = seen.shape[0]
    share, decay = {"short": (1.0, 20.0), "long": (0.0, 0.0), "mid": (0.0, 0.0)}[kind]
    if kind == "mid":
        low, high = int(_SHORT * layers), int(_LONG * layers)
        progress = (layer - low) / (high - low)
        share, decay = 1.0 - 0.9 * progress, 20.0 - 19.5 * progress
    age = torch.arange(count - 1, -1, -1, device=seen.device, dtype=seen.dtype) / max(count - 1, 1)
    return (1 - share) * _between_0_and_1(seen) + share * _between_0_and_1(torch.exp(-decay * age))


def _between_0_and_1(values: Tensor) -> Tensor:
    return (values - values.min()) / (values.max() - values.min() + 1e-6)


def _blended(scores: list[Tensor]) -> list[Tensor]:
    """Let every layer take over some of the next deeper one's scores, from the deepest on."""
    blended = list(scores)
    for layer in range(len(scores) - 2, -1, -1):
        deeper = blended[layer + 1]
        if deeper.shape != scores[layer].shape:
            size = scores[layer].shape[0]
            deeper = F.interpolate(deeper.view(1, 1, -1), size=size, mode="linear", align_corners=False).flatten()
        part = _BLEND[_kind(layer, len(scores))]
        blended[layer] = (1 - part) * scores[layer] + part * deeper
    return blended


def _cut(layer: LayerCache, rows: Tensor, theta: float, *, compact: bool, summary: bool) -> LayerCache:
    keys, values, positions = layer.keys[:, rows], layer.values[:, rows], layer.positions[rows]
    if compact:
        fresh = torch.arange(len(rows), device=rows.device)
        keys, positions = _rotate(keys, fresh - positions, theta), fresh
    kept = LayerCache(keys, values, positions)
    gone = torch.ones(layer.positions.shape[0], dtype=torch.bool, device=rows.device)
    gone[rows] = False
    if not summary or not bool(gone.any()):
        return kept
    place = positions[-1:] + 1
    moved = _rotate(layer.keys[:, gone], place - layer.positions[gone], theta)
    return replace(
        kept,
        keys=torch.cat([keys, moved.mean(dim=1, keepdim=True)], dim=1),
        values=torch.cat([values, layer.values[:, gone].mean(dim=1, keepdim=True)], dim=1),
        positions=torch.cat([positions, place]),
    )


def _rotate(keys: Tensor, by: Tensor, theta: float) -> Tensor:
    """Turn rotated keys on by some positions (halves layout).

    Args:
        keys: ``(kv_heads, tokens, head_dim)``.
        by: ``(tokens,)`` positions.
        theta: Base of the frequencies.
    """
    half = keys.shape[-1] // 2
    frequencies = theta ** (-torch.arange(half, device=keys.device, dtype=torch.float64) / half)
    angle = by.double().unsqueeze(-1) * frequencies
    cos, sin = angle.cos().to(keys.dtype), angle.sin().to(keys.dtype)
    first, second = keys[..., :half], keys[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
