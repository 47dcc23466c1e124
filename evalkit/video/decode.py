"""The frames of a schedule from a video file, decoded ahead in the background; leaves causality to the feed."""

from __future__ import annotations

__all__ = ["SizeRule", "VideoFrames"]

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from evalkit.errors import UsageError
from evalkit.stream import FrameBatch, SecondsLost, Tick
from evalkit.video.container import VideoError
from evalkit.video.opened import OpenVideo
from evalkit.video.presentation import Gap, Screen, WantedTimes
from evalkit.video.probe import describe, quarter_turns

SizeRule = Callable[[int, int], tuple[int, int]]
"""From (width, height) as displayed to the (width, height) of the frames."""

# What video files hold as a rule: colour at half the resolution. Scaled to twice the lines of it, nothing is lost.
_SUBSAMPLED = frozenset({"yuv420p", "yuvj420p", "nv12", "yuv422p", "yuvj422p", "yuv420p10le"})


class VideoFrames:
    """Makes the frames of a schedule from a video file; a `FrameSource`.

    Media time 0 is when the first picture is shown, whatever time stamp the file gives it. The frame at time
    ``t`` is the one on screen: the latest PTS not after ``t``. Before the first PTS it is the first
    frame, if that one appears within the same tick. Selection is by integer PTS, so variable frame
    rates need no special case and nothing drifts.

    The file is read once, from a key frame before the first tick, early enough that the pictures are those of
    a pass from the beginning. One whose container does not say reliably when its pictures are shown is read
    once more before that (see `evalkit.video.timeline`). A background thread works
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
        self._opened: OpenVideo | None = OpenVideo(self.path)
        self.info = describe(self._opened)
        displayed = (self.info.width, self.info.height)
        self.size = displayed if size is None else size(*displayed) if callable(size) else size
        if min(self.size) < 1:
            raise UsageError(f"frames cannot be {self.size[0]}x{self.size[1]} pixels")
        self._ahead = ahead
        self._errors = 0

    @property
    def errors(self) -> int:
        """Pictures that failed to decode so far."""
        return self._errors

    def __enter__(self) -> VideoFrames:
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the file where `frames` has not been called, which closes it itself."""
        if self._opened is not None:
            self._opened.__exit__(*exc)
            self._opened = None

    def frames(self, ticks: Iterable[Tick]) -> Iterator[FrameBatch]:
        """Yield the frames of each tick, in order; see `FrameSource.frames`.

        Raises:
            VideoError: The file cannot be opened, or nothing of it decodes.
        """
        scaler = _Scaler(self.size)
        return _Ahead(self._decode(ticks, scaler), scaler, self._ahead)

    def _decode(self, ticks: Iterable[Tick], scaler: _Scaler) -> Generator[_Work, None, None]:
        opened, self._opened = self._opened or OpenVideo(self.path), None
        with opened:
            clock = _Clock(opened.zero, opened.base)
            wanted = WantedTimes(ticks, clock.pts)
            tick = wanted.next_tick()
            if tick is None:
                return
            began = time.perf_counter()
            screen = Screen(opened, clock.pts(tick.start), wanted)
            while tick is not None:
                work = self._batch(tick, screen, clock, scaler)
                work = replace(work, seconds=time.perf_counter() - began)
                yield work
                if work.batch.ended_at is not None:
                    return
                began = time.perf_counter()
                tick = wanted.next_tick()

    def _batch(self, tick: Tick, screen: Screen, clock: _Clock, scaler: _Scaler) -> _Work:
        width, height = self.size
        pixels = np.empty((len(tick.frame_times), height, width, 3), np.uint8)
        shown: list[Fraction] = []
        fills: list[Future[float]] = []
        ended = screen.at(clock.pts(tick.start)) is None and screen.ended(clock.pts(tick.start))
        last: av.VideoFrame | None = None
        for at in () if ended else tick.frame_times:
            picture = screen.at(clock.pts(at))
            if picture is None and (ended := screen.ended(clock.pts(at))):
                break
            picture = picture or screen.opening
            if picture is None or clock.time(picture.pts or 0) >= tick.end:
                continue  # the material starts later: a gap, and frames for none of this tick
            same = picture is last
            fills.append(scaler.fill(pixels, len(shown), None if same else picture))
            last = picture
            shown.append(clock.time(picture.pts or 0))
        if not screen.decoded_any:
            raise VideoError("unreadable", f"{self.path}: no frame of it decodes", path=self.path)
        batch = FrameBatch(
            frames=pixels[: len(shown)],
            shown=tuple(shown),
            losses=self._take_losses(screen.gaps, clock),
            ended_at=clock.time(screen.end) if ended else None,
        )
        return _Work(batch, tuple(fills))

    def _take_losses(self, gaps: list[Gap], clock: _Clock) -> tuple[SecondsLost, ...]:
        found = tuple(gaps)
        gaps.clear()
        self._errors += sum(gap.pictures for gap in found)
        return tuple(SecondsLost(clock.time(gap.start), clock.time(gap.end), _reason(gap)) for gap in found)


