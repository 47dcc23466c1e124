"""The published StreamingBench files give the published figures."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from evalkit.tasks.scoring import sheet_to_json
from evalkit_tasks.streamingbench import SbSettings, task

PUBLISHED = Path(os.environ.get("EVALKIT_PUBLISHED_DIR", Path(__file__).parents[3] / "shared" / "published"))
SB = PUBLISHED / "streamingbench"
pytestmark = pytest.mark.skipif(not SB.is_dir(), reason=f"{SB} is not here (EVALKIT_PUBLISHED_DIR)")

REKV = SB / "real_output_rekv.json"
VISIONZIP = SB / "real_visionzip_output_rekv_20251110_180946.json"
REAL = {
    "OP": 367,
    "CR": 128,
    "CS": 317,
    "ATP": 306,
    "EU": 161,
    "TR": 321,
    "PR": 108,
    "SU": 246,
    "ACP": 353,
    "CT": 193,
}


def rounded(scores: dict[str, float | None]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in scores.items() if value is not None}


@pytest.mark.parametrize("data", [None, SB])
def test_rekv_scores_63_68_on_2500(data: Path | None) -> None:
    predictions, problems = task.read_predictions("stc", [REKV], data)
    sheet = sheet_to_json(task.score(predictions, "stc"))
    assert problems == []
    assert (sheet["n"], sheet["answered"], sheet["coverage"]) == (2500, 2500, 1.0)
    assert rounded(sheet["source"]["tasks"]) == {
        **{"OP": 66.76, "CR": 76.56, "CS": 75.39, "ATP": 71.24, "EU": 63.98, "TR": 63.24, "PR": 63.89},
        **{"SU": 51.22, "ACP": 57.79, "CT": 45.08},
    }
    assert round(sheet["source"]["groups"]["real"], 2) == round(sheet["source"]["total"], 2) == 63.68
    # Three replies are "B." or "D.", which STC's rule counts as wrong.
    assert round(sheet["strict"]["groups"]["real"], 2) == 63.80
    assert sheet["source"]["groups"]["streamingbench_overall_4301"] is None
    assert sheet["facts"]["total_is"] == "real"


@pytest.mark.parametrize("data", [None, SB])
def test_visionzip_scores_60_42_on_what_it_answered_and_38_28_on_everything(data: Path | None) -> None:
    predictions, _ = task.read_predictions("stc", [VISIONZIP], data)
    sheet = sheet_to_json(task.score(predictions, "stc"))
    assert (sheet["n"], sheet["answered"]) == (2500, 1584)
    assert sheet["coverage"] == 1584 / 2500
    assert rounded(sheet["source"]["tasks"]) == {
        **{"OP": 66.39, "CR": 73.42, "CS": 69.48, "ATP": 69.27, "EU": 64.08, "TR": 54.75, "PR": 50.67},
        **{"SU": 57.23, "ACP": 52.88, "CT": 33.33},
    }
    assert round(sheet["source"]["total"], 2) == 60.42
    assert round(sheet["strict"]["total"], 2) == 38.28
    assert sheet["facts"]["source_counts"]["OP"]["n"] == 244
    assert {found["item"] for found in sheet["problems"] if found["kind"] == "incomplete"} == set(REAL)


def test_the_official_rule_gives_nothing_to_replies_with_a_leading_space_and_says_so() -> None:
    predictions, _ = task.read_predictions("official", [REKV], None)
    sheet = task.score(predictions, "official")
    assert sheet.source.total == 0.0
    assert sheet.strict.total == pytest.approx(63.80)
    assert "leading-space" in {found.kind for found in sheet.problems}


def test_a_part_of_the_file_is_never_a_bare_percentage(tmp_path: Path) -> None:
    entries = json.loads(REKV.read_text(encoding="utf-8"))
    shard = tmp_path / "shard.json"
    shard.write_text(json.dumps(entries[:40]), encoding="utf-8")
    predictions, _ = task.read_predictions("stc", [shard], SB)
    sheet = task.score(predictions, "stc")
    assert sheet.coverage < 0.05
    assert sheet.source.total is None
    assert "incomplete" in {found.kind for found in sheet.problems}
    merged, _ = task.read_predictions("stc", [shard, REKV], SB)
    again = task.score(merged, "stc")
    assert sum(found.kind == "duplicate" for found in again.problems) > 30
    assert round(again.strict.groups["real"] or 0, 2) == 63.80


def test_both_parts_of_the_table_are_counted_and_named() -> None:
    report = task.check(SB)
    rest = dict.fromkeys(("ER", "SCU", "SD", "MA", "ACU", "MCU", "SQA"), 250)
    assert report.counts == {**REAL, **rest, "PO": 51}
    assert str(report.facts["version"]).startswith("JSON (GitHub): 4,301 questions")
    stamps = [found for found in report.problems if found.field == "time_stamp"]
    assert [found.item.split("@")[0] for found in stamps if found.item] == [
        *("sample_132_real", "sample_242_real", "sample_364_real")
    ]
    assert "asked at 765 s, officially read as 12450 s" in stamps[0].message
    assert sum(found.field == "options" for found in report.problems) == 13
    assert any("332" in (found.item or "") and found.kind == "known-fault" for found in report.problems)


def test_one_pass_per_video_serves_every_question_in_order_of_time() -> None:
    loaded = task.load(SB, SbSettings.model_validate({}))
    assert len(loaded.samples) == 899
    for sample in loaded.samples:
        times = [query.at for query in sample.queries]
        assert times == sorted(times)
        assert times[-1] <= sample.end
    asked = Counter(query.tags.get("question", query.id) for sample in loaded.samples for query in sample.queries)
    assert len(asked) == 4301


def test_split_options_can_be_put_together_again() -> None:
    loaded = task.load(SB, SbSettings.model_validate({"options": "mended"}))
    assert loaded.facts["questions"] == 4301
    assert not [found for found in loaded.problems if found.kind == "bad-row"]
    choices = [query.choices for sample in loaded.samples for query in sample.queries if query.kind == "choice"]
    assert all([option[:2] for option in four] == ["A.", "B.", "C.", "D."] for four in choices)


def test_gold_context_follows_the_file_officially_and_time_when_streaming() -> None:
    contexts = {}
    for protocol in ("official", "streaming"):
        loaded = task.load(SB, SbSettings.model_validate({"protocol": protocol, "tasks": ("SQA",)}))
        queries = [q for s in loaded.samples if s.cluster == "sample_7_sqa" for q in s.queries]
        contexts[protocol] = {q.at: q.prompt.count("At timestamp") for q in queries}
    assert contexts["official"] == {404.0: 0, 485.0: 1, 556.0: 2, 644.0: 3, 344.0: 4}
    assert contexts["streaming"] == {344.0: 0, 404.0: 1, 485.0: 2, 556.0: 3, 644.0: 4}


def test_the_subset_file_gives_the_ids_of_the_whole() -> None:
    whole = {q.id for s in task.load(SB, SbSettings.model_validate({})).samples for q in s.queries}
    part = task.load(SB / "questions_real_subset.json", SbSettings.model_validate({}))
    ids = {q.id for s in part.samples for q in s.queries}
    assert len(ids) == 50
    assert ids <= whole
