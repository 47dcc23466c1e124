"""Benchmarks of timing: gold windows from the published fields, ways of speaking, records to scores."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from toy_runs import NotingModel, run_all, toy_data

from evalkit.errors import DataError, UsageError
from evalkit.records import AnswerRecord, GradeRecord
from evalkit.tasks import FactTask, UtteranceTask
from evalkit.tasks.catalog import task_named
from evalkit.tasks.scoring import sheet_to_json
from evalkit.tasks.timed import TimedSettings, TimedTask

PUBLISHED = Path(
    os.environ.get("EVALKIT_PUBLISHED_DIR", Path(__file__).parents[2] / ".." / "shared" / "published")
)
OVO = PUBLISHED / "ovobench"


def timed(name: str) -> TimedTask:
    task = task_named(name)
    assert isinstance(task, TimedTask)
    assert isinstance(task, UtteranceTask)
    assert isinstance(task, FactTask)
    return task


@pytest.mark.skipif(not OVO.is_dir(), reason=f"{OVO} is not there")
def test_the_published_forward_records_have_the_golds_of_the_definition() -> None:
    found = timed("ovo-timing").questions(OVO)
    rows = {row["id"]: row for row in json.loads((OVO / "ovo_bench_new.json").read_text())}
    assert [sum(one.task == task for one in found.questions) for task in ("REC", "SSR", "CRR")] == [82, 42, 48]
    assert found.version == "172 forward records"
    assert [p for p in found.problems if p.kind == "bad-row"] == []
    for one in found.questions:
        row = rows[int(one.id)]
        wanted = [row["clue_time"]] if one.task == "CRR" else [
            start + 2 for start in row["start_times" if one.task == "REC" else "start_time"]
        ]  # fmt: skip
        assert [window.start for window in one.windows] == wanted == [window.end for window in one.windows]
        assert one.end is not None
        assert one.end >= max(wanted) + 2


@pytest.mark.parametrize("name", ["ovo-timing", "omnimmi-pa", "streamingbench-timing"])
@pytest.mark.parametrize("speaking", ["narrating", "decision-token", "polled"])
def test_every_way_of_speaking_is_a_sample_of_its_own_kind(name: str, speaking: str, tmp_path: Path) -> None:
    task = timed(name)
    data = toy_data(name, tmp_path / "data")
    assert task.check(data).problems == ()
    loaded = task.load(data, TimedSettings(speaking=speaking))  # type: ignore[arg-type]
    assert loaded.problems == ()
    assert loaded.facts["speaking"] == speaking
    for sample in loaded.samples:
        assert sample.tags["speaking"] == speaking
        assert (sample.narration is None) == (speaking == "polled") == bool(sample.queries)
        assert all(sample.start < query.at <= sample.end for query in sample.queries)
        assert json.loads(sample.tags["windows"])


def test_what_is_due_is_told_to_nobody(tmp_path: Path) -> None:
    data = toy_data("omnimmi-pa", tmp_path / "data")
    for speaking in ("narrating", "decision-token"):
        for sample in timed("omnimmi-pa").load(data, TimedSettings(speaking=speaking)).samples:  # type: ignore[arg-type]
            assert sample.narration is not None
            assert sample.narration.instruction.startswith("Signal me when the first ")
            start, end = json.loads(sample.tags["windows"])[0]
            assert not {f"{start:g}", f"{end:g}"} & set(sample.narration.instruction.split())


def spoken(sample: str, at: float, text: str, **changes: Any) -> AnswerRecord:
    tags = {"task": "PA", "speaking": "narrating", "windows": "[[10.0, 13.0]]", "seconds": "20"}
    fields = {
        "kind": "narration",
        "at": at,
        "start": at - 1,
        "end": at,
        "cluster": f"video-{sample}",
        "tags": tags,
    }
    return AnswerRecord(sample=sample, query=f"{sample}@{at}", text=text, **{**fields, **changes})


def test_a_hit_is_an_alert_inside_the_interval_and_alerts_before_are_shown_beside() -> None:
    task = timed("omnimmi-pa")
    records = [
        *(spoken("a", at, "now" if at == 11 else "...") for at in range(1, 14)),
        *(spoken("b", at, "now" if at in (3, 12) else "") for at in range(1, 14)),
        *(spoken("c", at, "now" if at == 9 else "...") for at in range(1, 14)),
        spoken("d", 20, "", status="failed"),
    ]
    sheet = task.score(task.utterance_predictions(records), "evalkit")
    assert (sheet.n, sheet.answered, sheet.source.total) == (4, 3, 50.0)
    timing = sheet.facts["timing"]["PA"]
    assert (timing["hits"], timing["misses"], timing["false_alarms"], timing["early"]) == (2, 2, 2, 1)
    assert timing["false_alarms_per_hour"] == 2 * 3600 / 80
    # By evaluate.py: b spoke too early first; the span from its first alert to its last shares 2 s of 10.
    official = {name: sheet.source.groups[f"official_{name}"] for name in ("accuracy", "precision", "iou")}
    assert official == pytest.approx({"accuracy": 25, "precision": 37.5, "iou": 5})
    assert "official_accuracy" not in sheet.strict.groups
    assert sheet.source.groups["PA_precision"] == pytest.approx(100 * (1 + 0.5) / 4)
    assert {fact.id: fact.correct for fact in task.facts(records)} == {  # type: ignore[attr-defined]
        "a/0": True, "b/0": True, "c/0": False, "d/0": False,
    }  # fmt: skip
    total = next(row for row in task.metrics(sheet) if row.score == "strict" and row.name == "total")
    assert (total.n, total.clusters, total.value) == (4, 4, 50.0)
    rows = {(row.group, row.name): row.value for row in task.metrics(sheet)}
    assert rows["timing PA", "false_alarms"] == 2
    json.dumps(sheet_to_json(sheet))


def test_gold_turns_are_graded_utterance_by_utterance_and_the_area_is_taken(tmp_path: Path) -> None:
    task = timed("ovo-timing")
    turns = json.dumps([[10.0, 20.0, "a cat"], [30.0, 40.0, "a dog"]])
    tags = {
        "task": "SSR",
        "speaking": "narrating",
        "windows": "[]",
        "seconds": "50",
        "turns": turns,
        "asked": "What?",
    }
    said = {12: "a pet", 14: "a pet", 15: "a cat", 25: "hm", 41: "a dog"}
    records = [spoken("s", at, said.get(at, "..."), tags=tags) for at in range(1, 50)]
    items = task.rubric_items(records)
    assert [item.id for item in items] == ["s/0/0", "s/0/2"]
    assert items[1].values == {"asked": "What?", "answer": "a cat", "replies": "a pet a cat"}
    grades = [
        GradeRecord(
            key=item.id, item=item.id, task="SSR", cluster="v", rubric="r", grades={"score": grade}, judge="j"
        )
        for item, grade in zip(items, (2.0, 3.0), strict=True)
    ]
    found = task.graded_figures(grades, records)
    # First turn: 2 s at 0.5, 3 s at 1, 5 s at 2, and 2 at the end; the second stays at 0.5, where it begins.
    assert found["pauc_0"] == pytest.approx((1.4 + 0.5) / 2 / 2)
    assert found["pauc_1"] == pytest.approx((2 + 0.5) / 2 / 2)
    assert task.graded_figures([], records)["pauc_0.5"] == pytest.approx(0.25)
    data = toy_data("ovo-timing", tmp_path / "data")
    known = {one.id: one for one in task.questions(data).questions}
    assert all(bool(one.turns) == (one.task != "REC") for one in known.values())


def test_streams_that_speak_in_different_ways_are_never_mixed() -> None:
    task = timed("omnimmi-pa")
    other = {"task": "PA", "speaking": "decision-token", "windows": "[[1, 2]]", "seconds": "3"}
    mixed = task.utterance_predictions([spoken("a", 1, "x"), spoken("b", 1, "</Response>x", tags=other)])
    with pytest.raises(UsageError, match=r"never mixed \(decision-token, narrating\)"):
        task.score(mixed, "evalkit")


def test_times_of_no_video_are_left_out_by_name(tmp_path: Path) -> None:
    task = timed("omnimmi-pa")
    data = toy_data("omnimmi-pa", tmp_path / "data")
    rows = json.loads((data / "proactive_alerting.json").read_text())
    rows[0]["answer"] = [5.0, 1e9]
    (data / "proactive_alerting.json").write_text(json.dumps(rows))
    loaded = task.load(data, TimedSettings(speaking="polled"))
    assert len(loaded.samples) == len(rows) - 1
    assert [(problem.kind, problem.item) for problem in loaded.problems] == [("bad-row", "pa_0")]


def test_polls_answered_with_yes_are_utterances(tmp_path: Path) -> None:
    task = timed("ovo-timing")
    data = toy_data("ovo-timing", tmp_path / "data", seconds=20)
    samples = task.load(data, TimedSettings(speaking="polled")).samples
    right = {query.id: query.answer for sample in samples for query in sample.queries}
    model = NotingModel(reply=lambda key, prompt: right[key] or "No")
    records = run_all(samples, model, tmp_path / "run")
    sheet = task.score(task.utterance_predictions(records), "evalkit")
    assert (sheet.source.groups["CRR_recall"], sheet.source.groups["REC_recall"]) == (100.0, 100.0)
    silent = NotingModel(reply=lambda key, prompt: "No")
    records = run_all(samples[:1], silent, tmp_path / "silent")
    assert task.score(task.utterance_predictions(records), "evalkit").source.tasks["REC"] == 0


def test_times_made_elsewhere_are_scored_and_odd_rows_are_named(tmp_path: Path) -> None:
    task = timed("omnimmi-pa")
    data = toy_data("omnimmi-pa", tmp_path / "data")
    windows = {one.id: one.windows[0] for one in task.questions(data).questions}
    rows = [{"id": id_, "times": [window.start]} for id_, window in windows.items()]
    path = tmp_path / "alerts.jsonl"
    odd = [{"id": "pa_0", "times": [0]}, {"id": "nobody", "times": []}, {"id": "pa_1", "times": "soon"}]
    path.write_text("\n".join(map(json.dumps, [*rows[:-1], *odd])))
    predictions, problems = task.read_predictions("times", [path], data)
    assert sorted(p.kind for p in problems) == ["bad-row", "duplicate", "missing", "unknown-id"]
    sheet = task.score(predictions, "times")
    assert sheet.source.total == pytest.approx(100 * (len(rows) - 2) / len(rows))
    with pytest.raises(UsageError, match="no gold in them"):
        task.read_predictions("times", [path], None)
    with pytest.raises(DataError, match="has no proactive_alerting"):
        task.questions(tmp_path)


def test_omnimmis_items_are_found_where_people_unpack_them(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    row = {"video": "a.mp4", "question": "Signal me when it rains.", "answer": [3.0, 5.0]}
    (tmp_path / "annotations" / "proactive_alerting.json").write_text(json.dumps([row]))
    assert [one.asked for one in timed("omnimmi-pa").questions(tmp_path).questions] == [row["question"]]
    with pytest.raises(DataError, match="ColorfulAI/OmniMMI"):
        timed("omnimmi-pa").questions(tmp_path / "annotations" / "no")
