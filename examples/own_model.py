"""A model of one's own, asked and made to narrate on built-in data: it names the colour that fills the picture.

python examples/own_model.py
"""

from __future__ import annotations

import numpy as np

import evalkit
from evalkit.models import SessionRequest
from evalkit.stream import Chunk, Elicitation

NAMES = {"red": (200, 40, 40), "green": (60, 150, 60), "blue": (50, 70, 190), "white": (230, 230, 230)}


class ColourCaptioner:
    """Names the colour that fills the newest frame."""

    def identity(self) -> dict[str, object]:
        """Return what tells this model from another: everything that can change what it says."""
        return {"colours": ",".join(NAMES)}

    def open(self, request: SessionRequest) -> ColourStream:
        """Open a session for one stream."""
        return ColourStream()


class ColourStream:
    """One stream: it remembers a colour and nothing else."""

    colour = "nothing"

    def observe(self, chunk: Chunk, subtitles: tuple[str, ...] = ()) -> None:
        """Look at a second; `chunk.frames` has shape (frames, height, width, 3), uint8."""
        if len(chunk.frames):
            mean = chunk.frames[-1].mean(axis=(0, 1))
            self.colour = min(NAMES, key=lambda name: float(np.square(mean - NAMES[name]).sum()))

    def speak(self, chunk: Chunk) -> str:
        """Look at a second and say something about it; "" is silence."""
        self.observe(chunk)
        return f" Much {self.colour} on the screen."

    def ask(self, prompt: str, elicitation: Elicitation, *, key: str) -> str:
        """Answer a question from what was seen so far."""
        return "A" if self.colour == "green" else "B"


def main() -> None:
    """Answer the questions of one benchmark and narrate for another; print both scores."""
    for task in ("ovobench", "inf-streams"):
        run = evalkit.run(model=ColourCaptioner(), task=task, data="demo", limit=2)
        print(run.metrics[["name", "group", "value", "unit"]].head(3).to_string(index=False))
        print(f"records: {run.folder}")


if __name__ == "__main__":
    main()
