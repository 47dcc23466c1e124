"""STC-Pruner: hand-worked scores, memory of a stream, identities and wrong use."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from evalkit.compress import Pruner, PrunerSettings
from evalkit.errors import UsageError


def features(frames: int, tokens: int = 20, dim: int = 16, seed: int = 0) -> Tensor:
    return torch.randn((frames, tokens, dim), generator=torch.Generator().manual_seed(seed))


DUAL = PrunerSettings(keep=1, strategy="dual-anchor", alpha=0.25)


def test_dual_anchor_score_is_the_weighted_sum_of_two_cosine_distances() -> None:
    pruner = Pruner(DUAL)
    state = pruner.new_state()
    pruner.prune(torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), state)  # Temporal anchor (1, 0).
    frame = torch.tensor([[[0.0, 2.0], [4.0, 0.0]]])  # Spatial anchor (2, 1).
    score = pruner._dual_anchor(frame, state)[0]
    to_spatial = torch.tensor([1 - 1 / 5**0.5, 1 - 2 / 5**0.5])
    to_temporal = torch.tensor([1.0, 0.0])
    torch.testing.assert_close(score, 0.25 * to_temporal + 0.75 * to_spatial)


def test_dual_anchor_keeps_the_token_unlike_the_past() -> None:
    pruner = Pruner(PrunerSettings(keep=1, strategy="dual-anchor", alpha=1.0))
    state = pruner.new_state()
    pruner.prune(torch.tensor([[[1.0, 0.0], [1.0, 0.1]]]), state)
    kept = pruner.prune(torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]]]), state).kept
    assert kept.tolist() == [[1]]


def test_the_first_frame_of_a_stream_has_only_its_own_mean() -> None:
    frame = features(1)
    only_space = Pruner(PrunerSettings(keep=5, strategy="dual-anchor", alpha=0.0))
    both = Pruner(PrunerSettings(keep=5, strategy="dual-anchor", alpha=0.9))
    a = only_space.prune(frame, only_space.new_state()).kept
    assert torch.equal(a, both.prune(frame, both.new_state()).kept)


@pytest.mark.parametrize("settings", [PrunerSettings(keep=5), PrunerSettings(keep=5, history=2)])
def test_a_clip_in_one_call_is_scored_frame_by_frame_as_released(settings: PrunerSettings) -> None:
    pruner = Pruner(settings)
    frames, state = features(4, seed=6), pruner.new_state()
    one_by_one = torch.cat([pruner.prune(frame[None], state).kept for frame in frames])
    assert torch.equal(pruner.prune(frames, pruner.new_state()).kept, one_by_one)


@pytest.mark.parametrize("settings", [PrunerSettings(keep=5), PrunerSettings(keep=5, history=2)])
def test_a_restored_memory_goes_on_as_the_one_it_was_taken_from(settings: PrunerSettings) -> None:
    pruner = Pruner(settings)
    state, again = pruner.new_state(), pruner.new_state()
    pruner.prune(features(3, seed=1) + 2.0, state)
    again.restore(*state.snapshot())
    for seed in (2, 3):
        frame = features(1, seed=seed)
        assert torch.equal(pruner.prune(frame, again).kept, pruner.prune(frame, state).kept)


def test_history_forgets_frames_older_than_its_length() -> None:
    short = Pruner(PrunerSettings(keep=5, strategy="dual-anchor", alpha=1.0, history=2))
    old, recent = short.new_state(), short.new_state()
    short.prune(features(1, seed=1) + 3.0, old)
    for state in (old, recent):
        short.prune(features(2, seed=2), state)
    assert torch.equal(old.mean(), recent.mean())  # type: ignore[arg-type]
    unbounded = Pruner(PrunerSettings(keep=5, strategy="dual-anchor", alpha=1.0))
    whole = unbounded.new_state()
    unbounded.prune(features(1, seed=1) + 3.0, whole)
    unbounded.prune(features(2, seed=2), whole)
    assert not torch.allclose(whole.mean(), old.mean())  # type: ignore[arg-type]


def test_frames_of_one_call_are_each_others_past_in_dual_anchor() -> None:
    settings = PrunerSettings(keep=5, strategy="dual-anchor", alpha=1.0)
    frames = features(3)
    pruner = Pruner(settings)
    together = pruner.prune(frames, pruner.new_state()).kept
    state = pruner.new_state()
    apart = torch.cat([pruner.prune(frame[None], state).kept for frame in frames])
    assert torch.equal(together, apart)


@pytest.mark.parametrize("strategy", ["gaussian", "dual-anchor"])
@pytest.mark.parametrize("keep", [20, 21, 500])
def test_keeping_all_tokens_or_more_equals_no_pruner(strategy: Any, keep: int) -> None:
    frames = features(2)
    pruner = Pruner(PrunerSettings(keep=keep, strategy=strategy))
    result = pruner.prune(frames, pruner.new_state())
    assert torch.equal(frames.reshape(-1, 16)[result.rows()], frames.reshape(-1, 16))
    assert result.report.tokens_in == result.report.tokens_out == 40
    assert result.report.claimed_share is None
    assert "nothing is pruned" in result.report.note


def test_pruned_share_zero_equals_no_pruner() -> None:
    pruner = Pruner(PrunerSettings(pruned=0.0))
    assert pruner.prune(features(1), pruner.new_state()).kept.tolist() == [list(range(20))]


@pytest.mark.parametrize("strategy", ["gaussian", "dual-anchor"])
def test_a_new_stream_starts_empty(strategy: Any) -> None:
    pruner = Pruner(PrunerSettings(keep=6, strategy=strategy, alpha=1.0 if strategy == "dual-anchor" else None))
    alone = pruner.prune(features(1, seed=3), pruner.new_state()).kept
    busy = pruner.new_state()
    pruner.prune(features(4, seed=4) + 2.0, busy)
    assert torch.equal(pruner.prune(features(1, seed=3), pruner.new_state()).kept, alone)
    busy.reset()
    assert torch.equal(pruner.prune(features(1, seed=3), busy).kept, alone)


def test_across_streams_reproduces_the_released_leak() -> None:
    leaking = Pruner(PrunerSettings(keep=6, across_streams=True))
    first, second = leaking.new_state(), leaking.new_state()
    leaking.prune(features(1, seed=4) + 2.0, first)
    leaked = leaking.prune(features(1, seed=3), second).kept
    clean = Pruner(PrunerSettings(keep=6))
    state = clean.new_state()
    clean.prune(features(1, seed=4) + 2.0, state)
    assert torch.equal(leaked, clean.prune(features(1, seed=3), state).kept)
    assert not torch.equal(leaked, clean.prune(features(1, seed=3), clean.new_state()).kept)


def test_the_memory_of_a_stream_does_not_grow() -> None:
    pruner = Pruner(PrunerSettings(keep=6))
    state = pruner.new_state()
    for seed in range(50):
        pruner.prune(features(1, seed=seed), state)
    assert state.count == 50
    assert state.total is not None
    assert state.total.shape == (8,)
    assert not state.recent


def test_frames_may_change_their_token_count_within_a_stream() -> None:
    pruner = Pruner(PrunerSettings(pruned=0.5, strategy="dual-anchor"))
    state = pruner.new_state()
    assert pruner.prune(features(1, tokens=20), state).kept.shape == (1, 10)
    assert pruner.prune(features(1, tokens=30), state).kept.shape == (1, 15)


def test_the_papers_shares_keep_the_papers_counts_of_196() -> None:
    assert PrunerSettings(pruned=0.75).kept(196) == 49
    assert PrunerSettings(pruned=0.7).kept(196) == 58
    assert PrunerSettings().kept(196) == 60
    assert PrunerSettings(keep=64).kept(196) == 64
    assert PrunerSettings(pruned=0.99).kept(10) == 1


def test_the_report_claims_the_kept_share() -> None:
    pruner = Pruner(PrunerSettings(keep=5))
    report = pruner.prune(features(2), pruner.new_state()).report
    assert (report.tokens_in, report.tokens_out, report.claimed_share) == (40, 10, 0.25)
    odd = Pruner(PrunerSettings(pruned=0.7))
    report = odd.prune(features(1, tokens=6), odd.new_state()).report
    assert report.tokens_out == 1
    assert report.claimed_share is None
    assert "6 tokens" in report.note


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"keep": 0}, "keep"),
        ({"keep": 2.5}, "keep"),
        ({"keep": 60, "pruned": 0.7}, "not both"),
        ({"pruned": 1.0}, "below 1"),
        ({"pruned": -0.1}, "pruned"),
        ({"alpha": 1.1, "strategy": "dual-anchor"}, "alpha"),
        ({"alpha": -0.1, "strategy": "dual-anchor"}, "alpha"),
        ({"alpha": 0.5}, "gaussian has no alpha"),
        ({"history": 0}, "history"),
        ({"channel_keep_ratio": 0.0}, "channel_keep_ratio"),
        ({"channel_keep_ratio": 2}, "channel_keep_ratio"),
        ({"strategy": "dual_anchor"}, "did you mean 'dual-anchor'"),
        ({"across_streams": "yes"}, "across_streams"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        PrunerSettings(**wrong)


def test_features_of_another_shape_are_refused() -> None:
    pruner = Pruner(PrunerSettings())
    for shape in ((20, 16), (0, 20, 16), (1, 0, 16)):
        with pytest.raises(UsageError, match="frames, tokens, dim"):
            pruner.prune(torch.zeros(shape), pruner.new_state())
