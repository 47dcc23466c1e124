"""SpanCache: a pre-allocated transformers cache that evicts spans and re-bases rotary positions."""

from __future__ import annotations

__all__ = ["ForkedCache", "ManyStreams", "Rotary", "SpanCache", "StreamCaches"]

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.cache_utils import Cache, CacheLayerMixin

Rotary = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Maps positions ``(3, tokens)`` to cosines and sines ``(tokens, head_dim)`` in float32."""
MOST_RUNS = 64
"""Runs of tokens up to which moving them run by run is cheaper than token by token."""


class _SpanLayer(CacheLayerMixin):
    """One layer's window onto the shared store."""

    is_sliding = False
    is_croppable = False

    def __init__(self, store: SpanCache, index: int) -> None:
        super().__init__()
        self._store = store
        self._index = index
        self.length = 0
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: the store is allocated before the model runs."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new keys and values ``(1, kv_heads, tokens, head_dim)`` and return all that is cached."""
        store, start = self._store, self.length
        stop = start + key_states.shape[-2]
        store.keys[self._index, :, start:stop] = key_states[0]
        store.values[self._index, :, start:stop] = value_states[0]
        if store.pristine is not None:
            store.pristine[self._index, :, start:stop] = key_states[0]
        self.length = stop
        return store.keys[self._index, None, :, :stop], store.values[self._index, None, :, :stop]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return key length and offset for a query of this length."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Return the number of cached tokens."""
        return self.length

    def get_max_length(self) -> int:
        """Return -1: the store grows."""
        return -1

    def get_max_cache_shape(self) -> int:
        """Return -1, under the name older releases use."""
        return -1


