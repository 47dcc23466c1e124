"""Choosing tokens: transformers' rules, limits, and draws that depend on nothing but their seed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from evalkit.memory import FullAttention
from evalkit.models.generation import TokenChooser, choose_together, seed_of
from evalkit.models.protocol import SessionRequest
from evalkit.models.session import CachedSession
from evalkit.models.settings import GenerationSettings
from evalkit.stream import Narration

VOCABULARY = 200


def logits_of(seed: int, steps: int) -> torch.Tensor:
    return 4 * torch.randn(steps, 1, VOCABULARY, generator=torch.Generator().manual_seed(seed))


def chosen(settings: GenerationSettings, logits: torch.Tensor, context: list[int], seed: int = 0) -> list[int]:
    chooser = TokenChooser(settings, torch.tensor(context), len(logits), seed)
    return [int(chooser.choose(step.clone())) for step in logits]


def test_greedy_takes_the_likeliest_after_the_penalty_on_context_and_reply() -> None:
    """Oracle: transformers' processor over all ids so far, repetitions and all."""
    settings = GenerationSettings(temperature=0, repetition_penalty=1.3)
    logits, context = logits_of(0, 40), [5, 9, 17, 150]
    penalise, said = RepetitionPenaltyLogitsProcessor(1.3), []
    for step in logits:
        ids = torch.tensor([context + context + said])
        said.append(int(penalise(ids, step).argmax()))
    assert chosen(settings, logits, context) == said
    assert said != [int(step.argmax()) for step in logits], "the penalty decides somewhere"


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (5, 1.0), (0, 0.6), (20, 0.8)])
def test_sampling_draws_from_what_the_warpers_of_transformers_leave(top_k: int, top_p: float) -> None:
    settings = GenerationSettings(temperature=0.7, top_k=top_k, top_p=top_p, repetition_penalty=1.05)
    logits, context = logits_of(1, 30), [1, 2, 3]
    draw, said = torch.Generator().manual_seed(11), []
    for step in logits:
        ids = torch.tensor([context + said])
        scores = TemperatureLogitsWarper(0.7)(ids, RepetitionPenaltyLogitsProcessor(1.05)(ids, step))
        scores = TopKLogitsWarper(top_k)(ids, scores) if top_k else scores
        scores = TopPLogitsWarper(top_p)(ids, scores) if top_p < 1 else scores
        said.append(int(torch.multinomial(scores.softmax(-1), 1, generator=draw)))
    assert chosen(settings, logits, context, seed=11) == said


def test_ids_that_stand_in_the_context_and_cannot_be_said_bear_no_penalty() -> None:
    settings = GenerationSettings(temperature=0, repetition_penalty=1.3)
    logits = logits_of(3, 20)
    beyond = [VOCABULARY, 5, VOCABULARY + 40, 9]
    assert chosen(settings, logits, beyond) == chosen(settings, logits, [5, 9])


def test_of_equal_logits_the_first_is_said() -> None:
    level = torch.zeros(3, 1, VOCABULARY)
    level[1, 0, [70, 30, 150]] = 2.0
    level[2] = 1.0
    assert chosen(GenerationSettings(temperature=0), level, [7]) == [0, 30, 1], "what was said bears the penalty"


def test_a_draw_depends_on_its_seed_and_on_no_global_state() -> None:
    settings = GenerationSettings(temperature=1.0)
    logits = logits_of(2, 20) / 8
    first = chosen(settings, logits, [0], seed=3)
    torch.manual_seed(99)
    torch.rand(7)
    assert chosen(settings, logits, [0], seed=3) == first
    assert chosen(settings, logits, [0], seed=4) != first


def test_a_seed_tells_its_parts_apart() -> None:
    seeds = {
        seed_of(*parts)
        for parts in [(1, "a", 2), (1, "a", 3), (1, "a2"), (1, "a", "2", ""), (2, "a", 2), ("1a2",)]
    }
    assert len(seeds) == 6
    assert seed_of(1, "a", 2) == seed_of(1, "a", 2)
    assert all(0 <= seed < 2**63 for seed in seeds)


