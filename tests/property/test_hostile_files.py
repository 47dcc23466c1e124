"""Files that anybody may have written: whatever is in them, a loader gives rows, problems or an EvalkitError."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_folders import narration_run, question_run

from evalkit.errors import EvalkitError
from evalkit.judge.store import FallbackStore, VerdictStore
from evalkit.judge.votes import read_votes
from evalkit.leaderboard import read_board
from evalkit.leaderboard.entries import add_row, empty_board, row_of_run
from evalkit.leaderboard.files import dump_board
from evalkit.models.card import read_card
from evalkit.ranking.human_labels import read_labels
from evalkit.records import RunFolder, read_run
from evalkit.report import markdown_report
from evalkit.run.options import read_config
from evalkit.run.recorder import Recorder
from evalkit.settings import validated
from evalkit.tasks import TaskData, folder_settings
from evalkit.tasks.catalog import data_folder, task_named
from evalkit.tasks.sniff import sniff
from evalkit.tasks.subtitles import read_subtitles
from evalkit_tasks.inf_streams.rows import read_annotations

DEEP = "[" * 100_000
HUGE = "9" * 401
VALUES: tuple[str, ...] = (
    *(DEEP, DEEP + "]" * 100_000, '{"a":' * 100_000, HUGE, "-" + HUGE, "1e400", "-1e400", "Infinity", "-Infinity"),
    *(
        "NaN",
        "1e308",
        "-1",
        "0",
        "1e-320",
        "2.5",
        "9007199254740993",
        "true",
        "null",
        '""',
        '" "',
        "[]",
        "{}",
        "[[]]",
    ),
    *('"\\ud800"', '"a\\udfff b"', '"\\u0000"', '"a\\u0000.mp4"', '"\\u001b[2J"', '"\\n"', '"../../etc/passwd"'),
    *(
        '"/etc/passwd"',
        f'"{"x" * 5000}"',
        f'"{"é" * 200}.mp4"',
        f'"{"ab/" * 2000}"',
        f'"{"9" * 5000}"',
        f'"{"x" * 100_000}"',
        '"."',
    ),
    *(f'"{HUGE}:00:01"', f'"[0:0:{HUGE} - 0:0:1]"', '"0:00:12450"'),
    *('["a", 1, null]', '{"a": {"b": 1}}', '"[1, 2"', '"00:00:61"', '"99999999999:00"', '"1"', '"A"', '"NaN"'),
)
"""JSON texts to stand where another value stood."""

_MARK = '"\\u0001hostile\\u0001"'


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _places(inside, (*path, key))
    elif isinstance(value, list):
        for index, inside in enumerate(value[:6]):
            yield from _places(inside, (*path, index))


def _set(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = copy.copy(value)
    changed[path[0]] = _set(value[path[0]], path[1:], new)
    return changed


def in_place(content: Any, choice: random.Random) -> str:
    """Return JSON text with one value replaced, removed, doubled or renamed."""
    places = list(_places(content))
    place = choice.choice(places)
    kind = choice.random()
    if place and kind < 0.15:
        around = content
        for part in place[:-1]:
            around = around[part]
        less = [x for i, x in enumerate(around) if i != place[-1]] if isinstance(around, list) else None
        less = {k: v for k, v in around.items() if k != place[-1]} if less is None else less
        return json.dumps(_set(content, place[:-1], less))
    text = json.dumps(_set(content, place, json.loads(_MARK)))
    return text.replace(_MARK, choice.choice(VALUES))


def spoil_text(text: str, choice: random.Random) -> bytes:
    """Return the bytes of a file that holds something else than its layout says."""
    whole = text.encode("utf-8", "surrogatepass")
    at = choice.randrange(len(whole) + 1)
    return choice.choice(
        (
            lambda: whole[:at],
            lambda: whole[:at] + b"\x00" + whole[at:],
            lambda: whole[:at] + b"\xff\xfe" + whole[at:],
            lambda: b"\xef\xbb\xbf" + whole,
            lambda: whole.decode("utf-8", "replace").encode("utf-16"),
            lambda: whole.replace(b"\n", b"\r"),
            lambda: whole + whole,
            lambda: DEEP.encode(),
            lambda: b"",
            lambda: b"\n\n\n",
            lambda: b"\x00" * 1000,
            lambda: b"x" * 1_000_000,
            lambda: b"null",
            lambda: whole[:at] + b"<<<<<<< HEAD\n" + whole[at:],
            lambda: choice.randbytes(300),
        )
    )()


def spoil(path: Path, choice: random.Random) -> None:
    """Put something hostile in a file's place."""
    if choice.random() < 0.06:
        path.unlink()
        choice.choice((path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to("/dev/zero")))()
        return
    if path.suffix in (".json", ".jsonl") and choice.random() < 0.8:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            path.write_text(in_place(json.loads(text), choice), encoding="utf-8")
            return
        lines = text.splitlines() or ["{}"]
        line = choice.randrange(len(lines))
        lines[line] = in_place(json.loads(lines[line]), choice)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return
    if path.suffix == ".parquet":
        spoil_table(path, choice)
        return
    if path.suffix in VIDEOS:
        whole = path.read_bytes()
        path.unlink()  # it is a link to the good one
        at, end = choice.randrange(len(whole)), choice.randrange(len(whole))
        path.write_bytes(
            choice.choice((whole[:at], whole[:at] + choice.randbytes(64) + whole[end:], b"", DEEP.encode()))
        )
        return
    path.write_bytes(spoil_text(path.read_text(encoding="utf-8"), choice))


