"""The page: text stays text, nothing is asked of anybody, and what cannot be known is not shown as a number."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.records import AnswerRecord, JsonlWriter, Metric, read_run
from evalkit.report.html import build_report
from evalkit.report.payload import embed_json, outcome
from evalkit.report.runs import load_runs
from evalkit.report.summary import markdown_report
from tests.run_folders import HOSTILE, manifest, narration_run, question_run, write_run


class Reader(HTMLParser):
    """Collects elements, attributes and text as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.shown = ""
        self._raw: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._raw = tag if tag in ("script", "style") else None
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._raw = None

    def handle_data(self, data: str) -> None:
        if self._raw == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)
        elif self._raw is None:
            self.shown += data

    def data(self, name: str) -> Any:
        attributes, text = next(script for script in self.scripts if script[0].get("id") == name)
        return json.loads(zlib.decompress(base64.b64decode(text)) if "data-packed" in attributes else text)


def page(tmp_path: Path, *runs: Path) -> Reader:
    return Reader(build_report(runs, tmp_path / "report.html").read_text())


def cells(reader: Reader) -> str:
    return " ".join(reader.shown.split())


def test_hostile_replies_labels_and_reasons_stay_text(tmp_path: Path) -> None:
    run = question_run(tmp_path / "run", model=HOSTILE, task=HOSTILE, fingerprint={HOSTILE: HOSTILE})
    reader = page(tmp_path, run)
    assert [tag for tag, _ in reader.tags].count("script") == 3, "theme, data, program"
    assert not [tag for tag, _ in reader.tags if tag == "img"]
    assert HOSTILE in reader.shown
    assert HOSTILE in reader.data("index")["questions"]["replies"][0]["text"]


