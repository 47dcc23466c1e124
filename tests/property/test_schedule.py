from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from evalkit.stream import FrameSchedule

starts = st.fractions(0, 20_000, max_denominator=1001)
lengths = st.fractions(Fraction(1, 10), 40, max_denominator=100)
rates = st.fractions(Fraction(1, 10), 30, max_denominator=1001)
chunks = st.fractions(Fraction(1, 10), 10, max_denominator=30)


@given(starts, lengths, rates, chunks)
def test_ticks_tile_the_stream_without_gap_or_overlap(start, length, fps, chunk):
    ticks = list(FrameSchedule(start, start + length, fps, chunk))
    assert ticks[0].start == start
    assert ticks[-1].end == start + length
    for one, following in pairwise(ticks):
        assert one.end == following.start
        assert one.end - one.start == chunk
    assert [tick.index for tick in ticks] == list(range(len(ticks)))


@given(starts, lengths, rates, chunks)
def test_frames_are_one_grid_over_the_whole_stream_and_lie_in_their_tick(start, length, fps, chunk):
    schedule = FrameSchedule(start, start + length, fps, chunk)
    times = []
    for tick in schedule:
        assert all(tick.start <= time < tick.end for time in tick.frame_times)
        times += tick.frame_times
    assert len(times) == schedule.frame_count
    assert times == [start + i / fps for i in range(len(times))]
    assert times[-1] < start + length <= start + len(times) / fps


@given(starts, st.integers(1, 30), st.integers(1, 4), st.integers(0, 20_000))
def test_any_tick_of_a_whole_rate_holds_the_same_frames_after_hours(start, fps, chunk, k):
    schedule = FrameSchedule(start, start + 20_001 * chunk, fps, chunk)
    tick = schedule[k]
    assert tick.frame_times == tuple(start + k * chunk + Fraction(j, fps) for j in range(fps * chunk))


@given(starts, lengths, rates, chunks, st.fractions(0, 1))
def test_the_tick_at_a_time_is_the_one_that_covers_it(start, length, fps, chunk, share):
    schedule = FrameSchedule(start, start + length, fps, chunk)
    time = start + share * length
    tick = schedule.tick_at(time)
    assert tick.start <= time
    assert time < tick.end or (time == schedule.end and tick.index == len(schedule) - 1)