VIDEOS = (".mp4", ".mkv")
CELLS: tuple[Any, ...] = (
    None,
    "",
    " ",
    "A",
    "a\0b",
    "\ud800",
    "x" * 100_000,
    "../../etc/passwd",
    "NaN",
    "[1, 2",
    DEEP,
)


def spoil_table(path: Path, choice: random.Random) -> None:
    """Write a parquet file whose bytes, columns, types or cells are not what its layout says."""
    if choice.random() < 0.2:
        path.write_bytes(spoil_text("PAR1 not parquet PAR1", choice))
        return
    table = pd.read_parquet(path)
    column = choice.choice(list(table.columns))
    row = choice.randrange(len(table))
    cells = [str(value) for value in table[column]]
    cells[row] = choice.choice(CELLS)
    changed = choice.choice(
        (
            lambda: table.drop(columns=column),
            lambda: table.rename(columns={column: f"{column} "}),
            lambda: table.assign(**{column: [choice.choice((-1, 0, 2**63 - 1)) for _ in cells]}),
            lambda: table.assign(**{column: [float(choice.choice(("nan", "inf", "1e308"))) for _ in cells]}),
            lambda: table.assign(**{column: [[["deep"]]] * len(cells)}),
            lambda: table.assign(**{column: [{"a": None}] * len(cells)}),
            lambda: table.assign(**{column: [b"\xff\x00"] * len(cells)}),
            lambda: table.assign(**{column: pd.Timestamp("2026-01-01")}),
            lambda: table.iloc[:0],
            lambda: pd.concat([table, table]),
            lambda: table.assign(
                **{column: [None if c is None else c.encode("utf-8", "replace").decode() for c in cells]}
            ),
        )
    )()
    changed.to_parquet(path, index=choice.random() < 0.5)


@dataclass(frozen=True)
class Loader:
    """Files, and what reads them."""

    name: str
    files: Path
    spoiled: tuple[str, ...]
    read: Callable[[Path], object]


def _task_loader(name: str) -> Loader:
    task = task_named(name)
    folder = data_folder(task, "demo")
    chosen = validated(task.settings, "task", folder_settings(folder))
    files = tuple(
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".json", ".jsonl", ".csv", ".parquet", ".srt") and not path.name.startswith(".")
    )
    return Loader(name, folder, files, lambda data: (folder_settings(data), task.load(data, chosen)))


def _check_loader(name: str) -> Loader:
    """Return a task's own look at every row and video, of which any may be damaged."""
    read = _task_loader(name)
    videos = tuple(
        str(path.relative_to(read.files)) for suffix in VIDEOS for path in sorted(read.files.rglob(f"*{suffix}"))
    )
    return Loader(f"{name} check", read.files, (*read.spoiled, *videos), task_named(name).check)


