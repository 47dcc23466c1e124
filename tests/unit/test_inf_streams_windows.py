"""Inf-Streams-Eval: what each side said in a window, what is not covered, and the original's result file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.records import AnswerRecord
from evalkit_tasks.inf_streams import (
    MergedRow,
    Said,
    Spoken,
    Window,
    cut_ending,
    merged_rows,
    pairs,
    read_merged,
    spoken_from_file,
    spoken_from_merged,
    spoken_from_records,
    write_merged,
)
from evalkit_tasks.inf_streams.merged import records_from_file
from evalkit_tasks.inf_streams.rows import ContentRow
from evalkit_tasks.inf_streams.windows import candidate_text, cut_windows, join_spans


def record(second: int, text: str, *, sample: str = "a", video: str = "a.mp4", **changes: Any) -> AnswerRecord:
    fields = {
        "sample": sample, "query": str(second), "kind": "narration", "at": second + 1.0, "start": float(second),
        "end": second + 1.0, "text": text, "cluster": video,
    }  # fmt: skip
    return AnswerRecord.model_validate(fields | changes)


def item(second: int, text: str) -> dict[str, Any]:
    return {"response": text, "start_time": second, "end_time": second + 1}


def chunk(start: int, end: int, mark: str = "t", video: str = "a.mp4") -> dict[str, Any]:
    items = [item(second, f"{mark}{second}") for second in range(start, end)]
    return {"video": video, "chunk_start": start, "chunk_end": end, "items": items}


def window(start: int, end: int, video: str = "a.mp4") -> Window:
    return Window(f"{video}:{start}-{end}", video, start, end, "reference")


def spoken(*rows: dict[str, Any]) -> Spoken:
    return spoken_from_merged([MergedRow(row) for row in rows], "merged_result.jsonl")[0]


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        (" They attack ...", " They attack"),
        (" ...", ""),
        ("...", "..."),
        ("cut off at the cap", "cut off at the cap"),
        ("wait ... no", "wait ... no"),
        ("twice ... ...", "twice ..."),
        ("ends ... ", "ends ... "),
        ("four....", "four...."),
        ("", ""),
    ],
)
def test_the_literal_ending_is_cut_and_nothing_else(text: str, cut: str) -> None:
    assert cut_ending(text) == cut


def test_a_window_holds_the_seconds_that_end_after_its_start_and_not_after_its_end() -> None:
    said = [Said("a.mp4", None, end, text) for end, text in ((10, "no"), (10.9, "no"), (11, " b "), (12, ""),
            (20.9, "c"), (21, "no"))]  # fmt: skip
    assert candidate_text(said, 10, 20) == "b c"


@given(st.lists(st.tuples(st.integers(0, 60), st.text(max_size=5)), max_size=40), st.integers(1, 29))
def test_adjoining_windows_share_the_text_out(seconds: list[tuple[int, str]], border: int) -> None:
    said = [Said("a", None, float(end), text) for end, text in sorted(seconds)]
    halves = [candidate_text(said, 0, border), candidate_text(said, border, 60)]
    assert " ".join(half for half in halves if half) == candidate_text(said, 0, 60)


def test_pairs_and_uncovered_windows_are_all_windows() -> None:
    test = spoken(chunk(10, 40))
    baseline = spoken(chunk(20, 60, "b"), chunk(0, 9, "b", "c.mp4"))
    asked = [window(20, 30), window(10, 20), window(40, 50), window(60, 70), window(0, 9, "c.mp4")]
    judged, missing = pairs(test, baseline, asked)
    assert [(pair.id, pair.cluster, pair.start, pair.end) for pair in judged] == [("a.mp4:20-30", "a.mp4", 20, 30)]
    assert judged[0].test == " ".join(f"t{second}" for second in range(20, 30))
    assert judged[0].baseline == " ".join(f"b{second}" for second in range(20, 30))
    assert judged[0].reference == "reference"
    assert [(gap.window.id, gap.side) for gap in missing] == [
        ("a.mp4:10-20", "baseline"),
        ("a.mp4:40-50", "test"),
        ("a.mp4:60-70", "both"),
        ("c.mp4:0-9", "test"),
    ]
    assert missing[0].reason == "baseline narrates only 20-60 s"
    assert missing[3].reason == "test has nothing of c.mp4"


def test_a_window_in_which_a_side_was_silent_is_judged_with_an_empty_text() -> None:
    silent = spoken({"video": "a.mp4", "chunk_start": 0, "chunk_end": 20, "items": []})
    judged, missing = pairs(silent, spoken(chunk(0, 20)), [window(0, 10)])
    assert missing == []
    assert judged[0].test == ""


def test_a_window_over_two_adjoining_chunks_is_covered() -> None:
    judged, missing = pairs(spoken(chunk(0, 10), chunk(10, 20)), spoken(chunk(0, 20)), [window(5, 15)])
    assert len(judged) == 1
    assert missing == []


def test_stretches_that_touch_or_overlap_are_joined() -> None:
    spans = [("a", 5.0, 7.0), ("a", 0.0, 2.0), ("b", 1.0, 3.0), ("a", 2.0, 4.0), ("a", 6.0, 9.0), ("a", 6.0, 7.0)]
    assert join_spans(spans) == {"a": ((0.0, 4.0), (5.0, 9.0)), "b": ((1.0, 3.0),)}


def test_records_of_a_run_become_what_it_said() -> None:
    records = [
        record(11, " second ..."),
        record(10, " first ..."),
        record(12, "", status="failed", error="decode"),
        record(10, "B", kind="choice"),
        record(20, "chunk", sample="a@20-30"),
    ]
    said = spoken_from_records(records)
    assert [second.text for second in said.said] == [" first", " second", "chunk"]
    assert said.covered == {"a.mp4": ((10.0, 12.0), (20.0, 21.0))}


def test_dropped_seconds_are_judged_as_what_a_viewer_heard_nothing_in() -> None:
    dropped = [record(second, "", status="dropped") for second in (*range(5), *range(15, 20))]
    records = [*dropped, *(record(second, f"t{second}") for second in range(5, 15))]
    judged, missing = pairs(
        spoken_from_records(records), spoken(chunk(0, 20, "b")), [window(0, 10), window(10, 20)]
    )
    assert missing == []
    assert [pair.test for pair in judged] == ["t5 t6 t7 t8 t9", "t10 t11 t12 t13 t14"]


def test_a_run_that_broke_early_leaves_later_windows_uncovered() -> None:
    records = [record(second, "x") for second in range(15)] + [record(15, "", status="failed", error="boom")]
    judged, missing = pairs(spoken_from_records(records), spoken(chunk(0, 20)), [window(0, 10), window(10, 20)])
    assert [pair.id for pair in judged] == ["a.mp4:0-10"]
    assert [(gap.window.id, gap.reason) for gap in missing] == [("a.mp4:10-20", "test narrates only 0-15 s")]


def test_a_transcript_is_cut_into_windows_with_enough_words() -> None:
    content = [ContentRow(second, second + 0.5, "two words") for second in range(40)]
    del content[22:28]
    windows = cut_windows(content, start=10, seconds=10, min_words=10)
    assert [(rows[0].start, rows[-1].start, len(rows)) for rows in windows] == [(10, 19, 10), (30, 39, 10)]


def test_a_merged_file_is_written_back_byte_for_byte(tmp_path: Path) -> None:
    lines = [
        json.dumps(chunk(1000, 1003) | {"note": {"seed": 42}}, ensure_ascii=False),
        json.dumps({"video": "é.mp4", "chunk_start": 0, "chunk_end": 100,
                    "items": [{"end_time": 100, "response": "“Goal”\u2028 1–0"}]}, ensure_ascii=False),
        json.dumps({"video": "b.mp4", "chunk_start": 0, "chunk_end": 1,
                    "items": [{"text": "old", "start_time": 0.0, "end_time": 1.0}]}, ensure_ascii=False),
    ]  # fmt: skip
    source = tmp_path / "merged_result.jsonl"
    source.write_bytes("".join(line + "\n" for line in lines).encode())
    write_merged(tmp_path / "again.jsonl", read_merged(source))
    assert (tmp_path / "again.jsonl").read_bytes() == source.read_bytes()
    assert [second.text for second in spoken_from_file(source)[0].said][-1] == "“Goal”\u2028 1–0"


@given(
    st.lists(
        st.tuples(st.sampled_from(["a.mp4", "b.mp4"]), st.integers(0, 50), st.text(max_size=8)),
        min_size=1,
        unique_by=lambda entry: entry[:2],
    )
)
def test_a_run_exported_and_imported_said_the_same(entries: list[tuple[str, int, str]]) -> None:
    records = [record(second, text, video=video, sample=video) for video, second, text in entries]
    rows = [MergedRow(json.loads(json.dumps(row.raw))) for row in merged_rows(records)]
    imported, problems = spoken_from_merged(rows, "merged_result.jsonl")
    assert problems == []
    assert imported == spoken_from_records(records)


def test_an_export_has_one_line_a_video_as_the_original_merges() -> None:
    records = [
        record(11, "b ...", sample="a@11-12"),
        record(10, "a ...", sample="a@10-11"),
        record(3, "c", video="0.mp4"),
    ]
    first, second = merged_rows(records)
    assert first.raw["video"] == "0.mp4"
    assert second.raw == {
        "video": "a.mp4",
        "chunk_start": 10,
        "chunk_end": 12,
        "items": [
            {"response": "a", "start_time": 10.0, "end_time": 11.0},
            {"response": "b", "start_time": 11.0, "end_time": 12.0},
        ],
    }


def test_a_chunk_that_failed_is_no_silence_in_an_export() -> None:
    records = [record(10, "a", sample="a@10-11"), record(30, "b", sample="a@30-31")]
    rows = merged_rows(records)
    assert [(row.start, row.end, len(row.said)) for row in rows] == [(10, 11, 1), (30, 31, 1)]
    assert spoken_from_merged(rows, "merged_result.jsonl")[0].covered == spoken_from_records(records).covered


def test_a_file_imported_as_a_run_says_and_covers_what_the_file_does(tmp_path: Path) -> None:
    """Items of the GPT baseline have no start; an ending that the original left is not cut on the way."""
    rows = [
        {"video": "a.mp4", "chunk_start": 10, "chunk_end": 40,
         "items": [{"end_time": 20, "response": "one"}, {"end_time": 30, "response": "they wait ..."}]},
        {"video": "a.mp4", "chunk_start": 50, "chunk_end": 60, "items": []},
        {"video": "b.mp4", "chunk_start": 0, "chunk_end": 9,
         "items": [{"response": "late", "start_time": 4.0, "end_time": 5.0}]},
    ]  # fmt: skip
    path = tmp_path / "merged_result.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    records, _ = records_from_file(path)
    given, imported = spoken_from_file(path)[0], spoken_from_records(records)
    assert imported.covered == given.covered == {"a.mp4": ((10, 40), (50, 60)), "b.mp4": ((0, 9),)}
    assert [(one.video, one.end, one.text) for one in imported.said if one.text] == [
        (one.video, one.end, one.text) for one in given.said
    ]
    assert [(one.start, one.end, one.text) for one in records if one.sample == "a@10"] == [
        (10, 20, "one"), (20, 30, "they wait ... ..."), (30, 40, "")
    ]  # fmt: skip


def test_text_doubled_by_a_second_merge_counts_once_and_is_named() -> None:
    chunks = [chunk(0, 10), chunk(10, 20), chunk(20, 30)]
    doubled = chunk(0, 30)
    doubled["items"] = [entry for part in (*chunks, *chunks[1:]) for entry in part["items"]]
    said, problems = spoken_from_merged([MergedRow(doubled, 1)], "merged_result.jsonl")
    assert [second.text for second in said.said] == [f"t{second}" for second in range(30)]
    assert [problem.kind for problem in problems] == ["duplicate-item"]
    assert problems[0].message.startswith("20 items")


def test_of_two_chunks_with_one_start_the_longer_counts_and_the_other_is_named() -> None:
    rows = [MergedRow(chunk(0, 30, "long"), 1), MergedRow(chunk(0, 10, "short"), 2)]
    said, problems = spoken_from_merged(rows, "shard.jsonl")
    assert all(second.text.startswith("long") for second in said.said)
    assert [(problem.kind, problem.line) for problem in problems] == [("duplicate-chunk", 2)]
    assert spoken_from_merged(rows[::-1], "shard.jsonl")[0] == said


def test_two_texts_for_one_second_are_kept_and_named() -> None:
    said, problems = spoken_from_merged([MergedRow(chunk(0, 10)), MergedRow(chunk(5, 12, "other"))], "shard.jsonl")
    assert len(said.said) == 17
    assert [problem.kind for problem in problems] == ["conflicting-item"]
    assert problems[0].message.startswith("5 items")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"a.mp4": []}', "'video'"),
        ('{"video": "a", "chunk_start": 0, "items": []}', "'chunk_end'"),
        ('{"video": "a", "chunk_start": 0, "chunk_end": 1}', "'items'"),
        ('{"video": "a", "chunk_start": 0, "chunk_end": 1, "items": [{"response": "x"}]}', "end_time"),
        ('{"video": "a", "chunk_start": 0, "chunk_end": 1, "items": [{"end_time": 1}]}', "no response"),
        ('{"video": "a", "chunk_start": 0, "chunk_end": NaN, "items": []}', "'chunk_end'"),
        ('{"video": "a", "chunk_start": 0, "chunk_end": 1' + "0" * 400 + ', "items": []}', "'chunk_end'"),
    ],
)
def test_a_line_that_is_no_merged_result_is_named(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "merged_result.jsonl"
    path.write_text(json.dumps(chunk(0, 2)) + "\n" + line + "\n")
    with pytest.raises(DataError, match=fault) as error:
        read_merged(path)
    assert f"{path}:2:" in str(error.value)


def test_a_merged_file_that_is_missing_or_empty_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_merged(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no line"):
        read_merged(tmp_path / "empty.jsonl")


def test_a_result_file_saved_with_a_mark_and_other_line_ends_is_read(tmp_path: Path) -> None:
    row = {
        "video": "v.mp4",
        "chunk_start": 0,
        "chunk_end": 100,
        "items": [{"response": "a", "start_time": 1, "end_time": 2}],
    }
    plain, marked = tmp_path / "plain.jsonl", tmp_path / "marked.jsonl"
    plain.write_text(json.dumps(row) + "\n")
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes().replace(b"\n", b"\r\n"))
    assert [one.raw for one in read_merged(marked)] == [one.raw for one in read_merged(plain)] == [row]
