"""The front door: fast, light, and one JSON object where one is asked for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit.cli.main import EXIT_CODES

Call = Callable[..., tuple[int, str, str]]
HELP = "import sys; from evalkit.cli.main import main; main(['--help']); "


def test_help_imports_nothing_heavy() -> None:
    check = (
        HELP + "sys.exit(', '.join({'torch', 'transformers', 'pydantic', 'numpy', 'av'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
    assert "run a model on a task" in done.stdout


@pytest.mark.parametrize("words", [["list", "tasks"], ["list", "models"], ["run", "--help"]])
def test_what_needs_no_network_imports_no_torch(words: list[str]) -> None:
    check = f"import sys; from evalkit.cli.main import main; main({words!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, check=False).returncode == 0


def test_without_a_command_the_overview_is_shown(evalkit: Call) -> None:
    code, out, err = evalkit()
    assert (code, err) == (0, "")
    assert "commands:" in out
    assert evalkit("--version")[1].startswith("evalkit ")


def test_the_overview_tells_every_exit_code_apart(evalkit: Call) -> None:
    lines = evalkit("--help")[1].partition("exit codes:")[2].splitlines()
    codes = {int(code): meaning for code, _, meaning in (line.strip().partition("  ") for line in lines if line)}
    assert codes == EXIT_CODES
    assert set(codes) == {0, 1, 2, 3, 4, 70, 130}
    assert len(set(codes.values())) == 7


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("tasks", {"inf-streams"}),
        ("models", {"full", "sliding", "sliding-chunked", "streamingvlm"}),
        ("judges", {"openai", "overlap"}),
        ("compressors", {"cacher", "pruner", "stc"}),
    ],
)
def test_list_names_what_there_is_with_a_line_each(what: str, names: set[str], evalkit: Call) -> None:
    code, out, err = evalkit("list", what)
    assert (code, err) == (0, "")
    assert names <= {line.split()[0] for line in out.splitlines()}
    code, out, err = evalkit("list", what, "--json")
    assert (code, err) == (0, "")
    (rows,) = json.loads(out).values()
    assert names <= {row["name"] for row in rows}
    assert all(row["summary"] for row in rows)


@pytest.mark.parametrize("command", ["run", "judge", "list", "data", "bench", "demo", "score", "report", "plot"])
def test_every_command_explains_itself(command: str, evalkit: Call) -> None:
    code, out, err = evalkit(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: evalkit {command}")
    assert "--" in out


def test_a_dry_run_says_what_would_run_and_writes_nothing(small_data: Path, tmp_path: Path, evalkit: Call) -> None:
    words = ("run", "--task", "inf-streams", "--model", "sliding", "--data", small_data, "--dry-run")
    settings = ("--set", "start_seconds=5", "--set", "vision_window=4", "--checkpoint", "tiny")
    code, out, err = evalkit(*words, *settings, "--json")
    assert (code, err) == (0, "")
    plan = json.loads(out)
    assert plan["samples"] == 1
    assert plan["stream_seconds"] == 20
    assert "vision_window=4" in plan["memory"]
    assert re.fullmatch(r"\d+ tokens before match\S*, all of which stay in the context", plan["previous_text"])
    assert plan["problems"] == []
    assert plan["free_disk_gib"] > 0
    code, out, err = evalkit(*words, *settings)
    assert (code, err) == (0, "")
    assert "stream_seconds  20" in out
    assert not list(tmp_path.iterdir())


def test_a_run_with_json_prints_one_object_and_nothing_else(
    small_data: Path, tmp_path: Path, evalkit: Call
) -> None:
    words = ("run", "--task", "inf-streams", "--model", "full", "--checkpoint", "tiny", "--data", small_data)
    code, out, _ = evalkit(*words, "--set", "start_seconds=5", "--out", "run", "--json")
    assert code == 0
    assert out.count("\n") == 1
    result = json.loads(out)
    assert result["folder"] == "run"
    assert result["status"] == "done"
    assert result["failed"] == []
    on_disk = json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]
    assert result["metrics"] == on_disk
    code, out, _ = evalkit("judge", "run", "--against", "run", "--judge", "overlap", "--json")
    assert code == 0
    assert out.count("\n") == 1
    wanted = {
        "pairs",
        "verdicts",
        "win_rate",
        "win_rate_votes",
        "decided_win_rate",
        "ties",
        "invalid",
        "consistency",
    }
    assert wanted | {"first_slot_rate", "interval", "clusters", "judge", "usage"} <= json.loads(out).keys()


def test_data_check_counts_items_and_names_problems_by_line(
    small_data: Path, tmp_path: Path, evalkit: Call
) -> None:
    code, out, err = evalkit("data", "check", "--task", "inf-streams", "--data", small_data, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["problems"] == []
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for path in small_data.iterdir():
        (wrong / path.name).symlink_to(path) if path.is_dir() else (wrong / path.name).write_bytes(
            path.read_bytes()
        )
    with (wrong / "eval_all_metadata.jsonl").open("a") as file:
        file.write('{"video": 7}\n')
    code, _, err = evalkit("data", "check", "--task", "inf-streams", "--data", wrong)
    assert code == 1
    assert "eval_all_metadata.jsonl:2" in err


def test_the_package_can_be_run_as_a_module() -> None:
    words = [sys.executable, "-W", "error", "-m", "evalkit", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("evalkit ")
