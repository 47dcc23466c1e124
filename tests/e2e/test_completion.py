"""A shell completes commands, options, and the names that exist here."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def completions(tmp_path: Path, plain_environment: dict[str, str]) -> Callable[[str], list[str]]:
    """Asks as a bash that has the completion would."""

    def ask(line: str) -> list[str]:
        offered = tmp_path / "offered"
        asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n"}
        environment = plain_environment | asked | {"_ARGCOMPLETE_STDOUT_FILENAME": str(offered)}
        start = "from evalkit.cli.main import main; main()"
        subprocess.run(
            [sys.executable, "-c", start], env=environment, capture_output=True, timeout=60, check=False
        )
        return [word.strip() for word in offered.read_text().splitlines()]

    return ask


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("evalkit comp", ["compare", "completion"]),
        ("evalkit run --task ovobench --model streamingvlm --set memory.text_", None),
        ("evalkit run --task ovobench --protocol o", ["official"]),
        ("evalkit score --task longvideobench --format s", ["submission"]),
    ],
)
def test_a_line_goes_on_with_what_exists(
    line: str, offered: list[str] | None, completions: Callable[[str], list[str]]
) -> None:
    found = completions(line)
    if offered is None:
        assert {"memory.text_sink=", "memory.text_window="} <= set(found)
    else:
        assert found == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_what_it_evaluates(shell: str, evalkit: Call) -> None:
    code, out, err = evalkit("completion", shell)
    assert (code, err) == (0, "")
    assert "_ARGCOMPLETE" in out
