"""Attention in parts is attention at once: the windows of a picture, and new tokens behind a cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.bias import causal_lower_right
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from evalkit.models.attention import FLASH_WINDOWS, GROUPED_SDPA
from evalkit.models.load import LoadRequest, load_backbone

LENGTHS = {
    "alike": [4, 4, 4],
    "mixed": [6, 4, 6, 2, 4, 6],
    "one": [7],
    "an empty one": [3, 0, 5],
}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_windows_at_once_are_windows_one_by_one(lengths: list[int]) -> None:
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 3, sum(lengths), 8, generator=draw) for _ in range(3))
    bounds = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)
    kernel = ALL_ATTENTION_FUNCTIONS[FLASH_WINDOWS]
    wanted = torch.cat(
        [
            F.scaled_dot_product_attention(*parts, scale=0.3).transpose(1, 2)
            for parts in zip(*(one.split(lengths, dim=2) for one in (q, k, v)), strict=True)
        ],
        dim=1,
    )
    for _ in range(2):  # the second time places are known
        found, _ = kernel(None, q, k, v, None, scaling=0.3, cu_seq_lens_q=bounds)
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("cached", "new"), [(300, 40), (3, 40), (1, 2), (700, 2)])
def test_prefill_behind_a_cache_is_that_with_a_mask(cached: int, new: int, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    query = torch.randn(1, 4, new, 16, generator=draw)
    key, value = (torch.randn(1, 2, cached + new, 16, generator=draw) for _ in range(2))
    kernel, mask = ALL_ATTENTION_FUNCTIONS[GROUPED_SDPA], causal_lower_right(new, cached + new)
    found, _ = kernel(None, query.to(dtype), key.to(dtype), value.to(dtype), mask, scaling=0.25)
    seen = torch.ones(new, cached + new, dtype=torch.bool).tril_(cached)
    repeated = (one.repeat_interleave(2, dim=1) for one in (key, value))
    wanted = F.scaled_dot_product_attention(query, *repeated, attn_mask=seen, scale=0.25).transpose(1, 2)
    assert found.is_contiguous()
    torch.testing.assert_close(found.float(), wanted, atol=1e-5 if dtype == torch.float32 else 3e-2, rtol=1e-2)


def test_the_tower_of_qwen_attends_by_it_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = load_backbone(LoadRequest("tiny", device="cpu"))
    config = backbone.tower.config
    assert config._attn_implementation == FLASH_WINDOWS
    frames = np.random.default_rng(0).integers(0, 256, (4, 140, 196, 3), dtype=np.uint8)
    calls: list[int] = []
    known = ALL_ATTENTION_FUNCTIONS[FLASH_WINDOWS]
    monkeypatch.setitem(
        ALL_ATTENTION_FUNCTIONS._local_mapping,
        FLASH_WINDOWS,
        lambda *args, **kwargs: (calls.append(args[1].shape[2]), known(*args, **kwargs))[1],
    )
    with torch.inference_mode():
        found = backbone.encode(backbone.pack(frames))
        assert len(calls) == len(backbone.tower.blocks), "one call a layer"
        config._attn_implementation = "sdpa"
        wanted = backbone.encode(backbone.pack(frames))
    torch.testing.assert_close(found, wanted)
