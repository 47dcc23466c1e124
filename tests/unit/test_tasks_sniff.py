"""Another benchmark's files are recognised and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.errors import DataError
from evalkit.tasks.sniff import refuse_other, sniff

ROWS = {
    "ovobench": {"id": 0, "task": "EPM", "video": "a.mp4", "realtime": 1, "options": ["x", "y"], "gt": 0},
    "streamingbench": {"time": "[0]", "questions": [], "video_categories": "x", "video_path": "a.mp4"},
    "longvideobench": {"id": "a_0", "candidates": [], "duration_group": 15, "question_category": "S2E"},
    "videomme": {"video_id": "001", "duration": "short", "domain": "x", "questions": []},
    "inf-streams": {"video": "a.mp4", "title": "x", "content": []},
    "egoschema": {"q_uid": "x", "question": "?", "option 0": "a"},
    "mlvu": {"video": "a.mp4", "duration": 3, "candidates": [], "question_type": "ego"},
}


@pytest.mark.parametrize(("task", "row"), ROWS.items())
def test_a_file_is_recognised_by_the_keys_of_its_first_record(
    tmp_path: Path, task: str, row: dict[str, object]
) -> None:
    (tmp_path / "things.json").write_text(json.dumps([row, row]), encoding="utf-8")
    assert sniff(tmp_path / "things.json") == task
    assert sniff(tmp_path) == task


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("ovo_bench_new.json", "ovobench"),
        ("questions_real.json", "streamingbench"),
        ("Real_Time_Visual_Understanding.csv", "streamingbench"),
        ("lvb_val.json", "longvideobench"),
        ("eval_all_metadata.jsonl", "inf-streams"),
    ],
)
def test_a_folder_is_recognised_by_the_names_in_it_and_its_children(tmp_path: Path, name: str, task: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text("[]", encoding="utf-8")
    assert sniff(tmp_path) == task


def test_a_video_mme_parquet_is_recognised_by_its_columns(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"videoID": ["x"], "sub_category": ["y"], "options": [["A. z"]]})
    pyarrow.parquet.write_table(table, tmp_path / "test-00000-of-00001.parquet")
    assert sniff(tmp_path) == "videomme"


@pytest.mark.parametrize("content", ["", "{", "not json", "[1, 2]", '{"a": 1}', "\ufeff[]", "[" * 5000])
def test_an_unknown_file_is_nobodys(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content, encoding="utf-8")
    assert sniff(tmp_path / "x.json") is None
    assert sniff(tmp_path / "gone.json") is None


def test_binary_rubbish_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(bytes(range(256)))
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    assert sniff(tmp_path) is None


def test_a_foreign_folder_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "lvb_val.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="holds longvideobench data, not ovobench; use --task longvideobench"):
        refuse_other(tmp_path, "ovobench")
    refuse_other(tmp_path, "longvideobench")
