"""Backbone LLaVA-OneVision (SigLIP and Qwen2), through public interfaces: frames, features, chat layout, text."""

from __future__ import annotations

__all__ = ["SIGLIP_MEAN", "SIGLIP_STD", "LlavaChatLayout", "LlavaOnevision"]

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evalkit.compress.contract import SideProducts
from evalkit.errors import ModelError, UsageError
from evalkit.memory import PositionRule, Span
from evalkit.models.backbone import Packed
from evalkit.models.decoder import DecoderBackbone, TextDecoder
from evalkit.models.layout import SYSTEM_PROMPT, ChatLayout, ChatTokens
from evalkit.models.pack import normalise
from evalkit.models.side_products import watch_siglip_layer
from evalkit.models.text import TextCodec, single_token

SIGLIP_MEAN = (0.5, 0.5, 0.5)
SIGLIP_STD = (0.5, 0.5, 0.5)
"""IMAGENET_STANDARD_MEAN and IMAGENET_STANDARD_STD, as llava-hf's preprocessor_config.json sets them."""


class LlavaChatLayout(ChatLayout):
    r"""The chat template of llava-hf's LLaVA-OneVision checkpoints, as the STC and ReKV code writes it too.

    ``<|im_start|>user <video>\nquestion<|im_end|><|im_start|>assistant\n``: a space after the role, no newline
    between turns, and one before the text that follows the frames. The turn of what was said before, which no
    template has, keeps to the same form.
    """

    def system(self, text: str | None = None) -> Span:
        """Return the system turn; see `ChatLayout.system`."""
        t = self.tokens
        return self._span("system", [t.turn_open, f"system \n{text or SYSTEM_PROMPT}", t.turn_close])

    def previous_text(self, text: str) -> list[Span]:
        """Return the turn that holds what was said before."""
        t = self.tokens
        return [
            self._span("previous_open", [t.turn_open, "previous text \n"]),
            self._span("previous_text", [text]),
            self._span("previous_close", [t.turn_close]),
        ]

    def user_open(self, second: int | None) -> Span:
        """Return the opening of a user turn."""
        return self._span("user_open", [self.tokens.turn_open, "user "], second)

    def query(self, text: str, second: int | None) -> Span:
        """Return an instruction or a question."""
        return self._span("query", ["\n" + text], second)

    def reply_open(self, second: int | None, prefix: str = "") -> list[Span]:
        """Return the end of the user turn and the opening of the assistant's, with ``prefix`` in its mouth."""
        t = self.tokens
        spans = [
            self._span("user_close", [t.turn_close], second),
            self._span("assistant_open", [t.turn_open, "assistant\n"], second),
        ]
        return [*spans, self._span("assistant", [prefix], second)] if prefix else spans

    def newline(self, second: int) -> Span:
        """Return nothing: the template has no newline between turns."""
        return self._span("newline", [], second)


