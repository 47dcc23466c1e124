"""LongVideoBench's prediction files and scores: lmms-eval's rule, the strict one, and the hidden test set."""

import json
import random

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.records import AnswerRecord, JsonlWriter, RunFolder, RunManifest
from evalkit_tasks.longvideobench import task
from tests.growth import LINEAR, growth

CATEGORIES = ("S2E", "TAA")


def question(number, **changes):
    fields = {
        "video_id": f"v{number // 2}",
        "question": f"Question {number}?",
        "candidates": ["red", "blue", "green", "white", "the ball"],
        "correct_choice": number % 5,
        "question_category": CATEGORIES[number % 2],
        "id": f"v{number // 2}_{number % 2}",
        "video_path": f"v{number // 2}.mp4",
        "subtitle_path": None,
        "duration_group": (15, 3600)[number // 2 % 2],
        "starting_timestamp_for_subtitles": 0,
        "duration": 12.0,
    }
    return {**fields, **changes}


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [question(number) for number in range(8)]
    (folder / "lvb_val.json").write_text(json.dumps(rows))
    test = [{**row, "id": f"t_{row['id']}"} for row in rows]
    for row in test:
        del row["correct_choice"]
    (folder / "lvb_test_wo_gt.json").write_text(json.dumps(test))
    return folder


def gold(number):
    return "ABCDE"[number % 5]


def id_of(number):
    return f"v{number // 2}_{number % 2}"


def right():
    return {id_of(number): gold(number) for number in range(8)}


def submit(tmp_path, content, data):
    path = tmp_path / "submission.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    predictions, problems = task.read_predictions("submission", [path], data)
    return task.score(predictions, "submission"), problems


def kinds(problems):
    return [problem.kind for problem in problems]


def test_a_whole_submission_scores_whole(tmp_path, data):
    sheet, problems = submit(tmp_path, right(), data)
    assert (sheet.n, sheet.coverage, sheet.source.total, sheet.strict.total) == (8, 1.0, 100, 100)
    assert sheet.strict.groups["longvideobench_15"] == sheet.source.groups["longvideobench_3600"] == 100
    assert sheet.strict.groups["longvideobench_60"] is None
    assert sheet.strict.groups["longvideobench_perception"] == 100
    assert sheet.strict.tasks["S2O"] is None
    assert problems == []


def test_a_reply_without_a_letter_is_wrong_by_both_rules_and_counted_as_a_random_choice(tmp_path, data):
    sheet, _ = submit(tmp_path, {**right(), id_of(0): "no idea", id_of(1): "because it is"}, data)
    assert sheet.source.total == sheet.strict.total == 75
    assert sheet.facts["random_choices"] == 2
    assert sheet.answered == 6


def test_the_published_rule_credits_letters_in_words_and_strict_does_not(tmp_path, data):
    replies = {**right(), id_of(0): "Anything may happen", id_of(1): "The best option is B"}
    sheet, _ = submit(tmp_path, replies, data)
    assert sheet.source.total == 100
    assert sheet.strict.total == 87.5


def test_an_options_text_is_read_strictly_only(tmp_path, data):
    sheet, _ = submit(tmp_path, {**right(), id_of(2): "green"}, data)
    assert (sheet.source.total, sheet.strict.total) == (87.5, 100)


def test_missing_questions_leave_no_published_total_and_are_wrong_in_strict(tmp_path, data):
    replies = right()
    del replies[id_of(0)]
    sheet, problems = submit(tmp_path, replies, data)
    assert (sheet.n, sheet.strict.total) == (8, 87.5)
    assert sheet.source.total is sheet.source.groups["longvideobench_15"] is None
    assert sheet.source.groups["longvideobench_3600"] == 100
    assert sheet.strict.groups["longvideobench_15"] == 75
    assert kinds(problems) == ["missing"]


def test_a_duration_group_without_any_reply_leaves_no_total(tmp_path, data):
    replies = {key: value for key, value in right().items() if key[:2] in ("v0", "v2")}
    sheet, _ = submit(tmp_path, replies, data)
    assert sheet.n == 4
    assert sheet.strict.groups["longvideobench_15"] == 100
    assert sheet.strict.groups["longvideobench_3600"] is sheet.strict.total is None


def test_unknown_ids_repeated_ids_and_replies_that_are_no_text_are_named(tmp_path, data):
    text = json.dumps({**right(), "nobody_1": "A", id_of(3): 4})
    text = text[:-1] + f', "{id_of(2)}": "A", "{id_of(4)}": NaN}}'
    sheet, problems = submit(tmp_path, text, data)
    found = {(p.kind, p.item) for p in problems}
    assert found == {
        ("duplicate", id_of(2)),
        ("duplicate", id_of(4)),
        ("bad-reply", id_of(3)),
        ("bad-reply", id_of(4)),
        ("unknown-id", "nobody_1"),
    }
    assert sheet.n == 8
    assert sheet.strict.total == 62.5


def test_a_reply_of_a_megabyte_is_named_and_wrong_in_strict(tmp_path, data):
    sheet, problems = submit(tmp_path, {**right(), id_of(0): "A" + " word" * 2**18}, data)
    assert kinds(problems) == ["long-reply"]
    assert (sheet.source.total, sheet.strict.total) == (100, 87.5)


def test_submissions_of_other_data_and_without_data_are_refused(tmp_path, data):
    with pytest.raises(DataError, match="the predictions are of other data"):
        submit(tmp_path, {"zz_1": "A"}, data)
    with pytest.raises(UsageError, match="has no gold in it; name the data folder"):
        submit(tmp_path, right(), None)
    with pytest.raises(DataError, match="must be one object"):
        submit(tmp_path, [right()], data)
    with pytest.raises(UsageError, match="did you mean 'submission'"):
        task.read_predictions("submision", [tmp_path], data)


def test_the_hidden_test_set_is_not_scored_but_written_as_a_submission(tmp_path, data):
    replies = {f"t_{key}": value for key, value in right().items()}
    path = tmp_path / "test.json"
    path.write_text(json.dumps(replies))
    predictions, problems = task.read_predictions("submission", [path], data)
    sheet = task.score(predictions, "submission")
    assert problems == []
    assert sheet.source.total is sheet.strict.total is None
    assert set(sheet.strict.groups.values()) == set(sheet.source.tasks.values()) == {None}
    assert (sheet.n, sheet.coverage) == (8, 1.0)
    assert kinds(sheet.problems) == ["hidden-gold"]
    assert json.loads(*task.submissions(predictions).values()) == replies


def log_row(number, reply, **changes):
    scored = {
        "id": id_of(number),
        "duration_group": (15, 3600)[number // 2 % 2],
        "question_category": CATEGORIES[number % 2],
        "answer": gold(number),
        "parsed_pred": gold(number),
    }
    row = {
        "doc_id": number,
        "target": str(number % 5),
        "filtered_resps": [reply],
        "lvb_acc": {**scored, **changes},
        "submission": {id_of(number): reply},
        "input": "...",
    }
    return row


def read_log(tmp_path, rows, data=None, name="20250101_samples_longvideobench_val_v.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    predictions, problems = task.read_predictions("lmms-eval", [path], data)
    return task.score(predictions, "lmms-eval"), problems


def test_an_lmms_eval_log_is_read_again_without_its_random_choices(tmp_path):
    rows = [log_row(number, gold(number)) for number in range(7)] + [log_row(7, "no idea")]
    sheet, problems = read_log(tmp_path, rows)
    assert sheet.source.total == sheet.strict.total == 87.5
    assert sheet.facts["random_choices"] == 1
    assert sheet.facts["logged_overall"] == 100
    assert kinds(problems) == ["partial"]
    assert "1,337" in problems[0].message


@pytest.mark.parametrize("nested", [[["B"]], ["B"], "B"])
def test_replies_may_be_nested_in_lists(tmp_path, nested):
    row = log_row(1, "B")
    del row["filtered_resps"]
    row["resps"] = nested
    assert read_log(tmp_path, [row])[0].strict.total == 100


def test_the_json_log_of_older_versions_is_read(tmp_path):
    path = tmp_path / "longvideobench_val_v.json"
    path.write_text(json.dumps({"args": {}, "logs": [log_row(0, "A"), log_row(1, "C")]}))
    predictions, _ = task.read_predictions("lmms-eval", [path], None)
    assert task.score(predictions, "lmms-eval").strict.total == 50


def test_bad_rows_of_a_log_are_named_by_line_and_field_and_fail_alone(tmp_path):
    rows = [
        log_row(0, "A"),
        "{torn",
        log_row(1, "B", answer="F"),
        log_row(1, "B", question_category="XX"),
        log_row(1, "B", id=None),
        "5",
        '{"doc": 1}',
    ]
    sheet, problems = read_log(tmp_path, rows)
    assert sheet.n == 1
    assert [(p.line, p.field) for p in problems if p.kind == "bad-row"] == [
        (2, None),
        (3, "lvb_acc.answer"),
        (4, "lvb_acc.question_category"),
        (5, "lvb_acc.id"),
        (6, None),
        (7, "lvb_acc"),
    ]


def test_a_log_without_any_row_is_refused(tmp_path):
    with pytest.raises(DataError, match="no row of an lmms-eval LongVideoBench log"):
        read_log(tmp_path, ['{"id": 1}'])
    with pytest.raises(DataError, match="has no list of logs"):
        read_log(tmp_path, ["{}"], name="x.json")


def test_two_answers_to_one_question_are_named_and_count_only_where_they_agree(tmp_path):
    sheet, _ = read_log(tmp_path, [log_row(0, "A"), log_row(0, "B"), log_row(1, "B"), log_row(1, "(B)")])
    assert sheet.n == 2
    assert sheet.strict.total == 50
    assert sheet.source.total == 75
    assert [p.item for p in sheet.problems if p.kind == "duplicate"] == [id_of(0), id_of(1)]


def test_a_log_of_another_version_of_the_data_is_named(tmp_path, data):
    rows = [log_row(number, gold(number)) for number in range(8)]
    rows[0]["lvb_acc"]["answer"] = "E"
    sheet, problems = read_log(tmp_path, rows, data)
    assert [(p.kind, p.item) for p in problems] == [("gold-mismatch", id_of(0))]
    assert sheet.strict.total == 100


def run_folder(path, split, answers):
    path.mkdir()
    folder = RunFolder(path)
    folder.write_manifest(
        RunManifest(
            task="longvideobench", model="m", started="2025", options={}, fingerprint={}, fingerprint_digest="x"
        )
    )
    with JsonlWriter[AnswerRecord](folder.answers_path) as writer:
        for number, text in answers.items():
            writer.append(
                AnswerRecord(
                    sample=f"v{number // 2}",
                    query=id_of(number),
                    kind="choice",
                    at=12,
                    start=0,
                    end=12,
                    text=text,
                    gold=gold(number) if split == "val" else None,
                    choices=("red", "blue", "green", "white", "the ball"),
                    cluster=f"v{number // 2}",
                    tags={"task": CATEGORIES[number % 2], "duration": "15", "level": "L1-Perception"},
                )
            )
    return path


def test_a_run_is_scored_and_one_on_the_hidden_set_becomes_a_submission(tmp_path):
    run = run_folder(tmp_path / "val", "val", {0: "A", 1: "C"})
    predictions, problems = task.read_predictions("evalkit", [run], None)
    assert problems == []
    assert task.score(predictions, "evalkit").strict.total == 50
    hidden = run_folder(tmp_path / "test", "test", {0: "A", 1: "C"})
    predictions, _ = task.read_predictions("evalkit", [hidden], None)
    assert task.score(predictions, "evalkit").strict.total is None
    assert json.loads(*task.submissions(predictions).values()) == {"v0_0": "A", "v0_1": "C"}


def test_metrics_have_both_scores(tmp_path, data):
    sheet, _ = submit(tmp_path, right(), data)
    assert {m.score for m in task.metrics(sheet) if m.name == "longvideobench_overall"} == {"official", "strict"}


def test_scoring_grows_in_proportion_to_the_answers(tmp_path):
    pick = random.Random(1)
    replies = [
        "A",
        "C. green",
        "The answer is B because of the colours that are shown in it.",
        "I cannot tell",
        "(E)",
    ]

    def scored(count):
        path = tmp_path / f"{count}.jsonl"
        path.write_text("\n".join(json.dumps(log_row(number, pick.choice(replies))) for number in range(count)))

        def score():
            predictions, _ = task.read_predictions("lmms-eval", [path], None)
            assert task.score(predictions, "lmms-eval").answered <= count

        return score

    assert growth(scored, 500) < LINEAR


def test_a_part_of_the_validation_set_is_scored_strictly_over_all_of_it(tmp_path):
    half = [log_row(number, gold(number), id=f"v{number}_0") for number in range(600)]  # 15 s and an hour only
    sheet, problems = read_log(tmp_path, half)
    assert kinds(problems) == ["partial"]
    assert "those missing are wrong in strict" in problems[0].message
    here = {name for name, value in sheet.strict.groups.items() if value is not None}
    assert "longvideobench_60" not in here
    assert sheet.strict.total is None  # two duration groups have no row at all
    assert sheet.source.total == 100

    durations = [15] * 189 + [60] * 172 + [600] * 100 + [3600] * 100
    rows = [
        log_row(number, gold(number), id=f"v{number}_0", duration_group=d) for number, d in enumerate(durations)
    ]
    sheet, _ = read_log(tmp_path, rows)
    assert sheet.strict.groups["longvideobench_600"] == pytest.approx(100 * 100 / 412)
    assert sheet.strict.total == pytest.approx(100 * 561 / 1337)
    assert sheet.source.total == 100


def test_another_benchmarks_samples_are_refused(tmp_path):
    rows = [
        {"doc_id": 0, "submission": {"q": 1}, "score": {"pred": 1, "ground_truth": "1"}, "filtered_resps": ["B"]}
    ]
    with pytest.raises(DataError, match="no row of an lmms-eval LongVideoBench log"):
        read_log(tmp_path, rows)
