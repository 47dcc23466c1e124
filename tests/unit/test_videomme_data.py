"""Video-MME's files in the published layout: what is loaded, what is named, what fails alone."""

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from evalkit.errors import DataError, UsageError
from evalkit.stream import Elicitation
from evalkit.video import write_mp4
from evalkit_tasks.videomme import VideoMmeSettings, task
from tests.growth import LINEAR, growth


def rows(number=1, duration="short", **changes):
    return [
        {
            "video_id": f"{number:03d}",
            "duration": duration,
            "domain": "Knowledge",
            "sub_category": "Astronomy",
            "url": "https://www.youtube.com/watch?v=x",
            "videoID": f"yt{number}",
            "question_id": f"{number:03d}-{k}",
            "task_type": "OCR Problems",
            "question": f"What is seen, {k}?",
            "options": ["A. One.", "B. Two.", "C. Three.", "D. Four."],
            "answer": "C",
            **changes,
        }
        for k in (1, 2, 3)
    ]


def write(folder, content):
    (folder / "videomme").mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(content)
    pyarrow.parquet.write_table(table, folder / "videomme" / "test-00000-of-00001.parquet")
    return folder


def video(folder, name, seconds=4, fps=5):
    (folder / "data").mkdir(exist_ok=True)
    frames = [np.full((16, 16, 3), 10 * i % 255, np.uint8) for i in range(seconds * fps)]
    write_mp4(folder / "data" / f"{name}.mp4", frames, fps=fps)


def load(folder, **settings):
    return task.load(folder, VideoMmeSettings(**settings))


@pytest.fixture
def data(tmp_path):
    folder = write(tmp_path / "d", rows(1) + rows(2, "long"))
    video(folder, "yt1")
    video(folder, "yt2", seconds=6)
    (folder / "data" / "yt2.mp4").rename(folder / "data" / "yt2.MP4")
    (folder / "subtitle").mkdir()
    (folder / "subtitle" / "yt1.srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,500\n<b>Hello</b>\n\n2\n00:00:03,900 --> 00:00:03,950\nunseen\n"
    )
    return folder


def kinds(problems):
    return [p.kind for p in problems if p.kind != "data-version"]


def test_streaming_gives_one_sample_per_video_with_three_questions_at_its_end(data):
    loaded = load(data)
    assert [(s.id, s.start, s.end, len(s.queries)) for s in loaded.samples] == [
        ("001", 0.0, 4.0, 3),
        ("002", 0.0, 6.0, 3),
    ]
    assert loaded.samples[1].video.name == "yt2.MP4"
    query = loaded.samples[0].queries[2]
    assert (query.id, query.at, query.answer, query.kind) == ("001-3", 4.0, "C", "choice")
    assert query.tags["task"] == "OCR Problems"
    assert kinds(loaded.problems) == []


def test_official_asks_each_question_by_itself(data):
    loaded = load(data, protocol="official")
    assert [s.id for s in loaded.samples] == ["001-1", "001-2", "001-3", "002-1", "002-2", "002-3"]
    assert loaded.samples[0].tags["frames"] == "uniform-64"
    assert loaded.samples[0].queries[0].prompt.endswith("\nThe best answer is:")
    assert loaded.samples[0].queries[0].elicitation == Elicitation()
    vlmeval = load(data, protocol="official", frames="vlmeval-fps-1").samples[0].queries[0].prompt
    assert vlmeval.endswith("\nAnswer: ")
    with pytest.raises(UsageError, match="no frame rule 'uniform64'; did you mean 'uniform-64'"):
        load(data, protocol="official", frames="uniform64")


def test_logit_compares_the_four_letters_as_livecc_does(data):
    sample = load(data, protocol="logit").samples[0]
    assert sample.tags["frames"] == "ovo-logit"
    assert sample.queries[0].elicitation == Elicitation(options=("A", "B", "C", "D"), lead=": ", prefix="Answer:")
    assert sample.queries[0].prompt == (
        "What is seen, 1?\nA. One.\nB. Two.\nC. Three.\nD. Four.\nPlease select the correct answer."
    )


