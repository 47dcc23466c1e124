"""A watcher of sessions that keeps every prefill it is shown."""

from __future__ import annotations

from collections.abc import Sequence

from evalkit.models.session import PrefillTrace


class PrefillWatch:
    """Keeps what stood in the context when each reply began."""

    def __init__(self) -> None:
        self.traces: list[PrefillTrace] = []

    def prefilled(self, trace: PrefillTrace) -> None:
        """Keep a prefill."""
        self.traces.append(trace)

    def replied(self, ids: Sequence[int], cached: int) -> None:
        """Take no note of replies."""


def part_at_a_tie(ours: Sequence[int], theirs: Sequence[int], trace: PrefillTrace) -> bool:
    """Say whether two greedy replies differ, which they may only where rounding explains it.

    Args:
        ours: Tokens of the watched session's reply.
        theirs: Tokens of the other.
        trace: What stood in the context when the watched one began.
    """
    if list(ours) == list(theirs):
        return False
    top = trace.logits.topk(2).values
    assert ours[0] != theirs[0], f"{ours} and {theirs}"
    assert float(top[0] - top[1]) < 1e-3, f"{ours} and {theirs}"
    return True