def test_the_policy_names_the_very_scripts_and_styles_of_the_page(tmp_path: Path) -> None:
    out = build_report([narration_run(tmp_path / "run", seconds=5)], tmp_path / "report.html")
    reader = Reader(out.read_text())
    policy = next(a["content"] for tag, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    for attributes, text in reader.scripts:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert (f"'sha256-{digest}'" in policy) == ("type" not in attributes)
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")


def test_the_page_asks_nobody_for_anything(tmp_path: Path) -> None:
    reader = page(tmp_path, narration_run(tmp_path / "run", seconds=5))
    links = [
        value for _, a in reader.tags for name, value in a.items() if name in ("src", "href", "data", "action")
    ]
    assert all(link and link.startswith(("#", "data:")) for link in links)
    assert not [a for _, a in reader.tags if "style" in a or any(name.startswith("on") for name in a)]


def test_tables_need_no_javascript_and_show_strict_official_coverage_and_interval(tmp_path: Path) -> None:
    run = question_run(tmp_path / "run")
    metric = json.loads((run / "metrics.json").read_text())["metrics"][0]
    text = cells(page(tmp_path, run))
    value, low, high = (metric[name] for name in ("value", "low", "high"))
    assert f"{value:.2f} [{low:.2f}, {high:.2f}]" in text
    assert f"{value + 2:.2f}" in text
    assert f"{100 * metric['coverage']:.2f}" in text
    for fact in ("strict", "official", "16 cores", "two letters in the reply", "the video ends at 12.0 s", "EPM"):
        assert fact in text


def test_judging_by_word_overlap_is_marked_in_the_sentence_and_in_the_table(tmp_path: Path) -> None:
    text = cells(page(tmp_path, narration_run(tmp_path / "run", seconds=60)))
    before_tables, _, tables = text.partition("Pairwise judging")
    assert "windows against baseline" in before_tables
    assert "not an LLM" in before_tables
    assert "not an LLM" in tables


def test_a_sample_that_broke_is_named_with_its_reason(tmp_path: Path) -> None:
    run = narration_run(tmp_path / "run", videos=1, seconds=5)
    broken = [
        AnswerRecord(
            sample=sample, query=f"{sample}@failed", kind="narration", at=9.0, start=10.0, end=99.0,
            status="failed", error="no video stream", cluster=sample,
        )
        for sample in ("game-0", "game-9")
    ]  # fmt: skip
    with JsonlWriter[AnswerRecord](run / "answers.jsonl") as writer:
        for record in broken:
            writer.append(record)
    reader = page(tmp_path, run)
    rows = reader.data("index")["timelines"]
    assert [(row["sample"], row["seconds"], row["failed"]) for row in rows] == [("game-0", 5, 1), ("game-9", 0, 1)]
    said = reader.data("timeline-0")["runs"][0]["said"]
    assert said["tokens"][0] > 0, "the failure hides no second that was spoken"
    assert reader.data("timeline-1")["failures"] == [{"run": 0, "reason": "no video stream"}]
    assert "no video stream" in reader.shown


def test_a_run_still_running_shows_no_score_and_says_so(tmp_path: Path) -> None:
    run = question_run(tmp_path / "run", status="running", finished=None)
    with (run / "answers.jsonl").open("ab") as file:
        file.write(b'{"v":1,"sample":"torn')
    text = cells(page(tmp_path, run))
    assert "is still running: records of 50 of 50 samples so far, scores are withheld" in text
    assert "torn last line dropped" in text
    assert "Scores with 95 % intervals" not in text
    assert "No score yet. streamingvlm is running." in text


def test_verdicts_of_an_interrupted_run_give_no_win_rate(tmp_path: Path) -> None:
    text = cells(page(tmp_path, narration_run(tmp_path / "run", seconds=60, status="interrupted")))
    assert "was interrupted" in text
    assert "Pairwise judging" not in text


def test_a_run_without_answers_says_so(tmp_path: Path) -> None:
    text = cells(page(tmp_path, write_run(tmp_path / "run", manifest("ovo-bench", "full"), metrics=None)))
    assert "full has no answers on record" in text
    assert "no metrics.json" in text


def test_a_metric_that_is_no_number_is_a_dash_and_a_notice(tmp_path: Path) -> None:
    run = question_run(tmp_path / "run", questions=8)
    metrics = [
        {"name": "accuracy", "value": math.nan, "unit": "share", "score": "strict"},
        {"name": "accuracy", "value": 0.5, "unit": "share", "score": "strict", "group": "OCR", "n": 4},
    ]
    content = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**content, "metrics": metrics}))
    text = cells(page(tmp_path, run))
    assert "1 metrics are not numbers (accuracy); they show as a dash" in text
    assert "nan" not in text.lower().split()
    assert "50.00" in text


def test_runs_of_different_tasks_do_not_stand_in_one_report(tmp_path: Path) -> None:
    runs = [question_run(tmp_path / task, task=task) for task in ("ovo-bench", "streamingbench")]
    with pytest.raises(UsageError, match="runs of different tasks"):
        build_report(runs, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_missing_folder_a_strange_folder_and_a_repeated_one_are_named(tmp_path: Path) -> None:
    run = question_run(tmp_path / "run", questions=8)
    with pytest.raises(UsageError, match=r"nowhere is not a run folder \(there is no such folder\)"):
        build_report([tmp_path / "nowhere"], tmp_path / "report.html")
    (tmp_path / "strange").mkdir()
    with pytest.raises(DataError, match="is not a run folder"):
        build_report([tmp_path / "strange"], tmp_path / "report.html")
    with pytest.raises(UsageError, match="named twice"):
        build_report([run, run / ".." / "run"], tmp_path / "report.html")
    with pytest.raises(UsageError, match="at least one"):
        build_report([], tmp_path / "report.html")


def test_a_run_of_a_newer_evalkit_is_refused(tmp_path: Path) -> None:
    run = question_run(tmp_path / "run", questions=8)
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**content, "v": 99}))
    with pytest.raises(DataError, match=r"newer evalkit \(schema 99"):
        build_report([run], tmp_path / "report.html")