def _predictions(folder: Path, cache: Path) -> list[Loader]:
    """Return result files in published layouts, with what reads each."""
    folder.mkdir()
    ovo = json.loads((cache / "ovobench" / "ovo_bench_new.json").read_text())
    sections: dict[str, list[Any]] = {"backward": [], "realtime": [], "forward": []}
    for row in ovo:
        kind = (
            "forward"
            if row.get("test_info")
            else "backward"
            if row["task"] in ("EPM", "ASI", "HLD")
            else "realtime"
        )
        said = {**row, "ground_truth": "A", "response": "A", "test_info": [
            {**probe, "response": "1"} for probe in row.get("test_info") or []
        ]}  # fmt: skip
        sections[kind].append(said)
    contents: dict[str, tuple[str, str, Any]] = {
        "ovo-official": ("ovobench", "official", sections),
        "ovo-logit": ("ovobench", "logit", [{**row, "answer": "A", "response": "A"} for row in ovo]),
        "videomme-list": ("videomme", "official", [
            {"video_id": "001", "duration": "short", "domain": "Knowledge", "sub_category": "Astronomy",
             "questions": [{"question_id": "001-1", "task_type": "Counting Problem", "question": "?",
                            "options": ["A. 1", "B. 2"], "answer": "A", "response": "A"}]}]),
        "ego-log": ("egoschema", "lmms-eval", {"logs": [
            {"doc_id": 0, "filtered_resps": "A", "submission": {"q": 0}, "score": {"pred": 0, "ground_truth": "1"},
             "input": "?\nA. a\nB. b\nC. c\nD. d\nE. e"}]}),
        "mlvu-log": ("mlvu", "lmms-eval", {"logs": [
            {"doc_id": 0, "filtered_resps": ["(A) x"], "mlvu_percetion_score": {
                "question_id": "?\n(A) a\n(B) b\n(C) c\n(D) d\n", "task_type": "ego", "answer": "A"}}]}),
        "videomme-log": ("videomme", "lmms-eval", {"logs": [
            {"doc_id": 0, "filtered_resps": ["A"], "videomme_perception_score": {
                "question_id": "001-1", "duration": "short", "category": "Knowledge", "sub_category": "Astronomy",
                "task_category": "Counting Problem", "answer": "A"}}]}),
        "ovo-log": ("ovobench", "lmms-eval", {"logs": [
            {"back_real_acc": {"id": 0, "task": "EPM", "response": "A", "ground_truth": "A"}}]}),
        "qa-rows": ("livesports-qa", "livecc", [
            {"question_id": 1, "video_id": "v", "answer": "A", "response": "A", "q_type": "x", "OCR": 1,
             "options": ["A. a", "B. b", "C. c", "D. d"]}]),
        "captions": ("livesports-cc", "captions", [
            {"video_id": "v", "event_id": 1, "begin": 0.5, "end": 3.0, "pred": "a goal..."}]),
        "lvb-log": ("longvideobench", "lmms-eval", {"logs": [
            {"doc_id": 0, "filtered_resps": ["A"], "lvb_acc": {"id": "a_0", "duration_group": 15,
             "question_category": "S2E", "answer": "A", "parsed_pred": "A"}}]}),
    }  # fmt: skip
    found = _submissions(folder, cache)
    for name, (task_name, form, content) in contents.items():
        place = folder / name
        place.mkdir()
        (place / "results.json").write_text(json.dumps(content))
        found.append(_prediction_loader(name, place, task_name, form, "results.json"))
    for index, file in enumerate(sorted((cache / "streamingbench").rglob("questions_*.json"))):
        place = folder / f"sb-{index}"
        place.mkdir()
        rows = json.loads(file.read_text())
        for entry in (part for group in rows for part in (group if isinstance(group, list) else [group])):
            for question in entry["questions"]:
                question["MiniCPM-V"] = "A" if "options" in question else {
                    "answer": "", "dialog_history": [{"role": "assistant", "time": 3.0, "content": "No"}]
                }  # fmt: skip
        (place / file.name).write_text(json.dumps(rows))
        found.append(_prediction_loader(f"sb-{index}", place, "streamingbench", "official", file.name))
    return found


