"""OVO-Bench's scorer on made-up prediction files, sound and broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.records import AnswerRecord
from evalkit.tasks import Prediction, ScoreSheet
from evalkit.tasks.scoring import from_records, sheet_to_json
from evalkit_tasks.ovobench import OvoSettings, task
from evalkit_tasks.ovobench.published import NOMINAL, published_ids, task_of
from tests.growth import LINEAR, growth

LETTERS = "ABCDE"


def choice(id_: int, response: Any, gold: str = "A", name: str | None = None) -> dict[str, Any]:
    return {"id": id_, "video": "v.mp4", "task": name or task_of(id_), "response": response, "ground_truth": gold}


def forward(id_: int, *probes: tuple[int, Any]) -> dict[str, Any]:
    name = task_of(id_)
    key = "count" if name == "REC" else "type"
    return {
        **{"id": id_, "task": name, "video": "v.mp4"},
        "test_info": [{"realtime": 5 * i, key: gold, "response": reply} for i, (gold, reply) in enumerate(probes)],
    }


def write(path: Path, backward: Any = (), realtime: Any = (), forward: Any = ()) -> Path:
    content = {"backward": list(backward), "realtime": list(realtime), "forward": list(forward)}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def scored(paths: list[Path], format: str = "official", data: Path | None = None) -> tuple[ScoreSheet, list[str]]:
    predictions, problems = task.read_predictions(format, paths, data)
    sheet = task.score(predictions, format)
    return sheet, [found.kind for found in (*problems, *sheet.problems) if found.kind != "incomplete"]


def test_the_published_ids_are_as_many_as_the_published_counts() -> None:
    ids = published_ids()
    assert len(ids) == 3035
    assert {name: list(ids.values()).count(name) for name in NOMINAL} == dict(NOMINAL)
    assert task_of(0) == "EPM"
    assert task_of(1639) == "REC"
    assert task_of(1640) is None


def test_a_partial_file_is_scored_over_what_it_holds_and_over_everything(tmp_path: Path) -> None:
    file = write(tmp_path / "x.json", [choice(0, "A"), choice(1, "B"), choice(2, None)])
    sheet, problems = scored([file])
    assert sheet.source.tasks["EPM"] == pytest.approx(100 / 3)
    assert sheet.strict.tasks["EPM"] == pytest.approx(100 / 297)
    assert (sheet.n, sheet.answered, sheet.coverage) == (297, 2, 2 / 297)
    assert problems == []
    assert [(found.kind, found.item) for found in sheet.problems] == [("incomplete", "EPM")]


def test_a_wordy_reply_gets_official_credit_but_no_strict_one(tmp_path: Path) -> None:
    rows = [choice(0, "A, D", "D"), choice(1, "Both A and B", "B"), choice(2, "The answer is C.", "C")]
    sheet, _ = scored([write(tmp_path / "x.json", rows)])
    assert sheet.facts["source_counts"]["EPM"]["correct"] == 3
    assert sheet.facts["counts"]["EPM"]["correct"] == 1
    assert sheet.facts["unread"] == {"no-statement": 2, "missing": 294}


def test_the_official_rules_for_forward_tasks_are_kept_with_their_faults(tmp_path: Path) -> None:
    rows = [
        forward(1558, (12, "1 to 2"), (3, "three"), (1, None)),
        forward(1516, (0, "Nothing, not yet"), (1, "Y"), (0, "no")),
        forward(1468, (1, "Yes"), (0, "N")),
    ]
    sheet, _ = scored([write(tmp_path / "x.json", forward=rows)])
    source = {name: entry["correct"] for name, entry in sheet.facts["source_counts"].items()}
    strict = {name: entry["correct"] for name, entry in sheet.facts["counts"].items()}
    assert source == {"REC": 1, "SSR": 2, "CRR": 2}
    assert strict == {"REC": 1, "SSR": 2, "CRR": 2}
    by_id = {id_: correct for id_, _, _, correct in sheet.correct}
    assert (by_id["1558_0"], by_id["1558_1"]) == (False, True)
    assert (by_id["1516_0"], by_id["1516_2"]) == (False, True)


def test_duplicates_count_twice_officially_and_once_strictly(tmp_path: Path) -> None:
    write(tmp_path / "a.json", [choice(0, "A"), choice(1, "A")])
    write(tmp_path / "b.json", [choice(0, "A"), choice(1, "B")])
    sheet, problems = scored([tmp_path])
    assert sheet.facts["source_counts"]["EPM"] == {"n": 4, "answered": 4, "correct": 3}
    assert sheet.facts["counts"]["EPM"] == {"n": 297, "answered": 1, "correct": 1}
    assert problems == ["duplicate", "duplicate"]


def test_list_replies_are_compared_by_membership_officially_and_by_their_text_strictly(tmp_path: Path) -> None:
    rows = [choice(0, ["A"]), choice(1, ["A."]), choice(2, ["A", "B"]), choice(3, [])]
    sheet, problems = scored([write(tmp_path / "x.json", rows)])
    assert sheet.facts["source_counts"]["EPM"] == {"n": 4, "answered": 4, "correct": 2}
    assert sheet.facts["counts"]["EPM"]["correct"] == 2
    assert problems == ["list-reply"] * 4


def test_list_replies_in_rec_stop_the_official_script_so_it_has_no_source_score(tmp_path: Path) -> None:
    sheet, problems = scored([write(tmp_path / "x.json", forward=[forward(1558, (3, ["3"]))])])
    assert sheet.source.tasks["REC"] is None
    assert sheet.facts["counts"]["REC"]["correct"] == 1
    assert problems == ["list-reply", "official-stops"]


@pytest.mark.parametrize(
    ("reply", "problem", "answered"),
    [
        (float("nan"), "bad-row", 0),
        (True, "bad-row", 0),
        ({"text": "A"}, "bad-row", 0),
        (3, "not-text", 0),
        ("x" * 1_000_000, "long-reply", 0),
        ("A" + " " * 1_000_000, None, 1),
        ("", None, 0),
        ("  A", None, 1),
    ],
)
def test_a_strange_reply_is_named_and_counts_as_what_it_is(
    tmp_path: Path, reply: Any, problem: str | None, answered: int
) -> None:
    sheet, problems = scored([write(tmp_path / "x.json", [choice(0, reply), choice(1, "A")])])
    assert sheet.answered == 1 + answered
    assert problems == ([problem] if problem else [])
    json.dumps(sheet_to_json(sheet), allow_nan=False)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (choice(5000, "A", name="EPM"), "unknown-id"),
        (choice(631, "A", name="EPM"), "unknown-id"),
        (choice(3, "A", "F"), "bad-row"),
        (choice(3, "A", name="XYZ"), "bad-row"),
        ({**choice(3, "A"), "id": "3"}, "bad-row"),
        ({"id": 3, "task": "EPM", "ground_truth": "A"}, "bad-row"),
        ({**choice(3, "A"), "task": ["EPM"]}, "bad-row"),
        ("a text", "bad-row"),
        (None, "bad-row"),
    ],
)
def test_a_malformed_row_is_named_and_never_counted_strictly(tmp_path: Path, row: Any, problem: str) -> None:
    sheet, problems = scored([write(tmp_path / "x.json", [choice(0, "A"), row])])
    assert problems == [problem]
    assert sheet.facts["counts"]["EPM"]["correct"] == 1
    assert sheet.n == 297


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b'{"a": 1}', "is not an object with backward"),
        (b"3", "is not an object with backward"),
        (b'[{"video_id": "1", "duration": "short", "domain": "x", "questions": []}]', "looks like videomme data"),
    ],
)
def test_a_file_that_is_no_result_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        scored([tmp_path / "x.json"])


def test_a_broken_file_in_a_folder_is_named_and_the_others_count(tmp_path: Path) -> None:
    write(tmp_path / "a.json", [choice(0, "A")])
    (tmp_path / "b.json").write_bytes(b"\xff")
    sheet, problems = scored([tmp_path])
    assert problems == ["unreadable-file"]
    assert sheet.facts["counts"]["EPM"]["correct"] == 1


def test_an_empty_list_has_no_score(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]", encoding="utf-8")
    for format in ("official", "logit"):
        sheet, problems = scored([tmp_path / "x.json"], format)
        assert problems == ["empty-file"]
        assert (sheet.n, sheet.coverage, sheet.source.total, sheet.strict.total) == (0, 0.0, None, None)


def test_a_folder_without_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no JSON file of predictions"):
        scored([tmp_path])


def data(folder: Path, gt: int = 1) -> Path:
    base = {"task": "EPM", "video": "v.mp4", "realtime": 1, "question": "?", "options": ["x", "y"], "gt": gt}
    rows = [{**base, "id": i} for i in range(4)]
    (folder / "ovo_bench_new.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


def test_with_the_data_its_counts_gold_and_options_are_used(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    file = write(
        tmp_path / "x.json", [choice(0, "B", "B"), choice(1, "A", "A"), choice(2, "C", "B"), choice(9, "B", "B")]
    )
    sheet, problems = scored([file], data=data(tmp_path / "data"))
    assert sheet.n == 4
    # Question 1 was right by the file's gold and is wrong by the data's; C is no option of two.
    assert sheet.facts["counts"]["EPM"] == {"n": 4, "answered": 2, "correct": 1}
    assert sheet.facts["source_counts"]["EPM"] == {"n": 4, "answered": 4, "correct": 3}
    assert problems == ["unknown-id", "other-version", "beyond-options"]


def test_predictions_of_another_version_are_refused_where_nothing_fits(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    file = write(tmp_path / "x.json", [choice(100, "A")])
    with pytest.raises(DataError, match="predictions of another version"):
        scored([file], data=data(tmp_path / "data"))


def test_the_logit_list_is_compared_by_its_first_characters(tmp_path: Path) -> None:
    rows = [
        {"id": 0, "task": "EPM", "question": "?", "answer": "B", "response": "B"},
        {"id": 1558, "task": "REC", "question": "?", "answer": "1", "response": "1"},
        {"id": 1558, "task": "REC", "question": "?", "answer": "10", "response": "1"},
        {"id": 1468, "task": "CRR", "question": "?", "answer": "No", "response": "Yes"},
        {"id": 1468, "task": "CRR", "question": "?", "answer": "Yes", "response": "Yes, it is"},
    ]
    (tmp_path / "LiveCC.json").write_text(json.dumps(rows), encoding="utf-8")
    sheet, problems = scored([tmp_path / "LiveCC.json"], "logit")
    assert problems == []
    assert {n: (e["correct"], e["n"]) for n, e in sheet.facts["source_counts"].items()} == {
        **{"EPM": (1, 1), "REC": (1, 2), "CRR": (1, 2)}
    }
    assert {id_ for id_, _, _, correct in sheet.correct if correct} == {"0", "1558_0", "1468_1"}
    assert sheet.n == 297 + 698 + 240


def test_a_bad_row_of_a_logit_list_fails_alone(tmp_path: Path) -> None:
    golds = ("No", "No", "Yes")
    rows = [{"id": 1468, "task": "CRR", "question": "?", "answer": gold, "response": gold} for gold in golds]
    rows[0]["answer"] = None  # type: ignore[assignment]
    (tmp_path / "x.json").write_text(json.dumps(rows), encoding="utf-8")
    sheet, problems = scored([tmp_path / "x.json"], "logit")
    assert problems == ["bad-row"]
    assert {id_ for id_, _, _, correct in sheet.correct if correct} == {"1468_1", "1468_2"}


def test_a_logit_list_with_more_probes_than_the_record_has_is_named(tmp_path: Path) -> None:
    rows = [{"id": 1468, "task": "CRR", "question": "?", "answer": "No", "response": "No"}] * 6
    (tmp_path / "x.json").write_text(json.dumps(rows), encoding="utf-8")
    sheet, problems = scored([tmp_path / "x.json"], "logit")
    assert problems == ["unknown-id"]
    assert sheet.facts["counts"]["CRR"]["correct"] == 5


def every_question(reply: str | None = None) -> list[Prediction]:
    found = []
    for id_, name in published_ids().items():
        kind = "count" if name == "REC" else "yes-no" if name in ("SSR", "CRR") else "choice"
        gold = {"count": "2", "yes-no": "No"}.get(kind, "B")
        found.append(Prediction(id_, name, reply or gold, gold, kind, cluster="v"))  # type: ignore[arg-type]
    return found


def test_a_whole_set_has_every_average() -> None:
    sheet = task.score(every_question(), "official")
    for scores in (sheet.source, sheet.strict):
        assert set(scores.groups.values()) == {100.0}
        assert scores.total == 100.0
    assert set(sheet.source.groups) == {
        *("backward", "realtime", "forward", "ovo_avg_brf", "ovo_avg_br", "ovo_micro_3035")
    }


def test_a_total_is_none_as_soon_as_one_sub_task_is_missing() -> None:
    sheet = task.score([found for found in every_question() if found.task != "HLD"], "official")
    assert sheet.source.groups["backward"] is None
    assert sheet.source.groups["realtime"] == 100.0
    assert sheet.source.total is None
    assert sheet.strict.total is None


def test_the_answers_of_a_run_are_scored_over_the_questions_of_its_data() -> None:
    base = {
        "sample": "v",
        "kind": "choice",
        "at": 1.0,
        "start": 0.0,
        "end": 1.0,
        "gold": "A",
        "choices": ("x", "y"),
    }
    tags = {"task": "EPM", "expected": "4", "protocol": "streaming"}
    records = [
        AnswerRecord.model_validate({**base, "query": "0", "text": "A", "tags": tags}),
        AnswerRecord.model_validate({**base, "query": "1", "status": "failed", "error": "x", "tags": tags}),
    ]
    sheet = task.score(from_records(records), "evalkit")
    assert (sheet.n, sheet.answered) == (4, 1)
    assert sheet.source.tasks["EPM"] == 50.0
    assert sheet.strict.tasks["EPM"] == 25.0
    names = {(row.name, row.score) for row in task.metrics(sheet)}
    assert {("EPM", "strict"), ("EPM", "official"), ("total", "strict"), ("ovo_avg_br", "official")} <= names


def test_a_loaded_demo_answered_with_its_gold_scores_100(tmp_path: Path) -> None:
    task.make_demo(tmp_path / "demo")
    loaded = task.load(tmp_path / "demo", OvoSettings.model_validate({}))
    records = [
        AnswerRecord(
            sample=sample.id,
            query=query.id,
            kind=query.kind,
            at=query.at,
            start=0.0,
            end=query.at,
            text=query.answer or "",
            gold=query.answer,
            choices=query.choices,
            cluster=sample.cluster,
            tags=query.tags,
        )
        for sample in loaded.samples
        for query in sample.queries
    ]
    sheet = task.score(from_records(records), "evalkit")
    assert sheet.source.total == sheet.strict.total == 100.0
    assert sheet.problems == ()


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="no format 'offical'; did you mean 'official'"):
        task.read_predictions("offical", [], None)


def test_scoring_grows_in_proportion_to_the_answers() -> None:
    one = every_question()[:500]

    def score(times: int) -> Callable[[], object]:
        predictions = [found for _ in range(times) for found in one]
        return lambda: task.score(predictions, "official")

    assert growth(score, 2) < LINEAR


def test_a_reply_that_is_a_number_beyond_all_floats_is_no_answer(tmp_path: Path) -> None:
    _, problems = scored([write(tmp_path / "a.json", realtime=[choice(1, 10**400)])])
    assert any("bad-row" in problem for problem in problems)


def test_golds_that_are_no_option_and_overlong_replies_of_a_logit_file_are_named(tmp_path: Path) -> None:
    row = {"id": 0, "task": "EPM", "options": ["A. red", "B. blue"], "answer": "A", "response": "A"}
    rows = [row | {"answer": "Z"}, row | {"id": 1, "response": "x" * 40_000}]
    rows += [row | {"id": 25, "options": ["Yes", "No"], "answer": "Yes"}]
    path = tmp_path / "mcq.json"
    path.write_text(json.dumps(rows))
    _, problems = task.read_predictions("livecc", [path], None)
    assert [(one.kind, one.line, one.field) for one in problems] == [
        ("gold-no-option", 1, "answer"),
        ("long-reply", 2, "response"),
    ]
