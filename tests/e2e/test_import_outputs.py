"""What a run exports is what the original would have written, and can be taken in and judged again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalkit.cli.main import main
from evalkit.records import read_run
from evalkit.report.verdicts import contests, win_rate

IMPORT = ("data", "import", "--task", "inf-streams", "--data", "demo")


@pytest.fixture(scope="module")
def narrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("narrated") / "run"
    words = ["run", "--task", "inf-streams", "--model", "streamingvlm", "--data", "demo", "--checkpoint", "tiny"]
    assert main([*words, "--limit", "1", "--set", "task.start_seconds=40", "--out", str(out)]) == 0
    return out


def test_a_run_leaves_the_originals_result_file(narrated: Path) -> None:
    rows = [json.loads(line) for line in (narrated / "merged_result.jsonl").read_text().splitlines()]
    spoken = [answer for answer in read_run(narrated).answers if answer.kind == "narration"]
    assert [item["response"] for row in rows for item in row["items"]] == [answer.text for answer in spoken]


def test_imported_outputs_are_judged_like_a_run(
    narrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "old"
    file = str(narrated / "merged_result.jsonl")
    assert main([*IMPORT, "--model", "old", "--out", str(taken), file]) == 0
    capsys.readouterr()
    judge = ["judge", str(taken), "--against", str(narrated), "--judge", "overlap", "--allow-mismatch", "--json"]
    assert main(judge) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["model"], figures["win_rate"], figures["ties"]) == ("old", 0.5, figures["pairs"])
    assert figures["pairs"] > 0


def test_outputs_are_not_taken_into_a_folder_in_use(narrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(narrated / "merged_result.jsonl")
    assert main([*IMPORT, "--model", "x", "--out", str(narrated), file]) == 2
    assert "not an empty folder" in capsys.readouterr().err


def test_baselines_of_one_name_keep_their_figures_apart(
    narrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two files of one name, the first judged once more: each has its own group, and the report says the same."""
    lines = [json.loads(line) for line in (narrated / "merged_result.jsonl").read_text().splitlines()]
    for name, response in (("same", None), ("mute", "")):
        for line in lines:
            for item in line["items"]:
                item["response"] = item["response"] if response is None else response
        (tmp_path / name).mkdir()
        (tmp_path / name / "out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    printed = []
    for name in ("same", "mute", "same"):
        judge = ["judge", str(narrated), "--against", str(tmp_path / name / "out.jsonl"), "--judge", "overlap"]
        assert main([*judge, "--json"]) == 0
        figures = json.loads(capsys.readouterr().out)
        printed.append((figures["baseline"], figures["win_rate"]))
    (first, tie), (second, win), again = printed
    assert (first, tie, win) == ("out", 0.5, 1.0)
    assert again == (first, tie)
    assert second.startswith("out-")
    rates = {m.group: m.value for m in read_run(narrated).metrics.metrics if m.name == "win_rate"}
    assert rates == {"vs out, judge overlap": 0.5, f"vs {second}, judge overlap": 1.0}
    contested = {one.baseline: win_rate(one.counted()).value for one in contests(read_run(narrated).verdicts)}
    assert contested == {"out": 0.5, second: 1.0}


def test_the_originals_result_file_is_called_by_its_folder(
    narrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "livecc").mkdir()
    file = tmp_path / "livecc" / "merged_result.jsonl"
    file.write_bytes((narrated / "merged_result.jsonl").read_bytes())
    assert main(["judge", str(narrated), "--against", str(file), "--judge", "overlap", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["baseline"] == "livecc"
