"""STC-Cacher on both hosts: identities, schedules, forced references and what is reported."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
    apply_rotary_pos_emb_vision,
)

from evalkit.compress import CacherSettings, QwenVisionCacher, SiglipCacher, compare_encoding, wrap_vision_tower
from evalkit.errors import UsageError

GRID = (12, 8)


def lively(module: nn.Module, seed: int = 0) -> Any:
    """Weights large enough that every layer matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                scale = parameter[0].numel() ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            else:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def siglip(attention: str = "sdpa") -> SiglipVisionModel:
    config = SiglipVisionConfig(
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=56,
        patch_size=14,
        vision_use_head=False,
        attn_implementation=attention,
    )
    return lively(SiglipVisionModel(config))


def qwen(attention: str = "sdpa") -> Qwen2_5_VisionTransformerPretrainedModel:
    config = Qwen2_5_VLVisionConfig(
        depth=3,
        hidden_size=32,
        intermediate_size=56,
        num_heads=2,
        out_hidden_size=40,
        fullatt_block_indexes=[1],
        window_size=56,
        attn_implementation=attention,
    )
    return lively(Qwen2_5_VisionTransformerPretrainedModel(config))


def pictures(frames: int, side: int = 56, seed: int = 1) -> Tensor:
    noise = torch.randn((frames, 3, side, side), generator=torch.Generator().manual_seed(seed))
    return noise.mul_(0.4).cumsum(0)


def parts(stream: Tensor, size: int = 1) -> list[Tensor]:
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def patches(grids: int, size: tuple[int, int] = GRID, seed: int = 1) -> tuple[Tensor, Tensor]:
    rows, columns = size
    noise = torch.randn((grids, rows * columns, 1176), generator=torch.Generator().manual_seed(seed))
    return noise.mul_(0.4).cumsum(0).flatten(0, 1), torch.tensor([[grids, rows, columns]])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("variant", ["stc-code", "stc-paper"])
def test_siglip_with_nothing_reused_equals_the_tower_bit_for_bit(attention: str, variant: Any) -> None:
    tower = siglip(attention)
    cacher = SiglipCacher(tower, CacherSettings(interval=2, reuse=0.0, variant=variant))
    state = cacher.new_state()
    for chunk in parts(pictures(6), 2):
        encoded = cacher.encode(chunk, state)
        with torch.no_grad():
            seen = tower(chunk, output_hidden_states=True).hidden_states[-1]
        assert torch.equal(encoded.features, seen)
        assert encoded.report.reused_share == 0.0
        assert encoded.report.claimed_share == 0.0


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("variant", ["stc-code", "stc-paper"])
def test_qwen_with_nothing_reused_equals_the_tower_bit_for_bit(attention: str, variant: Any) -> None:
    tower = qwen(attention)
    cacher = QwenVisionCacher(tower, CacherSettings(interval=2, reuse=0.0, variant=variant))
    state = cacher.new_state()
    for seed in range(3):
        pixels, grid = patches(2, seed=seed)
        with torch.no_grad():
            seen = tower(pixels, grid_thw=grid).pooler_output
        assert torch.equal(cacher.encode(pixels, grid, state).features, seen)


@pytest.mark.parametrize("host", ["siglip", "qwen"])
def test_a_reference_frame_equals_the_tower_bit_for_bit(host: str) -> None:
    settings = CacherSettings(interval=3, reuse=0.75)
    if host == "siglip":
        cacher: Any = SiglipCacher(siglip(), settings)
        chunks: list[Any] = [(frame,) for frame in parts(pictures(7))]
    else:
        cacher = QwenVisionCacher(qwen(), settings)
        chunks = [patches(1, seed=s) for s in range(7)]
    state = cacher.new_state()
    for index, inputs in enumerate(chunks):
        encoded = cacher.encode(*inputs, state)
        full = cacher.encode_full(*inputs)
        assert torch.equal(encoded.features, full.reshape(encoded.features.shape)) is (index % 3 == 0)
        assert encoded.report.reference_frames == int(index % 3 == 0)
        assert encoded.report.reused_share == (0.0 if index % 3 == 0 else 0.75)
        assert encoded.report.claimed_share == (0.0 if index % 3 == 0 else 0.75)


