"""Scoring again after a parser changed: what was said stays, what it is read as follows, old and new are shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from run_folders import question_run

from evalkit.parse import PARSER_VERSION, Parsed
from evalkit.records import read_run
from evalkit.run.finish import finish_run

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A run of today's parsers, reported, as if an older version had read it."""
    path = question_run(tmp_path / "run", questions=30, task="ovobench")
    finish_run(path)
    manifest = json.loads((path / "run.json").read_text())
    manifest["fingerprint"]["parser"] = "1"
    (path / "run.json").write_text(json.dumps(manifest))
    return path


def test_with_the_same_parser_nothing_changes_but_its_version(scored: Path, evalkit: Call) -> None:
    before = (scored / "answers.jsonl").read_bytes()
    assert evalkit("rescore", scored)[0] == 0  # what the folder's maker wrote is read by today's rules
    after = (scored / "answers.jsonl").read_bytes()
    code, out, err = evalkit("rescore", scored, "--json")
    assert code == 0, err
    (one,) = json.loads(out)["runs"]
    assert (one["parser_before"], one["parser_after"]) == (PARSER_VERSION, PARSER_VERSION)
    assert (one["replies"], one["read_otherwise"]) == (30, 0)
    assert all(figure["before"] == figure["after"] for figure in one["figures"])
    assert (scored / "answers.jsonl").read_bytes() == after
    assert [json.loads(line)["text"] for line in before.splitlines()] == [
        json.loads(line)["text"] for line in after.splitlines()
    ]


def test_a_changed_parser_changes_readings_scores_and_the_fingerprint(
    scored: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    evalkit("rescore", scored)
    run = read_run(scored)
    digest = run.manifest.fingerprint_digest
    golds = {answer.text: answer.gold for answer in run.answers}

    def kind_parser(kind: str, text: str, choices: object) -> Parsed:
        return Parsed(golds[text] or "A", "kind")

    monkeypatch.setattr("evalkit.run.rescore.parse", kind_parser)
    monkeypatch.setattr("evalkit.tasks.scoring.parse", kind_parser)
    monkeypatch.setattr("evalkit.run.rescore.PARSER_VERSION", "next")
    code, out, err = evalkit("rescore", scored)
    assert code == 0, err
    assert f"Parsers: version {PARSER_VERSION} then, next now." in out
    assert "replies are read otherwise" in err
    after = read_run(scored)
    assert after.manifest.fingerprint["parser"] == "next"
    assert after.manifest.fingerprint_digest != digest
    assert [answer.text for answer in after.answers] == [answer.text for answer in run.answers]
    assert all(answer.rule == "kind" for answer in after.answers if answer.status == "ok")


def test_a_run_that_is_not_done_is_refused(scored: Path, evalkit: Call) -> None:
    manifest = json.loads((scored / "run.json").read_text()) | {"status": "interrupted"}
    (scored / "run.json").write_text(json.dumps(manifest))
    code, _, err = evalkit("rescore", scored)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "is interrupted: evalkit run --resume --out" in err
