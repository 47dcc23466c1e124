"""LiveCC's streaming loop: one conversation, a turn a second, the first of three seconds; nothing is ever evicted.

Chen et al., arXiv 2504.16030; rules as in `demo/infer.py` of the authors' repository
(`live_cc_once_for_evaluation`). The checkpoint is a fine-tuned Qwen2-VL, whose positions this loop counts
flatly from the second turn on, vision included.
"""

from __future__ import annotations

__all__ = ["FIRST_TURN", "LiveCCModel", "LiveCCSession"]

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evalkit.memory import PositionRule, Span
from evalkit.models.backbone import Features
from evalkit.models.cached import CachedModel
from evalkit.models.protocol import SessionRequest, Spoken
from evalkit.models.session import CachedSession
from evalkit.stream import Chunk

FIRST_TURN = 3
"""Seconds of the first turn; nothing is said before they are over."""

_FLAT = PositionRule("1d")


class LiveCCModel(CachedModel):
    """A model in LiveCC's loop; see `CachedModel`."""

    def open(self, request: SessionRequest, watch: Callable[[Features], None] | None = None) -> LiveCCSession:
        """Open a session for one sample; see `CachedModel.open`."""
        vision = self._vision.open(watch)
        return LiveCCSession(self.backbone, self.policy, self.generation, request, vision=vision)


class LiveCCSession(CachedSession):
    """A session whose turns are LiveCC's; see `CachedSession` for its arguments."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._first: list[Chunk] = []
        self._turns = 0

    def speak(self, chunk: Chunk) -> Spoken:
        """Take in one second and say something about it; the first two are kept for the third."""
        if not self._turns:
            chunk_of_turn = self._gathered(chunk)
            if chunk_of_turn is None:
                self._begin(chunk)
                return Spoken("", [], self._report([], {}))
            chunk = chunk_of_turn
        spoken = super().speak(chunk)
        self._turns += 1
        return spoken

    def _gathered(self, chunk: Chunk) -> Chunk | None:
        """Return the first turn's seconds as one, or ``None`` while more are to come."""
        waiting = [*self._first, chunk]
        if len(waiting) < FIRST_TURN:
            self._first = waiting
            return None
        self._first = []
        frames = np.concatenate([one.frames for one in waiting if len(one.frames)] or [chunk.frames])
        return replace(chunk, tick=replace(chunk.tick, start=waiting[0].tick.start), frames=frames)

    def _opening(self) -> list[Span]:
        """Return the system turn alone: what was said before belongs to the instruction."""
        return [self._layout.system()]

    def _next_turn(self) -> list[Span]:
        """Close the reply, whose end was never fed, and write the newline."""
        close = Span("assistant_close", np.asarray([self._layout.tokens.turn_close], dtype=np.int64), self._second)
        return [close, self._layout.newline(self._second)]

    def _kept(self, ids: Sequence[int], second: int) -> list[Span]:
        """Return all but the last token: it was not fed, and where the limit cut the reply a word is lost."""
        return [Span("assistant", np.asarray(ids[:-1], dtype=np.int64), second)]

    @property
    def _rule(self) -> PositionRule:
        return _FLAT if self._turns else self._backbone.positions

    def state(self) -> dict[str, Any] | None:  # type: ignore[override]
        """Return everything a checkpoint needs; ``None`` while the first turn's seconds are gathered."""
        if self._first:
            return None
        state = super().state()
        state["json"]["turns"] = self._turns
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what ``state`` returned."""
        super().restore(state)
        self._turns = state["json"]["turns"]