@pytest.mark.parametrize("host", ["siglip", "qwen"])
def test_pure_reuse_adds_the_references_updates_to_the_new_embeddings(host: str) -> None:
    settings = CacherSettings(interval=4, reuse=1.0, variant="stc-paper")
    if host == "siglip":
        cacher: Any = SiglipCacher(siglip(), settings)
        state = cacher.new_state()
        first, second = parts(pictures(2))
        reference = cacher.encode(first, state).features
        tower = cacher.vision_model
        with torch.no_grad():
            expected = tower.embeddings(second) + reference - tower.embeddings(first)
        encoded = cacher.encode(second, state)
        torch.testing.assert_close(encoded.features, expected, rtol=1e-4, atol=1e-4)
    else:
        cacher = QwenVisionCacher(qwen(), settings)
        state = cacher.new_state()
        pixels, grid = patches(1)
        reference = cacher.encode(pixels, grid, state).features
        encoded = cacher.encode(pixels, grid, state)
        torch.testing.assert_close(encoded.features, reference, rtol=1e-4, atol=1e-4)
    assert encoded.report.reused_share == 1.0


def test_the_released_variant_recomputes_at_least_one_token() -> None:
    assert CacherSettings(reuse=1.0, variant="stc-code").recomputed(16) == 1
    assert CacherSettings(reuse=1.0, variant="stc-paper").recomputed(16) == 0


def test_the_recomputed_count_is_the_one_of_the_written_decimal() -> None:
    assert CacherSettings(reuse=0.75).recomputed(729) == 182
    assert CacherSettings(reuse=0.9).recomputed(10) == 1
    assert CacherSettings(reuse=0.9, variant="stc-paper").recomputed(10) == 1
    for recompute in (0.1, 0.15, 0.25, 0.29, 0.3, 0.5, 0.7):
        settings = CacherSettings.from_recompute(2, recompute)
        assert [settings.recomputed(n) for n in (64, 100, 729)] == [int(n * recompute) for n in (64, 100, 729)]


def segment_ids(bounds: Tensor) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(bounds) - 1), bounds.diff())


