"""A model for tests of workers: it counts frames, and where it is moody it dies or hangs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from own_models import Counter, CounterStream
from pydantic import BaseModel

from evalkit.models import SessionRequest
from evalkit.stream import Chunk


class Moods(BaseModel):
    """Where it notes that a mood is over; without a folder it has none."""

    folder: str = ""


class Moody(Counter):
    """Counts frames, and dies of some videos."""

    name = "moody"
    settings = Moods

    def __init__(self, moods: Moods) -> None:
        super().__init__()
        self.folder = Path(moods.folder) if moods.folder else None

    def open(self, request: SessionRequest) -> CounterStream:
        return MoodyStream(request, self.folder)


class MoodyStream(CounterStream):
    def __init__(self, request: SessionRequest, folder: Path | None) -> None:
        super().__init__(request)
        self.folder = folder

    def speak(self, chunk: Chunk) -> Any:
        moods = {("killed", 6): signal.SIGKILL, ("hung", 5): signal.SIGSTOP, ("poison", 3): signal.SIGKILL}
        for (video, second), number in moods.items():
            if self.folder is not None and video in self.request.sample and chunk.tick.index == second:
                note = self.folder / f"{video}-{os.getpid()}"
                if video == "poison" or not list(self.folder.glob(f"{video}-*")):
                    note.touch()
                    time.sleep(1)  # what was told before has come to the driver
                    os.kill(os.getpid(), number)
        return super().speak(chunk)


class Steady(Moody):
    """Takes its time for every second, so that there is a middle to be killed in."""

    name = "steady"

    def open(self, request: SessionRequest) -> CounterStream:
        return SteadyStream(request)


class SteadyStream(CounterStream):
    def speak(self, chunk: Chunk) -> Any:
        time.sleep(0.3)
        return super().speak(chunk)
