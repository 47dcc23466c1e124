"""The ledger: what stands in a model's context, span by span, and how a plan changes it (no torch)."""

from __future__ import annotations

__all__ = ["Kind", "Ledger", "Piece", "Plan", "Span"]

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal[
    "system",
    "previous_open",
    "previous_text",
    "previous_close",
    "user_open",
    "time",
    "vision_open",
    "vision",
    "vision_close",
    "subtitle",
    "query",
    "user_close",
    "assistant_open",
    "assistant",
    "assistant_close",
    "newline",
]


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """A run of tokens of one kind.

    Args:
        kind: What the tokens are.
        ids: Token ids, shape ``(tokens,)``.
        second: Index of the stream second the span belongs to; ``None`` for what precedes the stream.
        grid: ``(t, h, w)`` of a vision span, in tokens.
        rows: Flat indices into the grid of the tokens that stand here, ascending; ``None`` means all of
            them. A pruned span thus still knows where its tokens stood.
        temporal_step: Positions between two temporal grids of a vision span.
        block: Number of the vision block, unique in its stream: where its features are found.
    """

    kind: Kind
    ids: NDArray[np.int64]
    second: int | None = None
    grid: tuple[int, int, int] | None = None
    rows: NDArray[np.int64] | None = None
    temporal_step: float = 1.0
    block: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, start: int, stop: int, kind: Kind | None = None) -> Span:
        """Return the tokens ``start`` to ``stop``, under another kind if one is given."""
        if start == 0 and stop == len(self.ids) and kind is None:
            return self
        rows = self.rows
        if self.grid is not None and (start, stop) != (0, len(self.ids)):
            rows = (np.arange(len(self.ids)) if rows is None else rows)[start:stop]
        return replace(self, kind=kind or self.kind, ids=self.ids[start:stop], rows=rows)

    def to_json(self) -> dict[str, Any]:
        """Return the span as plain JSON values."""
        return {
            "kind": self.kind,
            "ids": self.ids.tolist(),
            "second": self.second,
            "grid": self.grid,
            "rows": None if self.rows is None else self.rows.tolist(),
            "temporal_step": self.temporal_step,
            "block": self.block,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Span:
        """Rebuild a span from ``to_json``'s values."""
        return cls(
            kind=value["kind"],
            ids=np.asarray(value["ids"], dtype=np.int64),
            second=value["second"],
            grid=None if value["grid"] is None else (value["grid"][0], value["grid"][1], value["grid"][2]),
            rows=None if value["rows"] is None else np.asarray(value["rows"], dtype=np.int64),
            temporal_step=value["temporal_step"],
            block=value["block"],
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens ``start`` to ``stop`` of span number ``span``, kept under ``kind`` (its own if ``None``)."""

    span: int
    start: int
    stop: int
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What stays, in its new order; whatever no piece names is dropped.

    Args:
        pieces: What stays; ``None`` means everything as it stands.
        restart: The stream's opening instruction is to be said again with the next turn.
    """

    pieces: tuple[Piece, ...] | None = None
    restart: bool = False

    @property
    def keeps_everything(self) -> bool:
        """Whether the plan changes nothing."""
        return self.pieces is None

    @classmethod
    def keep(cls, ledger: Ledger, indices: Iterable[int], *, restart: bool = False) -> Plan:
        """Keep whole spans, by their number in the ledger, in the order given."""
        return cls(tuple(Piece(index, 0, len(ledger[index])) for index in indices), restart=restart)


class Ledger(Sequence[Span]):
    """The ordered spans of a context.

    Args:
        spans: Spans in context order; empty ones are left out.
    """

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans: list[Span] = []
        self._counts: Counter[str] = Counter()
        self._tokens = 0
        self.extend(spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: Any) -> Any:
        return self._spans[index]

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    @property
    def tokens(self) -> int:
        """Number of tokens in the context."""
        return self._tokens

    @property
    def counts(self) -> dict[str, int]:
        """Tokens by span kind."""
        return {kind: count for kind, count in self._counts.items() if count}

    def extend(self, spans: Iterable[Span]) -> None:
        """Append spans at the end of the context."""
        for span in spans:
            if len(span):
                self._spans.append(span)
                self._counts[span.kind] += len(span)
                self._tokens += len(span)

    def truncate(self, spans: int) -> None:
        """Drop every span from number ``spans`` on (how an answered question leaves no trace)."""
        for span in self._spans[spans:]:
            self._counts[span.kind] -= len(span)
            self._tokens -= len(span)
        del self._spans[spans:]

    def ids(self) -> NDArray[np.int64]:
        """Return all token ids, shape ``(tokens,)``."""
        if not self._spans:
            return np.empty(0, dtype=np.int64)
        return np.concatenate([span.ids for span in self._spans])

    def apply(self, plan: Plan) -> tuple[Ledger, NDArray[np.int64]]:
        """Return the ledger a plan leaves, and for each of its tokens the index it had here.

        Returns:
            The new ledger and an index array of shape ``(new tokens,)``.
        """
        if plan.pieces is None:
            return self, np.arange(self._tokens, dtype=np.int64)
        starts = np.cumsum([0, *(len(span) for span in self._spans)])
        kept = [self._spans[p.span].cut(p.start, p.stop, p.kind) for p in plan.pieces]
        runs = [np.arange(starts[p.span] + p.start, starts[p.span] + p.stop, dtype=np.int64) for p in plan.pieces]
        return Ledger(kept), np.concatenate([np.empty(0, dtype=np.int64), *runs])

    def evicted(self, plan: Plan) -> dict[str, int]:
        """Return the tokens a plan drops, by the kind they stand under; what only moves is not dropped."""
        if plan.pieces is None:
            return {}
        dropped = Counter(self._counts)
        for piece in plan.pieces:
            dropped[self._spans[piece.span].kind] -= piece.stop - piece.start
        return {kind: count for kind, count in dropped.items() if count}
