"""What the vision towers leave beside features is what their last layer computes, on the grid of the features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn import functional as F
from transformers.vision_utils import get_vision_window_index

from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.side_products import received_attention

if TYPE_CHECKING:
    from evalkit.stream import Chunk

Seconds = Callable[..., Iterator["Chunk"]]


@torch.inference_mode()
def test_siglips_are_its_attention_and_keys_pooled_as_features_are(seconds: Seconds) -> None:
    llava = load_backbone(LoadRequest("tiny-llava", device="cpu"))
    (chunk,) = seconds(1, size=(384, 384))
    packed = llava.pack(chunk.frames)
    with llava.watch_tower() as watched:
        tokens = llava.encode(packed)
    side = watched(packed)
    assert torch.equal(tokens, llava.encode(packed)), "watching changes nothing"
    tower = llava.network.model.vision_tower
    tower.set_attn_implementation("eager")
    try:
        out = tower(packed.pixels, output_attentions=True, output_hidden_states=True)
    finally:
        tower.set_attn_implementation("sdpa")
    pool = llava.network.model.apply_pooling
    received = out.attentions[-1].mean(dim=1).mean(dim=1)
    torch.testing.assert_close(side.attention, pool(received[..., None])[..., 0], rtol=1e-4, atol=1e-7)
    layer = tower.encoder.layers[-1]
    keys = layer.self_attn.k_proj(layer.layer_norm1(out.hidden_states[-2]))
    metric = keys.unflatten(-1, (layer.self_attn.num_heads, -1)).mean(dim=2)
    torch.testing.assert_close(side.keys, pool(metric), rtol=1e-4, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("checkpoint_size", [(168, 140), (84, 56)], ids=["windows", "one-window"])
def test_qwens_are_those_of_its_merge_groups_in_raster_order(
    checkpoint_size: tuple[int, int], tiny: Any, seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    (chunk,) = seconds(1, fps=4, size=checkpoint_size)
    packed = tiny.pack(chunk.frames)
    frames, height, width = packed.grid
    assert frames == 2
    with tiny.watch_tower() as watched:
        tiny.encode(packed)
    side = watched(packed)
    calls: list[tuple[torch.Tensor, torch.Tensor]] = []
    attend = F.scaled_dot_product_attention

    def note(query: torch.Tensor, key: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:
        calls.append((query, key))
        return attend(query, key, *others, **named)

    monkeypatch.setattr(F, "scaled_dot_product_attention", note)
    monkeypatch.setattr(tiny.tower.config, "_attn_implementation", "sdpa")  # which attends window by window
    tiny.encode(packed)
    patches = torch.tensor([[frames, 2 * height, 2 * width]])
    order, _ = get_vision_window_index(patches, spatial_merge_size=2, window_size=112, patch_size=14)
    looks = []
    for query, key in calls[-frames:]:  # the last layer attends within whole grids
        weights = (query[0] @ key[0].transpose(1, 2) * query.shape[-1] ** -0.5).softmax(dim=-1)
        looks.append(weights.mean(dim=(0, 1)))
    by_group = torch.cat(looks).view(-1, 4).mean(dim=1)
    raster = torch.empty_like(by_group)
    raster[order] = by_group
    torch.testing.assert_close(side.attention.flatten(), raster, rtol=1e-4, atol=1e-7)
    assert side.keys.shape == (frames, height * width, 16)
    assert (order.diff() < 0).any() == (checkpoint_size == (168, 140))


def test_attention_received_sums_to_one_over_places() -> None:
    draw = torch.Generator().manual_seed(0)
    queries, keys = (torch.randn(2, 3, 300, 4, generator=draw) for _ in range(2))
    torch.testing.assert_close(received_attention(queries, keys, 0.5).sum(dim=1), torch.ones(2))
