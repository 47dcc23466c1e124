"""How a run reads its videos: second by second, a clip for a question, or a window at once."""

from __future__ import annotations

__all__ = ["OwnReads", "Reads"]

from collections.abc import Callable
from typing import Protocol

from evalkit.run.clips import OfficialClip, read_clip
from evalkit.run.windows import read_window
from evalkit.stream import Chunk, FrameSource, StreamSample
from evalkit.video import SizeRule, VideoFrames


class Reads(Protocol):
    """Who reads the videos of a run."""

    def stream(self, sample: StreamSample, size: SizeRule) -> FrameSource:
        """Return the frames of a sample's seconds.

        Args:
            sample: The sample.
            size: From the displayed ``(width, height)`` to the frames'.

        Raises:
            VideoError: The file cannot be used.
        """

    def clip(self, sample: StreamSample, number: int, preset: str, size: SizeRule) -> OfficialClip:
        """Return what a preset shows of a sample for its question of that number; see `read_clip`."""

    def window(self, sample: StreamSample, most: int, size: SizeRule) -> Chunk:
        """Return what a window shows, in ``most`` frames or fewer; see `read_window`."""

    def for_streams(self, meet: Callable[[], None]) -> Reads:
        """Return what reads for streams that advance together.

        Args:
            meet: Called by a stream, lets the others go on until none of them has work under way.
        """


class OwnReads:
    """Reads for one run alone; `Reads`."""

    def stream(self, sample: StreamSample, size: SizeRule) -> FrameSource:
        """Open the video; see `Reads.stream`."""
        return VideoFrames(sample.video, size)

    def clip(self, sample: StreamSample, number: int, preset: str, size: SizeRule) -> OfficialClip:
        """Read a clip; see `Reads.clip`."""
        span = (sample.start, sample.queries[number].at)
        return read_clip(sample.video, span, preset, size, number=number)

    def window(self, sample: StreamSample, most: int, size: SizeRule) -> Chunk:
        """Read a window; see `Reads.window`."""
        return read_window(sample, most, size)

    def for_streams(self, meet: Callable[[], None]) -> OwnReads:
        """Read as ever: see `Reads.for_streams`."""
        return self
