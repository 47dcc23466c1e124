"""`evalkit bench`: figures of every model on the same frames, and nothing left behind by a refused request."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from evalkit.bench.policies import BenchRequest, bench_models
from evalkit.bench.sustain import SustainRule
from evalkit.errors import UsageError

Call = Callable[..., tuple[int, str, str]]
BENCH = ("bench", "--models", "full", "--checkpoint", "tiny", "--seconds", "2", "--size", "84x56", "--tokens", "3")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "-1"], "--seed must be 0 or more, not -1"),
        (["--previous-words", "-1"], "--previous-words must be 0 or more, not -1"),
        (["--fps", "0"], "--fps 0: fps must lie in 0.1 to 30, not 0"),
        (["--fps", "100"], "--fps 100: fps must lie in 0.1 to 30, not 100"),
        (["--fps", "nan"], "--fps nan"),
        (["--seconds", "0"], "bench needs --seconds, --tokens and --repeats of at least 1"),
        (["--size", "84x57"], "--size 84x57: both sides must be multiples of 28 pixels"),
        (["--size", "8²x56"], "--size wants WIDTHxHEIGHT"),
        (["--models", "full,sliding,full"], "--models names a model twice"),
        (["--models", "full,slidin"], "did you mean 'sliding'?"),
        (["--compress", "stc", "--seed", "-1"], "--seed must be 0 or more, not -1"),
        (["--compress", "stc", "--fps", "0"], "--fps 0: fps must lie in 0.1 to 30, not 0"),
    ],
)
def test_a_request_no_stream_can_be_made_of_is_one_line_and_leaves_nothing(
    words: list[str], said: str, tmp_path: Path, evalkit: Call
) -> None:
    code, out, err = evalkit(*BENCH, *words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert said in err
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path, evalkit: Call) -> None:
    (tmp_path / "taken").write_text("mine")
    code, _, err = evalkit(*BENCH, "--out", "taken")
    assert (code, err) == (2, "evalkit: --out taken exists and is not an empty folder\n")
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_call_with_an_impossible_rate_leaves_no_folder_either(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fps must lie in"):
        bench_models(BenchRequest(("full",), "tiny", 2, (84, 56), fps=0), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_the_json_has_the_promised_figures_of_each_model_and_the_length_of_the_stream(
    evalkit: Call, tmp_path: Path
) -> None:
    code, out, _ = evalkit(*BENCH, "--out", "bench", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["seconds"] == 2
    assert result["models"].keys() == {"full"}
    full = result["models"]["full"]
    assert full["seconds"] == 2
    assert full["per_second"].keys() >= {"p50", "p95", "p99", "max"}
    assert full["per_token"] > 0
    assert full["stages"]["prefill"] > 0
    assert full["cache_tokens"] > 1100
    assert full["peak_memory_mib"] > 0
    manifest = json.loads((tmp_path / "bench" / "full" / "run.json").read_text())
    assert manifest["status"] == "done"


def test_the_number_of_streams_kept_up_with_is_found_and_each_stream_is_on_record(
    evalkit: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "evalkit.bench.sustain.SustainRule", partial(SustainRule, percentile=0.5, least=7, settle=3)
    )
    monkeypatch.setattr("evalkit.bench.crowd.MOST_STREAMS", 2)
    small = ("--checkpoint", "tiny", "--size", "84x56", "--tokens", "2", "--fps", "1", "--seconds", "40")
    words = ("bench", "--sustain", "--streams", "--models", "streamingvlm", *small, "--out", "s", "--json")
    code, out, err = evalkit(*words)
    assert code == 0, err
    found = json.loads(out)["models"]["streamingvlm"]
    assert found["tried"][0]["load"] == 1
    assert found["sustained"] is None or found["sustained"] <= 2
    for one in found["tried"]:
        folder = tmp_path / "s" / "streamingvlm" / f"{one['load']:g}streams"
        ticks = [json.loads(line) for line in (folder / "ticks.jsonl").read_text().splitlines()]
        assert len({tick["sample"] for tick in ticks}) == one["load"]
        assert len(ticks) == one["horizon"] * one["load"]
        manifest = json.loads((folder / "run.json").read_text())
        assert manifest["latency"] == ("batched" if one["load"] > 1 else "alone")
    for wrong, says in (
        (("bench", "--streams"), "--streams goes with --sustain"),
        (("bench", "--sustain", "--streams", "--models", "rekv", *small), "cannot advance several streams"),
    ):
        code, _, err = evalkit(*wrong)
        assert code == 2
        assert says in err


def test_sustain_and_horizon_leave_their_table_figures_and_records(
    evalkit: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten minutes of stream a rate are for people who wait: here seven seconds without a miss claim the median.
    quick = partial(SustainRule, percentile=0.5, least=7, settle=3)
    monkeypatch.setattr("evalkit.bench.sustain.SustainRule", quick)
    monkeypatch.setattr("evalkit.bench.rates.MAX_FPS", 1)
    small = ("--models", "streamingvlm", "--checkpoint", "tiny", "--size", "84x56", "--tokens", "3")
    code, out, err = evalkit(
        "bench",
        "--sustain",
        *small,
        "--previous-words",
        "1100",
        "--seconds",
        "40",
        "--fps",
        "1",
        "--out",
        "s",
        "--json",
    )
    assert code == 0, err
    found = json.loads(out)["models"]["streamingvlm"]
    assert found["tried"][0]["load"] == 1
    assert found["sustained"] is None or found["sustained"] <= 1
    for one in found["tried"]:
        ticks = (tmp_path / "s" / "streamingvlm" / f"{one['load']:g}fps" / "ticks.jsonl").read_text().splitlines()
        assert len(ticks) == one["horizon"]
    assert {path.name for path in (tmp_path / "s").iterdir()} >= {
        "sustain.md",
        "sustain.tex",
        "sustain.csv",
        "sustain.json",
    }
    code, out, err = evalkit("bench", "--horizon", *small, "--seconds", "4", "--out", "h")
    assert code == 0, err
    assert "not in 4 s" in out
    assert (
        json.loads((tmp_path / "h" / "time-to-failure.json").read_text())["models"]["streamingvlm"]["failed_at"]
        is None
    )
