"""Compressors on any input: ties go to the first place, budgets hold, asking for everything changes nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evalkit.compress import dycoke, parse_compression, tome, vidcom2, visionzip
from evalkit.compress.contract import SideProducts
from evalkit.compress.novelty import highest, lowest
from evalkit.errors import UsageError
from evalkit.memory.infinipot import InfiniPotSettings, select_tokens

SEEDS = st.integers(0, 2**31)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.data())
def test_of_equal_scores_the_first_places_stay(scores: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(scores)))
    by_hand = sorted(sorted(range(len(scores)), key=lambda place: (scores[place], place))[:count])
    assert lowest(torch.tensor(scores), count).tolist() == by_hand
    by_hand = sorted(sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:count])
    assert highest(torch.tensor(scores), count).tolist() == by_hand


COMPRESSORS = ("pruner(keep=5)", "pruner(keep=5,strategy=dual-anchor)", "vidcom2(keep=0.5)", "dycoke-ttm",
               "stc-baseline(keep=5)", "stc-baseline(mode=vidcom2_two_score,keep=5)", "visionzip(keep=5)",
               "stc-visionzip(share=0.5)")  # fmt: skip


def kept(text: str, features: Tensor, side: SideProducts) -> list[int]:
    """Return the rows that a compressor keeps of a stream's first call."""
    (part,) = parse_compression(text).parts
    compressor = part.kind.build(part.settings)
    given = (side,) if part.kind.needs else ()
    rows: list[int] = compressor.prune(features, compressor.new_state(), *given).rows().tolist()
    return rows


@settings(max_examples=25)
@pytest.mark.parametrize("text", COMPRESSORS)
@given(SEEDS, st.integers(6, 16), st.integers(1, 3))
def test_of_tokens_that_are_all_alike_every_compressor_keeps_the_first(
    text: str, seed: int, tokens: int, frames: int
) -> None:
    features = draw(seed, 1, 1, 8).expand(frames, tokens, 8)
    side = SideProducts(torch.full((frames, tokens), 1 / tokens), torch.ones(frames, tokens, 4))
    rows = kept(text, features, side)
    for frame in range(frames):
        inside = [row - frame * tokens for row in rows if frame * tokens <= row < (frame + 1) * tokens]
        if text != "visionzip(keep=5)":
            assert inside == list(range(len(inside)))
        else:  # what is not chosen stands in even steps for its neighbours
            assert inside[:4] == [0, 1, 2, 3]


@settings(max_examples=25)
@pytest.mark.parametrize("text", COMPRESSORS)
@given(SEEDS, st.sampled_from([torch.float16, torch.bfloat16]))
def test_half_precision_features_are_scored_in_float32(text: str, seed: int, dtype: torch.dtype) -> None:
    """The choice is that of the same numbers in float32; scored in half precision many would be equal."""
    features = draw(seed, 2, 40, 16).to(dtype)
    side = SideProducts(draw(seed + 1, 2, 40).softmax(dim=-1), draw(seed + 2, 2, 40, 4))
    assert kept(text, features, side) == kept(text, features.float(), side)


