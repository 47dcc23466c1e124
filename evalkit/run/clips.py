"""The frames of the official protocols: a clip's visible span, sampled by the benchmark's own index rule."""

from __future__ import annotations

__all__ = ["read_clip"]

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from evalkit.errors import CausalityError, DecodeError, UsageError, suggest
from evalkit.stream import Chunk, StreamSample, Tick, exact_seconds
from evalkit.tasks.frames import PRESETS, Clip
from evalkit.video import frame_times, probe, read_frames


def read_clip(
    sample: StreamSample, preset: str, size: Callable[[int, int], tuple[int, int]]
) -> tuple[Chunk, float]:
    """Read the frames a preset shows of a sample's span.

    Args:
        sample: Its ``start`` and ``end`` are the visible span.
        preset: Name of a rule in ``evalkit.tasks.frames``.
        size: From the displayed ``(width, height)`` to the frames'.

    Returns:
        The frames as one chunk, and how many of them there are per second.

    Raises:
        UsageError: There is no such preset.
        DecodeError: The span holds no frame, or the video cannot be read.
        CausalityError: The rule chose a frame after the span.
    """
    if preset not in PRESETS:
        raise UsageError(f"unknown frame preset {preset!r}{suggest(preset, PRESETS)}")
    info = probe(sample.video)
    shown = frame_times(sample.video)
    start, end = exact_seconds(sample.start), exact_seconds(sample.end)
    visible = [index for index, time in enumerate(shown) if start <= time <= end]
    if not visible:
        raise DecodeError(f"no frame between {sample.start:g} and {sample.end:g} s", sample=sample.id)
    last = min(end, shown[-1] + _frame_length(info.fps))
    seconds = float(last - start)
    clip = Clip(frames=len(visible), fps=float(info.fps or len(visible) / seconds), seconds=seconds)
    chosen = [visible[index] for index in PRESETS[preset](clip)]
    read = read_frames(sample.video, indices=chosen, size=size(info.width, info.height))
    times = tuple(shown[index] for index in chosen)
    if max(times) > end:
        raise CausalityError(f"preset {preset} chose a frame at {float(max(times)):.3f} s, after {sample.end:g} s")
    chunk = Chunk(Tick(0, start, last, times), np.ascontiguousarray(read.frames), times, times, 0.0, 0.0)
    return chunk, len(chosen) / seconds if seconds > 0 else 1.0


def _frame_length(fps: Fraction | None) -> Fraction:
    return 1 / fps if fps else Fraction(0)
