"""The chat layouts of the models, as spans: Qwen's chat format with StreamingVLM's turns, and plain questions."""

from __future__ import annotations

__all__ = ["SYSTEM_PROMPT", "ChatLayout", "ChatTokens", "VisionBlock"]

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.memory import Kind, Span
from evalkit.models.text import TextCodec

SYSTEM_PROMPT = "You are a helpful assistant."


@dataclass(frozen=True, slots=True)
class ChatTokens:
    """Special token ids of a backbone.

    Args:
        turn_open: ``<|im_start|>``.
        turn_close: ``<|im_end|>``, which also ends a reply.
        vision: Placeholder that stands for one vision token.
        vision_open: Marker before a vision block, if the model has one.
        vision_close: Marker after it, if the model has one.
    """

    turn_open: int
    turn_close: int
    vision: int
    vision_open: int | None = None
    vision_close: int | None = None


@dataclass(frozen=True, slots=True)
class VisionBlock:
    """Where a second's vision tokens stand.

    Args:
        grid: ``(t, h, w)`` in tokens.
        rows: Flat grid indices of the tokens that were kept, ascending; ``None`` for all.
        temporal_step: Positions between temporal grids.
        number: Number of the block, unique in its stream.
    """

    grid: tuple[int, int, int]
    rows: NDArray[np.int64] | None = None
    temporal_step: float = 1.0
    number: int = 0

    @property
    def tokens(self) -> int:
        """Number of tokens that stand in the context."""
        return int(np.prod(self.grid)) if self.rows is None else len(self.rows)


class ChatLayout:
    """Writes turns as spans.

    Layout of StreamingVLM (inference.py of mit-han-lab/streaming-vlm): a system turn, a ``previous text``
    turn, then per second a user turn ``Time=a-bs`` with the frames (the query in the first one only) and the
    assistant's reply; the newline after a reply is written with the next turn.

    Args:
        text: Tokenizer.
        tokens: Special ids.
        system_prompt: Text of the system turn.
    """

    def __init__(self, text: TextCodec, tokens: ChatTokens, system_prompt: str = SYSTEM_PROMPT) -> None:
        self.text = text
        self.tokens = tokens
        self._system_prompt = system_prompt

    def _ids(self, parts: Iterable[int | str]) -> NDArray[np.int64]:
        ids: list[int] = []
        for part in parts:
            ids += [part] if isinstance(part, int) else self.text.encode(part)
        return np.asarray(ids, dtype=np.int64)

    def _span(self, kind: Kind, parts: Iterable[int | str], second: int | None = None) -> Span:
        return Span(kind, self._ids(parts), second)

    def system(self, text: str | None = None) -> Span:
        """Return the system turn.

        Args:
            text: What it says; ``None`` for the model's own text.
        """
        t = self.tokens
        said = self._system_prompt if text is None else text
        return self._span("system", [t.turn_open, f"system\n{said}", t.turn_close, "\n"])

    def previous_text(self, text: str) -> list[Span]:
        """Return the turn that holds what was said before."""
        t = self.tokens
        return [
            self._span("previous_open", [t.turn_open, "previous text\n"]),
            self._span("previous_text", [text]),
            self._span("previous_close", [t.turn_close, "\n"]),
        ]

    def user_open(self, second: int | None) -> Span:
        """Return the opening of a user turn."""
        return self._span("user_open", [self.tokens.turn_open, "user\n"], second)

    def time(self, start: float, end: float, second: int) -> Span:
        """Return the time stamp of a second, media seconds."""
        return self._span("time", [f"Time={start:.1f}-{end:.1f}s"], second)

    def vision(self, block: VisionBlock, second: int) -> list[Span]:
        """Return a vision block with its markers; of one without tokens an empty span alone."""
        t = self.tokens
        pads = np.full(block.tokens, t.vision, dtype=np.int64)
        spans = [Span("vision", pads, second, block.grid, block.rows, block.temporal_step, block.number)]
        if not block.tokens:
            return spans
        if t.vision_open is not None:
            spans.insert(0, self._span("vision_open", [t.vision_open], second))
        if t.vision_close is not None:
            spans.append(self._span("vision_close", [t.vision_close], second))
        return spans

    def subtitle(self, text: str, second: int) -> Span:
        """Return a line of subtitle shown in a second."""
        return self._span("subtitle", [text], second)

    def query(self, text: str, second: int | None) -> Span:
        """Return an instruction or a question."""
        return self._span("query", [text], second)

    def reply_open(self, second: int | None, prefix: str = "") -> list[Span]:
        """Return the end of the user turn and the opening of the assistant's.

        Args:
            second: Stream second of the turn.
            prefix: Text put into the assistant's mouth.
        """
        t = self.tokens
        spans = [
            self._span("user_close", [t.turn_close, "\n"], second),
            self._span("assistant_open", [t.turn_open, "assistant\n"], second),
        ]
        return [*spans, self._span("assistant", [prefix], second)] if prefix else spans

    def reply(self, ids: Sequence[int], second: int) -> list[Span]:
        """Return what was said and its end marker, which is added where the token limit cut it off."""
        end = self.tokens.turn_close
        words = list(ids[:-1]) if ids and ids[-1] == end else list(ids)
        return [
            Span("assistant", np.asarray(words, dtype=np.int64), second),
            Span("assistant_close", np.asarray([end], dtype=np.int64), second),
        ]

    def newline(self, second: int) -> Span:
        """Return the newline after the reply of ``second``."""
        return self._span("newline", ["\n"], second)
