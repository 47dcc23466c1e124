"""On a GPU streams that advance together say what each says alone, and a memory that retrieves stays bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch

from evalkit.compress import CompressionSpec
from evalkit.memory import StreamingVLM
from evalkit.memory.retrieval import ReKVSettings
from evalkit.models.cached import CachedModel
from evalkit.models.entry import DecodeStep
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.protocol import SessionRequest, StreamSession
from evalkit.models.retrieval import RetrievalSession
from evalkit.models.settings import GenerationSettings
from evalkit.models.vision import VisionSide
from evalkit.stream import Elicitation, Narration

if TYPE_CHECKING:
    from evalkit.stream import Chunk

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
GREEDY = GenerationSettings(temperature=0, max_new_tokens=8, answer_tokens=6)
STREAMS = 4


@pytest.mark.parametrize("step", ["plain", "recorded"])
def test_streams_together_say_what_each_says_alone(
    step: DecodeStep, seconds: Callable[..., Iterator[Chunk]]
) -> None:
    backbone = load_backbone(LoadRequest("tiny", device="cuda", dtype="float32", decode_step=step))
    alone = CachedModel("m", backbone, StreamingVLM(4, 4, 16, 16), GREEDY, "test")
    group, together = alone.together()
    chunks = [list(seconds(12, seed=number)) for number in range(STREAMS)]
    said: dict[str, list[list[list[int]]]] = {"alone": [], "together": []}

    def speak(session: StreamSession, number: int, into: list[list[int]]) -> None:
        into += [list(session.speak(chunk).ids) for chunk in chunks[number]]

    jobs = {}
    for side, model in (("alone", alone), ("together", together)):
        said[side] = [[] for _ in chunks]
        told = [
            SessionRequest(str(n), 2.0, narration=Narration("Say what happens.", " wide" * n)) for n in range(4)
        ]
        jobs[side] = [
            partial(speak, model.open(request), number, said[side][number]) for number, request in enumerate(told)
        ]
    for job in jobs["alone"]:
        job()
    group.run(jobs["together"], STREAMS)
    assert backbone.warnings == ()
    assert said["together"] == said["alone"]


def test_memory_that_retrieves_holds_no_more_of_the_device_after_a_thousand_frames(
    seconds: Callable[..., Iterator[Chunk]],
) -> None:
    backbone = load_backbone(LoadRequest("tiny-llava", device="cuda", dtype="bfloat16"))
    vision = VisionSide(backbone, CompressionSpec()).open()
    session = RetrievalSession(
        backbone,
        ReKVSettings(n_local=2000, topk=8),
        GREEDY,
        SessionRequest("s", 1.0, time_stamps=False),
        vision=vision,
    )
    held: list[int] = []
    for chunk in seconds(1000, fps=1, size=backbone.frame_size(100, 100)):
        session.observe(chunk)
        if chunk.tick.index % 100 == 99:
            session.ask("Who has the ball?", Elicitation(max_tokens=4), key=str(chunk.tick.index))
            held.append(torch.cuda.memory_allocated())
    assert max(held[2:]) <= held[1] * 1.02
