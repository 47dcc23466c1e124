"""On a GPU the session says what it says on the CPU, and its memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from evalkit.memory import StreamingVLM
from evalkit.models.cached import CachedModel
from evalkit.models.entry import DecodeStep
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.protocol import SessionRequest
from evalkit.models.settings import GenerationSettings
from evalkit.stream import Narration

if TYPE_CHECKING:
    from evalkit.stream import Chunk

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
GREEDY = GenerationSettings(temperature=0, max_new_tokens=8, exact_tokens=True)


def model_on(device: str, checkpoint: str, dtype: str = "float32", step: DecodeStep = "plain") -> CachedModel:
    backbone = load_backbone(LoadRequest(checkpoint, device=device, dtype=dtype, decode_step=step))
    return CachedModel("streamingvlm", backbone, StreamingVLM(4, 4, 16, 16), GREEDY, "test")


def narrate(model: CachedModel, chunks: Iterator[Chunk]) -> list[tuple[int, ...]]:
    session = model.open(SessionRequest("stream", 2.0, narration=Narration("Say what happens.", "Welcome back.")))
    return [session.speak(chunk).ids for chunk in chunks]


def test_a_session_on_the_gpu_says_what_it_says_on_the_cpu(seconds: Callable[..., Iterator[Chunk]]) -> None:
    there = narrate(model_on("cuda", "tiny"), seconds(12))
    assert there == narrate(model_on("cpu", "tiny"), seconds(12))


def test_a_session_whose_one_token_steps_are_recorded_says_the_same(
    seconds: Callable[..., Iterator[Chunk]],
) -> None:
    recorded = model_on("cuda", "tiny", step="recorded")
    assert narrate(recorded, seconds(12)) == narrate(model_on("cuda", "tiny"), seconds(12))
    assert recorded.warnings == ()


def test_gpu_memory_is_flat_once_the_windows_are_full(seconds: Callable[..., Iterator[Chunk]]) -> None:
    model = model_on("cuda", "tiny", "bfloat16")
    session = model.open(SessionRequest("stream", 2.0, narration=Narration("Say what happens.")))
    held: list[int] = []
    for chunk in seconds(60):
        session.speak(chunk)
        held.append(torch.cuda.memory_allocated())
    assert max(held[30:]) <= max(held[8:30]) * 1.01


@pytest.mark.parametrize("cached", [0, 5, 300])
def test_prefill_by_flash_attention_is_that_with_a_mask(cached: int) -> None:
    torch.manual_seed(0)
    new, made = 40, {"device": "cuda", "dtype": torch.bfloat16}
    query = torch.randn(1, 4, new, 64, **made)
    key, value = (torch.randn(1, 2, cached + new, 64, **made) for _ in range(2))
    decoder = load_backbone(LoadRequest("tiny", device="cuda", dtype="bfloat16"))._decoder  # type: ignore[attr-defined]
    kernel = ALL_ATTENTION_FUNCTIONS[decoder._kernel]
    found, _ = kernel(None, query, key, value, decoder._one_mask(new, cached), scaling=0.125)
    seen = torch.ones(new, cached + new, dtype=torch.bool, device="cuda").tril_(cached)
    repeated = (one.float().repeat_interleave(2, dim=1) for one in (key, value))
    wanted = F.scaled_dot_product_attention(query.float(), *repeated, attn_mask=seen, scale=0.125).transpose(1, 2)
    assert float((found.float() - wanted).norm() / wanted.norm()) < 1e-2
