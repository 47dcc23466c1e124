"""When each picture of a file is shown, found by reading it once where its container cannot be trusted to say.

MP4 and Matroska hold a time of presentation for every picture. Other containers hold none (a raw stream, AVI),
one for some (MPEG program streams), or a clock that may start again (MPEG transport streams); nor can a reader go
to a time in them and know where it has come out. Such a file is read from its beginning, and its packets are given
the times of the table made here.
"""

from __future__ import annotations

__all__ = ["NEVER", "Timeline", "has_times", "pictures_end", "timeline", "usual_step"]

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise, takewhile
from pathlib import Path
from statistics import median_low

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from evalkit.video.bitstream import hidden_test
from evalkit.video.container import VideoError, is_placeholder, open_video, read_packets, video_stream

NEVER = -(1 << 63)
"""Stands in a timeline for the time of a packet whose picture is not shown, in a scan for an unknown time."""

_TIMED = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
# These hold no times of presentation; what their packets then have is a guess of the demuxer's.
_UNTIMED = frozenset(
    {"avi", "h264", "hevc", "vvc", "m4v", "mpegvideo", "h263", "vc1", "cavsvideo", "avs2", "avs3"}
)
# In these the clock may jump (a joined or interrupted recording). A jump forward by more than so many seconds is
# then none of the material's: the ffmpeg program's `dts_delta_threshold`.
_JUMPING = frozenset({"mpegts", "mpeg"})
_LONGEST_GAP = 10
_CHECKED_PICTURES = 64
_TAIL_SECONDS = (0, 10, 60, 600)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The times of presentation of a file's pictures.

    Args:
        shown: For each packet in the order of the file, when its picture is shown; `NEVER` where it is not: it
            needs others that are not in the file, or holds nothing to see.
        keys: Numbers of the packets at which decoding can begin.
        zero: When the first picture is shown.
        end: When the last one is no longer shown.
        step: Usual time from one picture to the next.
        paced: Whether the times were made from the order in which pictures come out of the decoder.
    """

    shown: array[int]
    keys: array[int]
    zero: int
    end: int
    step: int
    paced: bool

    def times(self) -> list[int]:
        """Return when pictures are shown, in order."""
        return sorted(pts for pts in self.shown if pts != NEVER)

    def keys_before(self, pts: int) -> Iterator[int]:
        """Yield the numbers of key packets before ``pts``, nearest first, ever farther apart."""
        known = [number for number in self.keys if NEVER != self.shown[number] <= pts]
        place, back = len(known) - 1, 1
        while place >= 0:
            yield known[place]
            place, back = place - back, back * 2


def has_times(container: InputContainer, stream: VideoStream, first: Sequence[Packet[VideoStream]]) -> bool:
    """Whether the times in a file can be trusted as they are; where not, `timeline` reads it.

    Args:
        container: The open file.
        stream: Its video stream.
        first: Packets up to the first picture.
    """
    if container.format.name not in _TIMED or any(packet.pts is None for packet in first if packet.size):
        return False
    # Written by copying a stream without times, a file has its pictures in the order of decoding.
    return not _may_reorder(stream) or any(packet.pts != packet.dts for packet in first if packet.size)


def usual_step(stream: VideoStream) -> int:
    """Return the time from one picture to the next by the stream's rate, in its time base; 1 where it has none."""
    rate = stream.average_rate or stream.guessed_rate
    base = stream.time_base or Fraction(1, av.time_base)
    return max(1, round(1 / (rate * base))) if rate else 1


def timeline(path: Path | str) -> Timeline | None:
    """Return the timeline of a file, or ``None`` where the times in it are right after all.

    The tables of the last few files are kept: a benchmark opens a video once for each of its samples.

    Raises:
        VideoError: The file cannot be used.
    """
    file = Path(path)
    try:
        state = file.stat()
    except OSError as error:
        raise VideoError("missing", f"{file}: cannot be read ({error.strerror})", path=file) from None
    return _timeline(file, state.st_size, state.st_mtime_ns)


def pictures_end(path: Path | str) -> int | None:
    """Return the time at which the last picture of a file ends, from its last packets.

    A container's length is that of its longest stream: sound may go on when the picture has ended.

    Returns:
        In units of the stream's time base; ``None`` where no packet has a time.

    Raises:
        VideoError: The file cannot be read.
    """
    file = Path(path)
    state = file.stat()
    return _pictures_end(file, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=8)
