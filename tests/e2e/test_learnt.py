"""The checkpoint `learnt` sees and remembers, and a memory policy that is off shows in what it says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import evalkit.models.card as card_module
from evalkit.cli.main import main
from evalkit.errors import ModelError
from evalkit.models.card import CheckpointCard, check_digests, read_card, shipped_folder

Command = Callable[..., tuple[int, str, str]]
MATCHES, MINUTES, SEED = 2, 1, 31


@pytest.fixture(scope="module")
def matches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("matches") / "data"
    words = ["--matches", str(MATCHES), "--minutes", str(MINUTES), "--seed", str(SEED), "--out", str(out)]
    assert main(["data", "demo", "--task", "inf-streams", *words]) == 0
    return out


@pytest.fixture(scope="module")
def narrate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Narrates made-up matches with the checkpoint; each run of the same words is made once."""
    made: dict[tuple[str, ...], Path] = {}

    def run(data: Path, model: str, *more: str) -> Path:
        key = (str(data), model, *more)
        if key not in made:
            out = tmp_path_factory.mktemp("runs") / model
            words = ["--task", "inf-streams", "--data", str(data), "--checkpoint", "learnt", "--model", model]
            assert main(["run", *words, *more, "--out", str(out)]) == 0
            made[key] = out
        return made[key]

    return run


def figures(run: Path) -> dict[tuple[str, str], dict[str, Any]]:
    rows = json.loads((run / "metrics.json").read_text())["metrics"]
    return {(row["name"], row["group"]): row for row in rows if row["name"].startswith("demo.")}


def test_it_narrates_matches_it_has_never_seen_with_no_other_setting(
    matches: Path, narrate: Callable[..., Path]
) -> None:
    run = narrate(matches, "streamingvlm")
    found = figures(run)
    seconds = 60 * MATCHES * MINUTES
    assert (found["demo.sight", ""]["n"], found["demo.line", "minute 1"]["n"]) == (seconds, seconds)
    for fact, least in (("sight", 99), ("venue", 99), ("kept", 97), ("score", 90)):
        assert found[f"demo.{fact}", ""]["value"] >= least, fact
    answers = [json.loads(line) for line in (run / "answers.jsonl").read_text().splitlines()]
    assert all(answer["gold"] for answer in answers)
    assert answers[0]["gold"].startswith("here ")


def test_a_run_is_scored_again_from_its_records(
    matches: Path, narrate: Callable[..., Path], evalkit: Command
) -> None:
    run = narrate(matches, "streamingvlm")
    code, out, _ = evalkit("score", "--task", "inf-streams", "--format", "evalkit", "--json", run)
    assert code == 0
    sheet = json.loads(out)
    for (name, group), row in figures(run).items():
        if not group:
            assert sheet["strict"]["tasks"][name.removeprefix("demo.")] == pytest.approx(row["value"])


def test_restarts_forget_the_opening_and_sink_and_window_are_what_the_checkpoint_says(
    matches: Path, narrate: Callable[..., Path]
) -> None:
    chunked = narrate(matches, "sliding-chunked")
    fingerprint = json.loads((chunked / "run.json").read_text())["fingerprint"]
    assert fingerprint["model.memory.seconds"] == 24
    assert fingerprint["model.revision"].startswith("built-in-")
    kept = figures(narrate(matches, "streamingvlm"))["demo.venue", ""]["value"]
    assert figures(chunked)["demo.venue", ""]["value"] < kept - 20


def test_pruning_and_caching_of_the_vision_tokens_cost_what_is_seen(
    matches: Path, narrate: Callable[..., Path]
) -> None:
    def seen(compress: str) -> float:
        found: float = figures(narrate(matches, "streamingvlm", "--compress", compress))["demo.sight", ""]["value"]
        return found

    none = figures(narrate(matches, "streamingvlm"))["demo.sight", ""]["value"]
    paper = seen("pruner(pruned=0.7,strategy=dual-anchor)")
    nearly_all = seen("pruner(pruned=0.95,strategy=dual-anchor)")
    assert none - 3 > paper > nearly_all + 15
    assert seen("cacher(interval=16,reuse=0.95,variant=stc-paper)") < none - 15


