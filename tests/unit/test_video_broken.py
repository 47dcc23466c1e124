import wave
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from video_files import damage_frames, index_first, make_video, number_in

from evalkit.errors import DecodeError
from evalkit.stream import FrameFeed, FrameSchedule
from evalkit.video import VideoError, VideoFrames, count_frames, probe


def sound_file() -> bytes:
    file = BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))
    return file.getvalue()


def picture_file() -> bytes:
    file = BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (None, "missing", "no such video file"),
        (b"", "empty", "zero bytes"),
        (b"<html><body>404 Not Found</body></html>\n" * 20, "wrong-container", "not a video container"),
        (np.random.default_rng(0).bytes(5000), "wrong-container", "not a video container"),
        (
            b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
            "wrong-container",
            "video",
        ),
        (picture_file(), "wrong-container", "png_pipe"),
        (sound_file(), "no-video-stream", "it holds audio"),
    ],
)
def test_a_file_that_is_no_video_says_which_fault_it_has(tmp_path, content, reason, words):
    path = tmp_path / "v.mp4"
    if content is not None:
        path.write_bytes(content)
    for open_it in (probe, VideoFrames, count_frames):
        with pytest.raises(VideoError, match=words) as caught:
            open_it(path)
        assert caught.value.reason == reason
        assert caught.value.path == str(path)
        assert "\n" not in str(caught.value)
        assert isinstance(caught.value, DecodeError)


def test_a_folder_is_not_readable_as_a_video(tmp_path):
    with pytest.raises(VideoError, match="not a file") as caught:
        probe(tmp_path)
    assert caught.value.reason == "unreadable"


def test_an_mp4_without_its_index_is_called_truncated(tmp_path):
    path = make_video(tmp_path / "v.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match="moov") as caught:
        VideoFrames(path)
    assert caught.value.reason == "truncated"


def test_a_name_that_looks_like_an_address_is_a_file_name(tmp_path):
    path = make_video(tmp_path / "concat:half-time.mp4", frames=3)
    assert probe(path).frames == 3


def test_a_video_shorter_than_its_annotation_tells_the_seconds_lost(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=75)
    feed = FrameFeed(FrameSchedule(0, 10, 2), VideoFrames(path))
    chunks = list(feed)
    assert [len(chunk.frames) for chunk in chunks] == [2, 2, 1]
    assert feed.lost_seconds == pytest.approx(7.5)
    assert "the video ends at 2.500 s" in str(feed.losses[0])


def test_below_one_frame_a_second_the_end_is_noticed_at_the_next_tick(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=75)
    feed = FrameFeed(FrameSchedule(0, 10, 0.25), VideoFrames(path))
    assert [len(chunk.frames) for chunk in feed] == [1, 0, 0]
    assert feed.lost_seconds == pytest.approx(7.5)


def test_resuming_past_the_end_of_the_video_ends_as_the_unbroken_stream_did(tmp_path):
    path = make_video(tmp_path / "v.mp4", frames=75)
    feed = FrameFeed(FrameSchedule(0, 10, 2), VideoFrames(path))
    feed.skip_to(6)
    assert list(feed) == []
    assert feed.lost_seconds == pytest.approx(7.5)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
def test_a_stream_that_starts_after_the_video_ends_is_an_error(tmp_path, name):
    path = make_video(tmp_path / name, frames=60)
    with pytest.raises(DecodeError, match=r"ends at 2\.0.. s, before the stream's start at 1000"):
        next(FrameFeed(FrameSchedule(1000, 1010, 2), VideoFrames(path)))


def test_frames_that_fail_to_decode_leave_the_picture_before_them_and_are_counted(tmp_path):
    path = damage_frames(make_video(tmp_path / "v.mp4", frames=90, gop=15, b_frames=0), 20, 29)
    source = VideoFrames(path)
    feed = FrameFeed(FrameSchedule(0, 3, 6), source)
    shown = [[number_in(frame) for frame in chunk.frames] for chunk in feed]
    assert shown == [[0, 5, 10, 15, 19, 19], [30, 35, 40, 45, 50, 55], [60, 65, 70, 75, 80, 85]]
    assert source.errors == 10
    assert feed.lost_seconds == pytest.approx(10 / 30)
    assert str(feed.losses[0]) == "0.333 s lost at 0.667 s: 10 frames failed to decode"


def test_frames_that_fail_at_the_end_are_lost_but_the_stream_keeps_its_length(tmp_path):
    path = damage_frames(make_video(tmp_path / "v.mp4", frames=60, gop=15, b_frames=0), 45, 59)
    feed = FrameFeed(FrameSchedule(0, 2, 2), VideoFrames(path))
    assert [[number_in(frame) for frame in chunk.frames] for chunk in feed] == [[0, 15], [30, 44]]
    assert feed.lost_seconds == pytest.approx(0.5)


def test_a_damaged_opening_shows_nothing_from_a_later_second(tmp_path):
    path = damage_frames(make_video(tmp_path / "v.mp4", frames=90, gop=15, b_frames=0), 0, 44)
    feed = FrameFeed(FrameSchedule(0, 3, 2), VideoFrames(path))
    shown = [[number_in(frame) for frame in chunk.frames] for chunk in feed]
    assert shown == [[], [45, 45], [60, 75]]
    assert feed.lost_seconds == pytest.approx(1.5)
    assert feed.violations == ()


def test_a_video_of_which_nothing_decodes_is_unreadable(tmp_path):
    path = damage_frames(make_video(tmp_path / "v.mp4", frames=30), 0, 29)
    with pytest.raises(VideoError, match="no frame of it decodes") as caught:
        VideoFrames(path)
    assert caught.value.reason == "unreadable"


def test_a_download_that_broke_off_plays_to_where_it_broke(tmp_path):
    path = index_first(make_video(tmp_path / "v.mp4", frames=120, gop=15, b_frames=0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    feed = FrameFeed(FrameSchedule(0, 4, 2), VideoFrames(path))
    shown = [number_in(frame) for chunk in feed for frame in chunk.frames]
    assert 0 < len(shown) < 8
    assert shown[: len(shown) - 1] == [15 * k for k in range(len(shown) - 1)]
    assert 0.5 < feed.lost_seconds < 4
    assert "the stream was to end at 4.000 s" in str(feed.losses[-1])


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
def test_whatever_bytes_are_damaged_a_stream_ends_in_frames_or_in_one_line(tmp_path, name):
    whole = make_video(tmp_path / name).read_bytes()
    noise = np.random.default_rng(7)
    path = tmp_path / f"damaged-{name}"
    for case in range(24):
        data = bytearray(whole)
        at = int(noise.integers(1, len(data)))
        if case % 3 == 0:
            data = data[:at]
        elif case % 3 == 1:
            data[at : at + 200] = noise.bytes(200)
        else:
            for place in noise.integers(0, len(data), 30):
                data[place] ^= 0xFF
        path.write_bytes(bytes(data))
        told, frames, feed = "", 0, None
        try:
            feed = FrameFeed(FrameSchedule(0.5, 2, 4), VideoFrames(path, (48, 32)))
            frames = sum(len(chunk.frames) for chunk in feed)
        except DecodeError as error:
            told = str(error)
        assert "\n" not in told
        assert told or frames == 6 or feed.lost_seconds > 0
