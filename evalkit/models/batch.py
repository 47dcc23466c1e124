"""What streams ask of one network at the same moment, carried out as one batch."""

from __future__ import annotations

__all__ = ["BatchServer", "SharedBackbone", "StreamBatch"]

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch

from evalkit.memory.cache import SpanCache
from evalkit.models.backbone import Backbone, Packed
from evalkit.models.generation import TokenChooser, choose_together
from evalkit.models.together import LATER, Together

R = TypeVar("R")

ROW_TOKENS = 4096
"""Tokens of all streams that go through the network in one row; a longer prefill goes alone."""


@dataclass(frozen=True, slots=True, eq=False)
class _Encode:
    """Encode a second's frames."""

    packed: Packed


@dataclass(frozen=True, slots=True, eq=False)
class _Forward:
    """Run new tokens behind a cache."""

    embeddings: torch.Tensor
    positions: torch.Tensor
    cache: SpanCache

    @property
    def tokens(self) -> int:
        return self.embeddings.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class _Logits:
    """Read the output layer."""

    hidden: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Choose:
    """Choose a reply's next token."""

    chooser: TokenChooser
    logits: torch.Tensor


_Request = _Encode | _Forward | _Logits | _Choose


class StreamBatch(Together):
    """Streams of one network; see `Together`."""

    @torch.inference_mode()
    def run(self, jobs: Iterable[Callable[[], None] | None], at_once: int) -> None:
        """Run jobs; see `Together.run`.

        Each session enters and leaves inference mode by itself, and torch keeps one mode for all streams of a
        thread: so it is on throughout.
        """
        super().run(jobs, at_once)


class SharedBackbone:
    """A backbone as one of several streams sees it: what is costly is asked for and served with the others'.

    Args:
        backbone: The network.
        group: The streams.
    """

    def __init__(self, backbone: Backbone, group: Together) -> None:
        self._backbone = backbone
        self._group = group

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def encode(self, packed: Packed) -> torch.Tensor:
        """Return features ``(tokens, hidden)`` of packed frames."""
        return self._asked(_Encode(packed))

    def forward(self, embeddings: torch.Tensor, positions: torch.Tensor, cache: SpanCache) -> torch.Tensor:
        """Run the language model on new tokens; see `Backbone.forward`."""
        return self._asked(_Forward(embeddings, positions, cache))

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return float32 logits ``(1, vocabulary)``."""
        return self._asked(_Logits(hidden))

    def choose(self, chooser: TokenChooser, logits: torch.Tensor) -> torch.Tensor:
        """Return the id ``(1,)`` that a reply's chooser takes from logits ``(1, vocabulary)``."""
        return self._asked(_Choose(chooser, logits))

    def _asked(self, request: _Request) -> torch.Tensor:
        served: torch.Tensor = self._group.ask(request)
        return served


class BatchServer:
    """Carries out what streams wait for, one kind of work at a time so that they meet again behind it.

    A batch that fails is carried out stream by stream, and only the stream whose own part fails gets the error.

    Args:
        backbone: The network.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._kinds: list[tuple[type[_Request], Callable[[Any], list[Any]]]] = [
            (_Encode, self._encode),
            (_Forward, self._forward),
            (_Logits, self._logits),
            (_Choose, self._choose),
        ]

    @torch.inference_mode()
    def __call__(self, requests: Sequence[_Request]) -> list[Any]:
        """Serve what comes first in a second; what comes later waits for the streams that are not there yet.

        Returns:
            A tensor for each request, or the exception it ends with, or `LATER`.
        """
        for kind, serve in self._kinds:
            if asked := [one for one in requests if isinstance(one, kind)]:
                served = dict(zip(asked, serve(asked), strict=True))
                return [served.get(one, LATER) for one in requests]
        return []

    def _encode(self, requests: Sequence[_Encode]) -> list[Any]:
        backbone = self._backbone
        if len(requests) > 1:
            batch = _attempt(lambda: backbone.encode_all([one.packed for one in requests]))
            if not isinstance(batch, Exception):
                return batch
        return [_attempt(partial(backbone.encode, one.packed)) for one in requests]

    def _forward(self, requests: Sequence[_Forward]) -> list[Any]:
        results: dict[int, Any] = {}
        for row in _rows([one.tokens for one in requests]):
            parts = [requests[number] for number in row]
            results |= zip(row, self._one_row(parts), strict=True)
        return [results[number] for number in range(len(requests))]

    def _one_row(self, parts: Sequence[_Forward]) -> list[Any]:
        cached = [one.cache.length for one in parts]
        if len(parts) > 1:
            batch = _attempt(
                lambda: self._backbone.forward_all([(one.embeddings, one.positions, one.cache) for one in parts])
            )
            if not isinstance(batch, Exception):
                return list(batch.split(1))
            for one, length in zip(parts, cached, strict=True):
                one.cache.take_back(length)
        forward = self._backbone.forward
        return [_attempt(partial(forward, one.embeddings, one.positions, one.cache)) for one in parts]

    def _logits(self, requests: Sequence[_Logits]) -> list[Any]:
        if len(requests) > 1:
            batch = _attempt(lambda: self._backbone.logits(torch.cat([one.hidden for one in requests])))
            if not isinstance(batch, Exception):
                return list(batch.split(1))
        return [_attempt(partial(self._backbone.logits, one.hidden)) for one in requests]

    def _choose(self, requests: Sequence[_Choose]) -> list[Any]:
        results: dict[_Choose, Any] = {}
        by_rule: dict[float | None, list[_Choose]] = {}
        for one in requests:
            by_rule.setdefault(one.chooser.rule, []).append(one)
        for rule, alike in by_rule.items():
            if rule is None or len(alike) == 1:
                results |= {one: _attempt(partial(one.chooser.choose, one.logits)) for one in alike}
            else:
                logits = _stacked([one.logits for one in alike])
                tokens = choose_together([one.chooser for one in alike], logits)
                results |= zip(alike, tokens.split(1), strict=True)
        return [results[one] for one in requests]


def _stacked(rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return ``(rows, vocabulary)`` of rows ``(1, vocabulary)``; no copy where they are one tensor's still."""
    first, size = rows[0], rows[0].nbytes
    store = first.untyped_storage().data_ptr()
    if all(
        one.untyped_storage().data_ptr() == store and one.data_ptr() == first.data_ptr() + number * size
        for number, one in enumerate(rows)
    ):
        return first.as_strided((len(rows), first.shape[1]), (first.shape[1], 1))
    return torch.cat(list(rows))


def _rows(tokens: Sequence[int]) -> list[list[int]]:
    """Return which streams go through the network in one row: short parts together, a long prefill alone."""
    rows: list[list[int]] = []
    filled = ROW_TOKENS
    for number in sorted(range(len(tokens)), key=lambda number: tokens[number]):
        if filled + tokens[number] > ROW_TOKENS:
            rows.append([])
            filled = 0
        rows[-1].append(number)
        filled += tokens[number]
    return rows


def _attempt(work: Callable[[], R]) -> R | Exception:
    """Return what work gives or the exception it ends with: another stream must not end with it."""
    try:
        return work()
    except Exception as error:
        return error
