"""Records on disk: whole lines, whole files, versions, and errors that name the place."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict
from run_folders import question_run

from evalkit.errors import DataError
from evalkit.records import (
    JsonlWriter,
    NotJsonError,
    RunFolder,
    RunManifest,
    decode_json,
    read_jsonl,
    read_plain,
    read_run,
    real_number,
    write_atomic,
)


class Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    v: int = 1
    text: str


def write(path: Path, *texts: str) -> None:
    with JsonlWriter[Line](path) as file:
        for text in texts:
            file.append(Line(text=text))


def texts(path: Path) -> list[str]:
    return [line.text for line in read_jsonl(path, Line)[0]]


@given(said=st.lists(st.text(), max_size=6))
def test_any_text_comes_back_as_it_was_one_line_each(
    said: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    write(path, *said)
    assert texts(path) == said
    assert path.read_bytes().count(b"\n") == len(said)


def test_a_record_is_with_the_operating_system_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    file: JsonlWriter[Line] = JsonlWriter(tmp_path / "a.jsonl")
    file.append(Line(text="one"))
    assert texts(tmp_path / "a.jsonl") == ["one"]
    file.close()


@pytest.mark.parametrize("keep", range(1, 18))
def test_a_torn_last_line_is_dropped_named_and_cut_off_before_the_next(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, "one", "two")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + keep])
    lines, warnings = read_jsonl(path, Line)
    assert [line.text for line in lines] == ["one"]
    assert warnings == ["a.jsonl:2: torn last line dropped"]
    write(path, "three")
    assert texts(path) == ["one", "three"]


def test_a_last_record_that_lacks_only_its_line_end_is_whole_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, "one", "two")
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    lines, warnings = read_jsonl(path, Line)
    assert ([line.text for line in lines], warnings) == (["one", "two"], [])
    write(path, "three")
    assert texts(path) == ["one", "two", "three"]


def test_an_empty_line_and_a_byte_order_mark_lose_no_record(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, "one", "two")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\n\r\n\n"))
    assert texts(path) == ["one", "two"]


def test_a_torn_line_longer_than_a_block_is_cut_off_too(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, "one")
    with path.open("ab") as file:
        file.write(b'{"v": 1, "text": "' + b"x" * 10_000)
    write(path, "two")
    assert texts(path) == ["one", "two"]


def test_a_file_of_one_torn_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"v": 1, "te')
    write(path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"v": 1}', "a.jsonl:2: field 'text': Field required"),
        ('{"v": 1, "text": "a", "more": 1}', "a.jsonl:2: field 'more'"),
        ('{"v": 2, "text": "a", "more": 1}', "written by a newer evalkit (schema 2, this one reads 1)"),
        ('{"v": 99, "text": "a"}', "a.jsonl:2: written by a newer evalkit (schema 99, this one reads 1)"),
        ("not json", "a.jsonl:2: not a JSON object"),
        ("[1]", "a.jsonl:2"),
    ],
)
def test_a_whole_line_that_is_no_record_is_an_error_with_its_place(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, "one")
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError) as caught:
        read_jsonl(path, Line)
    assert said in str(caught.value)


def test_lines_of_a_schema_without_versions_are_read(tmp_path: Path) -> None:
    class Bare(BaseModel):
        text: str

    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    assert read_jsonl(tmp_path / "a.jsonl", Bare) == ([Bare(text="one")], [])


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_atomic(path, "old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def manifest(**more: object) -> dict[str, object]:
    fixed = {
        "task": "t",
        "model": "m",
        "started": "2025",
        "options": {},
        "fingerprint": {},
        "fingerprint_digest": "d",
    }
    return fixed | more


def test_a_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_manifest(RunManifest(**manifest(warnings=["a"])))  # type: ignore[arg-type]
    assert folder.read_manifest().warnings == ["a"]
    run = read_run(tmp_path)
    assert (run.answers, run.ticks, run.verdicts, run.metrics, run.warnings) == ([], [], [], None, [])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not valid JSON"),
        (json.dumps(manifest(v=9)), "was written by a newer evalkit (schema 9"),
        (json.dumps(manifest(status="odd")), "field 'status'"),
        (json.dumps([1]), "run.json"),
    ],
)
def test_a_manifest_that_cannot_be_read_says_why(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError) as caught:
        RunFolder(tmp_path).read_manifest()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_manifest_is_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a run folder"):
        read_run(tmp_path)


DEEP = "[" * 100_000


@pytest.mark.parametrize("name", ["run.json", "metrics.json", "answers.jsonl", "ticks.jsonl", "verdicts.jsonl"])
@pytest.mark.parametrize("content", [DEEP + "\n", '{"v":' + "9" * 401 + "}\n", "\x00\n"])
def test_a_hostile_record_file_is_refused_by_name(name: str, content: str, tmp_path: Path) -> None:
    path = question_run(tmp_path / "run", questions=2)
    (path / name).write_text(content)
    with pytest.raises(DataError, match=name):
        read_run(path)


def test_what_is_no_plain_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "pipe", "is a pipe, not a file"),
        (tmp_path, "is a folder, not a file"),
        (Path("/dev/zero"), "is a device, not a file"),
        (tmp_path / "none", "does not exist"),
        (tmp_path / ("x" * 5000), "cannot be read"),
        (tmp_path / "a\0b", "is no path"),
    ):
        with pytest.raises(DataError, match=message):
            read_plain(path)
    with pytest.raises(DataError, match="is a pipe"):
        read_jsonl(tmp_path / "pipe", Line)


def test_json_that_nests_too_deep_is_no_json_and_no_accident() -> None:
    for text in (DEEP, DEEP.encode(), '{"a":' * 100_000):
        with pytest.raises(NotJsonError, match="nest too deep"):
            decode_json(text)


@pytest.mark.parametrize("value", [True, None, "1", 10**400, -(10**400), float("inf"), float("nan"), [1]])
def test_what_is_no_finite_number_is_no_time(value: object) -> None:
    assert real_number(value) is None
    assert real_number(3) == 3.0