@given(SEEDS, st.integers(2, 20), st.integers(1, 30))
def test_merged_tokens_weigh_what_went_into_them_and_go_back_to_their_places(
    seed: int, tokens: int, r: int
) -> None:
    x = draw(seed, 2, tokens, 3)
    matching = tome.match(draw(seed + 1, 2, tokens, 4), r)
    assert matching is not None
    size = tome.merge(torch.ones(2, tokens, 1), matching)
    out = tome.merge(x, matching) / size
    assert out.shape[1] == tokens - min(r, tokens // 2)
    torch.testing.assert_close(size.sum(dim=1), torch.full((2, 1), float(tokens)))
    torch.testing.assert_close((out * size).sum(dim=1), x.sum(dim=1), rtol=1e-4, atol=1e-4)
    back = tome.unmerge(out, matching)
    torch.testing.assert_close(back.sum(dim=1), x.sum(dim=1), rtol=1e-4, atol=1e-4)


def test_merging_nothing_is_no_matching() -> None:
    assert tome.match(torch.ones(1, 10, 4), 0) is None
    assert tome.match(torch.ones(1, 2, 4), 5, class_token=True) is None


@pytest.mark.parametrize(
    ("layers", "r", "plan"),
    [(4, 8, [8, 8, 8, 8]), (5, (6, -1.0), [12, 9, 6, 3, 0]), (3, [5, 2], [5, 2, 0]), (1, (6, -1.0), [12])],
)
def test_the_schedule_says_what_each_layer_merges(layers: int, r: int | list[float], plan: list[int]) -> None:
    assert tome.merges_per_layer(layers, r) == plan


@given(SEEDS, st.integers(4, 20))
def test_a_frame_keeps_everything_at_a_share_of_one(seed: int, tokens: int) -> None:
    """Of several frames the usual ones lose tokens even then: their budget is what unusual ones have too much."""
    choice = vidcom2.choose_in_clip(draw(seed, 1, tokens, 8), 1.0)
    assert choice.kept.tolist() == list(range(tokens))


@given(SEEDS, st.integers(1, 6), st.integers(4, 20), st.floats(0.05, 1.0))
def test_no_frame_of_a_clip_is_lost_or_doubled(seed: int, frames: int, tokens: int, share: float) -> None:
    choice = vidcom2.choose_in_clip(draw(seed, frames, tokens, 8), share)
    assert choice.counts.min() >= 1
    assert choice.counts.max() <= max(1, round(2 * share * tokens))
    kept = choice.kept.tolist()
    assert kept == sorted(set(kept))
    assert len(kept) == int(choice.counts.sum())


@given(SEEDS, st.integers(2, 30))
def test_keeping_every_dominant_token_changes_no_vector(seed: int, tokens: int) -> None:
    features = draw(seed, 2, tokens, 5)
    zipped = visionzip.zip_without_class_token(
        draw(seed + 1, 2, tokens).abs(), features, draw(seed + 2, 2, tokens, 4), tokens, tokens
    )
    assert torch.equal(zipped.out, features)
    assert zipped.places.tolist() == [list(range(tokens))] * 2


@given(SEEDS, st.integers(1, 13), st.floats(0.0, 0.9))
def test_a_stream_of_frames_loses_none_and_forgets_beyond_its_group(seed: int, frames: int, ratio: float) -> None:
    features = draw(seed, frames, 10, 6)
    memory = dycoke.TemporalMemory(ratio)
    kept = [memory.choose(frame) for frame in features]
    expected = [10 if number % 4 == 0 else int((1 - ratio) * 10) for number in range(frames)]
    assert [len(one) for one in kept] == expected
    later = dycoke.TemporalMemory(ratio)
    again = [later.choose(frame) for frame in features[4:]]
    assert all(torch.equal(a, b) for a, b in zip(kept[4:], again, strict=True))


@pytest.mark.parametrize("ratio", [0.3, 0.7])
def test_through_a_stream_it_keeps_what_the_clip_rule_keeps_but_for_the_clips_end(ratio: float) -> None:
    features = draw(7, 12, 16, 6)
    clip = dycoke.merge_in_clip(features, ratio)
    memory = dycoke.TemporalMemory(ratio)
    for number, frame in enumerate(features):
        inside = sorted((clip[(clip >= number * 16) & (clip < (number + 1) * 16)] - number * 16).tolist())
        kept = memory.choose(frame).tolist()
        assert kept == inside or number == 10  # the last group's third frame stays whole in a clip


@settings(max_examples=30)
@given(SEEDS, st.integers(2, 8), st.integers(1, 8), st.booleans())
def test_a_cache_within_its_budget_is_left_alone_and_a_larger_one_is_cut_to_it(
    seed: int, frames: int, budget: int, pooling: bool
) -> None:
    keys, values = draw(seed, 4, 2, frames * 6, 4), draw(seed + 1, 4, 2, frames * 6, 4)
    try:
        settings = InfiniPotSettings(budget, tar_ratio=0.5, query_ratio=0.2, pooling=pooling)
        kept = select_tokens(keys, values, settings, tokens=6, height=2)
    except UsageError as error:
        assert "newest" in str(error)  # noqa: PT017 - some budgets cannot hold the newest frames
        return
    assert kept.shape == (4, 2, 6 * min(frames, budget))
    assert (kept.diff(dim=-1) > 0).all()


def test_frames_that_are_not_whole_are_refused() -> None:
    with pytest.raises(UsageError, match="no whole frames of 6"):
        select_tokens(
            draw(0, 1, 1, 13, 4), draw(1, 1, 1, 13, 4), InfiniPotSettings(4, query_ratio=0.1), tokens=6, height=2
        )