def test_subtitles_are_those_of_the_shown_frames_or_come_at_their_times(data):
    official = load(data, protocol="official", frames="fps-1", subtitles=True).samples
    assert (
        official[0]
        .queries[0]
        .prompt.startswith("This video's subtitles are listed below:\nHello\nSelect the best")
    )
    assert official[3].queries[0].prompt.startswith("Select the best")
    assert official[0].texts == ()
    streaming = load(data, subtitles=True).samples
    assert streaming[0].texts == ((1.5, "Hello"), (3.95, "unseen"))
    assert "subtitles" not in streaming[0].queries[0].prompt
    assert streaming[1].texts == ()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"answer": "E"}, "answer"),
        ({"options": ["A. One.", "B. Two.", "C. Three."]}, "options"),
        ({"options": ["A. One.", "B. Two.", "D. Three.", "C. Four."]}, "options"),
        ({"duration": "middle"}, "duration"),
        ({"domain": "Astronomy"}, "domain"),
        ({"sub_category": "Knowledge"}, "sub_category"),
        ({"task_type": "Guessing"}, "task_type"),
        ({"videoID": "../secret"}, "videoID"),
        ({"question": ""}, "question"),
    ],
)
def test_a_bad_row_is_named_by_file_row_and_field_and_fails_alone(tmp_path, changes, field):
    content = rows(1)
    content[1].update(changes)
    loaded = load(write(tmp_path, content))
    assert [q.id for q in loaded.samples[0].queries] == ["001-1", "001-3"]
    bad = [p for p in loaded.problems if p.kind == "bad-row"]
    assert [(p.file, p.line, p.field, p.item) for p in bad] == [("test-00000-of-00001.parquet", 2, field, "001-2")]


def test_doubtful_rows_and_videos_are_named(tmp_path):
    content = [*rows(1), rows(1)[0], *rows(2)[:2]]
    content[1]["domain"] = "Life Record"
    content[2]["question"] = content[0]["question"]
    loaded = load(write(tmp_path, content))
    assert [(p.kind, p.line) for p in loaded.problems if p.line is not None] == [
        ("duplicate-question", 3),
        ("duplicate", 4),
        ("video-disagrees", 2),
        ("question-count", 5),
    ]
    assert kinds(loaded.problems)[4:] == ["missing-video", "missing-video"]
    assert [p.kind for p in loaded.problems].count("data-version") == 1


def test_a_video_that_cannot_be_opened_keeps_its_questions_and_is_named(data):
    (data / "data" / "yt2.MP4").write_bytes(b"nothing")
    loaded = load(data)
    assert loaded.samples[1].end == 3600.0
    assert kinds(loaded.problems) == ["unreadable-video"]


def test_check_counts_rows_videos_and_subtitles(data):
    (data / "data" / "yt1.mp4").unlink()
    report = task.check(data)
    assert report.counts["questions"] == 6
    assert report.counts["OCR Problems"] == 6
    assert report.counts["duration/long"] == 3
    assert report.videos == 2
    assert report.facts["videos_with_subtitles"] == 1
    assert kinds(report.problems) == ["missing-video"]


def test_other_folders_are_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"has no videomme/test-00000.*lmms-lab/Video-MME"):
        load(tmp_path)
    (tmp_path / "lvb_val.json").write_text("[]")
    with pytest.raises(DataError, match="holds longvideobench data"):
        load(tmp_path)


def test_a_broken_parquet_file_is_refused(tmp_path):
    (tmp_path / "test-00000-of-00001.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="no parquet file"):
        load(tmp_path)


def test_loading_and_checking_grow_in_proportion_to_the_questions(tmp_path):
    def read(videos):
        folder = tmp_path / str(videos)
        folder.mkdir()
        write(folder, [row for number in range(videos) for row in rows(number)])

        def load_and_check():
            assert len(load(folder).samples) == videos
            assert task.check(folder).videos == videos

        return load_and_check

    assert growth(read, 100) < LINEAR
