"""The pixel budget of frames: an option, and on record in the fingerprint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.run.fingerprint import full_fingerprint
from evalkit.run.options import RunOptions
from evalkit.run.plan import make_plan

Call = Callable[..., tuple[int, str, str]]


def test_a_budget_makes_frames_smaller_and_is_refused_where_frames_have_one_size() -> None:
    own, small = (
        load_backbone(LoadRequest("tiny", "cpu", frame_pixels=n)).frame_size(640, 360) for n in (None, 40_000)
    )
    assert own == (644, 364)
    assert small[0] * small[1] <= 40_000
    with pytest.raises(UsageError, match="leave --frame-pixels out"):
        load_backbone(LoadRequest("tiny-llava", "cpu", frame_pixels=40_000))


def fingerprint(data: Path, pixels: int | None) -> dict[str, object]:
    words = {"task": "inf-streams", "model": "full", "checkpoint": "tiny", "device": "cpu"}
    plan = make_plan(RunOptions(**words, data=str(data), settings={"start_seconds": 5}, frame_pixels=pixels))
    return full_fingerprint(plan, plan.model.make())


def test_the_fingerprint_holds_the_budget_and_the_sizes_that_come_of_it(small_data: Path) -> None:
    own, small = fingerprint(small_data, None), fingerprint(small_data, 40_000)
    changed = {name for name in own | small if own.get(name) != small.get(name)}
    assert changed == {"frames.pixels", "model.frame_size"}
    assert (own["frames.pixels"], small["frames.pixels"]) == (None, 40_000)
    assert str(own["model.frame_size"]).startswith("640x360 as 644x364, 1920x1080 as 1008x560")


def test_the_option_is_part_of_a_dry_run(small_data: Path, evalkit: Call) -> None:
    words = ("run", "--task", "inf-streams", "--model", "full", "--checkpoint", "tiny", "--data", small_data)
    code, out, _ = evalkit(*words, "--set", "start_seconds=5", "--frame-pixels", "40000", "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["fingerprint"]["frames.pixels"] == 40_000
    code, _, err = evalkit(*words, "--frame-pixels", "0", "--dry-run")
    assert code == 2
    assert "--frame-pixels" in err
