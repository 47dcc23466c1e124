"""Streaming models: the session protocol, the catalog, and the backbones behind it."""

from evalkit.models.protocol import (
    Answer,
    SessionRequest,
    Spoken,
    StepReport,
    StreamingModel,
    StreamSession,
)

__all__ = [
    "Answer",
    "SessionRequest",
    "Spoken",
    "StepReport",
    "StreamSession",
    "StreamingModel",
]