def _reason(gap: Gap) -> str:
    if not gap.pictures:
        return "the video has no picture yet"
    return f"{gap.pictures} {'frame' if gap.pictures == 1 else 'frames'} failed to decode"


@dataclass(frozen=True, slots=True)
class _Work:
    """A tick whose pictures are decoded and on their way through the scaler, which runs beside the decoder."""

    batch: FrameBatch
    fills: tuple[Future[float], ...]
    seconds: float = 0.0

    def finished(self) -> FrameBatch:
        """Wait for the scaler and return the batch with the wall seconds of both."""
        scaled = sum(fill.result() for fill in self.fills)
        return replace(self.batch, decode_seconds=self.seconds + scaled)


class _Scaler:
    """Scales and packs pictures on a thread of its own, beside the decoder.

    Args:
        size: Width and height of the frames.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._scaler = VideoReformatter()
        self._packer = VideoReformatter()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="scale")

    def fill(self, pixels: NDArray[np.uint8], place: int, picture: av.VideoFrame | None) -> Future[float]:
        """Convert a picture into its place, or repeat the one before; the result is the wall seconds it took."""
        return self._pool.submit(self._fill, pixels, place, picture)

    def shutdown(self, *, wait: bool) -> None:
        """Take no more pictures."""
        self._pool.shutdown(wait=wait, cancel_futures=True)

    def _fill(self, pixels: NDArray[np.uint8], place: int, picture: av.VideoFrame | None) -> float:
        began = time.perf_counter()
        pixels[place] = pixels[place - 1] if picture is None else self._convert(picture)
        return time.perf_counter() - began

    def _convert(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        turns = quarter_turns(picture.rotation)
        width, height = self._size[::-1] if turns % 2 else self._size
        # In two steps, since libswscale has vector code for scaling and for packing, but not for both at once to
        # RGB24. On one thread: sliced over several, the scaler gives other pixels from run to run.
        scaled = self._scaler.reformat(
            picture,
            width=width,
            height=height,
            format="yuv422p" if picture.format.name in _SUBSAMPLED else "rgba",
            interpolation="BICUBIC",
            threads=1,
        )
        rgb = self._packer.reformat(scaled, format="rgb24", threads=1)
        return np.rot90(rgb.to_ndarray(), turns)


class _Ahead:
    """Batches decoded on a thread of their own, some ticks before they are asked for.

    Nothing is waited for when one is dropped half way: what the garbage collector finds may be found on any
    thread and at any moment, one that holds a lock of `threading` included, and waiting there for another
    thread never ends.

    Args:
        work: Decodes tick after tick.
        scaler: What its pictures go through.
        ahead: Ticks.
    """

    def __init__(self, work: Generator[_Work, None, None], scaler: _Scaler, ahead: int) -> None:
        self._work, self._scaler = work, scaler
        self._decoder: ThreadPoolExecutor | None = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._ahead: deque[Future[_Work | None]] = deque(
            self._decoder.submit(next, work, None) for _ in range(ahead)
        )

    def __iter__(self) -> Iterator[FrameBatch]:
        return self

    def __next__(self) -> FrameBatch:
        if self._decoder is None:
            raise StopIteration
        try:
            done = self._ahead.popleft().result()
            if done is not None:
                self._ahead.append(self._decoder.submit(next, self._work, None))
                return done.finished()
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopIteration

    def close(self) -> None:
        """End the threads, wait for them and close the file."""
        if self._drop(wait=True):
            self._work.close()

    def __del__(self) -> None:
        self._drop(wait=False)

    def _drop(self, *, wait: bool) -> bool:
        decoder, self._decoder = getattr(self, "_decoder", None), None
        if decoder is None:
            return False
        decoder.shutdown(wait=wait, cancel_futures=True)
        self._scaler.shutdown(wait=wait)
        return True


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
