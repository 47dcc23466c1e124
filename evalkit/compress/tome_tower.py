"""ToMe inside a SigLIP tower: after each layer's attention its most similar tokens are merged, frame by frame."""

from __future__ import annotations

__all__ = ["SiglipToMe"]

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import SiglipVisionModel

from evalkit.compress.cacher import EncodedFrames, captured_outputs
from evalkit.compress.contract import NoState
from evalkit.compress.settings import ToMeSettings
from evalkit.compress.tome import Matching, match, merge, merges_per_layer, unmerge
from evalkit.errors import UsageError
from evalkit.records import CompressorReport


class SiglipToMe:
    """A SigLIP tower whose layers merge tokens, with attention weighed by what went into each.

    Args:
        vision_model: The tower, in eval mode; it is run through its own sub-modules and left unchanged.
        settings: How many, and whether the grid is restored.
    """

    def __init__(self, vision_model: SiglipVisionModel, settings: ToMeSettings) -> None:
        self.vision_model = vision_model
        self.settings = settings

    def new_state(self) -> NoState:
        """Return the memory of a new stream: none, frames share nothing."""
        return NoState()

    @torch.no_grad()
    def encode(self, pixel_values: Tensor, state: NoState) -> EncodedFrames:
        """Encode frames.

        Args:
            pixel_values: ``(frames, 3, height, width)``, normalised, of the tower's own size.
            state: Nothing.

        Returns:
            Last hidden states before ``post_layernorm``: of every place where the grid is restored or nothing was
            merged, else of what is left, by representative place, with these places.

        Raises:
            UsageError: The pixels are no batch of frames.
        """
        if pixel_values.ndim != 4 or pixel_values.shape[0] == 0:
            raise UsageError(f"tome takes pixels (frames, 3, height, width), not {tuple(pixel_values.shape)}")
        layers = list(self.vision_model.encoder.layers)
        hidden = self.vision_model.embeddings(pixel_values)
        frames, tokens, _ = hidden.shape
        plan = self._plan(len(layers), tokens)
        run = _Run(hidden)
        for layer, r in zip(layers, plan, strict=True):
            run.advance(layer, r)
        left = run.hidden.shape[1]
        if self.settings.restore or not run.merged:
            return EncodedFrames(run.restored(), self._report_of_time(frames, tokens, plan, run.computed))
        order = run.places.argsort(dim=-1)
        hidden = run.hidden.gather(1, order.unsqueeze(-1).expand_as(run.hidden))
        report = self._report_of_tokens(frames, tokens, left, _left_by_layer(tokens, plan)[-1])
        return EncodedFrames(hidden, report, places=run.places.gather(1, order))

    def _plan(self, layers: int, tokens: int) -> list[int]:
        """Return how many tokens each layer is told to merge away."""
        settings = self.settings
        if settings.keep is not None:
            each, more = divmod(max(tokens - settings.keep, 0), layers)
            return [each + (layer < more) for layer in range(layers)]
        r = settings.r or 0
        return merges_per_layer(layers, r if settings.inflection is None else (r, float(settings.inflection)))

    def _report_of_time(self, frames: int, tokens: int, plan: list[int], computed: int) -> CompressorReport:
        """Say which share of the layers' token computations merging saved, counted behind each merge."""
        whole = tokens * len(plan)
        promised = 1.0 - sum(_left_by_layer(tokens, plan)) / whole
        return CompressorReport(
            name="tome",
            tokens_in=frames * tokens,
            tokens_out=frames * tokens,
            reused_share=1.0 - computed / (frames * whole),
            claimed_share=promised,
        )

    def _report_of_tokens(self, frames: int, tokens: int, left: int, promised: int) -> CompressorReport:
        claimed: float | None = promised / tokens
        note, wanted = "", self.settings.keep
        if wanted is not None and promised != min(wanted, tokens):
            claimed, note = None, f"no layer merges more than half: {promised} of {tokens} are left, not {wanted}"
        return CompressorReport(
            name="tome", tokens_in=frames * tokens, tokens_out=frames * left, claimed_share=claimed, note=note
        )


def _left_by_layer(tokens: int, plan: list[int]) -> list[int]:
    """Return the tokens that are left behind each layer's merge, none of which takes more than half."""
    left = []
    for r in plan:
        tokens -= min(r, tokens // 2)
        left.append(tokens)
    return left


class _Run:
    """Frames on their way through the layers.

    Args:
        hidden: Embeddings ``(frames, tokens, dim)``.
    """

    def __init__(self, hidden: Tensor) -> None:
        frames, tokens, _ = hidden.shape
        self.hidden = hidden
        self.places = torch.arange(tokens, device=hidden.device).expand(frames, -1)
        self.computed = 0
        self._size: Tensor | None = None  # float32: half precision cannot count a few hundred exactly
        self._matchings: list[Matching] = []

    def advance(self, layer: Any, r: int) -> None:
        """Run a layer that merges ``r`` tokens of each frame between attention and MLP."""
        normed = layer.layer_norm1(self.hidden)
        attention, keys = _attend(layer.self_attn, normed, self._size)
        hidden = self.hidden + attention
        matching = match(keys.unflatten(-1, (layer.self_attn.num_heads, -1)).float().mean(dim=2), r)
        if matching is not None:
            size = hidden.new_ones(*hidden.shape[:2], 1, dtype=torch.float32) if self._size is None else self._size
            self._size = merge(size, matching)
            hidden = (merge(hidden.float() * size, matching) / self._size).to(hidden.dtype)
            self.places = self.places.gather(1, matching.order)
            self._matchings.append(matching)
        self.hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
        self.computed += self.hidden.shape[0] * self.hidden.shape[1]

    @property
    def merged(self) -> bool:
        """Whether anything was merged."""
        return bool(self._matchings)

    def restored(self) -> Tensor:
        """Return hidden states of every place: what its token was merged into."""
        hidden = self.hidden
        for matching in reversed(self._matchings):
            hidden = unmerge(hidden, matching)
        return hidden


def _attend(attn: Any, normed: Tensor, size: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return attention output and keys ``(frames, tokens, dim)``; a merged token counts once for each part."""
    if size is None:  # before the first merge what the layer itself computes, bit for bit
        with captured_outputs(attn.k_proj) as caught:
            attention = attn(hidden_states=normed, attention_mask=None)[0]
        return attention, caught[0]
    keys = attn.k_proj(normed)
    q, k, v = (
        one.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
        for one in (attn.q_proj(normed), keys, attn.v_proj(normed))
    )
    weight = size.log().to(normed.dtype).transpose(1, 2).unsqueeze(1)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=weight, scale=attn.scale)
    return attn.out_proj(attended.transpose(1, 2).flatten(2)), keys
