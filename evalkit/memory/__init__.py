"""What a model remembers: the ledger of spans, policies over it, and the cache that carries a plan out."""

from evalkit.memory.ledger import Kind, Ledger, Piece, Plan, Span
from evalkit.memory.policies import FullAttention, MemoryPolicy, SlidingChunked, SlidingWindow, StreamingVLM
from evalkit.memory.positions import PositionRule, assign, follow
from evalkit.memory.shortcuts import Blind, FrameView, RecentFrames, ShuffledFrames
from evalkit.memory.tensors import BlockQuery, LayerTokens, TensorMemory, WindowBlocks

__all__ = [
    "Blind",
    "BlockQuery",
    "FrameView",
    "FullAttention",
    "Kind",
    "LayerTokens",
    "Ledger",
    "MemoryPolicy",
    "Piece",
    "Plan",
    "PositionRule",
    "RecentFrames",
    "ShuffledFrames",
    "SlidingChunked",
    "SlidingWindow",
    "Span",
    "StreamingVLM",
    "TensorMemory",
    "WindowBlocks",
    "assign",
    "follow",
]
