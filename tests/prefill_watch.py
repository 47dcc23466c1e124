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
