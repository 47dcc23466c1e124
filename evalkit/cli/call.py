"""Any command of the command line as a call in Python: same options, same figures, errors as exceptions."""

from __future__ import annotations

__all__ = ["CommandResult", "command"]

import contextlib
import io
import json
from dataclasses import dataclass
from typing import Any

from evalkit.errors import UsageError, suggest


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command gave.

    Args:
        code: Its exit code; see ``evalkit --help``.
        values: What it prints under ``--json``; ``None`` for a command that has no such option.
        text: What it printed otherwise.
    """

    code: int
    values: dict[str, Any] | None
    text: str


def command(name: str, *words: object, **options: object) -> CommandResult:
    """Do what ``evalkit NAME WORDS --OPTIONS`` does, and return what it would have printed.

    Args:
        name: A command of ``evalkit --help``, such as ``compare``.
        words: What stands without a ``--``: run folders, an action.
        options: By name, with ``_`` for ``-``; ``True`` for a flag, a list for one that is given several times.

    Returns:
        Exit code and figures. Warnings go to stderr as ever.

    Raises:
        UsageError: There is no such command or option, or it does not fit.
        EvalkitError: Whatever the command refuses with.
    """
    from evalkit.cli.main import COMMANDS, command_of

    if name not in COMMANDS:
        raise UsageError(f"unknown command {name!r}{suggest(name, COMMANDS)}")
    module, parser = command_of(name)
    line = [str(word) for word in words]
    for option, value in options.items():
        flag = "--" + option.replace("_", "-")
        if value is True:
            line.append(flag)
        elif value is not None and value is not False:
            for one in value if isinstance(value, list | tuple) else [value]:
                line += [flag, str(one)]
    try:
        args = parser.parse_args([*line, "--json"])
    except UsageError:  # a command that prints no JSON, or an option that is wrong either way
        args = parser.parse_args(line)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = int(module.run(args))
    text = out.getvalue()
    values = json.loads(text) if getattr(args, "json", False) else None
    return CommandResult(code, values, "" if values is not None else text)
