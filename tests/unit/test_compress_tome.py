"""ToMe inside a SigLIP tower: the rule layer by layer, what is restored, and what is left where nothing is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import SiglipVisionConfig, SiglipVisionModel

from evalkit.compress import parse_compression
from evalkit.compress.hosts import merge_inside
from evalkit.compress.settings import ToMeSettings
from evalkit.compress.tome import match, merge, unmerge, weighted_attention
from evalkit.errors import UsageError

LAYERS, TOKENS = 4, 49


@pytest.fixture(scope="module")
def tower() -> SiglipVisionModel:
    torch.manual_seed(0)
    config = SiglipVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=LAYERS, num_attention_heads=4, image_size=98,
        patch_size=14, vision_use_head=False,
    )  # fmt: skip
    model = SiglipVisionModel(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randn(3, 3, 98, 98, generator=torch.Generator().manual_seed(1))


def plain(tower: Any, hidden: Tensor, plan: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return hidden states, representative places and the restored states by the rule written out."""
    frames, tokens, _ = hidden.shape
    size: Tensor | None = None
    places = torch.arange(tokens).expand(frames, -1)
    steps = []
    for layer, r in zip(tower.encoder.layers, plan, strict=True):
        attn, x = layer.self_attn, layer.layer_norm1(hidden)
        q, k, v = (
            p(x).unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
            for p in (attn.q_proj, attn.k_proj, attn.v_proj)
        )
        weights = weighted_attention(q @ k.transpose(-1, -2) * attn.scale, size)
        hidden = hidden + attn.out_proj((weights @ v).transpose(1, 2).flatten(2))
        step = match(k.mean(dim=1), r)
        if step is not None:
            size = torch.ones_like(hidden[..., :1]) if size is None else size
            hidden = merge(hidden * size, step) / merge(size, step)
            size = merge(size, step)
            places = places.gather(1, step.order)
            steps.append(step)
        hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
    whole = hidden
    for step in reversed(steps):
        whole = unmerge(whole, step)
    return hidden, places, whole


@torch.no_grad()
@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("tome(r=6)", [6, 6, 6, 6]),
        ("tome(r=6,inflection=-1)", [12, 8, 4, 0]),
        ("tome(keep=15)", [9, 9, 8, 8]),
    ],
)
def test_it_merges_by_the_rule_layer_by_layer(text: str, plan: list[int], tower: Any, pixels: Tensor) -> None:
    (part,) = parse_compression(text.replace(")", ",restore=false)")).parts
    merged = part.kind.build(tower, part.settings).encode(pixels, None)
    hidden, places, whole = plain(tower, tower.embeddings(pixels), plan)
    order = places.argsort(dim=-1)
    assert torch.equal(merged.places, places.gather(1, order))
    torch.testing.assert_close(merged.features, hidden.gather(1, order[..., None].expand_as(hidden)))
    assert merged.features.shape[1] == TOKENS - sum(plan)
    assert merged.report.tokens_out / merged.report.tokens_in == merged.report.claimed_share
    (part,) = parse_compression(text).parts
    restored = part.kind.build(tower, part.settings).encode(pixels, None)
    torch.testing.assert_close(restored.features, whole)
    assert restored.places is None
    left = [TOKENS - sum(plan[: layer + 1]) for layer in range(LAYERS)]
    assert restored.report.reused_share == restored.report.claimed_share
    assert restored.report.reused_share == pytest.approx(1 - sum(left) / (LAYERS * TOKENS))


@torch.no_grad()
@pytest.mark.parametrize("restore", [True, False])
def test_merging_nothing_is_the_tower_itself_bit_for_bit(restore: bool, tower: Any, pixels: Tensor) -> None:
    encoded = merge_inside(tower, ToMeSettings(r=0, restore=restore)).encode(pixels, None)  # type: ignore[arg-type]
    assert torch.equal(encoded.features, tower.encoder(inputs_embeds=tower.embeddings(pixels)).last_hidden_state)
    assert encoded.places is None


@torch.no_grad()
def test_frames_are_merged_each_by_itself(tower: Any, pixels: Tensor) -> None:
    host = merge_inside(tower, ToMeSettings(keep=20, restore=False))
    together = host.encode(pixels, host.new_state())
    for number in range(len(pixels)):
        alone = host.encode(pixels[number : number + 1], host.new_state())
        assert together.places is not None
        assert alone.places is not None
        assert torch.equal(alone.places[0], together.places[number])
        torch.testing.assert_close(alone.features[0], together.features[number])


def test_another_tower_is_refused_in_one_line() -> None:
    with pytest.raises(
        UsageError, match=r"tome merges inside SigLIP towers .* not inside Linear: choose visionzip"
    ):
        merge_inside(torch.nn.Linear(2, 2), ToMeSettings())
