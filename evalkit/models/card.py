"""What a checkpoint says of itself in `evalkit.json`: defaults, what it was trained on, digests (no torch)."""

from __future__ import annotations

__all__ = ["CARD_NAME", "SHIPPED", "CheckpointCard", "Trained", "check_digests", "read_card", "shipped_folder"]

import hashlib
import math
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalkit.errors import DecodeError, ModelError
from evalkit.stream import Query, StreamSample

CARD_NAME: Final = "evalkit.json"

SHIPPED: Final = ("learnt", "learnt-llava")
"""Checkpoints whose weights lie in this package."""


class Trained(BaseModel):
    """What a checkpoint of few words was trained on; it is of no use on anything else.

    ``frame_size`` is (width, height) in pixels, ``fps`` frames per second, ``chunk_seconds`` the length of the
    longest stream it saw in training. It narrates where it has an ``instruction``, and answers ``questions``, by
    their texts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    frame_size: tuple[int, int]
    fps: float
    instruction: str | None = None
    questions: tuple[str, ...] = ()
    chunk_seconds: int
    data: str

    def unlike(self, samples: Sequence[StreamSample], frame_pixels: int | None = None) -> str | None:
        """Return one line that says in what a run differs from the training, ``None`` where it does not.

        Args:
            samples: What is to be run; of their videos the first is opened.
            frame_pixels: Most pixels of a frame, where the run makes larger ones smaller.
        """
        sizes = [size for size in map(_frame_size, samples[:1]) if size is not None]
        found = [f"{width}x{height} pixels" for width, height in sizes if (width, height) != self.frame_size]
        if frame_pixels is not None and frame_pixels < math.prod(self.frame_size):
            found.append(f"at most {frame_pixels} pixels of a frame")
        found += [f"{fps:g} frames a second" for fps in sorted({s.fps for s in samples}) if fps != self.fps]
        found += self._unlike_narrations(samples)
        found += self._unlike_questions([query for sample in samples for query in sample.queries])
        if not found:
            return None
        width, height = self.frame_size
        told = "asked about them" if self.instruction is None else f"told {self.instruction!r}"
        return (
            f"it was trained on {self.data}, {width}x{height} pixels at {self.fps:g} frames a second, {told}; "
            f"this run has {', '.join(found)}, of which it knows nothing"
        )

    def _unlike_narrations(self, samples: Sequence[StreamSample]) -> Iterator[str]:
        told = [sample.narration for sample in samples if sample.narration is not None]
        if told and self.instruction is None:
            yield "narration"
        elif any(narration.instruction != self.instruction for narration in told):
            yield "another instruction"

    def _unlike_questions(self, queries: Sequence[Query]) -> Iterator[str]:
        if not queries:
            return
        if not self.questions:
            yield "questions"
            return
        if not all(any(text in query.prompt for text in self.questions) for query in queries):
            yield "other questions"
        if any(query.elicitation.options or query.elicitation.prefix for query in queries):
            yield "answers that begin with a letter (it says first what it saw)"


def _frame_size(sample: StreamSample) -> tuple[int, int] | None:
    from evalkit.video import probe  # loads PyAV, of no use to other checkpoints

    try:
        info = probe(sample.video)
    except DecodeError:
        return None  # its sample will fail with that reason
    return info.width, info.height


class CheckpointCard(BaseModel):
    """What lies in a checkpoint's ``evalkit.json``; most have none.

    ``generation`` and ``memory`` hold defaults by setting; of ``memory`` a policy takes the fields that it has.
    ``sha256`` gives the digest of a file by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    generation: dict[str, Any] = Field(default_factory=dict)
    memory: dict[str, Any] = Field(default_factory=dict)
    trained: Trained | None = None
    sha256: dict[str, str] = Field(default_factory=dict)


def shipped_folder(checkpoint: str) -> Path:
    """Return where a shipped checkpoint lies."""
    return Path(str(files("evalkit.models"))) / checkpoint


def read_card(checkpoint: str) -> CheckpointCard:
    """Return what a checkpoint says of itself.

    Args:
        checkpoint: A shipped name or a folder; anything else says nothing.

    Raises:
        ModelError: Its file is damaged.
    """
    path = (shipped_folder(checkpoint) if checkpoint in SHIPPED else Path(checkpoint)) / CARD_NAME
    if not path.is_file():
        return CheckpointCard()
    try:
        return CheckpointCard.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise ModelError(f"checkpoint {checkpoint}: {path} is damaged; install evalkit again") from error


def check_digests(checkpoint: str, folder: Path) -> str:
    """Return a digest over the files that a checkpoint's card names, once each has the digest it names.

    Raises:
        ModelError: A file is missing or damaged.
    """
    card = read_card(checkpoint)
    for name, wanted in card.sha256.items():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"checkpoint {checkpoint} lacks {name}; install evalkit again")
        if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise ModelError(
                f"checkpoint {checkpoint} is damaged: {path} is not what was shipped; install evalkit again"
            )
    return hashlib.sha256("\n".join(_entries(card)).encode()).hexdigest()[:16]


def _entries(card: CheckpointCard) -> Iterator[str]:
    for name in sorted(card.sha256):
        yield f"{name}={card.sha256[name]}"
