"""A StreamingModel from a backbone, a memory policy, compression and generation settings."""

from __future__ import annotations

__all__ = ["CachedModel"]

from dataclasses import asdict, is_dataclass
from typing import Any

from evalkit.memory.policies import MemoryPolicy
from evalkit.models.backbone import Backbone
from evalkit.models.generation import GenerationSettings
from evalkit.models.protocol import SessionRequest
from evalkit.models.session import CachedSession
from evalkit.models.vision import SessionVision


class CachedModel:
    """A model under a policy.

    Args:
        name: Its name in tables.
        backbone: The network.
        policy: The memory policy.
        generation: How replies are decoded.
        revision: What identifies the weights.
    """

    def __init__(
        self, name: str, backbone: Backbone, policy: MemoryPolicy, generation: GenerationSettings, revision: str
    ) -> None:
        self.name = name
        self.backbone = backbone
        self.policy = policy
        self.generation = generation
        self._revision = revision

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the ``(width, height)`` to which the decoder scales a video of this size."""
        return self.backbone.frame_size(width, height)

    def open(self, request: SessionRequest) -> CachedSession:
        """Open a session for one sample."""
        vision = SessionVision(self.backbone)
        return CachedSession(self.backbone, self.policy, self.generation, request, vision=vision)

    def identity(self) -> dict[str, Any]:
        """Return what the fingerprint says of the model."""
        policy: dict[str, Any] = asdict(self.policy) if is_dataclass(self.policy) else {}
        memory = {f"model.memory.{key}": value for key, value in policy.items()}
        return {
            "model.checkpoint": self.backbone.name,
            "model.revision": self._revision,
            "model.policy": type(self.policy).__name__,
            **memory,
        }
