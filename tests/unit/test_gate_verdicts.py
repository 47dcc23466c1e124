"""Eight heads of a CI job against one base, as run folders: what each is told, and with which exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from run_folders import question_run

from evalkit.cli.main import main

FIELDS = {
    "frames.fps": "2",
    "prompt.digest": "aaaa",
    "seed": 42,
    "code.revision": "0123abc",
    "model.frame_size": "640x360 as 644x364",
    "model.memory.text_sink": 512,
}
# Had nothing changed, 25 videos would rule out 11.3 points.
MARGIN = "15"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return question_run(tmp_path / "base", accuracy=0.8, fingerprint=FIELDS)


def head_of(base: Path, *, fields: dict[str, object] | None = None, wrong: int = 0, videos: int = 50) -> Path:
    """Copy the base with other fields, the first so many right answers made wrong, or on fewer videos."""
    head = base.parent / "head"
    shutil.copytree(base, head)
    record = json.loads((head / "run.json").read_text())
    record["fingerprint"] |= fields or {}
    record["fingerprint_digest"] = f"changed-{sorted((fields or {}).items())}"[:64]
    kept = {f"s{number}" for number in range(videos)}
    record["planned"] = [sample for sample in record["planned"] if sample in kept]
    record["failed"] = [one for one in record["failed"] if one["sample"] in kept]
    answers = [json.loads(line) for line in (head / "answers.jsonl").read_text().splitlines()]
    answers = [one for one in answers if one["sample"] in kept]
    for one in [one for one in answers if one.get("parsed") == one["gold"]][:wrong]:
        one["parsed"] = "A" if one["gold"] != "A" else "B"
        one["text"] = f"({one['parsed']})"
    (head / "run.json").write_text(json.dumps(record))
    (head / "answers.jsonl").write_text("".join(json.dumps(one) + "\n" for one in answers))
    return head


@pytest.fixture
def gate(base: Path, capsys: pytest.CaptureFixture[str]):
    def hold(head: Path, *more: str) -> tuple[int, str]:
        code = main(["gate", "--base", str(base), "--head", str(head), "--max-drop", MARGIN, *more])
        out, err = capsys.readouterr()
        return code, out + err

    return hold


def test_an_identical_head_passes(base, gate):
    code, text = gate(head_of(base))
    assert code == 0
    assert "identical answers (transcripts equal): 200 of 200 replies; 0 of 200 scores fell, 0 rose" in text
    assert "under test: no model setting differs" in text


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"seed": 7}, "seed (42 against 7)"),
        ({"frames.fps": "1"}, 'frames.fps ("2" against "1")'),
        ({"prompt.digest": "bbbb"}, 'prompt.digest ("aaaa" against "bbbb")'),
    ],
)
def test_a_head_in_another_setting_is_refused_though_it_answers_alike(base, gate, fields, named):
    code, text = gate(head_of(base, fields=fields))
    assert code == 2
    assert named in text
    assert "differ in more than the model under test" in text


def test_another_frame_size_is_under_test_and_named_and_its_drop_fails(base, gate):
    code, text = gate(head_of(base, fields={"model.frame_size": "640x360 as 224x224"}, wrong=120))
    assert code == 1
    assert 'under test: model.frame_size ("640x360 as 644x364" against "640x360 as 224x224")' in text
    assert "120 of 200 scores fell, 0 rose" in text
    assert "gate: fail" in text


def test_a_policy_altered_by_settings_does_not_read_like_identical_code(base, gate):
    code, text = gate(head_of(base, fields={"model.memory.text_sink": 0}, wrong=14))
    assert code == 4
    assert "14 of 200 replies differ, the first at q" in text
    assert "under test: model.memory.text_sink (512 against 0)" in text
    assert "gate: cannot tell" in text


def test_a_policy_edited_in_a_dirty_tree_is_seen(base, gate):
    edited = head_of(base, fields={"code.change": "5d41402abc4b2a76"}, wrong=120)
    code, text = gate(edited)
    assert code == 2
    assert "code.change (absent against" in text
    code, text = gate(edited, "--ignore-field", "code")
    assert code == 1
    assert "under test: no model setting differs" in text
    assert 'allowed to differ: code.change (absent against "5d41402abc4b2a76")' in text
    assert "120 of 200 replies differ" in text


def test_half_the_videos_are_refused_with_what_is_missing(base, gate):
    code, text = gate(head_of(base, videos=25))
    assert code == 2
    assert 'questions ("200 of which 100 alone' in text
