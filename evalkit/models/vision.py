"""The vision side of one session: pack, encode, compress, and report what the compressors did."""

from __future__ import annotations

__all__ = ["SessionVision", "VisionSide"]

import numpy as np
import torch
from numpy.typing import NDArray

from evalkit.compress import CompressionSpec
from evalkit.errors import UsageError
from evalkit.models.backbone import Backbone, Features, Packed
from evalkit.records import CompressorReport
from evalkit.timing import StageClock


class VisionSide:
    """The vision encoder of a model with its compressors, from which each session gets its own.

    Args:
        backbone: The network.
        compression: Compressors by name and settings.
    """

    def __init__(self, backbone: Backbone, compression: CompressionSpec) -> None:
        if compression.parts:
            raise UsageError(f"{compression.canonical()}: this backbone takes no compression")
        self._backbone = backbone

    def open(self) -> SessionVision:
        """Return the vision side of a new session, with empty state."""
        return SessionVision(self._backbone)


class SessionVision:
    """Encodes frames as they are, without compression.

    Args:
        backbone: The network.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def pack(self, frames: NDArray[np.uint8]) -> Packed:
        """Normalise frames and lay them out for the encoder."""
        return self._backbone.pack(frames)

    def encode(self, packed: Packed, clock: StageClock) -> Features:
        """Return the features of one second of frames."""
        clock.enter("vision_encode")
        features = Features(self._backbone.encode(packed), packed.grid)
        clock.enter("other")
        return features

    def encode_again(self, packed: Packed, clock: StageClock) -> Features:
        """Return the features of an earlier second, for a policy that keeps none."""
        return self.encode(packed, clock)

    def reports(self) -> tuple[CompressorReport, ...]:
        """Return what each compressor did since the last call."""
        return ()

    def state(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint needs."""
        return {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go back to what ``state`` returned."""
