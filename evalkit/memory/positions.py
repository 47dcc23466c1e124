"""Where tokens stand: rotary positions of spans, by the 3-D rule of Qwen-VL or the 1-D rule (no torch)."""

from __future__ import annotations

__all__ = ["PositionRule", "assign", "follow"]

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evalkit.memory.ledger import Span


@dataclass(frozen=True, slots=True)
class PositionRule:
    """How a backbone counts positions.

    Args:
        axes: ``3d`` for (t, h, w) of Qwen-VL, ``1d`` for one running index.
        after_vision: Where text goes on after a vision span: ``max`` follows the largest position on any
            axis (transformers up to 4.52, StreamingVLM, the published figures); ``spatial`` follows the
            larger side of the grid and ignores its temporal extent (transformers 5.x).
    """

    axes: Literal["3d", "1d"] = "3d"
    after_vision: Literal["max", "spatial"] = "max"

    def place(self, span: Span, start: float) -> tuple[NDArray[np.float32], float]:
        """Return the positions of one span and where the next one starts.

        Args:
            span: The span; a pruned vision span's tokens keep the positions of the full grid.
            start: First free position.

        Returns:
            Positions of shape ``(3, tokens)`` and the next free position.
        """
        count = len(span)
        if span.grid is None:
            line = np.arange(count, dtype=np.float32) + np.float32(start)
            return np.broadcast_to(line, (3, count)), start + count
        t, h, w = span.grid
        rows = np.arange(t * h * w) if span.rows is None else span.rows
        if self.axes == "1d":
            line = (rows + start).astype(np.float32)
            return np.broadcast_to(line, (3, count)), start + t * h * w
        frame, cell = np.divmod(rows, h * w)
        row, column = np.divmod(cell, w)
        placed = np.stack([frame * span.temporal_step, row, column]).astype(np.float32) + np.float32(start)
        extent = float(max(h, w))
        if self.after_vision == "max":
            extent = max((t - 1) * span.temporal_step + 1, extent)
        return placed, start + extent


def assign(spans: Iterable[Span], rule: PositionRule, start: float = 0.0) -> tuple[NDArray[np.float32], float]:
    """Place spans one after the other.

    Args:
        spans: Spans in context order.
        rule: The backbone's rule.
        start: First free position.

    Returns:
        Positions of shape ``(3, tokens)`` and the next free position.
    """
    placed = [np.empty((3, 0), dtype=np.float32)]
    for is_text, run in groupby(spans, key=lambda span: span.grid is None):
        if is_text and float(start).is_integer():  # whole numbers are exact however they are added up
            count = sum(map(len, run))
            placed.append(follow(start - 1, count))
            start += count
            continue
        for span in run:
            positions, start = rule.place(span, start)
            placed.append(positions)
    return np.concatenate(placed, axis=1), start


def follow(last: float, count: int) -> NDArray[np.float32]:
    """Return ``count`` text positions that go on from ``last`` (exclusive), shape ``(3, count)``."""
    line = np.arange(1, count + 1, dtype=np.float32) + np.float32(last)
    return np.broadcast_to(line, (3, count)).copy()
