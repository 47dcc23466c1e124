"""Streaming models: the session protocol, the catalog, and the backbones behind it."""

from evalkit.models.protocol import (
    Answer,
    Elicitation,
    SessionRequest,
    Spoken,
    StepReport,
    StreamingModel,
    StreamSession,
)

__all__ = [
    "Answer",
    "Elicitation",
    "SessionRequest",
    "Spoken",
    "StepReport",
    "StreamSession",
    "StreamingModel",
]
