"""The output layer on a CPU, read once for the tokens of several streams and by all threads."""

from __future__ import annotations

__all__ = ["logits_of_rows"]

import torch
import torch.nn.functional as F

BLOCK = 2048
"""Rows of the weight in one product: enough blocks for every thread, each large against the call."""
MOST_ROWS = 8
"""Hidden states in one product; more are cheaper in several."""


def logits_of_rows(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return ``hidden @ weight.T``, ``(rows, vocabulary)``.

    ``linear`` of a few rows keeps one thread busy and runs at a half to a third of the memory's speed. Here the
    weight is the left operand, cut into blocks: its rows are read as they lie, and threads share the blocks out.

    Args:
        hidden: Hidden states ``(rows, hidden)``, float32.
        weight: The output layer ``(vocabulary, hidden)``, float32, on the CPU.
    """
    vocabulary, width = weight.shape
    count = max(1, vocabulary // BLOCK)
    size = vocabulary // count
    even = count * size
    blocks = weight[:even].view(count, size, width)
    logits = hidden.new_empty(len(hidden), vocabulary)
    for rows, target in zip(hidden.split(MOST_ROWS), logits.split(MOST_ROWS), strict=True):
        products = torch.bmm(blocks, rows.t().expand(count, width, len(rows)))
        target[:, :even].view(len(rows), count, size).copy_(products.permute(2, 0, 1))
    if even < vocabulary:
        logits[:, even:] = F.linear(hidden, weight[even:])
    return logits