def _timeline(path: Path, size: int, modified: int) -> Timeline | None:
    with open_video(path) as container:
        stream = video_stream(container, path)
        if container.format.name in _TIMED and _in_order(path):
            return None
        scan = _scan(container, stream)
        reorders = _may_reorder(stream)
        guessed = reorders and (
            container.format.name in _UNTIMED or not (_goes_back(scan.pts) or scan.untimed or _in_order(path))
        )
        # Where another recording begins, pictures that need the one it was cut from may not come out.
        must_decode = guessed or scan.untimed > 0 or _repeats(scan.pts) or len(scan.clocks) > 1
    decoded = _decode(path, None if must_decode else 1)
    if not decoded.numbers:
        raise VideoError("unreadable", f"{path}: no frame of it decodes", path=path)
    return (_paced if must_decode else _stamped)(scan, decoded)


@dataclass(slots=True)
class _Scan:
    """What the packets of a file say, in its order, with one clock throughout."""

    base: Fraction
    step: int = 1
    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))
    keys: array[int] = field(default_factory=lambda: array("q"))
    hidden: array[int] = field(default_factory=lambda: array("q"))
    clocks: list[int] = field(default_factory=lambda: [0])
    untimed: int = 0
    last_duration: int = 0


def _scan(container: InputContainer, stream: VideoStream) -> _Scan:
    scan = _Scan(stream.time_base or Fraction(1, av.time_base))
    hidden = hidden_test(stream)
    durations: Counter[int] = Counter()
    longest_gap = _LONGEST_GAP / scan.base if container.format.name in _JUMPING else math.inf
    expected: int | None = None
    latest = NEVER
    for number, packet in enumerate(read_packets(container, stream)):
        pts = None if packet.is_discard else packet.pts
        scan.pts.append(NEVER if pts is None else pts)
        scan.dts.append(NEVER if packet.dts is None else packet.dts)
        if not packet.size or is_placeholder(packet):
            scan.hidden.append(number)
            continue
        scan.untimed += packet.pts is None
        if packet.is_keyframe:
            scan.keys.append(number)
        if hidden(packet):
            scan.hidden.append(number)
        duration = packet.duration or 0
        durations[duration] += 1
        if packet.dts is not None:
            if expected is not None and (packet.dts < expected - duration or packet.dts - expected > longest_gap):
                scan.clocks.append(number)
            expected = packet.dts + duration
        if pts is not None and pts >= latest:
            latest, scan.last_duration = pts, duration
    usual = durations.most_common(1)[0][0] if durations else 0
    scan.step = usual or usual_step(stream)
    _join_clocks(scan)
    return scan


def _join_clocks(scan: _Scan) -> None:
    """Put what has a clock of its own behind what came before it: its first picture where the last one ends."""
    edges = [*scan.clocks, len(scan.pts)]
    end: int | None = None
    for first, stop in pairwise(edges):
        # Without any time of presentation those of decoding are what there is to go by.
        known = [pts for pts in scan.pts[first:stop] if pts != NEVER] or [
            dts for dts in scan.dts[first:stop] if dts != NEVER
        ]
        if not known:
            continue
        shift = 0 if end is None else end - min(known)
        if shift:
            for stamps in (scan.pts, scan.dts):
                for number in range(first, stop):
                    if stamps[number] != NEVER:
                        stamps[number] += shift
        end = max(known) + shift + scan.step


@dataclass(slots=True)
class _Decoded:
    """The pictures that came out of the decoder, in order.

    Args:
        numbers: Number of each one's packet.
        keys: Packets of pictures that need no other.
        read: How many packets went in.
        damaged: Whether the decoder refused some.
    """

    numbers: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    read: int = 0
    damaged: bool = False


def _decode(path: Path, most: int | None) -> _Decoded:
    found = _Decoded()
    with open_video(path) as container:
        stream = video_stream(container, path)
        stream.thread_type = "AUTO"
        for number, packet in enumerate(read_packets(container, stream)):
            found.read = number + 1
            if packet.size:
                packet.pts = packet.dts = number
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                found.damaged = True
                continue
            for frame in frames:
                if frame.is_corrupt or frame.pts is None:
                    found.damaged = True
                    continue
                found.numbers.append(frame.pts)
                if frame.key_frame:
                    found.keys.append(frame.pts)
            if most is not None and len(found.numbers) >= most:
                break
    return found


def _stamped(scan: _Scan, decoded: _Decoded) -> Timeline:
    """Make the timeline of a file whose packets all have a time; decoded has been its first picture."""
    shown = scan.pts
    for number in scan.hidden:
        shown[number] = NEVER
    # What lies before the first picture in time lacks what it refers to. Where something there failed, it is lost.
    first = range(decoded.read) if decoded.damaged else decoded.numbers[:1]
    zero = min(shown[number] for number in first if shown[number] != NEVER)
    for number, pts in enumerate(shown):
        if pts < zero:
            shown[number] = NEVER
    end = max(shown) + (scan.last_duration or scan.step)
    return Timeline(shown, scan.keys, zero, end, scan.step, paced=False)


