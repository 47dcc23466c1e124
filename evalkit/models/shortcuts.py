"""Catalog entries of the shortcut baselines, which wrap any backbone (no torch)."""

from __future__ import annotations

__all__ = ["blind", "last_frame", "recent_4", "recent_8", "recent_16", "shuffled"]

from evalkit.memory.shortcuts import Blind, RecentFrames, ShuffledFrames
from evalkit.models.catalog import QWEN
from evalkit.models.local import PolicyEntry

blind = PolicyEntry(
    name="blind",
    summary="Shortcut baseline: the question without any frame.",
    memory=Blind,
    checkpoint=QWEN,
)
last_frame = PolicyEntry(
    name="last-frame",
    summary="Shortcut baseline: the last frame before the question.",
    memory=RecentFrames,
    checkpoint=QWEN,
    memory_defaults={"frames": 1},
)
shuffled = PolicyEntry(
    name="shuffled",
    summary="Shortcut baseline: every frame, in random order.",
    memory=ShuffledFrames,
    checkpoint=QWEN,
)


def _recent(frames: int) -> PolicyEntry:
    return PolicyEntry(
        name=f"recent-{frames}",
        summary=f"Shortcut baseline: the last {frames} frames (any number: --set memory.frames=N).",
        memory=RecentFrames,
        checkpoint=QWEN,
        memory_defaults={"frames": frames},
    )


recent_4 = _recent(4)
recent_8 = _recent(8)
recent_16 = _recent(16)
