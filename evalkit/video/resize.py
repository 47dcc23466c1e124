"""How large frames are for the model, as pure functions of the source's size; leaves the pixels to decode."""

from __future__ import annotations

__all__ = [
    "QWEN_FACTOR",
    "STREAMINGVLM_LIMITS",
    "PixelLimits",
    "smart_resize",
    "streamingvlm_size",
    "vision_tokens",
]

import math
from dataclasses import dataclass, replace

from evalkit.errors import UsageError

QWEN_FACTOR = 28
"""Patch side 14 times the 2 x 2 merge of Qwen2-VL and Qwen2.5-VL: pixels per token and side."""

_MAX_ASPECT_RATIO = 200
_MERGE = QWEN_FACTOR**2


@dataclass(frozen=True, slots=True)
class PixelLimits:
    """The pixel budget of a video in Qwen's resize rule.

    Args:
        min_pixels: Least pixels of a frame (``VIDEO_MIN_PIXELS``).
        max_pixels: Most pixels of a frame (``VIDEO_MAX_PIXELS`` of ``qwen_vl_utils.vision_process``).
        total_pixels: Most pixels of all frames shown together (``VIDEO_TOTAL_PIXELS``).
        frames: How many are shown together.
        frame_factor: Frames that share one temporal patch (``FRAME_FACTOR``).
    """

    min_pixels: int
    max_pixels: int
    total_pixels: int
    frames: int
    frame_factor: int = 2

    @property
    def frame_pixels(self) -> int:
        """Most pixels of one frame: the smaller of both budgets, but 5 % above the least at least."""
        share = self.total_pixels * self.frame_factor // self.frames
        return max(min(self.max_pixels, share), int(self.min_pixels * 1.05))

    def within(self, frame_pixels: int) -> PixelLimits:
        """Return the budget with so many pixels at most in a frame, and a least that leaves room for them."""
        least = min(self.min_pixels, math.floor(frame_pixels / 1.05))
        return replace(self, max_pixels=frame_pixels, min_pixels=least)


STREAMINGVLM_LIMITS = PixelLimits(
    min_pixels=100 * _MERGE, max_pixels=768 * _MERGE, total_pixels=4 * 24576 * _MERGE, frames=32
)
"""StreamingVLM's limits: ``livecc_utils/video_process_patch.py`` sets the least and the total, and
``inference/inference.py`` takes the frames of one window (2 fps times 16 s) for the share, so that the
768 tokens a frame of qwen_vl_utils decide: 640x360 gives 644x364, 720p and more 1008x560."""


def smart_resize(
    height: int, width: int, factor: int = QWEN_FACTOR, *, min_pixels: int, max_pixels: int
) -> tuple[int, int]:
    """Return ``(height, width)``, multiples of ``factor`` near the aspect ratio and within the pixel limits.

    The rule of ``smart_resize`` in ``qwen_vl_utils.vision_process`` (Qwen2-VL, section 2.1): round both
    sides; above the most pixels shrink and round down, below the least enlarge and round up.

    Args:
        height: Pixels down.
        width: Pixels across.
        factor: Both sides become multiples of it.
        min_pixels: Least ``height * width``.
        max_pixels: Most ``height * width``.

    Raises:
        UsageError: A side below 1 or an aspect ratio above 200.
    """
    if min(height, width) < 1 or max(height, width) > _MAX_ASPECT_RATIO * min(height, width):
        raise UsageError(f"cannot resize {width}x{height}: sides from 1 and a ratio up to {_MAX_ASPECT_RATIO}")
    # `round` takes halves to the even neighbour; so does the original.
    rows, columns = max(1, round(height / factor)), max(1, round(width / factor))
    if rows * columns * factor**2 > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows = max(1, math.floor(height / shrink / factor))
        columns = max(1, math.floor(width / shrink / factor))
    elif rows * columns * factor**2 < min_pixels:
        enlarge = math.sqrt(min_pixels / (height * width))
        rows, columns = math.ceil(height * enlarge / factor), math.ceil(width * enlarge / factor)
    return rows * factor, columns * factor


def streamingvlm_size(width: int, height: int, limits: PixelLimits = STREAMINGVLM_LIMITS) -> tuple[int, int]:
    """Return the ``(width, height)`` at which StreamingVLM sees a source of that displayed size.

    Raises:
        UsageError: See `smart_resize`.
    """
    rows, columns = smart_resize(height, width, min_pixels=limits.min_pixels, max_pixels=limits.frame_pixels)
    return columns, rows


def vision_tokens(width: int, height: int, frames: int, *, frame_factor: int = 2) -> int:
    """Return the tokens of ``frames`` frames of a size `smart_resize` gave (Qwen2-VL, Qwen2.5-VL).

    Args:
        width: Pixels across, a multiple of 28.
        height: Pixels down, a multiple of 28.
        frames: Number of frames; an odd last one is repeated to fill its temporal patch.
        frame_factor: Frames that share one temporal patch.
    """
    return (height // QWEN_FACTOR) * (width // QWEN_FACTOR) * math.ceil(frames / frame_factor)
