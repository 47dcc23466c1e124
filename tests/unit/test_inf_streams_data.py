"""Inf-Streams-Eval: reading the published files, samples of both modes, the demo data, the task's face."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.tasks import TaskSettings, folder_settings
from evalkit_tasks.inf_streams import QUERY, InfStreamsSettings, load_windows, task
from evalkit_tasks.inf_streams.prompts import BASELINE_HEADER, BASELINE_QUERY, BASELINE_SYSTEM, JUDGE_PROMPT
from evalkit_tasks.inf_streams.rows import ContentRow, phrase_before, read_annotations

CONTENT = [[second, second + 0.5, f"w{second}"] for second in range(1, 30)]


def row(video: str = "a.mp4", content: Any = CONTENT, **more: Any) -> dict[str, Any]:
    return {"video": video, "title": "A vs B", "content": content, **more}


def folder(path: Path, metadata: list[Any], clips: list[Any], videos: tuple[str, ...] = ("a.mp4",)) -> Path:
    for name, rows in (("eval_all_metadata.jsonl", metadata), ("score_all_clips.jsonl", clips)):
        lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
        (path / name).write_text("\n".join(lines) + "\n")
    for video in videos:
        (path / video).parent.mkdir(parents=True, exist_ok=True)
        (path / video).write_bytes(b"x")
    return path


def clip(start: float, end: float, video: str = "a.mp4") -> dict[str, Any]:
    return row(video, [[start, start + 1, "one"], [end - 1, end, "two"]], preasr="before")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "demo"
    task.make_demo(path)
    return path


def settings(**changes: Any) -> InfStreamsSettings:
    return InfStreamsSettings(**({"start_seconds": 10} | changes))


def test_defaults_are_those_of_the_official_script() -> None:
    default = InfStreamsSettings()
    assert (default.start_seconds, default.chunk_seconds, default.infinite_cap_seconds) == (1000, None, 10_000)
    assert (default.fps, default.previous_text, default.instruction) == (2.0, "gold", QUERY)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="start_second"):
        InfStreamsSettings.model_validate({"start_second": 5})


def test_infinite_mode_gives_one_sample_a_video_up_to_the_end_of_its_transcript(tmp_path: Path) -> None:
    data = folder(tmp_path, [row("/sports/a.mp4")], [clip(10, 20)], ("sports/a.mp4",))
    (sample,) = task.load(data, settings()).samples
    assert (sample.id, sample.cluster, sample.video) == ("a", "a.mp4", tmp_path / "sports/a.mp4")
    assert (sample.start, sample.end, sample.fps) == (10.0, 29.0, 2.0)
    assert sample.narration is not None
    assert sample.narration.instruction == QUERY
    assert sample.narration.previous_text == "".join(f" w{second}" for second in range(1, 10))
    assert [word[2] for word in sample.narration.reference] == [f"w{second}" for second in range(10, 29)]


def test_chunk_mode_gives_each_chunk_the_gold_text_before_it(tmp_path: Path) -> None:
    data = folder(tmp_path, [row()], [clip(10, 20)])
    samples = task.load(data, settings(chunk_seconds=8)).samples
    assert [sample.id for sample in samples] == ["a@10-18", "a@18-26", "a@26-29"]
    assert {sample.cluster for sample in samples} == {"a.mp4"}
    texts = [sample.narration.previous_text for sample in samples if sample.narration]
    assert [text.split()[-1] for text in texts] == ["w9", "w17", "w25"]
    assert all(text.startswith(" w1 ") for text in texts)


def test_without_gold_text_every_chunk_starts_blank(tmp_path: Path) -> None:
    data = folder(tmp_path, [row()], [clip(10, 20)])
    samples = task.load(data, settings(chunk_seconds=8, previous_text="none")).samples
    assert [sample.narration.previous_text for sample in samples if sample.narration] == ["", "", ""]


def test_infinite_mode_restarts_at_the_cap_and_never_without_one(tmp_path: Path) -> None:
    data = folder(tmp_path, [row()], [clip(10, 20)])
    capped = task.load(data, settings(infinite_cap_seconds=15)).samples
    assert [sample.id for sample in capped] == ["a@10-25", "a@25-29"]
    endless = task.load(data, settings(infinite_cap_seconds=None)).samples
    assert [sample.id for sample in endless] == ["a"]


def test_phrase_before_stops_at_the_first_word_that_ends_later() -> None:
    content = [
        ContentRow(0, 1, " one "),
        ContentRow(1, 2, "two"),
        ContentRow(2, 9, "three"),
        ContentRow(3, 4, "x"),
    ]
    assert phrase_before(content, 2) == " one two"
    assert phrase_before(content, 5) == " one two"
    assert phrase_before(content, 0.5) == ""


def test_times_the_wrong_way_round_are_swapped_and_listed_with_their_line(tmp_path: Path) -> None:
    data = folder(tmp_path, [row(content=[[1, 2, "a"], [25, 22, "late"]])], [clip(10, 20)])
    loaded = task.load(data, settings())
    assert loaded.samples[0].end == 25
    (problem,) = loaded.problems
    assert (problem.kind, problem.file, problem.line) == ("swapped-times", "eval_all_metadata.jsonl", 1)
    assert problem.field == "content[1]"
    assert "25" in problem.message


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ("{not json", None),
        ("[]", None),
        ({"title": "t", "content": CONTENT}, "video"),
        (row(video="../a.mp4"), "video"),
        (row(content=[]), "content"),
        (row(content="words"), "content"),
        (row(content=[[0, 1, "a"], [1, None, "b"]]), "content[1]"),
        (row(content=[[0, "1", "b"]]), "content[0]"),
        (row(content=[[0, True, "b"]]), "content[0]"),
        (row(content=[[0, -1, "b"]]), "content[0]"),
        (row(content=[[0, 1, 5]]), "content[0]"),
        (row(content=[[0, 10**400, "b"]]), "content[0]"),
        (row(content=[[0, 1]]), "content[0]"),
        ('{"video": "a.mp4", "content": [[0, NaN, "b"]]}', "content[0]"),
        (row(title=3), "title"),
    ],
)
def test_a_row_that_breaks_the_layout_is_refused_by_line_and_field(tmp_path: Path, bad: Any, field: str) -> None:
    data = folder(tmp_path, ["", row(), bad], [clip(10, 20)])
    loaded = task.load(data, settings())
    assert len(loaded.samples) == 1
    (problem,) = loaded.problems
    assert (problem.kind, problem.line, problem.field) == ("bad-row", 3, field)


def test_a_second_row_of_a_video_is_refused(tmp_path: Path) -> None:
    data = folder(tmp_path, [row(), row("other/a.mp4")], [clip(10, 20)])
    loaded = task.load(data, settings())
    assert len(loaded.samples) == 1
    assert [(problem.kind, problem.line) for problem in loaded.problems] == [("duplicate", 2)]


def test_videos_that_differ_in_their_suffix_alone_are_samples_and_windows_of_their_own(tmp_path: Path) -> None:
    names = ("a.mp4", "a.mkv", "b.mp4")
    path = folder(tmp_path, [row(name) for name in names], [clip(10, 20, name) for name in names], names)
    assert [sample.id for sample in task.load(path, settings()).samples] == ["a.mp4", "a.mkv", "b"]
    windows, problems = load_windows(path)
    assert [window.id for window in windows] == ["a.mp4:10-20", "a.mkv:10-20", "b:10-20"]
    assert problems == ()


def test_missing_files_are_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        task.load(tmp_path, settings())
    for part in ("eval_all_metadata.jsonl", "score_all_clips.jsonl", "mit-han-lab/Inf-Stream-Eval", "--data demo"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_the_other_name_of_the_scoring_file_serves_too(tmp_path: Path) -> None:
    data = folder(tmp_path, [row()], [clip(10, 20)])
    (data / "score_all_clips.jsonl").rename(data / "temp_score_clips.jsonl")
    assert task.load(data, settings()).facts["score_file"] == "temp_score_clips.jsonl"


def test_a_missing_video_stays_a_sample_and_is_named(tmp_path: Path) -> None:
    data = folder(tmp_path, [row(), row("b.mp4")], [clip(10, 20)])
    loaded = task.load(data, settings())
    assert [sample.id for sample in loaded.samples] == ["a", "b"]
    assert [(problem.kind, problem.item) for problem in loaded.problems] == [("missing-video", "b.mp4")]


def test_a_folder_without_any_video_is_an_error_that_names_them(tmp_path: Path) -> None:
    data = folder(tmp_path, [row(), row("b.mp4")], [clip(10, 20)], videos=())
    with pytest.raises(DataError, match=r"a\.mp4, b\.mp4"):
        task.load(data, settings())


def test_a_start_past_every_transcript_is_wrong_use(tmp_path: Path) -> None:
    data = folder(tmp_path, [row()], [clip(10, 20)])
    with pytest.raises(UsageError, match=r"start_seconds=1000 \(the longest transcript ends at 29 s\)"):
        task.load(data, InfStreamsSettings())


def test_a_file_without_a_usable_row_is_an_error(tmp_path: Path) -> None:
    data = folder(tmp_path, ["{"], [clip(10, 20)])
    with pytest.raises(DataError, match=r"no usable row \(first: line 1"):
        task.load(data, settings())


def test_the_revision_follows_both_files(tmp_path: Path) -> None:
    data = folder(tmp_path, [row()], [clip(10, 20)])
    before = task.load(data, settings()).revision
    folder(tmp_path, [row()], [clip(10, 21)])
    assert task.load(data, settings()).revision != before


def test_windows_are_whole_seconds_of_first_and_last_row_with_the_text_line_by_line(tmp_path: Path) -> None:
    data = folder(tmp_path, [row()], [clip(10.9, 20.9), clip(10.2, 20.1), clip(5, 5.9), clip(1, 9, "c.mp4")])
    windows, problems = load_windows(data)
    assert [(window.id, window.start, window.end) for window in windows] == [("a:10-20", 10, 20), ("c:1-9", 1, 9)]
    assert windows[0].reference == "one\ntwo"
    assert [(problem.kind, problem.line) for problem in problems] == [("duplicate", 2), ("empty-window", 3)]
    assert load_windows(data / "score_all_clips.jsonl")[0] == windows
    assert [problem.kind for problem in task.check(data).problems if problem.item == "c:1-9"] == ["unknown-video"]


def test_windows_of_a_folder_without_a_scoring_file_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"score_all_clips\.jsonl or temp_score_clips\.jsonl"):
        load_windows(tmp_path)


def test_check_names_videos_that_are_missing_unreadable_or_too_short(tmp_path: Path, demo: Path) -> None:
    film = next(demo.glob("*.mp4"))
    long = [[0, 100, "words"]]
    rows = [row(), row("b.mp4"), row("c.mp4", long)]
    data = folder(tmp_path, rows, [clip(10, 20)])
    (data / "c.mp4").write_bytes(film.read_bytes())
    kinds = {problem.item: problem.kind for problem in task.check(data).problems}
    assert kinds == {"a.mp4": "unreadable-video", "b.mp4": "missing-video", "c.mp4": "short-video"}


def test_the_demo_is_a_sound_data_set_in_the_published_layout(demo: Path) -> None:
    report = task.check(demo)
    assert report.problems == ()
    assert report.counts == {"videos": 2, "windows": 12}
    clips = read_annotations(demo / "score_all_clips.jsonl").rows
    for one in clips:
        assert len(one.content) >= 20
        assert one.preasr or one.content[0].start == 0
    for line in (demo / "score_all_clips.jsonl").read_text().splitlines():
        assert list(json.loads(line)) == ["video", "title", "content", "preasr"]
    for line in (demo / "eval_all_metadata.jsonl").read_text().splitlines():
        assert list(json.loads(line)) == ["video", "title", "content"]


def test_the_demo_is_not_made_again_while_it_stands(demo: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in demo.iterdir()}
    task.make_demo(demo)
    assert {path.name: path.stat().st_mtime_ns for path in demo.iterdir()} == before


def test_the_demo_runs_with_its_own_settings_and_covers_its_windows(demo: Path) -> None:
    loaded = task.load(demo, InfStreamsSettings(**folder_settings(demo)))
    assert len(loaded.samples) == 2
    ends = {sample.cluster: sample.end for sample in loaded.samples}
    for window in load_windows(demo)[0]:
        assert window.start >= 0
        assert window.end <= ends[window.video]


def test_narration_is_judged_not_scored(tmp_path: Path) -> None:
    for call in (lambda: task.read_predictions("official", [], None), lambda: task.score([], "official")):
        with pytest.raises(UsageError, match="evalkit judge"):
            call()


def test_settings_of_another_task_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="InfStreamsSettings"):
        task.load(tmp_path, TaskSettings())


def test_prompts_are_exact() -> None:
    assert QUERY.count("\n") == 1
    assert QUERY.startswith("Act as a live sports broadcaster: in short present-tense lines, call the on-screen")
    assert "\nStay perfectly synced to the video—only describe what’s visible, never invent" in QUERY
    assert QUERY.endswith("immediately correct yourself if the scoreboard contradicts you.")
    assert JUDGE_PROMPT.system.startswith(
        "\n    You are a strict A/B evaluator for sports video commentary.\n\n    R"
    )
    assert "“A” or “B”.\n\n    2) Evaluate in this order:\n    \n    Broadcast tone" in JUDGE_PROMPT.system
    assert JUDGE_PROMPT.system.endswith("never contradict them.\n    ")
    assert JUDGE_PROMPT.messages("r", "one", "two")[1]["content"] == (
        "Reference transcript (Provide a reference for the tone and on-screen information):\nr\n\n"
        "Candidate A:\none\n\nCandidate B:\ntwo\n\n"
    )
    assert "(2–6)" in BASELINE_SYSTEM
    header = BASELINE_HEADER.format(query=BASELINE_QUERY, start=1000, end=1100, fps=0.25)
    assert header == "Describe the video.\nTime range: 1000.00s ~ 1100.00s. Frames sampled at 0.25 fps (capped)."
