"""A file opened for decoding, and its packets from where decoding must begin; leaves pictures to presentation."""

from __future__ import annotations

__all__ = ["OpenVideo", "ReadPacket"]

import os
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from evalkit.video.bitstream import PacketTest, hidden_test
from evalkit.video.container import VideoError, open_video, read_packets, video_stream
from evalkit.video.timeline import NEVER, Timeline, has_times, timeline, usual_step

# FFmpeg's limit. Left to choose, it takes one thread more than there are processors; where those are two, a file
# then takes a quarter longer to decode.
_MOST_THREADS = 16
# How far before the target to try again where a seek lands on a key frame past it, seconds.
_SEEK_BACK = (0, 2, 10, 60)


class ReadPacket(NamedTuple):
    """A packet, when its picture is shown, and what came out of the decoder for it.

    Args:
        packet: The packet; its PTS is ``pts`` where its picture is shown.
        pts: When its picture is shown; ``None`` where it is not, or where that is not known.
        frames: What came out of the decoder, where it has been decoded already.
    """

    packet: Packet[VideoStream]
    pts: int | None
    frames: list[av.VideoFrame] | None = None


class OpenVideo:
    """A video file opened for decoding, read as far as its first frame; closes it as a context manager.

    All times are on the file's presentation timeline: the times in it where they can be trusted, else those of a
    `Timeline`, which packets are given as they are read.

    Args:
        path: The file.

    Raises:
        VideoError: The file is missing, empty, truncated, no video, or no frame of it decodes; in the ``with``
            block, errors of FFmpeg too.
    """

    container: InputContainer
    stream: VideoStream

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.timeline: Timeline | None = None
        self._read: list[ReadPacket] = []
        self._closing = ExitStack()
        self._reopen()
        try:
            self.first = self._first_frame()
            if not has_times(self.container, self.stream, [read.packet for read in self._read]):
                self.timeline = timeline(self.path)
                if self.timeline is not None:
                    self._reopen()
                    self.first = self._first_frame()
        except BaseException:
            self._closing.close()
            raise
        self.base = self.stream.time_base or Fraction(1, av.time_base)
        self.zero = self.timeline.zero if self.timeline is not None else self._zero()
        self.step = self.timeline.step if self.timeline is not None else usual_step(self.stream)

    def __enter__(self) -> OpenVideo:
        return self

    def __exit__(self, *exc: Any) -> None:
        self._closing.__exit__(*exc)

    def taken(self) -> Iterator[ReadPacket]:
        """Yield the packets read so far, in order, once; none is held any longer than it is needed."""
        while self._read:
            yield self._read.pop(0)

    def rest(self) -> Iterator[ReadPacket]:
        """Yield all packets from the beginning of the file; to be called before anything else is read of it."""
        return chain(self.taken(), self._unread)

    def starts(self, first: int) -> Iterator[Iterator[ReadPacket]]:
        """Yield the packets from a key frame not after ``first`` on, then from ever earlier ones.

        A key frame may be a recovery point, after which pictures come out only after some more, or be damaged.
        The last to come are the packets from the beginning of the file. Each iterator ends the use of the one
        before.
        """
        if first > self.zero:
            yield from (
                self._starts_in_order(self.timeline, first) if self.timeline else self._starts_by_seek(first)
            )
            self._reopen()
        yield self.rest()

    def _starts_in_order(self, table: Timeline, first: int) -> Iterator[Iterator[ReadPacket]]:
        """Read from the beginning up to a key frame: where times cannot be trusted, no seek can."""
        for number in table.keys_before(first):
            if number == 0:
                return
            self._reopen()
            yield (read for place, read in enumerate(self._unread) if place >= number)

    def _starts_by_seek(self, first: int) -> Iterator[Iterator[ReadPacket]]:
        target, back = first, 0
        while (found := self._key_before(target, first)) is not None:
            key, packets = found
            if key.pts is None or key.pts <= self.zero:
                return
            yield chain([key], packets)
            target = min(key.pts, key.packet.dts if key.packet.dts is not None else key.pts) - 1
            target -= int(back / self.base)
            first = key.pts - 1
            back = back * 2 or 1

    def _key_before(self, target: int, first: int) -> tuple[ReadPacket, Iterator[ReadPacket]] | None:
        for back in _SEEK_BACK:
            if not self._seek(target - int(back / self.base)):
                return None
            packets = self._unread
            for read in packets:
                if read.pts is None or read.pts > first:
                    break
                if read.packet.is_keyframe:
                    return read, packets
        return None

    def _seek(self, pts: int) -> bool:
        """Go to the key frame before ``pts``; say whether the file can be sought in at all."""
        self._read.clear()
        try:
            self.container.seek(pts, stream=self.stream)
        except av.error.FFmpegError:
            return False
        self._unread = self._packets()
        return True

    def _reopen(self) -> None:
        self._closing.close()
        self._read.clear()
        self.container = self._closing.enter_context(open_video(self.path))
        try:
            self.stream = video_stream(self.container, self.path)
        except VideoError:
            self._closing.close()
            raise
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.thread_count = min(_processors(), _MOST_THREADS)
        self._hidden: PacketTest = hidden_test(self.stream)
        self._unread = self._packets()

    def _packets(self) -> Iterator[ReadPacket]:
        for number, packet in enumerate(read_packets(self.container, self.stream)):
            if self.timeline is not None:
                yield self._timed(packet, self.timeline, number)
            else:
                shown = bool(packet.size) and not packet.is_discard and not self._hidden(packet)
                yield ReadPacket(packet, packet.pts if shown else None)

    @staticmethod
    def _timed(packet: Packet[VideoStream], table: Timeline, number: int) -> ReadPacket:
        """Give a packet its time on the timeline; only what is read from the beginning has that number."""
        pts = table.shown[number] if number < len(table.shown) else NEVER
        if not packet.size:
            return ReadPacket(packet, None)
        packet.pts = packet.dts = None if pts == NEVER else pts
        if table.paced:
            packet.duration = table.step
        return ReadPacket(packet, packet.pts)

    def _first_frame(self) -> av.VideoFrame:
        trouble = "it holds no frame"
        self._damaged = False
        for read in self._unread:
            frames: list[av.VideoFrame] = []
            try:
                frames = read.packet.decode()
            except av.error.FFmpegError as error:
                trouble = f"no frame of it decodes ({error.strerror})"
                self._damaged = True
            self._read.append(read._replace(frames=frames))
            if frames:
                return frames[0]
        raise VideoError("unreadable", f"{self.path}: {trouble}", path=self.path)

    def _zero(self) -> int:
        """Return when the first picture is shown.

        A file cut out of a longer one may open with pictures that need what was before them, and never come out.
        One that opens with damage has lost what does not decode.
        """
        came = [] if self.first.pts is None else [self.first.pts]
        if self._damaged or self.first.is_corrupt:
            came += [read.pts for read in self._read if read.pts is not None]
        return min(came, default=0)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
