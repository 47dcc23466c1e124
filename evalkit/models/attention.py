"""Attention kernels: one for the CPU that never copies keys per head, one for several streams in a row."""

from __future__ import annotations

__all__ = ["GROUPED_SDPA", "STREAMS"]

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from evalkit.memory.cache import ManyStreams

GROUPED_SDPA = "evalkit_grouped_sdpa"
"""Name under which the kernel is registered with transformers."""
STREAMS = "evalkit_streams"
"""The same of the kernel that gives every stream of a row its own cache."""


def _grouped_sdpa(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend; a function for transformers' `AttentionInterface`.

    transformers' own ``sdpa`` repeats keys and values per query head where there is a mask. PyTorch's CPU kernel
    groups heads itself, and a single token's query heads can stand in one head's rows.

    Args:
        module: The attention layer.
        query: ``(batch, heads, new, head_dim)``.
        key: ``(batch, kv_heads, cached + new, head_dim)``.
        value: As ``key``.
        attention_mask: Additive, ``(1, 1, new, cached + new)``; ``None`` for a single token or an empty cache.
        scaling: Factor on the scores.
        **kwargs: What other kernels want.

    Returns:
        ``(batch, new, heads, head_dim)`` and nothing.
    """
    batch, heads, new, width = query.shape
    if new == 1 and attention_mask is None:
        rows = query.reshape(batch, key.shape[1], heads // key.shape[1], width)
        return F.scaled_dot_product_attention(rows, key, value, scale=scaling).reshape(
            batch, 1, heads, width
        ), None
    attended = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        scale=scaling,
        is_causal=attention_mask is None,
        enable_gqa=heads != key.shape[1],
    )
    return attended.transpose(1, 2).contiguous(), None


AttentionInterface.register(GROUPED_SDPA, _grouped_sdpa)
# A forward that leaves the mask to transformers gets sdpa's.
AttentionMaskInterface.register(GROUPED_SDPA, sdpa_mask)


def _each_stream(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: ManyStreams,
    value: ManyStreams,
    attention_mask: tuple[Callable[..., Any], list[torch.Tensor | None]],
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend in each stream to its own keys; a function for transformers' `AttentionInterface`.

    Args:
        module: The attention layer.
        query: New tokens of all streams, one stream behind the other, ``(1, heads, tokens, head_dim)``.
        key: Keys of each stream.
        value: Values of each stream.
        attention_mask: The kernel that attends in one stream, and each stream's mask as that kernel takes it.
        **kwargs: What that kernel wants.

    Returns:
        ``(1, tokens, heads, head_dim)`` and nothing.
    """
    kernel, masks = attention_mask
    parts = zip(query.split(key.new, dim=2), key, value, masks, strict=True)
    attended = [kernel(module, q.contiguous(), k, v, mask, **kwargs)[0] for q, k, v, mask in parts]
    return torch.cat(attended, dim=1), None


AttentionInterface.register(STREAMS, _each_stream)
