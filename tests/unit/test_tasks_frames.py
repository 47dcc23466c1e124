"""Frame rules against numbers worked out by hand from the published code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.tasks.frames import (
    PRESETS,
    Clip,
    floor_step,
    ovo_uniform,
    per_second,
    per_second_capped,
    qwen_smart,
    streamingbench_qwen,
    uniform_linspace,
    vlmeval_rate,
    vlmeval_uniform,
)


def test_uniform_frames_reach_both_ends() -> None:
    assert uniform_linspace(101, 5) == (0, 25, 50, 75, 100)
    assert uniform_linspace(3, 5) == (0, 0, 1, 1, 2)


def test_ovo_takes_two_frames_fewer_than_a_short_clip_has() -> None:
    assert len(ovo_uniform(640)) == 64
    assert len(ovo_uniform(64)) == 64
    assert ovo_uniform(10) == tuple(int(i) for i in np.linspace(0, 9, 8))
    assert ovo_uniform(1) == ovo_uniform(2) == (0,)


def test_longvideobench_steps_from_the_start_and_never_reaches_the_tail() -> None:
    # 305 frames of 10.2 s: 10 frames, step 30, the last at 270.
    assert floor_step(305, 10.2, 256) == tuple(range(0, 300, 30))
    assert floor_step(1000, 100.0, 8) == tuple(range(0, 1000, 125))
    assert floor_step(12, 0.5, 64) == (0,)


def test_vlmevalkit_leaves_both_ends_out() -> None:
    assert vlmeval_uniform(90, 8) == (10, 20, 30, 40, 50, 60, 70, 80)
    assert vlmeval_rate(90, 30.0, 1.0) == (0, 30, 60)
    assert vlmeval_rate(90, 30.0, 0.5) == (0,)


def test_per_second_frames_are_those_on_screen_at_each_second() -> None:
    assert per_second(Clip(100, 25.0, 4.0)) == (0, 25, 50, 75)
    assert per_second(Clip(10, 25.0, 0.4)) == (0,)
    assert len(per_second_capped(Clip(25_000, 25.0, 1000.0), 1.0, 64)) == 64


@pytest.mark.parametrize(("seconds", "frames"), [(300.0, 300), (301.0, 150), (599.0, 299), (600.0, 120)])
def test_streamingbench_thins_long_clips_for_qwen(seconds: float, frames: int) -> None:
    assert len(streamingbench_qwen(Clip(int(seconds * 25), 25.0, seconds))) == frames


@pytest.mark.parametrize(
    ("frames", "fps", "count"),
    # 10 s at 25 fps: 20 frames; 400 s: thinned to 480; 1 s: at least 4; a slow file repeats frames.
    [(250, 25.0, 20), (10_000, 25.0, 480), (25, 25.0, 4), (10, 1.0, 20), (1, 25.0, 2)],
)
def test_the_logit_protocol_takes_an_even_number_within_bounds(frames: int, fps: float, count: int) -> None:
    shown = qwen_smart(Clip(frames, fps, frames / fps))
    assert len(shown) == count
    assert shown[0] == 0
    assert shown[-1] == frames - 1


def test_a_clip_without_frames_is_refused() -> None:
    with pytest.raises(DataError, match="needs frames"):
        Clip(0, 25.0, 0.0)


@pytest.mark.parametrize("name", PRESETS)
@given(frames=st.integers(1, 3000), fps=st.sampled_from([1.0, 12.5, 24.0, 29.97, 30.0, 60.0]))
def test_every_preset_shows_frames_of_the_clip_in_order(name: str, frames: int, fps: float) -> None:
    shown = PRESETS[name](Clip(frames, fps, frames / fps))
    assert shown
    assert list(shown) == sorted(shown)
    assert shown[0] >= 0
    assert shown[-1] < frames
