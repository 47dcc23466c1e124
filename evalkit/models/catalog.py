"""The catalog of models: backbone, checkpoint, memory policy, compression and generation defaults (no torch)."""

from __future__ import annotations

__all__ = ["MODELS", "CatalogEntry", "catalog", "full", "sliding", "sliding_chunked", "stc", "streamingvlm"]

from dataclasses import dataclass, field
from typing import Any

from evalkit.memory import FullAttention, SlidingChunked, SlidingWindow, StreamingVLM
from evalkit.memory.policies import MemoryPolicy
from evalkit.registry import Registry

MODELS = Registry("evalkit.models", "model")

QWEN = "Qwen/Qwen2.5-VL-7B-Instruct"
LLAVA = "llava-hf/llava-onevision-qwen2-7b-ov-hf"


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A model under test. An entry point of ``evalkit.models`` gives one.

    Args:
        name: Its name on the command line.
        summary: One line for ``evalkit list models``.
        memory: Policy class; its fields are the keys of ``--set memory.KEY=VALUE``.
        checkpoint: Weights it runs on unless ``--checkpoint`` names others.
        memory_defaults: Values of the policy's fields where they differ from the class's own.
        generation: Generation settings where they differ from the defaults.
        compress: Compression, as ``--compress`` would say it.
    """

    name: str
    summary: str
    memory: type[MemoryPolicy]
    checkpoint: str
    memory_defaults: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    compress: str = "none"


full = CatalogEntry(
    name="full",
    summary="Full attention: everything seen and said stays in memory.",
    memory=FullAttention,
    checkpoint=QWEN,
)
sliding = CatalogEntry(
    name="sliding",
    summary="Sliding window with overlap: the last 16 s, computed anew each second.",
    memory=SlidingWindow,
    checkpoint=QWEN,
)
sliding_chunked = CatalogEntry(
    name="sliding-chunked",
    summary="Sliding window without overlap: starts afresh every 100 s.",
    memory=SlidingChunked,
    checkpoint=QWEN,
)
streamingvlm = CatalogEntry(
    name="streamingvlm",
    summary="StreamingVLM: text sink and window, 16 s of vision, contiguous positions.",
    memory=StreamingVLM,
    checkpoint="mit-han-lab/StreamingVLM",
)
stc = CatalogEntry(
    name="stc",
    summary="STC: cached vision encoding and dual-anchor pruning; everything kept stays in memory.",
    memory=FullAttention,
    checkpoint=LLAVA,
    compress="stc",
)


def catalog(name: str) -> CatalogEntry:
    """Return the entry of a model.

    Raises:
        UsageError: There is no such model.
    """
    entry = MODELS.get(name)
    assert isinstance(entry, CatalogEntry), f"evalkit.models entry point {name!r} is no CatalogEntry"
    return entry
