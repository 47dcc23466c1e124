"""Broken videos and models that look ahead: a failed sample or a warning each, on record, and the others go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conftest import write_data

Call = Callable[..., tuple[int, str, str]]
BROKEN = {
    "empty": "empty",
    "text": "not a video",
    "truncated": "truncated",
    "sound": "no video",
    "gone": "no such file",
}


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        for k in range(40):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate, frame.pts = 8000, k * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def broken_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven videos: five broken, one that ends at 6 s of 9, and one that is whole, last."""
    data = write_data(
        tmp_path_factory.mktemp("broken") / "set", videos=(*BROKEN, "short", "whole"), seconds=9, start=0
    )
    videos = data / "videos"
    (videos / "empty.mp4").write_bytes(b"")
    (videos / "text.mp4").write_text("this is not a video\n" * 50)
    (videos / "truncated.mp4").write_bytes((videos / "truncated.mp4").read_bytes()[:3000])
    audio_only(videos / "sound.mp4")
    (videos / "gone.mp4").unlink()
    short = write_data(tmp_path_factory.mktemp("short") / "set", seconds=6, start=0)
    shutil.copy(short / "videos" / "match.mp4", videos / "short.mp4")
    return data


def run_words(data: Path, *more: str | Path) -> list[str | Path]:
    words = ["run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny", "--out", "run"]
    return [*words, "--set", "start_seconds=2", "--data", data, *more]


def answers(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def test_broken_videos_fail_with_their_reason_and_the_others_go_on(
    broken_data: Path, tmp_path: Path, evalkit: Call
) -> None:
    code, _, err = evalkit(*run_words(broken_data))
    assert code == 3
    assert "Traceback" not in err
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["status"] == "done"
    assert [failed["sample"] for failed in manifest["failed"]] == list(BROKEN)
    for failed in manifest["failed"]:
        assert f"{failed['sample']}.mp4" in failed["reason"]
        assert f"failed: {failed['sample']}: {failed['reason']}" in err.splitlines()
    assert "5 of 7 samples failed" in err
    said = answers(tmp_path / "run")
    assert sum(a["status"] == "ok" for a in said if a["sample"] == "whole") == 7
    for sample in BROKEN:
        (record,) = (a for a in said if a["sample"] == sample)
        assert (record["status"], record["start"], record["end"]) == ("failed", 2.0, 9.0)
    (lost,) = (w for w in manifest["warnings"] if w.startswith("short"))
    assert "3.000 s lost at 6.000 s" in lost
    assert f"warning: {lost}" in err.splitlines()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]
    (coverage,) = (m["value"] for m in metrics if m["name"] == "coverage")
    assert coverage == pytest.approx((7 + 4) / (7 * 7)), "what was not narrated stands in the denominator"


def test_a_video_that_ends_early_counts_its_lost_seconds_as_not_narrated(
    broken_data: Path, tmp_path: Path, evalkit: Call
) -> None:
    assert evalkit(*run_words(broken_data, "--sample", "short"))[0] == 0
    said = answers(tmp_path / "run")
    assert [a["end"] for a in said if a["status"] == "ok"] == [3, 4, 5, 6]
    (lost,) = (a for a in said if a["status"] == "failed")
    assert (lost["start"], lost["end"]) == (6, 9)
    assert "the video ends at 6.000 s" in lost["error"]


def test_windows_that_a_failed_sample_leaves_uncovered_are_named_and_counted(
    broken_data: Path, tmp_path: Path, evalkit: Call
) -> None:
    assert evalkit(*run_words(broken_data, "--set", "start_seconds=0"))[0] == 3
    code, out, err = evalkit("judge", "run", "--against", "run", "--judge", "overlap", "--json")
    assert code == 0
    figures = json.loads(out)
    assert figures["pairs"] == 1
    assert figures["skipped"] == 6
    for name in (*BROKEN, "short"):
        assert f"window {name}:0-9 is not judged: " in err


def test_a_dry_run_finds_every_broken_video(broken_data: Path, tmp_path: Path, evalkit: Call) -> None:
    code, out, err = evalkit(*run_words(broken_data, "--dry-run", "--json"))
    assert code == 3
    plan = json.loads(out)
    assert plan["samples"] == 7
    assert plan["stream_seconds"] == 49
    for name in BROKEN:
        assert any(f"{name}.mp4" in problem for problem in plan["problems"]), name
    assert not any("whole.mp4" in problem for problem in plan["problems"])
    assert not (tmp_path / "run").exists()
    _, _, err = evalkit(*run_words(broken_data, "--dry-run"))
    assert err.count("warning: ") == len(plan["problems"])


def test_a_model_that_looks_ahead_is_refused_and_the_attempt_is_on_record(
    small_data: Path, tmp_path: Path, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may look back at what it was shown; of what comes it gets nothing, and its sample fails."""
    from evalkit.models.cached import CachedModel
    from evalkit.models.protocol import SessionRequest

    opened = CachedModel.open

    def open_and_peek(self: CachedModel, request: SessionRequest) -> Any:
        session = opened(self, request)
        speak, seen = session.speak, request.seen

        def peek(chunk: Any) -> Any:
            assert seen is not None
            assert (seen.frames_at([float(chunk.times[0])])[0] == chunk.frames[0]).all()
            if chunk.tick.index == 2:
                seen.frames_at([chunk.tick.end_seconds + 0.5])
            return speak(chunk)

        monkeypatch.setattr(session, "speak", peek)
        return session

    monkeypatch.setattr(CachedModel, "open", open_and_peek)
    assert evalkit(*run_words(small_data, "--set", "start_seconds=5"))[0] == 3
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["warnings"] == ["match: look ahead to 8.500 s refused at 8.000 s"]
    (failed,) = manifest["failed"]
    assert failed["error"] == "CausalityError"
    said = answers(tmp_path / "run")
    assert [(a["status"], a["start"], a["end"]) for a in said] == [("ok", 5, 6), ("ok", 6, 7), ("failed", 7, 25)]
