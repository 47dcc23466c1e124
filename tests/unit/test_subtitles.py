"""Subtitle files: what is read, what fails alone, what is shown when."""

import json
import math

import pytest

from evalkit.tasks.subtitles import (
    Subtitle,
    clock_seconds,
    frame_subtitles,
    parse_json_subtitles,
    parse_srt,
    plain_text,
    read_subtitles,
    timed_texts,
)

SRT = (
    '1\n00:00:00,000 --> 00:00:02,500\n<font color="white" size=".72c">Hello there</font>\n\n'
    "2\n00:00:02,500 --> 00:00:04,000\nsecond\nline\n\n"
    "3\n01:00:00.250 --> 01:00:01.000\n\n"
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:00:01.500", 1.5), ("01:02:03,250", 3723.25), ("100:00:00.0", 360000.0)]
)
def test_a_clock_time_becomes_seconds(text, seconds):
    assert clock_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "1.5", "00:61:00.0", "00:00:75.0", "00:00", "aa:00:00.0", "-1:00:00.0"])
def test_what_is_no_clock_time_is_refused(text):
    with pytest.raises(ValueError, match="HH:MM:SS"):
        clock_seconds(text)


@pytest.mark.parametrize("content", [SRT, SRT.replace("\n", "\r\n"), "\ufeff" + SRT])
def test_an_srt_file_is_read_whatever_its_line_ends(content):
    subtitles, problems = parse_srt(content, "a.srt")
    assert problems == ()
    assert [(s.start, s.end) for s in subtitles] == [(0.0, 2.5), (2.5, 4.0), (3600.25, 3601.0)]
    assert plain_text(subtitles[0].text) == "Hello there"
    assert subtitles[1].text == "second line"
    assert subtitles[2].text == ""


def test_blank_lines_inside_a_block_and_missing_counters_do_not_lose_text():
    subtitles, problems = parse_srt(
        "00:00:00,000 --> 00:00:01,000\none\n\nmore\n2\n00:00:01,000 --> 00:00:02,000\ntwo", "a.srt"
    )
    assert [s.text for s in subtitles] == ["one more", "two"]
    assert problems == ()


def test_a_bad_srt_block_is_named_by_its_line_and_fails_alone():
    subtitles, problems = parse_srt(SRT.replace("00:00:04,000", "00:00:01,000"), "a.srt")
    assert len(subtitles) == 2
    assert [(p.file, p.line, p.field) for p in problems] == [("a.srt", 6, "time")]


def test_a_file_without_times_is_a_problem_and_an_empty_one_is_not():
    assert [p.kind for p in parse_srt("hello", "a.srt")[1]] == ["bad-subtitle"]
    assert parse_srt("\n\n", "a.srt") == ((), ())


def test_both_json_forms_are_read_also_mixed():
    rows = [
        {"timestamp": [1.5, 3.0], "text": "a"},
        {"timestamp": [3, 5], "text": "b"},
        {"timestamp": [5.0, None], "text": "c"},
        {"start": "00:00:06.000", "end": "00:00:07.500", "line": "d"},
    ]
    subtitles, problems = parse_json_subtitles(rows, "x.json")
    assert problems == ()
    assert subtitles == (
        Subtitle(1.5, 3.0, "a", "timestamp"),
        Subtitle(3.0, 5.0, "b", "timestamp", whole_end=True),
        Subtitle(5.0, None, "c", "timestamp"),
        Subtitle(6.0, 7.5, "d", "clock"),
    )


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"timestamp": [float("nan"), 1.0], "text": "a"}, "timestamp"),
        ({"timestamp": [10**400, 1.0], "text": "a"}, "timestamp"),
        ({"timestamp": [2.0, 1.0], "text": "a"}, "timestamp"),
        ({"timestamp": [1.0], "text": "a"}, "timestamp"),
        ({"timestamp": [True, 2.0], "text": "a"}, "timestamp"),
        ({"timestamp": [1.0, 2.0]}, "text"),
        ({"start": "1.0", "end": "00:00:02.0", "line": "x"}, "start"),
        ({"start": "00:00:01.0", "line": "x"}, "end"),
        ({"start": "00:00:01.0", "end": "00:00:02.0", "line": 5}, "line"),
        ("text", None),
    ],
)
def test_a_bad_json_row_is_named_by_index_and_field_and_fails_alone(row, field):
    good = {"timestamp": [0.0, 1.0], "text": "ok"}
    subtitles, problems = parse_json_subtitles([good, row, good], "x.json")
    assert [s.text for s in subtitles] == ["ok", "ok"]
    assert [(p.kind, p.line, p.field) for p in problems] == [("bad-subtitle", 2, field)]


def test_files_that_cannot_be_read_are_problems(tmp_path):
    latin = tmp_path / "latin.srt"
    latin.write_bytes("00:00:00,000 --> 00:00:01,000\ncafé".encode("latin-1"))
    broken = tmp_path / "broken.json"
    broken.write_text('[{"timestamp":')
    table = tmp_path / "object.json"
    table.write_text("{}")
    kinds = {p.name: read_subtitles(p)[1][0].kind for p in (latin, broken, table, tmp_path / "gone.srt")}
    assert kinds == {
        "latin.srt": "not-utf8",
        "broken.json": "bad-subtitle",
        "object.json": "bad-subtitle",
        "gone.srt": "missing-subtitles",
    }


def test_files_are_read_by_their_ending(tmp_path):
    (tmp_path / "a.SRT").write_text(SRT)
    (tmp_path / "a.json").write_text(json.dumps([{"timestamp": [0.0, 1.0], "text": "t"}]))
    assert len(read_subtitles(tmp_path / "a.SRT")[0]) == 3
    assert len(read_subtitles(tmp_path / "a.json")[0]) == 1


def test_only_subtitles_of_the_shown_frames_are_selected_once_and_in_order():
    subtitles = [Subtitle(0, 2, "a"), Subtitle(2, 4, "b"), Subtitle(4, 6, "c"), Subtitle(6, None, "d")]
    assert [s.text for s in frame_subtitles(subtitles, [5.0, 1.0, 1.5])] == ["a", "c"]
    assert [s.text for s in frame_subtitles(subtitles, [2.0])] == ["b"]
    assert [s.text for s in frame_subtitles(subtitles, [60.0])] == ["d"]
    assert frame_subtitles(subtitles, []) == ()


def test_a_text_of_a_stream_becomes_known_when_it_has_been_said():
    subtitles = [
        Subtitle(9.0, 10.0, "before"),
        Subtitle(9.5, 11.0, "<i>first</i>"),
        Subtitle(12.0, None, "open"),
        Subtitle(13.0, 99.0, "long"),
        Subtitle(50.0, 51.0, "after"),
        Subtitle(11.0, 11.5, "  "),
    ]
    latest = math.nextafter(20.0, 0.0)
    assert timed_texts(subtitles, offset=10.0, end=20.0) == ((1.0, "first"), (latest, "open"), (latest, "long"))
    assert timed_texts(subtitles, offset=10.0, start=2.0, end=20.0) == ((latest, "open"), (latest, "long"))
