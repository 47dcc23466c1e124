import gc
import threading
import tracemalloc
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from video_files import make_video, number_in

from evalkit.errors import UsageError
from evalkit.stream import FrameFeed, FrameSchedule
from evalkit.video import VideoFrames, frame_times, probe
from evalkit.video import presentation as presentation_module


def numbers(path, schedule, **options):
    """The picture numbers delivered, by tick."""
    with FrameFeed(schedule, VideoFrames(path, **options)) as feed:
        return [[number_in(frame) for frame in chunk.frames] for chunk in feed]


def expected(schedule, times):
    """What is on screen by the definition: the latest of the pictures' times not after each frame time."""
    return [
        [max((k for k, at in enumerate(times) if at <= time), default=0) for time in tick.frame_times]
        for tick in schedule
    ]


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(60), Fraction(24000, 1001)])
@pytest.mark.parametrize("fps", [2, 8, Fraction(3, 2)])
def test_the_frame_on_screen_is_delivered_at_every_source_rate(tmp_path, rate, fps):
    path = make_video(tmp_path / "v.mp4", frames=int(3 * rate) + 1, fps=rate, b_frames=3)
    schedule = FrameSchedule(0, 3, fps)
    assert numbers(path, schedule) == expected(schedule, [k / rate for k in range(int(3 * rate) + 1)])


def test_variable_frame_rate_goes_by_time_stamps(tmp_path):
    steps = [Fraction(1, 30), Fraction(1, 10), Fraction(1, 2), Fraction(1, 60), Fraction(1, 4)]
    times = [Fraction(0)]
    while times[-1] < 5:
        times.append(times[-1] + steps[len(times) % 5])
    path = make_video(tmp_path / "v.mp4", frames=len(times), times=times)
    schedule = FrameSchedule(0, 5, 10)
    assert numbers(path, schedule) == expected(schedule, times)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
@pytest.mark.parametrize("offset", [0, 7])
def test_media_time_counts_from_the_start_of_the_video_stream(tmp_path, name, offset):
    path = make_video(tmp_path / name, frames=90, offset=offset)
    assert numbers(path, FrameSchedule(0, 3, 2)) == [[0, 15], [30, 45], [60, 75]]
    assert numbers(path, FrameSchedule(2, 3, 2)) == [[60, 75]]


@pytest.mark.parametrize("start", ["0.033", "1.1", "1.99", "2.9"])
@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts", "v.avi"])
def test_a_start_within_a_group_of_pictures_is_found_from_the_key_frame_before(tmp_path, name, start):
    codec = {"codec": "mpeg4", "b_frames": 0} if name.endswith("avi") else {"b_frames": 3}
    path = make_video(tmp_path / name, frames=105, fps=30, gop=40, **codec)
    schedule = FrameSchedule(start, Fraction(start) + Fraction(1, 2), 5)
    assert numbers(path, schedule) == expected(schedule, frame_times(path))


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_rotation_metadata_turns_the_resized_frame(tmp_path, rotation, turns):
    path = make_video(tmp_path / "v.mp4", rotation=rotation)
    size = (32, 48) if turns % 2 else (48, 32)
    source = VideoFrames(path, size)
    assert (source.info.width, source.info.height) == ((64, 96) if turns % 2 else (96, 64))
    assert source.info.rotation == turns * 90
    chunk = next(FrameFeed(FrameSchedule(0, 1, 2), source))
    assert chunk.frames.shape == (2, size[1], size[0], 3)
    assert [number_in(np.rot90(frame, -turns)) for frame in chunk.frames] == [0, 15]


def test_odd_sizes_keep_every_pixel_or_are_resized(tmp_path):
    path = make_video(tmp_path / "v.mp4", size=(97, 63))
    assert numbers(path, FrameSchedule(0, 2, 2)) == [[0, 15], [30, 45]]
    chunk = next(FrameFeed(FrameSchedule(0, 1, 2), VideoFrames(path)))
    assert chunk.frames.shape == (2, 63, 97, 3)
    assert numbers(path, FrameSchedule(0, 1, 2), size=(33, 41)) == [[0, 15]]


@pytest.mark.parametrize("audio", [True, False])
def test_a_sound_track_changes_nothing(tmp_path, audio):
    path = make_video(tmp_path / "v.mp4", audio=audio)
    assert numbers(path, FrameSchedule(0, 2, 2)) == [[0, 15], [30, 45]]


@pytest.mark.parametrize(
    ("name", "codec"), [("v.webm", "libvpx-vp9"), ("v.webm", "libvpx"), ("v.avi", "mpeg4"), ("v.mp4", "libx265")]
)
def test_other_codecs_are_scheduled_alike(tmp_path, name, codec):
    options = {"deadline": "realtime"} if "vpx" in codec else {}
    try:
        path = make_video(tmp_path / name, codec=codec, b_frames=0, options=options)
    except (av.error.FFmpegError, ValueError) as error:
        pytest.skip(f"no encoder {codec} here ({error})")
    assert numbers(path, FrameSchedule(0, 2, 2)) == [[0, 15], [30, 45]]


