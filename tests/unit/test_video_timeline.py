"""Every scheduled time shows what an unbroken pass shows then, in every container, whatever the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from itertools import islice, pairwise
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from video_files import make_video, number_in

from evalkit.errors import UsageError
from evalkit.stream import FrameFeed, FrameSchedule
from evalkit.video import VideoFrames, count_frames, frame_times, probe, read_frames
from evalkit.video import opened as opened_module

FRAMES, FPS = 40, 25
_INTRA_REFRESH = {"intra-refresh": "1"}
_OPEN = {"open-gop": "1"}


@dataclass(frozen=True)
class Kind:
    """A container and codec, and how the encoder is set."""

    suffix: str
    codec: str
    b_frames: int = 0
    gop: int = 10
    options: tuple[tuple[str, str], ...] = ()
    offset: int = 0

    def __str__(self) -> str:
        return "-".join([self.codec, *(name for name, _ in self.options), f"b{self.b_frames}", self.suffix])

    def write(self, folder: Path) -> Path:
        return make_video(
            folder / f"v.{self.suffix}",
            frames=FRAMES,
            fps=FPS,
            codec=self.codec,
            gop=self.gop,
            b_frames=self.b_frames,
            offset=self.offset,
            options=dict(self.options),
        )


def kinds(suffixes: str, codec: str, b_frames: int = 0, **options: str) -> list[Kind]:
    return [Kind(suffix, codec, b_frames, options=tuple(options.items())) for suffix in suffixes.split()]


QUICK = [
    *kinds("h264 avi mpg flv", "libx264", 3),
    *kinds("h264 mkv ts", "libx264", **_INTRA_REFRESH),
    *kinds("ts mp4", "libx264", 3, **_OPEN),
    *kinds("h265", "libx265", 2),
    *kinds("avi m4v", "mpeg4", 2),
    *kinds("mpg m2v", "mpeg2video", 2),
    *kinds("gif", "gif"),
    *kinds("mjpeg", "mjpeg"),
    Kind("ts", "libx264", 2, offset=95443),  # the clock of 33 bits runs over after 95,443.7 s
]
MORE = [
    *kinds("mp4 mkv ts mov nut vob", "libx264", 3),
    *kinds("mp4 avi flv", "libx264", **_INTRA_REFRESH),
    *kinds("h264 avi mkv", "libx264", 3, **_OPEN),
    *kinds("mp4 mkv ts", "libx265", 3),
    *kinds("mkv mp4 3gp", "mpeg4", 2),
    *kinds("ts mkv vob mxf", "mpeg2video", 2),
    *kinds("mpg mkv ts", "mpeg1video", 2),
    *kinds("webm ivf", "libvpx", **{"deadline": "realtime"}),
    *kinds("webm ivf", "libvpx-vp9", **{"deadline": "realtime"}),
    *kinds("mp4 webm ivf obu", "libsvtav1"),
    *kinds("avi", "mjpeg"),
    Kind("mpg", "mpeg2video", 2, offset=30),
    Kind("flv", "libx264", 2, offset=5),
]


def unbroken(path: Path) -> list[int]:
    """The numbers of a file's pictures in the order in which a plain pass over it shows them."""
    with av.open(str(path)) as container:
        return [number_in(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], Path]:
    return cache(lambda kind: kind.write(tmp_path_factory.mktemp("kind")))


def streamed(path: Path, schedule: FrameSchedule) -> tuple[list[int], float]:
    with FrameFeed(schedule, VideoFrames(path)) as feed:
        return [number_in(frame) for chunk in feed for frame in chunk.frames], feed.lost_seconds


def check_whole(path: Path) -> None:
    """Every picture of a plain pass has an index and a time, evenly from 0 on, and nothing is lost."""
    known, times = unbroken(path), frame_times(path)
    read = read_frames(path, indices=range(len(times)))
    assert [number_in(frame) for frame in read.frames] == known
    assert read.losses == ()
    # Matroska and FLV round to a thousandth of a second.
    assert all(abs(time - Fraction(k, FPS)) <= Fraction(1, 1000) for k, time in enumerate(times))
    assert probe(path).duration == pytest.approx(len(known) / FPS, abs=0.002)


def check_start(path: Path, start: Fraction, fps: int) -> None:
    """A stream from any time on shows what a plain pass shows then."""
    known, times = unbroken(path), frame_times(path)
    schedule = FrameSchedule(start, min(start + 1, times[-1] + Fraction(1, FPS)), fps)
    wanted = [t for tick in schedule for t in tick.frame_times]
    on_screen = [max(k for k, time in enumerate(times) if time <= t) for t in wanted]
    assert streamed(path, schedule) == ([known[k] for k in on_screen], 0)


