"""The published OVO-Bench files give the published figures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evalkit.tasks.scoring import sheet_to_json
from evalkit_tasks.ovobench import OvoSettings, task

PUBLISHED = Path(os.environ.get("EVALKIT_PUBLISHED_DIR", Path(__file__).parents[3] / "shared" / "published"))
OVO = PUBLISHED / "ovobench"
pytestmark = pytest.mark.skipif(not OVO.is_dir(), reason=f"{OVO} is not here (EVALKIT_PUBLISHED_DIR)")

LLAVA = {
    **{"EPM": 54.21, "ASI": 55.41, "HLD": 21.51, "OCR": 66.44, "ACR": 57.80, "ATR": 73.28},
    **{"STU": 53.37, "FPD": 71.29, "OJR": 61.96, "REC": 25.64, "SSR": 67.09, "CRR": 58.75},
}


@pytest.mark.parametrize("data", [None, OVO])
def test_llava_onevision_scores_as_in_the_table(data: Path | None) -> None:
    predictions, problems = task.read_predictions("official", [OVO / "LLaVA_OneVision"], data)
    sheet = sheet_to_json(task.score(predictions, "official"))
    assert problems == []
    assert sheet["problems"] == []
    assert (sheet["n"], sheet["answered"], sheet["coverage"]) == (3035, 3035, 1.0)
    for side in ("source", "strict"):
        assert {name: round(value, 2) for name, value in sheet[side]["tasks"].items()} == pytest.approx(LLAVA)
        groups = {name: round(value, 2) for name, value in sheet[side]["groups"].items()}
        assert (groups["backward"], groups["realtime"], groups["forward"]) == (43.71, 64.02, 50.50)
        assert groups["ovo_avg_brf"] == round(sheet[side]["total"], 2) == 52.74


@pytest.mark.parametrize(
    ("file", "sub_task", "score", "n"),
    [
        ("rekv_EPM_offline_distributed.json", "EPM", 51.18, 297),
        ("rekv_REC_offline_distributed.json", "REC", 26.93, 698),
    ],
)
def test_one_sub_task_gives_its_score_and_no_total(file: str, sub_task: str, score: float, n: int) -> None:
    predictions, problems = task.read_predictions("official", [OVO / file], None)
    sheet = sheet_to_json(task.score(predictions, "official"))
    assert problems == []
    for side in ("source", "strict"):
        tasks = sheet[side]["tasks"]
        assert round(tasks[sub_task], 2) == score
        assert {value for name, value in tasks.items() if name != sub_task} == {None}
        assert set(sheet[side]["groups"].values()) == {None}
        assert sheet[side]["total"] is None
    assert sheet["n"] == n


def test_two_single_files_are_read_together() -> None:
    files = [OVO / "rekv_EPM_offline_distributed.json", OVO / "rekv_REC_offline_distributed.json"]
    predictions, _ = task.read_predictions("official", files, OVO)
    sheet = task.score(predictions, "official")
    assert sheet.n == 297 + 698
    assert sheet.source.total is None


def test_the_annotations_hold_what_the_paper_sheet_counts() -> None:
    report = task.check(OVO)
    assert report.counts == {
        **{"EPM": 297, "ASI": 148, "HLD": 186, "OCR": 149, "ACR": 109, "ATR": 116},
        **{"STU": 178, "FPD": 101, "OJR": 184, "REC": 698, "SSR": 629, "CRR": 240},
    }
    assert report.videos == 644
    assert report.facts["records"] == 1640
    assert report.facts["version"] == "ovo_bench_new.json, 1,640 records, 3,035 queries"
    faults = {(found.item, found.field) for found in report.problems if found.kind == "known-fault"}
    assert faults == {("609", "gt"), ("642", "options"), ("831", "options"), ("1303", "options")}
    assert sum(found.kind == "missing-video" for found in report.problems) == 644


def test_one_pass_per_video_serves_every_query_in_order_of_time() -> None:
    loaded = task.load(OVO, OvoSettings.model_validate({}))
    assert len(loaded.samples) == 644
    assert sum(len(sample.queries) for sample in loaded.samples) == 3035
    for sample in loaded.samples:
        times = [query.at for query in sample.queries]
        assert times == sorted(times)
        assert sample.start <= times[0]
        assert times[-1] <= sample.end


@pytest.mark.parametrize("protocol", ["official", "logit"])
def test_the_official_protocols_ask_each_query_of_its_own_clip(protocol: str) -> None:
    loaded = task.load(OVO, OvoSettings.model_validate({"protocol": protocol}))
    assert len(loaded.samples) == 3035
    assert all(len(sample.queries) == 1 for sample in loaded.samples)
    assert all(sample.queries[0].at <= sample.end and sample.start < sample.end for sample in loaded.samples)