def _submissions(folder: Path, cache: Path) -> list[Loader]:
    """Return result files without golds, read with the demo's, with what reads each."""

    def rows(task: str, file: str) -> Any:
        return json.loads(next((cache / task).rglob(file)).read_text())

    ego = dict.fromkeys(rows("egoschema", "subset_answers.json"), 1)
    lvb = {row["id"]: "The answer is B" for row in rows("longvideobench", "lvb_val.json")}
    mlvu = [
        {"question_id": row["question_id"], "question_type": row["question_type"], "option": "B"}
        for row in rows("mlvu", "test_question.json")
    ]
    times = [
        {"id": row["id"], "times": [1.0, 2.5]}
        for row in rows("ovo-timing", "ovo_bench_new.json")
        if row["task"] in ("REC", "SSR", "CRR")
    ]
    votes = [{"video_event_id": f"v_{n}", "ab_winner": "mine", "ba_winner": "base"} for n in range(3)]
    texts = {
        "ego-submission": ("egoschema", "official", "s.json", json.dumps(ego)),
        "ego-subset": ("egoschema", "subset", "s.json", json.dumps({id_: str(n) for id_, n in ego.items()})),
        "ego-csv": ("egoschema", "official", "s.csv", "q_uid,answer\n" + "".join(f"{id_},1\n" for id_ in ego)),
        "lvb-submission": ("longvideobench", "submission", "s.json", json.dumps(lvb)),
        "mlvu-test": ("mlvu", "official", "s.json", json.dumps(mlvu)),
        "times": ("ovo-timing", "times", "s.jsonl", "\n".join(map(json.dumps, times))),
        "votes": ("livesports-cc", "livecc", "base_mine.jsonl", "\n".join(map(json.dumps, votes))),
    }
    found = []
    for name, (task, form, file, text) in texts.items():
        place = folder / name
        place.mkdir()
        (place / file).write_text(text)
        found.append(_prediction_loader(name, place, task, form, file, cache / task))
    return found


def _prediction_loader(
    name: str, place: Path, task_name: str, form: str, file: str, data: Path | None = None
) -> Loader:
    task = task_named(task_name)
    assert form in task.formats, (name, form)

    def read(folder: Path) -> object:
        predictions, _ = task.read_predictions(form, [folder / file], data)
        return task.score(predictions, form)

    return Loader(name, place, (file,), read)


def _scored(task_name: str, run: Path) -> object:
    task = task_named(task_name)
    predictions, _ = task.read_predictions("evalkit", [run], None)
    return task.score(predictions, "evalkit")


