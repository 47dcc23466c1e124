"""Each question benchmark runs on its demo, in each protocol, from the command line to metrics and report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evalkit.records import missing_samples, read_run
from evalkit.records.completeness import count_records
from evalkit.tasks.catalog import task_named
from evalkit_tasks.toy_qa import make_toy

Command = Callable[..., tuple[int, str, str]]

RUNS = {
    ("ovobench", "streaming"): ("task.tasks=EPM,CRR", "task.fps=0.1"),
    ("ovobench", "official"): ("task.frames=vlmeval-8",),
    ("ovobench", "logit"): ("task.tasks=OCR,SSR", "task.frames=vlmeval-8"),
    ("streamingbench", "streaming"): ("task.tasks=SQA,PO", "task.fps=0.2"),
    ("streamingbench", "official"): ("task.tasks=SQA,PO", "task.frames=vlmeval-8"),
    ("longvideobench", "streaming"): ("task.subtitles=true", "task.fps=0.2"),
    ("longvideobench", "official"): ("task.subtitles=true", "task.frames=vlmeval-8"),
    ("egoschema", "streaming"): ("task.fps=0.2",),
    ("egoschema", "official"): ("task.frames=vlmeval-8",),
    ("livesports-qa", "streaming"): ("task.fps=0.2",),
    ("livesports-qa", "official"): ("task.frames=vlmeval-8",),
    ("mlvu", "official"): ("task.frames=vlmeval-8",),
    ("mlvu", "streaming"): ("task.fps=0.2",),
    ("videomme", "streaming"): ("task.fps=0.2",),
    ("videomme", "official"): ("task.subtitles=true", "task.frames=vlmeval-8"),
    ("videomme", "logit"): ("task.frames=vlmeval-8",),
}


@pytest.fixture(scope="session")
def cache(demo_cache: Path) -> Path:
    """Where the demo data lie."""
    return demo_cache


@pytest.fixture
def questions(evalkit: Command, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a question benchmark on its demo and the tiny checkpoint."""
    monkeypatch.setenv("EVALKIT_CACHE", str(cache))
    threads = torch.get_num_threads()

    def call(task: str, protocol: str, *more: str, model: str = "full", out: str = "run") -> tuple[int, str, str]:
        words = ["run", "--task", task, "--model", model, "--protocol", protocol, "--checkpoint", "tiny"]
        words += ["--data", "demo", "--out", out, "--set", "generation.answer_tokens=3"]
        for setting in (*RUNS[task, protocol],):
            words += ["--set", setting]
        torch.set_num_threads(1)
        try:
            return evalkit(*words, *more)
        finally:
            torch.set_num_threads(threads)

    return call


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def planned(task: str, protocol: str, cache: Path, limit: int) -> dict[str, Any]:
    """Return the queries of a run's first samples, by id."""
    known = task_named(task)
    given: dict[str, Any] = {"protocol": protocol}
    for setting in RUNS[task, protocol]:
        key, _, value = setting.partition("=")
        name = key.removeprefix("task.")
        given[name] = (
            tuple(value.split(",")) if name == "tasks" else json.loads(value) if name != "frames" else value
        )
    samples = known.load(cache / "demo" / task, known.settings(**given)).samples[:limit]
    return {query.id: query for sample in samples for query in sample.queries}