def test_size_may_be_a_rule_on_the_displayed_size(tmp_path):
    path = make_video(tmp_path / "v.mp4", rotation=90)
    seen = []
    source = VideoFrames(path, lambda width, height: seen.append((width, height)) or (width // 2, height // 4))
    assert seen == [(64, 96)]
    assert next(FrameFeed(FrameSchedule(0, 1, 1), source)).frames.shape == (1, 24, 32, 3)


def test_a_size_or_depth_that_cannot_be_is_wrong_use(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=3)
    with pytest.raises(UsageError, match="0x10"):
        VideoFrames(path, (0, 10))
    with pytest.raises(UsageError, match="ahead"):
        VideoFrames(path, ahead=0)


@pytest.mark.parametrize("b_frames", [0, 3])
def test_pictures_left_undecoded_change_no_pixel_of_the_others(tmp_path, monkeypatch, b_frames):
    path = make_video(tmp_path / "v.mp4", frames=90, b_frames=b_frames, gop=45)
    with av.open(str(path)) as container:
        decoded = {frame.time: frame for frame in container.decode(video=0)}
    sent = []
    count = presentation_module.Screen._settle
    monkeypatch.setattr(
        presentation_module.Screen, "_settle", lambda self, pts: (sent.append(pts), count(self, pts))[1]
    )
    scaler = VideoReformatter()
    with FrameFeed(FrameSchedule(0, 3, 2), VideoFrames(path, (56, 28))) as feed:
        for chunk in feed:
            for shown, frame in zip(chunk.shown, chunk.frames, strict=True):
                options = {"format": "yuv422p", "interpolation": "BICUBIC", "threads": 1}
                scaled = scaler.reformat(decoded[float(shown)], width=56, height=28, **options)
                assert np.array_equal(frame, scaled.to_ndarray(format="rgb24"))
    assert (len(sent) < 70) == (b_frames > 0)


def test_the_decoder_stays_a_bounded_number_of_ticks_ahead(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=600, gop=30)
    asked = []

    def ticks():
        for tick in FrameSchedule(0, 20, 2):
            asked.append(tick.index)
            yield tick

    batches = VideoFrames(path, ahead=2).frames(ticks())
    for done in range(10):
        next(batches)
        # The tick handed over, two ahead, and the look-up of wanted times over the decoder's own delay.
        assert max(asked) <= done + 5
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("decode", "scale"))]


def test_memory_does_not_grow_with_the_length_of_the_video(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=40 * 30, gop=30)
    frame_bytes = 280 * 504 * 3
    tracemalloc.start()
    try:
        for _ in FrameFeed(FrameSchedule(0, 40, 2), VideoFrames(path, (504, 280))):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * frame_bytes


def test_the_next_second_is_decoded_while_the_consumer_works(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=300)
    decoded = threading.Event()
    batches = VideoFrames(path, ahead=2)

    def ticks():
        for tick in FrameSchedule(0, 10, 2):
            if tick.index == 3:
                decoded.set()
            yield tick

    stream = batches.frames(ticks())
    next(stream)
    assert decoded.wait(10)  # nobody asked for tick 3 yet
    stream.close()


def test_frames_repeat_where_the_source_is_slower_than_the_schedule(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=12, fps=4)
    assert numbers(path, FrameSchedule(0, 2, 8)) == [[0, 0, 1, 1, 2, 2, 3, 3], [4, 4, 5, 5, 6, 6, 7, 7]]


def test_resuming_gives_the_frames_of_an_unbroken_pass(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=180, b_frames=3)
    schedule = FrameSchedule("0.4", "5.4", 3)
    whole = [chunk.frames for chunk in FrameFeed(schedule, VideoFrames(path))]
    for index in (1, 3, 4):
        feed = FrameFeed(schedule, VideoFrames(path))
        feed.skip_to(index)
        rest = [chunk.frames for chunk in feed]
        assert all(np.array_equal(a, b) for a, b in zip(whole[index:], rest, strict=True))


def test_shown_times_are_the_pictures_own(tmp_path):
    path = make_video(tmp_path / "v.mp4", fps=Fraction(30000, 1001))
    known = frame_times(path)
    shown = [time for chunk in FrameFeed(FrameSchedule(0, 2, 4), VideoFrames(path)) for time in chunk.shown]
    assert set(shown) <= set(known)
    assert all(a < b for a, b in pairwise(shown))


def test_probing_tells_what_the_file_is(tmp_path):
    info = probe(make_video(tmp_path / "v.mp4", fps=Fraction(30000, 1001), frames=60, offset=3, audio=True))
    assert (info.width, info.height, info.rotation, info.codec) == (96, 64, 0, "h264")
    assert (info.fps, info.frames, info.has_audio) == (Fraction(30000, 1001), 60, True)
    assert info.duration == pytest.approx(2.002, abs=1e-3)
    assert info.start_time == pytest.approx(3)


def test_a_matroska_file_that_starts_late_is_as_long_as_its_pictures(tmp_path):
    info = probe(make_video(tmp_path / "v.mkv", offset=7))
    assert (info.start_time, info.duration, info.frames) == (7, 2, None)


def test_a_stream_that_is_dropped_half_way_waits_for_no_thread(tmp_path, monkeypatch):
    """The garbage collector may drop it on a thread that holds a lock of `threading`: to join there never ends."""
    feed = FrameFeed(FrameSchedule(0, 3, 2), VideoFrames(make_video(tmp_path / "v.mp4", frames=90)))
    next(feed)
    joined = []
    monkeypatch.setattr(threading.Thread, "join", lambda self, timeout=None: joined.append(self.name))
    cycle = [feed]
    cycle.append(cycle)
    del feed, cycle
    gc.collect()
    assert joined == []


def test_a_stream_that_is_closed_half_way_has_ended_its_threads(tmp_path):
    before = set(threading.enumerate())
    feed = FrameFeed(FrameSchedule(0, 3, 2), VideoFrames(make_video(tmp_path / "v.mp4", frames=90)))
    next(feed)
    begun = set(threading.enumerate()) - before
    assert {thread.name for thread in begun} == {"decode_0", "scale_0"}
    feed.close()
    assert not any(thread.is_alive() for thread in begun)
    assert [chunk.tick.index for chunk in feed] == [1, 2]
