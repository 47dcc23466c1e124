"""Token compressors: STC and its peers, how they are named, and the proof that they were on.

Settings, specifications and proof load no torch; what runs tensors is imported when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalkit.compress.proof import ShareProblem, check_shares, unclaimed_lines, unclaimed_seconds
from evalkit.compress.settings import CacherSettings, PrunerSettings
from evalkit.compress.spec import (
    COMPRESSOR_GROUP,
    PRESETS,
    CompressionSpec,
    CompressorKind,
    CompressorSpec,
    SideProduct,
    broken_compressors,
    compressor_kinds,
    parse_compression,
)

if TYPE_CHECKING:
    from evalkit.compress.bench import ChunkComparison, EncodingComparison, compare_encoding
    from evalkit.compress.cacher import CacherState, EncodedFrames, SiglipCacher
    from evalkit.compress.contract import Compressed, NoState, SideProducts
    from evalkit.compress.hosts import wrap_vision_tower
    from evalkit.compress.pruner import PrunedFrames, Pruner, PrunerState
    from evalkit.compress.qwen_cacher import QwenVisionCacher

__all__ = [
    "COMPRESSOR_GROUP",
    "PRESETS",
    "CacherSettings",
    "CacherState",
    "ChunkComparison",
    "Compressed",
    "CompressionSpec",
    "CompressorKind",
    "CompressorSpec",
    "EncodedFrames",
    "EncodingComparison",
    "NoState",
    "PrunedFrames",
    "Pruner",
    "PrunerSettings",
    "PrunerState",
    "QwenVisionCacher",
    "ShareProblem",
    "SideProduct",
    "SideProducts",
    "SiglipCacher",
    "broken_compressors",
    "check_shares",
    "compare_encoding",
    "compressor_kinds",
    "parse_compression",
    "unclaimed_lines",
    "unclaimed_seconds",
    "wrap_vision_tower",
]

_NEEDS_TORCH = {
    "CacherState": "cacher",
    "ChunkComparison": "bench",
    "Compressed": "contract",
    "EncodedFrames": "cacher",
    "EncodingComparison": "bench",
    "NoState": "contract",
    "PrunedFrames": "pruner",
    "Pruner": "pruner",
    "PrunerState": "pruner",
    "QwenVisionCacher": "qwen_cacher",
    "SideProducts": "contract",
    "SiglipCacher": "cacher",
    "compare_encoding": "bench",
    "wrap_vision_tower": "hosts",
}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
