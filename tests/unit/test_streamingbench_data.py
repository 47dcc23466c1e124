"""StreamingBench's loader on made-up files: both data versions, faults, videos, protocols."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from evalkit.errors import DataError, UsageError
from evalkit.stream import Query
from evalkit.tasks import TaskSettings
from evalkit_tasks.streamingbench import SbSettings, prompts, task
from evalkit_tasks.streamingbench.timestamps import BadTime, clock_seconds
from tests.growth import LINEAR, growth

FOUR = ["A. red", "B. blue", "C. green", "D. white"]


def question(**changes: Any) -> dict[str, Any]:
    return {
        **{"task_type": "Object Recognition", "question": "What is it?", "time_stamp": "00:01:30", "answer": "B"},
        **{"options": FOUR, "required_ability": "working memory"},
        **changes,
    }


def entry(*questions: Any, video: str = "sample_1_real", window: str = "[0:00:00 - 0:02:00]") -> dict[str, Any]:
    return {
        **{"time": window, "questions": list(questions), "video_categories": "x"},
        "video_path": f"./videos/{video}.mp4",
    }


def proactive(**changes: Any) -> dict[str, Any]:
    return {
        **{"task_type": "Proactive Output", "question": 'When a goal falls, output "Goal".'},
        **{"time_stamp": "00:00:10", "ground_truth_time_stamp": "00:00:14", "ground_truth_output": "Goal"},
        **changes,
    }


def write(folder: Path, **files: Any) -> Path:
    for name, content in files.items():
        (folder / f"questions_{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def settings(**changes: Any) -> SbSettings:
    return SbSettings.model_validate(changes)


def queries(folder: Path, **changes: Any) -> list[Query]:
    return [query for sample in task.load(folder, settings(**changes)).samples for query in sample.queries]


def sequential(*stamps: str) -> list[dict[str, Any]]:
    asked = [
        question(
            task_type="Sequential Question Answering",
            question=f"Q{i}?",
            time_stamp=stamp,
            options=["w", "x", "y", "z"],
        )
        for i, stamp in enumerate(stamps)
    ]
    return [entry(one, video="sample_1_sqa") for one in asked]


def test_one_video_is_one_stream_with_its_questions_in_order_of_time(tmp_path: Path) -> None:
    rows = [entry(question(time_stamp="0:02:00")), entry(question(), question(question="Why?"))]
    loaded = task.load(write(tmp_path, real=rows), settings())
    (sample,) = loaded.samples
    assert [query.at for query in sample.queries] == [90.0, 90.0, 120.0]
    assert (sample.id, sample.start, sample.end, sample.cluster) == ("sample_1_real", 0.0, 120.0, "sample_1_real")
    assert sample.queries[0].prompt == prompts.choice_prompt(
        "What is it?", ("A. red", "B. blue", "C. green", "D. white")
    )
    assert sample.queries[0].answer == "B"
    assert sample.queries[0].tags["task"] == "OP"
    assert loaded.facts["counts"] == {"OP": 3}


def test_settings_of_another_benchmark_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"streamingbench wants .*, not TaskSettings"):
        task.load(tmp_path, TaskSettings())


def test_the_last_minute_only_is_a_pass_per_question(tmp_path: Path) -> None:
    write(
        tmp_path,
        real=[entry(question(), question(time_stamp="0:00:20"), question(question="?", time_stamp="0:00:50"))],
    )
    loaded = task.load(tmp_path, settings(context=60))
    spans = [(sample.start, sample.end, [query.at for query in sample.queries]) for sample in loaded.samples]
    assert spans == [(30.0, 90.0, [90.0]), (0.0, 50.0, [20.0, 50.0])]
    assert loaded.samples[0].queries[0].visible_from == 30.0


def test_the_official_protocol_has_a_clip_per_question_and_names_its_frames(tmp_path: Path) -> None:
    write(tmp_path, real=[entry(question(), question(question="Why?"))])
    loaded = task.load(tmp_path, settings(protocol="official", context=60, frames="streamingbench-qwen2-vl"))
    assert [(s.start, s.end, len(s.queries)) for s in loaded.samples] == [(30.0, 90.0, 1)] * 2
    assert {s.tags["frames"] for s in loaded.samples} == {"streamingbench-qwen2-vl"}
    assert len({s.id for s in loaded.samples}) == 2


def test_a_proactive_question_is_polled_each_second_until_four_after_the_gold(tmp_path: Path) -> None:
    write(tmp_path, proactive_50=[entry(proactive(), video="sample_1_proactive")])
    polls = queries(tmp_path)
    assert [poll.at for poll in polls] == [float(second) for second in range(11, 19)]
    assert [poll.answer for poll in polls] == ["No", "Yes", "Yes", "Yes", "Yes", "Yes", "No", "No"]
    first = polls[0]
    assert first.kind == "proactive"
    assert 'Is it the right time to output "Goal"? You can only answer yes or no.' in first.prompt
    assert first.follow_up is not None
    assert first.follow_up.due("Yes, now.")
    after = first.follow_up.query
    assert after.prompt.endswith('Question: When a goal falls, output "Goal".\n\nThe answer is:\n')
    assert (after.at, after.kind, after.answer, after.tags["turn"]) == (first.at, "open", "Goal", "output")
    assert len({poll.follow_up.query.id for poll in polls if poll.follow_up is not None}) == 1
    assert (first.tags["poll"], first.tags["polls"], first.tags["gold_time"]) == ("1", "8", "14")
    assert (first.tags["proactive"], first.tags["expected"]) == ("gold-text", "1")
    assert len({poll.id for poll in polls}) == 8
    assert len({poll.tags["question"] for poll in polls}) == 1


def test_a_proactive_poll_can_do_without_the_gold_text_and_is_marked(tmp_path: Path) -> None:
    write(tmp_path, proactive_50=[entry(proactive(), video="sample_1_proactive")])
    polls = queries(tmp_path, proactive="no-gold-text")
    assert all("right time to output" not in poll.prompt for poll in polls)
    assert {poll.tags["proactive"] for poll in polls} == {"no-gold-text"}


def test_the_official_protocol_shows_a_proactive_clip_from_the_question_on(tmp_path: Path) -> None:
    write(tmp_path, proactive_50=[entry(proactive(), video="sample_1_proactive")])
    (sample,) = task.load(tmp_path, settings(protocol="official")).samples
    assert (sample.start, sample.end) == (10.0, 18.0)
    assert {query.visible_from for query in sample.queries} == {10.0}


def test_sequential_questions_are_told_the_gold_answers_before_them(tmp_path: Path) -> None:
    write(tmp_path, sqa=[sequential("00:00:10", "00:00:20", "00:00:30")])
    first, second, third = queries(tmp_path)
    assert "At timestamp" not in first.prompt
    told = (
        "Here are the contextual information related to the video. Please answer the questions based on the "
        "contextual information: At timestamp 00:00:10, the following question and answer occurred: "
        "Question: Q0?; Options: A. w, B. x, C. y, D. z; Answer: B; "
    )
    assert second.prompt == prompts.sqa_prompt(told, "Q1?", ("A. w", "B. x", "C. y", "D. z"))
    assert third.prompt.count("At timestamp") == 2
    assert second.choices == ("A. w", "B. x", "C. y", "D. z")


def test_gold_context_is_the_same_when_only_some_sub_tasks_run(tmp_path: Path) -> None:
    write(tmp_path, sqa=[sequential("00:00:10", "00:00:20")], real=[entry(question())])
    whole = {query.id: query.prompt for query in queries(tmp_path)}
    assert {query.id: query.prompt for query in queries(tmp_path, tasks=("SQA",))}.items() <= whole.items()


def test_streaming_context_follows_time_and_official_context_the_file(tmp_path: Path) -> None:
    write(tmp_path, sqa=[sequential("00:00:30", "00:00:10")])
    streamed = {query.at: query.prompt.count("At timestamp") for query in queries(tmp_path)}
    official = {query.at: query.prompt.count("At timestamp") for query in queries(tmp_path, protocol="official")}
    assert streamed == {10.0: 0, 30.0: 1}
    assert official == {30.0: 0, 10.0: 1}


@pytest.mark.parametrize(
    ("stamp", "official", "mended"),
    [
        ("00:01:30", 90, 90),
        ("0:01:30", 90, 90),
        ("1:00:00", 3600, 3600),
        ("00:24", 24, 24),
        ("00:00:8", 8, 8),
        ("00:12450", 12450, 765),
    ],
)
def test_malformed_time_stamps_are_mended(stamp: str, official: float, mended: float) -> None:
    assert clock_seconds(stamp) == (official, mended)


@pytest.mark.parametrize(
    "stamp", ["", "12", "a:b:c", "00:00:75", "00:1290", "00:00:00:00", "-1:00:00", "00:00:1.5", "1e9:0:0"]
)
def test_what_is_no_time_stamp_is_refused(stamp: str) -> None:
    with pytest.raises(BadTime):
        clock_seconds(stamp)


def test_a_mended_time_must_lie_in_its_entrys_window(tmp_path: Path) -> None:
    assert clock_seconds("00:12450", "[0:12:00 - 0:13:00]") == (12450, 765)
    with pytest.raises(BadTime, match="window"):
        clock_seconds("00:12450", "[0:02:00 - 0:03:00]")
    write(tmp_path, real=[entry(question(time_stamp="00:12450"), window="[0:12:00 - 0:13:00]")])
    assert queries(tmp_path)[0].at == 765
    assert queries(tmp_path, protocol="official")[0].at == 12450
    (fault,) = [found for found in task.load(tmp_path, settings()).problems if found.kind == "known-fault"]
    assert fault.message == "malformed '00:12450': asked at 765 s, officially read as 12450 s"


SPLIT = ["A. a dog", "", "B. a cat", " that sleeps", "C. a cow", "D. a hen", "E. .", "F. Translated with a tool"]


def test_split_options_are_shown_as_published_or_put_together_and_named(tmp_path: Path) -> None:
    write(
        tmp_path,
        omni=[entry(question(task_type="Scene Understanding", options=SPLIT, answer="D"), video="sample_1_x")],
    )
    assert queries(tmp_path)[0].choices == ("A. a dog", "", "B. a cat", " that sleeps")
    assert queries(tmp_path, options="mended")[0].choices == (
        *("A. a dog", "B. a cat, that sleeps", "C. a cow", "D. a hen"),
    )
    (fault,) = [found for found in task.load(tmp_path, settings()).problems if found.field == "options"]
    assert fault.message == "8 options, the first four are shown: gold D is missing"


def test_an_option_that_only_looks_lettered_stays_unlettered_officially(tmp_path: Path) -> None:
    names = ["A.Lebrun.", "Fan Z.D.", "Xu xin.", "Ma Lin."]
    write(tmp_path, real=[entry(question(options=names))])
    assert queries(tmp_path)[0].choices == tuple(names)
    assert queries(tmp_path, options="mended")[0].choices == (
        "A. A.Lebrun.",
        "B. Fan Z.D.",
        "C. Xu xin.",
        "D. Ma Lin.",
    )


def test_options_that_cannot_be_mended_fail_alone(tmp_path: Path) -> None:
    odd = ["A. x", "B. y", "C. z", "C. w", "B. v"]
    write(tmp_path, real=[entry(question(), question(question="Odd?", options=odd))])
    loaded = task.load(tmp_path, settings(options="mended"))
    assert len(loaded.samples[0].queries) == 1
    assert [found.message for found in loaded.problems if found.kind == "bad-row"] == [
        "cannot be mended: options D are not there"
    ]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (question(task_type="Cooking"), "task_type"),
        (question(task_type=None), "task_type"),
        (question(question=""), "question"),
        (question(time_stamp="soon"), "time_stamp"),
        (question(time_stamp=90), "time_stamp"),
        (question(answer="E"), "answer"),
        (question(answer=1), "answer"),
        (question(options=["A. x", "B. y", "C. z"]), "options"),
        (question(options="A. x"), "options"),
        (question(options=[1, 2, 3, 4]), "options"),
        (proactive(ground_truth_time_stamp=None), "ground_truth_time_stamp"),
        (proactive(ground_truth_time_stamp="00:00:01"), "ground_truth_time_stamp"),
        (proactive(ground_truth_output=" "), "ground_truth_output"),
        ("a text", "questions"),
    ],
)
def test_a_bad_question_is_named_by_file_index_and_field_and_fails_alone(
    tmp_path: Path, row: Any, field: str
) -> None:
    write(tmp_path, real=[entry(question(question="Good?"), row)])
    loaded = task.load(tmp_path, settings())
    bad = [(found.file, found.line, found.field) for found in loaded.problems if found.kind == "bad-row"]
    assert bad == [("questions_real.json", 2, field)]
    assert len(loaded.samples[0].queries) == 1


@pytest.mark.parametrize("bad", [{}, {"questions": "x"}, 3, None, {"questions": None, "video_path": "x"}])
def test_a_bad_entry_is_named_and_fails_alone(tmp_path: Path, bad: Any) -> None:
    write(tmp_path, real=[bad, entry(question())])
    problems = [found for found in task.load(tmp_path, settings()).problems if found.kind == "bad-row"]
    assert [(found.line, found.field) for found in problems] == [(1, "questions")]


def test_an_entry_without_a_video_is_named(tmp_path: Path) -> None:
    write(tmp_path, real=[{**entry(question()), "video_path": None}, entry(question())])
    problems = task.load(tmp_path, settings()).problems
    assert ("video_path", 1) in {(found.field, found.line) for found in problems}


def test_the_same_question_twice_is_refused_the_second_time(tmp_path: Path) -> None:
    write(
        tmp_path,
        real=[entry(question(), question(), question(options=["A. x", "B. blue", "C. green", "D. white"]))],
    )
    loaded = task.load(tmp_path, settings())
    assert len(loaded.samples[0].queries) == 2
    assert [found.line for found in loaded.problems if found.kind == "bad-row"] == [2]


CSV = {
    "Real_Time_Visual_Understanding.csv": [
        {
            **{"question_id": "Real-Time Visual Understanding_sample_332_4", "task_type": "Object Perception"},
            **{"question": "What?", "time_stamp": "00:01:30", "answer": "C", "options": repr(FOUR)},
            **{"frames_required": "single", "temporal_clue_type": "Prior"},
        }
    ],
    "Omni_Source_Understanding.csv": [
        {
            **{"question_id": "Emotion Recognition_sample_1_1", "task_type": "Emotion Recognition"},
            **{
                "question": "How?",
                "time_stamp": "00:00:14",
                "answer": "D",
                "options": repr(["A. it's", *FOUR[1:]]),
            },
        }
    ],
    "Proactive_Output.csv": [
        {
            **{
                "question_id": "Active Output_sample_7_2",
                "task_type": "Active Output",
                "question": "When x, output y",
            },
            **{"time_stamp": "00:00:10", "ground_truth_time_stamp": "00:00:13", "ground_truth_output": "y"},
        }
    ],
    "Proactive_Output_50.csv": [
        {
            **{
                "question_id": "Proactive Output_50_1",
                "task_type": "Proactive Output",
                "question": "When x, output y",
            },
            **{"time_stamp": "00:00:10", "ground_truth_time_stamp": "00:00:12", "ground_truth_output": "y"},
        }
    ],
}


def write_csv(folder: Path, *skip: str) -> Path:
    for name, rows in CSV.items():
        if name not in skip:
            with (folder / name).open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
    return folder


def test_the_csv_version_is_read_with_its_ids_videos_and_other_task_names(tmp_path: Path) -> None:
    loaded = task.load(write_csv(tmp_path), settings())
    found = {
        query.id: (sample.cluster, query.tags["task"]) for sample in loaded.samples for query in sample.queries
    }
    assert found["Real-Time Visual Understanding_sample_332_4"] == ("sample_332_real", "OP")
    assert found["Emotion Recognition_sample_1_1"] == ("sample_1_Emotion_Recognition", "ER")
    assert found["Proactive Output_50_1#1"] == ("sample_7_proactive", "PO")
    assert loaded.facts["counts"] == {"OP": 1, "ER": 1, "PO": 1}
    assert loaded.facts["files"] == [
        *("Real_Time_Visual_Understanding.csv", "Omni_Source_Understanding.csv", "Proactive_Output_50.csv")
    ]
    whole = task.load(tmp_path, settings(proactive_file="250"))
    assert whole.facts["files"][-1] == "Proactive_Output.csv"  # type: ignore[index]


def test_the_fifty_proactive_rows_name_no_video_without_the_full_file(tmp_path: Path) -> None:
    problems = task.load(write_csv(tmp_path, "Proactive_Output.csv"), settings()).problems
    bad = [found for found in problems if found.kind == "bad-row"]
    assert [(found.file, found.line, found.field) for found in bad] == [
        ("Proactive_Output_50.csv", 1, "question_id")
    ]


def test_options_of_the_csv_are_data_and_never_code(tmp_path: Path) -> None:
    row = {**CSV["Omni_Source_Understanding.csv"][0], "options": "[__import__('os').getcwd()] * 4"}
    with (tmp_path / "Omni_Source_Understanding.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    with pytest.raises(DataError, match="no usable question"):
        task.load(tmp_path, settings())


def test_json_goes_before_csv_unless_asked_and_check_names_both(tmp_path: Path) -> None:
    write_csv(write(tmp_path, real=[entry(question())]))
    assert task.load(tmp_path, settings()).facts["files"] == ["questions_real.json"]
    assert len(task.load(tmp_path, settings(version="csv")).facts["files"]) == 3  # type: ignore[arg-type]
    report = task.check(tmp_path)
    assert "OP 1" in report.facts["other_versions"]["csv"]  # type: ignore[index]


def test_a_version_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write(tmp_path, real=[entry(question())])
    with pytest.raises(DataError, match="no questions of the CSV version"):
        task.load(tmp_path, settings(version="csv"))


@pytest.mark.parametrize(
    "place",
    [
        "videos/sample_1_Scene_Understanding_1-25.mp4",
        "data/videos/sample_1_Scene_Understanding.mkv",
        "data/omni/Scene Understanding_1-25/sample_1/video.mp4",
        "Scene Understanding/sample_1/video.mp4",
    ],
)
def test_moved_videos_and_unzipped_folders_are_found(tmp_path: Path, place: str) -> None:
    rows = [entry(question(task_type="Scene Understanding"), video="sample_1_Scene_Understanding_1-25")]
    write(tmp_path, omni=rows)
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.touch()
    junk = tmp_path / "__MACOSX" / "Scene Understanding" / "sample_1" / "._video.mp4"
    junk.parent.mkdir(parents=True)
    junk.touch()
    (sample,) = task.load(tmp_path, settings()).samples
    assert sample.video == path
    assert sample.cluster == "sample_1_Scene_Understanding"


@pytest.mark.parametrize(
    ("folder", "video"),
    [
        ("data/real/sample_9", "sample_9_real"),
        ("Real-Time Visual Understanding_1-50/sample_9", "sample_9_real"),
        ("data/sqa/Sequential Question Answering_1-25/sample_9", "sample_9_sqa"),
        ("data/proactive/sample_9", "sample_9_proactive"),
    ],
)
def test_unzipped_folders_of_every_part_are_told_apart(tmp_path: Path, folder: str, video: str) -> None:
    write(tmp_path, real=[entry(question(), video=video)])
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "video.mp4").touch()
    assert task.load(tmp_path, settings()).samples[0].video == tmp_path / folder / "video.mp4"


def test_missing_and_unreadable_videos_are_named(tmp_path: Path) -> None:
    write(tmp_path, real=[entry(question()), entry(question(), video="sample_2_real")])
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "sample_1_real.mp4").touch()
    assert [found.kind for found in task.load(tmp_path, settings()).problems] == ["missing-video"]
    kinds = {found.kind: found.item for found in task.check(tmp_path).problems}
    assert kinds == {"unreadable-video": "sample_1_real", "missing-video": "sample_2_real"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "not valid JSON"), (b"\xff", "not UTF-8"), (b"{}", "no list"), (b"[]", "no usable")],
)
def test_a_file_that_is_no_annotation_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "questions_real.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        task.load(tmp_path, settings())


def test_a_csv_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Omni_Source_Understanding.csv").write_bytes(b"question_id\n\xff\xfe\n")
    with pytest.raises(DataError, match="no UTF-8 CSV"):
        task.load(tmp_path, settings())


def test_an_empty_and_a_foreign_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="get them from"):
        task.load(tmp_path, settings())
    (tmp_path / "ovo_bench_new.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="holds ovobench data, not streamingbench"):
        task.load(tmp_path, settings())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "logit"}, "streaming"),
        ({"frames": "uniform-33"}, "did you mean 'uniform-32'"),
        ({"tasks": ("OPP",)}, "no sub-task 'OPP'"),
        ({"context": 0}, "greater than 0"),
        ({"contxt": 60}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**changes)


def test_every_setting_is_described() -> None:
    assert all(field.description for field in SbSettings.model_fields.values())


def test_loading_grows_in_proportion_to_the_questions(tmp_path: Path) -> None:
    def load(count: int) -> Callable[[], object]:
        folder = tmp_path / str(count)
        folder.mkdir()
        rows = [entry(question(question=f"Q{i}?"), video=f"sample_{i // 20}_real") for i in range(count)]
        write(folder, real=rows)
        return lambda: task.load(folder, settings())

    assert growth(load, 300) < LINEAR