def test_bfloat16_says_what_float32_says_but_for_few_words(matches: Path, narrate: Callable[..., Path]) -> None:
    half = narrate(matches, "streamingvlm", "--dtype", "bfloat16", "--limit", "1")
    assert figures(half)["demo.sight", ""]["value"] >= 97
    assert figures(half)["demo.venue", ""]["value"] >= 97


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--set", "task.fps=1"), "this run has 1 frames a second"),
        (("--frame-pixels", "50176"), "this run has at most 50176 pixels of a frame"),
        (("--set", "task.instruction=Sing."), "this run has another instruction"),
    ],
)
def test_a_run_outside_its_training_says_what_it_was_trained_on(
    more: tuple[str, ...], told: str, matches: Path, evalkit: Command
) -> None:
    words = ("run", "--task", "inf-streams", "--data", matches, "--model", "full", "--checkpoint", "learnt")
    code, _, err = evalkit(*words, *more, "--dry-run")
    assert code == 0
    [line] = [line for line in err.splitlines() if "trained on" in line]
    assert "448x224 pixels at 2 frames a second" in line
    assert told in line


def test_questions_are_outside_its_training(evalkit: Command, tmp_path: Path) -> None:
    words = ("run", "--task", "ovobench", "--data", "demo", "--model", "full", "--checkpoint", "learnt")
    code, _, err = evalkit(*words, "--dry-run")
    assert code == 0
    assert "questions" in next(line for line in err.splitlines() if "trained on" in line)


def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    """Ship a copy of the checkpoint, to be damaged."""
    copy = tmp_path / "learnt"
    shutil.copytree(shipped_folder("learnt"), copy)
    monkeypatch.setattr(card_module, "shipped_folder", lambda checkpoint: tmp_path / checkpoint)
    return copy / name


def test_damaged_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = damaged(tmp_path, monkeypatch, "model.safetensors")
    whole = check_digests("learnt", path.parent)
    assert len(whole) == 16
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"learnt is damaged: .*model\.safetensors"):
        check_digests("learnt", path.parent)
    path.unlink()
    with pytest.raises(ModelError, match=r"learnt lacks model\.safetensors"):
        check_digests("learnt", path.parent)


def test_a_damaged_card_is_named_and_other_checkpoints_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_card("tiny") == read_card(str(tmp_path)) == CheckpointCard()
    path = damaged(tmp_path, monkeypatch, "evalkit.json")
    path.write_text("{")
    with pytest.raises(ModelError, match=r"evalkit\.json is damaged"):
        read_card("learnt")


@pytest.fixture(scope="module")
def long_matches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("long") / "data"
    words = ["--matches", "4", "--minutes", "4", "--seed", "32", "--out", str(out)]
    assert main(["data", "demo", "--task", "inf-streams", *words]) == 0
    return out


@pytest.mark.slow
def test_full_attention_loses_what_streamingvlm_keeps_and_compare_says_so(
    long_matches: Path, narrate: Callable[..., Path], evalkit: Command
) -> None:
    ours, full = narrate(long_matches, "streamingvlm"), narrate(long_matches, "full")
    assert figures(ours)["demo.venue", "minute 4"]["value"] >= 97
    assert figures(full)["demo.venue", "minute 4"]["value"] < 50
    assert figures(full)["demo.score", "minute 4"]["value"] < 50
    code, out, err = evalkit("compare", ours, full, "--metric", "demo.line", "--json")
    assert code == 0, err
    [row] = json.loads(out)["pairs"]
    assert row["low"] > 0


@pytest.mark.slow
def test_a_memory_of_text_that_is_off_is_caught_and_another_seed_is_not(
    long_matches: Path, narrate: Callable[..., Path]
) -> None:
    base = narrate(long_matches, "streamingvlm")
    again = narrate(long_matches, "streamingvlm", "--seed", "7")
    off = narrate(long_matches, "streamingvlm", "--set", "memory.text_sink=0", "--set", "memory.text_window=0")
    assert figures(again)["demo.line", ""]["value"] == figures(base)["demo.line", ""]["value"]
    assert figures(off)["demo.venue", ""]["value"] < figures(base)["demo.venue", ""]["value"] - 10
