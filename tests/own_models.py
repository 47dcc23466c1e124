"""Models of one's own for tests: no weights, and what they do wrong is asked for."""

from __future__ import annotations

import threading
from typing import Any

from pydantic import BaseModel, Field

from evalkit.models import Capabilities, SessionRequest
from evalkit.stream import Chunk, Elicitation


class Counter:
    """Counts the frames it has seen.

    It says the number every second.
    """

    def __init__(self) -> None:
        self.closed = 0

    def identity(self) -> dict[str, Any]:
        return {"version": 1}

    def open(self, request: SessionRequest) -> CounterStream:
        return CounterStream(request)

    def close(self) -> None:
        self.closed += 1


class CounterStream:
    def __init__(self, request: SessionRequest) -> None:
        self.request = request
        self.seen = 0

    def observe(self, chunk: Chunk) -> None:
        self.seen += len(chunk.frames)

    def speak(self, chunk: Chunk) -> Any:
        self.observe(chunk)
        return f" {self.seen} frames"

    def ask(self, prompt: str, elicitation: Elicitation, *, key: str) -> Any:
        return "A"

    def state(self) -> dict[str, Any]:
        return {"tensors": {}, "json": {"seen": self.seen}}

    def restore(self, state: dict[str, Any]) -> None:
        self.seen = state["json"]["seen"]


class ManyStreams(Counter):
    """Takes any number of streams, and goes on only when three are under way."""

    capabilities = Capabilities(options=False, streams=None)

    def __init__(self, at_once: int = 3) -> None:
        super().__init__()
        self.meeting = threading.Barrier(at_once)

    def open(self, request: SessionRequest) -> CounterStream:
        self.meeting.wait(timeout=30)
        return super().open(request)


class StepSettings(BaseModel):
    step: int = Field(default=2, ge=1, description="What each frame counts for.")


class Stepper(Counter):
    """Counts in steps."""

    settings = StepSettings

    def __init__(self, settings: StepSettings) -> None:
        super().__init__()
        self.step = settings.step
