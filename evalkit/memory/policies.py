"""Memory policies: pure functions that say which spans a model keeps before the next second (no torch)."""

from __future__ import annotations

__all__ = ["FullAttention", "MemoryPolicy", "SlidingChunked", "SlidingWindow", "StreamingVLM"]

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evalkit.errors import UsageError
from evalkit.memory.ledger import Ledger, Piece, Plan, Span

Positions = Literal["contiguous", "native"]
_VISION = frozenset({"vision_open", "vision", "vision_close"})
_ASSISTANT = frozenset({"assistant_open", "assistant", "assistant_close", "newline"})


class MemoryPolicy(ABC):
    """What a policy tells the session; one's own needs no more than `plan`.

    Attributes:
        positions: ``contiguous`` counts positions anew over what survived; ``native`` lets them grow.
        recompute: Whether nothing stays cached and the surviving context is prefilled again each second.
    """

    __slots__ = ()

    positions: Positions = "contiguous"
    recompute: bool = False

    @property
    def reencodes(self) -> bool:
        """Whether the frames that stay are encoded again each second."""
        return False

    @property
    def rebases(self) -> bool:
        """Whether cached tokens move to new positions when others are dropped."""
        return self.positions == "contiguous" and not self.recompute

    @property
    def previous_text_kept(self) -> int | None:
        """Tokens of the previous text that outlive the first second; ``None`` for all of them."""
        return None

    @property
    def trims_opening(self) -> bool:
        """Whether only those are prefilled."""
        return False

    def plan_opening(self, ledger: Ledger) -> Plan:
        """Return what of the opening, which holds the previous text, is prefilled at all: everything."""
        return Plan()

    @abstractmethod
    def plan(self, ledger: Ledger, second: int) -> Plan:
        """Return what stays before stream second ``second`` (index from 0) is added."""


@dataclass(frozen=True, slots=True)
class FullAttention(MemoryPolicy):
    """Keep everything."""

    @property
    def rebases(self) -> bool:
        """No: nothing is dropped."""
        return False

    def plan(self, ledger: Ledger, second: int) -> Plan:
        """Keep everything."""
        return Plan()


@dataclass(frozen=True, slots=True)
class SlidingChunked(MemoryPolicy):
    """Restart from the opening every ``seconds`` (the paper's sliding window without overlap).

    Args:
        seconds: Length of a chunk, stream seconds.
    """

    seconds: int = 100

    def __post_init__(self) -> None:
        _at_least("seconds", self.seconds, 1)

    @property
    def rebases(self) -> bool:
        """No: the opening stands first and stays there."""
        return False

    def plan(self, ledger: Ledger, second: int) -> Plan:
        """Drop every turn at a chunk's start, else keep everything."""
        if second == 0 or second % self.seconds:
            return Plan()
        opening = (i for i, span in enumerate(ledger) if span.second is None)
        return Plan.keep(ledger, opening, restart=True)


