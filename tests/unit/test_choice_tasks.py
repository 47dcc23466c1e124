"""EgoSchema and MLVU on made-up data, their sets and prompts; lmms-eval's samples of other benchmarks."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_runs import NotingModel, run_all, toy_data

from evalkit.errors import DataError, UsageError
from evalkit.tasks import Prediction
from evalkit.tasks.catalog import task_named
from evalkit.tasks.scoring import HIDDEN_GOLD
from evalkit_tasks.egoschema import EgoSchemaSettings
from evalkit_tasks.egoschema.prompts import lmms_eval_letter
from evalkit_tasks.mlvu import MlvuSettings
from evalkit_tasks.mlvu.prompts import SYSTEM_CHOICE, SYSTEM_OPEN, official_letter

EGO = task_named("egoschema")
MLVU = task_named("mlvu")
OPTIONS = ("C is cooking.", "C is doing laundry.", "C is cleaning.", "C eats.", "C sleeps.")
ASKED = Prediction("q", "subset", None, "A", "choice", OPTIONS)


@pytest.fixture(scope="module")
def ego(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_data("egoschema", tmp_path_factory.mktemp("ego") / "data")


@pytest.fixture(scope="module")
def mlvu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_data("mlvu", tmp_path_factory.mktemp("mlvu") / "data")


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("C", "C"),
        ("B.", "B"),
        ("(D) C is cleaning", "D"),
        ("A. or B. or A.", "A"),
        ("Definitely not sure", ""),
        ("I think that a. c is cooking. is what is shown", "A"),
        ("cooking", ""),
    ],
)
def test_lmms_evals_reading_of_egoschema_is_kept_with_its_faults(reply: str, letter: str) -> None:
    assert lmms_eval_letter(reply, ASKED) == letter


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("A", "A"),
        ("A.", "A."),
        ("(B) x", "B"),
        ("Option B", "Option B"),
        (") A", ""),
        ("it is C) x (D)", "C"),
    ],
)
def test_mlvus_own_reading_takes_the_character_before_the_first_bracket(reply: str, read: str) -> None:
    assert official_letter(reply, ASKED) == read


def test_the_demos_pass_their_own_checks(ego: Path, mlvu: Path) -> None:
    assert EGO.check(ego).problems == ()
    assert MLVU.check(mlvu).problems == ()
    assert sum(MLVU.check(mlvu).counts.values()) == 14


def test_egoschemas_full_set_has_questions_without_gold_and_clusters_are_ego4d_videos(ego: Path) -> None:
    subset = EGO.load(ego, EgoSchemaSettings())
    full = EGO.load(ego, EgoSchemaSettings(set="full"))
    assert (len(subset.samples), len(full.samples)) == (4, 6)
    assert {sample.cluster for sample in full.samples} == {"demo_match_07", "demo_match_11"}
    assert sum(query.answer is None for sample in full.samples for query in sample.queries) == 2


def test_a_run_on_the_full_set_is_no_score_but_two_files_to_hand_in(ego: Path, tmp_path: Path) -> None:
    from evalkit.tasks.scoring import from_records

    samples = EGO.load(ego, EgoSchemaSettings(set="full", protocol="official", frames="vlmeval-8")).samples
    model = NotingModel(reply=lambda key, prompt: "no idea" if key.endswith("-2") else "B")
    predictions = from_records(run_all(samples, model, tmp_path / "run"), hidden_gold=True)
    assert sum(HIDDEN_GOLD in one.tags for one in predictions) == 2
    assert EGO.score(predictions, "evalkit").source.total is None
    files = EGO.submissions(predictions)  # type: ignore[attr-defined]
    answers = json.loads(files["egoschema_submission.json"])
    assert answers == dict.fromkeys([one.id for one in predictions if not one.id.endswith("-2")], 1)
    assert files["egoschema_submission.csv"].splitlines()[:2] == ["q_uid,answer", f"{next(iter(answers))},1"]


def test_the_protocols_system_text_and_prefix_reach_the_model(mlvu: Path, tmp_path: Path) -> None:
    model = NotingModel()
    official = MLVU.load(mlvu, MlvuSettings(protocol="official", frames="vlmeval-8")).samples[:1]
    streamed = MLVU.load(mlvu, MlvuSettings(fps=0.5)).samples[:1]
    run_all((*official, *streamed), model, tmp_path / "run")
    assert [request.system for request in model.requests] == [SYSTEM_CHOICE, SYSTEM_CHOICE]
    first = model.asked[0]
    assert first.elicitation.prefix == "Best Option: ("
    assert first.prompt.startswith("Question: ")
    assert first.prompt.endswith("\nOnly give the best option.")
    assert "\nOptions:\n(A) " in first.prompt


def test_mlvus_sets_are_its_seven_tasks_the_test_set_and_generation(mlvu: Path) -> None:
    dev = MLVU.load(mlvu, MlvuSettings(protocol="official"))
    test = MLVU.load(mlvu, MlvuSettings(set="test", protocol="official"))
    generation = MLVU.load(mlvu, MlvuSettings(set="generation", protocol="official"))
    assert [len(found.samples) for found in (dev, test, generation)] == [14, 14, 4]
    assert {len(query.choices) for sample in test.samples for query in sample.queries} == {6}
    assert {query.answer for sample in test.samples for query in sample.queries} == {None}
    opened = [query for sample in generation.samples for query in sample.queries]
    assert {query.kind for query in opened} == {"open"}
    assert {sample.system for sample in generation.samples} == {SYSTEM_OPEN}
    assert all(query.tags["scoring_points"] for query in opened if query.tags["task"] == "subPlot")


def test_rekvs_layout_of_a_video_with_its_questions_is_read_too(mlvu: Path, ego: Path, tmp_path: Path) -> None:
    rows = [row for path in sorted((mlvu / "json").glob("[1-7]_*")) for row in json.loads(path.read_text())]
    videos = [
        {
            "video_id": row["video"].removesuffix(".mp4"),
            "video_path": f"/mnt/somewhere/video/1_plotQA/{row['video']}",
            "duration": row["duration"],
            "conversations": [
                {"question": row["question"], "choices": row["candidates"]}
                | {"answer": row["answer"], "question_type": row["question_type"]}
            ],
        }
        for row in rows
    ]
    (tmp_path / "dev_debug_mc.json").write_text(json.dumps(videos))
    there, here = MLVU.load(mlvu, MlvuSettings()), MLVU.load(tmp_path, MlvuSettings())
    golds = [sorted((q.prompt, q.answer) for s in found.samples for q in s.queries) for found in (there, here)]
    assert golds[0] == golds[1]
    assert {sample.cluster for sample in here.samples} == {sample.cluster for sample in there.samples}
    rows = json.loads((ego / "questions.json").read_text())
    answers = json.loads((ego / "subset_answers.json").read_text())
    videos = [
        {
            "video_id": row["q_uid"],
            "duration": 180.0,
            "conversations": [
                {
                    "question_idx": "0",
                    "question": row["question"],
                    "choices": [row[f"option {n}"] for n in range(5)],
                    "answer": answers[row["q_uid"]],
                }
            ],
        }
        for row in rows
        if row["q_uid"] in answers
    ]
    (tmp_path / "egoschema_subset.json").write_text(json.dumps(videos))
    wanted = {one.id: one.gold for one in EGO.known(ego, []).values()}  # type: ignore[attr-defined]
    assert {one.id: one.gold for one in EGO.known(tmp_path, []).values()} == wanted  # type: ignore[attr-defined]


def test_a_test_submission_is_scored_where_its_gold_is_there(mlvu: Path, tmp_path: Path) -> None:
    rows = json.loads((mlvu / "test_question.json").read_text())
    golds = [{**row, "answer": row["candidates"][number % 6]} for number, row in enumerate(rows)]
    (tmp_path / "test_question.json").write_text(json.dumps(golds))
    said = [
        {"question_id": row["question_id"], "question_type": row["question_type"], "option": "ABCDEF"[number % 6]}
        for number, row in enumerate(rows)
    ]
    said[0]["option"] = "G"
    path = tmp_path / "said.json"
    path.write_text(json.dumps(said))
    predictions, problems = MLVU.read_predictions("official", [path], tmp_path)
    sheet = MLVU.score(predictions, "official")
    assert [problem.kind for problem in problems] == ["beyond-options"]
    assert (sheet.source.tasks["plotQA"], sheet.source.tasks["needle"]) == (50.0, 100.0)
    assert sheet.source.total is None  # sports and tutorials are not there
    hidden, _ = MLVU.read_predictions("official", [path], mlvu)
    assert MLVU.score(hidden, "official").source.total is None
    files = MLVU.submissions(hidden)  # type: ignore[attr-defined]
    assert len(json.loads(files["mlvu_test_submission.json"])) == len(rows) - 1


def test_lmms_evals_test_samples_have_six_options_and_nine_tasks(tmp_path: Path) -> None:
    text = "What?\n" + "".join(f"({letter}) {letter.lower()}\n" for letter in "ABCDEF")
    rows = [
        {
            "doc_id": number,
            "filtered_resps": "E",
            "mlvu_percetion_score": {"question_id": f"{number} {text}", "task_type": task, "answer": "E"},
        }
        for number, task in enumerate(["needleQA", "sportsQA", "tutorialQA"])
    ]
    predictions, problems = MLVU.read_predictions("lmms-eval", [write(tmp_path / "s.jsonl", rows)], None)
    sheet = MLVU.score(predictions, "lmms-eval")
    assert [problem.kind for problem in problems] == ["other-version"]
    assert (sheet.source.tasks["sportsQA"], sheet.source.tasks["needle"], sheet.source.total) == (
        100.0,
        100.0,
        None,
    )
    assert sheet.facts["other_rules"]["lmms-eval since 2026-04"]["over_questions"] == 0.0


def test_the_lowest_loss_is_the_answer_where_lmms_eval_compares_options(tmp_path: Path) -> None:
    row = {
        "doc_id": 0,
        "filtered_resps": [[2.5, False], [1.0, False], [3.0, False], [2.0, False], [9.0, False]],
        "submission": {"q": 1},
        "score": {"pred": 1, "ground_truth": "1"},
    }
    predictions, _ = EGO.read_predictions("lmms-eval", [write(tmp_path / "s.jsonl", [row])], None)
    assert (predictions[0].response, predictions[0].gold) == ("B", "B")


def test_what_is_no_data_or_no_prompt_is_refused_with_what_to_do(tmp_path: Path, mlvu: Path) -> None:
    with pytest.raises(DataError, match=r"has no json/.* of mlvu; `evalkit data fetch mlvu` brings"):
        MLVU.load(tmp_path, MlvuSettings())
    with pytest.raises(DataError, match="holds mlvu data, not egoschema; use --task mlvu"):
        EGO.load(mlvu, EgoSchemaSettings())
    with pytest.raises(UsageError, match="mlvu has no prompt 'offical'; did you mean 'official'"):
        MLVU.load(mlvu, MlvuSettings(prompt="offical"))


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_lmms_evals_samples_of_videomme_are_scored_by_its_rule(tmp_path: Path) -> None:
    logged = {"duration": "short", "category": "Knowledge", "sub_category": "Astronomy", "answer": "B"}
    rows = [
        {
            "doc_id": number,
            "filtered_resps": reply,
            "videomme_perception_score": {
                **logged,
                "question_id": f"001-{number + 1}",
                "task_category": "Counting Problem",
            },
        }
        for number, reply in enumerate(["Based on this, the answer is B", "B.", ""])
    ]
    task = task_named("videomme")
    predictions, problems = task.read_predictions("lmms-eval", [write(tmp_path / "s.jsonl", rows)], None)
    sheet = task.score(predictions, "lmms-eval")
    assert [problem.kind for problem in problems] == ["missing"]
    assert sheet.source.tasks["Counting Problem"] == pytest.approx(200 / 3)
    assert sheet.source.total is None
    with pytest.raises(DataError, match="no row of lmms-eval's videomme samples"):
        task.read_predictions("lmms-eval", [write(tmp_path / "t.jsonl", [{"doc_id": 1}])], None)


def test_lmms_evals_samples_of_ovobench_are_rows_of_the_official_file(tmp_path: Path) -> None:
    said = {"id": 0, "task": "EPM", "response": "C", "ground_truth": "C"}
    probes = [{"realtime": 1, "type": 1, "response": "Yes"}, {"realtime": 2, "type": 0, "response": "Yes"}]
    forward = {"id": 1468, "task": "CRR", "test_info": probes}
    rows = [{"doc_id": 0, "back_real_acc": said}, {"doc_id": 0, "forward_acc": forward}, {"doc_id": 1}]
    task = task_named("ovobench")
    predictions, problems = task.read_predictions("lmms-eval", [write(tmp_path / "s.jsonl", rows)], None)
    sheet = task.score(predictions, "lmms-eval")
    assert (sheet.source.tasks["EPM"], sheet.source.tasks["CRR"]) == (100.0, 50.0)
    assert [(problem.kind, problem.line) for problem in problems] == [("bad-row", 3)]


def test_a_submissions_values_that_are_no_option_are_named_whatever_they_are(tmp_path: Path, ego: Path) -> None:
    ids = list(json.loads((ego / "subset_answers.json").read_text()))
    odd: list[Any] = ["9" * 5000, "", "D", "01", -1, 5, True, None, [1], 2.0]
    path = tmp_path / "submission.json"
    for value in odd:
        path.write_text(json.dumps({ids[0]: value}))
        predictions, problems = EGO.read_predictions("official", [path], ego)
        assert "beyond-options" in [problem.kind for problem in problems], value
        assert predictions[0].response is None
    path.write_text(json.dumps({ids[0]: " 3 ", ids[1]: 3}))
    assert [one.response for one in EGO.read_predictions("official", [path], ego)[0]][:2] == ["D", "D"]


def test_no_interval_is_said_to_lack_the_videos_where_a_file_names_none(tmp_path: Path) -> None:
    rows = [
        {
            "doc_id": number,
            "filtered_resps": ["B"],
            "submission": {f"q{number}": 1},
            "score": {"pred": 1, "ground_truth": str(number % 2)},
        }
        for number in range(500)
    ]
    predictions, _ = EGO.read_predictions("lmms-eval", [write(tmp_path / "s.jsonl", rows)], None)
    total = next(row for row in EGO.metrics(EGO.score(predictions, "lmms-eval")) if row.score == "strict")
    assert (total.low, total.clusters) == (None, 0)
    assert total.note is not None
    assert "do not say which video" in total.note


def test_problems_are_shown_with_where_they_are_and_not_by_the_thousand(
    evalkit: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    row = {"doc_id": 0, "submission": {"q": 1}, "score": {"pred": 1, "ground_truth": "7"}, "filtered_resps": ["B"]}
    path = write(
        tmp_path / "s.jsonl", [row | {"submission": {f"q{number}": 1}} for number in range(30)] + [row] * 2
    )
    code, _, err = evalkit("score", "--task", "egoschema", "--format", "lmms-eval", path)
    assert code == 0
    assert "gold-no-option: s.jsonl:1:score.ground_truth: the gold '7' is none of the options" in err
    assert err.count("is none of the options") == 10
    assert "gold-no-option: and 22 more; --json lists all" in err
    assert "duplicate: q: answered 2 times" in err
    code, out, _ = evalkit("score", "--task", "egoschema", "--format", "lmms-eval", path, "--json")
    kinds = [problem["kind"] for problem in json.loads(out)["problems"]]
    assert (code, kinds.count("gold-no-option")) == (0, 32)


def test_a_layout_that_nobody_named_is_said_where_a_file_does_not_fit(
    evalkit: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    path = write(tmp_path / "samples.jsonl", [{"submission": {"q": 1}}, {"submission": {"r": 1}}])
    code, _, err = evalkit("score", "--task", "egoschema", path)
    assert code == 2
    assert "read as official, since no --format is named (--format lmms-eval or --format subset?)" in err
    code, _, err = evalkit("score", "--task", "egoschema", "--format", "official", path)
    assert code == 2
    assert "no --format is named" not in err


def test_a_compressed_file_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}"))
    with pytest.raises(DataError, match="is compressed by gzip: unpack it first"):
        EGO.read_predictions("lmms-eval", [path], None)
