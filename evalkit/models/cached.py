"""A StreamingModel from a backbone, a memory policy, compression and generation settings."""

from __future__ import annotations

__all__ = ["CachedModel"]

from collections.abc import Callable
from typing import Any, cast

import torch

from evalkit.compress import CompressionSpec
from evalkit.errors import UsageError
from evalkit.memory.events import StreamForestSettings
from evalkit.memory.policies import MemoryPolicy
from evalkit.memory.shortcuts import FrameView
from evalkit.memory.tensors import TensorMemory, WindowBlocks
from evalkit.models.backbone import Backbone, Features
from evalkit.models.batch import BatchServer, SharedBackbone, StreamBatch
from evalkit.models.cutting import CuttingSession
from evalkit.models.forest import ForestSession
from evalkit.models.protocol import Placement, SessionRequest, StreamSession
from evalkit.models.retrieval import RetrievalSession
from evalkit.models.session import CachedSession
from evalkit.models.settings import GenerationSettings
from evalkit.models.together import Together
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
        UsageError: The vision encoder has no cacher.
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
        self.placement = Placement(str(backbone.device), str(backbone.dtype).removeprefix("torch."))
        self.backbone = backbone
        self.policy = policy
        self.generation = generation
        self._revision = revision
        self._compression = compression or CompressionSpec()
        self._vision = VisionSide(backbone, self._compression)
        self._told: set[str] = set()

    def together(self) -> tuple[Together, CachedModel]:
        """Return this model for several streams that advance together, and what makes them do so.

        Raises:
            UsageError: The attention kernel in use takes one stream only.
        """
        if not self.backbone.takes_streams:
            raise UsageError("--streams needs --attention sdpa or flash_attention_2: this kernel takes one stream")
        group = StreamBatch(BatchServer(self.backbone))
        shared = cast(Backbone, SharedBackbone(self.backbone, group))
        return group, type(self)(
            self.name, shared, self.policy, self.generation, self._revision, self._compression
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a run has to say of the network."""
        return self.backbone.warnings

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the ``(width, height)`` to which the decoder scales a video of this size."""
        return self.backbone.frame_size(width, height)

    def open(self, request: SessionRequest, watch: Callable[[Features], None] | None = None) -> StreamSession:
        """Open a session for one sample.

        Args:
            request: What the session is opened for.
            watch: Shown the features of each second, where they are kept as they are.
        """
        if isinstance(self.policy, FrameView):
            return ViewedSession(self.policy, lambda: self._cached(request))
        if isinstance(self.policy, StreamForestSettings):
            return ForestSession(self.backbone, self.policy, lambda: self._cached(request))
        if isinstance(self.policy, WindowBlocks):
            given = (self.backbone, self.policy, self.generation, request)
            return RetrievalSession(*given, vision=self._vision.open(watch), told=self._told)
        return self._cached(request, watch)

    def _cached(self, request: SessionRequest, watch: Callable[[Features], None] | None = None) -> CachedSession:
        kind = CuttingSession if isinstance(self.policy, TensorMemory) else CachedSession
        return kind(self.backbone, self.policy, self.generation, request, vision=self._vision.open(watch))

    def peak_mib(self) -> float:
        """Return the peak memory since the last call, MiB: of the GPU, or of the process where there is none."""
        device = self.backbone.device
        if device.type != "cuda":
            return process_peak_mib()
        peak = torch.cuda.max_memory_allocated(device) / 2**20
        torch.cuda.reset_peak_memory_stats(device)
        return peak

    def identity(self) -> dict[str, Any]:
        """Return what identifies the weights."""
        return {"model.revision": self._revision}

    def close(self) -> None:
        """Leave the network to whoever loaded it."""