class SpanCache(Cache):
    """Keys and values of all layers in one store that doubles when it is full.

    Keys are kept twice where positions are re-based: as they were when new (pristine) and as the model reads
    them now. A re-basing rotates once from the pristine key, so that no error adds up over evictions.

    Args:
        layers: Decoder layers.
        kv_heads: Key and value heads.
        head_dim: Size of a head.
        rotary: The model's rotary embedding.
        device: Where the store lies.
        dtype: Type of keys and values.
        rebases: Whether positions are going to be re-based.
        capacity: Tokens allocated at first.
    """

    def __init__(
        self,
        *,
        layers: int,
        kv_heads: int,
        head_dim: int,
        rotary: Rotary,
        device: torch.device,
        dtype: torch.dtype,
        rebases: bool,
        capacity: int = 4096,
    ) -> None:
        super().__init__(layers=[_SpanLayer(self, index) for index in range(layers)])
        self.rotary = rotary
        shape = (layers, kv_heads, capacity, head_dim)
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.pristine = torch.empty(shape, device=device, dtype=dtype) if rebases else None
        self._born = np.empty((3, 0), dtype=np.float32)
        self._placed = np.empty((3, 0), dtype=np.float32)

    @property
    def length(self) -> int:
        """Number of cached tokens."""
        return int(self.layers[0].length)

    @property
    def capacity(self) -> int:
        """Tokens the store can hold before it grows."""
        return int(self.keys.shape[2])

    @property
    def positions(self) -> NDArray[np.float32]:
        """Positions the cached keys stand at, shape ``(3, tokens)``."""
        return self._placed

    def expect(self, positions: NDArray[np.float32]) -> None:
        """Make room for the tokens the model is about to see.

        Args:
            positions: Their positions, shape ``(3, tokens)``.
        """
        self._born = np.concatenate([self._born, positions], axis=1)
        self._placed = np.concatenate([self._placed, positions], axis=1)
        needed = self._stored(self._born.shape[1])
        if needed > self.capacity:
            self._grow(max(needed, 2 * self.capacity))

    def _stored(self, length: int) -> int:
        """Return how many of the first ``length`` tokens lie in this store."""
        return length

    def _grow(self, capacity: int) -> None:
        used = self._stored(self.length)

        def larger(old: torch.Tensor) -> torch.Tensor:
            new = torch.empty((*old.shape[:2], capacity, old.shape[3]), device=old.device, dtype=old.dtype)
            new[:, :, :used] = old[:, :, :used]
            return new

        self.keys = larger(self.keys)
        self.values = larger(self.values)
        if self.pristine is not None:
            self.pristine = larger(self.pristine)

    def rewind(self, length: int) -> None:
        """Forget every token from number ``length`` on."""
        for layer in self.layers:
            layer.length = min(layer.length, length)
        self._born = self._born[:, :length]
        self._placed = self._placed[:, :length]

    def keep(self, index: NDArray[np.int64], positions: NDArray[np.float32] | None) -> None:
        """Keep some tokens, in a new order, and place them.

        Args:
            index: Which cached tokens stay, shape ``(kept,)``.
            positions: Where they now stand, shape ``(3, kept)``; ``None`` leaves them where they are.
        """
        used = self.length
        count = len(index)
        same = np.arange(count) == index if count <= used else np.zeros(count, dtype=bool)
        first = int(np.argmin(same)) if not same.all() else count
        self._born = self._born[:, index]
        placed = self._placed[:, index]
        if first < count:
            stores = [self.values, self.keys if self.pristine is None else self.pristine]
            for store in stores:
                store[:, :, first:count] = _taken(store, index[first:])
        for layer in self.layers:
            layer.length = count
        if positions is None or self.pristine is None:
            if self.pristine is not None and first < count:
                self._rotate(first, count, placed)
            self._placed = placed
            return
        changed = (positions != placed).any(axis=0)
        changed[first:] = True
        if changed.any():
            start = int(np.argmax(changed))
            self._rotate(start, count, positions)
        self._placed = positions

    def keep_by_head(self, before: NDArray[np.int64], chosen: torch.Tensor, after: NDArray[np.int64]) -> None:
        """Keep in every layer and head tokens of its own, between some that all of them keep.

        Tokens stay where they stood; those that differ by head have no one position: `positions` says NaN of them.

        Args:
            before: Cached tokens that stand before them, ``(tokens,)``.
            chosen: Cached tokens of each layer and head, ``(layers, kv_heads, kept)``.
            after: Cached tokens that stand behind them, ``(tokens,)``.

        Raises:
            ValueError: The cache re-bases positions, which these tokens do not share.
        """
        if self.pristine is not None:
            raise ValueError("a cache that re-bases positions keeps the same tokens in every head")
        start, stop = len(before), len(before) + chosen.shape[2]
        count = stop + len(after)
        first, last = (torch.from_numpy(index).to(self.keys.device) for index in (before, after))
        for store in (self.keys, self.values):
            wide = chosen.unsqueeze(-1).expand(-1, -1, -1, store.shape[3])
            middle, tail = store.gather(2, wide), store.index_select(2, last)
            if not np.array_equal(before, np.arange(start)):
                store[:, :, :start] = store.index_select(2, first)
            store[:, :, start:stop], store[:, :, stop:count] = middle, tail
        nowhere = np.full((3, chosen.shape[2]), np.nan, dtype=np.float32)
        kept = [self._placed[:, before], nowhere, self._placed[:, after]]
        self._placed = np.concatenate(kept, axis=1)
        self._born = self._placed
        for layer in self.layers:
            layer.length = count

    def turned(self, vectors: torch.Tensor, positions: NDArray[np.float32]) -> torch.Tensor:
        """Rotate ``(heads, tokens, head_dim)`` to positions ``(3, tokens)``, as the model does with its keys."""
        placed = torch.from_numpy(np.ascontiguousarray(positions)).to(vectors.device)
        cos, sin = self.rotary(placed)
        low, high = vectors.float().chunk(2, dim=-1)
        half = low.shape[-1]
        turned = [low * cos[:, :half] - high * sin[:, :half], high * cos[:, half:] + low * sin[:, half:]]
        return torch.cat(turned, dim=-1).to(vectors.dtype)

    def _rotate(self, start: int, stop: int, positions: NDArray[np.float32]) -> None:
        assert self.pristine is not None
        delta = torch.from_numpy(positions[:, start:stop] - self._born[:, start:stop]).to(self.keys.device)
        cos, sin = self.rotary(delta)
        fresh = self.pristine[:, :, start:stop]
        half = fresh.shape[-1] // 2
        target = self.keys[:, :, start:stop]
        low, high, out_low, out_high = fresh[..., :half], fresh[..., half:], target[..., :half], target[..., half:]
        if fresh.dtype == torch.float32:
            # In place: this runs over the whole cache every second, and memory traffic is its price.
            torch.mul(low, cos[:, :half], out=out_low).addcmul_(high, sin[:, :half], value=-1)
            torch.mul(high, cos[:, half:], out=out_high).addcmul_(low, sin[:, half:])
            return
        low, high = low.float(), high.float()
        out_low.copy_(low * cos[:, :half] - high * sin[:, :half])
        out_high.copy_(high * cos[:, half:] + low * sin[:, half:])

    def clear(self) -> None:
        """Forget everything; the store stays allocated."""
        self.rewind(0)

    def state(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint needs: pristine keys, values and both position tables."""
        used = self.length
        source = self.keys if self.pristine is None else self.pristine
        return {
            "keys": source[:, :, :used].contiguous(),
            "values": self.values[:, :, :used].contiguous(),
            "born": torch.from_numpy(np.ascontiguousarray(self._born)),
            "placed": torch.from_numpy(np.ascontiguousarray(self._placed)),
            "capacity": torch.tensor(self.capacity),
        }

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go back to what ``state`` returned."""
        self.clear()
        capacity = int(state["capacity"])
        if capacity > self.capacity:
            self._grow(capacity)
        self._born = state["born"].numpy().copy()
        self._placed = state["placed"].numpy().copy()
        used = self._born.shape[1]
        self.values[:, :, :used] = state["values"].to(self.values.device)
        source = self.keys if self.pristine is None else self.pristine
        source[:, :, :used] = state["keys"].to(source.device)
        for layer in self.layers:
            layer.length = used
        if self.pristine is not None:
            self._rotate(0, used, self._placed)

    def fork(self) -> ForkedCache:
        """Return a cache that goes on behind this one's tokens and leaves them where they are.

        Nothing is copied: this cache must not change while the other is in use.
        """
        return ForkedCache(self, self._born, self._placed)

    def take_back(self, length: int) -> None:
        """Forget what a forward that broke off has written behind token number ``length``, and expect it again."""
        for layer in self.layers:
            layer.length = min(layer.length, length)


def _taken(store: torch.Tensor, index: NDArray[np.int64]) -> torch.Tensor:
    """Copy tokens of a store ``(layers, kv_heads, capacity, head_dim)``, on a CPU run by run if runs are few."""
    starts = [0, *(np.flatnonzero(np.diff(index) != 1) + 1).tolist(), len(index)]
    if len(starts) > MOST_RUNS or store.device.type != "cpu":
        return store.index_select(2, torch.from_numpy(index).to(store.device))
    runs = [store[:, :, index[a] : index[b - 1] + 1] for a, b in itertools.pairwise(starts)]
    return torch.cat(runs, dim=2)


class _ForkedLayer(_SpanLayer):
    """One layer of a fork: the trunk's tokens, then its own."""

    def __init__(self, store: SpanCache, index: int, trunk: SpanCache) -> None:
        super().__init__(store, index)
        self._trunk = trunk
        self.shared = trunk.length
        self.length = trunk.length

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new keys and values behind the fork's own and return the trunk's and these."""
        shared, index = self.shared, self._index
        self.length -= shared
        own = super().update(key_states, value_states)
        self.length += shared
        if not shared:
            return own
        keys, values = self._trunk.keys[index, None, :, :shared], self._trunk.values[index, None, :, :shared]
        return torch.cat([keys, own[0]], dim=2), torch.cat([values, own[1]], dim=2)


class ForkedCache(SpanCache):
    """What one question adds to a memory that several are asked of at once.

    Args:
        trunk: The memory.
        born: Its tokens' first positions, ``(3, tokens)``.
        placed: Where they stand now.
    """

    def __init__(self, trunk: SpanCache, born: NDArray[np.float32], placed: NDArray[np.float32]) -> None:
        layers, kv_heads, _, head_dim = trunk.keys.shape
        super().__init__(
            layers=layers,
            kv_heads=kv_heads,
            head_dim=head_dim,
            rotary=trunk.rotary,
            device=trunk.keys.device,
            dtype=trunk.keys.dtype,
            rebases=False,
            capacity=256,
        )
        self.layers = [_ForkedLayer(self, index, trunk) for index in range(layers)]
        self._born, self._placed = born, placed

    def _stored(self, length: int) -> int:
        return length - int(self.layers[0].shared)

    def rewind(self, length: int) -> None:
        """Forget every token from number ``length`` on, in this fork alone."""
        super().rewind(length)
        for layer in self.layers:
            layer.shared = min(layer.shared, length)


class ManyStreams(list[torch.Tensor]):
    """Keys or values of several streams, one tensor ``(1, kv_heads, tokens, head_dim)`` each.

    Args:
        streams: The tensors.
        new: How many tokens of each stream are new.
    """

    def __init__(self, streams: Sequence[torch.Tensor], new: Sequence[int]) -> None:
        super().__init__(streams)
        self.new = tuple(new)


class _StreamsLayer(CacheLayerMixin):
    """One layer of several streams' caches."""

    is_sliding = False
    is_croppable = False

    def __init__(self, layers: Sequence[CacheLayerMixin], new: Sequence[int]) -> None:
        super().__init__()
        self._layers, self._new = layers, new
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: every stream's store is allocated before the model runs."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give each stream its own of the keys and values ``(1, kv_heads, tokens, head_dim)``.

        Returns:
            All that each has cached, as `ManyStreams`; only a kernel that knows them can attend to them.
        """
        cached = [
            layer.update(keys, values)
            for layer, keys, values in zip(
                self._layers,
                key_states.split(self._new, dim=2),
                value_states.split(self._new, dim=2),
                strict=True,
            )
        ]
        keys = ManyStreams([one for one, _ in cached], self._new)
        values = ManyStreams([one for _, one in cached], self._new)
        return keys, values  # type: ignore[return-value]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return key length and offset: every stream has a mask of its own, so there is none in common."""
        return query_length, 0

    def get_seq_length(self) -> int:
        """Return 0: positions are given."""
        return 0

    def get_max_length(self) -> int:
        """Return -1: the stores grow."""
        return -1

    def get_max_cache_shape(self) -> int:
        """Return -1, under the name older releases use."""
        return -1


class StreamCaches(Cache):
    """Caches of several streams, whose new tokens go through the model in one row.

    Args:
        caches: One cache a stream.
        new: How many tokens of each stream the row holds, in the same order.
    """

    def __init__(self, caches: Sequence[SpanCache], new: Sequence[int]) -> None:
        layers = zip(*(cache.layers for cache in caches), strict=True)
        super().__init__(layers=[_StreamsLayer(layer, new) for layer in layers])
