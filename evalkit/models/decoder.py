"""Running a transformers text model on a SpanCache: embeddings in, last hidden state and logits out."""

from __future__ import annotations

__all__ = ["DecoderBackbone", "TextDecoder"]

from abc import ABC, abstractmethod
from typing import Any

import torch

from evalkit.memory.cache import Rotary, SpanCache
from evalkit.models.attention import GROUPED_SDPA


class TextDecoder:
    """A decoder-only text model with its output head.

    Args:
        model: The text model (``inputs_embeds``, ``position_ids``, ``past_key_values``).
        head: The output head.
    """

    def __init__(self, model: Any, head: Any) -> None:
        self._model = model
        self._head = head
        self._table = model.get_input_embeddings()
        self.device = self._table.weight.device
        self.dtype = self._table.weight.dtype
        config = model.config
        if self.device.type == "cpu" and config._attn_implementation == "sdpa":
            model.set_attn_implementation(GROUPED_SDPA)
        self._kernel = config._attn_implementation
        self._mask_names = sorted(set(getattr(config, "layer_types", None) or ["full_attention"]))
        self._layers = config.num_hidden_layers
        self._kv_heads = config.num_key_value_heads
        self._head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Return token embeddings ``(tokens, hidden)`` of ids ``(tokens,)``."""
        embedded: torch.Tensor = self._table(ids)
        return embedded

    def forward(self, embeddings: torch.Tensor, positions: torch.Tensor, cache: SpanCache) -> torch.Tensor:
        """Run the model on new tokens.

        Args:
            embeddings: Shape ``(1, tokens, hidden)``.
            positions: In the shape the model takes, ``(3, 1, tokens)`` or ``(1, tokens)``.
            cache: What came before.

        Returns:
            Hidden state of the last token, ``(1, hidden)``.
        """
        output = self._model(
            inputs_embeds=embeddings,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            attention_mask=self._mask(embeddings.shape[1], cache.length),
        )
        hidden: torch.Tensor = output.last_hidden_state[:, -1]
        return hidden

    def _mask(self, new: int, cached: int) -> dict[str, torch.Tensor | None] | None:
        """Return the mask the model would make for itself, without making it again for every token."""
        if self._kernel not in ("sdpa", GROUPED_SDPA):
            return None
        if new == 1 or cached == 0:
            return dict.fromkeys(self._mask_names)
        seen = torch.ones(new, cached + new, dtype=torch.bool, device=self.device).tril_(cached)
        if self._kernel == "sdpa":
            return dict.fromkeys(self._mask_names, seen[None, None])
        # The CPU kernel would make floats of a boolean mask in every layer.
        hidden = torch.zeros(seen.shape, dtype=self.dtype).masked_fill_(~seen, -torch.inf)
        return dict.fromkeys(self._mask_names, hidden[None, None])

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return float32 logits ``(1, vocabulary)``."""
        scores: torch.Tensor = self._head(hidden).float()
        return scores

    def new_cache(self, rotary: Rotary, *, rebases: bool) -> SpanCache:
        """Return an empty cache for one stream."""
        return SpanCache(
            layers=self._layers,
            kv_heads=self._kv_heads,
            head_dim=self._head_dim,
            rotary=rotary,
            device=self.device,
            dtype=self.dtype,
            rebases=rebases,
        )

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class DecoderBackbone(ABC):
    """The half of a backbone that is its text decoder; how positions and rotary tables are shaped is its own.

    Args:
        decoder: The text model.
    """

    def __init__(self, decoder: TextDecoder) -> None:
        self._decoder = decoder
        self.device, self.dtype = decoder.device, decoder.dtype

    @abstractmethod
    def _rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and sines of positions ``(3, tokens)``, as `SpanCache` asks for them."""

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Return token embeddings ``(tokens, hidden)``."""
        return self._decoder.embed(ids)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return float32 logits ``(1, vocabulary)``."""
        return self._decoder.logits(hidden)

    def new_cache(self, *, rebases: bool) -> SpanCache:
        """Return an empty cache for one stream."""
        return self._decoder.new_cache(self._rotary, rebases=rebases)

    def synchronise(self) -> None:
        """Wait for the device."""
        self._decoder.synchronise()
