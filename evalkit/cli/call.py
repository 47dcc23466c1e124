"""Any command of the command line as a call in Python: same options, same figures, errors as exceptions."""

from __future__ import annotations

__all__ = ["CommandResult", "command"]

import argparse
import contextlib
import io
import json
from collections.abc import Iterator
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
    line = [*map(str, words), *_flags(parser, options)]
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            args = _parse(parser, line)
            code = int(module.run(args))
    except SystemExit as stop:  # an option that prints something and ends, such as --example
        return CommandResult(int(stop.code or 0), None, out.getvalue())
    text = out.getvalue()
    values = json.loads(text) if getattr(args, "json", False) else None
    return CommandResult(code, values, "" if values is not None else text)


def _flags(parser: argparse.ArgumentParser, options: dict[str, object]) -> Iterator[str]:
    """Yield options as on the command line: once with every value, or once for each, as the option takes it."""
    from evalkit.cli.main import with_actions

    actions = [action for one in with_actions(parser) for action in one._actions]
    several = {flag for action in actions if action.nargs in ("+", "*") for flag in action.option_strings}
    for option, value in options.items():
        flag = "--" + option.replace("_", "-")
        if value is True:
            yield flag
        elif value is not None and value is not False:
            values = [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]
            if flag in several:
                yield from [flag, *values]
            else:
                yield from (word for one in values for word in (flag, one))


def _parse(parser: argparse.ArgumentParser, line: list[str]) -> argparse.Namespace:
    try:
        return parser.parse_args([*line, "--json"])
    except UsageError:  # a command that prints no JSON, or an option that is wrong either way
        return parser.parse_args(line)
