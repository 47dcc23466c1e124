"""Who gets what: the longest samples first, so that the last worker does not run alone; how long that takes."""

from __future__ import annotations

__all__ = ["clock_time", "length", "longest_first", "makespan", "shares"]

import heapq
from collections.abc import Iterable, Sequence

from evalkit.stream import StreamSample


def length(sample: StreamSample) -> float:
    """Return how long a sample is, media seconds."""
    return sample.end - sample.start


def longest_first(samples: Iterable[StreamSample]) -> list[StreamSample]:
    """Return samples by length, longest first; equally long ones in their order."""
    return sorted(samples, key=length, reverse=True)


def shares(samples: Iterable[StreamSample], workers: int) -> list[list[StreamSample]]:
    """Return what each worker gets where every second of stream takes the same everywhere.

    Whoever is free takes the longest that is left: at most a third longer than the best there is (Graham 1969,
    doi 10.1137/0117039, for the longest-processing-time rule).

    Args:
        samples: What is to run.
        workers: How many workers.
    """
    found: list[list[StreamSample]] = [[] for _ in range(workers)]
    free = [(0.0, worker) for worker in range(workers)]
    for sample in longest_first(samples):
        busy, worker = heapq.heappop(free)
        found[worker].append(sample)
        heapq.heappush(free, (busy + length(sample), worker))
    return found


def makespan(lengths: Sequence[float], workers: int) -> float:
    """Return when the last worker is done, in the unit of the lengths; the longest are taken first."""
    free = [0.0] * max(workers, 1)
    for one in sorted(lengths, reverse=True):
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def clock_time(seconds: float) -> str:
    """Return a duration in words, as ``3 h 20 min`` or ``45 s``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
