"""Shards of a run, put together: what one process would have left, but for its times."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import write_data

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five short games."""
    names = [f"game{number}" for number in range(5)]
    return write_data(tmp_path_factory.mktemp("five") / "set", videos=names, seconds=9, start=5)


def command(data: Path, out: str, *more: str) -> list[str | Path]:
    words: list[str | Path] = ["run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny"]
    return [*words, "--data", data, "--set", "start_seconds=5", "--out", out, *more]


def said(folder: Path) -> list[tuple[str, str, str]]:
    lines = (folder / "answers.jsonl").read_text().splitlines()
    return [(row["sample"], row["query"], row["text"]) for row in map(json.loads, lines)]


def test_merged_shards_are_the_run_of_one_process_and_go_wherever_a_run_does(
    data: Path, evalkit: Call, tmp_path: Path
) -> None:
    assert evalkit(*command(data, "whole"))[0] == 0
    for number in (1, 2, 3):
        code, _, err = evalkit(*command(data, f"part{number}", "--shard", f"{number}/3"))
        assert code == 0, err
    code, out, err = evalkit("merge", "part3", "part1", "part2", "--out", "merged")
    assert code == 0, err
    assert "run folder: merged" in out
    assert said(tmp_path / "merged") == said(tmp_path / "whole")
    manifests = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("whole", "merged")]
    for field in ("fingerprint", "fingerprint_digest", "planned", "recorded", "media", "media_digests", "failed"):
        assert manifests[0][field] == manifests[1][field], field
    assert manifests[1]["warnings"][0].startswith("merged of 3 shards, run on ")
    assert (tmp_path / "merged" / "report.html").exists()
    code, out, err = evalkit(
        "gate", "--base", "whole", "--head", "merged", "--max-drop", "99", "--metric", "agreement"
    )
    assert "identical answers (transcripts equal)" in out
    code, _, err = evalkit("run", "--resume", "--out", "merged", "--data", data)
    assert code == 0, err
    assert said(tmp_path / "merged") == said(tmp_path / "whole")


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        (("part1",), "shards are missing: 2/2"),
        (("part1", "part1"), "part1 and part1 are both shard 1/2"),
        (("part1", "other"), "part1 and other are shards of different runs: seed (42 against 7)"),
        (("part1", "of3"), "these are shards of 2 and of 3: merge those of one run"),
        (("part1", "whole"), "whole is a whole run: evalkit merge takes runs with --shard I/N"),
    ],
)
def test_what_is_no_whole_row_of_shards_is_refused(
    paths: tuple[str, ...], why: str, data: Path, evalkit: Call, tmp_path: Path
) -> None:
    made = {"part1": ("1/2",), "other": ("2/2", "--seed", "7"), "of3": ("2/3",), "whole": ()}
    for name in dict.fromkeys(paths):
        shard = ("--shard", *made[name]) if made[name] else ("--limit", "1")
        assert evalkit(*command(data, name, *shard))[0] == 0
    code, _, err = evalkit("merge", *paths, "--out", "merged")
    assert (code, len(err.splitlines())) == (2, 1)
    assert why in err
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize(
    ("shard", "why"),
    [
        ("3/2", "--shard wants I/N"),
        ("x", "--shard wants I/N"),
        ("9/9", "there are 5 samples, so some shards have none"),
    ],
)
def test_a_shard_that_is_none_is_one_line(shard: str, why: str, data: Path, evalkit: Call) -> None:
    code, _, err = evalkit(*command(data, "part", "--shard", shard))
    assert (code, len(err.splitlines())) == (2, 1)
    assert why in err


def test_an_unfinished_shard_says_how_it_goes_on(data: Path, evalkit: Call, tmp_path: Path) -> None:
    for number in (1, 2):
        assert evalkit(*command(data, f"part{number}", "--shard", f"{number}/2"))[0] == 0
    path = tmp_path / "part2" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "interrupted"}))
    code, _, err = evalkit("merge", "part1", "part2", "--out", "merged")
    assert code == 2
    assert "part2 is interrupted: evalkit run --resume --out part2" in err
