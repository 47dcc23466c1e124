"""LongVideoBench's files in the published layout: what is loaded, what is named, what fails alone."""

import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from evalkit.errors import DataError, UsageError
from evalkit.video import write_mp4
from evalkit_tasks.longvideobench import LongVideoBenchSettings, task
from evalkit_tasks.longvideobench.data import frame_times
from tests.growth import LINEAR, growth


def row(video="86CxyhFV9MI", number=0, **changes):
    fields = {
        "video_id": video,
        "question": f"What happens in part {number}?",
        "question_wo_referring_query": "What happens?",
        "candidates": ["red", "blue", "green", "white"],
        "correct_choice": 1,
        "position": [1, 2],
        "topic_category": "NP-News-Programs",
        "question_category": "S2E",
        "level": "L1-Perception",
        "id": f"{video}_{number}",
        "video_path": f"{video}.mp4",
        "subtitle_path": f"{video}_en.json",
        "duration_group": 15,
        "starting_timestamp_for_subtitles": 100,
        "duration": 10.0,
        "view_count": 5,
    }
    return {**fields, **changes}


def write(folder, rows, name="lvb_val.json"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(rows))
    return folder


def video(path, seconds=4, fps=5):
    path.parent.mkdir(exist_ok=True)
    frames = [np.full((16, 16, 3), 10 * i % 255, np.uint8) for i in range(seconds * fps)]
    write_mp4(path, frames, fps=fps)


def load(folder, **settings):
    return task.load(folder, LongVideoBenchSettings(**settings))


def test_streaming_gives_one_sample_per_clip_with_all_its_questions_at_its_end(tmp_path):
    data = load(write(tmp_path / "d", [row(number=0), row("other"), row(number=1)]))
    assert [sample.id for sample in data.samples] == ["86CxyhFV9MI", "other"]
    first = data.samples[0]
    assert (first.start, first.end, first.fps) == (0.0, 10.0, 1.0)
    assert [(query.id, query.at, query.answer) for query in first.queries] == [
        ("86CxyhFV9MI_0", 10.0, "B"),
        ("86CxyhFV9MI_1", 10.0, "B"),
    ]
    assert first.queries[0].tags["task"] == "S2E"
    assert first.video == tmp_path / "d" / "videos" / "86CxyhFV9MI.mp4"


def test_official_gives_one_sample_per_question_with_its_frame_rule(tmp_path):
    folder = write(tmp_path / "d", [row(number=0), row(number=1)])
    data = load(folder, protocol="official")
    assert [sample.id for sample in data.samples] == ["86CxyhFV9MI_0", "86CxyhFV9MI_1"]
    assert data.samples[0].tags["frames"] == "lvb-64"
    assert data.samples[0].queries[0].prompt.startswith("Question: What happens")
    other = load(folder, protocol="official", frames="vlmeval-fps-1").samples[0].queries[0].prompt
    assert other.startswith("What happens")
    with pytest.raises(UsageError, match="did you mean 'lvb-64'"):
        load(folder, protocol="official", frames="lvb-46")


def test_the_hidden_test_set_loads_without_gold(tmp_path):
    rows = [{k: v for k, v in row().items() if k != "correct_choice"}]
    data = load(write(tmp_path / "d", rows, "lvb_test_wo_gt.json"), split="test")
    assert data.samples[0].queries[0].answer is None
    assert data.facts["gold"] == "hidden"


def test_the_parquet_form_gives_the_same_questions(tmp_path):
    rows = [row(candidates=["red", "blue"]), row("other", candidates=["a", "b", "c", "d", "e"], correct_choice=4)]
    flat = []
    for one in rows:
        options = one["candidates"] + ["N/A"] * (5 - len(one["candidates"]))
        rest = {k: v for k, v in one.items() if k not in ("candidates", "level", "position")}
        flat.append({**rest, **{f"option{i}": option for i, option in enumerate(options)}})
    (tmp_path / "p").mkdir()
    table = pyarrow.Table.from_pylist(flat)
    pyarrow.parquet.write_table(table, tmp_path / "p" / "validation-00000-of-00001.parquet")
    from_parquet = load(tmp_path / "p")
    from_json = load(write(tmp_path / "j", rows))
    assert [s.queries for s in from_parquet.samples] == [s.queries for s in from_json.samples]
    assert from_parquet.revision != from_json.revision


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"correct_choice": 4}, "correct_choice"),
        ({"correct_choice": -2}, "correct_choice"),
        ({"correct_choice": None}, "correct_choice"),
        ({"candidates": ["one"]}, "candidates"),
        ({"candidates": "red, blue"}, "candidates"),
        ({"duration": float("nan")}, "duration"),
        ({"duration": 0}, "duration"),
        ({"duration": "10"}, "duration"),
        ({"duration_group": 30}, "duration_group"),
        ({"question_category": "XXX"}, "question_category"),
        ({"question": ""}, "question"),
        ({"video_path": "../../etc/passwd"}, "video_path"),
        ({"video_path": "/abs.mp4"}, "video_path"),
        ({"subtitle_path": "..\\up.json"}, "subtitle_path"),
        ({"id": 5}, "id"),
    ],
)
def test_a_bad_row_is_named_by_file_row_and_field_and_fails_alone(tmp_path, changes, field):
    data = load(write(tmp_path / "d", [row("good"), row("bad", **changes), row("fine")]))
    assert [sample.id for sample in data.samples] == ["good", "fine"]
    found = [p for p in data.problems if p.kind == "bad-row"]
    assert [(p.file, p.line, (p.field or "").split(".")[0]) for p in found] == [("lvb_val.json", 2, field)]


