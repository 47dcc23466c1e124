"""A StreamingModel from a backbone, a memory policy, compression and generation settings."""

from __future__ import annotations

__all__ = ["CachedModel"]

from dataclasses import asdict, is_dataclass
from typing import Any

import torch

from evalkit.compress import CompressionSpec
from evalkit.errors import UsageError
from evalkit.memory.policies import MemoryPolicy
from evalkit.memory.shortcuts import FrameView
from evalkit.models.backbone import Backbone
from evalkit.models.protocol import SessionRequest, StreamSession
from evalkit.models.session import CachedSession
from evalkit.models.settings import GenerationSettings
from evalkit.models.views import ViewedSession
from evalkit.models.vision import VisionSide
from evalkit.timing import process_peak_mib


class CachedModel:
    """A model under a policy.

    Args:
        name: Its name in tables.
        backbone: The network.
        policy: The memory policy.
        generation: How replies are decoded.
        revision: What identifies the weights.
        compression: Token compression.

    Raises:
        UsageError: The vision encoder has no cacher, or the policy is a frame view, which has no stream of
            encoded seconds in which a compressor could be proved on.
    """

    def __init__(
        self,
        name: str,
        backbone: Backbone,
        policy: MemoryPolicy,
        generation: GenerationSettings,
        revision: str,
        compression: CompressionSpec | None = None,
    ) -> None:
        self.name = name
        self.backbone = backbone
        self.policy = policy
        self.generation = generation
        self._revision = revision
        compression = compression or CompressionSpec()
        if compression.parts and isinstance(policy, FrameView):
            raise UsageError(f"{name} encodes frames anew for each question and takes no --compress; leave it out")
        self._vision = VisionSide(backbone, compression)

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the ``(width, height)`` to which the decoder scales a video of this size."""
        return self.backbone.frame_size(width, height)

    def open(self, request: SessionRequest) -> StreamSession:
        """Open a session for one sample."""
        if isinstance(self.policy, FrameView):
            return ViewedSession(self.policy, lambda: self._cached(request))
        return self._cached(request)

    def _cached(self, request: SessionRequest) -> CachedSession:
        return CachedSession(self.backbone, self.policy, self.generation, request, vision=self._vision.open())

    def peak_mib(self) -> float:
        """Return the peak memory since the last call, MiB: of the GPU, or of the process where there is none."""
        device = self.backbone.device
        if device.type != "cuda":
            return process_peak_mib()
        peak = torch.cuda.max_memory_allocated(device) / 2**20
        torch.cuda.reset_peak_memory_stats(device)
        return peak

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
