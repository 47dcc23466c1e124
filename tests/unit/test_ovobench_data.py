"""OVO-Bench's loader on made-up files: rows, faults, videos, protocols."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from evalkit.errors import DataError, UsageError
from evalkit.tasks import TaskSettings
from evalkit_tasks.ovobench import OvoSettings, prompts, task
from tests.growth import LINEAR, growth

CHOICE = {
    **{"id": 0, "task": "EPM", "video": "src/a.mp4", "realtime": 7.5, "question": "Where is it?"},
    **{"options": ["here", "there"], "answer": "here", "gt": 0},
}
COUNT = {
    **{"id": 1, "task": "REC", "video": "src/a.mp4", "activity": "jump"},
    "test_info": [{"realtime": 9, "count": 1}, {"realtime": 4, "count": 0}],
}
STEP = {
    **{"id": 2, "task": "SSR", "video": "src/a.mp4"},
    "test_info": [{"realtime": 5, "step": "cut it", "type": 1}],
}
ENOUGH = {
    **{"id": 3, "task": "CRR", "video": "src/b.mp4", "question": "Why?", "ask_time": 20, "clue_time": 30},
    "test_info": [{"realtime": 20, "type": 0}, {"realtime": 32, "type": 1}],
}
ROWS = [CHOICE, COUNT, STEP, ENOUGH]


def write(folder: Path, rows: Any = ROWS, videos: tuple[str, ...] = ("src/a.mp4", "src/b.mp4")) -> Path:
    (folder / "ovo_bench_new.json").write_text(json.dumps(rows), encoding="utf-8")
    for video in videos:
        path = folder / "src_videos" / video
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def settings(**changes: Any) -> OvoSettings:
    return OvoSettings.model_validate(changes)


def test_one_video_is_one_stream_with_its_queries_in_order_of_time(tmp_path: Path) -> None:
    loaded = task.load(write(tmp_path), settings())
    first, second = loaded.samples
    assert [(q.id, q.at, q.answer, q.kind) for q in first.queries] == [
        ("1_1", 4, "0", "count"),
        ("2_0", 5, "Yes", "yes-no"),
        ("0", 7.5, "A", "choice"),
        ("1_0", 9, "1", "count"),
    ]
    assert (first.start, first.end, first.fps, first.cluster) == (0.0, 9.0, 1.0, "src/a.mp4")
    assert first.video == tmp_path / "src_videos" / "src" / "a.mp4"
    assert [(q.at, q.answer, q.visible_from) for q in second.queries] == [(20, "No", 0.0), (32, "Yes", 0.0)]
    assert loaded.problems == ()
    assert loaded.facts["counts"] == {"EPM": 1, "REC": 2, "SSR": 1, "CRR": 2}
    assert first.queries[0].tags["expected"] == "2"


def test_settings_of_another_benchmark_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ovobench wants .*, not TaskSettings"):
        task.load(tmp_path, TaskSettings())


def test_crr_can_be_shown_from_its_ask_time_only(tmp_path: Path) -> None:
    loaded = task.load(write(tmp_path), settings(span="ask", fps=2.0))
    spans = [
        (s.id, s.start, s.end, s.fps, [q.at for q in s.queries])
        for s in loaded.samples
        if s.cluster == "src/b.mp4"
    ]
    assert spans == [("src/b.mp4@19", 19.0, 20.0, 2.0, [20]), ("src/b.mp4@20", 20.0, 32.0, 2.0, [32])]


def test_the_official_protocol_asks_at_the_whole_second_its_clip_ends(tmp_path: Path) -> None:
    loaded = task.load(write(tmp_path), settings(protocol="official"))
    assert [s.id for s in loaded.samples] == ["0", "1_0", "1_1", "2_0", "3_0", "3_1"]
    first = loaded.samples[0]
    assert (first.start, first.end, first.queries[0].at) == (0.0, 8.0, 8.0)
    assert first.tags["frames"] == first.queries[0].tags["frames"] == "uniform-64"
    assert first.queries[0].prompt == prompts.official_choice("Where is it?", ["here", "there"])


def test_the_logit_protocol_has_its_own_prompts_spans_and_options(tmp_path: Path) -> None:
    loaded = task.load(write(tmp_path), settings(protocol="logit"))
    by_id = {s.id: s for s in loaded.samples}
    assert (by_id["0"].start, by_id["0"].end, by_id["0"].queries[0].at) == (0.0, 7.5, 7.5)
    assert (by_id["3_1"].start, by_id["3_1"].end) == (20.0, 32.0)
    # The first probe lies at the ask time: the second before it is shown, not the one after.
    assert (by_id["3_0"].start, by_id["3_0"].end, by_id["3_0"].queries[0].at) == (19.0, 20.0, 20.0)
    query = by_id["0"].queries[0]
    assert (query.elicitation.prefix, query.elicitation.lead) == ("The answer is:\n", "\n")
    assert query.elicitation.options == ("No", "Yes", *"0123456789", *"ABCDE")
    assert query.tags["frames"] == "ovo-logit"


@pytest.mark.parametrize("protocol", ["streaming", "official", "logit"])
def test_nothing_is_asked_later_than_the_protocol_allows(tmp_path: Path, protocol: str) -> None:
    moments = {"0": 7.5, "1_0": 9, "1_1": 4, "2_0": 5, "3_0": 20, "3_1": 32}
    for sample in task.load(write(tmp_path), settings(protocol=protocol)).samples:
        for query in sample.queries:
            assert query.at <= (math.ceil(moments[query.id]) if protocol == "official" else moments[query.id])


def test_prompts_are_the_official_ones_to_the_last_space() -> None:
    assert prompts.official_choice("Q?", ["x", "y"]) == (
        "\nQuestion: Q?\nOptions:\nA. x; B. y;\n\nRespond only with the letter corresponding to your chosen "
        "option (e.g., A, B, C). \nDo not include any additional text or explanation in your response.\n"
    )
    assert "Now, answer the following question: How many times did they jump?\n" in prompts.official_count("jump")
    assert "Answer only with “Yes” or “No”.\n" in prompts.official_step("cut")
    assert prompts.official_enough("Why?").startswith("\nYou're responsible of answering questions based on")
    assert prompts.logit_choice("Q?", ["x"]) == "Q?\nA. x\nPlease select the correct answer."
    assert "certaintype of action" in prompts.logit_count("jump")
    assert prompts.logit_count("jump").endswith("INT, for example, 0/1/2/3..")
    assert prompts.logit_step("cut").endswith('Return "No" if not.')
    assert "i.e frames that near the end of the video" in prompts.logit_enough("Why?")


def test_a_question_with_braces_is_put_into_the_prompt_as_it_stands() -> None:
    assert "\nQuestion: {x} {}\n" in prompts.official_choice("{x} {}", ["{0}"])


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({**CHOICE, "task": "XYZ"}, "task"),
        ({**CHOICE, "gt": 2}, "gt"),
        ({**CHOICE, "gt": "A"}, "gt"),
        ({**CHOICE, "realtime": "7"}, "realtime"),
        ({**CHOICE, "realtime": -1}, "realtime"),
        ({k: v for k, v in CHOICE.items() if k != "realtime"}, "realtime"),
        ({**CHOICE, "options": ["one"]}, "options"),
        ({**CHOICE, "options": "x, y"}, "options"),
        ({**CHOICE, "question": " "}, "question"),
        ({**CHOICE, "video": ""}, "video"),
        ({**CHOICE, "video": "../../etc/passwd"}, "video"),
        ({**CHOICE, "id": "0"}, "id"),
        ({**CHOICE, "id": True}, "id"),
        ({**COUNT, "activity": ""}, "activity"),
        ({**COUNT, "test_info": []}, "test_info"),
        ({**COUNT, "test_info": [{"realtime": 3}]}, "test_info"),
        ({**STEP, "test_info": [{"realtime": 3, "type": 2, "step": "x"}]}, "test_info.0.type"),
        ({**ENOUGH, "ask_time": None}, "ask_time"),
        ("a text", None),
    ],
)
def test_a_bad_row_is_named_by_file_index_and_field_and_fails_alone(
    tmp_path: Path, row: Any, field: str | None
) -> None:
    good = {**CHOICE, "id": 99}
    loaded = task.load(write(tmp_path, [good, row]), settings())
    bad = [found for found in loaded.problems if found.kind == "bad-row"]
    assert [(found.file, found.line, found.field) for found in bad] == [("ovo_bench_new.json", 2, field)]
    assert [query.id for sample in loaded.samples for query in sample.queries] == ["99"]


def test_a_not_finite_number_is_a_bad_row(tmp_path: Path) -> None:
    text = json.dumps([CHOICE, {**CHOICE, "id": 1, "realtime": float("nan")}])
    (tmp_path / "ovo_bench_new.json").write_text(text, encoding="utf-8")
    problems = task.load(tmp_path, settings()).problems
    assert ("realtime", 2) in {(found.field, found.line) for found in problems}


def test_a_repeated_id_is_refused_the_second_time(tmp_path: Path) -> None:
    loaded = task.load(write(tmp_path, [CHOICE, {**CHOICE, "question": "What?"}]), settings())
    assert [found.message for found in loaded.problems] == ["id 0 is already in record 1"]
    assert len(loaded.samples[0].queries) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe[", "not UTF-8"),
        (b'{"id": 0}', "holds no list"),
        (b"[]", "no usable record"),
        (b"[1, 2]", "no usable record"),
    ],
)
def test_a_file_that_is_no_annotation_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "ovo_bench_new.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        task.load(tmp_path, settings())


def test_an_empty_folder_is_refused_with_where_to_get_the_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no ovo_bench_new\.json; `evalkit data fetch ovobench` brings it"):
        task.load(tmp_path, settings())


def test_another_benchmarks_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "questions_real.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="holds streamingbench data, not ovobench"):
        task.load(tmp_path, settings())


def test_missing_videos_are_named_once_and_the_samples_stay(tmp_path: Path) -> None:
    loaded = task.load(write(tmp_path, videos=("src/a.mp4",)), settings(protocol="official"))
    assert [found.kind for found in loaded.problems] == ["missing-video"]
    assert "b.mp4" in loaded.problems[0].message
    assert len(loaded.samples) == 6


def test_official_chunks_serve_the_official_protocol_and_the_longest_one_the_stream(tmp_path: Path) -> None:
    write(tmp_path, videos=())
    chunks = tmp_path / "chunked_videos"
    chunks.mkdir()
    for name in ("0", "1_0", "1_1", "2_0", "3_0", "3_1"):
        (chunks / f"{name}.mp4").touch()
    official = task.load(tmp_path, settings(protocol="official"))
    assert {s.id: s.video.name for s in official.samples} == {s.id: f"{s.id}.mp4" for s in official.samples}
    streams = task.load(tmp_path, settings())
    assert [s.video.name for s in streams.samples] == ["1_0.mp4", "3_1.mp4"]
    assert official.problems == streams.problems == ()


def test_other_peoples_absolute_paths_are_looked_up_by_name(tmp_path: Path) -> None:
    rows = [{**CHOICE, "video": "/mnt/data/chunked_videos/a.mp4"}]
    loaded = task.load(write(tmp_path, rows), settings())
    assert loaded.samples[0].video == tmp_path / "src_videos" / "src" / "a.mp4"
    assert [(found.kind, found.field) for found in loaded.problems] == [("known-fault", "video")]


def test_check_opens_the_videos_and_reports_what_is_wrong(tmp_path: Path) -> None:
    report = task.check(write(tmp_path, videos=("src/a.mp4",)))
    assert sorted(found.kind for found in report.problems) == ["missing-video", "unreadable-video"]
    assert report.counts == {"EPM": 1, "REC": 2, "SSR": 1, "CRR": 2}
    assert str(report.facts["version"]).startswith("not a published version")


def test_the_demo_holds_every_sub_task_and_is_sound(tmp_path: Path) -> None:
    task.make_demo(tmp_path / "demo")
    report = task.check(tmp_path / "demo")
    assert report.problems == ()
    assert len(report.counts) == 12
    rows = json.loads((tmp_path / "demo" / "ovo_bench_new.json").read_text(encoding="utf-8"))
    late = {**rows[0], "id": 500, "realtime": 5000}
    (tmp_path / "demo" / "ovo_bench_new.json").write_text(json.dumps([*rows, late]), encoding="utf-8")
    after = task.check(tmp_path / "demo").problems
    assert [(found.kind, found.item) for found in after] == [("after-end", "500")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "offline"}, "streaming"),
        ({"frames": "uniform-63"}, "did you mean 'uniform-64'"),
        ({"tasks": ("EMP",)}, "no sub-task 'EMP'"),
        ({"fps": 0}, "greater than 0"),
        ({"spam": 1}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**changes)


def test_sub_tasks_can_be_chosen(tmp_path: Path) -> None:
    loaded = task.load(write(tmp_path), settings(tasks=("REC",)))
    assert loaded.facts["counts"] == {"REC": 2}


def test_every_setting_is_described() -> None:
    assert all(field.description for field in OvoSettings.model_fields.values())


def test_loading_grows_in_proportion_to_the_questions(tmp_path: Path) -> None:
    def load(count: int) -> Callable[[], object]:
        folder = tmp_path / str(count)
        folder.mkdir()
        rows = [{**CHOICE, "id": i, "video": f"src/{i // 20}.mp4", "realtime": i % 97} for i in range(count)]
        write(folder, rows)
        return lambda: task.load(folder, settings())

    assert growth(load, 300) < LINEAR
