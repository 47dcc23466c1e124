"""Published predictions score to the published figures, in whatever order their rows stand."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.tasks import ScoreSheet
from evalkit.tasks.catalog import task_named
from evalkit.tasks.metrics import sheet_metrics

PUBLISHED = Path(
    os.environ.get("EVALKIT_PUBLISHED_DIR", Path(__file__).parents[2] / ".." / "shared" / "published")
)
EGO = PUBLISHED / "egoschema"
MLVU = PUBLISHED / "mlvu"
EGO_7B = EGO / "llava-ov-7b_full_samples_egoschema_subset.jsonl"
MLVU_7B = MLVU / "llava-ov-7b_full_samples_mlvu_dev.jsonl"
LVB_7B = PUBLISHED / "longvideobench" / "llava-ov-7b_full_samples_longvideobench_val_v.jsonl"
EYEWO = PUBLISHED / "ovobench" / "EyeWO_livecc-format_mcq.json"

pytestmark = pytest.mark.skipif(not EGO_7B.is_file(), reason=f"{EGO_7B} is not there")


def score(task: str, format: str, file: Path, data: Path | None = None) -> tuple[ScoreSheet, list[str]]:
    predictions, problems = task_named(task).read_predictions(format, [file], data)
    sheet = task_named(task).score(predictions, format)
    return sheet, [problem.kind for problem in (*problems, *sheet.problems)]


def rows_of(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def changed(file: Path, to: Path, rows: list[str]) -> Path:
    path = to / file.name
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("file", "format", "data", "total"),
    [
        ("llava-ov-7b_full_samples_egoschema_subset.jsonl", "lmms-eval", None, 62.0),
        ("llava-ov-7b_full_samples_egoschema_subset.jsonl", "lmms-eval", EGO, 62.0),
        ("llava-ov-0.5b_full_samples_egoschema_subset.jsonl", "lmms-eval", None, 26.4),
        ("llava-ov-7b_full_submission.json", "official", None, 62.0),
        ("llava-ov-7b_full_submission.json", "official", EGO, 62.0),
        ("llava-ov-7b_full_submission.json", "subset", EGO, 62.0),
    ],
)
def test_egoschema_scores_as_published(file: str, format: str, data: Path | None, total: float) -> None:
    sheet, problems = score("egoschema", format, EGO / file, data)
    assert (sheet.source.total, sheet.strict.total, sheet.n, sheet.answered) == (total, total, 500, 500)
    assert sheet.source.groups == {"egoschema_subset_500": total}
    assert problems == []
    if data is not None:
        row = next(row for row in sheet_metrics(sheet) if row.score == "strict" and row.name == "total")
        assert row.clusters == 347
        assert row.low is not None
        assert row.low < total


@pytest.mark.parametrize(
    ("data", "m_avg", "over_questions", "right"),
    [
        (None, 63.6338, 65.7314, 1429),
        (MLVU, 63.6338, 65.7314, 1429),
        (MLVU / "official", 63.5359, 65.6394, 1427),
    ],
)
def test_mlvu_scores_as_published_with_each_version_of_the_golds(
    data: Path | None, m_avg: float, over_questions: float, right: int
) -> None:
    sheet, problems = score("mlvu", "lmms-eval", MLVU_7B, data)
    assert sheet.source.total == pytest.approx(m_avg, abs=5e-5)
    assert sheet.source.groups["over_questions"] == pytest.approx(over_questions, abs=5e-5)
    counts = sheet.facts["source_counts"]
    assert sum(entry["correct"] for entry in counts.values()) == right
    assert (sheet.n, sheet.answered) == (2174, 2174)
    assert problems == (["gold-mismatch"] * 7 if data == MLVU / "official" else [])
    wanted = {"anomaly_reco": 133, "count": 71, "ego": 215, "needle": 268, "order": 124, "plotQA": 385}
    if data != MLVU / "official":
        assert {name: counts[name]["correct"] for name in wanted} == wanted


def test_longvideobench_scores_as_published_by_duration() -> None:
    sheet, problems = score("longvideobench", "lmms-eval", LVB_7B)
    groups = {name: round(sheet.source.groups[f"longvideobench_{name}"] or 0, 4) for name in (15, 60, 600, 3600)}
    wanted = {15: (127, 189), 60: (118, 172), 600: (217, 412), 3600: (271, 564)}
    assert groups == {name: round(100 * right / n, 4) for name, (right, n) in wanted.items()}
    assert sheet.source.total == pytest.approx(54.824, abs=5e-4)
    assert (sheet.n, problems) == (1337, [])


@pytest.mark.parametrize("format", ["livecc", "logit"])
def test_the_logit_file_of_eyewo_scores_as_printed(format: str) -> None:
    sheet, _ = score("ovobench", format, EYEWO)
    groups = sheet.source.groups
    assert (round(groups["backward"] or 0, 2), round(groups["realtime"] or 0, 2)) == (28.01, 32.76)
    assert groups["forward"] is None
    assert sheet.source.total is None
    wanted = {"EPM": (116, 297), "HLD": (12, 186), "ASI": (57, 148), "STU": (58, 178), "OCR": (36, 149)}
    assert {name: sheet.source.tasks[name] for name in wanted} == {
        name: pytest.approx(100 * right / n) for name, (right, n) in wanted.items()
    }


def test_ids_written_as_text_are_read_too(tmp_path: Path) -> None:
    rows = json.loads(EYEWO.read_text())
    path = tmp_path / "said.json"
    path.write_text(json.dumps([{**row, "id": str(row["id"])} for row in rows]))
    sheet, _ = score("ovobench", "livecc", path)
    assert round(sheet.source.groups["realtime"] or 0, 2) == 32.76


@pytest.mark.parametrize(("task", "file"), [("egoschema", EGO_7B), ("mlvu", MLVU_7B), ("longvideobench", LVB_7B)])
def test_a_file_in_shard_order_gives_the_same_score(task: str, file: Path, tmp_path: Path) -> None:
    rows = rows_of(file)
    random.Random(0).shuffle(rows)
    shuffled = changed(file, tmp_path, rows)
    assert score(task, "lmms-eval", shuffled)[0].source == score(task, "lmms-eval", file)[0].source


@pytest.mark.parametrize("data", [None, MLVU, MLVU / "official"])
def test_mlvu_in_shard_order_gives_the_same_score_with_other_golds(data: Path | None, tmp_path: Path) -> None:
    rows = rows_of(MLVU_7B)
    random.Random(1).shuffle(rows)
    shuffled = changed(MLVU_7B, tmp_path, rows)
    assert (
        score("mlvu", "lmms-eval", shuffled, data)[0].source == score("mlvu", "lmms-eval", MLVU_7B, data)[0].source
    )


@pytest.mark.parametrize(("task", "file", "n"), [("egoschema", EGO_7B, 500), ("mlvu", MLVU_7B, 2174)])
def test_rows_that_stand_twice_count_once_and_are_named(task: str, file: Path, n: int, tmp_path: Path) -> None:
    rows = rows_of(file)
    sheet, problems = score(task, "lmms-eval", changed(file, tmp_path, [*rows, *rows[:7]]))
    assert (sheet.n, problems.count("duplicate")) == (n, 7)
    assert sheet.source == score(task, "lmms-eval", file)[0].source
    other = json.loads(rows[0])
    other["filtered_resps"] = "E" if other["filtered_resps"] != "E" else "D"
    sheet, problems = score(task, "lmms-eval", changed(file, tmp_path, [*rows, json.dumps(other)]))
    assert problems.count("duplicate") == 1
    assert sheet.answered == n - 1


@pytest.mark.parametrize(("task", "file", "n"), [("egoschema", EGO_7B, 500), ("mlvu", MLVU_7B, 2174)])
def test_missing_rows_are_named_and_wrong_in_strict(task: str, file: Path, n: int, tmp_path: Path) -> None:
    sheet, problems = score(task, "lmms-eval", changed(file, tmp_path, rows_of(file)[:-20]))
    assert (sheet.n, sheet.answered) == (n, n - 20)
    assert "other-version" in problems
    assert (sheet.strict.total or 0) < (score(task, "lmms-eval", file)[0].strict.total or 0)


def test_the_version_of_2172_rows_is_known_and_needs_no_complaint(tmp_path: Path) -> None:
    rows = [json.loads(row) for row in rows_of(MLVU_7B)]
    ego = [row for row in rows if row["mlvu_percetion_score"]["task_type"] == "ego"][:2]
    kept = [json.dumps(row) for row in rows if row not in ego]
    sheet, problems = score("mlvu", "lmms-eval", changed(MLVU_7B, tmp_path, kept))
    assert (sheet.n, problems) == (2172, [])


def test_odd_rows_are_named_and_never_right(tmp_path: Path) -> None:
    rows = [json.loads(row) for row in rows_of(EGO_7B)]
    rows[0]["filtered_resps"] = "F"
    rows[1]["filtered_resps"] = "x" * 2**20
    rows[2]["score"]["ground_truth"] = "9"
    rows[3] = {"doc_id": 3}
    sheet, problems = score("egoschema", "lmms-eval", changed(EGO_7B, tmp_path, [json.dumps(r) for r in rows]))
    assert (sheet.n, sheet.answered) == (500, 497)
    assert {"beyond-options", "long-reply", "gold-no-option", "bad-row", "other-version"} <= set(problems)


def test_a_score_over_the_full_set_is_refused_but_its_subset_can_be_had(tmp_path: Path) -> None:
    given = json.loads((EGO / "llava-ov-7b_full_submission.json").read_text())
    clips = json.loads((EGO / "uid_to_ego4d.json").read_text())
    full = tmp_path / "full.json"
    full.write_text(json.dumps({id_: given.get(id_, 0) for id_ in clips}))
    with pytest.raises(DataError, match="4,531 of 5,031 questions are of the full set, whose gold is hidden"):
        score("egoschema", "official", full, EGO)
    with pytest.raises(UsageError, match="has no gold in it: name the folder with subset_answers"):
        score("egoschema", "official", full)
    sheet, problems = score("egoschema", "subset", full, EGO)
    assert (sheet.source.total, problems) == (62.0, [])


def test_both_forms_of_a_submission_score_alike(tmp_path: Path) -> None:
    predictions, _ = task_named("egoschema").read_predictions("lmms-eval", [EGO_7B], EGO)
    for name, text in task_named("egoschema").submissions(predictions).items():  # type: ignore[attr-defined]
        (tmp_path / name).write_text(text)
        sheet, problems = score("egoschema", "official", tmp_path / name, EGO)
        assert (sheet.source.total, problems) == (62.0, [])


def test_a_test_submission_of_mlvu_cannot_be_scored_without_its_gold() -> None:
    with pytest.raises(UsageError, match="has no gold in it"):
        score("mlvu", "official", MLVU / "test_res.json")


def test_the_published_files_of_mlvu_are_checked_row_by_row() -> None:
    found = task_named("mlvu").annotations(MLVU / "official")  # type: ignore[attr-defined]
    kinds = [problem.kind for problem in found.problems]
    assert (found.total, len(found.questions)) == (2175, 2174)
    assert kinds.count("gold-no-option") == 2
    golds = [problem.message for problem in found.problems if "; the gold is" in problem.message]
    assert len(golds) == 5
    assert len({question.video for question in found.questions}) == 1122
