"""Video-MME's prediction files and scores: both denominators, and files that are not whole."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from evalkit.errors import DataError, UsageError
from evalkit.records import AnswerRecord, JsonlWriter, RunFolder, RunManifest
from evalkit_tasks.videomme import task
from evalkit_tasks.videomme.published import DOMAINS, DURATIONS, SUB_CATEGORIES, TASK_COUNTS
from tests.growth import LINEAR, growth

OPTIONS = ["A. One.", "B. Two.", "C. Three.", "D. Four."]


def video(name, duration="short", replies=("C", "C", "C"), **changes):
    questions = [
        {
            "question_id": f"{name}-{k}",
            "task_type": "OCR Problems",
            "question": "What?",
            "options": OPTIONS,
            "answer": "C",
            "response": reply,
        }
        for k, reply in enumerate(replies, start=1)
    ]
    head = {"video_id": name, "duration": duration, "domain": "Knowledge", "sub_category": "Astronomy"}
    return {**head, "questions": questions, **changes}


def published_set():
    """All 900 videos with the published numbers of every label, every reply right."""
    videos = []
    for place, duration in enumerate(DURATIONS):
        types = [name for name, counts in TASK_COUNTS.items() for _ in range(counts[place])]
        domains = [name for name, count in DOMAINS.items() for _ in range(count // 3)]
        subs = [name for name in SUB_CATEGORIES for _ in range(10)]
        for i in range(300):
            one = video(f"{300 * place + i + 1:03d}", duration, domain=domains[i], sub_category=subs[i])
            for k, question in enumerate(one["questions"]):
                question["task_type"] = types[3 * i + k]
            videos.append(one)
    return videos


def score(tmp_path, content, format="official", data=None, name="results.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    predictions, problems = task.read_predictions(format, [path], data)
    return task.score(predictions, format), problems


def kinds(problems):
    return [problem.kind for problem in problems]


def test_unread_replies_leave_the_official_denominator_and_are_wrong_in_strict(tmp_path):
    content = [video("x", "short", ["C", "I cannot answer", "B"]), video("y", "medium", ["C", "", None])]
    sheet, problems = score(tmp_path, content)
    assert sheet.source.total == pytest.approx(100 * 2 / 3)
    assert sheet.strict.total == pytest.approx(100 * 2 / 6)
    assert sheet.source.groups["videomme_short"] == 50
    assert sheet.strict.groups["videomme_short"] == pytest.approx(100 / 3)
    assert sheet.source.groups["videomme_long"] is None
    assert (sheet.n, sheet.answered, sheet.coverage) == (6, 3, 0.5)
    assert sheet.facts["dropped_by_source"] == 3
    assert problems == []


def test_the_official_rule_credits_letters_in_words_and_strict_does_not(tmp_path):
    sheet, _ = score(tmp_path, [video("x", replies=["Cannot be determined", "C.", "C"])])
    assert sheet.source.total == 100
    assert sheet.strict.total == pytest.approx(200 / 3)
    assert sheet.facts["other_rules"] == {"lmms-eval": 100.0, "vlmevalkit": 100.0}


def test_an_option_repeated_word_for_word_is_its_letter_even_if_it_names_others(tmp_path):
    one = video("x", replies=["C. Vitamin D."])
    one["questions"][0]["options"] = ["A. One.", "B. Two.", "C. Vitamin D.", "D. Four."]
    assert score(tmp_path, [one])[0].strict.total == 100


def test_a_whole_file_scores_whole(tmp_path):
    sheet, problems = score(tmp_path, published_set())
    assert (sheet.n, sheet.source.total, sheet.strict.total) == (2700, 100, 100)
    assert set(sheet.source.groups.values()) == set(sheet.strict.tasks.values()) == {100}
    assert problems == []


def test_a_video_that_is_missing_leaves_no_official_total_and_is_wrong_in_strict(tmp_path):
    sheet, problems = score(tmp_path, published_set()[1:])
    assert sheet.n == 2700
    assert sheet.source.total is sheet.source.groups["videomme_short"] is None
    assert sheet.source.groups["videomme_medium"] == 100
    assert sheet.strict.total == pytest.approx(100 * 2697 / 2700)
    assert sheet.strict.groups["videomme_short"] == pytest.approx(100 * 897 / 900)
    assert sheet.strict.tasks["Temporal Perception"] == pytest.approx(100 * 52 / 55)
    assert sheet.strict.tasks["OCR Problems"] == 100
    assert sheet.strict.groups["videomme_domain_knowledge"] == pytest.approx(100 * 807 / 810)
    assert kinds(problems) == ["missing"]


def test_a_question_that_is_missing_is_out_of_the_official_score_and_wrong_in_strict(tmp_path):
    content = published_set()
    del content[0]["questions"][0]
    sheet, _ = score(tmp_path, content)
    assert sheet.source.total == 100
    assert sheet.strict.total == pytest.approx(100 * 2699 / 2700)


def test_a_duration_that_is_missing_leaves_no_total_at_all(tmp_path):
    sheet, problems = score(tmp_path, published_set()[:600])
    assert sheet.n == 1800
    assert sheet.strict.groups["videomme_short"] == sheet.strict.groups["videomme_medium"] == 100
    assert sheet.strict.groups["videomme_long"] is sheet.strict.total is sheet.source.total is None
    assert sheet.strict.groups["videomme_macro_duration"] is None
    assert len(sheet.correct) == 1800
    assert kinds(problems) == ["missing"]


def test_an_empty_list_is_named_and_has_no_score(tmp_path):
    sheet, problems = score(tmp_path, [])
    assert (sheet.n, sheet.coverage, sheet.source.total, sheet.strict.total) == (0, 0.0, None, None)
    assert kinds(problems) == ["empty-file"]


def test_the_older_templates_names_and_its_trailing_commas_are_read(tmp_path):
    old = {"video_id": "x", "duration_category": "short", "video_category": "Knowledge"}
    one = video("x")
    question = {**one["questions"][0], "choices": OPTIONS}
    del question["options"]
    text = json.dumps([{**old, "video_subcategory": "Astronomy", "questions": [question]}])
    sheet, problems = score(tmp_path, text.replace("}]}]", "},],},\n]").replace('"What?"', '"Why, [so ,]?"'))
    assert sheet.strict.total == 100
    assert kinds(problems) == ["trailing-comma"]


def test_two_answers_to_one_question_are_named_and_count_only_where_they_agree(tmp_path):
    sheet, _ = score(tmp_path, [video("x", replies=["C", "C", "C"]), video("x", replies=["C", "B", "C"])])
    assert sheet.n == 3
    assert sheet.strict.total == pytest.approx(200 / 3)
    assert sheet.source.total == pytest.approx(500 / 6)
    found = [p for p in sheet.problems if p.kind == "duplicate"]
    assert [p.item for p in found] == ["x-1", "x-2", "x-3"]
    assert "different replies" in found[1].message


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(float("nan"), "bad-reply"), (7, "bad-reply"), ({"a": 1}, "bad-reply"), ("C" * 2**20, "long-reply")],
)
def test_a_reply_that_is_none_is_named_and_wrong_in_strict(tmp_path, reply, kind):
    sheet, problems = score(tmp_path, [video("x", replies=[reply, "C"])])
    assert [(p.kind, p.item, p.field) for p in problems] == [(kind, "x-1", "questions.0.response")]
    assert sheet.strict.total == 50


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"answer": "E"}, "questions.0.answer"),
        ({"answer": None}, "questions.0.answer"),
        ({"question_id": 5}, "questions.0.question_id"),
        ({"task_type": ""}, "questions.0.task_type"),
        ({"options": "A"}, "questions.0.options"),
    ],
)
def test_a_bad_question_is_named_and_fails_alone(tmp_path, change, field):
    one = video("x")
    one["questions"][0].update(change)
    sheet, problems = score(tmp_path, [one])
    assert [(p.kind, p.file, p.line, p.field) for p in problems] == [("bad-row", "results.json", 1, field)]
    assert sheet.n == 2


@pytest.mark.parametrize("change", [{"video_id": None}, {"duration": "none"}, {"domain": 3}, {"questions": None}])
def test_a_bad_video_is_named_and_fails_alone(tmp_path, change):
    sheet, problems = score(tmp_path, [video("x"), video("y", **change)])
    assert [(p.kind, p.line, p.field) for p in problems] == [("bad-row", 2, next(iter(change)))]
    assert sheet.n == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "must be a list of videos"),
        ("[1]", "must be a list of videos"),
        ('[{"a": 1}]', "must be a list of videos"),
        ("[{", "not valid JSON"),
        ('[{"time_stamp": 1, "task_type": "x", "question": "q"}]', "a file of streamingbench"),
    ],
)
def test_another_layout_is_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        score(tmp_path, content)


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    path = tmp_path / "r.json"
    path.write_bytes(b'[\n{"video_id": "\xe9"}]')
    with pytest.raises(DataError, match=r"not UTF-8 \(byte 16, line 2\)"):
        task.read_predictions("official", [path], None)


def test_an_unknown_format_and_no_file_are_wrong_use(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'official'"):
        task.read_predictions("offical", [tmp_path], None)
    with pytest.raises(UsageError, match="at least one"):
        task.read_predictions("official", [], None)
    with pytest.raises(DataError, match="does not exist"):
        task.read_predictions("official", [tmp_path / "gone.json"], None)


def test_livecc_names_a_response_that_is_no_option(tmp_path):
    _, problems = score(tmp_path, [video("x", replies=["C. Three.", "C"])], "livecc")
    assert [(p.kind, p.item) for p in problems] == [("not-an-option", "x-2")]


@pytest.fixture
def data(tmp_path):
    head = {
        "duration": "short",
        "domain": "Knowledge",
        "sub_category": "Astronomy",
        "url": "",
        "task_type": "OCR Problems",
    }
    rows = [
        {
            **head,
            "video_id": name,
            "videoID": name,
            "question_id": f"{name}-{k}",
            "question": f"{k}?",
            "options": OPTIONS,
        }
        | {"answer": "C"}
        for name in ("x", "y")
        for k in (1, 2, 3)
    ]
    folder = tmp_path / "data_folder"
    folder.mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "test-00000-of-00001.parquet")
    return folder


def test_with_data_missing_questions_unknown_ids_and_other_golds_are_named(tmp_path, data):
    other = video("x", replies=["C", "A"])
    other["questions"][1]["answer"] = "A"
    sheet, problems = score(tmp_path, [other, video("z", replies=["C"])], data=data)
    assert kinds(problems) == ["gold-mismatch", "unknown-id", "missing"]
    assert (sheet.n, sheet.strict.total) == (6, pytest.approx(100 / 6))
    assert sheet.source.total is None
    with pytest.raises(DataError, match="the predictions are of other data"):
        score(tmp_path, [video("z")], data=data)


def run_folder(path, answers, planned, task_name="videomme"):
    path.mkdir()
    folder = RunFolder(path)
    folder.write_manifest(
        RunManifest(
            task=task_name,
            model="m",
            started="2025",
            options={},
            fingerprint={},
            fingerprint_digest="x",
            planned=planned,
        )
    )
    with JsonlWriter[AnswerRecord](folder.answers_path) as writer:
        for sample, query, text in answers:
            writer.append(
                AnswerRecord(
                    sample=sample,
                    query=query,
                    kind="choice",
                    at=1,
                    start=0,
                    end=1,
                    text=text or "",
                    status="failed" if text is None else "ok",
                    gold="C",
                    choices=tuple(OPTIONS),
                    cluster=sample,
                    tags={
                        "task": "OCR Problems",
                        "duration": "short",
                        "domain": "Knowledge",
                        "sub_category": "Astronomy",
                    },
                )
            )
    return path


def test_a_run_is_scored_over_what_it_planned(tmp_path, data):
    run = run_folder(tmp_path / "run", [("x", "x-1", "C"), ("x", "x-2", None), ("x", "x-3", "B")], ["x", "y"])
    predictions, problems = task.read_predictions("evalkit", [run], None)
    assert task.score(predictions, "evalkit").strict.total == pytest.approx(100 / 3)
    assert kinds(problems) == ["partial-run"]
    predictions, problems = task.read_predictions("evalkit", [run], data)
    assert task.score(predictions, "evalkit").strict.total == pytest.approx(100 / 6)
    assert kinds(problems) == ["partial-run", "missing"]
    wrong = run_folder(tmp_path / "other", [], [], "ovobench")
    with pytest.raises(DataError, match="is a run of ovobench"):
        task.read_predictions("evalkit", [wrong], None)


def test_a_run_on_a_part_of_the_published_set_has_no_total_and_no_official_score(tmp_path):
    run = run_folder(tmp_path / "run", [("001", "001-1", "C"), ("001", "001-2", "B")], ["001"])
    predictions, problems = task.read_predictions("evalkit", [run], None)
    sheet = task.score(predictions, "evalkit")
    assert problems == []
    assert sheet.n == 2
    assert sheet.strict.groups["videomme_short"] == 50
    assert sheet.source.groups["videomme_short"] is None
    assert sheet.strict.total is sheet.source.total is None


def test_metrics_have_both_scores(tmp_path):
    sheet, _ = score(tmp_path, [video("x")])
    metrics = task.metrics(sheet)
    assert {m.score for m in metrics if m.name == "videomme_overall"} == {"official", "strict"}


def test_scoring_grows_in_proportion_to_the_answers(tmp_path):
    replies = [
        "C",
        "B. Two.",
        "The correct answer is C because of the colours that are shown.",
        "I cannot tell",
        "(D)",
    ]

    def scored(videos):
        content = [video(f"v{i}", replies=[f"{replies[(i + k) % 5]}" for k in range(3)]) for i in range(videos)]
        path = tmp_path / f"{videos}.json"
        path.write_text(json.dumps(content))

        def score():
            predictions, _ = task.read_predictions("official", [path], None)
            assert task.score(predictions, "official").n == 3 * videos

        return score

    assert growth(scored, 200) < LINEAR
