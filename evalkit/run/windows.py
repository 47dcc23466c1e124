"""The frames of one scoring window, for models that speak once about each; the windows are the benchmark's."""

from __future__ import annotations

__all__ = ["read_window", "window_times"]

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from evalkit.errors import CausalityError, DecodeError
from evalkit.stream import Chunk, StreamSample, Tick, exact_seconds
from evalkit.video import frame_times, read_frames


def window_times(start: Fraction, end: Fraction, fps: Fraction, most: int) -> tuple[Fraction, ...]:
    """Return the media times of a window's frames: every ``1 / fps`` seconds, the end included.

    More than ``most`` are thinned by an even stride (``generate_gpt.py`` of StreamingVLM).

    Args:
        start: Start of the window, media seconds.
        end: Its end.
        fps: Frames per second.
        most: Most frames shown.
    """
    count = math.floor((end - start) * fps) + 1
    stride = max(1, math.ceil(count / most))
    return tuple(start + Fraction(number) / fps for number in range(0, count, stride))


def read_window(sample: StreamSample, most: int, size: Callable[[int, int], tuple[int, int]]) -> Chunk:
    """Read what a window shows, as one tick from its start to its end.

    Args:
        sample: The window; its ``fps`` is the rate of the frames.
        most: Most frames shown.
        size: From the displayed ``(width, height)`` to the frames'.

    Raises:
        DecodeError: The video cannot be read, or ends before the window begins.
        CausalityError: A picture lies after the window.
    """
    start, end = exact_seconds(sample.start), exact_seconds(sample.end)
    known = frame_times(sample.video)
    # The last picture stays on screen for its own length; past that there is nothing to show.
    step = known[-1] - known[-2] if len(known) > 1 else Fraction(0)
    times = [one for one in window_times(start, end, exact_seconds(sample.fps), most) if one < known[-1] + step]
    if not times:
        raise DecodeError(f"{sample.video.name} ends before the window at {sample.start:g} s begins")
    read = read_frames(sample.video, times=times, size=size)
    if max(read.times) > end:
        raise CausalityError(f"a picture at {float(max(read.times)):.3f} s lies after the window's end")
    return Chunk(
        Tick(0, start, end, tuple(times)), np.ascontiguousarray(read.frames), tuple(times), read.times, 0.0, 0.0
    )
