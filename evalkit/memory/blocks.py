"""Where keys and values of a stream lie: a local window on the device, and every frame's block on the host.

Window keys are rotated once, to their slot, and attended to where they lie; block keys are kept un-rotated,
because where a block stands is only known when a question has chosen it.
"""

from __future__ import annotations

__all__ = ["BlockStore", "LocalWindow", "RotaryTable", "attend", "merge_parts"]

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

Part = tuple[Tensor, Tensor]
"""Attention over a part of the keys ``(heads, queries, head_dim)``, and log-sum-exp of its scores
``(heads, queries)``."""

_SPARE = 4
"""The window moves to its store's front after this part of its length (1/4) has come in."""


class RotaryTable:
    """Cosines and sines by place, computed in float64: a float32 angle at place 30,000 is off by 0.002.

    Args:
        inverse_frequencies: ``(head_dim / 2,)``.
    """

    def __init__(self, inverse_frequencies: Tensor) -> None:
        self._inverse = inverse_frequencies.detach().double()

    def rotate(self, vectors: Tensor, places: Tensor) -> Tensor:
        """Rotate ``(..., tokens, head_dim)`` by places ``(tokens,)``, halves layout; a negative one turns back."""
        angle = places.double().unsqueeze(1) * self._inverse.to(places.device)
        cos, sin = angle.cos().to(vectors.dtype), angle.sin().to(vectors.dtype)
        half = vectors.shape[-1] // 2
        low, high = vectors[..., :half], vectors[..., half:]
        turned = torch.empty_like(vectors)
        torch.mul(low, cos, out=turned[..., :half]).addcmul_(high, sin, value=-1)
        torch.mul(high, cos, out=turned[..., half:]).addcmul_(low, sin)
        return turned


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Part:
    """Attend to some keys, and return how much weight they had, so that several parts can share one softmax.

    Args:
        queries: ``(heads, queries, head_dim)``.
        keys: ``(kv_heads, keys, head_dim)``; query heads follow one another by key head.
        values: As ``keys``.
        mask: Additive, ``(queries, keys)``.
    """
    kv_heads, length, width = keys.shape
    grouped = queries.unflatten(0, (kv_heads, -1))
    flash = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    if flash is not None and queries.device.type == "cpu" and queries.shape[1] > 1:
        several = (kv_heads, grouped.shape[1], length, width)
        spread = None if mask is None else mask[None, None]
        out, weight = flash(
            grouped, keys[:, None].expand(several), values[:, None].expand(several), 0.0, False, attn_mask=spread
        )
        return out.flatten(0, 1), weight.reshape(queries.shape[0], -1)
    return _attend_plainly(queries, keys, values, mask)


