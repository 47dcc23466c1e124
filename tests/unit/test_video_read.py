import hashlib
from fractions import Fraction

import numpy as np
import pytest
from video_files import index_first, make_video, number_in, numbered

from evalkit.errors import UsageError
from evalkit.stream import FrameFeed, FrameSchedule
from evalkit.video import (
    VideoError,
    VideoFrames,
    count_frames,
    frame_times,
    read_frames,
    uniform_indices,
    write_mp4,
)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts", "v.webm"])
def test_frames_are_counted_exactly_in_every_container(tmp_path, name):
    codec = {"codec": "libvpx", "options": {"deadline": "realtime"}} if name.endswith("webm") else {}
    assert count_frames(make_video(tmp_path / name, frames=47, **codec)) == 47


def test_frame_times_are_in_order_of_presentation_and_start_at_zero(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=20, fps=25, b_frames=3, offset=2)
    assert frame_times(path) == tuple(Fraction(k, 25) for k in range(20))


def test_indices_are_in_order_of_presentation_and_come_back_in_the_order_asked(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=50, fps=25, b_frames=3)
    read = read_frames(path, indices=[40, 3, 3, 0, -1])
    assert [number_in(frame) for frame in read.frames] == [40, 3, 3, 0, 49]
    assert read.times == tuple(Fraction(k, 25) for k in (40, 3, 3, 0, 49))
    assert read.losses == ()


def test_times_give_the_frame_on_screen(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=50, fps=25)
    read = read_frames(path, times=[1.99, 0, 0.079, 0.08], size=(48, 32))
    assert read.frames.shape == (4, 32, 48, 3)
    assert [number_in(frame) for frame in read.frames] == [49, 0, 1, 2]


def test_every_single_frame_can_be_read_by_index(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=40, fps=Fraction(30000, 1001), b_frames=2)
    read = read_frames(path, indices=range(40))
    assert [number_in(frame) for frame in read.frames] == list(range(40))


def test_no_frames_asked_for_give_an_empty_array(tmp_path):
    assert read_frames(make_video(tmp_path / "v.mp4", frames=5), indices=[]).frames.shape == (0, 64, 96, 3)


def test_uniform_indices_are_those_of_linspace_rounded():
    assert uniform_indices(300, 4) == (0, 100, 199, 299)
    assert uniform_indices(10, 1) == (0,)
    with pytest.raises(UsageError):
        uniform_indices(0, 4)


def test_what_is_not_there_is_an_error_not_another_frame(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=30)
    with pytest.raises(VideoError, match=r"no frame at 1\.500 s"):
        read_frames(path, times=[0.5, 1.5])
    with pytest.raises(UsageError, match="no frame 30"):
        read_frames(path, indices=[30])
    with pytest.raises(UsageError, match="either"):
        read_frames(path)
    with pytest.raises(UsageError, match="start at 0"):
        read_frames(path, times=[-1])


def test_a_file_cut_short_has_the_frames_up_to_the_cut(tmp_path):
    path = index_first(make_video(tmp_path / "v.mp4", frames=60))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert 0 < count_frames(path) < 60


def test_a_written_file_reads_back_and_has_the_same_bytes_every_time(tmp_path):
    digests = set()
    for name in ("a.mp4", "b.mp4"):
        write_mp4(tmp_path / name, (numbered(k) for k in range(30)), fps=Fraction(30000, 1001), gop=10)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]
    shown = [
        number_in(f) for c in FrameFeed(FrameSchedule(0, 1, 10), VideoFrames(tmp_path / "a.mp4")) for f in c.frames
    ]
    assert shown == [0, 2, 5, 8, 11, 14, 17, 20, 23, 26]


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([], "no frames"),
        ([np.zeros((63, 96, 3), np.uint8)], "even"),
        ([np.zeros((64, 96, 3), np.float32)], "uint8"),
        ([numbered(0), numbered(1, 48, 32)], "frame 1"),
    ],
)
def test_frames_that_cannot_be_written_leave_no_file(tmp_path, frames, words):
    with pytest.raises(UsageError, match=words):
        write_mp4(tmp_path / "v.mp4", frames, fps=10)
    assert list(tmp_path.iterdir()) == []
