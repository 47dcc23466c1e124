"""One stream under StreamForest: frames' features are merged as they come, each question is prefilled anew."""

from __future__ import annotations

__all__ = ["ForestSession"]

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from evalkit.errors import ModelError, UsageError
from evalkit.memory.events import StreamForestSettings
from evalkit.memory.forest import EventForest
from evalkit.models.backbone import Features
from evalkit.models.llava_onevision import LlavaOnevision
from evalkit.models.protocol import Answer, Spoken, StepReport
from evalkit.models.session import CachedSession
from evalkit.records import HeldTokens
from evalkit.stream import Chunk, Elicitation
from evalkit.timing import StageClock


class ForestSession:
    """A session over an `EventForest`. No key is kept: what is remembered are features before the projection.

    Args:
        backbone: The network, whose tower's features are remembered.
        settings: Windows and budgets.
        opened: Opens a session that keeps everything; one serves one question.

    Raises:
        UsageError: The network is none whose features a frame's positions fit.
    """

    def __init__(self, backbone: Any, settings: StreamForestSettings, opened: Callable[[], CachedSession]) -> None:
        check_forest(backbone)
        self._backbone, self._settings, self._opened = backbone, settings, opened
        heads = backbone.network.config.vision_config.num_attention_heads
        self._forest = EventForest(settings, heads)
        self._clock = StageClock(backbone.synchronise if backbone.device.type == "cuda" else None)
        self._span: tuple[float, float] | None = None
        self._per_frame = 0

    @property
    def forest(self) -> EventForest:
        """What is remembered."""
        return self._forest

    @torch.inference_mode()
    def observe(self, chunk: Chunk, subtitles: tuple[str, ...] = ()) -> StepReport:
        """Take in one second of frames.

        Raises:
            ModelError: There are subtitles, which this memory has no place for.
        """
        if subtitles:
            raise ModelError("streamforest keeps frames alone, no text between them: leave subtitles out")
        self._clock.start({"decode": chunk.wait_seconds})
        before, seen = self._forest.tokens, 0
        if len(chunk.frames):
            self._clock.enter("preprocess")
            packed = self._backbone.pack(chunk.frames)
            self._clock.enter("vision_encode")
            frames = self._backbone.patch_features(packed)
            self._clock.enter("compress")
            for frame in frames:
                self._forest.add(frame)
                seen += len(frame)
            self._per_frame = frames.shape[1]
            first = chunk.tick.start_seconds if self._span is None else self._span[0]
            self._span = (first, chunk.tick.end_seconds)
        gone = before + seen - self._forest.tokens
        return StepReport(
            stages=self._clock.stop(),
            tokens_in={"vision": seen} if len(chunk.frames) else {},
            kept={"vision": self._forest.tokens},
            evicted={"vision": gone} if gone else {},
            cache_tokens=0,
            held=self._held(),
        )

    def _held(self) -> HeldTokens:
        """Say what stands; events that are joined only for a question count as stored until then."""
        forest = self._forest
        events = [event.tokens for event in forest.events] if self._settings.schedule == "released" else []
        stored = sum(map(len, events))
        size = sum(one.numel() * one.element_size() for one in events)
        return HeldTokens(
            budget=self._settings.most_tokens(self._per_frame),
            active=forest.tokens - stored,
            stored=stored,
            stored_mib=round(size / 2**20, 3),
        )

    def speak(self, chunk: Chunk) -> Spoken:
        """Refuse: this memory is asked questions.

        Raises:
            ModelError: Always.
        """
        raise ModelError("streamforest answers questions and does not narrate")

    @torch.inference_mode()
    def ask(self, prompt: str, elicitation: Elicitation, *, key: str) -> Answer:
        """Answer from a fresh prefill of all that is remembered; nothing of it stays.

        Raises:
            UsageError: Nothing has been seen yet.
        """
        if not self._forest.frames or self._span is None:
            raise UsageError("a question before the first frame: streamforest has nothing to answer from")
        self._clock.start()
        self._clock.enter("retrieve")
        remembered = self._forest.remembered().to(self._backbone.device, self._backbone.dtype)
        self._clock.enter("vision_encode")
        tokens = self._backbone.project(remembered[None])[0]
        session = self._opened()
        try:
            session.take(Features(tokens, (1, 1, len(tokens))))
            spent = self._clock.stop()
            answer = session.ask(self._told(prompt), elicitation, key=key)
        finally:
            session.close()
        before = sum(spent.values())
        stages = {stage: seconds + answer.stages.get(stage, 0.0) for stage, seconds in spent.items()}
        first = None if answer.first_token is None else before + answer.first_token
        times = [before + time for time in answer.token_times]
        return replace(
            answer, seconds=before + answer.seconds, first_token=first, stages=stages, token_times=times
        )

    def _told(self, prompt: str) -> str:
        """Return the prompt behind what the release says of the frames (its form ``short_online_v2``)."""
        assert self._span is not None
        if not self._settings.time_message:
            return prompt
        first, now = self._span
        return (
            f"The video contains {self._forest.frames} frames sampled from the past {now - first:.1f} seconds ago "
            f"({first:.1f}s of the entire video) up to the present moment ({now:.1f}s of the entire video). "
            + prompt
        )

    def state(self) -> dict[str, Any]:
        """Return everything a checkpoint needs."""
        forest = self._forest.state()
        return {
            "tensors": forest["tensors"],
            "json": {"forest": forest["json"], "span": self._span, "per_frame": self._per_frame},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what ``state`` returned."""
        plain, device = state["json"], self._backbone.device
        tensors = {name: one.to(device) for name, one in state["tensors"].items()}
        self._forest.restore(tensors, plain["forest"])
        self._span = None if plain["span"] is None else (plain["span"][0], plain["span"][1])
        self._per_frame = plain["per_frame"]

    def close(self) -> None:
        """Free what the session holds."""
        self._forest = EventForest(self._settings, self._forest.heads)


def check_forest(backbone: Any) -> None:
    """Refuse a network whose vision features are no square of patches.

    Raises:
        UsageError: It is another than LLaVA-OneVision.
    """
    if not isinstance(backbone, LlavaOnevision):
        raise UsageError(
            f"streamforest remembers a SigLIP tower's features: {backbone.name} has none; give --checkpoint a "
            "LLaVA-OneVision one, such as tiny-llava"
        )