def _attend_plainly(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Part:
    """Attend with the scores written out, where no kernel at hand tells how much weight there was."""
    kv_heads, _, width = keys.shape
    rows = queries.unflatten(0, (kv_heads, -1)).flatten(1, 2)
    scores = (rows @ keys.transpose(1, 2)).float() * width**-0.5
    if mask is not None:
        scores = (scores.view(kv_heads, -1, *mask.shape) + mask).view(scores.shape)
    weight = scores.logsumexp(dim=-1)
    shares = (scores - weight.clamp(min=torch.finfo(torch.float32).min).unsqueeze(-1)).exp()
    out = shares.to(values.dtype) @ values
    shape = (queries.shape[0], queries.shape[1])
    return out.view(*shape, width), weight.view(shape)


def merge_parts(first: Part, second: Part, seen: Tensor | None = None) -> Tensor:
    """Return the attention over both parts under one softmax, ``(heads, queries, head_dim)``.

    Args:
        first: Of it every query sees something.
        second: The other part.
        seen: Which queries see anything of it, ``(queries,)``; kernels differ in what they return where none does.
    """
    share = torch.sigmoid(second[1].float() - first[1].float()).unsqueeze(-1).to(first[0].dtype)
    if seen is not None:
        return torch.where(seen[:, None], torch.lerp(first[0], second[0], share), first[0])
    return torch.lerp(first[0], second[0], share)


class LocalWindow:
    """The last tokens of a stream, all layers in one store.

    A token's key is rotated to its slot. Only distances count, so the slots begin anew, with all keys turned back,
    when the store is full.

    Args:
        shape: ``(layers, kv_heads, head_dim)``.
        length: Tokens a query sees at most.
        rotary: How keys are turned.
        like: A tensor of the device and type.
    """

    def __init__(self, shape: tuple[int, int, int], length: int, rotary: RotaryTable, like: Tensor) -> None:
        layers, heads, width = shape
        self._length, self._rotary = length, rotary
        self._keys = like.new_empty(layers, heads, 0, width)
        self._values = like.new_empty(layers, heads, 0, width)
        self.used = 0
        self.mask: tuple[tuple[int, ...], Tensor] | None = None

    @property
    def tokens(self) -> int:
        """Tokens that the next query may attend to."""
        return min(self.used, self._length)

    def make_room(self, new: int) -> None:
        """Make room for new tokens."""
        if self.used + new <= self._keys.shape[2]:
            return
        live = self.tokens
        moved = self.used - live
        wanted = self._length + self._length // _SPARE + new
        capacity = min(max(2 * (live + new), 1024), wanted)
        if capacity > self._keys.shape[2]:
            self._keys, self._values = (self._moved(one, live, capacity) for one in (self._keys, self._values))
        else:
            for store in (self._keys, self._values):
                store[:, :, :live] = store[:, :, moved : self.used].clone()
        if moved:
            back = torch.full((live,), -moved, device=self._keys.device)
            for keys in self._keys:
                keys[:, :live] = self._rotary.rotate(keys[:, :live], back)
        self.used = live

    def _moved(self, store: Tensor, live: int, capacity: int) -> Tensor:
        larger = store.new_empty(*store.shape[:2], capacity, store.shape[3])
        larger[:, :, :live] = store[:, :, self.used - live : self.used]
        return larger

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Write a layer's new keys, rotated to their slots, and values ``(kv_heads, new, head_dim)``.

        Returns:
            Keys and values that any of the new tokens may see, and their slots.
        """
        first, stop = max(0, self.used - self._length + 1), self.used + keys.shape[1]
        self._keys[layer, :, self.used : stop] = keys
        self._values[layer, :, self.used : stop] = values
        there = torch.arange(first, stop, device=keys.device)
        return self._keys[layer, :, first:stop], self._values[layer, :, first:stop], there

    def advance(self, new: int) -> None:
        """Count new tokens as read, after all layers have written them."""
        self.used += new

    @property
    def held_bytes(self) -> int:
        """Bytes on the device."""
        return 2 * self._keys.numel() * self._keys.element_size()

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint needs, slots as they are: a resumed stream equals an unbroken one."""
        held = slice(self.used - self.tokens, self.used)
        return {
            "keys": self._keys[:, :, held].contiguous(),
            "values": self._values[:, :, held].contiguous(),
            "used": torch.tensor([self.used, self._keys.shape[2]]),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state` returned."""
        self.used, capacity = state["used"].tolist()
        shape = (*self._keys.shape[:2], capacity, self._keys.shape[3])
        self._keys, self._values = self._keys.new_zeros(shape), self._values.new_zeros(shape)
        held = slice(self.used - self.tokens, self.used)
        self._keys[:, :, held] = state["keys"].to(self._keys.device)
        self._values[:, :, held] = state["values"].to(self._keys.device)
        self.mask = None


class BlockStore:
    """Every frame's keys and values, un-rotated, of all layers; and their mean keys.

    They lie on the host, pinned where they come from a GPU; the device holds nothing of them.

    Args:
        layers: Layers of the text model.
    """

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._blocks: list[Tensor] = []
        self._means = torch.empty(0)
        self.tokens = 0
        self.stored_bytes = 0

    def __len__(self) -> int:
        return len(self._blocks)

    def add(self, layers: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Keep a frame.

        Args:
            layers: Of each layer keys and values ``(kv_heads, block, head_dim)`` and the mean key
                ``(kv_heads, head_dim)``, float32.

        Raises:
            MemoryError: The host has no room for it.
        """
        with _host_memory(len(self._blocks)):
            block = torch.stack([torch.stack((keys, values)) for keys, values, _ in layers])
            mean = torch.stack([mean for _, _, mean in layers])
            pinned = block.device.type == "cuda"
            kept = torch.empty(block.shape, dtype=block.dtype, pin_memory=pinned).copy_(block) if pinned else block
            self._remember(mean.cpu())
        self._blocks.append(kept)
        self.tokens += kept.shape[3]
        self.stored_bytes += kept.numel() * kept.element_size() + mean.numel() * mean.element_size()

    def _remember(self, mean: Tensor) -> None:
        count = len(self._blocks)
        if count == (self._means.shape[1] if self._means.ndim > 1 else 0):
            larger = mean.new_empty(mean.shape[0], max(64, 2 * count), *mean.shape[1:])
            if count:
                larger[:, :count] = self._means
            self._means = larger
        self._means[:, count] = mean

    def means(self, layer: int) -> Tensor:
        """Return the mean keys of a layer's blocks, ``(blocks, kv_heads, head_dim)``."""
        return self._means[layer, : len(self._blocks)]

    def read(self, layer: int, blocks: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Return keys and values ``(kv_heads, block, head_dim)`` of some blocks of a layer, where they lie."""
        return [(self._blocks[number][layer, 0], self._blocks[number][layer, 1]) for number in blocks]

    def size(self, block: int) -> int:
        """Return the tokens of a block."""
        return int(self._blocks[block].shape[3])

    def clear(self) -> None:
        """Forget everything."""
        self._blocks, self._means = [], torch.empty(0)
        self.tokens = self.stored_bytes = 0

    def state(self) -> dict[str, Tensor]:
        """Return every tensor that is kept: one a block, and the mean keys."""
        kept = {f"{number:06d}": block for number, block in enumerate(self._blocks)}
        return kept | ({"means": self._means[:, : len(self._blocks)].contiguous()} if kept else {})

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state` returned."""
        self.clear()
        self._blocks = [state[name] for name in sorted(state) if name != "means"]
        self._means = state.get("means", self._means)
        self.tokens = sum(block.shape[3] for block in self._blocks)
        held = [*self._blocks, self._means]
        self.stored_bytes = sum(one.numel() * one.element_size() for one in held)


@contextmanager
def _host_memory(frames: int) -> Iterator[None]:
    """Name what ran out of memory: on the host torch says so by a bare RuntimeError.

    Raises:
        MemoryError: It did.
    """
    try:
        yield
    except RuntimeError as error:
        if "memory" not in str(error).lower():
            raise
        raise MemoryError(
            f"no room on the host for the keys and values of frame {frames + 1}: lower the frame rate, prune "
            "tokens (--compress) or cut the stream"
        ) from error
