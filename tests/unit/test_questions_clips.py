"""Official clips show the frames of their rule, none after the question, and are read once for like questions."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_runs import FPS, film

import evalkit.run.clips as clips
from evalkit.errors import CausalityError, DecodeError, UsageError
from evalkit.run.clips import read_clip
from evalkit.tasks.frames import uniform_linspace
from evalkit.video import read_frames
from evalkit_tasks.demo import make_match


def same(width: int, height: int) -> tuple[int, int]:
    return width, height


@pytest.fixture
def video(tmp_path: Path) -> Path:
    film(tmp_path / "clip.mp4", make_match(3, 20))
    return tmp_path / "clip.mp4"


def numbers(times: tuple[Fraction, ...]) -> list[int]:
    return [int(time * FPS) for time in times]


def test_a_clip_ends_before_the_frame_of_its_end_time(video: Path) -> None:
    clip = read_clip(video, (0, 5), "uniform-64", same)
    assert numbers(clip.chunk.times) == list(uniform_linspace(5 * FPS, 64))
    assert clip.fps == pytest.approx(64 / 5)
    assert [clip.chunk.tick.start, clip.chunk.tick.end] == [0, 5]


def test_the_logit_protocol_takes_the_frame_of_the_end_time_too(video: Path) -> None:
    clip = read_clip(video, (2, 5), "ovo-logit", same)
    assert numbers(clip.chunk.times)[0] == 2 * FPS
    assert numbers(clip.chunk.times)[-1] == 5 * FPS


def test_a_span_shorter_than_a_frame_shows_the_frame_on_screen(video: Path) -> None:
    clip = read_clip(video, (3.01, 3.02), "fps-1", same)
    assert numbers(clip.chunk.times) == [3 * FPS]
    assert set(numbers(read_clip(video, (0, 0), "uniform-32", same).chunk.times)) == {0}


def test_a_span_beyond_the_video_shows_what_there_is(video: Path) -> None:
    clip = read_clip(video, (0, 3600), "fps-1", same)
    assert numbers(clip.chunk.times) == [second * FPS for second in range(20)]
    assert clip.chunk.tick.end == 20


def test_pictures_are_those_of_their_times(video: Path) -> None:
    clip = read_clip(video, (0, 20), "fps-1", same)
    shades = clip.chunk.frames.reshape(20, -1).astype(float).mean(axis=1)
    assert np.abs(shades - [second * FPS for second in range(20)]).max() < 6


def test_like_questions_share_one_reading(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    original = read_frames

    def noted(path: Path, **options: Any) -> Any:
        read.append(path)
        return original(path, **options)

    monkeypatch.setattr(clips, "read_frames", noted)
    first = read_clip(video, (0, 7), "fps-1", same)
    second = read_clip(video, (0, 7), "fps-1", same, number=3)
    assert len(read) == 1
    assert (first.chunk.tick.index, second.chunk.tick.index) == (0, 3)
    read_clip(video, (0, 8), "fps-1", same)
    assert len(read) == 2


def test_texts_stand_between_the_runs_of_frames(video: Path) -> None:
    clip = read_clip(video, (0, 4), "fps-1", same)
    texts = ((-1.0, "before"), (1.0, "one"), (1.0, "two"), (3.0, "end"))
    parts = [(numbers(part.times), texts) for part, texts in clip.parts(texts)]
    assert parts == [([], ("before",)), ([0, FPS], ("one\ntwo",)), ([2 * FPS, 3 * FPS], ("end",))]
    assert [numbers(part.times) for part, _ in clip.parts(())] == [[0, FPS, 2 * FPS, 3 * FPS]]
    spans = [(part.tick.start, part.tick.end) for part, _ in clip.parts(texts)]
    assert all(start <= end for start, end in spans)
    assert spans[-1][1] == 4


def test_a_rule_that_looks_ahead_is_refused(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "_visible", lambda times, start, end, last: list(range(len(times))))
    with pytest.raises(CausalityError, match=r"after 6\.5 s"):
        read_clip(video, (0, 6.5), "uniform-64", same)


def test_an_unknown_preset_and_a_clip_without_frames_are_refused(video: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'uniform-64'"):
        read_clip(video, (0, 5.5), "uniform-65", same)
    with pytest.raises(DecodeError):
        read_clip(video.with_name("none.mp4"), (0, 5), "uniform-64", same)
