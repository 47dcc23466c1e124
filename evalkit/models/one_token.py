"""The one-token step as a fixed piece of work on fixed tensors, recorded once per stream and replayed on CUDA."""

from __future__ import annotations

__all__ = ["ONE_TOKEN", "OneTokenSteps"]

import math
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from transformers import AttentionInterface
from transformers.cache_utils import Cache, CacheLayerMixin

from evalkit.memory.cache import SpanCache

ONE_TOKEN = "evalkit_one_token"  # noqa: S105 - a kernel's name
"""Name under which the kernel of the step is registered with transformers."""
_WARM_UP = 3
_CLOSE = {torch.float32: 1e-3}
"""Largest difference of a hidden state between a recorded step and a plain one, over its largest value."""
_CLOSE_HALF = 5e-2

Plain = Callable[[torch.Tensor, torch.Tensor, SpanCache], torch.Tensor]
"""Runs the text model on new tokens as ever; see `TextDecoder.forward`."""


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend from one token to a whole store; a function for transformers' `AttentionInterface`.

    Query heads that share a key head stand in its rows, so that keys are copied for none of them.

    Args:
        module: The attention layer.
        query: ``(1, heads, 1, head_dim)``.
        key: ``(1, kv_heads, capacity, head_dim)``.
        value: As ``key``.
        attention_mask: Additive, ``(1, 1, 1, capacity)``: what of the store is no token yet.
        scaling: Factor on the scores.
        **kwargs: What other kernels want.

    Returns:
        ``(1, 1, heads, head_dim)`` and nothing.
    """
    _, heads, _, width = query.shape
    rows = query.reshape(1, key.shape[1], heads // key.shape[1], width)
    attended = F.scaled_dot_product_attention(rows, key, value, attn_mask=attention_mask, scale=scaling)
    return attended.reshape(1, 1, heads, width), None


AttentionInterface.register(ONE_TOKEN, _attend)


class _FixedLayer(CacheLayerMixin):
    """One layer of a store that is written at a place held by a tensor, and read whole."""

    is_sliding = False
    is_croppable = False

    def __init__(self, store: SpanCache, index: int, at: torch.Tensor) -> None:
        super().__init__()
        written = [store.keys, store.values, *([] if store.pristine is None else [store.pristine])]
        self._written = [one[index] for one in written]
        self._at = at
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: the store is allocated before the model runs."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one token's keys and values ``(1, kv_heads, 1, head_dim)``; return the whole store."""
        for store, new in zip(self._written, (key_states, value_states, key_states), strict=False):
            store.index_copy_(1, self._at, new[0])
        return self._written[0][None], self._written[1][None]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return key length and offset; the mask is given."""
        return self._written[0].shape[1], 0

    def get_seq_length(self) -> int:
        """Return 0: positions are given."""
        return 0

    def get_max_length(self) -> int:
        """Return -1: nothing is bounded here."""
        return -1

    def get_max_cache_shape(self) -> int:
        """Return -1, under the name older releases use."""
        return -1


class _Step:
    """The step of one stream over its store as it lies now.

    Args:
        model: The text model.
        masks: Names of the masks it takes.
        cache: The stream's cache; what of its store holds no token is set to zero, once.
        embeddings: A token's embedding ``(1, 1, hidden)``, for shape and type.
        positions: Its position as the model takes it.
    """

    def __init__(
        self,
        model: Any,
        masks: Sequence[str],
        cache: SpanCache,
        embeddings: torch.Tensor,
        positions: torch.Tensor,
    ) -> None:
        self._model, self._masks = model, masks
        self.lies_at = _address(cache)
        device = embeddings.device
        self._embeddings, self._positions = embeddings.clone(), positions.clone()
        self._at = torch.tensor([cache.length], device=device)
        self._places = torch.arange(cache.capacity, device=device)
        for store in (cache.keys, cache.values):
            store[:, :, cache.length :] = 0  # what is masked counts zero times, and zero times NaN is NaN
        self._fixed = Cache(layers=[_FixedLayer(cache, index, self._at) for index in range(len(cache.layers))])
        self._graph: torch.cuda.CUDAGraph | None = None
        self._hidden = self._work() if device.type != "cuda" else self._record()

    def _work(self) -> torch.Tensor:
        unseen = (self._places > self._at).to(self._embeddings.dtype)
        mask = torch.where(unseen.bool(), -math.inf, unseen)[None, None, None]
        output = self._model(
            inputs_embeds=self._embeddings,
            position_ids=self._positions,
            past_key_values=self._fixed,
            use_cache=True,
            attention_mask=dict.fromkeys(self._masks, mask),
        )
        hidden: torch.Tensor = output.last_hidden_state[:, -1]
        return hidden

    def _record(self) -> torch.Tensor:
        """Record the work as a CUDA graph; it is done some times before, so that nothing is set up meanwhile."""
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UP):
                self._work()
        torch.cuda.current_stream().wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            hidden = self._work()
        return hidden

    def __call__(self, embeddings: torch.Tensor, positions: torch.Tensor, length: int) -> torch.Tensor:
        """Do the step of a token behind ``length`` others; return its hidden state ``(1, hidden)``."""
        self._embeddings.copy_(embeddings)
        self._positions.copy_(positions)
        self._at.fill_(length)
        if self._graph is None:
            return self._work()
        self._graph.replay()
        return self._hidden.clone()


def _address(cache: SpanCache) -> tuple[int, int]:
    """Return what changes when a store is allocated anew."""
    return cache.keys.data_ptr(), cache.capacity


class OneTokenSteps:
    """One-token steps of all streams of a text model.

    The first step over a store is done both ways. Where the two differ, or recording fails, steps are plain from
    then on, and `refused` says why.

    Args:
        model: The text model.
        masks: Names of the masks it takes.
        plain: Runs it as ever.
    """

    def __init__(self, model: Any, masks: Sequence[str], plain: Plain) -> None:
        self._model, self._masks, self._plain = model, masks, plain
        self._steps: WeakKeyDictionary[SpanCache, _Step] = WeakKeyDictionary()
        self.refused: str | None = None

    def takes(self, embeddings: torch.Tensor, cache: SpanCache) -> bool:
        """Whether this is one token behind a cache that is nothing but its store."""
        return self.refused is None and embeddings.shape[1] == 1 and type(cache) is SpanCache

    def __call__(self, embeddings: torch.Tensor, positions: torch.Tensor, cache: SpanCache) -> torch.Tensor:
        """Run the model on one new token; see `TextDecoder.forward`."""
        step = self._steps.get(cache)
        if step is None or step.lies_at != _address(cache):
            return self._first(embeddings, positions, cache)
        with self._own_kernel():
            hidden = step(embeddings, positions, cache.length)
        for layer in cache.layers:
            layer.length += 1
        return hidden

    def _first(self, embeddings: torch.Tensor, positions: torch.Tensor, cache: SpanCache) -> torch.Tensor:
        length = cache.length
        hidden = self._plain(embeddings, positions, cache)
        cache.take_back(length)
        try:
            with self._own_kernel():
                step = _Step(self._model, self._masks, cache, embeddings, positions)
                again = step(embeddings, positions, length)
        except RuntimeError as error:
            self.refused = f"one-token steps cannot be recorded ({' '.join(str(error).split())}): they are plain"
        else:
            apart = float((again - hidden).abs().max() / hidden.abs().max())
            if apart <= _CLOSE.get(hidden.dtype, _CLOSE_HALF):
                self._steps[cache] = step
            else:
                self.refused = f"a recorded one-token step was {apart:.2g} from a plain one: they are plain"
        if self.refused is not None:
            self._steps.clear()
            return self._plain(embeddings, positions, cache)
        for layer in cache.layers:
            layer.length = length + 1
        return hidden

    def _own_kernel(self) -> _Kernel:
        return _Kernel(self._model.config)


class _Kernel:
    """Lets a model attend by the kernel of the step meanwhile.

    Args:
        config: Its configuration.
    """

    def __init__(self, config: Any) -> None:
        self._config, self._before = config, config._attn_implementation

    def __enter__(self) -> None:
        self._config._attn_implementation = ONE_TOKEN

    def __exit__(self, *error: object) -> None:
        self._config._attn_implementation = self._before
