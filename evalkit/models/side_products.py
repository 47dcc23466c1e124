"""What a vision tower's last used layer leaves beside features: the attention each place receives, and mean keys.

Both come from the projections that the layer computes anyway, read on the way; the attention is computed once more
from them, block by block, so that any attention kernel serves and no map of all pairs is held.
"""

from __future__ import annotations

__all__ = ["received_attention", "watch_qwen_tower", "watch_siglip_layer"]

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision
from transformers.vision_utils import get_vision_window_index

from evalkit.compress.cacher import captured_outputs
from evalkit.compress.contract import SideProducts

_QUERIES = 256
"""Queries whose attention is computed at once."""


def received_attention(queries: Tensor, keys: Tensor, scale: float) -> Tensor:
    """Return the attention that each place receives, mean over heads and queries, float32 ``(batch, places)``.

    Args:
        queries: ``(batch, heads, places, head_dim)``, as the layer attends with them.
        keys: As ``queries``.
        scale: Of the product.
    """
    keys = keys.float().transpose(-1, -2)
    total = torch.zeros(keys.shape[0], keys.shape[-1], device=keys.device)
    for piece in queries.float().split(_QUERIES, dim=2):
        total += ((piece * scale) @ keys).softmax(dim=-1).sum(dim=(1, 2))
    return total / (queries.shape[1] * queries.shape[2])


@contextmanager
def watch_siglip_layer(
    attention: Any, pool: Callable[[Tensor], Tensor]
) -> Iterator[Callable[[Any], SideProducts]]:
    """Watch a SigLIP layer; see `evalkit.models.backbone.Backbone.watch_tower`.

    Args:
        attention: Its attention module.
        pool: Brings maps ``(frames, places, channels)`` to the grid of the features.
    """
    with captured_outputs(attention.q_proj, attention.k_proj) as caught:

        def side_products(packed: Any) -> SideProducts:
            queries, keys = (
                one.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2).float() for one in caught
            )
            received = received_attention(queries, keys, attention.scale)
            return SideProducts(pool(received.unsqueeze(-1)).squeeze(-1), pool(keys.mean(dim=1)))

        yield side_products


@contextmanager
def watch_qwen_tower(visual: Any) -> Iterator[Callable[[Any], SideProducts]]:
    """Watch the last layer of Qwen2-VL's or Qwen2.5-VL's tower; the patches of a merge group are averaged.

    Args:
        visual: The tower.
    """
    attention = visual.blocks[-1].attn
    given: dict[str, Any] = {}

    def keep(module: Any, inputs: Any, named: dict[str, Any]) -> None:
        given.update(named)

    handle = attention.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with captured_outputs(attention.qkv) as caught:
            yield lambda packed: _qwen_side_products(visual, caught[0], given, packed.grid)
    finally:
        handle.remove()


def _qwen_side_products(
    visual: Any, joint: Tensor, given: dict[str, Any], grid: tuple[int, int, int]
) -> SideProducts:
    """Return the side products of a layer.

    Args:
        visual: The tower.
        joint: ``(patches, 3 * dim)`` queries, keys and values, in the tower's own order.
        given: What the attention was called with.
        grid: ``(t, h, w)`` in tokens.
    """
    frames, height, width = grid
    unit = visual.spatial_merge_size**2
    queries, keys, _ = joint.float().unflatten(-1, (3, visual.blocks[-1].attn.num_heads, -1)).unbind(1)
    metric = keys.mean(dim=1)
    cos, sin = given["position_embeddings"]
    queries, keys = apply_rotary_pos_emb_vision(queries, keys, cos.float(), sin.float())
    received = torch.zeros(len(queries), device=joint.device)
    bounds = given["cu_seqlens"].tolist()
    for low, high in pairwise(bounds):
        span = (queries[low:high].transpose(0, 1)[None], keys[low:high].transpose(0, 1)[None])
        share = received_attention(*span, queries.shape[-1] ** -0.5)[0] * (high - low)
        received[low:high] = share / (height * width * unit)
    by_group = torch.cat([received.unsqueeze(-1), metric], dim=-1).unflatten(0, (-1, unit)).mean(dim=1)
    if hasattr(visual, "window_size"):
        patches = torch.tensor([[frames, height * visual.spatial_merge_size, width * visual.spatial_merge_size]])
        order, _ = get_vision_window_index(
            patches,
            spatial_merge_size=visual.spatial_merge_size,
            window_size=visual.window_size,
            patch_size=visual.patch_size,
        )
        by_group = by_group[torch.argsort(order).to(by_group.device)]
    by_group = by_group.view(frames, height * width, -1)
    return SideProducts(by_group[..., 0].contiguous(), by_group[..., 1:].contiguous())
