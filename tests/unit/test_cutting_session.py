"""Memories that cut keys and values by layer and head: what stays is what was chosen, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import DynamicCache

from evalkit.errors import ModelError, UsageError
from evalkit.memory import FullAttention, assign
from evalkit.memory.budgets import InfiniPotSettings
from evalkit.memory.infinipot import select_tokens
from evalkit.memory.tensors import LayerTokens, TensorMemory
from evalkit.models.backbone import Features
from evalkit.models.catalog import policy_recipe
from evalkit.models.cutting import CuttingSession, watched_queries
from evalkit.models.entry import ModelChoice
from evalkit.models.layout import VisionBlock
from evalkit.models.protocol import SessionRequest
from evalkit.models.session import CachedSession, PrefillTrace
from evalkit.models.settings import GenerationSettings
from evalkit.stream import Chunk, Elicitation, Narration

Seconds = Callable[..., Iterator[Chunk]]
GREEDY = GenerationSettings(temperature=0, max_new_tokens=5, answer_tokens=6)
REQUEST = SessionRequest("sample", 2.0)
SMALL = InfiniPotSettings(frames=4, between=2, query_ratio=0.2)


@dataclass(frozen=True, slots=True)
class LastQueries(TensorMemory):
    """Keeps the frames' tokens that the last second's queries look at most."""

    frames: int = 2

    wants_queries: ClassVar[bool] = True

    @property
    def most_frames(self) -> int:
        return self.frames + 1

    def select(self, held: LayerTokens) -> Tensor:
        assert held.queries is not None
        heads = held.keys.shape[0]
        looked = held.queries.mean(dim=1).unflatten(0, (heads, -1)).mean(dim=1)
        scores = (held.keys @ looked.unsqueeze(-1)).squeeze(-1)
        best = (-scores).sort(dim=-1, stable=True).indices[:, : self.frames * held.per_frame]
        return best.sort(dim=-1).values


class Watch:
    def __init__(self) -> None:
        self.prefills: list[PrefillTrace] = []

    def prefilled(self, trace: PrefillTrace) -> None:
        self.prefills.append(trace)

    def replied(self, ids: Any, cached: int) -> None:
        pass


def opened(
    tiny: Any, memory: TensorMemory, request: SessionRequest = REQUEST, watch: Any = None
) -> CuttingSession:
    return CuttingSession(tiny, memory, GREEDY, request, trace=watch)


def answer(session: Any) -> Any:
    return session.ask("What is happening now?", Elicitation(), key="q")


def test_with_a_budget_of_everything_it_is_full_attention_to_the_bit(tiny: Any, seconds: Seconds) -> None:
    watches = Watch(), Watch()
    full = CachedSession(tiny, FullAttention(), GREEDY, REQUEST, trace=watches[0])
    cut = opened(tiny, InfiniPotSettings(frames=90, between=30), watch=watches[1])
    for chunk in seconds(6):
        assert full.observe(chunk).kept == cut.observe(chunk).kept
    assert answer(full).text == answer(cut).text
    theirs, ours = (watch.prefills[-1] for watch in watches)
    assert torch.equal(theirs.logits, ours.logits)


def test_what_stays_is_what_the_published_rule_chooses_in_each_layer_and_head(tiny: Any, seconds: Seconds) -> None:
    full = CachedSession(tiny, FullAttention(), GREEDY, REQUEST)
    cut = opened(tiny, SMALL)
    chunks = list(seconds(7))
    for chunk in chunks[:6]:
        full.observe(chunk)
        before = cut.observe(chunk)
        assert before.evicted == {}
    grid = next(span.grid for span in full.ledger if span.kind == "vision")
    per_frame = grid[1] * grid[2]
    assert before.held.active == before.held.budget == 6 * per_frame
    starts, places = 0, []
    for span in full.ledger:
        places += range(starts, starts + len(span)) if span.kind == "vision" else []
        starts += len(span)
    keys, values = (store[:, :, places] for store in (full._cache.keys, full._cache.values))
    kept = select_tokens(keys, values, SMALL, tokens=per_frame, height=grid[1])
    assert len({tuple(row) for layer in kept.tolist() for row in layer}) > 1, "heads choose alike: a weak test"
    after = cut.observe(chunks[6])
    stamps = before.kept["time"]
    assert after.evicted == {"vision": 2 * per_frame, "time": stamps, "vision_open": 5, "vision_close": 5}
    assert after.kept["vision"] == 5 * per_frame == after.held.active
    first = next(n for n, span in enumerate(cut.ledger) if span.kind == "vision")
    start = sum(len(span) for span in cut.ledger[:first])
    wide = kept.unsqueeze(-1).expand(-1, -1, -1, keys.shape[-1])
    stop = start + kept.shape[2]
    assert torch.equal(cut._cache.keys[:, :, start:stop], keys.gather(2, wide))
    assert torch.equal(cut._cache.values[:, :, start:stop], values.gather(2, wide))
    assert cut.cache_tokens == cut.ledger.tokens


@pytest.mark.parametrize("memory", [SMALL, LastQueries()], ids=["infinipot-v", "by queries"])
def test_a_question_leaves_the_memory_as_it_was_and_a_restored_session_goes_on_as_the_unbroken_one(
    memory: TensorMemory, tiny: Any, seconds: Seconds
) -> None:
    chunks = list(seconds(12))
    whole, broken = opened(tiny, memory), opened(tiny, memory)
    for chunk in chunks[:7]:
        whole.observe(chunk)
        broken.observe(chunk)
    kept = {name: one.clone() for name, one in broken.state()["tensors"].items()}
    assert answer(broken).text == answer(broken).text
    after = broken.state()
    assert kept.keys() == after["tensors"].keys()
    assert all(torch.equal(kept[name].nan_to_num(), after["tensors"][name].nan_to_num()) for name in kept)
    resumed = opened(tiny, memory)
    resumed.restore(after)
    for chunk in chunks[7:]:
        one, other = whole.observe(chunk), resumed.observe(chunk)
        assert (one.kept, one.evicted, one.held) == (other.kept, other.evicted, other.held)
    assert answer(resumed).text == answer(whole).text
    ours, theirs = resumed.state()["tensors"], whole.state()["tensors"]
    assert all(torch.equal(ours[name].nan_to_num(), theirs[name].nan_to_num()) for name in theirs)


def test_the_cached_tokens_stay_bounded_where_nothing_is_said(tiny: Any, seconds: Seconds) -> None:
    session = opened(tiny, SMALL)
    steps = [session.observe(chunk) for chunk in seconds(40)]
    longer = 2 * SMALL.most_frames  # two digits more in each time stamp that stands
    assert max(step.cache_tokens for step in steps[20:]) <= max(step.cache_tokens for step in steps[:10]) + longer
    assert all(step.held.active <= step.held.budget for step in steps)
    assert sum(step.evicted.get("vision", 0) for step in steps) > 0


def test_it_narrates_and_what_was_said_stays(tiny: Any, seconds: Seconds) -> None:
    session = opened(tiny, SMALL, SessionRequest("s", 2.0, narration=Narration("Say what happens.", " before")))
    said = [session.speak(chunk) for chunk in seconds(9)]
    assert said[-1].step.kept["assistant"] == sum(
        len(one.ids) - (one.ids[-1] == tiny.layout.tokens.turn_close) for one in said
    )
    assert said[-1].step.held.active <= said[-1].step.held.budget
    assert session.cache_tokens <= session.ledger.tokens


def test_subtitles_outlive_the_frames_they_came_with(tiny: Any, seconds: Seconds) -> None:
    session = opened(tiny, SMALL)
    steps = [session.observe(chunk, (f"Line {chunk.tick.index}.",)) for chunk in seconds(9)]
    assert "subtitle" not in {kind for step in steps for kind in step.evicted}
    assert steps[-1].kept["subtitle"] == 9 * steps[0].kept["subtitle"]


def test_queries_are_turned_as_the_models_keys_are(tiny: Any, seconds: Seconds) -> None:
    session = opened(tiny, FullFrames())
    chunks = list(seconds(2))
    session.observe(chunks[0])
    first = session.cache_tokens
    with watched_queries(_KeysAsQueries(tiny)) as watched:
        session.observe(chunks[1])
    positions = session._cache.positions[:, first:]
    for number, parts in enumerate(watched):
        ours = session._cache.turned(torch.cat(parts, dim=1), positions)
        torch.testing.assert_close(ours, session._cache.keys[number, :, first : session.cache_tokens])


class _KeysAsQueries:
    """A backbone that shows its key projections as query projections: what they become is in the cache."""

    def __init__(self, tiny: Any) -> None:
        class Attention:
            def __init__(self, real: Any) -> None:
                self.q_proj, self.head_dim = real.k_proj, real.head_dim

        class Layer:
            def __init__(self, real: Any) -> None:
                self.self_attn = Attention(real.self_attn)

        layers = [Layer(layer) for layer in tiny.network.model.language_model.layers]
        text = type("Text", (), {"layers": layers})
        self.network = type("Network", (), {"model": type("Model", (), {"language_model": text})})


def test_a_whole_clip_is_prefilled_in_blocks_and_cut_in_between_as_released(tiny: Any, seconds: Seconds) -> None:
    (chunk,) = seconds(1, fps=20)
    watch = Watch()
    request = SessionRequest("sample", 20.0, time_stamps=False, whole_clip=True)
    session = opened(tiny, SMALL, request, watch)
    step = session.observe(chunk)
    features = tiny.encode(tiny.pack(chunk.frames))
    frames, (_, height, width) = 10, tiny.pack(chunk.frames).grid
    per_frame = height * width
    assert step.held.active == 6 * per_frame
    assert step.evicted == {"vision": 4 * per_frame}
    block = VisionBlock((frames, height, width), None, tiny.temporal_step(20.0), 0)
    opening = [tiny.layout.system(None), tiny.layout.user_open(None)]
    spans = [*opening, *tiny.layout.vision(block, 0)]
    question = [tiny.layout.query("What is happening now?", 0), *tiny.layout.reply_open(0)]
    ids = torch.from_numpy(np.concatenate([span.ids for span in [*spans, *question]]))
    embedded = tiny.embed(ids)
    before = sum(map(len, opening)) + 1
    embedded[before : before + frames * per_frame] = features
    positions = torch.from_numpy(assign([*spans, *question], tiny.positions)[0].copy())
    text, cache = tiny.network.model.language_model, DynamicCache(config=tiny.network.config.text_config)
    stops = [0, before + 6 * per_frame, before + 8 * per_frame, before + 10 * per_frame, len(ids)]
    for start, stop in pairwise(stops):
        part = slice(start, stop)
        hidden = text(
            inputs_embeds=embedded[None, part], position_ids=positions[:, None, part], past_key_values=cache
        ).last_hidden_state
        if stop in stops[1:3]:
            keys, values = (
                torch.stack([getattr(layer, name)[0, :, before:] for layer in cache.layers])
                for name in ("keys", "values")
            )
            kept = select_tokens(keys, values, SMALL, tokens=per_frame, height=height)
            for number, layer in enumerate(cache.layers):
                wide = kept[number].unsqueeze(-1).expand(-1, -1, keys.shape[-1])
                layer.keys, layer.values = (
                    torch.cat([old[:, :, :before], of[number].gather(1, wide)[None]], dim=2)
                    for old, of in ((layer.keys, keys), (layer.values, values))
                )
    answer(session)
    theirs = tiny.network.lm_head(hidden[0, -1])
    torch.testing.assert_close(watch.prefills[-1].logits, theirs, rtol=1e-4, atol=1e-4)


@dataclass(frozen=True, slots=True)
class FullFrames(TensorMemory):
    """Never cuts."""

    @property
    def most_frames(self) -> int:
        return 1000


@dataclass(frozen=True, slots=True)
class Wrong(TensorMemory):
    """Keeps what it is told to."""

    picks: Any = None

    @property
    def most_frames(self) -> int:
        return 2

    def select(self, held: LayerTokens) -> Tensor:
        picked: Tensor = self.picks(held)
        return picked


@pytest.mark.parametrize(
    ("picks", "said"),
    [
        (
            lambda held: torch.arange(held.per_frame - 1).expand(2, -1),
            "whole frames of 6 are wanted, 1 to 1 of them",
        ),
        (lambda held: torch.arange(2 * held.per_frame).expand(2, -1), "keeps 12 tokens"),
        (lambda held: torch.arange(held.per_frame).flip(0).expand(2, -1), "out of order"),
        (lambda held: torch.arange(held.per_frame).expand(2, -1) + 100, "beyond the 12 there are"),
        (lambda held: torch.arange(held.per_frame)[None], "as many in each head and layer"),
    ],
)
def test_a_choice_that_cannot_be_carried_out_is_one_line(
    picks: Any, said: str, tiny: Any, seconds: Seconds
) -> None:
    session = opened(tiny, Wrong(picks))
    *before, last = seconds(3)
    for chunk in before:
        session.observe(chunk)
    with pytest.raises(ModelError, match=said):
        session.observe(last)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"frames": 0}, "a budget is one frame or more"),
        ({"between": 0}, "a budget is one frame or more"),
        ({"tar_ratio": 1.5}, "memory.tar_ratio is a share from 0 to 1, not 1.5"),
        ({"frames": 2, "between": 1}, "0 newest frames"),
        ({"query_ratio": 0.9}, "28 newest frames and memory.tar_ratio=0.5 leaves room for 12"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        InfiniPotSettings(**settings)


def test_what_does_not_go_with_it_is_refused(tiny: Any, seconds: Seconds, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="infinipot-v scores tokens by their place in a frame"):
        policy_recipe("infinipot-v", ModelChoice(checkpoint="tiny-llava", compress="pruner"))
    pruned = opened(tiny, SMALL)
    (chunk,) = seconds(1)
    whole = pruned._vision.encode(pruned._vision.pack(chunk.frames), pruned._clock)
    some = Features(whole.tokens[:4], whole.grid, np.arange(4))
    monkeypatch.setattr(pruned._vision, "encode", lambda packed, clock: some)
    with pytest.raises(UsageError, match="4 of 6 tokens of a second's frames are left"):
        pruned.observe(chunk)
    with pytest.raises(UsageError, match="a second brings 4 frames, and the memory holds 6"):
        opened(tiny, SMALL).observe(next(iter(seconds(1, fps=8))))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**31))
def test_of_equal_scores_the_first_places_stay(frames: int, more: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 2, (1, 2, (frames + more) * 4, 3), generator=draw).float()
    settings = InfiniPotSettings(frames=frames, tar_ratio=0.0, between=more)
    kept = select_tokens(values, values, settings, tokens=4, height=2)[0]
    for head, places in enumerate(kept.tolist()):
        norms = values[0, head].norm(dim=-1).tolist()
        ranked = sorted(range(len(norms)), key=lambda place: (-norms[place], place))
        assert places == sorted(ranked[: frames * 4])