def test_runs_that_differ_in_more_than_the_model_are_marked_with_the_fields(tmp_path: Path) -> None:
    runs = [
        question_run(tmp_path / "a", "full"),
        question_run(tmp_path / "b", "sliding", fingerprint={"fps": 1.0, "parser": "strict-4"}),
    ]
    text = cells(page(tmp_path, *runs))
    assert "differ in more than the model under test (fps, parser)" in text
    alike = [question_run(tmp_path / "c", "full", seed=1), question_run(tmp_path / "d", "sliding", seed=1)]
    assert "differ in more than" not in cells(page(tmp_path, *alike))


def test_two_runs_of_one_model_get_names_of_their_own(tmp_path: Path) -> None:
    runs = [question_run(tmp_path / name, questions=8) for name in ("one", "two")]
    labels = page(tmp_path, *runs).data("index")["runs"]
    assert len(set(labels)) == 2
    assert all(label.startswith("streamingvlm") for label in labels)


def test_runs_of_one_model_are_named_by_what_they_differ_in_and_no_more(tmp_path: Path) -> None:
    def run(name: str, compress: str | None, seed: int) -> Path:
        options = {"task": "ovo-bench", "model": "full", "checkpoint": "tiny", "compress": compress}
        return question_run(tmp_path / name, "full", questions=8, options=options, seeds={"run": seed})

    runs = [run("a", None, 1), run("b", "stc", 1), run("c", "stc", 2)]
    assert [one.label for one in load_runs(runs)] == ["full", "full stc seed 1", "full stc seed 2"]
    assert [one.label for one in load_runs(runs[:2])] == ["full", "full stc"]


def test_questions_of_two_runs_are_aligned_and_the_differing_ones_known(tmp_path: Path) -> None:
    runs = [question_run(tmp_path / model, model, questions=60) for model in ("full", "sliding")]
    questions = page(tmp_path, *runs).data("index")["questions"]
    first, second = (read_run(run).answers for run in runs)
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        same = (one.parsed, one.status, one.unparsed) == (other.parsed, other.status, other.unparsed)
        assert questions["columns"]["query"][number] == one.query
        assert bool(questions["columns"]["differs"][number]) is not same


def test_a_timeline_holds_speech_reference_memory_and_votes_of_each_second(tmp_path: Path) -> None:
    run = narration_run(tmp_path / "run", videos=1, seconds=60, window=30)
    timeline = page(tmp_path, run).data("timeline-0")
    assert timeline["start"][:2] == [10.0, 11.0]
    said, memory = timeline["runs"][0]["said"], timeline["runs"][0]["memory"]
    assert (said["start"][3], said["text"][3]) == (13.0, HOSTILE)
    assert {kind: counts[59] for kind, counts in memory["evicted"].items()} == {"vision": 180, "assistant": 14}
    assert memory["start"] == said["start"] == timeline["start"]
    assert [(window["start"], len(window["votes"])) for window in timeline["windows"]] == [(10.0, 2), (40.0, 2)]
    assert {vote["order"] for window in timeline["windows"] for vote in window["votes"]} == {"ab", "ba"}


def spoken(sample: str, start: float, text: str) -> AnswerRecord:
    return AnswerRecord(
        sample=sample, cluster="match", query=f"{start:g}", kind="narration", start=start, end=start + 1, at=start,
        text=text, seconds=0.1, tokens=3,
    )  # fmt: skip


