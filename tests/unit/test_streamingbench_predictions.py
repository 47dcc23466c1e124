"""StreamingBench's scorer on made-up answer files, sound and broken."""

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
from evalkit_tasks.streamingbench import SbSettings, task
from evalkit_tasks.streamingbench.published import (
    ABBREVIATIONS,
    CSV_COUNTS,
    GROUPS,
    JSON_COUNTS,
    group_of,
    version_of,
)
from tests.growth import LINEAR, growth

FOUR = ["A. red", "B. blue", "C. green", "D. white"]
KEY = "MyModel"
UNANSWERED = object()


def question(number: int, reply: Any = UNANSWERED, gold: str = "B", **changes: Any) -> dict[str, Any]:
    made = {
        **{"task_type": "Object Recognition", "question": f"Q{number}?", "time_stamp": "00:01:30", "answer": gold},
        **{"options": FOUR, "required_ability": "working memory"},
        **changes,
    }
    return made if reply is UNANSWERED else {**made, KEY: reply}


def dialog(*turns: tuple[float, str], answered: Any = False) -> dict[str, Any]:
    history = []
    for second, reply in turns:
        history.append({"role": "user", "content": "?", "time": second, "cost": 0.1})
        history.append({"role": "assistant", "content": reply, "time": second, "cost": 0.1})
    return {"answered": answered, "dialog_history": history}


def proactive(number: int, reply: Any = UNANSWERED) -> dict[str, Any]:
    made = {
        **{
            "task_type": "Proactive Output",
            "question": f'When {number}, output "Goal".',
            "time_stamp": "00:00:10",
        },
        **{"ground_truth_time_stamp": "00:00:14", "ground_truth_output": "Goal"},
    }
    return made if reply is UNANSWERED else {**made, KEY: reply}


def entry(*questions: Any, video: str = "sample_1_real") -> dict[str, Any]:
    return {
        **{"time": "[0:00:00 - 0:02:00]", "questions": list(questions), "video_categories": "x"},
        "video_path": f"/mnt/x/videos/{video}.mp4",
    }


def write(path: Path, *questions: Any, video: str = "sample_1_real") -> Path:
    path.write_text(json.dumps([entry(*questions, video=video)]), encoding="utf-8")
    return path


def scored(paths: list[Path], format: str = "official", data: Path | None = None) -> tuple[ScoreSheet, list[str]]:
    predictions, problems = task.read_predictions(format, paths, data)
    sheet = task.score(predictions, format)
    return sheet, [found.kind for found in (*problems, *sheet.problems) if found.kind != "incomplete"]


def test_the_official_rule_reads_the_first_character_and_stcs_the_whole_stripped_reply(tmp_path: Path) -> None:
    replies = ["B", " B", "B.", "Blue", "The answer is B", " B ", "b"]
    file = write(tmp_path / "x.json", *(question(i, reply) for i, reply in enumerate(replies)))
    official, problems = scored([file])
    assert official.facts["source_counts"]["OP"] == {"n": 7, "answered": 7, "correct": 3}
    assert problems == ["leading-space"]
    stc, problems = scored([file], "stc")
    assert stc.facts["source_counts"]["OP"] == {"n": 7, "answered": 7, "correct": 3}
    assert problems == []
    # Strictly, "Blue" is the text of option B alone.
    assert stc.facts["counts"]["OP"] == official.facts["counts"]["OP"] == {"n": 367, "answered": 7, "correct": 7}


def test_unanswered_questions_leave_the_official_denominator_and_stay_in_the_strict_one(tmp_path: Path) -> None:
    file = write(tmp_path / "x.json", question(0, "B"), question(1), question(2, None), question(3, "A"))
    sheet, problems = scored([file])
    assert sheet.source.tasks["OP"] == 50.0
    assert sheet.strict.tasks["OP"] == pytest.approx(100 / 367)
    assert (sheet.n, sheet.answered) == (367, 2)
    assert problems == []


def test_the_key_of_the_replies_is_found_whatever_its_name(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps([entry({**question(0), "LLaVA-OneVision 7B": "B"})]), encoding="utf-8")
    assert scored([file])[0].facts["counts"]["OP"]["correct"] == 1


def test_files_of_two_models_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.json", question(0, "B"))
    write(tmp_path / "b.json", {**question(1), "other": "A"}, video="sample_2_real")
    with pytest.raises(DataError, match=r"b\.json holds answers of other, .*a\.json those of MyModel"):
        scored([tmp_path])


