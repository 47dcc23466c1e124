"""Files without a reply that can be read, of another benchmark, compressed, or cut: no score stands for them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., tuple[int, str, str]]

LVB_ROW = {
    "doc_id": 0,
    "filtered_resps": ["A"],
    "lvb_acc": {"id": "a_0", "duration_group": 15, "question_category": "S2E", "answer": "A", "parsed_pred": "A"},
    "submission": {"a_0": "A"},
    "target": "0",
}
VIDEO = {"video_id": "001", "duration": "short", "domain": "Knowledge", "sub_category": "Humanity & History"}
QUESTION = {"question_id": "001-1", "task_type": "OCR Problems", "question": "?", "options": [], "answer": "A"}


@pytest.mark.parametrize(
    ("task", "layout", "name", "content", "said"),
    [
        (
            "videomme",
            "official",
            "x.json",
            [],
            "no reply that can be read as official (first: x.json: an empty list",
        ),
        ("videomme", "official", "x.json", [{"questions": []}, 7], "(first: x.json:1: None is no video_id)"),
        ("ovobench", "livecc", "x.json", [{"task": "EPM"}], "(first: x.json:1: must be a whole number"),
        ("ovobench", "official", "x.json", [], "the list is empty: nothing was merged"),
        (
            "streamingbench",
            "official",
            "x.json",
            [VIDEO | {"questions": [QUESTION]}],
            "no question holds a model's answer",
        ),
        ("egoschema", "lmms-eval", "x.jsonl", LVB_ROW, "is another benchmark's score"),
    ],
)
def test_a_file_of_which_nothing_can_be_used_is_one_line_and_no_score(
    task: str, layout: str, name: str, content: Any, said: str, evalkit: Call, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    code, out, err = evalkit("score", "--task", task, "--format", layout, name, "--json")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


@pytest.mark.parametrize(
    ("task", "layout"),
    [
        *(("videomme", layout) for layout in ("official", "livecc", "lmms-eval")),
        *(("ovobench", layout) for layout in ("official", "livecc", "lmms-eval")),
        *(("mlvu", "lmms-eval"), ("streamingbench", "official"), ("longvideobench", "lmms-eval")),
    ],
)
def test_what_is_compressed_or_cut_says_so(task: str, layout: str, evalkit: Call, tmp_path: Path) -> None:
    whole = json.dumps([{"a": 1}]).encode()
    for content, said in ((gzip.compress(whole), "unpack it first (gunzip)"), (whole[:-3], "not valid JSON")):
        (tmp_path / "x.json").write_bytes(content)
        code, _, err = evalkit("score", "--task", task, "--format", layout, "x.json")
        assert (code, len(err.splitlines())) == (2, 1)
        assert said in err


def test_an_entry_that_is_no_object_costs_itself_alone(evalkit: Call, tmp_path: Path) -> None:
    answered = VIDEO | {"questions": [QUESTION | {"response": "A"}]}
    (tmp_path / "x.json").write_text(json.dumps([7, answered, None]))
    code, out, _ = evalkit("score", "--task", "videomme", "--format", "official", "x.json", "--json")
    assert code == 0
    bad = [problem for problem in json.loads(out)["problems"] if problem["kind"] == "bad-row"]
    assert [(problem["line"], problem["message"]) for problem in bad] == [
        (1, "not an object"),
        (3, "not an object"),
    ]