def _paced(scan: _Scan, decoded: _Decoded) -> Timeline:
    """Make the timeline of a file whose packets lack times, from the order in which its pictures come out."""
    came = decoded.numbers
    stamps = [scan.pts[number] for number in came]
    known = [pts for pts in stamps if pts != NEVER]
    shown = array("q", [NEVER]) * len(scan.pts)
    if known and all(one < next_ for one, next_ in pairwise(known)):
        slots, times = scan.pts, _filled(stamps, scan.step)
    else:
        slots = _slots(scan)
        times = _in_slots(slots, decoded)
    # One picture for each packet: a second one in the last packet (see `read_packets`) has no time of its own.
    for number, pts in zip(came, times, strict=False):
        shown[number] = pts
    if decoded.damaged:
        there = {*came, *scan.hidden}
        for number, pts in enumerate(slots):
            if number not in there:
                shown[number] = pts
    # Durations do not help here: the time to the next picture is the one measure.
    step = median_low([next_ - one for one, next_ in pairwise(times)]) if len(times) > 1 else scan.step
    zero = min(pts for pts in shown if pts != NEVER)
    return Timeline(shown, array("q", sorted(decoded.keys)), zero, max(shown) + step, step, paced=True)


def _filled(stamps: list[int], step: int) -> list[int]:
    """Return the stamps with those that are not known spread evenly between those that are."""
    known = [place for place, pts in enumerate(stamps) if pts != NEVER]
    times = list(stamps)
    for place in range(known[0]):
        times[place] = stamps[known[0]] - (known[0] - place) * step
    for first, stop in pairwise(known):
        span = stamps[stop] - stamps[first]
        for place in range(first + 1, stop):
            times[place] = stamps[first] + span * (place - first) // (stop - first)
    for place in range(known[-1] + 1, len(stamps)):
        times[place] = stamps[known[-1]] + (place - known[-1]) * step
    return times


def _slots(scan: _Scan) -> array[int]:
    """Return when each packet is to be decoded, by its number where the file does not say."""
    hidden = set(scan.hidden)
    there = [dts for number, dts in enumerate(scan.dts) if number not in hidden]
    if NEVER not in there and all(one < next_ for one, next_ in pairwise(there)):
        return scan.dts
    return array("q", (NEVER if k in hidden else k * scan.step for k in range(len(scan.dts))))


def _in_slots(slots: array[int], decoded: _Decoded) -> list[int]:
    """Return the times of pictures in order: those at which their packets are to be decoded, in order.

    Pictures that lead in to the first key picture and cannot be decoded without what came before it take their
    times with them.
    """
    came = decoded.numbers
    there = set(came)
    lost: list[int] = []
    if not decoded.damaged:
        lost = list(takewhile(lambda number: number not in there, range(came[0] + 1, len(slots))))
    return sorted(slots[number] for number in [*came, *lost] if slots[number] != NEVER)[len(lost) :]


def _goes_back(stamps: array[int]) -> bool:
    return any(one > next_ for one, next_ in pairwise(stamps) if next_ != NEVER)


def _repeats(stamps: array[int]) -> bool:
    known = [pts for pts in stamps if pts != NEVER]
    return len(set(known)) < len(known)


def _may_reorder(stream: VideoStream) -> bool:
    return bool(stream.codec_context.has_b_frames)


def _in_order(path: Path) -> bool:
    """Whether the first pictures come out in the order of their times."""
    last: int | None = None
    pictures = 0
    with open_video(path) as container:
        for packet in read_packets(container, video_stream(container, path)):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            for frame in frames:
                if frame.pts is None or (last is not None and frame.pts < last):
                    return False
                last = frame.pts
                pictures += 1
            if pictures >= _CHECKED_PICTURES:
                break
    return True


@lru_cache(maxsize=64)
def _pictures_end(path: Path, size: int, modified: int) -> int | None:
    with open_video(path) as container:
        stream = video_stream(container, path)
        base = stream.time_base or Fraction(1, av.time_base)
        step = usual_step(stream)
        length = container.duration or 0
        targets = [int((Fraction(length, av.time_base) - back) / base) for back in _TAIL_SECONDS] if length else []
        for target in targets:
            try:
                container.seek(max(target, 0), stream=stream)
            except av.error.FFmpegError:
                continue
            end = _last_end(container, stream, step)
            if end is not None:
                return end
    with open_video(path) as container:  # nowhere to go to: from the beginning
        return _last_end(container, video_stream(container, path), step)


def _last_end(container: InputContainer, stream: VideoStream, step: int) -> int | None:
    ends = (
        packet.pts + (packet.duration or step)
        for packet in read_packets(container, stream)
        if packet.size and packet.pts is not None
    )
    return max(ends, default=None)