def test_an_empty_reply_to_a_sequential_question_is_passed_over_as_the_official_script_does(
    tmp_path: Path,
) -> None:
    name = "Sequential Question Answering"
    file = write(tmp_path / "x.json", question(0, "B", task_type=name), question(1, "", task_type=name))
    sheet, problems = scored([file])
    assert sheet.source.tasks["SQA"] == 100.0
    assert sheet.strict.tasks["SQA"] == pytest.approx(100 / 250)
    assert problems == []


def test_a_file_with_two_models_answers_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "x.json", {**question(0, "B"), "other": "A"})
    with pytest.raises(DataError, match=r"several models' answers \(MyModel, other\)"):
        scored([file])


def test_an_annotation_file_has_no_answers_and_no_bare_percentage(tmp_path: Path) -> None:
    sheet, problems = scored([write(tmp_path / "x.json", question(0), question(1))])
    assert problems == ["no-answers"]
    assert (sheet.n, sheet.answered, sheet.source.tasks["OP"], sheet.source.total) == (367, 0, None, None)
    assert sheet.strict.tasks["OP"] == 0.0


def test_an_empty_list_has_no_score(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]", encoding="utf-8")
    sheet, problems = scored([tmp_path / "x.json"])
    assert problems == ["empty-file"]
    assert (sheet.n, sheet.coverage, sheet.source.total, sheet.strict.total) == (0, 0.0, None, None)


@pytest.mark.parametrize(
    ("reply", "problem", "answered", "official"),
    [
        (float("nan"), "bad-row", 0, 0),
        (3, "bad-row", 0, 0),
        (True, "bad-row", 0, 0),
        ({"a": 1}, "bad-row", 0, 0),
        (["B"], "list-reply", 1, 1),
        ([], "list-reply", 0, 0),
        ("", "official-stops", 0, 1),
        ("x" * 1_000_000, None, 0, 1),
        ("B" + "\n" * 1_000_000, None, 1, 1),
    ],
)
def test_a_strange_reply_is_named_and_counts_as_what_it_is(
    tmp_path: Path, reply: Any, problem: str | None, answered: int, official: int
) -> None:
    sheet, problems = scored([write(tmp_path / "x.json", question(0, reply), question(1, "B"))])
    assert sheet.answered == 1 + answered
    assert sheet.facts["source_counts"]["OP"]["n"] == 1 + official
    assert problems == ([problem] if problem else [])
    json.dumps(sheet_to_json(sheet), allow_nan=False)


def test_two_answers_to_one_question_are_named_and_count_once_where_they_agree(tmp_path: Path) -> None:
    write(tmp_path / "a.json", question(0, "B"), question(1, "B"), question(2))
    write(tmp_path / "b.json", question(0, "B"), question(1, "C"), question(2, "B"))
    sheet, problems = scored([tmp_path])
    assert problems == ["duplicate", "duplicate"]
    assert sheet.facts["counts"]["OP"] == {"n": 367, "answered": 2, "correct": 2}
    assert sheet.facts["source_counts"]["OP"] == {"n": 5, "answered": 5, "correct": 4}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[{", "not valid JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"a": 1}', "is not a list of entries"),
        (b'{"backward": [], "realtime": [], "forward": []}', "looks like ovobench data"),
    ],
)
def test_a_file_that_is_no_answer_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        scored([tmp_path / "x.json"])


def test_a_broken_file_among_others_is_named_and_the_others_count(tmp_path: Path) -> None:
    write(tmp_path / "a.json", question(0, "B"), {"task_type": "Object Recognition"})
    (tmp_path / "b.json").write_bytes(b"\xff")
    sheet, problems = scored([tmp_path])
    assert sorted(problems) == ["bad-row", "unreadable-file"]
    assert sheet.facts["counts"]["OP"]["correct"] == 1


def data(folder: Path) -> Path:
    folder.mkdir()
    content = [entry(question(0), question(1), question(2), question(3, gold="C"))]
    (folder / "questions_real.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_with_the_data_unknown_questions_and_other_gold_are_named(tmp_path: Path) -> None:
    file = write(tmp_path / "x.json", question(0, "B"), question(3, "B", gold="B"), question(9, "B"))
    sheet, problems = scored([file], data=data(tmp_path / "data"))
    assert sheet.n == 4
    assert sheet.facts["counts"]["OP"] == {"n": 4, "answered": 2, "correct": 1}
    assert sheet.facts["source_counts"]["OP"] == {"n": 3, "answered": 3, "correct": 3}
    assert problems == ["unknown-id", "other-version"]


def test_predictions_of_another_version_are_refused_where_nothing_fits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="predictions of another version"):
        scored([write(tmp_path / "x.json", question(9, "B"))], data=data(tmp_path / "data"))


