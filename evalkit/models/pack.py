"""Packing frames for Qwen's vision tower: normalisation and patch order, identical to the image processor's."""

from __future__ import annotations

__all__ = ["CLIP_MEAN", "CLIP_STD", "normalise", "to_patches"]

import numpy as np
import torch
from numpy.typing import NDArray

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""OPENAI_CLIP_MEAN and OPENAI_CLIP_STD of transformers.image_utils, which Qwen2-VL's processor uses."""


def normalise(
    frames: NDArray[np.uint8],
    mean: tuple[float, ...] = CLIP_MEAN,
    std: tuple[float, ...] = CLIP_STD,
) -> torch.Tensor:
    """Scale pixels to 0..1 and normalise them, through one table look-up per channel.

    Args:
        frames: Shape ``(T, H, W, 3)``.
        mean: Per channel.
        std: Per channel.

    Returns:
        float32 of shape ``(T, 3, H, W)``.
    """
    levels = np.arange(256, dtype=np.float64) * (1 / 255)
    table = ((levels.astype(np.float32)[None] - np.asarray(mean, np.float32)[:, None])
             / np.asarray(std, np.float32)[:, None])  # fmt: skip
    out = np.empty((frames.shape[0], 3, *frames.shape[1:3]), dtype=np.float32)
    for channel in range(3):
        np.take(table[channel], frames[..., channel], out=out[:, channel], mode="clip")
    return torch.from_numpy(out)


def to_patches(
    frames: torch.Tensor, *, patch: int = 14, merge: int = 2, temporal: int = 2
) -> tuple[torch.Tensor, tuple[int, int, int]]:
    """Lay normalised frames out as Qwen's vision tower reads them (Qwen2VLImageProcessor's order).

    Args:
        frames: float32 ``(T, C, H, W)``; an odd number is filled up with the last frame.
        patch: Side of a patch, pixels.
        merge: Patches merged into a token, per side.
        temporal: Frames per temporal grid.

    Returns:
        Patches ``(t * H/patch * W/patch, C * temporal * patch * patch)`` and the grid ``(t, h, w)`` in patches.
    """
    if short := -len(frames) % temporal:
        frames = torch.cat([frames, frames[-1:].expand(short, -1, -1, -1)])
    count, channels, height, width = frames.shape
    t, h, w = count // temporal, height // patch, width // patch
    tiles = frames.view(t, temporal, channels, h // merge, merge, patch, w // merge, merge, patch)
    patches = tiles.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return patches.reshape(t * h * w, channels * temporal * patch * patch), (t, h, w)