def test_a_row_that_is_no_object_is_named(tmp_path):
    data = load(write(tmp_path / "d", [row("good"), 7]))
    assert [(p.kind, p.line) for p in data.problems if p.kind == "bad-row"] == [("bad-row", 2)]


def test_duplicates_and_missing_videos_are_named(tmp_path):
    folder = write(tmp_path / "d", [row(), row(), row(number=3, question="What happens in part 0?")])
    data = load(folder)
    kinds = [(p.kind, p.line, p.item) for p in data.problems]
    assert ("duplicate", 2, "86CxyhFV9MI_0") in kinds
    assert ("duplicate-question", 3, "86CxyhFV9MI_3") in kinds
    assert [p.item for p in data.problems if p.kind == "missing-video"] == ["86CxyhFV9MI"]
    assert len(data.samples[0].queries) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}', "holds no list"),
        (b"[{", "not valid JSON"),
        ("[{'café'}]".encode("latin-1"), "not UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content, message):
    (tmp_path / "lvb_val.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_an_empty_folder_says_what_to_get_and_anothers_folder_says_whose_it_is(tmp_path):
    with pytest.raises(DataError, match=r"lvb_val\.json.*longvideobench/LongVideoBench"):
        load(tmp_path)
    (tmp_path / "ovo_bench_new.json").write_text("[]")
    with pytest.raises(DataError, match="holds ovobench data"):
        load(tmp_path)


SUBTITLES = [
    {"timestamp": [100.5, 101.5], "text": "one"},
    {"timestamp": [102.0, 103], "text": "two"},
    {"start": "00:01:43.000", "end": "00:01:43.800", "line": "three"},
]


@pytest.fixture
def spoken(tmp_path):
    folder = write(tmp_path / "d", [row(duration=4.0)])
    video(folder / "videos" / "86CxyhFV9MI.mp4")
    write(folder / "subtitles", SUBTITLES, "86CxyhFV9MI_en.json")
    return folder


def test_streaming_gives_each_subtitle_when_it_has_been_said(spoken):
    sample = load(spoken, subtitles=True).samples[0]
    assert sample.texts == ((1.5, "one"), (3.0, "two"), (pytest.approx(3.8), "three"))
    assert load(spoken).samples[0].texts == ()


def test_official_interleaves_subtitles_with_the_frames_shown(spoken):
    # 4 frames at 0, 1, 2, 3 s; a whole end counts as missing: two ends at 4 - 100 s, so no frame is in it
    sample = load(spoken, protocol="official", subtitles=True).samples[0]
    assert frame_times("lvb-64", 4.0, 5.0) == (0.0, 1.0, 2.0, 3.0)
    assert sample.texts == ((1.0, "one"), (3.0, "three"))
    mended = load(spoken, protocol="official", subtitles=True, subtitle_rule="mended").samples[0]
    assert [text for _, text in mended.texts] == ["one", "three"]  # two: no frame strictly between 2 and 3 s


def test_check_counts_and_names_what_is_missing_or_unreadable(spoken):
    rows = [row(duration=4.0), row("gone", question_category="TAA", duration_group=60), row("broken")]
    write(spoken, rows)
    (spoken / "videos" / "broken.mp4").write_bytes(b"no video at all")
    write(spoken / "subtitles", [{"timestamp": [3.0, 1.0], "text": "x"}], "broken_en.json")
    report = task.check(spoken)
    assert report.counts == {"val": 3, "val/S2E": 2, "val/TAA": 1, "val/duration_15": 2, "val/duration_60": 1}
    assert report.videos == 3
    assert {(p.kind, p.file) for p in report.problems} == {
        ("missing-video", "gone.mp4"),
        ("unreadable-video", "broken.mp4"),
        ("missing-subtitles", "gone_en.json"),
        ("bad-subtitle", "broken_en.json"),
    }


def test_loading_and_checking_grow_in_proportion_to_the_questions(tmp_path):
    def read(count):
        folder = write(tmp_path / str(count), [row(f"v{i // 2:05d}", i % 2) for i in range(count)])

        def load_and_check():
            assert len(load(folder).samples) == count // 2
            assert task.check(folder).videos == count // 2

        return load_and_check

    assert growth(read, 300) < LINEAR