def test_sequential_answers_in_a_list_of_lists_are_read(tmp_path: Path) -> None:
    name = "Sequential Question Answering"
    rows = [question(i, "B", task_type=name, options=["w", "x", "y", "z"]) for i in range(3)]
    (tmp_path / "x.json").write_text(json.dumps([[entry(rows[0]), entry(*rows[1:])]]), encoding="utf-8")
    sheet, problems = scored([tmp_path / "x.json"])
    assert problems == []
    assert sheet.facts["counts"]["SQA"] == {"n": 250, "answered": 3, "correct": 3}
    assert sheet.source.total is None


def test_proactive_output_counts_where_the_last_turn_is_within_two_seconds(tmp_path: Path) -> None:
    replies = [
        dialog((11, "No"), (12, "Yes"), (12, "Goal"), answered=12),
        dialog((11, "Yes."), (11, "Goal"), answered=11),
        dialog((16, "no"), (17, "no"), (18, "no")),
        dialog((11, "no"), (13, "The answer is yes"), (13, "A goal"), answered=13),
        dialog((11, "hm"), (14, "Yes"), (14, "Goal"), answered=14),
        {"answered": False, "dialog_history": []},
        "Yes",
    ]
    rows = [proactive(i, reply) for i, reply in enumerate(replies)]
    sheet, problems = scored([write(tmp_path / "x.json", *rows, video="sample_1_proactive")])
    assert sheet.facts["source_counts"]["PO"] == {"n": 5, "answered": 5, "correct": 3}
    # The reply that is neither yes nor no makes its question unanswered.
    assert sheet.facts["counts"]["PO"] == {"n": 51, "answered": 4, "correct": 2}
    assert sheet.facts["proactive"] == {"asked": 5, "time_correct": 3, "answer_correct": 2}
    assert problems == ["bad-row", "bad-row"]


def poll(at: float, text: str, **changes: Any) -> AnswerRecord:
    tags = {
        **{"task": "PO", "turn": "poll", "question": "q", "poll": "1", "polls": "8", "gold_time": "14"},
        **{"gold_output": "Goal", "expected": "2"},
    }
    base = {"sample": "s", "kind": "proactive", "start": 0.0, "end": at, "gold": "Yes", "cluster": "v"}
    made = {**base, "query": f"q#{at:g}", "at": at, "text": text, "tags": {**tags, **changes.pop("tags", {})}}
    return AnswerRecord.model_validate({**made, **changes})


def test_the_polls_of_a_run_are_joined_up_to_the_first_yes(tmp_path: Path) -> None:
    records = [
        *(poll(15, "No"), poll(12, "No"), poll(13, "Yes")),
        poll(13, "Goal!", query="q#output", tags={"turn": "output"}),
    ]
    sheet = task.score(from_records(records), "evalkit")
    assert sheet.facts["counts"]["PO"] == {"n": 2, "answered": 1, "correct": 1}
    assert sheet.facts["proactive"] == {"asked": 1, "time_correct": 1, "answer_correct": 1}
    late = task.score(from_records([poll(second, "No") for second in (16, 17, 18)]), "evalkit")
    assert late.facts["counts"]["PO"] == {"n": 2, "answered": 1, "correct": 0}
    assert late.facts["source_counts"]["PO"] == {"n": 1, "answered": 1, "correct": 0}


def test_a_failed_poll_before_any_yes_leaves_the_question_unanswered() -> None:
    records = [poll(12, "No"), poll(13, "", status="failed", error="x")]
    sheet = task.score(from_records(records), "evalkit")
    assert sheet.facts["counts"]["PO"] == {"n": 2, "answered": 0, "correct": 0}
    assert "PO" not in sheet.facts["source_counts"]


