"""STC-Cacher around Qwen2.5-VL's vision tower: window and full attention, rotary positions, 2x2 merge."""

from __future__ import annotations

__all__ = ["QwenVisionCacher"]

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
    rotate_half,
)
from transformers.vision_utils import (
    get_vision_attention_seqlens,
    get_vision_position_ids,
    get_vision_window_index,
)

from evalkit.compress.cacher import (
    CacherState,
    EncodedFrames,
    LayerReference,
    captured_outputs,
    encode_stream_chunk,
    flat_rows,
    key_similarity,
    least_similar,
    settle_residuals,
    unit_keys,
)
from evalkit.compress.settings import CacherSettings, Segment
from evalkit.errors import UsageError


class QwenVisionCacher:
    """STC-Cacher around the vision tower of Qwen2.5-VL.

    A frame is one temporal grid (two pictures); grids never attend to each other, so the tower sees them as
    SigLIP sees frames. Tokens are chosen by merge group (2x2 patches, one token of the language model): the
    merger mixes the four patches, so a group is fresh or reused as a whole, its rows lie side by side, and
    the reused share counts the tokens the language model will see. A group's similarity is the mean cosine of
    its patches. Keys are compared before the rotary embedding: the rotation at a position is the same in both
    frames and leaves the cosine as it is.

    Args:
        visual: The tower, in eval mode; it is run through its own sub-modules and left unchanged.
        settings: Interval, share and variant.

    Raises:
        UsageError: A block's fused projection cannot be split (quantised or wrapped weights).
    """

    def __init__(self, visual: Qwen2_5_VisionTransformerPretrainedModel, settings: CacherSettings) -> None:
        for block in visual.blocks:
            weight = getattr(block.attn.qkv, "weight", None)
            if not isinstance(weight, Tensor) or not weight.is_floating_point():
                raise UsageError(
                    "the cacher splits the tower's qkv projection, which needs plain floating-point weights; "
                    "load the vision tower unquantised"
                )
        self.visual = visual
        self.settings = settings

    def new_state(self) -> CacherState:
        """Return the empty state of a new stream."""
        return CacherState()

    @torch.no_grad()
    def encode_full(self, pixel_values: Tensor, grid_thw: Tensor) -> Tensor:
        """Encode without the cacher; arguments and result as in `encode`."""
        return self.visual(pixel_values, grid_thw=grid_thw).pooler_output

    @torch.no_grad()
    def encode(self, pixel_values: Tensor, grid_thw: Tensor, state: CacherState) -> EncodedFrames:
        """Encode the next temporal grids of a stream.

        Args:
            pixel_values: Packed patches ``(grids * height * width, channels * 2 * 14 * 14)``.
            grid_thw: ``(1, 3)``: temporal grids, rows and columns of patches.
            state: The session's state; changed in place.

        Returns:
            Features ``(grids * height * width / 4, out_hidden)``, merged, in raster order.

        Raises:
            UsageError: Several videos in one call, or patches that do not fill the grid.
        """
        grids, rows, columns = _single_grid(pixel_values, grid_thw)
        run = _QwenRun(self.visual, pixel_values, (grids, rows, columns))
        return encode_stream_chunk(run, self.settings, state)