def test_a_stream_and_chunks_of_it_stand_side_by_side_and_events_that_overlap_do_not(tmp_path: Path) -> None:
    whole = [spoken("match", float(second), "whole") for second in range(4)]
    chunks = [spoken(f"match@{2 * (second // 2)}", float(second), "chunk") for second in range(4)]
    runs = [
        write_run(tmp_path / name, manifest("t", name), answers=answers)
        for name, answers in (("whole", whole), ("chunks", chunks))
    ]
    reader = page(tmp_path, *runs)
    (row,) = reader.data("index")["timelines"]
    assert (row["sample"], row["spoken"], row["seconds"]) == ("match", [4, 4], 4)
    assert [one["said"]["text"] for one in reader.data("timeline-0")["runs"]] == [["whole"] * 4, ["chunk"] * 4]
    events = [spoken(f"event-{number}", float(second), "event") for number in (1, 2) for second in range(2)]
    apart = write_run(tmp_path / "events", manifest("t", "events"), answers=events)
    rows = page(tmp_path, runs[0], apart).data("index")["timelines"]
    assert [row["sample"] for row in rows] == ["match", "event-1", "event-2"]


def test_a_video_beside_the_page_is_linked_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    video = tmp_path / "data" / "game-0 #1.mp4"
    video.write_bytes(b"film")
    run = narration_run(tmp_path / "run", videos=2, seconds=5, media={"game-0": str(video), "game-1": "sha256:00"})
    reader = page(tmp_path, run)
    assert reader.data("index")["video_urls"] == {"game-0": "data/game-0%20%231.mp4"}
    assert reader.data("timeline-1")["video"] is None


def test_thumbnails_stand_in_for_a_video_that_is_not_here(tmp_path: Path) -> None:
    run = narration_run(tmp_path / "run", videos=1, seconds=5)
    folder = tmp_path / "thumbs" / "game-0"
    folder.mkdir(parents=True)
    (folder / "11.jpg").write_bytes(b"\xff\xd8\xff picture")
    (folder / "12.jpg").write_bytes(b"<svg onload=...>")
    reader = Reader(build_report([run], tmp_path / "r.html", thumbnails=tmp_path / "thumbs").read_text())
    assert list(reader.data("index")["thumbnails"]["game-0"]) == ["11"]


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "a\u2028b", "]]>", "&lt;", "\ud83d", "\x00\x1f"])
def test_embedded_json_reads_back_and_holds_no_markup(text: str) -> None:
    embedded = embed_json({"text": text})
    assert not re.search(r"[<>&\u2028\u2029]", embedded)
    assert json.loads(embedded)["text"] == text.encode("utf-8", "replace").decode()


def test_json_has_no_word_for_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        embed_json([math.nan])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"parsed": "B", "gold": "b"}, "right"),
        ({"parsed": "A", "gold": "B"}, "wrong"),
        ({"parsed": "07", "gold": "7", "kind": "count"}, "right"),
        ({"parsed": None, "gold": "B"}, "unparsed"),
        ({"parsed": "B", "gold": "B", "unparsed": "two letters"}, "unparsed"),
        ({"parsed": "B", "gold": "B", "status": "failed"}, "failed"),
        ({"parsed": "B", "gold": None}, "answered"),
        ({"parsed": "a dog", "gold": "a dog", "kind": "open"}, "answered"),
    ],
)
def test_an_outcome_is_right_only_where_the_parsed_value_is_gold(fields: dict[str, Any], expected: str) -> None:
    base = {"sample": "s", "query": "q", "kind": "choice", "at": 1.0, "start": 0.0, "end": 1.0}
    assert outcome(AnswerRecord(**{**base, **fields})) == expected


def test_report_md_has_the_numbers_of_the_page(tmp_path: Path) -> None:
    run = question_run(tmp_path / "run", model="a|b")
    metric = Metric(**json.loads((run / "metrics.json").read_text())["metrics"][0])
    text = markdown_report([run])
    assert f"{metric.value or 0:.2f}" in text
    assert r"a\|b" in text


def test_scores_of_answers_that_are_gone_are_not_shown(tmp_path):
    folder = question_run(tmp_path / "run")
    (folder / "answers.jsonl").write_text("")
    (run,) = load_runs([folder])
    assert not any(metric.score for metric in run.metrics)
    assert any("no answers on record" in line for line in run.notices())
