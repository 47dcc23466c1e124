"""The workflow that `evalkit gate --example` prints: valid, and every evalkit command in it is one that exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import yaml

import evalkit as library
from evalkit.cli.main import command_of

Call = Callable[..., tuple[int, str, str]]


def test_it_needs_no_other_option_and_its_commands_are_evalkits_own(evalkit: Call) -> None:
    code, out, err = evalkit("gate", "--example", "github")
    assert (code, err) == (0, "")
    workflow = yaml.safe_load(out)
    steps = workflow["jobs"]["gate"]["steps"]
    text = "\n".join(step["run"] for step in steps if "run" in step).replace("\\\n", " ")
    for name, value in workflow["env"].items():
        text = text.replace(f"${name}", value)
    commands = re.findall(r"bin/evalkit (\w+) ([^>|\n]+)", text)
    assert [name for name, _ in commands] == ["run", "run", "gate", "report"]
    for name, words in commands:
        command_of(name)[1].parse_args(shlex.split(words))


def test_python_gets_it_too_and_several_runs_of_a_side_go_behind_one_option() -> None:
    called = library.command("gate", example="github")
    assert (called.code, called.values) == (0, None)
    assert called.text.startswith("# Gate a model of your own")