STARTS = st.integers(0, 1000 * (FRAMES - 2) // FPS).map(lambda ms: Fraction(ms, 1000))
few = partial(settings, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("kind", QUICK, ids=str)
def test_pictures_are_those_of_an_unbroken_pass(written, kind):
    check_whole(written(kind))


@pytest.mark.parametrize("kind", QUICK, ids=str)
@few(max_examples=5)
@given(start=STARTS, fps=st.sampled_from([2, 5, 12]))
def test_a_start_anywhere_shows_what_an_unbroken_pass_shows_then(written, kind, start, fps):
    check_start(written(kind), start, fps)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MORE, ids=str)
def test_pictures_are_those_of_an_unbroken_pass_in_more_kinds(written, kind):
    check_whole(written(kind))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*QUICK, *MORE], ids=str)
@few(max_examples=25)
@given(start=STARTS, fps=st.sampled_from([1, 2, 5, 12, 25]))
def test_a_start_anywhere_shows_what_an_unbroken_pass_shows_then_in_more_kinds(written, kind, start, fps):
    check_start(written(kind), start, fps)


def copied(source: Path, target: Path, *, first: int = 0, step: int | None = None) -> Path:
    """Copy the packets of a file from one on; with a step, each with the next multiple of it as its only time."""
    with av.open(str(source)) as container, av.open(str(target), "w") as copy:
        stream = container.streams.video[0]
        out = copy.add_stream_from_template(stream)
        for k, packet in enumerate(packet for packet in container.demux(stream) if packet.size):
            if k < first:
                continue
            if step is not None:
                packet.pts = packet.dts = k * step
            packet.stream = out
            copy.mux(packet)
    return target


def key_numbers(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [k for k, packet in enumerate(container.demux(video=0)) if packet.size and packet.is_keyframe]


def test_recordings_joined_end_to_end_are_shown_one_after_the_other(tmp_path):
    parts = [
        make_video(tmp_path / f"{start}.ts", frames=frames, fps=25, offset=start)
        for frames, start in ((30, 5), (50, 700), (20, 3))
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    known = [*range(30), *range(50), *range(20)]
    assert frame_times(path) == tuple(Fraction(k, 25) for k in range(100))
    assert [number_in(frame) for frame in read_frames(path, indices=range(100)).frames] == known
    assert streamed(path, FrameSchedule("1.08", "3.48", 5)) == (known[27:87:5], 0)
    assert probe(path).duration == pytest.approx(4)


def test_a_joined_recording_without_what_its_first_pictures_need_loses_nothing_that_can_be_shown(tmp_path):
    options = {"x265-params": "log-level=none:open-gop=1:scenecut=0:keyint=18:b-adapt=0"}
    whole = make_video(tmp_path / "whole.ts", codec="libx265", fps=25, b_frames=3, gop=20, options=options)
    cut = copied(whole, tmp_path / "cut.ts", first=key_numbers(whole)[1])
    path = tmp_path / "joined.ts"
    path.write_bytes(whole.read_bytes() + cut.read_bytes())
    read = read_frames(path, indices=range(count_frames(path)))
    assert ([number_in(frame) for frame in read.frames], read.losses) == (unbroken(path), ())
    with av.open(str(path)) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) > len(read.frames) > 60


@pytest.mark.parametrize("suffix", ["ts", "mp4", "mkv"])
def test_a_recording_cut_in_an_open_group_begins_with_the_first_picture_that_can_be_shown(tmp_path, suffix):
    options = {"x265-params": "log-level=none:open-gop=1:scenecut=0:keyint=18:b-adapt=0"}
    whole = make_video(tmp_path / "whole.mp4", codec="libx265", fps=25, b_frames=3, gop=20, options=options)
    path = copied(whole, tmp_path / f"cut.{suffix}", first=key_numbers(whole)[1])
    known = unbroken(path)
    with av.open(str(path)) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) > len(known)
    assert known == list(range(18, 60))
    assert [number_in(frame) for frame in read_frames(path, indices=range(count_frames(path))).frames] == known
    assert number_in(read_frames(path, times=[0]).frames[0]) == 18


