from fractions import Fraction

import numpy as np
import pytest

from evalkit.errors import CausalityError, DecodeError, UsageError
from evalkit.stream import Chunk, FrameBatch, FrameFeed, FrameSchedule, SecondsLost, SeenFrames


class PaintedSeconds:
    """A source whose frame at time t has the value 10 t everywhere; ends where it is told to."""

    def __init__(self, ends_at=None, leak=Fraction(0), stop_after=None):
        self.ends_at = None if ends_at is None else Fraction(ends_at)
        self.leak = leak
        self.stop_after = stop_after
        self.asked = []
        self.closed = 0

    def frames(self, ticks):
        try:
            for tick in ticks:
                if self.stop_after is not None and len(self.asked) >= self.stop_after:
                    return
                self.asked.append(tick.index)
                end = self.ends_at
                times = [t for t in tick.frame_times if end is None or t < end]
                over = end is not None and (len(times) < len(tick.frame_times) or tick.start >= end)
                pixels = np.array([np.full((2, 3, 3), int(10 * t)) for t in times], np.uint8)
                yield FrameBatch(
                    pixels.reshape(-1, 2, 3, 3),
                    tuple(t + self.leak for t in times),
                    ended_at=end if over else None,
                )
                if over:
                    return
        finally:
            self.closed += 1

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


class LookingAhead:
    """A model that tries to see the next second before it answers."""

    def __init__(self, seen: SeenFrames):
        self.seen = seen
        self.got = []

    def observe(self, chunk: Chunk):
        try:
            self.got.append(self.seen.frames_at([chunk.tick.end + Fraction(1, 2)]))
        except CausalityError:
            self.got.append(None)


def test_ticks_come_in_order_with_their_frames_and_the_time_moves_to_their_end():
    feed = FrameFeed(FrameSchedule(2, 5, 2), PaintedSeconds())
    assert feed.now == 2
    seen = [(c.tick.index, c.times, c.frames[:, 0, 0, 0].tolist(), feed.now) for c in feed]
    half = Fraction(1, 2)
    assert seen == [
        (0, (2, 2 + half), [20, 25], 3),
        (1, (3, 3 + half), [30, 35], 4),
        (2, (4, 4 + half), [40, 45], 5),
    ]
    assert feed.losses == ()


def test_a_model_that_tries_to_look_ahead_gets_nothing_and_leaves_a_record():
    feed = FrameFeed(FrameSchedule(0, 3, 2), PaintedSeconds())
    model = LookingAhead(feed.seen)
    for chunk in feed:
        model.observe(chunk)
    assert model.got == [None, None, None]
    assert [(v.asked, v.now) for v in feed.violations] == [(1.5, 1.0), (2.5, 2.0), (3.5, 3.0)]


def test_one_time_ahead_among_many_refuses_the_whole_request():
    feed = FrameFeed(FrameSchedule(0, 3, 2), PaintedSeconds())
    next(feed)
    with pytest.raises(CausalityError, match=r"1\.001 s were asked for when the stream had reached 1\.000 s"):
        feed.frames_at([0, 0.5, 1.001])
    assert len(feed.violations) == 1


def test_before_the_first_tick_even_the_start_is_the_future():
    feed = FrameFeed(FrameSchedule(4, 6, 2), PaintedSeconds())
    with pytest.raises(CausalityError):
        feed.frames_at([4.5])
    with pytest.raises(UsageError, match="no frame has been delivered"):
        feed.frames_at([4])


def test_delivered_frames_can_be_asked_for_while_they_are_kept():
    feed = FrameFeed(FrameSchedule(0, 5, 2), PaintedSeconds(), keep_chunks=2)
    for _ in range(3):
        next(feed)
    assert feed.frames_at([1, 1.7, 2.5, 3])[:, 0, 0, 0].tolist() == [10, 15, 25, 25]
    with pytest.raises(UsageError, match="no longer kept"):
        feed.frames_at([0.5])
    assert feed.violations == ()


def test_a_source_that_leaks_a_later_picture_is_refused_and_recorded():
    feed = FrameFeed(FrameSchedule(0, 3, 2), PaintedSeconds(leak=Fraction(3, 4)))
    with pytest.raises(CausalityError):
        next(feed)
    assert feed.violations[0].asked == 1.25


def test_a_resumed_feed_goes_on_at_its_tick_and_decodes_nothing_before_it():
    source = PaintedSeconds()
    feed = FrameFeed(FrameSchedule(0, 100, 2), source)
    feed.skip_to(60)
    assert feed.now == 60
    assert next(feed).times[0] == 60
    assert source.asked == [60]
    feed.skip_to(98)
    assert [chunk.tick.index for chunk in feed] == [98, 99]
    assert source.closed == 2
    with pytest.raises(UsageError, match="cannot skip"):
        feed.skip_to(3)


def test_a_finished_stream_can_be_skipped_to_its_end():
    feed = FrameFeed(FrameSchedule(0, 3, 2), PaintedSeconds())
    feed.skip_to(3)
    assert list(feed) == []
    assert feed.now == 3


def test_material_that_ends_early_ends_the_stream_and_tells_the_seconds_lost():
    feed = FrameFeed(FrameSchedule(0, 10, 2), PaintedSeconds(ends_at="4.3"))
    chunks = list(feed)
    assert [len(chunk.frames) for chunk in chunks] == [2, 2, 2, 2, 1]
    assert feed.lost_seconds == pytest.approx(5.7)
    assert feed.losses == (SecondsLost(Fraction(43, 10), Fraction(10), feed.losses[0].reason),)
    assert "ends at 4.300 s" in str(feed.losses[0])


def test_material_that_ends_between_ticks_delivers_no_empty_tick():
    feed = FrameFeed(FrameSchedule(0, 10, 2), PaintedSeconds(ends_at=4))
    assert len(list(feed)) == 4
    assert feed.lost_seconds == 6
    assert list(feed) == []


def test_material_that_ends_after_the_last_frame_wanted_has_lost_nothing():
    feed = FrameFeed(FrameSchedule(0, 5, 2), PaintedSeconds(ends_at="4.9"))
    assert len(list(feed)) == 5
    assert feed.losses == ()


def test_material_that_ends_before_the_stream_begins_is_an_error():
    feed = FrameFeed(FrameSchedule(1000, 1010, 2), PaintedSeconds(ends_at=60))
    with pytest.raises(DecodeError, match=r"ends at 60\.000 s, before the stream's start at 1000\.000 s"):
        next(feed)


def test_a_source_that_just_stops_is_an_error_not_a_shorter_stream():
    feed = FrameFeed(FrameSchedule(0, 5, 2), PaintedSeconds(stop_after=2))
    next(feed)
    next(feed)
    with pytest.raises(DecodeError, match="stopped before tick 2"):
        next(feed)


def test_closing_the_feed_closes_the_source():
    source = PaintedSeconds()
    with FrameFeed(FrameSchedule(0, 5, 2), source) as feed:
        next(feed)
    assert source.closed == 1


def test_ticks_without_frames_are_delivered_empty():
    feed = FrameFeed(FrameSchedule(0, 4, 0.5), PaintedSeconds())
    assert [len(chunk.frames) for chunk in feed] == [1, 0, 1, 0]
