"""How the cost of work grows with its size: a ratio of CPU times within one process, alike on any machine."""

from __future__ import annotations

__all__ = ["LINEAR", "growth"]

import time
from collections.abc import Callable

TIMES = 4
LINEAR = 8.0
"""Bound on `growth` of work in proportion to its size: twice the 4 it takes. Work by the square takes 16."""


def growth(work: Callable[[int], Callable[[], object]], size: int) -> float:
    """Return how many times as much CPU work takes at four times the size; the least of three turns each.

    Args:
        work: Prepares work of a size, which is not measured, and returns what is.
        size: The smaller size; its work should take some 10 ms or more.
    """
    runs = [work(size), work(TIMES * size)]
    spent: list[list[float]] = [[], []]
    for _ in range(3):
        for run, times in zip(runs, spent, strict=True):
            began = time.process_time()
            run()
            times.append(time.process_time() - began)
    small, large = map(min, spent)
    return large / small
