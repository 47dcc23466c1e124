"""An attention kernel for the CPU: query heads are grouped by key head, so that keys are never copied per head."""

from __future__ import annotations

__all__ = ["GROUPED_SDPA"]

from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

GROUPED_SDPA = "evalkit_grouped_sdpa"
"""Name under which the kernel is registered with transformers."""


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
