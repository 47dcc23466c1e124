"""Write H.264 files whose bytes depend on frames and settings alone; leaves reading them to decode."""

from __future__ import annotations

__all__ = ["write_mp4"]

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from evalkit.errors import UsageError


def write_mp4(
    path: Path, frames: Iterable[np.ndarray[Any, Any]], *, fps: int | Fraction, gop: int = 30, crf: int = 23
) -> None:
    """Encode frames as an H.264 (yuv420p) mp4 with deterministic bytes.

    One encoder thread and fixed x264 options give the same file for the same frames and library
    versions. The frames are taken one at a time, so a generator of any length needs little memory. The file
    is written beside ``path`` and moved there when complete.

    Args:
        path: File to write; its folder must exist. Replaced where it exists.
        frames: uint8 arrays of shape ``(height, width, 3)``, RGB, all of one size, both sides even.
        fps: Frames per second.
        gop: Frames from one key frame to the next at most.
        crf: x264's constant rate factor, 0 (best) to 51.

    Raises:
        UsageError: No frames, or frames of another type, an odd side or differing sizes.
    """
    partial = path.with_name(f".{path.name}.partial.mp4")
    try:
        _encode(partial, frames, Fraction(fps), gop, crf)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _encode(path: Path, frames: Iterable[np.ndarray[Any, Any]], fps: Fraction, gop: int, crf: int) -> None:
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as container:
        stream = None
        for index, image in enumerate(frames):
            if stream is None:
                shape = _checked_shape(image)
                stream = container.add_stream("libx264", rate=fps)
                stream.height, stream.width = shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.time_base = 1 / fps
                stream.codec_context.thread_count = 1
                stream.codec_context.gop_size = gop
                stream.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
            elif image.shape != shape or image.dtype != np.uint8:
                raise UsageError(f"frame {index} is {image.dtype} {image.shape}, the first was uint8 {shape}")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = index
            frame.time_base = 1 / fps
            container.mux(stream.encode(frame))
        if stream is None:
            raise UsageError(f"no frames to write to {path.name}")
        container.mux(stream.encode(None))


def _checked_shape(image: np.ndarray[Any, Any]) -> tuple[int, ...]:
    shape: tuple[int, ...] = image.shape
    if image.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
        raise UsageError(f"frames must be uint8 of shape (height, width, 3), not {image.dtype} {shape}")
    if shape[0] % 2 or shape[1] % 2:
        raise UsageError(f"yuv420p needs even sides, not {shape[1]}x{shape[0]}")
    return shape
