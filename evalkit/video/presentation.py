"""The picture on screen at ascending media times, from one open stream; leaves scaling to decode."""

from __future__ import annotations

__all__ = ["Gap", "Screen", "WantedTimes"]

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
from av.packet import Packet
from av.video.stream import VideoStream

from evalkit.stream import Tick
from evalkit.video.bitstream import droppable_test
from evalkit.video.opened import OpenVideo, ReadPacket

_RECENT_PACKETS = 64


@dataclass(frozen=True, slots=True)
class Gap:
    """Pictures that failed to decode, in PTS: shown from ``start`` to ``end`` had they not.

    With no ``pictures``, the stream has none there: it starts more than a second after the wanted time.
    """

    start: int
    end: int
    pictures: int


class WantedTimes:
    """The ticks to come and, looked up ahead of them, the PTS at which a picture will be asked for.

    Args:
        ticks: Ticks in order.
        to_pts: Latest PTS not after a media time.
    """

    def __init__(self, ticks: Iterable[Tick], to_pts: Callable[[Fraction], int]) -> None:
        self._source = iter(ticks)
        self._to_pts = to_pts
        self._ticks: deque[Tick] = deque()
        self._wanted: deque[int] = deque()

    def next_tick(self) -> Tick | None:
        """Return the next tick, or ``None`` after the last."""
        if not self._ticks and not self._pull():
            return None
        return self._ticks.popleft()

    def from_on(self, pts: int) -> int | None:
        """Return the first wanted PTS that is not before ``pts``, or ``None``."""
        while not self._wanted or self._wanted[-1] < pts:
            if not self._pull():
                return None
        return self._wanted[bisect_left(self._wanted, pts)]

    def forget_before(self, pts: int) -> None:
        """Drop what lies before ``pts``; nothing earlier will be asked for."""
        while self._wanted and self._wanted[0] < pts:
            self._wanted.popleft()

    def _pull(self) -> bool:
        tick = next(self._source, None)
        if tick is None:
            return False
        self._ticks.append(tick)
        self._wanted.extend(self._to_pts(time) for time in tick.frame_times)
        return True


class Screen:
    """Decodes one stream once, in order, and says what is on screen.

    H.264 pictures that no other picture refers to and that no wanted time shows are not decoded; that
    changes no pixel of the others.

    A picture that fails to decode leaves the one before it on screen and is recorded in `gaps`, found by
    comparing the PTS of the packets with those of the pictures that came out.

    Args:
        opened: The file, read as far as its first frame.
        first: PTS from which pictures will be asked for. Decoding starts at the key frame before it, or an earlier
            one where from there the picture on screen does not come out of the decoder.
        wanted: What will be asked for.
    """

    def __init__(self, opened: OpenVideo, first: int, wanted: WantedTimes) -> None:
        self._opened = opened
        self._first = first
        self._wanted = wanted
        self._late = int(1 / opened.base)
        tried: object = None
        for packets in opened.starts(first):
            self._begin(packets)
            self.at(first)
            outcome = (self._held and self._held.pts, self.gaps)
            if self._held is not None and (not self._misses(first) or outcome == tried):
                break
            tried = outcome

    def _begin(self, packets: Iterator[ReadPacket]) -> None:
        self.gaps: list[Gap] = []
        self.end = self._opened.zero
        self.decoded_any = False
        self._expected: list[int] = []
        self._recent: deque[int] = deque(maxlen=_RECENT_PACKETS)
        self._droppable = droppable_test(self._opened.stream)
        self._pictures = self._decode(packets)
        self._held: av.VideoFrame | None = None
        self._next: av.VideoFrame | None = next(self._pictures, None)

    def _misses(self, pts: int) -> bool:
        """Whether a picture between the one on screen and ``pts`` has not come out of the decoder."""
        return any(gap.start <= pts for gap in self.gaps)

    def at(self, pts: int) -> av.VideoFrame | None:
        """Return the picture with the latest PTS not after ``pts``; ask in ascending order.

        Returns:
            The picture; ``None`` where the first one starts later (see `opening`) or the stream has ended
            (see `ended`).
        """
        while self._next is not None and _pts(self._next) <= pts:
            self._held = self._next
            self._next = next(self._pictures, None)
        self._wanted.forget_before(pts)
        return None if self.ended(pts) else self._held

    def ended(self, pts: int) -> bool:
        """Whether the stream is over at ``pts``."""
        return self._next is None and pts >= self.end

    @property
    def opening(self) -> av.VideoFrame | None:
        """The very first picture while it is still to come."""
        return self._next if self._held is None else None

    def _decode(self, packets: Iterator[ReadPacket]) -> Iterator[av.VideoFrame]:
        last: int | None = None
        for packet, shown, frames in packets:
            needed = shown is None or self._note(packet, shown)
            if frames is None:
                if not needed:
                    continue
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    continue  # what did not come out shows in the gaps
            for frame in frames:
                pts = _pts(frame)
                if frame.is_corrupt or (last is not None and pts < last):
                    continue
                self._settle(pts)
                if last is None and not self.gaps and pts - self._first > self._late:
                    self.gaps.append(Gap(self._first, pts, 0))
                self.end = max(self.end, pts + (frame.duration or self._opened.step))
                self.decoded_any, last = True, pts
                yield frame
        if self._expected:
            self._settle(self.end)

    def _note(self, packet: Packet[VideoStream], pts: int) -> bool:
        """Remember what is to come out of a packet; say whether it has to be decoded at all."""
        if pts < self._opened.zero:
            return True
        self.end = max(self.end, pts + (packet.duration or self._opened.step))
        needed = not self._droppable(packet) or self._shows(pts)
        self._recent.append(pts)
        if not needed:
            return False
        heapq.heappush(self._expected, pts)
        return True

    def _shows(self, pts: int) -> bool:
        """Whether a wanted time shows the picture at ``pts``, as far as the packets read so far tell."""
        wanted = self._wanted.from_on(pts)
        return wanted is None or not any(pts < other <= wanted for other in self._recent)

    def _settle(self, pts: int) -> None:
        """Everything expected before the picture at ``pts`` that has not come out never will."""
        missing = 0
        start = pts
        while self._expected and self._expected[0] <= pts:
            expected = heapq.heappop(self._expected)
            if expected < pts:
                missing += 1
                start = min(start, expected)
        start = max(start, self._first)
        # Pictures before the first wanted one, such as those that lead in to a key frame, are no loss.
        if missing and start < pts:
            self.gaps.append(Gap(start, pts, missing))


def _pts(frame: av.VideoFrame) -> int:
    return frame.pts if frame.pts is not None else 0
