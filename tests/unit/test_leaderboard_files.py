"""A leaderboard file that is broken gives one line with its line number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.leaderboard.files import board_path, dump_board, parse_board, read_board, write_board
from evalkit.leaderboard.schema import Entry, Leaderboard, PublishedSource, Setting

FOLDER = Path(__file__).parents[2] / "leaderboards"
TASKS = [
    "egoschema",
    "inf-streams",
    "livesports-cc",
    "longvideobench",
    "mlvu",
    "ovobench",
    "streamingbench",
    "videomme",
]


def board(*ids: str, **changes) -> Leaderboard:
    values = {"score": "official", "source": PublishedSource(reference="a paper", where="Table 1"), **changes}
    entries = tuple(Entry(id=id_, name=id_, setting="s", metrics={"total": 50.0}, **values) for id_ in ids)
    setting = Setting(id="s", title="A setting", primary="total", columns=("total",))
    return Leaderboard(task="t", title="T", coverage_floor=0.99, settings=(setting,), entries=entries)


def refused(text: str) -> str:
    with pytest.raises(DataError) as error:
        parse_board(text, "boards/t.json")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_written_reads_back_the_same(tmp_path):
    one = board("a", "b")
    write_board(tmp_path / "deep" / "t.json", one)
    assert read_board(tmp_path / "deep" / "t.json") == one


def test_entries_are_written_in_the_order_of_their_ids_whatever_order_they_have():
    assert dump_board(board("b", "a")) == dump_board(board("a", "b"))


def test_a_merge_conflict_is_named_with_its_line():
    lines = dump_board(board("a")).splitlines()
    lines.insert(3, "<<<<<<< HEAD")
    assert refused("\n".join(lines)).startswith("boards/t.json:4: a merge conflict")


def test_broken_json_is_named_with_its_line():
    assert refused('{\n "v": 1,\n "task": oops\n}').startswith("boards/t.json:3: not valid JSON")


def test_a_newer_schema_asks_for_an_update():
    text = dump_board(board("a")).replace('"v": 1', '"v": 2')
    assert "boards/t.json:2: written by a newer evalkit (schema 2, this one reads 1): update" in refused(text)


def test_an_entry_of_a_newer_schema_asks_for_an_update():
    content = json.loads(dump_board(board("a")))
    content["entries"][0]["v"] = 7
    content["entries"][0]["new_field"] = 1
    assert "entry 'a' was written by a newer evalkit (schema 7" in refused(json.dumps(content, indent=1))


def test_a_duplicate_id_is_named_at_its_second_line():
    content = json.loads(dump_board(board("a", "b")))
    content["entries"].append(dict(content["entries"][0]))
    text = json.dumps(content, indent=1)
    lines = [number for number, line in enumerate(text.splitlines(), 1) if '"id": "a"' in line]
    assert refused(text) == f"boards/t.json:{lines[1]}: the entry 'a' stands twice"


def test_a_field_that_stands_twice_is_refused_rather_than_the_last_taken():
    text = dump_board(board("a")).replace('"task": "t"', '"task": "u",\n  "task": "t"')
    assert "boards/t.json:3: the field 'task' stands twice" in refused(text)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_refused(word):
    assert "is no number a leaderboard may hold" in refused(dump_board(board("a")).replace("50.0", word))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"setting": "s"', '"setting": "gone"', "names the setting 'gone', which is not there"),
        ('"score": "official"', '"score": "made up"', "a.score"),
        ('"primary": "total"', '"primary": "other"', "none of the columns"),
        ('"id": "a"', '"id": "A B"', "id"),
        ('"reference": "a paper"', '"ref": "a paper"', "reference"),
    ],
)
def test_a_wrong_field_is_named(old, new, said):
    assert said in refused(dump_board(board("a")).replace(old, new))


@pytest.mark.parametrize("text", ["", "[]", "null", "3", "[" * 100_000])
def test_what_is_no_leaderboard_is_one_line(text):
    refused(text)


def test_a_row_that_is_not_comparable_must_say_why():
    with pytest.raises(ValueError, match="needs a note"):
        board("a", comparable=False)


def test_a_task_name_cannot_leave_the_folder():
    with pytest.raises(UsageError):
        board_path(Path("leaderboards"), "../secrets")


@pytest.mark.parametrize("task", TASKS)
def test_the_published_rows_are_read_and_each_names_its_reference(task):
    one = read_board(FOLDER / f"{task}.json")
    assert one.task == task
    rows = [entry for entry in one.entries if entry.source.kind == "published"]
    assert len(rows) >= 10
    assert all(entry.source.reference for entry in rows)


def test_the_shipped_files_are_in_the_form_that_is_written():
    for task in TASKS:
        path = FOLDER / f"{task}.json"
        assert path.read_text(encoding="utf-8") == dump_board(read_board(path))


def test_published_figures_hold_what_their_sources_print():
    values = {entry.id: entry.metrics for task in TASKS for entry in read_board(FOLDER / f"{task}.json").entries}
    paper = values["paper-gpt-5--streamingvlm-infinite"]
    assert list(paper.values()) == [66.18, 87.81, 99.12]
    gemini = values["official--gemini-1.5-pro"]
    assert gemini["total"] == 63.00
    assert gemini["total"] == pytest.approx(
        (gemini["backward"] + gemini["realtime"] + gemini["forward"]) / 3, abs=0.01
    )
    assert values["all-context--gpt-4o"]["overall"] == 60.15
    assert values["logit-realtime--streamingvlm"]["realtime"] == 61.96
    assert values["without-subtitles--gpt-4o"]["overall"] == 71.9
    assert values["interleaved-subtitles--gpt-4o"]["val"] == 66.7
