"""Running a transformers text model on a SpanCache: embeddings in, last hidden state and logits out."""

from __future__ import annotations

__all__ = ["DecoderBackbone", "TextDecoder"]

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.attention.bias import causal_lower_right
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from evalkit.memory.cache import Rotary, SpanCache, StreamCaches
from evalkit.models.attention import GROUPED_SDPA, STREAMS
from evalkit.models.generation import TokenChooser
from evalkit.models.one_token import OneTokenSteps, Part
from evalkit.models.output_layer import logits_of_rows


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
        flash = self.device.type == "cuda" and self.dtype in (torch.bfloat16, torch.float16)
        if config._attn_implementation == "sdpa" and (flash or self.device.type == "cpu"):
            model.set_attn_implementation(GROUPED_SDPA)
        self._kernel = config._attn_implementation
        self._mask_names = sorted(set(getattr(config, "layer_types", None) or ["full_attention"]))
        self._layers = config.num_hidden_layers
        self._kv_heads = config.num_key_value_heads
        self._head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._steps: OneTokenSteps | None = None
        plain = type(head) is torch.nn.Linear and head.bias is None and self.dtype == torch.float32
        self._reads_in_blocks = plain and self.device.type == "cpu"

    def record_steps(self) -> None:
        """Do one-token steps as recorded work from now on; see `OneTokenSteps`."""
        self._steps = OneTokenSteps(self._model, self._mask_names, self._plain_step)

    @property
    def refused(self) -> str | None:
        """Why one-token steps are plain although they were to be recorded; ``None`` where they are not."""
        return None if self._steps is None else self._steps.refused

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
        part = (embeddings, positions, cache)
        if self._steps is not None and self._steps.takes([part]):
            return self._steps([part])
        return self._forward(*part)

    def _plain_step(self, parts: Sequence[Part]) -> torch.Tensor:
        return self._forward(*parts[0]) if len(parts) == 1 else self._forward_all(parts)

    def _forward(self, embeddings: torch.Tensor, positions: torch.Tensor, cache: SpanCache) -> torch.Tensor:
        output = self._model(
            inputs_embeds=embeddings,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            attention_mask=self._mask(embeddings.shape[1], cache.length),
        )
        hidden: torch.Tensor = output.last_hidden_state[:, -1]
        return hidden

    def forward_all(self, parts: Sequence[Part]) -> torch.Tensor:
        """Run the model on new tokens of several streams, in one row; each attends to its own cache alone.

        Args:
            parts: Of each stream what `forward` takes.

        Returns:
            Hidden state of each stream's last token, ``(streams, hidden)``.
        """
        if self._steps is not None and self._steps.takes(parts):
            return self._steps(parts)
        return self._forward_all(parts)

    def _forward_all(self, parts: Sequence[Part]) -> torch.Tensor:
        new = [embeddings.shape[1] for embeddings, _, _ in parts]
        masks = [self._one_mask(count, cache.length) for count, (_, _, cache) in zip(new, parts, strict=True)]
        config = self._model.config
        config._attn_implementation = STREAMS
        try:
            output = self._model(
                inputs_embeds=torch.cat([embeddings for embeddings, _, _ in parts], dim=1),
                position_ids=torch.cat([positions for _, positions, _ in parts], dim=-1),
                past_key_values=StreamCaches([cache for _, _, cache in parts], new),
                use_cache=True,
                attention_mask=dict.fromkeys(self._mask_names, (ALL_ATTENTION_FUNCTIONS[self._kernel], masks)),
            )
        finally:
            config._attn_implementation = self._kernel
        ends = torch.tensor(new, device=self.device).cumsum(0) - 1
        hidden: torch.Tensor = output.last_hidden_state[0, ends]
        return hidden

    def _mask(self, new: int, cached: int) -> dict[str, torch.Tensor | None] | None:
        """Return the mask the model would make for itself, without making it again for every token."""
        if self._kernel not in ("sdpa", GROUPED_SDPA):
            return None
        return dict.fromkeys(self._mask_names, self._one_mask(new, cached))

    def _one_mask(self, new: int, cached: int) -> torch.Tensor | None:
        """Return the mask of new tokens behind cached ones, as the kernel takes it."""
        if new == 1 or cached == 0 or self._kernel not in ("sdpa", GROUPED_SDPA):
            return None
        if self._kernel == GROUPED_SDPA:
            return causal_lower_right(new, cached + new)
        return torch.ones(new, cached + new, dtype=torch.bool, device=self.device).tril_(cached)[None, None]

    @property
    def takes_streams(self) -> bool:
        """Whether its kernel can attend in several streams at once: it needs no mask that the model makes."""
        return self._kernel in ("sdpa", GROUPED_SDPA) or self._kernel.startswith("flash_attention")

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return float32 logits ``(streams, vocabulary)`` of hidden states ``(streams, hidden)``."""
        if self._reads_in_blocks and len(hidden) > 1:
            return logits_of_rows(hidden, self._head.weight)
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

    @abstractmethod
    def _placed(self, positions: torch.Tensor) -> torch.Tensor:
        """Return positions ``(3, tokens)`` in the shape that the text model takes."""

    @property
    def takes_streams(self) -> bool:
        """Whether `forward_all` can run with the attention kernel in use."""
        return self._decoder.takes_streams

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Return token embeddings ``(tokens, hidden)``."""
        return self._decoder.embed(ids)

    def forward(self, embeddings: torch.Tensor, positions: torch.Tensor, cache: SpanCache) -> torch.Tensor:
        """Run the text model on new tokens; return the last hidden state ``(1, hidden)``."""
        return self._decoder.forward(embeddings, self._placed(positions), cache)

    def forward_all(self, parts: Sequence[tuple[torch.Tensor, torch.Tensor, SpanCache]]) -> torch.Tensor:
        """Run the text model on new tokens of several streams; return their last hidden states."""
        return self._decoder.forward_all([(one, self._placed(where), cache) for one, where, cache in parts])

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return float32 logits ``(1, vocabulary)``."""
        return self._decoder.logits(hidden)

    def choose(self, chooser: TokenChooser, logits: torch.Tensor) -> torch.Tensor:
        """Return the id ``(1,)`` that a reply's chooser takes from logits ``(1, vocabulary)``."""
        return chooser.choose(logits)

    def new_cache(self, *, rebases: bool) -> SpanCache:
        """Return an empty cache for one stream."""
        return self._decoder.new_cache(self._rotary, rebases=rebases)

    def record_steps(self) -> None:
        """Do one-token steps as recorded work from now on."""
        self._decoder.record_steps()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a run with this network has to say of it."""
        return () if self._decoder.refused is None else (self._decoder.refused,)

    def synchronise(self) -> None:
        """Wait for the device."""
        self._decoder.synchronise()
