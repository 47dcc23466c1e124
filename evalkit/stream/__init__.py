"""What a benchmark asks of a stream, the schedule of its frames and the feed that hands them over."""

from evalkit.stream.feed import (
    CausalityViolation,
    Chunk,
    FrameBatch,
    FrameFeed,
    FrameSource,
    SecondsLost,
    SeenFrames,
)
from evalkit.stream.samples import Elicitation, FollowUp, Narration, Query, QueryKind, StreamSample
from evalkit.stream.schedule import MAX_FPS, FrameSchedule, Seconds, Tick, exact_seconds

__all__ = [
    "MAX_FPS",
    "CausalityViolation",
    "Chunk",
    "Elicitation",
    "FollowUp",
    "FrameBatch",
    "FrameFeed",
    "FrameSchedule",
    "FrameSource",
    "Narration",
    "Query",
    "QueryKind",
    "Seconds",
    "SecondsLost",
    "SeenFrames",
    "StreamSample",
    "Tick",
    "exact_seconds",
]