class LlavaOnevision(DecoderBackbone):
    """A LLaVA-OneVision network with a SigLIP tower.

    Every frame is scaled to the tower's square (384x384), encoded by itself and pooled to 14x14 tokens. A
    stream has no end at which `get_video_features` would append its ``image_newline``; a session appends it
    (`clip_end`) where a whole clip is shown at once, as the official protocols do.

    Args:
        network: ``LlavaOnevisionForConditionalGeneration``, in eval mode.
        text: Its tokenizer.
        name: How records call it.

    Raises:
        ModelError: Another architecture, or a vision tower other than SigLIP.
    """

    def __init__(self, network: Any, text: TextCodec, *, name: str) -> None:
        config = network.config
        if config.model_type != "llava_onevision":
            raise ModelError(f"{name} is a {config.model_type} checkpoint, not LLaVA-OneVision")
        if config.vision_config.model_type != "siglip_vision_model":
            raise ModelError(f"{name} has a {config.vision_config.model_type} tower; evalkit runs SigLIP ones")
        self.name = name
        self.network = network
        self.positions = PositionRule("1d")
        self._config = config
        self._model = network.model
        super().__init__(TextDecoder(self._model.language_model, network.lm_head))
        vision = config.vision_config
        self._side = int(vision.image_size)
        self._pooled = -(-(vision.image_size // vision.patch_size) // 2)
        tokens = ChatTokens(
            turn_open=single_token(text, "<|im_start|>"),
            turn_close=single_token(text, "<|im_end|>"),
            vision=config.video_token_id,
        )
        self.layout: ChatLayout = LlavaChatLayout(text, tokens)

    @property
    def frame_tokens(self) -> int:
        """Tokens of a frame, whatever the video's size."""
        return self._pooled**2

    @property
    def clip_end(self) -> torch.Tensor | None:
        """The token ``(1, hidden)`` that ends a whole clip."""
        newline: torch.Tensor = self._model.image_newline[None]
        return newline

    @property
    def tower(self) -> Any:
        """The vision encoder that a compressor may wrap.

        Raises:
            UsageError: The checkpoint reads its features from another layer than the last, which a wrapped
                tower does not give.
        """
        layer = self._config.vision_feature_layer
        if layer not in (-1, self._config.vision_config.num_hidden_layers):
            raise UsageError(
                f"{self.name} reads vision features from layer {layer}; a compressor of the vision encoder "
                "gives the last layer's. Leave the cacher out (--compress none, or a pruner alone)"
            )
        return self._model.vision_tower

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the ``(width, height)`` to which the decoder scales a video: the tower's square."""
        return self._side, self._side

    def temporal_step(self, fps: float) -> float:
        """Return 1: positions are one running index."""
        return 1.0

    def pack(self, frames: NDArray[np.uint8]) -> Packed:
        """Normalise frames ``(T, H, W, 3)`` of the tower's size.

        Raises:
            ModelError: The frames have another size.
        """
        return self.pack_normalised(normalise(frames, SIGLIP_MEAN, SIGLIP_STD))

    def pack_normalised(self, frames: torch.Tensor) -> Packed:
        """Take frames ``(T, 3, H, W)`` that are normalised already."""
        count, _, height, width = frames.shape
        if (height, width) != (self._side, self._side):
            raise ModelError(f"{self.name} takes frames of {self._side}x{self._side} pixels, not {width}x{height}")
        return Packed(frames, (count, self._pooled, self._pooled))

    def encode(self, packed: Packed) -> torch.Tensor:
        """Return features ``(tokens, hidden)`` of packed frames, without the newline of a whole clip."""
        (pixels,) = self.tower_inputs(packed)
        features: torch.Tensor = self._model.get_video_features(pixels[None]).pooler_output
        # Releases differ in whether the newline is appended here or later.
        return features.flatten(0, -2)[: math.prod(packed.grid)]

    def encode_all(self, packed: Sequence[Packed]) -> list[torch.Tensor]:
        """Return features ``(tokens, hidden)`` of each stream's packed frames, from one call for each count."""
        found: dict[int, torch.Tensor] = {}
        for count in sorted({one.grid[0] for one in packed}):
            numbers = [number for number, one in enumerate(packed) if one.grid[0] == count]
            pixels = torch.stack([self.tower_inputs(packed[number])[0] for number in numbers])
            features = self._model.get_video_features(pixels).pooler_output
            rows = features.reshape(len(numbers), -1, features.shape[-1])
            found |= {
                number: row[: math.prod(packed[number].grid)] for number, row in zip(numbers, rows, strict=True)
            }
        return [found[number] for number in range(len(packed))]

    def tower_inputs(self, packed: Packed) -> tuple[torch.Tensor, ...]:
        """Return what `tower` takes: pixels ``(T, 3, H, W)``."""
        return (packed.pixels.to(self.device, self.dtype, non_blocking=True),)

    def from_tower(self, output: torch.Tensor) -> torch.Tensor:
        """Project and pool the tower's last hidden states ``(T, patches, dim)`` to ``(tokens, hidden)``."""
        if self._config.vision_feature_select_strategy == "default":
            output = output[:, 1:]
        features: torch.Tensor = self._model.apply_pooling(self._model.multi_modal_projector(output))
        return features.flatten(0, 1)

    def patch_features(self, packed: Packed) -> torch.Tensor:
        """Return the tower's features ``(T, patches, dim)`` of packed frames, neither projected nor pooled.

        Raises:
            UsageError: The checkpoint reads features from several layers.
        """
        layer = self._config.vision_feature_layer
        if not isinstance(layer, int):
            raise UsageError(f"{self.name} reads vision features from layers {layer}; a memory of them takes one")
        (pixels,) = self.tower_inputs(packed)
        features: torch.Tensor = self._model.vision_tower(pixels, output_hidden_states=True).hidden_states[layer]
        return features[:, 1:] if self._config.vision_feature_select_strategy == "default" else features

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Project the tower's features ``(..., dim)`` to ``(..., hidden)``, without pooling."""
        projected: torch.Tensor = self._model.multi_modal_projector(features)
        return projected

    def from_merged(self, output: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Project tokens that were merged inside the tower; see `Backbone.from_merged`.

        Nothing is left to pool. A token stands at the pooled place that its cell of the tower's grid lies in.
        """
        side, pooled = self._side // self._config.vision_config.patch_size, self._pooled
        row, column = places // side, places % side
        cells = row * pooled // side * pooled + column * pooled // side
        order = cells.sort(dim=-1, stable=True).indices
        frames = torch.arange(len(places), device=places.device).unsqueeze(1)
        rows = (cells.gather(1, order) + frames * pooled**2).flatten()
        projected: torch.Tensor = self._model.multi_modal_projector(output)
        return projected.gather(1, order.unsqueeze(-1).expand_as(projected)).flatten(0, 1), rows

    def watch_tower(self) -> AbstractContextManager[Callable[[Packed], SideProducts]]:
        """Watch the layer that the features are read from; see `Backbone.watch_tower`.

        Raises:
            UsageError: They are read from several layers.
        """
        layer, layers = self._config.vision_feature_layer, self._model.vision_tower.encoder.layers
        if not isinstance(layer, int):
            raise UsageError(f"{self.name} reads vision features from layers {layer}; one has side products")
        attention = layers[layer if layer < 0 else layer - 1].self_attn
        return watch_siglip_layer(attention, self._model.apply_pooling)

    def _placed(self, positions: torch.Tensor) -> torch.Tensor:
        return positions[:1]

    def _rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        probe = torch.empty(0, device=self.device, dtype=torch.float32)
        cos, sin = self._model.language_model.rotary_emb(probe, positions[:1])
        return cos[0], sin[0]