def _records(folder: Path) -> list[Loader]:
    """Return run folders, a leaderboard, votes, labels, options and subtitles."""
    folder.mkdir()
    asked = question_run(folder / "asked", questions=12, task="ovobench")
    told = narration_run(folder / "told", videos=1, seconds=12, window=4)
    files = ("run.json", "answers.jsonl", "ticks.jsonl", "metrics.json", "verdicts.jsonl")
    has = {run: tuple(name for name in files if (run / name).exists()) for run in (asked, told)}
    board = folder / "board"
    board.mkdir()
    row = row_of_run(read_run(asked))
    (board / "ovobench.json").write_text(dump_board(add_row(empty_board("ovobench"), row)))
    other = folder / "other"
    other.mkdir()
    (other / "base_test.jsonl").write_text(
        json.dumps({"video_event_id": "v_1", "ab_winner": "test", "ba_winner": "base"}) + "\n"
    )
    (other / "labels.jsonl").write_text(json.dumps({"pair": "v 0-3", "winner": "test"}) + "\n")
    (other / "options.toml").write_text('model = "full"\nlimit = 3\n[memory]\nseconds = 3\n')
    (other / "said.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nhello\n\n2\n00:00:03,0 --> 00:00:04,0\nyes\n"
    )
    (other / "said.json").write_text(
        json.dumps([{"timestamp": [1.0, 2.0], "text": "a"}, {"start": "0:01", "line": "b"}])
    )
    (other / "merged_result.jsonl").write_text(
        json.dumps({"video": "a.mp4", "chunk_start": 0, "chunk_end": 2, "items": [
            {"response": "hi ...", "start_time": 0, "end_time": 1}]}) + "\n"
    )  # fmt: skip
    narration = task_named("inf-streams")
    return [
        Loader("asked", asked, has[asked], lambda run: markdown_report([run])),
        Loader("asked-score", asked, ("run.json", "answers.jsonl"), lambda run: _scored("ovobench", run)),
        Loader("told", told, has[told], lambda run: markdown_report([run])),
        Loader("told-verdicts", told, ("verdicts.jsonl",), lambda run: read_votes(run, "evalkit")),
        Loader("board", board, ("ovobench.json",), lambda place: read_board(place / "ovobench.json")),
        Loader(
            "livecc", other, ("base_test.jsonl",), lambda place: read_votes(place / "base_test.jsonl", "livecc")
        ),
        Loader("labels", other, ("labels.jsonl",), lambda place: read_labels(place / "labels.jsonl")),
        Loader(
            "config",
            other,
            ("options.toml",),
            lambda place: read_config(place / "options.toml", ["model", "limit"]),
        ),
        Loader("srt", other, ("said.srt",), lambda place: read_subtitles(place / "said.srt")),
        Loader("subtitles", other, ("said.json",), lambda place: read_subtitles(place / "said.json")),
        Loader(
            "merged",
            other,
            ("merged_result.jsonl",),
            lambda place: narration.read_outputs(place / "merged_result.jsonl"),
        ),  # type: ignore[attr-defined]
        Loader("sniff", other, ("said.json", "merged_result.jsonl"), sniff),
        *_resumed(folder / "resumed", told),
    ]


def _resumed(folder: Path, told: Path) -> list[Loader]:
    """Return what a run or a judging that goes on reads of itself, and what a checkpoint says of itself."""
    (folder / "state").mkdir(parents=True)
    done = {"sample": "s0", "status": "done", "counts": {"answers": 1, "ticks": 2}}
    (folder / "state" / "done.jsonl").write_text(json.dumps(done) + "\n")
    reading = {
        "key": "k",
        "question": "q",
        "kind": "count",
        "said": "2",
        "value": "2",
        "judge": "j",
        "attempts": 1,
    }
    (folder / "fallback.jsonl").write_text(json.dumps(reading) + "\n")
    card = {"memory": {"seconds": 3}, "generation": {"temperature": 0.5}, "files": {"a.bin": "sha256:00"}}
    (folder / "evalkit.json").write_text(json.dumps(card))

    def record(run: Path) -> None:
        with Recorder(RunFolder(run)):
            pass

    return [
        Loader("done", folder, ("state/done.jsonl",), record),
        Loader("recorder", told, ("answers.jsonl", "ticks.jsonl"), record),
        Loader(
            "verdict-store", told, ("verdicts.jsonl",), lambda run: VerdictStore(run / "verdicts.jsonl").close()
        ),
        Loader("readings", folder, ("fallback.jsonl",), lambda run: FallbackStore(run / "fallback.jsonl").close()),
        Loader("card", folder, ("evalkit.json",), lambda place: read_card(str(place))),
    ]


TASKS = ("inf-streams", "ovobench", "streamingbench", "longvideobench", "videomme", "egoschema", "mlvu")
TASKS += ("livesports-cc", "livesports-qa", "ovo-timing", "omnimmi-pa", "streamingbench-timing")


@pytest.fixture(scope="session")
def loaders(tmp_path_factory: pytest.TempPathFactory) -> list[Loader]:
    base = tmp_path_factory.mktemp("hostile")
    tasks = [_task_loader(name) for name in TASKS]
    checks = [_check_loader(name) for name in TASKS]
    return [*tasks, *checks, *_predictions(base / "said", tasks[0].files.parent), *_records(base / "kept")]


def _spoiled_copy(loader: Loader, to: Path, choice: random.Random) -> Path:
    """Copy what a loader reads, videos as links, with one file spoiled."""
    shutil.copytree(loader.files, to, copy_function=lambda a, b: _copy(a, b))
    spoil(to / choice.choice(loader.spoiled), choice)
    return to