def test_a_transport_stream_that_begins_between_key_frames_begins_with_the_first_of_them(tmp_path):
    whole = make_video(tmp_path / "whole.ts", frames=60, fps=25, gop=20).read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(whole[len(whole) // 188 // 5 * 188 :])
    known = unbroken(path)
    read = read_frames(path, indices=range(count_frames(path)))
    assert ([number_in(frame) for frame in read.frames], read.losses) == (known, ())
    assert 0 < len(known) < 60


def packed(path: Path, frames: int, *, packets: int | None = None) -> Path:
    """MPEG-4 in AVI as old Xvid wrote it: a B-frame in the packet of the next picture, then a placeholder."""
    source = make_video(path.with_suffix(".mp4"), codec="mpeg4", b_frames=1, frames=frames, fps=25)
    with av.open(str(source)) as container, av.open(str(path), "w") as copy:
        stream = container.streams.video[0]
        out = copy.add_stream_from_template(stream)
        codes = [bytes(packet) for packet in container.demux(stream) if packet.size]
        for k, data in enumerate(islice(_packed(codes), packets)):
            packet = av.Packet(data)
            packet.stream, packet.time_base = out, Fraction(1, 25)
            packet.pts = packet.dts = k
            packet.is_keyframe = k == 0
            copy.mux(packet)
    return path


def _packed(codes: list[bytes]) -> Iterator[bytes]:
    kinds = [data[data.index(b"\0\0\1\xb6") + 4] >> 6 for data in codes]  # I, P, B
    marked = False
    k = 0
    while k < len(codes):
        with_b = k + 1 < len(codes) and kinds[k + 1] == 2
        data = codes[k] + (codes[k + 1] if with_b else b"")
        if not marked:
            at = data.index(b"\0\0\1\xb6")
            data, marked = data[:at] + b"\0\0\1\xb2DivX503b1393p\0" + data[at:], True
        yield data
        if with_b:
            yield b"\0\0\1\xb6\x40\0"
        k += 1 + with_b


def test_packed_b_frames_are_shown_in_order(tmp_path):
    path = packed(tmp_path / "v.avi", 40)
    read = read_frames(path, indices=range(count_frames(path)))
    assert ([number_in(frame) for frame in read.frames], read.losses) == (list(range(40)), ())
    assert streamed(path, FrameSchedule("0.6", "1.6", 5)) == ([15, 20, 25, 30, 35], 0)


def test_a_file_cut_after_a_packed_pair_shows_a_picture_for_each_of_its_packets(tmp_path):
    path = packed(tmp_path / "v.avi", 40, packets=20)  # I, PB, placeholder, PB, ...: the last is a pair
    read = read_frames(path, indices=range(count_frames(path)))
    assert ([number_in(frame) for frame in read.frames], read.losses) == (list(range(20)), ())


def test_times_lost_in_copying_a_raw_stream_are_made_from_the_order_of_pictures(tmp_path):
    source = make_video(tmp_path / "v.mp4", frames=40, fps=25, b_frames=3)
    path = copied(source, tmp_path / "copy.mp4", step=1200)
    assert [number_in(frame) for frame in read_frames(path, indices=range(40)).frames] == unbroken(path)
    times = frame_times(path)
    assert len({later - time for time, later in pairwise(times)}) == 1


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_a_video_ends_with_its_pictures_where_the_sound_goes_on(tmp_path, suffix):
    path = make_video(tmp_path / f"v.{suffix}", frames=50, fps=25, audio=True, more_audio=7)
    duration = probe(path).duration
    assert duration == pytest.approx(2, abs=0.002)
    assert streamed(path, FrameSchedule(0, Fraction(round(duration, 2)), 2)) == ([0, 12, 25, 37], 0)


def test_hidden_pictures_are_neither_counted_nor_lost(tmp_path):
    source = make_video(tmp_path / "v.webm", codec="libvpx", b_frames=0, fps=25, options={"deadline": "realtime"})
    path = tmp_path / "hidden.webm"
    hidden = {3, 20, 21}
    show_frame = 0x10
    with av.open(str(source)) as container, av.open(str(path), "w") as copy:
        out = copy.add_stream_from_template(container.streams.video[0])
        for k, packet in enumerate(packet for packet in container.demux(video=0) if packet.size):
            data = bytearray(bytes(packet))
            assert data[0] & show_frame
            data[0] &= ~show_frame if k in hidden else 0xFF
            changed = av.Packet(bytes(data))
            changed.stream, changed.time_base = out, packet.time_base
            changed.pts, changed.dts, changed.is_keyframe = packet.pts, packet.dts, packet.is_keyframe
            copy.mux(changed)
    known = unbroken(path)
    assert known == [k for k in range(60) if k not in hidden]
    read = read_frames(path, indices=range(count_frames(path)))
    assert ([number_in(frame) for frame in read.frames], read.losses) == (known, ())


def test_a_gap_of_a_picture_shown_for_long_is_kept(tmp_path):
    times = [Fraction(0), Fraction(1), Fraction(14), Fraction(15)]
    path = make_video(tmp_path / "v.gif", codec="gif", fps=100, frames=4, b_frames=0, times=times)
    assert frame_times(path) == tuple(times)


def test_a_start_on_a_recovery_point_reads_from_the_key_frame_before_it_alone(tmp_path, monkeypatch):
    path = make_video(tmp_path / "v.mp4", frames=200, fps=25, gop=25, b_frames=0, options=_INTRA_REFRESH)
    begun = []
    seek = opened_module.OpenVideo._seek
    monkeypatch.setattr(opened_module.OpenVideo, "_seek", lambda self, pts: begun.append(pts) or seek(self, pts))
    read = read_frames(path, times=["6.1"])
    assert (number_in(read.frames[0]), read.losses) == (152, ())
    assert len(begun) == 2
    with pytest.raises(UsageError):
        read_frames(path, times=[-1])
