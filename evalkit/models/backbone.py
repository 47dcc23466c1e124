"""What a session asks of a network: pack frames, encode them, run text, and say how positions are counted."""

from __future__ import annotations

__all__ = ["Backbone", "Features", "Packed"]

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from evalkit.memory import PositionRule
from evalkit.memory.cache import SpanCache
from evalkit.models.layout import ChatLayout


@dataclass(frozen=True, slots=True)
class Packed:
    """Frames ready for the vision encoder.

    Args:
        pixels: The encoder's input, in the backbone's own layout.
        grid: ``(t, h, w)`` of the tokens the frames become.
    """

    pixels: torch.Tensor
    grid: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Features:
    """Vision tokens ready for the language model.

    Args:
        tokens: Shape ``(tokens, hidden)``.
        grid: ``(t, h, w)`` of the full grid.
        rows: Flat grid indices of the tokens that were kept, ascending; ``None`` for all.
    """

    tokens: torch.Tensor
    grid: tuple[int, int, int]
    rows: NDArray[np.int64] | None = None


class Backbone(Protocol):
    """A vision-language network behind transformers' public interfaces."""

    name: str
    device: torch.device
    dtype: torch.dtype
    layout: ChatLayout
    positions: PositionRule
    network: Any

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the ``(width, height)`` to which the decoder scales a video of this size."""

    def temporal_step(self, fps: float) -> float:
        """Return the positions between two temporal grids at this frame rate."""

    def pack(self, frames: NDArray[np.uint8]) -> Packed:
        """Normalise frames ``(T, H, W, 3)`` and lay them out for the encoder."""

    def encode(self, packed: Packed) -> torch.Tensor:
        """Return features ``(tokens, hidden)`` of packed frames."""

    @property
    def clip_end(self) -> torch.Tensor | None:
        """The vision token ``(1, hidden)`` that ends a clip shown at once, if the model has one."""

    @property
    def tower(self) -> Any:
        """The vision encoder that a compressor may wrap.

        Raises:
            UsageError: It cannot be wrapped.
        """

    def tower_inputs(self, packed: Packed) -> tuple[torch.Tensor, ...]:
        """Return what `tower` takes for packed frames."""

    def from_tower(self, output: torch.Tensor) -> torch.Tensor:
        """Return the features ``(tokens, hidden)`` that `encode` makes of the tower's output."""

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Return token embeddings ``(tokens, hidden)``."""

    def forward(self, embeddings: torch.Tensor, positions: torch.Tensor, cache: SpanCache) -> torch.Tensor:
        """Run the language model on new tokens.

        Args:
            embeddings: Shape ``(1, tokens, hidden)``.
            positions: Shape ``(3, tokens)``, float32.
            cache: What came before; the new keys and values are added to it.

        Returns:
            Hidden state of the last token, shape ``(1, hidden)``.
        """

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return float32 logits ``(1, vocabulary)`` of a hidden state ``(1, hidden)``."""

    def new_cache(self, *, rebases: bool) -> SpanCache:
        """Return an empty cache for one stream."""

    def synchronise(self) -> None:
        """Wait for the device."""
