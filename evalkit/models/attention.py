"""Attention kernels: one that never copies keys per head, one for several streams, one for a picture's windows."""

from __future__ import annotations

__all__ = ["FLASH_WINDOWS", "GROUPED_SDPA", "STREAMS"]

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention.bias import CausalBias
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from evalkit.memory.blocks import attend, merge_parts
from evalkit.memory.cache import ManyStreams

GROUPED_SDPA = "evalkit_grouped_sdpa"
"""Name under which the kernel is registered with transformers."""
STREAMS = "evalkit_streams"
"""The same of the kernel that gives every stream of a row its own cache."""
FLASH_WINDOWS = "evalkit_flash_windows"
"""The same of the kernel for a vision tower's windows. transformers gives bounds, instead of windows one by one,
to a kernel that has ``flash`` in its name."""


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
    groups heads itself, flash attention does too, and a single token's query heads can stand in one head's rows.

    Args:
        module: The attention layer.
        query: ``(batch, heads, new, head_dim)``.
        key: ``(batch, kv_heads, cached + new, head_dim)``.
        value: As ``key``.
        attention_mask: Additive, ``(1, 1, new, cached + new)``, or PyTorch's ``CausalBias``, then with a batch of
            one; ``None`` for a single token or an empty cache.
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
    if isinstance(attention_mask, CausalBias) and query.device.type == "cpu" and scaling in (None, width**-0.5):
        return _behind(key.shape[2] - new, query[0], key[0], value[0]).transpose(0, 1).contiguous()[None], None
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


def _behind(cached: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attend from new tokens to all cached ones and to the new ones before them, ``(heads, new, head_dim)``.

    Two parts under one softmax: the CPU kernel needs a mask for the second alone, where a mask over both would be
    written and read for every cached token.
    """
    new = query.shape[1]
    later = torch.full((new, new), -torch.inf, dtype=query.dtype).triu_(1)
    before = attend(query, key[:, :cached], value[:, :cached])
    return merge_parts(before, attend(query, key[:, cached:], value[:, cached:], later))


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


_PLACES = WeakTensorKeyDictionary()
"""By the bounds of windows, which all layers share: see `_windows`."""


def _windows(bounds: torch.Tensor) -> list[tuple[int, torch.Tensor | None]]:
    """Return lengths of windows and the places of their patches; ``None`` for all places as they come.

    Args:
        bounds: Where windows begin and the last ends, ``(windows + 1,)``.
    """
    known: list[tuple[int, torch.Tensor | None]] | None = _PLACES.get(bounds)
    if known is None:
        begins: dict[int, list[int]] = {}
        for start, stop in pairwise(bounds.tolist()):
            begins.setdefault(stop - start, []).append(start)
        begins.pop(0, None)
        known = [
            (length, None if len(begins) == 1 else _places(starts, length).to(bounds.device))
            for length, starts in begins.items()
        ]
        _PLACES[bounds] = known
    return known


def _places(starts: list[int], length: int) -> torch.Tensor:
    return (torch.tensor(starts)[:, None] + torch.arange(length)).flatten()


def _flash_windows(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within windows, all of one length at once; a function for transformers' `AttentionInterface`.

    transformers' own ``sdpa`` takes window after window: dozens of small calls a layer.

    Args:
        module: The attention layer.
        query: Patches, window behind window, ``(1, heads, patches, head_dim)``.
        key: As ``query``.
        value: As ``query``.
        attention_mask: None: every patch sees its whole window.
        scaling: Factor on the scores.
        cu_seq_lens_q: Where windows begin and the last ends, ``(windows + 1,)``; ``None`` for one window.
        **kwargs: What other kernels want.

    Returns:
        ``(1, patches, heads, head_dim)`` and nothing.
    """
    if cu_seq_lens_q is None:
        return F.scaled_dot_product_attention(query, key, value, scale=scaling).transpose(1, 2), None
    out = torch.empty_like(query[0].transpose(0, 1))
    for length, places in _windows(cu_seq_lens_q):
        q, k, v = (
            (one if places is None else one.index_select(1, places)).unflatten(1, (-1, length)).transpose(0, 1)
            for one in (query[0], key[0], value[0])
        )
        attended = F.scaled_dot_product_attention(q, k, v, scale=scaling).transpose(1, 2).flatten(0, 1)
        if places is None:
            return attended[None], None
        out.index_copy_(0, places, attended)
    return out[None], None


AttentionInterface.register(FLASH_WINDOWS, _flash_windows)
