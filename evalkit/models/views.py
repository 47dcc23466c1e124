"""A session that remembers frames and answers each question from those a frame view shows, in a fresh prefill."""

from __future__ import annotations

__all__ = ["ViewedSession"]

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from evalkit.errors import UsageError
from evalkit.memory.shortcuts import FrameView
from evalkit.models.protocol import Answer, Spoken, StepReport, StreamSession
from evalkit.stream import Chunk, Elicitation, Tick
from evalkit.timing import Stage


@dataclass(frozen=True, slots=True)
class _Moment:
    """What was observed at once: frames as far as they are remembered, and the texts that follow them."""

    chunk: Chunk
    texts: tuple[str, ...]

    def newest(self, count: int) -> _Moment:
        """Return the moment with its last ``count`` frames."""
        chunk, first = self.chunk, len(self.chunk.times) - count
        if first <= 0:
            return self
        return replace(self, chunk=_with_frames(chunk, chunk.frames[first:].copy(), chunk.times[first:]))


def _with_frames(chunk: Chunk, frames: Any, times: tuple[Fraction, ...]) -> Chunk:
    tick = Tick(chunk.tick.index, chunk.tick.start, chunk.tick.end, times)
    return Chunk(tick, frames, times, times, 0.0, 0.0)


class ViewedSession:
    """A session over remembered frames. Nothing is encoded before a question is asked.

    Args:
        view: Which frames a question is shown.
        opened: Opens a session that keeps everything it observes; one serves one question.
    """

    def __init__(self, view: FrameView, opened: Callable[[], StreamSession]) -> None:
        self._view = view
        self._opened = opened
        self._moments: list[_Moment] = []

    def observe(self, chunk: Chunk, subtitles: tuple[str, ...] = ()) -> StepReport:
        """Remember one second of frames, and forget those that no later question is shown."""
        began = time.perf_counter()
        self._moments.append(_Moment(chunk, subtitles))
        left = self._view.remembered
        if left is not None:
            kept: list[_Moment] = []
            for moment in reversed(self._moments):
                newest = moment.newest(left)
                left -= len(newest.chunk.times)
                if len(newest.chunk.times) or newest.texts:
                    kept.append(newest)
            self._moments = kept[::-1]
        stages: dict[Stage, float] = {"decode": chunk.wait_seconds, "cache": time.perf_counter() - began}
        return StepReport(stages=stages, tokens_in={}, kept={}, evicted={}, cache_tokens=0)

    def speak(self, chunk: Chunk) -> Spoken:
        """Refuse: a frame view answers questions.

        Raises:
            UsageError: Always.
        """
        raise UsageError("a shortcut baseline answers questions and does not narrate; choose another model")

    def ask(self, prompt: str, elicitation: Elicitation, *, key: str) -> Answer:
        """Answer a question from the frames shown; encoding and prefilling them counts as part of the answer."""
        session = self._opened()
        stages: dict[Stage, float] = {}
        try:
            for moment in self._shown():
                step = session.observe(moment.chunk, moment.texts)
                _add(stages, step.stages)
            answer = session.ask(prompt, elicitation, key=key)
        finally:
            session.close()
        before = sum(stages.values())
        _add(stages, answer.stages)
        first = None if answer.first_token is None else before + answer.first_token
        times = [before + time for time in answer.token_times]
        return replace(
            answer, seconds=before + answer.seconds, first_token=first, stages=stages, token_times=times
        )

    def _shown(self) -> Iterator[_Moment]:
        """Yield the moments with the frames that the view shows, in the places of those it chose."""
        frames = [frame for moment in self._moments for frame in moment.chunk.frames]
        order = self._view.show(len(frames))
        shown = dict(zip(sorted(order), order, strict=True))
        number = 0
        for moment in self._moments:
            times = moment.chunk.times
            places = [place for place in range(len(times)) if number + place in shown]
            if places or moment.texts:
                empty = moment.chunk.frames[:0]
                pixels = np.stack([frames[shown[number + place]] for place in places]) if places else empty
                yield replace(
                    moment, chunk=_with_frames(moment.chunk, pixels, tuple(times[place] for place in places))
                )
            number += len(times)

    def state(self) -> dict[str, Any]:
        """Return everything a checkpoint needs: the remembered frames and texts."""
        plain = [
            {
                "index": moment.chunk.tick.index,
                "span": [str(moment.chunk.tick.start), str(moment.chunk.tick.end)],
                "times": [str(when) for when in moment.chunk.times],
                "texts": list(moment.texts),
            }
            for moment in self._moments
        ]
        tensors = {
            f"frames.{number}": torch.from_numpy(np.ascontiguousarray(moment.chunk.frames))
            for number, moment in enumerate(self._moments)
        }
        return {"tensors": tensors, "json": {"moments": plain}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what ``state`` returned."""
        self._moments = []
        for number, plain in enumerate(state["json"]["moments"]):
            start, end = (Fraction(second) for second in plain["span"])
            times = tuple(Fraction(second) for second in plain["times"])
            frames = state["tensors"][f"frames.{number}"].numpy()
            chunk = Chunk(Tick(plain["index"], start, end, times), frames, times, times, 0.0, 0.0)
            self._moments.append(_Moment(chunk, tuple(plain["texts"])))

    def close(self) -> None:
        """Free what the session holds."""
        self._moments = []


def _add(into: dict[Stage, float], stages: dict[Stage, float]) -> None:
    for stage, seconds in stages.items():
        into[stage] = into.get(stage, 0.0) + seconds