@dataclass(frozen=True, slots=True)
class StreamingVLM(MemoryPolicy):
    """Sink and window of text, window of vision (StreamingVLM, arXiv 2510.09608 section 2.1 and its code).

    Before second ``i``: (1) from ``text_rounds`` on, the oldest answer's words, without the token before its
    end marker, move to the end of the previous text and the rest of that assistant turn goes, with the turn's
    time stamp where vision outlives text; (2) from ``vision_window`` on the oldest vision block goes where
    text outlives vision; (3) past both, the oldest user turn goes; (4) of the previous text the first
    ``text_sink`` and the last ``text_window - 1`` tokens stay.

    Args:
        vision_window: Seconds of vision kept.
        text_rounds: Answers kept in their turns.
        text_sink: First tokens of the previous text kept; ``None`` for no limit.
        text_window: Last tokens of the previous text kept (one less, as in the released code); ``None``
            for no limit.
        positions: ``contiguous`` (the method) or ``native`` (its ablation).
        recompute: Prefill the surviving context anew each second.
        trim_opening: Prefill of the previous text only what step (4) keeps. The released code prefills all of it
            before the first second: with this, the first second sees less, and what is kept never saw the rest.
    """

    vision_window: int = 16
    text_rounds: int = 16
    text_sink: int | None = 512
    text_window: int | None = 512
    positions: Positions = "contiguous"
    recompute: bool = False
    trim_opening: bool = False

    def __post_init__(self) -> None:
        _at_least("vision_window", self.vision_window, 1)
        _at_least("text_rounds", self.text_rounds, 1)
        for name, value in (("text_sink", self.text_sink), ("text_window", self.text_window)):
            if value is not None:
                _at_least(name, value, 0)

    @property
    def previous_text_kept(self) -> int | None:
        """Tokens of the previous text that outlive the first second; ``None`` for all of them."""
        if self.text_sink is None or self.text_window is None:
            return None
        return self.text_sink + max(self.text_window - 1, 0)

    @property
    def trims_opening(self) -> bool:
        """Whether only those are prefilled: ``trim_opening``."""
        return self.trim_opening

    def plan_opening(self, ledger: Ledger) -> Plan:
        """Return the opening whole, or with the previous text cut to its sink and window."""
        if not self.trim_opening:
            return Plan()
        everything = [Piece(index, 0, len(span)) for index, span in enumerate(ledger)]
        return Plan(tuple(self._trim_previous_text(ledger, everything)))

    def plan(self, ledger: Ledger, second: int) -> Plan:
        """Return what stays before second ``second`` is added; see the class."""
        if second == 0:
            return Plan()
        last_mute = second - self.text_rounds
        stays: list[Piece] = []
        retired: list[Piece] = []
        for index, span in enumerate(ledger):
            turn = span.second
            if turn is None or span.kind == "previous_text":
                stays.append(Piece(index, 0, len(span)))
            elif span.kind in _ASSISTANT:
                if turn > last_mute:
                    stays.append(Piece(index, 0, len(span)))
                elif span.kind == "assistant":
                    retired.append(Piece(index, 0, len(span) - 1, "previous_text"))
            elif not self._user_span_goes(span, turn, second):
                stays.append(Piece(index, 0, len(span)))
        close = next((i for i, p in enumerate(stays) if ledger[p.span].kind == "previous_close"), len(stays))
        pieces = stays[:close] + [p for p in retired if p.stop > p.start] + stays[close:]
        return Plan(tuple(self._trim_previous_text(ledger, pieces)))

    def _user_span_goes(self, span: Span, turn: int, second: int) -> bool:
        last_mute, last_unseen = second - self.text_rounds, second - self.vision_window
        if turn <= min(last_mute, last_unseen):
            return True
        if span.kind in _VISION:
            return turn <= last_unseen
        return span.kind == "time" and turn <= last_mute and last_unseen < last_mute

    def _trim_previous_text(self, ledger: Ledger, pieces: list[Piece]) -> list[Piece]:
        if self.text_sink is None or self.text_window is None:
            return pieces
        mine = [i for i, p in enumerate(pieces) if (p.kind or ledger[p.span].kind) == "previous_text"]
        text = [pieces[i] for i in mine]
        last = max(self.text_window - 1, 0)
        if sum(p.stop - p.start for p in text) <= self.text_sink + last:
            return pieces
        return pieces[: mine[0]] + _ends(text, self.text_sink, last) + pieces[mine[-1] + 1 :]


@dataclass(frozen=True, slots=True)
class SlidingWindow(StreamingVLM):
    """Keep the last seconds of vision and text and compute them anew (sliding window with overlap).

    The surviving context is StreamingVLM's, all of the previous text included; nothing stays cached.

    Args:
        reuse_vision: Keep the encoder's features of the window instead of encoding its frames again, as
            the original does.
    """

    text_sink: int | None = None
    text_window: int | None = None
    recompute: bool = True
    reuse_vision: bool = False

    @property
    def reencodes(self) -> bool:
        """Whether the frames that stay are encoded again each second."""
        return self.recompute and not self.reuse_vision


def _ends(pieces: Sequence[Piece], first: int, last: int) -> list[Piece]:
    """Return the first ``first`` and the last ``last`` tokens of the pieces; they must not overlap."""
    total = sum(p.stop - p.start for p in pieces)
    kept: list[Piece] = []
    offset = 0
    for piece in pieces:
        length = piece.stop - piece.start
        head = min(max(first - offset, 0), length)
        tail = min(max(offset + length - (total - last), 0), length - head)
        if head + tail == length:
            kept.append(piece)
        else:
            kept += [replace(piece, stop=piece.start + head)] if head else []
            kept += [replace(piece, start=piece.stop - tail)] if tail else []
        offset += length
    return kept


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise UsageError(f"memory.{name} must be at least {least}, not {value}")
