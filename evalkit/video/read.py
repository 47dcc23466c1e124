"""Chosen frames of a whole file, for protocols that are not streams; streams go through FrameFeed instead."""

from __future__ import annotations

__all__ = ["FramesRead", "count_frames", "frame_times", "read_frames", "uniform_indices"]

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import UsageError
from evalkit.stream import Seconds, SecondsLost, Tick, exact_seconds
from evalkit.video.container import VideoError
from evalkit.video.decode import SizeRule, VideoFrames
from evalkit.video.opened import OpenVideo


@dataclass(frozen=True, slots=True)
class FramesRead:
    """Frames of a file.

    Args:
        frames: uint8 RGB, ``(N, H, W, 3)``, in the order asked for.
        times: Media time (PTS) of each, seconds from the start of the video stream.
        losses: What failed to decode on the way; the frame before it stands in.
    """

    frames: NDArray[np.uint8]
    times: tuple[Fraction, ...]
    losses: tuple[SecondsLost, ...] = ()


def frame_times(path: Path | str) -> tuple[Fraction, ...]:
    """Return the media time of every frame in order of presentation, from the packets, without decoding.

    Files whose packets do not tell are decoded.

    Raises:
        VideoError: The file cannot be used.
    """
    with OpenVideo(path) as opened:
        zero, base = opened.zero, opened.base
        if opened.timeline is not None:
            stamps = opened.timeline.times()
        else:
            # A second picture at one time replaces the first: only one of them is seen.
            stamps = sorted({read.pts for read in opened.rest() if read.pts is not None and read.pts >= zero})
    return tuple((pts - zero) * base for pts in stamps)


def count_frames(path: Path | str) -> int:
    """Return the exact number of frames, from the packets; the container's own count may be wrong.

    Raises:
        VideoError: The file cannot be used.
    """
    return len(frame_times(path))


def uniform_indices(frames: int, number: int) -> tuple[int, ...]:
    """Return ``number`` indices spread evenly from the first to the last of ``frames``, rounded.

    The sampling of qwen_vl_utils and most official codes: ``linspace(0, frames - 1, number).round()``.

    Raises:
        UsageError: A count below 1.
    """
    if frames < 1 or number < 1:
        raise UsageError(f"cannot take {number} of {frames} frames")
    return tuple(int(i) for i in np.linspace(0, frames - 1, number).round())


def read_frames(
    path: Path | str,
    *,
    times: Sequence[Seconds] | None = None,
    indices: Sequence[int] | None = None,
    size: tuple[int, int] | SizeRule | None = None,
) -> FramesRead:
    """Read frames by media time or by index in order of presentation, in one sequential pass.

    Args:
        path: The video file.
        times: Media seconds; each gives the frame on screen (latest PTS not after it). Any order.
        indices: Frame numbers from 0; negative ones count from the end. Any order.
        size: Width and height of the frames, or a rule that gives them; ``None`` keeps the displayed size.

    Raises:
        UsageError: Both or neither of ``times`` and ``indices``, a negative time, or an index that does not
            exist.
        VideoError: The file cannot be used, or ends before a time asked for.
    """
    if (times is None) == (indices is None):
        raise UsageError("give either times or indices")
    wanted = [exact_seconds(t) for t in times] if times is not None else _times_of(path, indices or ())
    if any(t < 0 for t in wanted):
        raise UsageError(f"media times start at 0 s, not {float(min(wanted)):g}")
    source = VideoFrames(path, size)
    order = sorted(set(wanted))
    frames = np.empty((len(wanted), source.size[1], source.size[0], 3), np.uint8)
    shown: dict[Fraction, Fraction] = {}
    losses: list[SecondsLost] = []
    places: dict[Fraction, list[int]] = {}
    for place, t in enumerate(wanted):
        places.setdefault(t, []).append(place)
    ticks = (Tick(k, t, Fraction(math.floor(t) + 1), (t,)) for k, t in enumerate(order))
    for t, batch in zip(order, source.frames(ticks), strict=False):
        losses += batch.losses
        if not len(batch.frames):
            break
        frames[places[t]] = batch.frames[0]
        shown[t] = batch.shown[0]
    missing = [t for t in order if t not in shown]
    if missing:
        raise VideoError(
            "unreadable", f"{path}: no frame at {float(missing[0]):.3f} s; the video ends there", path=Path(path)
        )
    return FramesRead(frames, tuple(shown[t] for t in wanted), tuple(losses))


def _times_of(path: Path | str, indices: Sequence[int]) -> list[Fraction]:
    known = frame_times(path)
    for index in indices:
        if not -len(known) <= index < len(known):
            raise UsageError(f"{path}: no frame {index}, it has {len(known)}")
    return [known[index] for index in indices]
