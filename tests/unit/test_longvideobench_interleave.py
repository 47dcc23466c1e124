"""LongVideoBench's order of frames and subtitles, against hand-worked cases of the official loader's rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.tasks.subtitles import Subtitle, parse_json_subtitles
from evalkit_tasks.longvideobench.interleave import all_texts, interleave, interleaved_texts


def test_a_text_stands_after_the_frames_up_to_its_middle():
    subtitles = [Subtitle(0.0, 3.0, "a"), Subtitle(3.0, 7.0, "b")]
    # middles 1.5 and 5.0; a frame at the middle itself comes first
    assert interleave([0.0, 1.5, 2.0, 5.0, 6.0], subtitles, 0.0, 8.0) == [0, 1, "a", 2, 3, "b", 4]


def test_subtitle_times_are_shifted_by_the_clips_start():
    assert interleave([0.0, 1.0, 2.0], [Subtitle(100.5, 102.5, "a")], 100.0, 3.0) == [0, 1, "a", 2]


def test_a_text_needs_a_frame_strictly_inside():
    edges = [Subtitle(1.0, 3.0, "edges only")]
    assert interleave([1.0, 3.0], edges, 0.0, 5.0) == [0, 1]
    assert interleave([1.0, 2.5, 3.0], edges, 0.0, 5.0) == [0, "edges only", 1, 2]


def test_a_short_subtitle_is_widened_to_one_second_about_its_middle():
    short = [Subtitle(2.0, 2.2, "short")]
    assert interleave([1.7], short, 0.0, 5.0) == [0, "short"]
    assert interleave([1.6], short, 0.0, 5.0) == [0]  # 2.1 - 0.5 is not below 1.6
    assert interleave([2.5], short, 0.0, 5.0) == ["short", 0]


def test_a_whole_number_end_counts_as_missing_only_in_the_faithful_rule():
    rows = [{"timestamp": [1.0, 3], "text": "a"}]
    subtitles, _ = parse_json_subtitles(rows, "x.json")
    frames = [0.0, 2.5, 4.0, 9.0]
    # faithful: end = duration 10, middle 5.5; mended: end 3, middle 2
    assert interleave(frames, subtitles, 0.0, 10.0) == [0, 1, 2, "a", 3]
    assert interleave(frames, subtitles, 0.0, 10.0, rule="mended") == [0, "a", 1, 2, 3]


def test_a_missing_end_is_shifted_too_in_the_faithful_rule():
    subtitles = [Subtitle(104.0, None, "open", "timestamp")]
    frames = [1.0, 5.0, 8.0]
    # faithful: end = 10 - 100, so the middle is -43 and the widened span [-43.5, -42.5] holds no frame
    assert interleave(frames, subtitles, 100.0, 10.0) == [0, 1, 2]
    assert interleave(frames, subtitles, 100.0, 10.0, rule="mended") == [0, 1, "open", 2]


def test_subtitles_keep_the_files_order_even_where_times_go_back():
    subtitles = [Subtitle(4.0, 6.0, "late"), Subtitle(0.0, 2.0, "early")]
    assert interleave([1.0, 5.0, 7.0], subtitles, 0.0, 8.0) == [0, 1, "late", "early", 2]


def test_no_frames_and_no_subtitles():
    assert interleave([], [Subtitle(0.0, 2.0, "a")], 0.0, 8.0) == []
    assert interleave([0.0, 1.0], [], 0.0, 8.0) == [0, 1]
    assert all_texts([Subtitle(0.0, 2.0, "a"), Subtitle(0.0, None, "b")]) == ["a", "b"]


def _as_published(frame_times, rows, offset, duration):
    """The loader's rule written out frame by frame, for comparison."""
    items, at = [], 0
    for row in rows:
        start, end = row["timestamp"]
        end = end if isinstance(end, float) else duration
        start, end = start - offset, end - offset
        middle = (start + end) / 2
        for time in frame_times[at:]:
            if time > middle:
                break
            items.append(at)
            at += 1
        if end - start < 1:
            start, end = middle - 0.5, middle + 0.5
        if any(start < time < end for time in frame_times):
            items.append(row["text"])
    return items + list(range(at, len(frame_times)))


TENTHS = st.integers(0, 400).map(lambda tenths: tenths / 10)
ROWS = st.lists(
    st.tuples(TENTHS, st.one_of(TENTHS, st.integers(0, 50), st.none())).map(
        lambda pair: (pair[0], pair[1] if pair[1] is None else pair[0] + pair[1])
    ),
    max_size=12,
)


@given(st.lists(TENTHS, max_size=20, unique=True).map(sorted), ROWS, st.sampled_from([0.0, 7.5]), TENTHS)
def test_the_faithful_rule_is_the_loaders_for_any_file(frame_times, times, offset, duration):
    rows = [{"timestamp": list(pair), "text": f"t{i}"} for i, pair in enumerate(times)]
    subtitles, problems = parse_json_subtitles(rows, "x.json")
    assert problems == ()
    assert interleave(frame_times, subtitles, offset, duration) == _as_published(
        frame_times, rows, offset, duration
    )


@pytest.mark.parametrize("rule", ["faithful", "mended"])
@given(st.lists(TENTHS, max_size=20, unique=True).map(sorted), ROWS)
def test_timed_texts_merge_into_the_same_order(rule, frame_times, times):
    subtitles = [Subtitle(start, end, f"t{i}", "timestamp") for i, (start, end) in enumerate(times)]
    merged, at = [], 0
    for time, text in interleaved_texts(frame_times, subtitles, 0.0, 30.0, rule=rule):
        while at < len(frame_times) and frame_times[at] <= time:
            merged.append(at)
            at += 1
        merged.append(text)
    merged += range(at, len(frame_times))
    assert merged == interleave(frame_times, subtitles, 0.0, 30.0, rule=rule)
