"""Training chunks in the session's own layout: previous text with sink and window, then some seconds of turns."""

from __future__ import annotations

__all__ = ["INSTRUCTION", "SINK", "WINDOW", "Chunk", "Chunks", "Rates", "RememberingText", "seen_pixels"]

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from evalkit.memory import PositionRule, Span, assign
from evalkit.models.layout import ChatLayout, ChatTokens, VisionBlock
from evalkit_tasks.demo.match import DemoMatch, Moment, Rates, make_match
from evalkit_tasks.demo.raster import COLUMNS, ROWS, picture
from evalkit_tasks.demo.speech import line
from learnt.vocabulary import END_OF_LINE

INSTRUCTION: Final = "Call the match."
SINK, WINDOW = 16, 128
"""Tokens of previous text that stay: the first 16 and the last 127, as `StreamingVLM` keeps them."""

CLASSES: Final = (
    "none",
    "kind",
    "team",
    "third",
    "card",
    "venue",
    "scorer",
    "last",
    "goal-red",
    "goal-blue",
    "clock-red",
    "clock-blue",
    "board-red",
    "board-blue",
    "end",
)
"""What a word depends on; losses are weighted and right words counted by it."""

_LINE_CLASSES: Final[dict[str, tuple[str, ...]]] = {
    "card": ("kind", "card"),
    "house": ("kind", "venue"),
    "play": ("team", "third"),
    "foul": ("kind", "team", "third"),
    "corner": ("kind", "team", "third"),
    "save": ("kind", "team", "third"),
    "goal": ("kind", "scorer", "goal-red", "goal-blue"),
    "clock": ("kind", "clock-red", "clock-blue"),
    "board": ("kind", "board-red", "board-blue"),
    "replay": ("kind", "last"),
}
_REMEMBERED: Final = frozenset({"venue", "last", "goal-red", "goal-blue", "clock-red", "clock-blue"})
_LEAD_SECONDS: Final = (5, 60)
"""Seconds of a match whose words can stand in the previous text: its beginning, and what went just before."""


class RememberingText:
    """Text codec that remembers what it has encoded; the layout's parts come again every second."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.encode = functools.lru_cache(maxsize=100_000)(self._encode)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids."""
        return str(self._tokenizer.decode(list(ids)))


