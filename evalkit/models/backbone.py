"""What a session asks of a network: pack frames, encode them, run text, and say how positions are counted."""

from __future__ import annotations

__all__ = ["Backbone", "Features", "Packed"]

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from evalkit.memory import PositionRule
from evalkit.memory.cache import SpanCache
from evalkit.models.layout import ChatLayout

if TYPE_CHECKING:
    from evalkit.compress.contract import SideProducts
    from evalkit.models.generation import TokenChooser


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
        rows: Flat grid indices of the places where they stand, ascending; ``None`` for all. Frames may keep
            different numbers of tokens, and none; merged tokens may stand at one place.
    """

    tokens: torch.Tensor
    grid: tuple[int, int, int]
    rows: NDArray[np.int64] | None = None

    def by_frame(self) -> tuple[torch.Tensor, ...]:
        """Return the tokens of each temporal grid, ``(tokens, hidden)``, empty where none was kept."""
        frames, height, width = self.grid
        if self.rows is None:
            return self.tokens.split(height * width)
        return self.tokens.split(np.bincount(self.rows // (height * width), minlength=frames).tolist())


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

    def encode_all(self, packed: Sequence[Packed]) -> list[torch.Tensor]:
        """Return the features of the packed frames of each of several streams."""

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

    def from_merged(self, output: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features of tokens that were merged inside the tower, and the rows of the grid they stand at.

        Args:
            output: The tower's last hidden states, ``(frames, tokens, dim)``.
            places: ``(frames, tokens)`` places on the tower's own grid.

        Returns:
            ``(frames * tokens, hidden)``, and their rows, ascending; several may stand at one.

        Raises:
            UsageError: Nothing merges inside this tower.
        """

    def watch_tower(self) -> AbstractContextManager[Callable[[Packed], SideProducts]]:
        """Watch the last used layer of the tower while it encodes, and return what gives its side products.

        The function is called with what was encoded, after it was; only then is anything computed.
        """

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

    def forward_all(self, parts: Sequence[tuple[torch.Tensor, torch.Tensor, SpanCache]]) -> torch.Tensor:
        """Run the language model on new tokens of several streams, each behind its own cache.

        Args:
            parts: Of each stream what `forward` takes.

        Returns:
            Hidden state of each stream's last token, ``(streams, hidden)``.
        """

    def record_steps(self) -> None:
        """Do the steps of one token as work recorded once per stream, from now on."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a run with this network has to say of it."""

    @property
    def takes_streams(self) -> bool:
        """Whether `forward_all` can run with the attention kernel in use."""

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return float32 logits ``(streams, vocabulary)`` of hidden states ``(streams, hidden)``."""

    def choose(self, chooser: TokenChooser, logits: torch.Tensor) -> torch.Tensor:
        """Return the id ``(1,)`` that a reply's chooser takes from logits ``(1, vocabulary)``."""

    def new_cache(self, *, rebases: bool) -> SpanCache:
        """Return an empty cache for one stream."""

    def synchronise(self) -> None:
        """Wait for the device."""
