"""Streaming models: what a run knows of one, the catalog that makes them, and the backbones of local ones."""

from evalkit.models.entry import ModelChoice, ModelEntry, ModelRecipe
from evalkit.models.local import PolicyEntry
from evalkit.models.protocol import (
    Answer,
    Capabilities,
    Placement,
    SessionRequest,
    Spoken,
    StepReport,
    StopRun,
    StreamingModel,
    StreamSession,
)

__all__ = [
    "Answer",
    "Capabilities",
    "ModelChoice",
    "ModelEntry",
    "ModelRecipe",
    "Placement",
    "PolicyEntry",
    "SessionRequest",
    "Spoken",
    "StepReport",
    "StopRun",
    "StreamSession",
    "StreamingModel",
]
