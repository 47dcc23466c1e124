"""The models there are: the built-in memory policies, and what entry points of the group give (no torch)."""

from __future__ import annotations

__all__ = [
    "MODELS",
    "catalog",
    "full",
    "infinipot_v",
    "livecc",
    "models_with",
    "policy_recipe",
    "rekv",
    "sliding",
    "sliding_chunked",
    "stc",
    "streamforest",
    "streamingvlm",
]

from evalkit.errors import UsageError
from evalkit.memory import FullAttention, SlidingChunked, SlidingWindow, StreamingVLM
from evalkit.memory.budgets import InfiniPotSettings
from evalkit.memory.events import StreamForestSettings
from evalkit.memory.retrieval import ReKVSettings
from evalkit.models.entry import ModelChoice, ModelEntry
from evalkit.models.local import LiveCCEntry, PolicyEntry, PolicyRecipe
from evalkit.models.own import OwnEntry
from evalkit.registry import Registry

MODELS = Registry("evalkit.models", "model")

QWEN = "Qwen/Qwen2.5-VL-7B-Instruct"
LLAVA = "llava-hf/llava-onevision-qwen2-7b-ov-hf"

full = PolicyEntry(
    name="full",
    summary="Full attention: everything seen and said stays in memory.",
    memory=FullAttention,
    checkpoint=QWEN,
)
sliding = PolicyEntry(
    name="sliding",
    summary="Sliding window with overlap: the last 16 s, computed anew each second.",
    memory=SlidingWindow,
    checkpoint=QWEN,
)
sliding_chunked = PolicyEntry(
    name="sliding-chunked",
    summary="Sliding window without overlap: starts afresh every 100 s.",
    memory=SlidingChunked,
    checkpoint=QWEN,
)
streamingvlm = PolicyEntry(
    name="streamingvlm",
    summary="StreamingVLM: text sink and window, 16 s of vision, contiguous positions.",
    memory=StreamingVLM,
    checkpoint="mit-han-lab/StreamingVLM",
)
stc = PolicyEntry(
    name="stc",
    summary="STC: cached vision encoding and dual-anchor pruning; everything kept stays in memory.",
    memory=FullAttention,
    checkpoint=LLAVA,
    compress="stc",
)


livecc = LiveCCEntry(
    name="livecc",
    summary="LiveCC: a turn a second on Qwen2-VL, the first of 3 s; nothing is evicted, positions run flat.",
    memory=FullAttention,
    checkpoint="chenjoya/LiveCC-7B-Instruct",
    generation={"temperature": 0.0, "repetition_penalty": 1.15, "max_new_tokens": 32},
)
rekv = PolicyEntry(
    name="rekv",
    summary="ReKV: a local window, every frame's keys kept, 64 frames retrieved for each question in every layer.",
    memory=ReKVSettings,
    checkpoint=LLAVA,
    generation={"repetition_penalty": 1.0},
)
infinipot_v = PolicyEntry(
    name="infinipot-v",
    summary="InfiniPot-V: each layer and head cuts its keys to 24 frames' worth when 32 stand, unasked.",
    memory=InfiniPotSettings,
    checkpoint=QWEN,
)
streamforest = PolicyEntry(
    name="streamforest",
    summary="StreamForest's memory: SigLIP features merged into events as they come; no trained part.",
    memory=StreamForestSettings,
    checkpoint=LLAVA,
)


def catalog(name: str) -> ModelEntry:
    """Return the entry of a model.

    Raises:
        UsageError: There is no such model, or what is named so is none.
    """
    found = MODELS.get(name)
    return found if isinstance(found, ModelEntry) else OwnEntry.of(found, name)


def models_with(setting: str) -> list[str]:
    """Return the built-in memories that have a setting, such as ``memory.topk`` or ``topk``."""
    name = setting.removeprefix("memory.")
    built_in = (infinipot_v, rekv, sliding, sliding_chunked, streamforest, streamingvlm)
    return [entry.name for entry in built_in if name in entry.memory.__dataclass_fields__]


def policy_recipe(name: str, choice: ModelChoice) -> PolicyRecipe:
    """Return the recipe of a model that must be a memory policy over local weights.

    Raises:
        UsageError: There is no such model, or it is of another kind.
    """
    entry = catalog(name)
    if not isinstance(entry, PolicyEntry):
        raise UsageError(f"model {name} has no weights on this machine to measure: choose a memory policy")
    return entry.recipe(choice)
