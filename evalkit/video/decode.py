"""The frames of a schedule from a video file, decoded ahead in the background; leaves causality to the feed."""

from __future__ import annotations

__all__ = ["SizeRule", "VideoFrames"]

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from evalkit.errors import UsageError
from evalkit.stream import FrameBatch, SecondsLost, Tick
from evalkit.video.container import VideoError, open_video, video_stream
from evalkit.video.presentation import Gap, Screen, WantedTimes
from evalkit.video.probe import probe, quarter_turns

SizeRule = Callable[[int, int], tuple[int, int]]
"""From (width, height) as displayed to the (width, height) of the frames."""


class VideoFrames:
    """Makes the frames of a schedule from a video file; a `FrameSource`.

    Media time 0 is the start of the video stream, whatever time stamp the file gives it. The frame at time
    ``t`` is the one on screen: the latest PTS not after ``t``. Before the first PTS it is the first
    frame, if that one appears within the same tick. Selection is by integer PTS, so variable frame
    rates need no special case and nothing drifts.

    The file is read once, from the key frame before the first tick. A background thread works
    ``ahead`` ticks ahead; with the tick in hand and the one in work that bounds the memory. Only scheduled
    frames are converted (RGB, 8 bit) and resized, by the decoder's scaler, bicubic; then turned as the
    display matrix says (quarter turns; mirroring is not applied).

    Args:
        path: The video file.
        size: Width and height of the frames, or a rule that gives them; ``None`` keeps the displayed size.
        ahead: Ticks decoded ahead of the consumer, >= 1.

    Raises:
        VideoError: The file cannot be used (see `probe`).
        UsageError: A size or ``ahead`` below 1.
    """

    def __init__(
        self, path: Path | str, size: tuple[int, int] | SizeRule | None = None, *, ahead: int = 2
    ) -> None:
        if ahead < 1:
            raise UsageError(f"ahead must be at least 1 tick, not {ahead}")
        self.path = Path(path)
        self.info = probe(self.path)
        displayed = (self.info.width, self.info.height)
        self.size = displayed if size is None else size(*displayed) if callable(size) else size
        if min(self.size) < 1:
            raise UsageError(f"frames cannot be {self.size[0]}x{self.size[1]} pixels")
        self._ahead = ahead
        self._scaler = VideoReformatter()
        self._errors = 0

    @property
    def errors(self) -> int:
        """Pictures that failed to decode so far."""
        return self._errors

    def __enter__(self) -> VideoFrames:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing is held between calls of `frames`, which closes its file itself."""

    def frames(self, ticks: Iterable[Tick]) -> Iterator[FrameBatch]:
        """Yield the frames of each tick, in order; see `FrameSource.frames`.

        Raises:
            VideoError: The file cannot be opened, or nothing of it decodes.
        """
        work = self._decode(ticks)
        pool = ThreadPoolExecutor(1, thread_name_prefix="decode")
        ahead: deque[Future[FrameBatch | None]] = deque()
        try:
            ahead.extend(pool.submit(next, work, None) for _ in range(self._ahead))
            while (batch := ahead.popleft().result()) is not None:
                ahead.append(pool.submit(next, work, None))
                yield batch
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            work.close()

    def _decode(self, ticks: Iterable[Tick]) -> Generator[FrameBatch, None, None]:
        with open_video(self.path) as container:
            stream = video_stream(container, self.path)
            stream.thread_type = "AUTO"
            clock = _Clock(stream.start_time or 0, stream.time_base or Fraction(1, av.time_base))
            wanted = WantedTimes(ticks, clock.pts)
            tick = wanted.next_tick()
            if tick is None:
                return
            began = time.perf_counter()
            screen = Screen(container, stream, clock.pts(tick.start), wanted)
            while tick is not None:
                batch = self._batch(tick, screen, clock, began)
                yield batch
                if batch.ended_at is not None:
                    return
                began = time.perf_counter()
                tick = wanted.next_tick()

    def _batch(self, tick: Tick, screen: Screen, clock: _Clock, began: float) -> FrameBatch:
        width, height = self.size
        pixels = np.empty((len(tick.frame_times), height, width, 3), np.uint8)
        shown: list[Fraction] = []
        ended = screen.at(clock.pts(tick.start)) is None and screen.ended(clock.pts(tick.start))
        last: av.VideoFrame | None = None
        for at in () if ended else tick.frame_times:
            picture = screen.at(clock.pts(at))
            if picture is None and (ended := screen.ended(clock.pts(at))):
                break
            picture = picture or screen.opening
            if picture is None or clock.time(picture.pts or 0) >= tick.end:
                continue  # the material starts later: a gap, and frames for none of this tick
            if picture is last:
                pixels[len(shown)] = pixels[len(shown) - 1]
            else:
                pixels[len(shown)] = self._convert(picture)
            last = picture
            shown.append(clock.time(picture.pts or 0))
        if not screen.decoded_any:
            raise VideoError("unreadable", f"{self.path}: no frame of it decodes", path=self.path)
        return FrameBatch(
            frames=pixels[: len(shown)],
            shown=tuple(shown),
            decode_seconds=time.perf_counter() - began,
            losses=self._take_losses(screen.gaps, clock),
            ended_at=clock.time(screen.end) if ended else None,
        )

    def _convert(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        turns = quarter_turns(picture.rotation)
        width, height = self.size[::-1] if turns % 2 else self.size
        rgb = self._scaler.reformat(picture, width=width, height=height, format="rgb24", interpolation="BICUBIC")
        return np.rot90(rgb.to_ndarray(), turns)

    def _take_losses(self, gaps: list[Gap], clock: _Clock) -> tuple[SecondsLost, ...]:
        found = tuple(gaps)
        gaps.clear()
        self._errors += sum(gap.pictures for gap in found)
        return tuple(SecondsLost(clock.time(gap.start), clock.time(gap.end), _reason(gap)) for gap in found)


def _reason(gap: Gap) -> str:
    if not gap.pictures:
        return "the video has no picture yet"
    return f"{gap.pictures} {'frame' if gap.pictures == 1 else 'frames'} failed to decode"


class _Clock:
    """Between media time (seconds from the stream's start) and PTS."""

    def __init__(self, zero: int, base: Fraction) -> None:
        self.zero = zero
        self.base = base

    def pts(self, media_time: Fraction) -> int:
        """Return the latest PTS not after a media time."""
        return self.zero + math.floor(media_time / self.base)

    def time(self, pts: int) -> Fraction:
        """Return the media time of a PTS."""
        return (pts - self.zero) * self.base
