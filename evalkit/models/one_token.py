"""The one-token step as a fixed piece of work on fixed tensors, recorded once and replayed on CUDA.

One stream or several: streams that speak together share one record, in which a stream that has nothing to say
writes behind the end of its own store.
"""

from __future__ import annotations

__all__ = ["ONE_TOKEN", "OneTokenSteps", "Part"]

import math
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from transformers import AttentionInterface
from transformers.cache_utils import Cache, CacheLayerMixin

from evalkit.memory.cache import SpanCache

ONE_TOKEN = "evalkit_one_token"  # noqa: S105 - a kernel's name
"""Name under which the kernel of the step is registered with transformers."""
_WARM_UP = 3
_PART = 256
"""Tokens of a store whose values are summed apart: a GPU's blocks each take one, whatever the store's length."""
_CLOSE = {torch.float32: 1e-3}
"""Largest difference of a hidden state between a recorded step and a plain one, over its largest value."""
_CLOSE_HALF = 5e-2

Part = tuple[torch.Tensor, torch.Tensor, SpanCache]
"""A stream's token: embedding ``(1, 1, hidden)``, position as the model takes it, and what came before."""
Plain = Callable[[Sequence[Part]], torch.Tensor]
"""Runs the text model on new tokens as ever; returns hidden states ``(streams, hidden)``."""


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend from a token of each stream to its whole store; a function for transformers' `AttentionInterface`.

    Query heads that share a key head stand in its rows, so that keys are copied for none of them. Scores are in
    the weights' type and their softmax in float32, as in transformers' eager kernel.

    Args:
        module: The attention layer.
        query: ``(1, heads, streams, head_dim)``.
        key: ``(streams, kv_heads, rows, head_dim)``, rows a multiple of 256.
        value: As ``key``.
        attention_mask: float32, additive, ``(streams, 1, 1, rows)``: what of a store is no token yet.
        scaling: Factor on the scores.
        **kwargs: What other kernels want.

    Returns:
        ``(1, streams, heads, head_dim)`` and nothing.
    """
    _, heads, streams, width = query.shape
    kv_heads, rows = key.shape[1:3]
    asked = query[0].transpose(0, 1).reshape(streams, kv_heads, heads // kv_heads, width)
    scores = torch.matmul(asked * (width**-0.5 if scaling is None else scaling), key.transpose(2, 3))
    share = torch.softmax(scores.float() + attention_mask, dim=-1).to(value.dtype)
    parts = share.unflatten(3, (rows // _PART, _PART)).transpose(2, 3)
    attended = torch.matmul(parts, value.unflatten(2, (rows // _PART, _PART)))
    summed = attended.sum(dim=2, dtype=torch.float32).to(value.dtype)
    return summed.reshape(1, streams, heads, width), None


AttentionInterface.register(ONE_TOKEN, _attend)


class _FixedLayer(CacheLayerMixin):
    """One layer of stores that are written at places held by a tensor, and read whole.

    Args:
        written: Keys, values and, where they are kept, pristine keys, ``(streams, kv_heads, rows, head_dim)``.
        streams: ``0, 1, 2, ...``, one a stream.
        at: Row that each stream writes.
    """

    is_sliding = False
    is_croppable = False

    def __init__(self, written: Sequence[torch.Tensor], streams: torch.Tensor, at: torch.Tensor) -> None:
        super().__init__()
        self._written, self._streams, self._at = written, streams, at
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: the stores are allocated before the model runs."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write a token of each stream, ``(1, kv_heads, streams, head_dim)``; return the whole stores."""
        for store, new in zip(self._written, (key_states, value_states, key_states), strict=False):
            store[self._streams, :, self._at] = new[0].transpose(0, 1)
        return self._written[0], self._written[1]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return key length and offset; the mask is given."""
        return self._written[0].shape[2], 0

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
    """The step of some streams over their stores, which it lays side by side in one tensor.

    Args:
        model: The text model.
        masks: Names of the masks it takes.
        caches: The streams' caches. Their stores move.
        part: A token of one of them, for shapes and types.
    """

    def __init__(self, model: Any, masks: Sequence[str], caches: Sequence[SpanCache], part: Part) -> None:
        self._model, self._masks = model, masks
        self.caches = [ref(cache) for cache in caches]
        embedding, position, _ = part
        device, count = embedding.device, len(caches)
        self._embeddings = embedding.repeat(1, count, 1)
        self._positions = position.repeat_interleave(count, dim=-1)
        stores = _side_by_side(caches)
        rows = stores[0].shape[3]
        self._spare = rows - 1
        self._at = torch.full((count,), self._spare, device=device)
        self._rows = torch.arange(rows, device=device)
        self._lie_at = [_address(cache) for cache in caches]
        number = torch.arange(count, device=device)
        self._fixed = Cache(
            layers=[
                _FixedLayer([one[layer] for one in stores], number, self._at) for layer in range(len(stores[0]))
            ]
        )
        self._graph: torch.cuda.CUDAGraph | None = None
        self._hidden = self._work() if device.type != "cuda" else self._record()

    def holds(self, cache: SpanCache, number: int) -> bool:
        """Whether a cache's store still lies where the record has it."""
        return self._lie_at[number] == _address(cache)

    def _work(self) -> torch.Tensor:
        unseen = self._rows > self._at[:, None]
        mask = torch.zeros(unseen.shape, device=unseen.device).masked_fill_(unseen, -math.inf)[:, None, None]
        output = self._model(
            inputs_embeds=self._embeddings,
            position_ids=self._positions,
            past_key_values=self._fixed,
            use_cache=True,
            attention_mask=dict.fromkeys(self._masks, mask),
        )
        hidden: torch.Tensor = output.last_hidden_state[0]
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

    def __call__(self, numbers: Sequence[int], parts: Sequence[Part]) -> torch.Tensor:
        """Do the step of some of the streams, by number; return their hidden states ``(streams, hidden)``."""
        at = [self._spare] * len(self.caches)
        for number, (_, _, cache) in zip(numbers, parts, strict=True):
            at[number] = cache.length
        self._at.copy_(torch.tensor(at))
        present = torch.tensor(numbers).to(self._at.device)
        self._embeddings[:, present] = torch.cat([embedding for embedding, _, _ in parts], dim=1)
        self._positions[..., present] = torch.cat([position for _, position, _ in parts], dim=-1)
        if self._graph is None:
            return self._work()[present]
        self._graph.replay()
        return self._hidden[present]