def said_by(tiny: Any, seconds: Any, generation: GenerationSettings, count: int = 4) -> list[tuple[int, ...]]:
    request = SessionRequest("sample", 2.0, 0, Narration("Say what happens."))
    session = CachedSession(tiny, FullAttention(), generation, request)
    return [session.speak(chunk).ids for chunk in seconds(count)]


def test_a_second_has_at_most_twenty_tokens_and_ends_at_the_end_marker(tiny: Any, seconds: Any) -> None:
    said = said_by(tiny, seconds, GenerationSettings(temperature=0.9), 8)
    end = tiny.layout.tokens.turn_close
    assert {len(ids) for ids in said} - {20}, "some end before the limit"
    assert all(len(ids) == 20 or ids[-1] == end for ids in said)
    assert all(len(ids) <= 20 and end not in ids[:-1] for ids in said)


@pytest.mark.parametrize("tokens", [1, 5, 20])
def test_exact_tokens_speaks_on_past_the_end_marker(tokens: int, tiny: Any, seconds: Any) -> None:
    generation = GenerationSettings(temperature=0.9, max_new_tokens=tokens, exact_tokens=True)
    assert [len(ids) for ids in said_by(tiny, seconds, generation)] == [tokens] * 4


def test_a_session_decodes_as_transformers_own_generate_does(tiny: Any, seconds: Any) -> None:
    """Oracle: `generate` with explicit positions over the same context, greedy, penalty 1.05."""
    from test_session import Watch

    from evalkit.memory import Ledger

    watch = Watch()
    request = SessionRequest("sample", 2.0, 0, Narration("Say what happens."))
    greedy = GenerationSettings(temperature=0, max_new_tokens=12)
    session = CachedSession(tiny, FullAttention(), greedy, request, trace=watch)
    chunks = list(seconds(2))
    session.speak(chunks[0])
    ids = session.speak(chunks[1]).ids
    trace = watch.prefills[-1]
    ledger = Ledger(session.ledger)
    while ledger.tokens > len(trace.ids):
        ledger.truncate(len(ledger) - 1)
    packed = [tiny.pack(chunk.frames) for chunk in chunks]
    grids = torch.tensor([[t, 2 * h, 2 * w] for t, h, w in (p.grid for p in packed)])
    text = torch.arange(len(trace.ids))
    positions = torch.from_numpy(trace.positions.astype("int64"))
    with torch.inference_mode():
        out = tiny.network.generate(
            input_ids=torch.from_numpy(trace.ids)[None],
            attention_mask=torch.ones(1, len(trace.ids), dtype=torch.long),
            position_ids=torch.cat([text[None], positions])[:, None],
            pixel_values_videos=torch.cat([p.pixels for p in packed]),
            video_grid_thw=grids,
            max_new_tokens=12,
            do_sample=False,
            repetition_penalty=1.05,
            eos_token_id=tiny.layout.tokens.turn_close,
            pad_token_id=0,
        )
    assert out[0, len(trace.ids) :].tolist() == ids


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_replies_that_choose_together_choose_what_each_chooses_alone(penalty: float) -> None:
    settings = GenerationSettings(temperature=0, repetition_penalty=penalty)
    contexts, lengths = [[5, 9], [3], [17, 150, 2, 8], [40]], [9, 4, 12, 7]
    logits = [logits_of(number, length) for number, length in enumerate(lengths)]
    wanted = [chosen(settings, one, context) for one, context in zip(logits, contexts, strict=True)]
    found: list[list[int]] = [[] for _ in contexts]
    begin = [0, 0, 2, 5]  # some replies begin when others have said something, some end before others
    choosers = [
        TokenChooser(settings, torch.tensor(context), length, 0)
        for context, length in zip(contexts, lengths, strict=True)
    ]
    for step in range(14):
        now = [n for n in range(4) if 0 <= step - begin[n] < lengths[n]]
        rows = torch.cat([logits[n][step - begin[n]] for n in now])
        tokens = choose_together([choosers[n] for n in now], rows)
        for n, token in zip(now, tokens.tolist(), strict=True):
            found[n].append(token)
    assert found == wanted
