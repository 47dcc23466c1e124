"""The SpanCache: growth, eviction, and one rotation from the pristine key, against dense attention."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from evalkit.memory import PositionRule, assign
from evalkit.memory.cache import SpanCache
from evalkit.memory.ledger import Span

LAYERS, HEADS, DIM = 2, 2, 16


def rotary(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Plain rotary embedding over the first axis."""
    frequency = 1e4 ** (-torch.arange(0, DIM, 2).float() / DIM)
    angle = positions[0][:, None] * frequency
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def rotate(keys: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    cos, sin = rotary(positions)
    low, high = keys.float().chunk(2, dim=-1)
    return (keys.float() * cos + torch.cat([-high, low], dim=-1) * sin).to(keys.dtype)


def line(start: float, count: int) -> np.ndarray:
    return np.tile(np.arange(count, dtype=np.float32) + np.float32(start), (3, 1))


def cache_of(*, rebases: bool = True, capacity: int = 8, dtype: torch.dtype = torch.float32) -> SpanCache:
    return SpanCache(
        layers=LAYERS,
        kv_heads=HEADS,
        head_dim=DIM,
        rotary=rotary,
        device=torch.device("cpu"),
        dtype=dtype,
        rebases=rebases,
        capacity=capacity,
    )


def feed(cache: SpanCache, positions: np.ndarray, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Add random tokens; return their keys and values ``(layers, heads, tokens, dim)``."""
    draw = torch.Generator().manual_seed(seed)
    shape = (2, LAYERS, HEADS, positions.shape[1], DIM)
    keys, values = torch.randn(shape, generator=draw).to(cache.keys.dtype)
    cache.expect(positions)
    for layer in range(LAYERS):
        cache.update(keys[layer, None], values[layer, None], layer)
    return keys, values


def held(cache: SpanCache) -> tuple[torch.Tensor, torch.Tensor]:
    return cache.keys[:, :, : cache.length].clone(), cache.values[:, :, : cache.length].clone()


@pytest.mark.parametrize("rebases", [True, False])
def test_growing_doubles_the_store_and_keeps_what_is_in_it(rebases: bool) -> None:
    cache = cache_of(rebases=rebases, capacity=4)
    parts = [feed(cache, line(3 * k, 3), k) for k in range(6)]
    assert cache.length == cache.get_seq_length() == 18
    assert cache.capacity == 32, "4, 8, 16, 32"
    keys, values = held(cache)
    assert torch.equal(keys, torch.cat([k for k, _ in parts], dim=2))
    assert torch.equal(values, torch.cat([v for _, v in parts], dim=2))


def test_a_store_that_is_filled_at_once_grows_to_what_is_needed() -> None:
    cache = cache_of(capacity=4)
    feed(cache, line(0, 100), 0)
    assert cache.capacity == 100


def test_the_model_sees_a_view_of_the_store_and_nothing_is_copied() -> None:
    cache = cache_of()
    cache.expect(line(0, 2))
    keys, _ = cache.update(torch.ones(1, HEADS, 2, DIM), torch.ones(1, HEADS, 2, DIM), 0)
    assert keys.data_ptr() == cache.keys.data_ptr()


def test_rewinding_forgets_the_newest_tokens() -> None:
    cache = cache_of()
    first, _ = feed(cache, line(0, 3), 0)
    feed(cache, line(3, 2), 1)
    cache.rewind(3)
    assert cache.length == 3
    assert cache.positions.tolist() == line(0, 3).tolist()
    assert torch.equal(held(cache)[0], first)


@pytest.mark.parametrize("rebases", [True, False])
def test_keeping_takes_tokens_in_a_new_order_with_their_values(rebases: bool) -> None:
    cache = cache_of(rebases=rebases)
    keys, values = feed(cache, line(0, 6), 0)
    index = np.asarray([0, 1, 5, 3])
    cache.keep(index, None)
    kept, kept_values = held(cache)
    assert torch.equal(kept, keys[:, :, index])
    assert torch.equal(kept_values, values[:, :, index])
    assert cache.positions[0].tolist() == [0, 1, 5, 3]


@pytest.mark.parametrize("runs", [1, 3, 90])
def test_tokens_move_alike_run_by_run_and_one_by_one(runs: int) -> None:
    cache = cache_of(rebases=False)
    keys, values = feed(cache, line(0, 300), 0)
    index = np.arange(5, 300)
    index = np.delete(index, np.arange(2, 3 * runs, 3)[: runs - 1])
    cache.keep(index, None)
    kept, also = held(cache)
    assert torch.equal(kept, keys[:, :, index])
    assert torch.equal(also, values[:, :, index])


def test_what_moves_is_rotated_and_what_stays_is_untouched() -> None:
    cache = cache_of()
    keys, _ = feed(cache, line(0, 6), 0)
    index = np.asarray([0, 1, 4, 5])
    cache.keep(index, line(0, 4))
    kept = held(cache)[0]
    assert torch.equal(kept[:, :, :2], keys[:, :, :2])
    moved = rotate(keys[:, :, 4:], torch.full((3, 2), -2.0))
    torch.testing.assert_close(kept[:, :, 2:], moved, atol=1e-6, rtol=0)


def test_after_thousands_of_evictions_bf16_keys_equal_one_fresh_rotation() -> None:
    """Ten tokens; every second the second one goes and a new one comes, so that all move."""
    cache = cache_of(capacity=16, dtype=torch.bfloat16)
    keys, _ = feed(cache, line(0, 10), 0)
    pristine = [keys[:, :, k] for k in range(10)]
    born = list(range(10))
    for second in range(7200):
        index = np.asarray([0, *range(2, 10)])
        cache.keep(index, line(0, 9))
        fresh, _ = feed(cache, line(9, 1), 1 + second)
        pristine, born = [*(pristine[k] for k in index), fresh[:, :, 0]], [*(born[k] for k in index), 9]
    delta = torch.arange(10.0) - torch.tensor(born, dtype=torch.float32)
    want = rotate(torch.stack(pristine, dim=2), delta.expand(3, -1))
    assert torch.equal(held(cache)[0], want)
    assert cache.capacity == 16


def test_tokens_that_are_moved_thousands_of_times_do_not_drift() -> None:
    cache = cache_of(dtype=torch.bfloat16)
    keys, _ = feed(cache, line(500, 8), 0)
    for move in range(7200):
        cache.keep(np.arange(8), line(move * 37 % 101, 8))
    assert torch.equal(held(cache)[0], rotate(keys, torch.full((3, 8), 7199 * 37 % 101 - 500.0)))


def attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(DIM)
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1) @ values


def test_evicted_and_rebased_keys_attend_like_a_dense_cache_with_a_mask() -> None:
    """Oracle: keys kept unrotated and whole, rotated afresh to their present positions, the evicted masked."""
    cache, draw = cache_of(), torch.Generator().manual_seed(9)
    plain = torch.empty(LAYERS, HEADS, 0, DIM)
    values = torch.empty(LAYERS, HEADS, 0, DIM)
    alive = np.empty(0, dtype=np.int64)
    for second in range(12):
        if len(alive) > 12:
            kept = np.delete(np.arange(len(alive)), [1, 2, 6])
            cache.keep(kept, line(0, len(kept)))
            alive = alive[kept]
        at = line(len(alive), 5)
        raw = torch.randn(2, LAYERS, HEADS, 5, DIM, generator=draw)
        alive = np.concatenate([alive, np.arange(5) + plain.shape[2]])
        plain, values = torch.cat([plain, raw[0]], dim=2), torch.cat([values, raw[1]], dim=2)
        cache.expect(at)
        for layer in range(LAYERS):
            cache.update(rotate(raw[0, layer], torch.from_numpy(at))[None], raw[1, layer][None], layer)
        placed = torch.zeros(3, plain.shape[2])
        placed[:, alive] = torch.arange(len(alive), dtype=torch.float32)
        mask = torch.zeros(plain.shape[2], dtype=torch.bool)
        mask[alive] = True
        # The oracle sees tokens in order of arrival, the cache in order of position: attention knows neither.
        query = rotate(torch.randn(LAYERS, HEADS, 1, DIM, generator=draw), torch.full((3, 1), float(len(alive))))
        dense = attend(query, rotate(plain, placed), values, mask)
        ours = attend(query, *held(cache), torch.ones(len(alive), dtype=torch.bool))
        torch.testing.assert_close(ours, dense, atol=2e-6, rtol=0, msg=f"second {second}")


@pytest.mark.parametrize("rebases", [True, False])
def test_a_restored_cache_is_the_same_bit_by_bit(rebases: bool) -> None:
    cache = cache_of(rebases=rebases, dtype=torch.bfloat16)
    feed(cache, line(0, 30), 0)
    if rebases:
        cache.keep(np.asarray([0, 1, *range(9, 30)]), line(0, 23))
    other = cache_of(rebases=rebases, dtype=torch.bfloat16)
    feed(other, line(0, 3), 5)
    other.restore({name: tensor.clone() for name, tensor in cache.state().items()})
    assert other.length == cache.length
    assert all(torch.equal(a, b) for a, b in zip(held(other), held(cache), strict=True))
    for one in (cache, other):
        feed(one, line(50, 4), 6)
        one.keep(np.arange(2, one.length), line(0, one.length - 2) if rebases else None)
    assert all(torch.equal(a, b) for a, b in zip(held(other), held(cache), strict=True))
    assert (other.positions == cache.positions).all()


def test_a_block_is_rotated_on_all_three_axes(tiny) -> None:  # type: ignore[no-untyped-def]
    """With Qwen's sectioned rotary: re-basing a vision block equals placing it there in the first place."""
    grid = Span("vision", np.zeros(12, dtype=np.int64), 0, (1, 3, 4), temporal_step=2)
    far, _ = assign([grid], PositionRule(), 40)
    near, _ = assign([grid], PositionRule(), 7)
    network = tiny.network.model.language_model
    # Which of time, row and column turns each pair of a key's halves.
    axes = torch.arange(3).repeat_interleave(torch.tensor(network.config.rope_parameters["mrope_section"]))
    raw = torch.randn(1, 2, 12, 16, generator=torch.Generator().manual_seed(0))

    def placed(positions: np.ndarray) -> torch.Tensor:
        angles = torch.from_numpy(positions)[axes].T * network.rotary_emb.inv_freq
        low, high = raw.chunk(2, dim=-1)
        turned = (low * angles.cos() - high * angles.sin(), high * angles.cos() + low * angles.sin())
        return torch.cat(turned, dim=-1)

    cache = tiny.new_cache(rebases=True)
    cache.expect(far)
    for layer in range(3):
        cache.update(placed(far), raw, layer)
    cache.keep(np.arange(12), near)
    torch.testing.assert_close(cache.keys[0, None, :, :12], placed(near), atol=2e-6, rtol=0)