def _side_by_side(caches: Sequence[SpanCache]) -> list[torch.Tensor]:
    """Move stores into one tensor a kind, with a row to spare.

    Returns:
        Keys, values and, where they are kept, pristine keys, ``(layers, streams, kv_heads, rows, head_dim)``. What
        holds no token is zero: what is masked counts zero times, and zero times NaN is NaN.
    """
    rows = -(-(max(cache.capacity for cache in caches) + 1) // _PART) * _PART
    kinds = ["keys", "values", *([] if caches[0].pristine is None else ["pristine"])]
    wholes = []
    for kind in kinds:  # before any store moves: memory may run out here
        layers, kv_heads, _, width = getattr(caches[0], kind).shape
        wholes.append(getattr(caches[0], kind).new_zeros((layers, len(caches), kv_heads, rows, width)))
    for kind, whole in zip(kinds, wholes, strict=True):
        for number, cache in enumerate(caches):
            used = cache.length
            whole[:, number, :, :used] = getattr(cache, kind)[:, :, :used]
            setattr(cache, kind, whole[:, number, :, : rows - 1])
    return wholes


def _address(cache: SpanCache) -> tuple[int, int]:
    """Return what changes when a store is allocated anew."""
    return cache.keys.data_ptr(), cache.capacity


class OneTokenSteps:
    """One-token steps of all streams of a text model.

    Streams whose tokens come together are stepped together from then on. The first step of a record is done both
    ways. Where the two differ, or recording fails, steps are plain from then on, and `refused` says why.

    Args:
        model: The text model.
        masks: Names of the masks it takes.
        plain: Runs it as ever.
    """

    def __init__(self, model: Any, masks: Sequence[str], plain: Plain) -> None:
        self._model, self._masks, self._plain = model, masks, plain
        self._places: WeakKeyDictionary[SpanCache, tuple[_Step, int]] = WeakKeyDictionary()
        self.refused: str | None = None

    def takes(self, parts: Sequence[Part]) -> bool:
        """Whether each is one token behind a cache that is nothing but its store, and all of one kind."""
        return (
            self.refused is None
            and all(embedding.shape[1] == 1 and type(cache) is SpanCache for embedding, _, cache in parts)
            and len({cache.pristine is None for _, _, cache in parts}) == 1
        )

    def __call__(self, parts: Sequence[Part]) -> torch.Tensor:
        """Run the model on one new token of each stream; return hidden states ``(streams, hidden)``."""
        places = [self._places.get(cache) for _, _, cache in parts]
        step = places[0][0] if places[0] else None
        numbers = [
            place[1]
            for place, (_, _, cache) in zip(places, parts, strict=True)
            if place and place[0] is step and step is not None and step.holds(cache, place[1])
        ]
        if step is None or len(numbers) < len(parts):
            return self._first(parts)
        with _Kernel(self._model.config):
            hidden = step(numbers, parts)
        for _, _, cache in parts:
            for layer in cache.layers:
                layer.length += 1
        return hidden

    def _first(self, parts: Sequence[Part]) -> torch.Tensor:
        lengths = [cache.length for _, _, cache in parts]
        hidden = self._plain(parts)
        for (_, _, cache), length in zip(parts, lengths, strict=True):
            cache.take_back(length)
        caches = self._company(parts)
        try:
            with _Kernel(self._model.config):
                step = _Step(self._model, self._masks, caches, parts[0])
                again = step([caches.index(cache) for _, _, cache in parts], parts)
        except RuntimeError as error:
            self.refused = f"one-token steps cannot be recorded ({' '.join(str(error).split())}): they are plain"
        else:
            apart = float((again - hidden).abs().max() / hidden.abs().max())
            if apart <= _CLOSE.get(hidden.dtype, _CLOSE_HALF):
                self._places.update({cache: (step, number) for number, cache in enumerate(caches)})
            else:
                self.refused = f"a recorded one-token step was {apart:.2g} from a plain one: they are plain"
        if self.refused is not None:
            self._places.clear()
            return self._plain(parts)
        for (_, _, cache), length in zip(parts, lengths, strict=True):
            for layer in cache.layers:
                layer.length = length + 1
        return hidden

    def _company(self, parts: Sequence[Part]) -> list[SpanCache]:
        """Return the caches of these streams and of those that were stepped with one of them and go on."""
        caches = [cache for _, _, cache in parts]
        for place in [self._places.get(cache) for cache in caches]:
            others = [] if place is None else [one() for one in place[0].caches]
            caches += [cache for cache in others if cache is not None and cache not in caches]
        return caches


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