@dataclass(frozen=True, slots=True)
class Chunk:
    """One sequence to train on.

    Args:
        ids: Token ids ``(L,)``.
        positions: Their positions ``(3, L)``.
        classes: What each token is, as an index into ``CLASSES``; 0 is not learnt.
        shown: The seconds whose pictures stand at the video tokens, in order.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.float32]
    classes: NDArray[np.int64]
    shown: tuple[tuple[DemoMatch, Moment], ...] = ()


@dataclass(slots=True)
class _Text:
    """Ids with their classes, in the making."""

    ids: list[int] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)


class Chunks:
    """Draws chunks of random matches.

    Args:
        tokenizer: The tokenizer.
        seed: Seed of the matches; the demo's seeds draw others.
    """

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        ids = tokenizer.token_to_id
        tokens = ChatTokens(
            turn_open=ids("<|im_start|>"),
            turn_close=ids("<|im_end|>"),
            vision=ids("<|video_pad|>"),
            vision_open=ids("<|vision_start|>"),
            vision_close=ids("<|vision_end|>"),
        )
        self._layout = ChatLayout(RememberingText(tokenizer), tokens)
        self._rule = PositionRule("3d", "max")
        self._rng = np.random.default_rng([seed, 9])
        self._word = {name: index for index, name in enumerate(CLASSES)}

    def draw(self, seconds: int, rates: Rates, opening_share: float = 0.35) -> Chunk:
        """Return a chunk of a random match, from its opening or from somewhere later."""
        opening = self._rng.random() < opening_share
        start = 0 if opening else int(self._rng.integers(3, 110))
        match = self._match(start + seconds, rates)
        if opening:
            return self.of_match(match, 0, seconds, shift=0, instruct=True)
        shift = int(math.exp(self._rng.uniform(0, math.log(9500)))) - start
        return self.of_match(match, start, seconds, shift=max(shift, 0), instruct=self._rng.random() < 0.3)

    def draw_text(self, seconds: int, rates: Rates) -> Chunk:
        """Return words without pictures: what was said over a random match, as one long previous text."""
        match = self._match(seconds, rates)
        said = self._said(match.moments, match, remembered_only=True)
        return self._sequence(self._opening(said), [])

    def of_match(self, match: DemoMatch, start: int, seconds: int, *, shift: int, instruct: bool) -> Chunk:
        """Return the seconds from ``start`` on of a match, with what was said before as previous text.

        Args:
            match: The match.
            start: First second that is shown.
            seconds: How many are shown.
            shift: Added to the time stamps, seconds.
            instruct: Whether the first turn holds the instruction.
        """
        said = self._said(match.moments[:start], match)
        if len(said.ids) > SINK + WINDOW - 1:
            for part in (said.ids, said.classes):
                del part[SINK : len(part) - (WINDOW - 1)]
        parts = self._opening(said)
        shown: list[tuple[DemoMatch, Moment]] = []
        for index, moment in enumerate(match.moments[start : start + seconds]):
            parts += self._turn(match, moment, index, shift, instruct=instruct and index == 0)
            shown.append((match, moment))
        return self._sequence(parts, shown)

    def _match(self, seconds: int, rates: Rates) -> DemoMatch:
        return make_match(int(self._rng.integers(2**20, 2**40)), max(seconds, 20), rates)

    def _opening(self, said: _Text) -> list[tuple[Span, list[int] | None]]:
        opened, _, closed = self._layout.previous_text("")
        text = Span("previous_text", np.asarray(said.ids, dtype=np.int64))
        return [(self._layout.system(), None), (opened, None), (text, said.classes), (closed, None)]

    def _turn(
        self, match: DemoMatch, moment: Moment, index: int, shift: int, *, instruct: bool
    ) -> list[tuple[Span, list[int] | None]]:
        layout, media = self._layout, moment.at + shift
        spans = [] if index == 0 else [layout.newline(index - 1)]
        spans.append(layout.user_open(index))
        spans.append(layout.time(float(media), float(media + 1), index))
        spans += layout.vision(VisionBlock((1, 2, 4), number=index), index)
        if instruct:
            spans.append(layout.query(INSTRUCTION, index))
        spans += layout.reply_open(index)
        words, end = self._line(match, moment), self._word["end"]
        [last] = layout.text.encode(END_OF_LINE)
        answer, close = layout.reply([*words.ids, last, layout.tokens.turn_close], index)
        return [*((span, None) for span in spans), (answer, [*words.classes, end]), (close, [end])]

    def _line(self, match: DemoMatch, moment: Moment) -> _Text:
        said = _Text()
        for word, name in zip(line(match, moment), _LINE_CLASSES[moment.kind], strict=True):
            ids = self._layout.text.encode(f" {word}")
            assert len(ids) == 1, f"{word} is not one token"
            said.ids += ids
            said.classes.append(self._word[name])
        return said

    def _said(self, moments: Sequence[Moment], match: DemoMatch, *, remembered_only: bool = False) -> _Text:
        """Return the words of some seconds one after the other, as they stand once their answers are retired."""
        said = _Text()
        for moment in moments:
            words = self._line(match, moment)
            said.ids += words.ids
            names = [CLASSES[index] for index in words.classes]
            counts = [remembered_only and name in _REMEMBERED for name in names]
            said.classes += [index if on else 0 for index, on in zip(words.classes, counts, strict=True)]
        return said

    def _sequence(
        self, parts: Sequence[tuple[Span, list[int] | None]], shown: Sequence[tuple[DemoMatch, Moment]]
    ) -> Chunk:
        positions, _ = assign((span for span, _ in parts), self._rule)
        ids = np.concatenate([span.ids for span, _ in parts])
        classes = np.concatenate([np.zeros(len(span), int) if of is None else of for span, of in parts])
        return Chunk(ids, positions, classes.astype(np.int64), tuple(shown))


def seen_pixels(shown: Sequence[tuple[DemoMatch, Moment]], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return two frames a second, ``(2 n, 16, 32, 3)`` cell means, with the noise of encoding and a little light.

    Args:
        shown: Seconds.
        rng: Noise.
    """
    frames = np.empty((len(shown), 2, ROWS, COLUMNS, 3), dtype=np.float32)
    for index, (match, moment) in enumerate(shown):
        frames[index] = picture(match, moment, int(rng.integers(-1, 2)))
    light = rng.normal(1.0, 0.02, (len(shown), 1, 1, 1, 3)) * frames + rng.normal(0, 4, (len(shown), 1, 1, 1, 3))
    noisy = light + rng.normal(0, 3, frames.shape)
    return noisy.round().clip(0, 255).astype(np.uint8).reshape(-1, ROWS, COLUMNS, 3)
