"""The frames of the official protocols: a clip's visible span, sampled by the benchmark's own index rule."""

from __future__ import annotations

__all__ = ["OfficialClip", "read_clip"]

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np

from evalkit.errors import CausalityError, DecodeError, UsageError, suggest
from evalkit.stream import Chunk, Seconds, Tick, exact_seconds
from evalkit.tasks.frames import PRESETS, UP_TO_THE_END, Clip
from evalkit.video import frame_times, probe, read_frames

Size = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class OfficialClip:
    """What a preset shows of a span.

    Args:
        chunk: The frames, as one tick from the span's start to its end.
        fps: Frames per second shown, on average; Qwen's temporal positions follow it.
        slack: Half the time between two frames of the file, seconds.
    """

    chunk: Chunk
    fps: float
    slack: Fraction

    def parts(self, texts: Sequence[tuple[float, str]]) -> Iterator[tuple[Chunk, tuple[str, ...]]]:
        """Yield runs of frames, each with the texts that follow it.

        Args:
            texts: ``(at, text)`` in order; a text stands after the last frame that is not later than ``at``.
                Official codes take a frame's time from its index, which may differ from its PTS by rounding.
        """
        times = self.chunk.times
        stops = [sum(time <= exact_seconds(at) + self.slack for time in times) for at, _ in texts]
        first = 0
        for stop in sorted({*stops, len(times)}):
            # Two subtitles in a row would run into each other without a line end.
            lines = [text for (_, text), place in zip(texts, stops, strict=True) if place == stop]
            yield self._run(first, stop), ("\n".join(lines),) if lines else ()
            first = stop

    def _run(self, first: int, stop: int) -> Chunk:
        chunk = self.chunk
        if (first, stop) == (0, len(chunk.times)):
            return chunk
        start = chunk.times[first] if 0 < first < len(chunk.times) else chunk.tick.start
        end = chunk.times[stop] if stop < len(chunk.times) else chunk.tick.end
        return replace(
            chunk,
            tick=Tick(chunk.tick.index, start, end, chunk.times[first:stop]),
            frames=chunk.frames[first:stop],
            times=chunk.times[first:stop],
            shown=chunk.shown[first:stop],
        )


def read_clip(
    video: Path, span: tuple[Seconds, Seconds], preset: str, size: Size, *, number: int = 0
) -> OfficialClip:
    """Read the frames a preset shows of a span.

    The official codes cut a clip file that ends before the frame of its end time; the logit protocols take the
    frames up to that time, the last one included. A span shorter than a frame shows the frame on screen.

    Args:
        video: The video file.
        span: First visible media second, and the last: the question's.
        preset: Name of a rule in ``evalkit.tasks.frames``.
        size: From the displayed ``(width, height)`` to the frames'.
        number: Index of the clip's tick in its sample.

    Raises:
        UsageError: There is no such preset.
        DecodeError: The span holds no frame, or the video cannot be read.
        CausalityError: A frame lies after the span.
    """
    clip = _read(video, span, preset, size)
    tick = replace(clip.chunk.tick, index=number)
    return replace(clip, chunk=replace(clip.chunk, tick=tick))


@lru_cache(maxsize=1)  # questions that see the same clip follow each other
def _read(video: Path, span: tuple[Seconds, Seconds], preset: str, size: Size) -> OfficialClip:
    if preset not in PRESETS:
        raise UsageError(f"unknown frame preset {preset!r}{suggest(preset, PRESETS)}")
    info = probe(video)
    known = frame_times(video)
    start, end = exact_seconds(span[0]), exact_seconds(span[1])
    visible = _visible(known, start, end, last=preset in UP_TO_THE_END)
    if not visible:
        raise DecodeError(f"{video.name}: no frame between {float(start):g} and {float(end):g} s")
    length = 1 / info.fps if info.fps else Fraction(0)
    stop = min(end, known[-1] + length)
    seconds = float(max(stop - start, length))
    rule = Clip(frames=len(visible), fps=float(info.fps or len(visible) / seconds), seconds=seconds)
    chosen = [visible[index] for index in PRESETS[preset](rule)]
    read = read_frames(video, indices=chosen, size=size(info.width, info.height))
    if max(read.times) > end:
        late = float(max(read.times))
        raise CausalityError(f"preset {preset} chose a frame at {late:.3f} s, after {float(end):g} s")
    times = tuple(known[index] for index in chosen)
    tick = Tick(0, start, max(stop, times[-1]), times)
    chunk = Chunk(tick, np.ascontiguousarray(read.frames), times, read.times, 0.0, 0.0)
    return OfficialClip(chunk, len(chosen) / seconds, length / 2)


def _visible(times: Sequence[Fraction], start: Fraction, end: Fraction, *, last: bool) -> list[int]:
    """Return the numbers of the frames that a span shows."""
    shown = [index for index, time in enumerate(times) if start <= time and (time <= end if last else time < end)]
    on_screen = [index for index, time in enumerate(times) if time <= end]
    return shown or on_screen[-1:]
