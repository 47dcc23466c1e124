"""Backbone Qwen2-VL and Qwen2.5-VL, through public interfaces: embeddings, vision features, text model."""

from __future__ import annotations

__all__ = ["QwenVL"]

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evalkit.compress.contract import SideProducts
from evalkit.errors import ModelError, UsageError
from evalkit.memory import PositionRule
from evalkit.models.attention import FLASH_WINDOWS
from evalkit.models.backbone import Packed
from evalkit.models.decoder import DecoderBackbone, TextDecoder
from evalkit.models.layout import ChatLayout, ChatTokens
from evalkit.models.pack import normalise, to_patches
from evalkit.models.side_products import watch_qwen_tower
from evalkit.models.text import TextCodec, single_token
from evalkit.video import STREAMINGVLM_LIMITS, PixelLimits, smart_resize


class QwenVL(DecoderBackbone):
    """A Qwen2-VL or Qwen2.5-VL network.

    Args:
        network: ``Qwen2_5_VLForConditionalGeneration`` or ``Qwen2VLForConditionalGeneration``, in eval mode.
        text: Its tokenizer.
        name: How records call it.
        positions: Rule for positions.
        limits: Frame size limits; StreamingVLM's by default.
    """

    def __init__(
        self,
        network: Any,
        text: TextCodec,
        *,
        name: str,
        positions: PositionRule | None = None,
        limits: PixelLimits = STREAMINGVLM_LIMITS,
    ) -> None:
        config = network.config
        if config.model_type not in ("qwen2_5_vl", "qwen2_vl"):
            raise ModelError(f"{name} is a {config.model_type} checkpoint, not Qwen2-VL or Qwen2.5-VL")
        self.name = name
        self.network = network
        self.positions = positions or PositionRule("3d", "max")
        self.limits = limits
        self._vision = config.vision_config
        tower = network.model.visual.config
        if tower._attn_implementation == "sdpa":
            tower._attn_implementation = FLASH_WINDOWS
        super().__init__(TextDecoder(network.model.language_model, network.lm_head))
        tokens = ChatTokens(
            turn_open=single_token(text, "<|im_start|>"),
            turn_close=single_token(text, "<|im_end|>"),
            vision=config.video_token_id,
            vision_open=config.vision_start_token_id,
            vision_close=config.vision_end_token_id,
        )
        self.layout = ChatLayout(text, tokens)

    @property
    def factor(self) -> int:
        """Pixels per token side: a frame's sides are multiples of it."""
        return int(self._vision.patch_size * self._vision.spatial_merge_size)

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the ``(width, height)`` to which the decoder scales a video of this size."""
        limits = self.limits
        rows, columns = smart_resize(
            height, width, self.factor, min_pixels=limits.min_pixels, max_pixels=limits.frame_pixels
        )
        return columns, rows

    def temporal_step(self, fps: float) -> float:
        """Return the positions between two temporal grids: tokens per second times seconds per grid."""
        per_second = getattr(self._vision, "tokens_per_second", None)
        return 1.0 if per_second is None else float(per_second) * self._vision.temporal_patch_size / fps

    def pack(self, frames: NDArray[np.uint8]) -> Packed:
        """Normalise frames ``(T, H, W, 3)`` and lay them out as patches."""
        return self.pack_normalised(normalise(frames))

    def pack_normalised(self, frames: torch.Tensor) -> Packed:
        """Lay out frames ``(T, 3, H, W)`` that are normalised already."""
        merge = self._vision.spatial_merge_size
        patches, (t, h, w) = to_patches(
            frames, patch=self._vision.patch_size, merge=merge, temporal=self._vision.temporal_patch_size
        )
        return Packed(patches, (t, h // merge, w // merge))

    @property
    def clip_end(self) -> torch.Tensor | None:
        """Nothing ends a whole clip."""
        return None

    @property
    def tower(self) -> Any:
        """The vision encoder that a compressor may wrap."""
        return self.network.model.visual

    def encode(self, packed: Packed) -> torch.Tensor:
        """Return features ``(tokens, hidden)`` of packed frames."""
        features: torch.Tensor = self.network.model.get_video_features(*self.tower_inputs(packed)).pooler_output[0]
        return features

    def encode_all(self, packed: Sequence[Packed]) -> list[torch.Tensor]:
        """Return features ``(tokens, hidden)`` of each stream's packed frames, from one call of the encoder."""
        inputs = [self.tower_inputs(one) for one in packed]
        pixels, grids = (torch.cat(parts) for parts in zip(*inputs, strict=True))
        return list(self.network.model.get_video_features(pixels, grids).pooler_output)

    def tower_inputs(self, packed: Packed) -> tuple[torch.Tensor, ...]:
        """Return what `tower` takes: patches, and their grid ``(1, 3)`` in patches."""
        t, h, w = packed.grid
        merge = self._vision.spatial_merge_size
        grid = torch.tensor([[t, h * merge, w * merge]], device=self.device)
        return packed.pixels.to(self.device, self.dtype, non_blocking=True), grid

    def from_tower(self, output: torch.Tensor) -> torch.Tensor:
        """Return the tower's merged features ``(tokens, hidden)`` as they are."""
        return output

    def from_merged(self, output: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Refuse: what is merged inside the tower would have to be whole groups of patches.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"{self.name}: tokens cannot be merged inside its vision tower")

    def watch_tower(self) -> AbstractContextManager[Callable[[Packed], SideProducts]]:
        """Watch the tower's last layer; see `Backbone.watch_tower`."""
        return watch_qwen_tower(self.tower)

    def _placed(self, positions: torch.Tensor) -> torch.Tensor:
        return positions[:, None]

    def _rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        probe = torch.empty(0, device=self.device, dtype=torch.float32)
        model = self.network.model.language_model
        cos, sin = model.rotary_emb(probe, positions[:, None])
        if cos.ndim == 4:  # up to transformers 5.16 each layer puts the axes' sections together itself
            sections = model.config.rope_parameters["mrope_section"] * 2
            cos, sin = (_by_section(table, sections) for table in (cos, sin))
        return cos[0], sin[0]


def _by_section(table: torch.Tensor, sections: list[int]) -> torch.Tensor:
    """Take each section of the head's channels from its axis of ``(3, batch, tokens, head_dim)``."""
    return torch.cat([part[i % 3] for i, part in enumerate(table.split(sections, dim=-1))], dim=-1)
