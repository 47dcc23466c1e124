"""Compression on the command line: `stc` beside `full`, what is on record, and lies that fail the run."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evalkit.compress.pruner import PrunedFrames, Pruner

Call = Callable[..., tuple[int, str, str]]
SAMPLES = "1"


def ovobench(model: str, out: str, *more: str) -> list[str]:
    words = ["run", "--task", "ovobench", "--data", "demo", "--checkpoint", "tiny-llava", "--limit", SAMPLES]
    return [*words, "--model", model, "--out", out, "--set", "generation.answer_tokens=4", *more]


def manifest(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return value


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of `stc` and of `full` on the same samples and weights."""
    from evalkit.cli.main import main

    folder = tmp_path_factory.mktemp("compression")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_DIR", "/nonexistent")
        for model in ("stc", "full"):
            assert main(ovobench(model, str(folder / model))) == 0
    return folder


def test_stc_and_full_differ_in_the_compression_alone(both: Path) -> None:
    stc, full = (manifest(both / model)["fingerprint"] for model in ("stc", "full"))
    differing = {key for key in stc.keys() | full.keys() if stc.get(key) != full.get(key)}
    assert differing == {"model.name", "model.compress"}
    assert stc["model.compress"].startswith("cacher(interval=2,reuse=0.75,variant=stc-paper),pruner(pruned=0.7")
    assert full["model.compress"] == "none"
    answers = [[row["query"] for row in rows(both / model, "answers.jsonl")] for model in ("stc", "full")]
    assert answers[0] == answers[1] != []


def test_each_second_records_what_every_compressor_did(both: Path) -> None:
    ticks = [tick for tick in rows(both / "stc", "ticks.jsonl") if tick["frames"]]
    assert ticks
    for tick in ticks:
        cacher, pruner = tick["compressors"]
        assert cacher["tokens_in"] == cacher["tokens_out"] == 729 * tick["frames"]
        assert pruner["tokens_in"] == 196 * tick["frames"]
        assert pruner["tokens_out"] == tick["tokens_in"]["vision"] == 58 * tick["frames"]
        assert tick["stages"]["compress"] > 0
    frames = sum(tick["frames"] for tick in ticks)
    references = sum(tick["compressors"][0]["reference_frames"] for tick in ticks)
    assert frames / 2 <= references <= frames / 2 + int(SAMPLES)
    assert not any(tick["compressors"] for tick in rows(both / "full", "ticks.jsonl"))


def test_the_language_model_gets_fewer_tokens_and_positions_do_not_move(both: Path) -> None:
    tokens = {
        model: sum(tick["tokens_in"].get("vision", 0) for tick in rows(both / model, "ticks.jsonl"))
        for model in ("stc", "full")
    }
    assert tokens["stc"] / tokens["full"] == pytest.approx(58 / 196)