@pytest.mark.parametrize(("task", "protocol"), list(RUNS))
def test_a_run_leaves_records_metrics_and_a_report(
    task: str, protocol: str, questions: Command, evalkit: Command, cache: Path, tmp_path: Path
) -> None:
    code, _, err = questions(task, protocol, "--limit", "2")
    assert code == 0, err
    run = tmp_path / "run"
    manifest = json.loads((run / "run.json").read_text())
    assert (manifest["status"], manifest["failed"], len(manifest["planned"])) == ("done", [], 2)
    left = read_run(run)
    nothing_counted = left.manifest.model_copy(update={"recorded": {}})
    found = count_records(left.answers, left.ticks)
    assert left.missing == missing_samples(nothing_counted, found, left.ticks) == ()
    fingerprint = manifest["fingerprint"]
    assert fingerprint["task.protocol"] == protocol
    assert fingerprint["positions.after_vision"] == "max"
    assert fingerprint["parser"]
    if protocol != "streaming":
        assert fingerprint["frames.presets"] == (
            "vlmeval-8" if "task.frames=vlmeval-8" in RUNS[task, protocol] else fingerprint["frames.presets"]
        )

    wanted = planned(task, protocol, cache, 2)
    records = rows(run / "answers.jsonl")
    asked = [record["query"] for record in records]
    assert len(asked) == len(set(asked))
    polls = {query.id for query in wanted.values() if query.follow_up is not None}
    assert set(asked) - polls <= wanted.keys() | {f"{poll.rpartition('#')[0]}#output" for poll in polls}
    assert wanted.keys() - polls <= set(asked)
    for record in records:
        assert record["status"] == "ok"
        assert (record["parsed"] is None) != (record["unparsed"] is None)
        assert record["tags"]["protocol"] == protocol
        options = wanted[record["query"]].elicitation.options if record["query"] in wanted else ()
        if protocol == "logit":
            assert record["text"] in options
            assert record["tokens"] == 0

    code, out, _ = evalkit("score", "--task", task, "--format", "evalkit", "--json", run)
    assert code == 0
    sheet = json.loads(out)
    assert sheet["n"] == len(wanted.keys() - polls) + len({poll.rpartition("#")[0] for poll in polls})
    metrics = json.loads((run / "metrics.json").read_text())["metrics"]
    scores = {(row["group"], row["name"], row["score"]): row for row in metrics if row["score"]}
    for side, score in (("source", "official"), ("strict", "strict")):
        assert sheet[side]["total"] == scores["", "total", score]["value"]
        for group in ("tasks", "groups"):
            for name, value in sheet[side][group].items():
                assert scores[group, name, score]["value"] == value
    assert scores["", "total", "strict"]["n"] == sheet["n"]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert task in page
    assert len(rows(run / "ticks.jsonl")) >= 2


@pytest.mark.parametrize("model", ["blind", "last-frame", "recent-4", "shuffled"])
@pytest.mark.parametrize("protocol", ["streaming", "official"])
def test_a_shortcut_baseline_runs_in_both_protocols(
    model: str, protocol: str, questions: Command, tmp_path: Path
) -> None:
    code, _, err = questions("videomme", protocol, "--limit", "1", model=model)
    assert code == 0, err
    fingerprint = json.loads((tmp_path / "run" / "run.json").read_text())["fingerprint"]
    assert fingerprint["model.name"] == model
    assert fingerprint["model.checkpoint"] == "tiny"
    frames = {"blind": None, "last-frame": 1, "recent-4": 4, "shuffled": None}[model]
    assert fingerprint.get("model.memory.frames") == frames
    assert len(rows(tmp_path / "run" / "answers.jsonl")) == (3 if protocol == "streaming" else 1)


def test_a_run_on_hidden_gold_ends_with_a_submission_and_no_score(
    questions: Command, evalkit: Command, tmp_path: Path
) -> None:
    code, _, err = questions("longvideobench", "official", "--set", "task.split=test")
    assert code == 0, err
    run = tmp_path / "run"
    replies = {record["query"]: record["text"] for record in rows(run / "answers.jsonl")}
    assert len(replies) == 2
    assert json.loads((run / "longvideobench_test_for_submission.json").read_text()) == replies
    metrics = json.loads((run / "metrics.json").read_text())["metrics"]
    assert all(row["value"] is None for row in metrics if row["score"])
    code, out, _ = evalkit("score", "--task", "longvideobench", "--format", "evalkit", "--json", run)
    assert code == 0
    assert json.loads(out)["strict"]["total"] is None
    code, out, _ = evalkit(
        "score", "--task", "longvideobench", "--format", "submission", "--data", "demo", "--json",
        run / "longvideobench_test_for_submission.json",
    )  # fmt: skip
    assert code == 0
    assert (json.loads(out)["n"], json.loads(out)["strict"]["total"]) == (2, None)


def test_a_missing_video_fails_its_questions_and_they_count_as_wrong(
    evalkit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(cache))
    make_toy("longvideobench", tmp_path / "data")
    (tmp_path / "data" / "videos" / "demo_match_07.mp4").unlink()
    words = ["run", "--task", "longvideobench", "--model", "blind", "--checkpoint", "tiny", "--out", "run"]
    code, _, err = evalkit(*words, "--data", tmp_path / "data", "--set", "generation.answer_tokens=2")
    assert code == 3
    assert "demo_match_07" in err
    records = rows(tmp_path / "run" / "answers.jsonl")
    assert [record["status"] for record in records].count("failed") == 3
    code, out, _ = evalkit("score", "--task", "longvideobench", "--format", "evalkit", "--json", tmp_path / "run")
    sheet = json.loads(out)
    assert sheet["n"] == 6
    assert sheet["facts"]["unread"]["missing"] == 3
