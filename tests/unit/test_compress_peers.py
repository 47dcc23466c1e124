"""VidCom2, DyCoke and STC's baselines as a session uses them: rules, claims, and memories that come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from evalkit.compress import parse_compression
from evalkit.compress.vidcom2 import choose_in_clip
from evalkit.compress.visionzip import zip_with_class_token
from evalkit.errors import UsageError

Call = Callable[..., tuple[int, str, str]]


def drawn(seed: int, frames: int, tokens: int = 16, dim: int = 8) -> Tensor:
    return torch.randn(frames, tokens, dim, generator=torch.Generator().manual_seed(seed))


def built(text: str) -> Any:
    (part,) = parse_compression(text).parts
    return part.kind.build(part.settings)


def rows(text: str, *calls: Tensor) -> list[list[int]]:
    compressor = built(text)
    state = compressor.new_state()
    return [compressor.prune(features, state).rows().tolist() for features in calls]


def test_vidcom2_takes_every_frame_by_itself_or_a_call_together() -> None:
    features = drawn(0, 3)
    alone = [choose_in_clip(frame.unsqueeze(0), 0.25).kept + 16 * k for k, frame in enumerate(features)]
    assert rows("vidcom2", features) == [torch.cat(alone).tolist()]
    together = choose_in_clip(features, 0.25)
    assert rows("vidcom2(scope=call)", features) == [together.kept.tolist()]
    assert len(set(together.counts.tolist())) > 1


@pytest.mark.parametrize("text", ["vidcom2(keep=1)", "vidcom2(keep=1,scope=call)", "dycoke-ttm(pruned=0)"])
def test_keeping_everything_changes_nothing(text: str) -> None:
    assert rows(text, drawn(1, 3), drawn(2, 2)) == [list(range(48)), list(range(32))]


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("vidcom2(keep=0.25)", [0.25, 0.25, 0.25]),
        ("vidcom2(keep=0.25,scope=call)", [None, None, None]),
        ("dycoke-ttm(pruned=0.5)", [0.75, 0.5, 0.75]),
        ("stc-dart", [1.0, 1.0, 1.0]),
        ("stc-baseline(keep=4)", [0.25, 0.25, 0.25]),
    ],
)
def test_what_is_claimed_of_a_call_is_what_is_kept(text: str, shares: list[float | None]) -> None:
    compressor = built(text)
    state = compressor.new_state()
    for seed, share in enumerate(shares):
        report = compressor.prune(drawn(seed, 2), state).report
        assert report.claimed_share == share
        if share is not None:
            assert report.tokens_out / report.tokens_in == share


@pytest.mark.parametrize("text", ["vidcom2", "dycoke-ttm", "stc-baseline(mode=vidcom2_two_score,keep=4)"])
def test_a_memory_that_was_saved_goes_on_as_the_unbroken_one(text: str) -> None:
    calls = [drawn(seed, 1) for seed in range(6)]
    whole = rows(text, *calls)
    compressor = built(text)
    state, later = compressor.new_state(), compressor.new_state()
    for features in calls[:3]:
        compressor.prune(features, state)
    later.restore(*state.snapshot())
    assert [compressor.prune(features, later).rows().tolist() for features in calls[3:]] == whole[3:]


@pytest.mark.parametrize(("dominant", "contextual"), [(1, 2), (3, 0), (4, 3), (2, 5)])
def test_visionzip_always_keeps_the_class_token_and_merges_the_rest_into_evenly_spaced_ones(
    dominant: int, contextual: int
) -> None:
    attention, hidden, metric = (
        drawn(0, 1, 49, 7).softmax(dim=-1).view(1, 7, 7, 7),
        drawn(1, 1, 7),
        drawn(2, 1, 7, 3),
    )
    zipped = zip_with_class_token(attention, hidden, metric, dominant, contextual)
    looked_at = attention[0, :, 0].sum(dim=0)
    best = [0, *sorted(range(1, 7), key=lambda place: -float(looked_at[place]))[: dominant - 1]]
    rest = [place for place in range(7) if place not in best]
    targets = rest[:: max(1, len(rest) // contextual)][:contextual] if contextual else []
    assert zipped.dominant.tolist() == [best]
    assert zipped.places.tolist() == [[*sorted(best), *targets]]
    merged: dict[int, list[int]] = {target: [] for target in targets}
    for place in (set(rest) - set(targets)) if targets else ():
        alike = [float(cosine_similarity(metric[0, place], metric[0, target], dim=0)) for target in targets]
        merged[targets[alike.index(max(alike))]].append(place)
    for target, row in zip(targets, zipped.out[0, dominant:], strict=True):
        added = hidden[0, merged[target]].mean(dim=0) if merged[target] else torch.zeros(8)
        torch.testing.assert_close(row, hidden[0, target] + added)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vidcom2(keep=0)", "vidcom2 keep is above 0"),
        ("vidcom2(scope=clip)", "scope must be one of frame, call"),
        ("dycoke-ttm(pruned=2)", r"pruned must be a number in \[0, 1\]"),
        ("stc-baseline(mode=dartt)", "did you mean 'dart'"),
        ("vidcom2,pruner", "one compressor for tokens, not 2"),
        ("tome,cacher", r"one compressor for vision, not 2 \(tome, cacher\)"),
        ("visionzip,cacher", "visionzip asks the vision encoder for attention and keys, which cacher does not"),
        ("stc-visionzip,tome", "stc-visionzip asks the vision encoder for attention, which tome does not"),
        ("tome-49,pruner", "tome merges tokens inside the encoder and leaves no grid for pruner"),
        ("tome(r=3,keep=5)", "tome takes r or keep, not both"),
        ("tome(keep=5,inflection=1)", "inflection bends r"),
        ("tome(inflection=2)", r"inflection must be a number in \[-1, 1\]"),
        ("tome(restore=1)", "restore must be true or false"),
        ("visionzip(keep=5,pruned=0.5)", "visionzip takes keep or pruned, not both"),
        ("visionzip(pruned=1)", "pruned must be below 1"),
        ("visionzip(dominant=1,contextual=0)", "visionzip takes dominant or contextual, not both"),
        ("visionzip(keep=3,contextual=4)", "contextual=4 is more than the 3 tokens kept"),
        ("stc-visionzip(share=0)", "share must be above 0"),
        ("frame-stride(every=0)", "every must be a whole number >= 1"),
    ],
)
def test_settings_out_of_range_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_compression(text)


@pytest.mark.parametrize(
    ("model", "text"),
    [("full", "vidcom2"), ("rekv", "dycoke-ttm"), ("full", "tome(r=300,restore=false)"), ("rekv", "visionzip-49")],
)
def test_a_run_proves_that_it_was_on(model: str, text: str, evalkit: Call) -> None:
    words = ("--task", "ovobench", "--data", "demo", "--model", model, "--checkpoint", "tiny-llava")
    limit = ("--limit", "1", "--set", "task.tasks=OCR", "--out", "run")
    code, _, err = evalkit("run", *words, *limit, "--compress", text)
    assert code == 0, err
    assert "compression" not in err


TASKS = ("ovobench", "streamingbench", "videomme", "mlvu", "egoschema", "longvideobench")
OFFERED = (
    "tome-49", "tome(r=100)", "visionzip-50", "visionzip-49-dominant", "vidcom2-25", "vidcom2(scope=call)",
    "dycoke-ttm-70", "frame-stride(every=4)", "stc-visionzip", "stc-dart", "stc-dycoke", "stc",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("model", ["full", "rekv"])
@pytest.mark.parametrize("task", TASKS)
def test_every_compressor_runs_on_some_task_and_keeps_its_claim(task: str, model: str, evalkit: Call) -> None:
    """Each of the six tasks takes a sixth of the compressors, and the next sixth under the other memory."""
    first = (TASKS.index(task) + (model == "rekv")) % len(TASKS)
    for number, text in enumerate(OFFERED[first :: len(TASKS)]):
        words = ("--task", task, "--data", "demo", "--model", model, "--checkpoint", "tiny-llava")
        limit = ("--limit", "1", "--set", "generation.answer_tokens=4", "--out", f"run-{number}")
        code, _, err = evalkit("run", *words, *limit, "--compress", text)
        assert code == 0, (text, err)
        assert "was not what it claims" not in err, text