def _single_grid(pixel_values: Tensor, grid_thw: Tensor) -> tuple[int, int, int]:
    if tuple(grid_thw.shape) != (1, 3):
        raise UsageError(f"the cacher takes one video a call: grid_thw (1, 3), not {tuple(grid_thw.shape)}")
    grids, rows, columns = (int(n) for n in grid_thw[0].tolist())
    if grids < 1 or pixel_values.shape[0] != grids * rows * columns:
        raise UsageError(f"{pixel_values.shape[0]} patches do not fill a grid of {grids}x{rows}x{columns}")
    return grids, rows, columns


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the patches of some grids stand inside the tower.

    Args:
        order: Merge groups in window order.
        cos: Rotary cosines in window order, ``(patches, head_dim)``.
        sin: Rotary sines in window order.
        whole: Cumulative patch counts of the grids (full attention).
        windows: Cumulative patch counts of the windows.
    """

    order: Tensor
    cos: Tensor
    sin: Tensor
    whole: Tensor
    windows: Tensor


def _layout(visual: Any, grid_thw: Tensor, like: Tensor) -> _Layout:
    unit = visual.spatial_merge_unit
    positions = get_vision_position_ids(grid_thw, visual.spatial_merge_size)
    whole, _ = get_vision_attention_seqlens(grid_thw, visual.config)
    order, windows = get_vision_window_index(
        grid_thw,
        spatial_merge_size=visual.spatial_merge_size,
        window_size=visual.window_size,
        patch_size=visual.patch_size,
    )
    rotary = visual.rotary_pos_emb
    # transformers up to 5.16 returns angles of half a head here, later versions the finished cosines and sines.
    if len(inspect.signature(rotary.forward).parameters) > 1:
        cos, sin = rotary(like, positions)
    else:
        angles = rotary(positions)
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos(), angles.sin()
    return _Layout(order, _by_window(cos, order, unit), _by_window(sin, order, unit), whole, windows)


def _by_window(rows: Tensor, order: Tensor, unit: int) -> Tensor:
    width = rows.shape[-1]
    return rows.reshape(-1, unit, width)[order.to(rows.device)].reshape(-1, width)


class _QwenRun:
    def __init__(self, visual: Any, pixel_values: Tensor, grid: tuple[int, int, int]) -> None:
        self._visual = visual
        self._pixels = pixel_values
        self.frames, self._rows, self._columns = grid
        self._patches = self._rows * self._columns
        self.tokens = self._patches // visual.spatial_merge_unit
        self.layers = len(visual.blocks)
        place = (str(pixel_values.dtype), str(pixel_values.device))
        self.signature: tuple[object, ...] = (f"{self._rows}x{self._columns} patches", *place)

    def _enter(self, segment: Segment) -> tuple[Tensor, _Layout]:
        pixels = self._pixels[segment.start * self._patches : segment.stop * self._patches]
        grid = torch.tensor([[segment.stop - segment.start, self._rows, self._columns]], device=pixels.device)
        hidden = self._visual.patch_embed(pixels)
        layout = _layout(self._visual, grid, hidden)
        return _by_window(hidden, layout.order, self._visual.spatial_merge_unit), layout

    def _leave(self, hidden: Tensor, layout: _Layout) -> Tensor:
        merged: Tensor = self._visual.merger(hidden)
        return merged[torch.argsort(layout.order).to(merged.device), :]

    def _spans(self, index: int, layout: _Layout) -> Tensor:
        return layout.whole if index in self._visual.fullatt_block_indexes else layout.windows

    def full(self, segment: Segment, keep: list[LayerReference] | None) -> Tensor:
        hidden, layout = self._enter(segment)
        for index, block in enumerate(self._visual.blocks):
            with captured_outputs(block.attn.qkv) as caught:
                attention = block.attn(
                    block.norm1(hidden),
                    cu_seqlens=self._spans(index, layout),
                    position_embeddings=(layout.cos, layout.sin),
                )
            hidden = hidden + attention
            mlp = block.mlp(block.norm2(hidden))
            hidden = hidden + mlp
            if keep is not None:
                last = slice(-self._patches, None)
                _, keys, values = caught[0][last].chunk(3, dim=-1)
                keep.append(LayerReference(unit_keys(keys), values.clone(), attention[last] + mlp[last]))
        return self._leave(hidden, layout)

    def partial(self, segment: Segment, layers: list[LayerReference], count: int) -> tuple[Tensor, int]:
        flat, layout = self._enter(segment)
        hidden = flat.view(-1, self._patches, flat.shape[-1])
        computed = 0
        for index, (block, reference) in enumerate(zip(self._visual.blocks, layers, strict=True)):
            step = _PartialBlock(block, layout, self._spans(index, layout), self._visual.spatial_merge_unit)
            computed += step.run(hidden, reference, count)
        return self._leave(flat, layout), computed


@dataclass(frozen=True, slots=True)
class _PartialBlock:
    block: Any
    layout: _Layout
    spans: Tensor
    unit: int

    def run(self, hidden: Tensor, reference: LayerReference, count: int) -> int:
        """Run the block on ``(frames, patches, dim)`` in place; return the merge groups computed."""
        frames, patches, dim = hidden.shape
        block, attn = self.block, self.block.attn
        if count == 0:
            settle_residuals(hidden, reference, torch.empty(0, dtype=torch.long), None, block.mlp)
            return 0
        normed = block.norm1(hidden).view(-1, dim)
        keys = _project(attn.qkv, 1, normed)
        similarity = key_similarity(keys.view(frames, patches, dim), reference.key)
        groups = flat_rows(
            least_similar(similarity.view(frames, -1, self.unit).mean(-1), count), patches // self.unit
        )
        rows = (groups.unsqueeze(1) * self.unit + torch.arange(self.unit, device=groups.device)).flatten()
        chosen = normed.index_select(0, rows)
        values = reference.value.repeat(frames, 1).index_copy_(0, rows, _project(attn.qkv, 2, chosen))
        queries = self._rotate(_project(attn.qkv, 0, chosen), rows)
        attended = _attend_by_span(
            queries, self._rotate(keys, None), values.view(-1, *queries.shape[1:]), rows, self.spans
        )
        attention = attn.proj(attended)
        settle_residuals(hidden, reference, rows, attention, lambda x: block.mlp(block.norm2(x)))
        return groups.numel()

    def _rotate(self, flat: Tensor, rows: Tensor | None) -> Tensor:
        cos, sin = self.layout.cos, self.layout.sin
        if rows is not None:
            cos, sin = cos.index_select(0, rows), sin.index_select(0, rows)
        states = flat.view(flat.shape[0], self.block.attn.num_heads, -1).float()
        rotated = states * cos.unsqueeze(1).float() + rotate_half(states) * sin.unsqueeze(1).float()
        return rotated.to(flat.dtype)


def _project(qkv: Any, part: int, rows: Tensor) -> Tensor:
    """Apply the query (0), key (1) or value (2) third of a fused projection to ``(rows, dim)``."""
    dim = rows.shape[-1]
    cut = slice(part * dim, (part + 1) * dim)
    return F.linear(rows, qkv.weight[cut], None if qkv.bias is None else qkv.bias[cut])


def _attend_by_span(queries: Tensor, keys: Tensor, values: Tensor, rows: Tensor, spans: Tensor) -> Tensor:
    """Attend chosen queries to all keys of their own window or grid.

    Args:
        queries: ``(rows, heads, head_dim)``, in ascending row order.
        keys: ``(patches, heads, head_dim)``.
        values: As ``keys``.
        rows: Patch number of each query, ascending.
        spans: Cumulative patch counts.

    Returns:
        ``(rows, heads * head_dim)``.
    """
    edges = torch.searchsorted(rows, spans.to(rows)).tolist()
    bounds = spans.tolist()
    pieces = []
    for index in range(len(bounds) - 1):
        low, high = edges[index], edges[index + 1]
        if low == high:  # No token of this window changed enough: nothing to attend.
            continue
        span = slice(bounds[index], bounds[index + 1])
        piece = F.scaled_dot_product_attention(
            queries[low:high].transpose(0, 1).unsqueeze(0),
            keys[span].transpose(0, 1).unsqueeze(0),
            values[span].transpose(0, 1).unsqueeze(0),
        )
        pieces.append(piece.squeeze(0).transpose(0, 1).reshape(high - low, -1))
    return torch.cat(pieces)
