"""No frame later than a question reaches the model, in any benchmark and protocol; each video is read once."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from toy_runs import FPS, NotingModel, film, run_all, toy_data

import evalkit.run.reads as reads_module
from evalkit.errors import DataError
from evalkit.stream import Query, StreamSample, exact_seconds
from evalkit.tasks import TaskData
from evalkit.tasks.catalog import task_named
from evalkit.tasks.subtitles import read_subtitles
from evalkit.video import VideoFrames
from evalkit_tasks.demo import make_match
from evalkit_tasks.longvideobench import interleave

TASKS = ("ovobench", "streamingbench", "longvideobench", "videomme", "egoschema", "mlvu", "livesports-qa")
STREAMING = [(task, "streaming") for task in TASKS]
OFFICIAL = [(task, "official") for task in TASKS]
LOGIT = [("ovobench", "logit"), ("videomme", "logit")]


def load(task: str, data: Path, **settings: Any) -> TaskData:
    known = task_named(task)
    return known.load(data, known.settings(**settings))


@pytest.mark.parametrize(("task", "protocol"), STREAMING + OFFICIAL + LOGIT)
def test_no_frame_later_than_the_question_reaches_the_model(task: str, protocol: str, tmp_path: Path) -> None:
    samples = load(task, toy_data(task, tmp_path / "data"), protocol=protocol).samples
    model = NotingModel()
    records = run_all(samples, model, tmp_path / "run")
    asked_at = {query.id: (sample, query) for sample in samples for query in sample.queries}
    assert {record.query for record in records} == asked_at.keys()
    assert len(model.asked) == len(records)
    for asked in model.asked:
        sample, query = asked_at[asked.key]
        assert asked.seen
        assert exact_seconds(sample.start) <= asked.seen[0]
        assert asked.seen[-1] == max(asked.seen) <= exact_seconds(query.at)
        # Nor is anything held back: the newest frame is less than two scheduled frames (or a 64th) old.
        if protocol == "streaming":
            assert exact_seconds(min(query.at, sample.end)) - asked.seen[-1] < 2 / Fraction(sample.fps)


@pytest.mark.parametrize("task", ["longvideobench", "videomme"])
def test_a_subtitle_follows_the_frames_of_the_second_it_has_been_said_in(task: str, tmp_path: Path) -> None:
    samples = load(task, toy_data(task, tmp_path / "data"), subtitles=True).samples
    model = NotingModel()
    run_all(samples, model, tmp_path / "run")
    told = 0
    for asked in model.asked:
        sample = next(s for s in samples if asked.key in {query.id for query in s.queries})
        lines = iter(sample.texts)
        newest = Fraction(-1)
        for item in asked.items:
            if isinstance(item, Fraction):
                newest = item
                continue
            for line in item.split("\n"):
                at, text = next(lines)
                told += 1
                assert line == text
                assert int(newest) == int(at)
        assert next(lines, None) is None
    assert told > 30


def test_official_subtitles_of_videomme_stand_in_the_prompt(tmp_path: Path) -> None:
    data = toy_data("videomme", tmp_path / "data")
    samples = load("videomme", data, protocol="official", subtitles=True).samples
    told = [s for s in samples if "This video's subtitles are listed below" in s.queries[0].prompt]
    assert len(told) == 6, "two of three videos have subtitles, three questions each"


def test_official_subtitles_of_longvideobench_are_interleaved_as_the_official_loader_does(tmp_path: Path) -> None:
    data = toy_data("longvideobench", tmp_path / "data")
    samples = load("longvideobench", data, protocol="official", subtitles=True, frames="vlmeval-8").samples
    model = NotingModel()
    run_all(samples, model, tmp_path / "run")
    for asked, sample in zip(model.asked, samples, strict=True):
        subtitles, _ = read_subtitles(data / "subtitles" / f"{sample.cluster}_en.json")
        times = [int(number * 24 * FPS / 9) / FPS for number in range(1, 9)]
        wanted = interleave(times, subtitles, 120.0, sample.end)
        assert any(isinstance(item, str) for item in wanted)
        shown: list[int | str] = []
        for item in asked.items:
            shown += item.split("\n") if isinstance(item, str) else [times.index(float(item))]
        assert shown == wanted


def ovo(folder: Path, *rows: dict[str, Any]) -> Path:
    film(folder / "src_videos" / "demo" / "clip.mp4", make_match(3, 20))
    common = {"video": "demo/clip.mp4"}
    made = [{"id": number, **common, **row} for number, row in enumerate(rows)]
    (folder / "ovo_bench_new.json").write_text(json.dumps(made), encoding="utf-8")
    return folder


def choice(at: float, task: str = "FPD") -> dict[str, Any]:
    return {"task": task, "realtime": at, "question": "What next?", "options": ["a", "b"], "answer": "a", "gt": 0}


MOMENTS = (0.03, 0.1, 0.7, 3.1, 3.2, 3.5, 3.9, 4, 7.3)


@pytest.mark.parametrize("fps", [0.3, 1, 2, 3])
def test_questions_within_one_second_see_different_frames(fps: float, tmp_path: Path) -> None:
    data = ovo(tmp_path / "data", *(choice(at) for at in MOMENTS))
    (sample,) = load("ovobench", data, fps=fps).samples
    model = NotingModel()
    run_all((sample,), model, tmp_path / "run")
    schedule = [number / exact_seconds(fps) for number in range(100)]
    assert [query.at for query in sample.queries] == sorted(MOMENTS)
    for asked, query in zip(model.asked, sample.queries, strict=True):
        # A frame on the very second of the question belongs to the second that has not begun.
        due = [time for time in schedule if time <= exact_seconds(query.at)]
        begun = [time for time in due if time < query.at] or due
        last = len(asked.seen)
        assert last in (len(due), len(begun))
        assert asked.seen == [Fraction(int(time * FPS), FPS) for time in schedule[:last]]


@pytest.mark.parametrize("protocol", ["official", "logit"])
def test_a_question_in_the_first_instant_sees_the_frames_of_its_clip_only(protocol: str, tmp_path: Path) -> None:
    samples = load("ovobench", ovo(tmp_path / "data", choice(0.03)), protocol=protocol).samples
    model = NotingModel()
    run_all(samples, model, tmp_path / "run")
    # The official clip ends with the whole second; the logit protocol shows frames up to the question.
    assert max(model.asked[0].seen) < 1
    if protocol == "logit":
        assert set(model.asked[0].seen) == {0}


@pytest.mark.parametrize(("task", "passes"), [(task, "streaming") for task in ("ovobench", "videomme")])
def test_the_streaming_protocol_reads_each_video_once(
    task: str, passes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    class Counted(VideoFrames):
        def frames(self, ticks: Any) -> Any:
            opened.append(self.path)
            return super().frames(ticks)

    monkeypatch.setattr(reads_module, "VideoFrames", Counted)
    samples = load(task, toy_data(task, tmp_path / "data"), protocol=passes).samples
    model = NotingModel()
    records = run_all(samples, model, tmp_path / "run")
    assert len(opened) == len(set(opened)) == len({sample.cluster for sample in samples})
    assert len(records) >= 3 * len(opened)
    seconds = sum(sample.end - sample.start for sample in samples)
    assert model.frames == seconds * samples[0].fps


def test_a_question_that_may_see_less_than_its_stream_is_refused(tmp_path: Path) -> None:
    query = Query("q", at=9.0, prompt="?", kind="open", visible_from=4.0)
    sample = StreamSample("s", tmp_path / "no.mp4", start=0.0, end=10.0, fps=1.0, queries=(query,))
    with pytest.raises(DataError, match=r"q may see the video from 4 s on.*sample of its own"):
        run_all((sample,), NotingModel(), tmp_path / "run")


def test_the_last_minute_only_gives_each_question_a_stream_of_its_own(tmp_path: Path) -> None:
    data = toy_data("streamingbench", tmp_path / "data")
    samples = load("streamingbench", data, context=6.0, tasks=("CR", "OP", "SQA")).samples
    assert len({(sample.video, sample.start) for sample in samples}) == len(samples)
    model = NotingModel()
    run_all(samples, model, tmp_path / "run")
    at = {query.id: query.at for sample in samples for query in sample.queries}
    for asked in model.asked:
        assert at[asked.key] - 6 <= asked.seen[0]
        assert max(asked.seen) <= at[asked.key]