class DenseOracle:
    """The same method, slowly: everything computed, attention by one dense mask, results mixed afterwards."""

    def __init__(self, tower: Any) -> None:
        self.tower = tower
        self.entered: list[tuple[Tensor, dict[str, Any]]] = []

    def layouts(self, pixels: Tensor, grid: Tensor) -> list[tuple[Tensor, dict[str, Any]]]:
        seen: list[tuple[Tensor, dict[str, Any]]] = []
        hooks = [
            block.register_forward_pre_hook(lambda m, a, k: seen.append((a[0], k)), with_kwargs=True)
            for block in self.tower.blocks
        ]
        self.tower(pixels, grid_thw=grid)
        for hook in hooks:
            hook.remove()
        return seen

    def encode(
        self, pixels: Tensor, grid: Tensor, count: int | None, memory: list[dict[str, Tensor]]
    ) -> tuple[Tensor, list[dict[str, Tensor]]]:
        layouts = self.layouts(pixels, grid)
        hidden, left = layouts[0][0], []
        for index, (block, (_, kwargs)) in enumerate(zip(self.tower.blocks, layouts, strict=True)):
            ids = segment_ids(kwargs["cu_seqlens"])
            mask = ids[:, None] == ids[None, :]
            qkv = block.attn.qkv(block.norm1(hidden)).view(len(ids), 3, block.attn.num_heads, -1)
            q, k, v = qkv.unbind(1)
            fresh = torch.ones(len(ids), dtype=torch.bool)
            if count is not None:
                old = memory[index]
                cosine = torch.cosine_similarity(k.flatten(1), old["k"].flatten(1), dim=-1)
                groups = cosine.view(-1, 4).mean(-1).argsort()[:count]
                fresh = torch.zeros(len(ids) // 4, 4, dtype=torch.bool)
                fresh[groups] = True
                fresh = fresh.flatten()
                v = torch.where(fresh[:, None, None], v, old["v"])
            turned = apply_rotary_pos_emb_vision(q, k, *kwargs["position_embeddings"])
            weights = torch.einsum("qhd,khd->hqk", *turned) * block.attn.scaling
            weights = weights.masked_fill(~mask, float("-inf")).softmax(-1)
            attention = block.attn.proj(torch.einsum("hqk,khd->qhd", weights, v).flatten(1))
            if count is not None:
                attention = torch.where(fresh[:, None], attention, old["a"])
            hidden = hidden + attention
            mlp = block.mlp(block.norm2(hidden))
            if count is not None:
                mlp = torch.where(fresh[:, None], mlp, old["m"])
            hidden = hidden + mlp
            left.append({"k": k, "v": v, "a": attention, "m": mlp})
        order = layouts_order(self.tower, grid)
        return self.tower.merger(hidden)[order.argsort()], left


def layouts_order(tower: Any, grid: Tensor) -> Tensor:
    from transformers.vision_utils import get_vision_window_index

    order: Tensor = get_vision_window_index(grid, 2, tower.window_size, tower.patch_size)[0]
    return order


@torch.no_grad()
def test_qwen_equals_a_dense_masked_computation_of_the_same_method() -> None:
    tower = qwen()
    cacher = QwenVisionCacher(tower, CacherSettings(interval=4, reuse=0.75))
    state, oracle, memory = cacher.new_state(), DenseOracle(tower), list[dict[str, Tensor]]()
    stream, _ = patches(5)
    grid = torch.tensor([[1, *GRID]])
    for index, pixels in enumerate(parts(stream, GRID[0] * GRID[1])):
        count = None if index % 4 == 0 else cacher.settings.recomputed(24)
        expected, left = oracle.encode(pixels, grid, count, memory)
        memory = left if count is None else memory
        got = cacher.encode(pixels, grid, state)
        torch.testing.assert_close(got.features, expected, rtol=2e-4, atol=2e-5)


def test_frames_encoded_together_equal_frames_encoded_one_by_one_between_references() -> None:
    tower = siglip()
    frames = pictures(4)
    settings = CacherSettings(interval=4, reuse=0.75, variant="stc-paper")
    cacher = SiglipCacher(tower, settings)
    together = cacher.encode(frames, cacher.new_state())
    state = cacher.new_state()
    one_by_one = torch.cat([cacher.encode(frame, state).features for frame in parts(frames)])
    torch.testing.assert_close(together.features, one_by_one, rtol=1e-4, atol=1e-5)
    assert together.report.reference_frames == 1
    assert together.report.reused_share == pytest.approx(0.75 * 3 / 4)
    assert together.report.claimed_share == pytest.approx(0.75 * 3 / 4)


@torch.no_grad()
def test_qwen_grids_encoded_together_equal_grids_encoded_one_by_one() -> None:
    cacher = QwenVisionCacher(qwen(), CacherSettings(interval=3, reuse=0.75, variant="stc-paper"))
    pixels, grid = patches(5)
    together = cacher.encode(pixels, grid, cacher.new_state())
    state, one = cacher.new_state(), torch.tensor([[1, *GRID]])
    apart = [cacher.encode(p, one, state).features for p in parts(pixels, GRID[0] * GRID[1])]
    torch.testing.assert_close(together.features, torch.cat(apart), rtol=2e-4, atol=2e-5)
    assert together.report.reference_frames == 2


def test_the_last_frame_of_a_chunk_is_the_released_reference() -> None:
    tower = siglip()
    pairs = SiglipCacher(tower, CacherSettings(interval=2, reuse=0.75, chunk=2))
    singles = SiglipCacher(tower, CacherSettings(interval=2, reuse=0.75))
    a, b, c = parts(pictures(3))
    pair, alone = pairs.new_state(), singles.new_state()
    report = pairs.encode(torch.cat([a, b]), pair).report
    singles.encode(b, alone)
    torch.testing.assert_close(
        pairs.encode(c, pair).features, singles.encode(c, alone).features, rtol=1e-4, atol=1e-5
    )
    assert report.reference_frames == 2


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_how_frames_are_batched_into_calls_changes_nothing(chunk: int) -> None:
    cacher = SiglipCacher(siglip(), CacherSettings(interval=2, reuse=0.75, chunk=chunk))
    frames = pictures(7)
    together = cacher.encode(frames, cacher.new_state())
    state = cacher.new_state()
    apart = [cacher.encode(frame, state) for frame in parts(frames)]
    torch.testing.assert_close(
        together.features, torch.cat([encoded.features for encoded in apart]), rtol=1e-4, atol=1e-5
    )
    assert together.report.reference_frames == sum(encoded.report.reference_frames for encoded in apart)


@pytest.mark.parametrize("taken", [1, 4])
def test_a_restored_state_goes_on_bit_for_bit(taken: int) -> None:
    cacher = SiglipCacher(siglip(), CacherSettings(interval=3, reuse=0.75))
    frames = parts(pictures(6))
    state = cacher.new_state()
    for frame in frames[:taken]:
        cacher.encode(frame, state)
    tensors, plain = state.snapshot()
    again = cacher.new_state()
    again.restore({name: tensor.clone() for name, tensor in tensors.items()}, json.loads(json.dumps(plain)))
    for frame in frames[taken:]:
        assert torch.equal(cacher.encode(frame, again).features, cacher.encode(frame, state).features)


def test_a_stream_shorter_than_the_interval_has_one_reference() -> None:
    cacher = SiglipCacher(siglip(), CacherSettings(interval=8, reuse=0.75))
    state = cacher.new_state()
    reports = [cacher.encode(frame, state).report for frame in parts(pictures(3))]
    assert [report.reference_frames for report in reports] == [1, 0, 0]


def test_a_new_size_forces_a_reference_and_says_so_on_siglip() -> None:
    cacher = SiglipCacher(siglip(), CacherSettings(interval=8, reuse=0.75))
    state = cacher.new_state()
    cacher.encode(pictures(1), state)
    cacher.encode(pictures(1, seed=2), state)
    wider = pictures(2, side=84)
    forced = cacher.encode(wider[:1], state)
    assert torch.equal(forced.features, cacher.encode_full(wider[:1]))
    assert forced.features.shape[1] == 36
    assert forced.report.reference_frames == 1
    assert forced.report.claimed_share is None
    assert "56x56" in forced.report.note
    assert "84x84" in forced.report.note
    assert cacher.encode(wider[1:], state).report.reused_share == 0.75


@pytest.mark.parametrize(("variant", "chunk"), [("stc-code", 1), ("stc-code", 2), ("stc-paper", None)])
def test_a_new_size_forces_a_reference_and_says_so_on_qwen(variant: Any, chunk: int | None) -> None:
    cacher = QwenVisionCacher(qwen(), CacherSettings(interval=8, reuse=0.75, variant=variant, chunk=chunk))
    state = cacher.new_state()
    cacher.encode(*patches(chunk or 1), state)
    turned = (GRID[1], GRID[0])  # As many patches, another shape.
    forced = cacher.encode(*patches(2, turned), state).report
    assert forced.reference_frames == (chunk or 1)
    assert forced.claimed_share is None
    assert "12x8 patches" in forced.note
    assert "8x12 patches" in forced.note
    assert cacher.encode(*patches(1, turned), state).report.claimed_share == 0.75


def test_a_share_few_tokens_cannot_give_is_reported_not_claimed() -> None:
    cacher = QwenVisionCacher(qwen(), CacherSettings(interval=4, reuse=0.75))
    state = cacher.new_state()
    cacher.encode(*patches(1, (4, 6)), state)
    report = cacher.encode(*patches(1, (4, 6)), state).report
    assert report.reused_share == pytest.approx(5 / 6)
    assert report.claimed_share is None
    assert "6 tokens" in report.note


def test_a_scene_cut_keeps_the_share_and_shows_in_the_error() -> None:
    cacher = SiglipCacher(siglip(), CacherSettings(interval=4, reuse=0.75))
    still = pictures(1)
    cut = pictures(1, seed=9)
    result = compare_encoding(cacher, [(still,), (still + 0.01,), (cut * 3,)], repeats=1)
    calm, broken = result.chunks[1:]
    assert calm.reused_share == broken.reused_share == 0.75
    assert broken.relative_error > 5 * calm.relative_error


def test_reset_starts_a_new_stream() -> None:
    cacher = SiglipCacher(siglip(), CacherSettings(interval=4, reuse=0.75))
    state = cacher.new_state()
    for frame in parts(pictures(2)):
        cacher.encode(frame, state)
    assert state.bytes_held() == 3 * 3 * 16 * 48 * 4
    state.reset()
    assert state == cacher.new_state()
    assert cacher.encode(pictures(1, seed=5), state).report.reference_frames == 1


def test_the_tower_is_left_without_hooks() -> None:
    tower = siglip()
    cacher = SiglipCacher(tower, CacherSettings())
    cacher.encode(pictures(1), cacher.new_state())
    assert not any(module._forward_hooks for module in tower.modules())


def test_half_precision_stays_near_the_float_result() -> None:
    pixels = pictures(2)
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        cacher = SiglipCacher(siglip().to(dtype), CacherSettings(interval=4, reuse=0.5))
        state = cacher.new_state()
        results.append([cacher.encode(frame.to(dtype), state).features.float() for frame in parts(pixels)][-1])
    assert (results[0] - results[1]).norm() / results[0].norm() < 0.1


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval": 0},
        {"interval": 2.5},
        {"interval": True},
        {"chunk": 0},
        {"chunk": 2, "variant": "stc-paper"},
        {"reuse": -0.1},
        {"reuse": 1.5},
        {"reuse": float("nan")},
        {"reuse": "most"},
        {"variant": "stc"},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        CacherSettings(**wrong)


def test_no_frames_and_several_videos_are_refused() -> None:
    cacher = SiglipCacher(siglip(), CacherSettings())
    with pytest.raises(UsageError, match="frames"):
        cacher.encode(pictures(1)[:0], cacher.new_state())
    with pytest.raises(UsageError, match="frames"):
        cacher.encode(pictures(1)[0], cacher.new_state())
    tower = QwenVisionCacher(qwen(), CacherSettings())
    pixels, grid = patches(2)
    with pytest.raises(UsageError, match="one video"):
        tower.encode(pixels, grid.repeat(2, 1), tower.new_state())
    with pytest.raises(UsageError, match="do not fill"):
        tower.encode(pixels[:-1], grid, tower.new_state())


def test_a_host_without_a_wrapped_encoder_is_refused_by_name() -> None:
    assert isinstance(wrap_vision_tower(siglip(), CacherSettings()), SiglipCacher)
    assert isinstance(wrap_vision_tower(qwen(), CacherSettings()), QwenVisionCacher)
    with pytest.raises(UsageError, match="not Linear"):
        wrap_vision_tower(nn.Linear(2, 2), CacherSettings())


def test_quantised_projections_are_refused() -> None:
    tower = qwen()
    tower.blocks[0].attn.qkv = nn.Identity()
    with pytest.raises(UsageError, match="unquantised"):
        QwenVisionCacher(tower, CacherSettings())


def test_a_comparison_times_both_ways_in_turns_with_the_given_clock() -> None:
    ticks = iter(range(1000))
    cacher = SiglipCacher(siglip(), CacherSettings(interval=2, reuse=0.75))
    result = compare_encoding(cacher, [(f,) for f in parts(pictures(4))], 2, clock=lambda: float(next(ticks)))
    assert [chunk.reference_frames for chunk in result.chunks] == [1, 0, 1, 0]
    assert [chunk.relative_error == 0.0 for chunk in result.chunks] == [True, False, True, False]
    assert result.saved == 0.0  # Every timed call took one tick of this clock.
    assert result.between_references == 1.0
    assert result.reused_share == pytest.approx(0.375)
    with pytest.raises(UsageError, match="at least one"):
        compare_encoding(cacher, [])