def test_a_pruner_that_lets_everything_pass_fails_the_run(
    evalkit: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Pruner.prune

    def lie(self: Pruner, features: torch.Tensor, state: Any) -> PrunedFrames:
        result = honest(self, features, state)
        everything = torch.arange(result.tokens).expand(len(features), -1)
        return dataclasses.replace(result, kept=everything)

    monkeypatch.setattr(Pruner, "prune", lie)
    code, _, err = evalkit(*ovobench("full", "lie", "--compress", "pruner(keep=60)"))
    assert code == 2
    assert "compression was not what it claims" in err
    assert "100.0% kept, 30.6% claimed" in err
    assert "Traceback" not in err
    assert manifest(tmp_path / "lie")["status"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("compress", ["tome-49", "visionzip-49", "vidcom2-25", "dycoke-ttm-70", "frame-stride"])
@pytest.mark.parametrize("model", ["full", "rekv"])
@pytest.mark.parametrize("task", ["ovobench", "streamingbench", "videomme", "egoschema", "mlvu"])
def test_every_question_benchmark_runs_with_every_peer(
    task: str, model: str, compress: str, evalkit: Call, tmp_path: Path
) -> None:
    words = ovobench(model, "run", "--compress", compress)
    words[words.index("ovobench")] = task
    code, _, err = evalkit(*words)
    assert code == 0, err
    answers = rows(tmp_path / "run", "answers.jsonl")
    assert answers
    assert {answer["status"] for answer in answers} == {"ok"}
    seen = [tick for tick in rows(tmp_path / "run", "ticks.jsonl") if tick["frames"]]
    (name,) = {report["name"] for tick in seen for report in tick["compressors"]}
    assert compress.startswith(name)
    kept = sum(tick["tokens_in"].get("vision", 0) for tick in seen) / (196 * sum(tick["frames"] for tick in seen))
    assert kept < (1 if compress == "tome-49" else 0.6)  # no layer of the tiny tower merges more than half


def test_seconds_in_which_a_share_cannot_hold_are_warned_of(evalkit: Call, tmp_path: Path) -> None:
    code, _, err = evalkit(*ovobench("full", "all", "--compress", "pruner(keep=500)"))
    assert code == 0, err
    (warning,) = [line for line in manifest(tmp_path / "all")["warnings"] if "stc-pruner" in line]
    assert "cannot hold its share in second 0-" in warning
    assert "keep=500 is not below the 196 tokens of a frame" in warning


@pytest.mark.parametrize(
    ("text", "says"),
    [("stcc", "did you mean 'stc'"), ("cacher(reuse=75)", "reuse must be"), ("", "write none")],
)
def test_compression_that_cannot_be_understood_stops_the_run(text: str, says: str, evalkit: Call) -> None:
    code, _, err = evalkit(*ovobench("full", "wrong", "--compress", text))
    assert code == 2
    assert says in err


def test_the_released_leak_cannot_be_resumed(evalkit: Call, tmp_path: Path, both: Path) -> None:
    code, _, err = evalkit(*ovobench("stc", str(both / "stc"), "--compat", "--resume"))
    assert code == 2
    assert "start anew" in err


def test_a_frame_view_takes_no_compression(evalkit: Call) -> None:
    code, _, err = evalkit(*ovobench("last-frame", "view", "--compress", "stc"))
    assert code == 2
    assert "takes no --compress" in err


def test_presets_work_on_qwen_under_streamingvlm(evalkit: Call, tmp_path: Path, small_data: Path) -> None:
    code, _, err = evalkit(
        "run", "--task", "inf-streams", "--model", "streamingvlm", "--compress", "stc-code",
        "--checkpoint", "tiny", "--data", small_data, "--set", "start_seconds=5",
        "--set", "memory.vision_window=4", "--out", "qwen",
    )  # fmt: skip
    assert code == 0, err
    ticks = rows(tmp_path / "qwen", "ticks.jsonl")
    assert {report["name"] for tick in ticks for report in tick["compressors"]} == {"stc-cacher", "stc-pruner"}
    assert manifest(tmp_path / "qwen")["fingerprint"]["model.policy"] == "StreamingVLM"


def test_bench_compares_specifications_with_none(evalkit: Call, tmp_path: Path) -> None:
    code, out, err = evalkit(
        "bench", "--compress", "stc;cacher(reuse=0);pruner(keep=60)", "--checkpoint", "tiny-llava",
        "--seconds", "4", "--fps", "1", "--tokens", "5", "--repeats", "1", "--out", "bench", "--json",
    )  # fmt: skip
    assert code == 0, err
    figures = json.loads(out)["compression"]
    assert figures["seconds"] == 4
    assert figures["none"]["stages"]["compress"] == pytest.approx(0, abs=1e-3)
    stc, identity, pruner = (figures["specs"][name] for name in ("stc", "cacher(reuse=0)", "pruner(keep=60)"))
    assert identity["relative_error_by_second"] == [0.0] * 4
    assert identity["equal_tokens"] == identity["same_answers"] == 1.0
    assert pruner["relative_error_by_second"] == [0.0] * 4
    assert pruner["kept_share"] == pytest.approx(60 / 196)
    assert stc["reused_share"] == pytest.approx(0.375, abs=0.01)
    assert stc["relative_error_by_second"][::2] == [0.0, 0.0]
    assert min(stc["relative_error_by_second"][1::2]) > 0
    drawn = {path.name for path in (tmp_path / "bench").iterdir()}
    assert drawn >= {"compression.pdf", "compression.svg", "compression.csv", "compression.json"}
    with (tmp_path / "bench" / "compression.csv").open() as file:
        assert [row["Compression"] for row in csv.DictReader(file)] == [
            "stc",
            "cacher(reuse=0)",
            "pruner(keep=60)",
        ]


def test_bench_streams_a_real_video(evalkit: Call, tmp_path: Path, small_data: Path) -> None:
    code, out, err = evalkit(
        "bench", "--compress", "stc", "--checkpoint", "tiny", "--models", "streamingvlm", "--seconds", "3",
        "--fps", "2", "--tokens", "3", "--repeats", "1", "--out", "video",
        "--video", small_data / "videos" / "match.mp4",
    )  # fmt: skip
    assert code == 0, err
    assert "Vision encode saved" in out
    assert json.loads((tmp_path / "video" / "compression.json").read_text())["seconds"] == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--compress", "stc;stc"], "give each once"),
        (["--compress", "none"], "give each once"),
        (["--compress", "stc", "--models", "full,sliding"], "one name"),
        (["--compress", "stcc"], "did you mean"),
        (["--video", "x.mp4"], "goes with --compress"),
    ],
)
def test_bench_refuses_comparisons_that_mean_nothing(words: list[str], says: str, evalkit: Call) -> None:
    code, _, err = evalkit("bench", "--checkpoint", "tiny", "--seconds", "1", *words)
    assert code == 2
    assert says in err