def whole(counts: dict[str, int], correct: dict[str, int]) -> list[Prediction]:
    found = []
    for name, n in counts.items():
        for i in range(n):
            right = i < correct.get(name, n)
            if name == "PO":
                turns = [[14.0 if right else 18.0, "Yes" if right else "No"]]
                tags = {"gold_time": "14", "history": json.dumps(turns)}
                found.append(Prediction(f"{name}{i}", name, "x", "Yes", "proactive", (), "v", tags))
            else:
                found.append(
                    Prediction(f"{name}{i}", name, "B" if right else "A", "B", "choice", tuple(FOUR), "v")
                )
    return found


def test_the_overall_figure_is_that_of_the_published_formula() -> None:
    # GPT-4o, all context: the published columns give Real 73.28, Omni 44.50, Contextual 38.70, Overall 60.15.
    shares = {
        **{
            "OP": 77.11,
            "CR": 80.47,
            "CS": 83.91,
            "ATP": 76.47,
            "EU": 70.19,
            "TR": 83.80,
            "PR": 66.67,
            "SU": 62.19,
        },
        **{"ACP": 69.12, "CT": 49.22, "ER": 41.20, "SCU": 37.20, "SD": 43.60, "MA": 56.00, "ACU": 41.20},
        **{"MCU": 38.40, "SQA": 32.80, "PO": 56.86},
    }
    correct = {name: round(JSON_COUNTS[name] * share / 100) for name, share in shares.items()}
    sheet = task.score(whole(dict(JSON_COUNTS), correct), "official")
    for scores in (sheet.source, sheet.strict):
        assert scores.groups["real"] == pytest.approx(73.28, abs=0.005)
        assert scores.groups["omni"] == pytest.approx(44.50, abs=0.005)
        assert scores.groups["contextual"] == pytest.approx(38.70, abs=0.005)
        assert scores.total == scores.groups["streamingbench_overall_4301"] == pytest.approx(60.15, abs=0.005)
    assert sheet.n == 4301
    assert sheet.facts["total_is"] == "streamingbench_overall_4301"


@pytest.mark.parametrize("missing", ["OP", "MA", "PO"])
def test_a_total_is_none_as_soon_as_one_sub_task_is_missing(missing: str) -> None:
    counts = {name: n for name, n in JSON_COUNTS.items() if name != missing}
    sheet = task.score(whole(counts, {}), "official")
    assert sheet.source.total is None
    assert sheet.strict.total is None
    assert sheet.strict.groups[group_of(missing)] is None


def test_one_complete_group_has_its_own_total_and_says_so() -> None:
    counts = {name: JSON_COUNTS[name] for name in GROUPS["omni"]}
    sheet = task.score(whole(counts, {}), "official")
    assert sheet.strict.total == 100.0
    assert sheet.facts["total_is"] == "omni"
    assert sheet.strict.groups["streamingbench_overall_4301"] is None


def test_both_versions_are_told_apart_by_their_counts() -> None:
    assert (
        version_of(JSON_COUNTS)
        == "JSON (GitHub): 4,301 questions, proactive questions of questions_proactive_50.json"
    )
    assert (
        version_of(CSV_COUNTS)
        == "CSV (Hugging Face): 4,300 questions, proactive questions of Proactive_Output_50.csv"
    )
    assert version_of({"OP": 3}) == "not a published version: 3 questions"
    assert version_of({"ER": 250}).startswith("JSON (GitHub) or CSV (Hugging Face), alike")
    for counts in (JSON_COUNTS, CSV_COUNTS):
        assert sum(counts[name] for name in GROUPS["real"]) == 2500
    assert set(ABBREVIATIONS.values()) == set(JSON_COUNTS)


def test_a_loaded_demo_answered_with_its_gold_scores_100(tmp_path: Path) -> None:
    task.make_demo(tmp_path / "demo")
    assert task.check(tmp_path / "demo").problems == ()
    for changes in ({}, {"protocol": "official", "context": 60}):
        loaded = task.load(tmp_path / "demo", SbSettings.model_validate(changes))
        records = [
            AnswerRecord(
                sample=sample.id,
                query=query.id,
                kind=query.kind,
                at=query.at,
                start=sample.start,
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
        assert len(sheet.facts["counts"]) == 18


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="no format 'stk'; did you mean 'stc'"):
        task.read_predictions("stk", [], None)


def test_scoring_grows_in_proportion_to_the_answers() -> None:
    def score(count: int) -> Callable[[], object]:
        predictions = whole({**dict.fromkeys(JSON_COUNTS, 1), "OP": count}, {})
        return lambda: task.score(predictions, "official")

    assert growth(score, 1000) < LINEAR
