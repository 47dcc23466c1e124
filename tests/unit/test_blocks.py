"""The parts that ReKV's attention is made of: one softmax over two parts, keys in slots, blocks on the host."""

from __future__ import annotations

import pytest
import torch

from evalkit.memory import blocks
from evalkit.memory.blocks import BlockStore, LocalWindow, RotaryTable, attend, merge_parts

HEADS, KV, WIDTH = 6, 2, 16


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def softmaxed(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    keys, values = (one.repeat_interleave(HEADS // KV, dim=0) for one in (keys, values))
    return ((queries @ keys.transpose(1, 2)) * WIDTH**-0.5 + mask).softmax(dim=-1) @ values


@pytest.mark.parametrize("plain", [False, True], ids=["kernel", "written out"])
@pytest.mark.parametrize("count", [1, 5])
def test_two_parts_share_one_softmax(
    plain: bool, count: int, draw: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if plain:
        monkeypatch.setattr(blocks, "attend", blocks._attend_plainly)
    over = blocks.attend if plain else attend
    queries = torch.randn(HEADS, count, WIDTH, generator=draw)
    keys, values = (torch.randn(KV, 12, WIDTH, generator=draw) for _ in range(2))
    mask = torch.zeros(count, 12).masked_fill_(torch.rand(count, 12, generator=draw) < 0.4, -torch.inf)
    mask[:, 0], mask[0, 7:] = 0, -torch.inf  # the first query sees nothing of the second part
    first = over(queries, keys[:, :7], values[:, :7], mask[:, :7])
    second = over(queries, keys[:, 7:], values[:, 7:], mask[:, 7:])
    seen = (mask[:, 7:] == 0).any(dim=1)
    torch.testing.assert_close(merge_parts(first, second, seen), softmaxed(queries, keys, values, mask))


def test_keys_keep_their_distances_when_the_window_begins_anew(draw: torch.Generator) -> None:
    rotary = RotaryTable(1e4 ** -(torch.arange(WIDTH // 2) / (WIDTH // 2)))
    window = LocalWindow((1, KV, WIDTH), 40, rotary, torch.empty(0))
    stream = torch.randn(KV, 400, WIDTH, generator=draw)
    for start in range(0, 400, 8):
        window.make_room(8)
        slots = torch.arange(window.used, window.used + 8)
        keys, values, there = window.write(0, rotary.rotate(stream[:, start : start + 8], slots), stream[:, :8])
        assert keys.shape == values.shape == (KV, min(start, 39) + 8, WIDTH)
        last = start + 8
        expected = rotary.rotate(stream[:, last - len(there) : last], there)
        torch.testing.assert_close(keys, expected, rtol=1e-4, atol=1e-5)
        window.advance(8)
    assert window.tokens == 40
    assert window.used < 400, "the slots began anew"


def test_angles_are_exact_where_float32_is_not() -> None:
    rotary = RotaryTable(torch.ones(1))
    turned = rotary.rotate(torch.tensor([[[1.0, 0.0]]]), torch.tensor([30_000_001]))
    exact = torch.tensor(30_000_001.0, dtype=torch.float64)
    torch.testing.assert_close(turned[0, 0, 0].double(), exact.cos(), rtol=0, atol=1e-6)
    assert abs(float(torch.tensor(30_000_001.0).cos() - turned[0, 0, 0])) > 1e-3


def test_blocks_of_different_sizes_are_read_back_layer_by_layer(draw: torch.Generator) -> None:
    store = BlockStore(2)
    kept = []
    for size in [3, 5] * 40:
        layers = [
            (torch.randn(KV, size, WIDTH, generator=draw), torch.randn(KV, size, WIDTH, generator=draw))
            for _ in range(2)
        ]
        store.add([(keys, values, keys.mean(dim=1)) for keys, values in layers])
        kept.append(layers)
    assert (len(store), store.tokens) == (80, 320)
    for (keys, values), number in zip(store.read(1, [0, 79]), (0, 79), strict=True):
        assert torch.equal(keys, kept[number][1][0])
        assert torch.equal(values, kept[number][1][1])
    means = torch.stack([layers[1][0].mean(dim=1) for layers in kept])
    assert torch.equal(store.means(1), means)
    other = BlockStore(2)
    other.restore(store.state())
    assert (len(other), other.tokens, other.stored_bytes) == (80, 320, store.stored_bytes)
    assert torch.equal(other.means(0), store.means(0))
