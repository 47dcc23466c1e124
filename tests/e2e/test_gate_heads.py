"""A CI job's heads against one base, run for real: what each of them is told, and with which exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import write_data

pytestmark = pytest.mark.slow

# On 6 videos the bounds of equal runs are 39.3 points, and those of runs that agree nowhere lie below -60.
MARGIN = "50"
MEMORY = {"vision_window": 3, "text_rounds": 2, "text_sink": 8, "text_window": 8}

Run = Callable[..., Path]
Gate = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six short videos."""
    folder = tmp_path_factory.mktemp("job")
    write_data(folder / "data", videos=[f"match-{number}" for number in range(6)], seconds=13, start=5)
    return folder


def words(job: Path, name: str, *more: str) -> list[str]:
    memory = [word for key, value in MEMORY.items() for word in ("--set", f"memory.{key}={value}")]
    chosen = ["--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny", "--device", "cpu"]
    where = ["--data", str(job / "data"), "--out", str(job / name)]
    return ["run", *chosen, *where, "--set", "task.start_seconds=5", *memory, *more]


@pytest.fixture(scope="module")
def head(job: Path) -> Run:
    """Runs the base, or a head with other options, in this process and from this tree."""

    def run(name: str, *more: str) -> Path:
        from evalkit.cli.main import main

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GIT_DIR", "/nonexistent")
            assert main(words(job, name, *more)) == 0
        return job / name

    return run


@pytest.fixture(scope="module")
def base(head: Run) -> Path:
    return head("base")


@pytest.fixture
def gate(base: Path, capsys: pytest.CaptureFixture[str]) -> Gate:
    def hold(run: Path, *more: str) -> tuple[int, str, str]:
        from evalkit.cli.main import main

        capsys.readouterr()
        given = ["--base", str(base), "--head", str(run), "--max-drop", MARGIN, "--metric", "agreement"]
        code = main(["gate", *given, *more])
        out, err = capsys.readouterr()
        return code, out, err

    return hold


def test_an_identical_head_passes_and_is_called_identical(head: Run, gate: Gate) -> None:
    code, out, _ = gate(head("identical"))
    assert code == 0
    assert "identical answers (transcripts equal): 48 of 48 replies" in out
    assert "under test: no model setting differs" in out
    assert "gate: pass" in out


def test_another_seed_is_refused_with_both_values(head: Run, gate: Gate) -> None:
    run = head("seed", "--seed", "7")
    code, _, err = gate(run)
    assert code == 2
    assert "seed (42 against 7)" in err


def test_a_policy_altered_by_settings_is_named_and_its_replies_differ(head: Run, gate: Gate) -> None:
    run = head("policy", "--set", "memory.text_sink=0", "--set", "memory.vision_window=1")
    code, out, _ = gate(run)
    # 42 of 48 replies differ, and yet 6 videos do not show a drop of 50 points: its upper bound is -13.8.
    assert code == 4
    code, out, _ = gate(run, "--max-drop", "10")
    assert code == 1
    assert "of 48 replies differ" in out
    assert "model.memory.text_sink (8 against 0)" in out
    assert "gate: fail" in out


def test_smaller_frames_are_refused_with_their_size(head: Run, gate: Gate) -> None:
    code, _, err = gate(head("size", "--frame-pixels", "3200"))
    assert code == 2
    assert "frames.pixels (absent against 3200)" in err


def test_another_frame_rate_and_other_words_are_refused(head: Run, gate: Gate) -> None:
    code, _, err = gate(head("fps", "--set", "task.fps=1"))
    assert code == 2
    assert "frames.fps" in err
    code, _, err = gate(head("prompt", "--set", "task.instruction=Say what you see."))
    assert code == 2
    assert "prompt.digest" in err


def test_half_the_videos_are_refused(head: Run, gate: Gate) -> None:
    code, _, err = gate(head("half", "--limit", "3"))
    assert code == 2
    assert "data.samples" in err
