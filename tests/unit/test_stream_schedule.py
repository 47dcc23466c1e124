from fractions import Fraction

import pytest

from evalkit.errors import UsageError
from evalkit.stream import FrameSchedule, exact_seconds


def test_two_frames_a_second_are_at_the_start_and_the_middle_of_each_second():
    schedule = FrameSchedule(1000, 1003, 2)
    assert [tick.frame_seconds for tick in schedule.ticks] == [
        (1000.0, 1000.5),
        (1001.0, 1001.5),
        (1002.0, 1002.5),
    ]
    assert [(t.start_seconds, t.end_seconds) for t in schedule] == [(1000, 1001), (1001, 1002), (1002, 1003)]


def test_a_tick_arrives_at_its_end():
    assert FrameSchedule(0, 5, 1)[3].arrival == 4


def test_a_quarter_frame_a_second_leaves_ticks_without_frames():
    assert [len(tick.frame_times) for tick in FrameSchedule(10, 18, 0.25)] == [1, 0, 0, 0, 1, 0, 0, 0]


def test_one_and_a_half_frames_a_second_alternate_between_two_and_one():
    ticks = FrameSchedule(0, 4, 1.5)
    assert [len(tick.frame_times) for tick in ticks] == [2, 1, 2, 1]
    assert ticks[1].frame_times == (Fraction(4, 3),)


def test_the_last_tick_is_cut_at_the_end_of_the_stream():
    schedule = FrameSchedule(0, 2.4, 5)
    assert len(schedule) == 3
    assert schedule[-1].end == Fraction(12, 5)
    assert schedule[-1].frame_times == (2, Fraction(11, 5))


def test_decimal_notation_is_taken_at_its_word():
    assert exact_seconds(0.1) == Fraction(1, 10)
    assert FrameSchedule(0.1, 1.1, 29.97).fps == Fraction(2997, 100)
    assert FrameSchedule(0, 1, "30000/1001").fps == Fraction(30000, 1001)


def test_nothing_drifts_after_ten_hours():
    tick = FrameSchedule(0, 36_001, "30000/1001")[36_000]
    assert tick.frame_times[0] >= 36_000
    assert all((time * Fraction(30000, 1001)).denominator == 1 for time in tick.frame_times)


def test_a_slice_gives_ticks_and_an_index_beyond_the_end_is_an_error():
    schedule = FrameSchedule(0, 10, 2)
    assert [tick.index for tick in schedule[8:]] == [8, 9]
    with pytest.raises(IndexError):
        schedule[10]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 10, 0.09), "fps"),
        ((0, 10, 30.1), "fps"),
        ((0, 10, 2, 0), "chunk_seconds"),
        ((-1, 10, 2), "start"),
        ((10, 10, 2), "end"),
        ((0, float("nan"), 2), "finite"),
        ((0, float("inf"), 2), "finite"),
        (("soon", 1, 2), "finite"),
    ],
)
def test_values_outside_their_range_are_wrong_use(arguments, words):
    with pytest.raises(UsageError, match=words):
        FrameSchedule(*arguments)


def test_a_time_outside_the_stream_has_no_tick():
    with pytest.raises(UsageError, match="outside"):
        FrameSchedule(5, 10, 2).tick_at(4.9)
