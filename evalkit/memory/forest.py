"""StreamForest: vision features of a stream as a newest frame, a short memory, and events that are joined.

Zeng et al., arXiv 2509.24871; rules as in `memory_manager.py` and `projector_FSTW_PEMF.py` of the release. It has
no weights: a pure function of features. Tokens are merged by ToMe's matching, so their order is not spatial.
"""

from __future__ import annotations

__all__ = ["Event", "EventForest", "frame_positions", "merge_to"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from evalkit.compress.tome import match, merge
from evalkit.memory.events import StreamForestSettings

_PERIOD = 512
"""Frames after which temporal positions begin anew."""


def frame_positions(index: int, side: int, width: int) -> Tensor:
    """Return what is added to the features of a frame, ``(side * side, width)``.

    A quarter of the channels say when, three quarters where (first by column, then by row): sines, then cosines,
    base 10,000. What the division leaves over is zero.

    Args:
        index: Number of the frame in the stream.
        side: Patches a side.
        width: Channels.
    """
    temporal, spatial = width // 4, width // 4 * 3
    out = torch.zeros(side * side, width)
    when = _waves(torch.tensor([float(index % _PERIOD)]), temporal)
    out[:, : when.shape[1]] = when
    places = torch.arange(side, dtype=torch.float64)
    columns, rows = places.repeat(side), places.repeat_interleave(side)
    half = spatial // 2
    for start, where in ((temporal, columns), (temporal + half, rows)):
        waves = _waves(where, half)
        out[:, start : start + waves.shape[1]] = waves
    return out


def _waves(places: Tensor, width: int) -> Tensor:
    half = width // 2
    frequencies = 10_000.0 ** -(torch.arange(half, dtype=torch.float64) / max(half, 1))
    angles = places.double().unsqueeze(1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def merge_to(tokens: Tensor, count: int, heads: int) -> Tensor:
    """Merge tokens until so many are left; a merged token is the mean of all that went into it.

    Args:
        tokens: ``(tokens, width)``.
        count: How many are wanted; no more than there are.
        heads: Heads over whose channels the features are averaged before they are compared.
    """
    merged, size = tokens[None], tokens.new_ones(1, len(tokens), 1)
    while merged.shape[1] > count:
        over = merged.shape[1] - count
        pairs = match(_compared(merged, heads), min(over, merged.shape[1] // 2))
        assert pairs is not None
        grown = merge(size, pairs)
        merged, size = merge(merged * size, pairs) / grown, grown
    return merged[0]


def _compared(tokens: Tensor, heads: int) -> Tensor:
    return tokens.unflatten(-1, (heads, -1)).mean(dim=-2)


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """A run of frames that is remembered as one.

    Args:
        tokens: ``(tokens, width)``.
        time: Mean place in the stream, frames.
        merges: Events that went into it.
    """

    tokens: Tensor
    time: float
    merges: int = 1


@dataclass(slots=True)
class EventForest:
    """The memory of one stream.

    Args:
        settings: Windows and budgets.
        heads: Attention heads of the vision tower.
        now: The newest frame ``(tokens, width)``, positions added; ``None`` at first.
        short: Frames before it, merged, oldest first.
        likeness: Cosine of each short frame with the one that follows it.
        events: What is older, oldest first.
        frames: Frames seen.
        split: Frames that went into events.
    """

    settings: StreamForestSettings
    heads: int
    now: Tensor | None = None
    short: list[Tensor] = field(default_factory=list)
    likeness: list[float] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    frames: int = 0
    split: int = 0

    def add(self, features: Tensor) -> None:
        """Take in a frame.

        Args:
            features: ``(side * side, width)`` of the vision tower, before any projection.
        """
        side = round(len(features) ** 0.5)
        frame = features.float() + frame_positions(self.frames, side, features.shape[1]).to(features.device)
        if self.now is not None:
            cosine = torch.cosine_similarity(self.now.flatten(), frame.flatten(), dim=0)
            self.likeness.append(float(cosine))
            self.short.append(merge_to(self.now, min(self.settings.short_tokens, len(self.now)), self.heads))
        self.now = frame
        self.frames += 1
        while len(self.short) >= self.settings.short_frames + self.settings.event_window:
            self._split()
        if self.settings.schedule == "streaming":
            self.events = self._joined()

    def _split(self) -> None:
        """Make an event of the oldest frames, up to where one is least like the next; of equals the first."""
        oldest = self.likeness[: self.settings.event_window]
        count = oldest.index(min(oldest)) + 1
        tokens = torch.cat(self.short[:count])
        wanted = min(self.settings.long_tokens * count, len(tokens))
        self.events.append(Event(merge_to(tokens, wanted, self.heads), self.split + (count - 1) / 2))
        self.short, self.likeness = self.short[count:], self.likeness[count:]
        self.split += count

    def _joined(self) -> list[Event]:
        """Return the events, of which pairs are joined until they fit the quota."""
        events = list(self.events)
        if sum(len(event.tokens) for event in events) <= self.settings.quota:
            return events
        alike = [self._alike(*pair) for pair in pairwise(events)]
        while sum(len(event.tokens) for event in events) > self.settings.quota and len(events) > 1:
            penalties = self._penalties(events, alike)
            place = penalties.index(min(penalties))
            events[place : place + 2] = [self._join(events[place], events[place + 1])]
            del alike[place]
            for pair in (place - 1, place):
                if 0 <= pair < len(events) - 1:
                    alike[pair] = self._alike(events[pair], events[pair + 1])
        return events

    def _penalties(self, events: Sequence[Event], alike: Sequence[float]) -> list[float]:
        """Return what speaks against joining each event with the next."""
        settings, pairs = self.settings, list(pairwise(events))
        until = self.split - 1 + len(self.short) + 1
        merges = [(one.merges + other.merges) / 2 for one, other in pairs]
        return [
            settings.similarity * (1 - cosine)
            + settings.time * (one.time + other.time) / 2 / until
            + settings.merges * (count / max(merges) + 1e-6)
            for (one, other), cosine, count in zip(pairs, alike, merges, strict=True)
        ]

    def _groups(self, *events: Event) -> int:
        """Return how many frames' worth of tokens events have."""
        return sum(-(-len(event.tokens) // self.settings.long_tokens) for event in events)

    def _wanted(self, one: Event, other: Event) -> int:
        return -(-self._groups(one, other) // 2) * self.settings.long_tokens

    def _alike(self, one: Event, other: Event) -> float:
        """Return the mean of the best cosines, as many as joining the two would merge."""
        tokens = torch.cat([one.tokens, other.tokens])
        unit = torch.nn.functional.normalize(_compared(tokens, self.heads), dim=-1)
        best = (unit[::2] @ unit[1::2].T).max(dim=-1).values
        return float(best.topk(len(tokens) - self._wanted(one, other)).values.mean())

    def _join(self, one: Event, other: Event) -> Event:
        tokens = merge_to(torch.cat([one.tokens, other.tokens]), self._wanted(one, other), self.heads)
        first, second = self._groups(one), self._groups(other)
        time = (one.time * first + other.time * second) / (first + second)
        return Event(tokens, time, one.merges + other.merges)

    @property
    def tokens(self) -> int:
        """Tokens that stand, without joining."""
        held = [event.tokens for event in self.events] + self.short
        return sum(map(len, held)) + (0 if self.now is None else len(self.now))

    def remembered(self) -> Tensor:
        """Return all that is remembered, ``(tokens, width)``: events, short memory, newest frame."""
        events = self._joined() if self.settings.schedule == "released" else self.events
        parts = [event.tokens for event in events] + self.short + ([] if self.now is None else [self.now])
        return torch.cat(parts)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs: tensors, and plain JSON values under ``"json"``."""
        tensors = {f"short.{number:04d}": one for number, one in enumerate(self.short)}
        tensors |= {f"event.{number:06d}": event.tokens for number, event in enumerate(self.events)}
        if self.now is not None:
            tensors["now"] = self.now
        plain = {
            "likeness": self.likeness,
            "events": [[event.time, event.merges] for event in self.events],
            "frames": self.frames,
            "split": self.split,
        }
        return {"tensors": tensors, "json": plain}

    def restore(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Go back to what `state` returned."""
        self.now = tensors.get("now")
        self.short = [tensors[name] for name in sorted(tensors) if name.startswith("short.")]
        held = [tensors[name] for name in sorted(tensors) if name.startswith("event.")]
        facts = zip(held, plain["events"], strict=True)
        self.events = [Event(kept, time, merges) for kept, (time, merges) in facts]
        self.likeness = list(plain["likeness"])
        self.frames, self.split = plain["frames"], plain["split"]