def _copy(source: str, target: str) -> None:
    if source.endswith(VIDEOS):
        os.symlink(source, target)
    else:
        shutil.copyfile(source, target)


def attempt(loader: Loader, seed: int, to: Path) -> None:
    """Read a spoiled copy; anything but rows, problems and an `EvalkitError` is a fault."""
    place = _spoiled_copy(loader, to, random.Random(seed))
    try:
        loader.read(place)
    except EvalkitError as error:
        assert str(error), loader.name  # noqa: PT017 - most files are read, and any text will do
    except BaseException as error:
        error.add_note(f"{loader.name}, seed {seed}")
        raise
    finally:
        shutil.rmtree(to)


SEEDS = st.integers(0, 2**32 - 1)
_FIXTURE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=60, deadline=None, suppress_health_check=_FIXTURE)
@given(seed=SEEDS)
def test_nothing_but_an_evalkit_error_leaves_a_loader(seed: int, loaders: list[Loader], tmp_path: Path) -> None:
    attempt(loaders[seed % len(loaders)], seed, tmp_path / "spoiled")


@pytest.mark.slow
@settings(max_examples=6000, deadline=None, suppress_health_check=_FIXTURE)
@given(seed=SEEDS)
def test_nothing_but_an_evalkit_error_leaves_a_loader_in_thousands_of_files(
    seed: int, loaders: list[Loader], tmp_path: Path
) -> None:
    attempt(loaders[seed % len(loaders)], seed, tmp_path / "spoiled")


ROWS = {
    "inf-streams": ("eval_all_metadata.jsonl", "video", ("title", "preasr")),
    "ovobench": ("ovo_bench_new.json", "video", ("question",)),
    "longvideobench": ("lvb_val.json", "video_path", ("question", "id")),
}
"""By task: an annotation file, the field with the video's name, and fields of text."""


@pytest.mark.parametrize("task_name", ROWS)
def test_a_hostile_row_is_refused_by_file_and_place_and_the_rest_goes_on(task_name: str, tmp_path: Path) -> None:
    name, video, texts = ROWS[task_name]
    loader = _task_loader(task_name)
    before = _samples(task_name, loader.files)
    place = tmp_path / "data"
    shutil.copytree(loader.files, place, copy_function=_copy)
    path = place / name
    lines = name.endswith(".jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()] if lines else json.loads(path.read_text())
    hostile = [{**rows[0], video: text} for text in ("x" * 5000 + ".mp4", "a\0.mp4", "a\ud800.mp4", "../x.mp4")]
    hostile += [{**rows[0], field: "half \ud83d a character"} for field in texts]
    spoiled = [*rows, *hostile]
    path.write_text("\n".join(map(json.dumps, spoiled)) + "\n" if lines else json.dumps(spoiled))
    data = _samples(task_name, place)
    refused = [problem for problem in data.problems if problem.kind == "bad-row" and problem.file == name]
    assert [problem.line for problem in refused] == list(range(len(rows) + 1, len(spoiled) + 1))
    assert [sample.id for sample in data.samples] == [sample.id for sample in before.samples]


def _samples(task_name: str, folder: Path) -> TaskData:
    task = task_named(task_name)
    return task.load(folder, validated(task.settings, "task", folder_settings(folder)))


@pytest.mark.parametrize("value", [DEEP, HUGE, "Infinity", "NaN", "1e400"])
def test_a_hostile_line_of_a_transcript_is_refused_and_the_rest_goes_on(value: str, tmp_path: Path) -> None:
    path = tmp_path / "eval_all_metadata.jsonl"
    good = '{"video": "a.mp4", "title": "t", "preasr": "", "content": [[0, 1, "x"]]}'
    path.write_text(
        f"{good}\n{good.replace('[0, 1', '[0, ' + value)}\n{value}\n{good.replace('a.mp4', 'b.mp4')}\n"
    )
    found = read_annotations(path)
    assert [row.video for row in found.rows] == ["a.mp4", "b.mp4"]
    assert [(problem.kind, problem.line) for problem in found.problems] == [("bad-row", 2), ("bad-row", 3)]
