"""What holds for every frame: untouched tokens stay untouched, kept tokens are a set, streams do not mix."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evalkit.compress import CacherSettings, Pruner, PrunerSettings, dycoke, parse_compression, tome
from evalkit.compress.cacher import (
    CacherState,
    LayerReference,
    encode_stream_chunk,
    flat_rows,
    key_similarity,
    least_similar,
    settle_residuals,
    unit_keys,
)
from evalkit.compress.settings import Segment

seeds = st.integers(0, 2**31 - 1)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(seeds, st.integers(1, 3), st.integers(1, 12), st.data())
def test_scatter_leaves_untouched_tokens_at_stream_plus_cached_update(
    seed: int, frames: int, tokens: int, data: Any
) -> None:
    count = data.draw(st.integers(1, tokens))
    hidden, update = noise(seed, frames, tokens, 4), noise(seed + 1, tokens, 4)
    chosen = least_similar(noise(seed + 2, frames, tokens), count)
    rows = flat_rows(chosen, tokens)
    attention = noise(seed + 3, frames * count, 4)
    before = hidden.clone()
    settle_residuals(hidden, LayerReference(update, update, update), rows, attention, torch.tanh)
    untouched = torch.ones(frames * tokens, dtype=torch.bool)
    untouched[rows] = False
    assert torch.equal(hidden.view(-1, 4)[untouched], (before + update).view(-1, 4)[untouched])
    entered = before.view(-1, 4)[rows] + attention
    assert torch.equal(hidden.view(-1, 4)[rows], entered + torch.tanh(entered))


@given(seeds, st.integers(1, 4), st.integers(1, 30), st.data())
def test_least_similar_tokens_are_sorted_unique_and_below_all_others(
    seed: int, frames: int, tokens: int, data: Any
) -> None:
    count = data.draw(st.integers(1, tokens))
    similarity = noise(seed, frames, tokens)
    chosen = least_similar(similarity, count)
    for frame, row in zip(similarity, chosen.tolist(), strict=True):
        assert row == sorted(set(row))
        others = [i for i in range(tokens) if i not in row]
        assert not others or frame[row].max() <= frame[others].min()


@given(seeds)
def test_similarity_is_the_cosine(seed: int) -> None:
    keys, reference = noise(seed, 2, 5, 6), noise(seed + 1, 5, 6)
    expected = torch.cosine_similarity(keys, reference[None], dim=-1)
    torch.testing.assert_close(key_similarity(keys, unit_keys(reference)), expected, rtol=1e-4, atol=1e-5)


strategies = st.sampled_from(["gaussian", "dual-anchor"])
histories = st.one_of(st.none(), st.integers(1, 4))


@given(seeds, strategies, histories, st.integers(1, 3), st.integers(1, 25), st.integers(1, 30))
def test_kept_tokens_are_sorted_unique_and_as_many_as_asked(
    seed: int, strategy: Any, history: int | None, frames: int, tokens: int, keep: int
) -> None:
    pruner = Pruner(PrunerSettings(keep=keep, strategy=strategy, history=history))
    result = pruner.prune(noise(seed, frames, tokens, 8), pruner.new_state())
    for row in result.kept.tolist():
        assert row == sorted(set(row))
        assert len(row) == min(keep, tokens)
        assert row[0] >= 0
        assert row[-1] < tokens
    assert result.report.tokens_out == result.rows().numel()


@given(seeds, strategies, histories, st.lists(st.booleans(), min_size=1, max_size=8))
def test_a_streams_choices_do_not_depend_on_other_streams(
    seed: int, strategy: Any, history: int | None, turns: list[bool]
) -> None:
    pruner = Pruner(PrunerSettings(keep=4, strategy=strategy, history=history))
    mine, other, alone = pruner.new_state(), pruner.new_state(), pruner.new_state()
    for index, is_mine in enumerate(turns):
        frame = noise(seed + index, 1, 10, 6)
        kept = pruner.prune(frame, mine if is_mine else other).kept
        if is_mine:
            assert torch.equal(kept, pruner.prune(frame, alone).kept)


cacher_settings = st.builds(
    CacherSettings,
    interval=st.integers(1, 5),
    reuse=st.floats(0, 1).map(lambda x: round(x, 3)),
    variant=st.sampled_from(["stc-code", "stc-paper"]),
)


@given(cacher_settings, st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_segments_cover_every_frame_once_and_a_stream_starts_with_a_reference(
    chosen: CacherSettings, chunks: list[int]
) -> None:
    seen = 0
    for frames in chunks:
        segments = chosen.segments(seen, frames)
        assert [i for s in segments for i in range(s.start, s.stop)] == list(range(frames))
        assert seen or segments[0].reference
        flags = [s.reference for s in segments for _ in range(s.start, s.stop)]
        assert flags == [(seen + i) // (chosen.chunk or 1) % chosen.interval == 0 for i in range(frames)]
        seen += frames


class CountingRun:
    """A host of no arithmetic: it only counts what is asked of it."""

    layers = 2

    def __init__(self, frames: int, tokens: int, signature: str) -> None:
        self.frames, self.tokens = frames, tokens
        self.signature: tuple[object, ...] = (signature,)
        self.fresh = 0

    def full(self, segment: Segment, keep: list[LayerReference] | None) -> Tensor:
        self.fresh += (segment.stop - segment.start) * self.tokens * self.layers
        if keep is not None:
            mark = torch.full((self.tokens, 1), float(self.tokens))
            keep.extend(LayerReference(mark, mark, mark) for _ in range(self.layers))
        return torch.zeros(segment.stop - segment.start, self.tokens)

    def partial(self, segment: Segment, layers: list[LayerReference], count: int) -> tuple[Tensor, int]:
        assert [len(layer.key) for layer in layers] == [self.tokens] * self.layers
        fresh = (segment.stop - segment.start) * count * self.layers
        self.fresh += fresh
        return torch.zeros(segment.stop - segment.start, self.tokens), fresh


@given(cacher_settings, st.lists(st.tuples(st.integers(1, 4), st.integers(1, 40)), min_size=1, max_size=8))
def test_a_reference_of_another_size_is_never_used_and_the_report_counts_what_was_computed(
    chosen: CacherSettings, calls: list[tuple[int, int]]
) -> None:
    state = CacherState()
    for frames, tokens in calls:
        run = CountingRun(frames, tokens, f"{tokens} tokens")
        encoded = encode_stream_chunk(run, chosen, state)
        assert encoded.features.shape == (frames, tokens)
        report = encoded.report
        assert report.reused_share is not None
        computed = run.fresh / (frames * tokens * run.layers)
        assert abs(1 - computed - report.reused_share) < 1e-9
        assert report.claimed_share is None or abs(report.reused_share - report.claimed_share) <= 0.02 + 1e-9
        assert report.claimed_share is not None or report.note


pruner_settings = st.one_of(
    st.builds(PrunerSettings, keep=st.integers(1, 300), history=histories, across_streams=st.booleans()),
    st.builds(
        PrunerSettings,
        pruned=st.floats(0, 0.99).map(lambda x: round(x, 3)),
        strategy=st.just("dual-anchor"),
        alpha=st.floats(0, 1).map(lambda x: round(x, 3)),
    ),
)


@settings(max_examples=60)
@given(cacher_settings, pruner_settings)
def test_the_canonical_form_reads_back_to_the_same_specification(
    cacher: CacherSettings, pruner: PrunerSettings
) -> None:
    base = parse_compression("cacher,pruner")
    assert base.vision is not None
    assert base.tokens is not None
    spec = type(base)((type(base.vision)(base.vision.kind, cacher), type(base.tokens)(base.tokens.kind, pruner)))
    assert parse_compression(spec.canonical()) == spec


@given(seeds, st.integers(1, 24), st.integers(0, 20), st.booleans(), st.booleans())
def test_merging_loses_no_token_and_never_the_class_token(
    seed: int, tokens: int, r: int, class_token: bool, distill_token: bool
) -> None:
    found = tome.match(noise(seed, 2, tokens, 4), r, class_token=class_token, distill_token=distill_token)
    fewer = min(r, (tokens - class_token - distill_token) // 2)
    if found is None:
        assert fewer <= 0
        return
    source = tome.merge(torch.eye(tokens).expand(2, -1, -1), found)
    assert source.shape == (2, tokens - fewer, tokens)
    assert (source.sum(dim=1) == 1).all()
    for row, place in zip(source.flatten(0, 1), found.order.flatten(), strict=True):
        assert row[place] == 1
    for protected in (0,) * class_token + (1,) * distill_token:
        alone = torch.eye(tokens)[protected]
        assert all((one == alone).all(dim=-1).any() for one in source)
    assert torch.equal(tome.unmerge(source, found), source.transpose(1, 2) @ source)


@given(seeds, st.integers(5, 14), st.integers(1, 12), st.floats(0, 1))
def test_dycoke_keeps_a_first_frame_of_four_whole_and_the_same_share_of_pruned_ones(
    seed: int, frames: int, tokens: int, ratio: float
) -> None:
    kept = dycoke.merge_in_clip(noise(seed, frames, tokens, 5), ratio)
    counts = torch.bincount(kept // tokens, minlength=frames).tolist()
    keep = int((1 - ratio) * tokens)
    pruned = {index + 2 for index in range(0, frames - 4, 4)} | set(range(1, frames, 2))
    lost = {frames - 1} if frames % 2 else set()
    assert counts == [0 if k in lost else keep if k in pruned else tokens for k in range(frames)]
    assert len(set(kept.tolist())) == len(kept)
