"""The command line's front door: picks a command, imports only that one, and turns errors into exit codes."""

from __future__ import annotations

__all__ = [
    "COMMANDS",
    "EXIT_CANNOT_TELL",
    "EXIT_CHECK_FAILED",
    "EXIT_CODES",
    "EXIT_DONE",
    "EXIT_FAILED_SAMPLES",
    "EXIT_FAULT",
    "EXIT_INTERRUPTED",
    "EXIT_USAGE",
    "Parser",
    "add_arguments",
    "command_of",
    "main",
    "with_actions",
]

import argparse
import importlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from evalkit.env import completing

EXIT_DONE, EXIT_CHECK_FAILED, EXIT_USAGE, EXIT_FAILED_SAMPLES, EXIT_CANNOT_TELL = 0, 1, 2, 3, 4
EXIT_FAULT, EXIT_INTERRUPTED = 70, 130

EXIT_CODES: dict[int, str] = {
    EXIT_DONE: "done; a gate passed",
    EXIT_CHECK_FAILED: "a gate or a check failed",
    EXIT_USAGE: "wrong use or bad input; one line says what to do",
    EXIT_FAILED_SAMPLES: "finished, with failed samples",
    EXIT_CANNOT_TELL: "a gate cannot tell: too few videos, or too few repeated runs",
    EXIT_FAULT: "a fault in evalkit or in a plug-in; one line says where, --debug shows the traceback",
    EXIT_INTERRUPTED: "interrupted; what is on record is kept",
}
"""What each exit code means, for every command."""

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("evalkit.cli.run", "run a model on a task and leave a run folder"),
    "lab": ("evalkit.cli.lab", "run several models on the same samples, compare, rank and report them"),
    "merge": ("evalkit.cli.merge", "put the shards of a run together"),
    "judge": ("evalkit.cli.judge", "judge a run against another, or analyse recorded votes"),
    "score": ("evalkit.cli.score", "score prediction files or a run"),
    "rescore": ("evalkit.cli.rescore", "score runs again from their records, old and new side by side"),
    "compare": ("evalkit.cli.compare", "compare runs on the same questions, clustered by video"),
    "rank": ("evalkit.cli.rank", "rank models by the verdicts of several judged runs"),
    "power": ("evalkit.cli.power", "how many videos an effect needs, from a pilot run"),
    "bench": ("evalkit.cli.bench", "measure latency and memory per second on synthetic frames"),
    "replay": ("evalkit.cli.replay", "put recorded runs behind a clock: lag, backlog, missed deadlines"),
    "report": ("evalkit.cli.report", "write one HTML page of runs"),
    "view": ("evalkit.cli.view", "serve a run's page with its videos on this machine"),
    "plot": ("evalkit.cli.plot", "draw figures of runs, with their data"),
    "leaderboard": ("evalkit.cli.leaderboard", "add, render and diff leaderboard entries"),
    "gate": ("evalkit.cli.gate", "fail only if a run is worse than a base by more than a margin"),
    "export": ("evalkit.cli.export", "write a checkpoint as a folder that a server can load"),
    "list": ("evalkit.cli.listing", "list tasks, models, judges or compressors"),
    "data": ("evalkit.cli.data", "fetch, verify, check, make up and export a benchmark's files"),
    "completion": ("evalkit.cli.completion", "print what makes a shell complete evalkit's words"),
    "demo": (
        "evalkit.cli.demo",
        "four memory policies narrate made-up matches with a small model that has learnt them",
    ),
}
"""Module and one-line summary of each command. A module has ``configure(parser)`` and ``run(args) -> int``."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line, with a suggestion for a mistyped option."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong instead of printing the usage."""
        from evalkit.errors import UsageError, suggest

        options = [option for action in self._actions for option in action.option_strings]
        words = message.removeprefix("unrecognized arguments: ").split()
        hint = suggest(words[0].split("=")[0], options) if message.startswith("unrecognized") else ""
        raise UsageError(f"{message}{hint}; see {self.prog} --help")


def add_arguments(parser: argparse.ArgumentParser, name: str) -> Any:
    """Give a parser the arguments of a command.

    Args:
        parser: An empty parser.
        name: One of `COMMANDS`.

    Returns:
        The command's module, imported.
    """
    module = importlib.import_module(COMMANDS[name][0])
    module.configure(parser)
    return module


def with_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of its actions, such as ``leaderboard add``."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    codes = [f"  {code:>{width}}  {meaning}" for code, meaning in EXIT_CODES.items()]
    return "\n".join(
        ["commands:", *lines, "", "`evalkit COMMAND --help` explains a command.", "", "exit codes:", *codes]
    )


def _front_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="evalkit",
        description="Evaluate streaming video-language models second by second.",
        epilog=_overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a fault; any command takes it")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of the commands below")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments; those of the process by default.

    Returns:
        Exit code, see `EXIT_CODES`.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    words = [word for word in given if word != "--debug"]
    if completing():
        from evalkit.cli.completion import complete

        complete()
    if sys.stderr is None:  # closed by the caller, who wants no word
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if sys.stdout is None:
        return _complain("stdout is closed, so no result can be printed: send it to a file or to /dev/null")
    front = _front_parser()
    head, rest = words[:1], words[1:]
    from evalkit.errors import EvalkitError, NothingCountedError

    try:
        options = front.parse_args(head)
        if options.version:
            from evalkit import __version__

            sys.stdout.write(f"evalkit {__version__}\n")
            return EXIT_DONE
        if options.command is None:
            front.print_help()
            return EXIT_DONE
        return _dispatch(options.command, rest)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_USAGE
    except NothingCountedError as finding:
        return _notice(str(finding), as_json="--json" in rest)
    except EvalkitError as error:
        return _complain(str(error))
    except Exception as error:
        if "--debug" in given:
            raise
        from evalkit.cli.faults import describe_fault

        return _complain(f"{describe_fault(error)}; --debug shows the traceback", EXIT_FAULT)


def _dispatch(command: str, rest: list[str]) -> int:
    from evalkit.errors import suggest

    if command not in COMMANDS:
        return _complain(f"unknown command {command!r}{suggest(command, COMMANDS)}; see evalkit --help")
    try:
        return _run(command, rest)
    except KeyboardInterrupt:
        sys.stderr.write("evalkit: interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_DONE
    except OSError as error:
        if error.strerror is None:
            raise
        return _complain(f"{_meant(error.filename)}: {error.strerror}" if error.filename else error.strerror)


def _meant(name: object) -> str:
    """Return the file somebody asked for, where ``name`` is the part that is written before it is replaced."""
    return re.sub(r"(^|.*/)\.([^/]+)\.\d+\.part", r"\1\2", str(name))


def command_of(name: str) -> tuple[Any, Parser]:
    """Return a command's module, imported, and the parser of its arguments.

    Args:
        name: One of `COMMANDS`.
    """
    parser = Parser(
        prog=f"evalkit {name}", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    module = add_arguments(parser, name)
    parser.description = module.__doc__
    return module, parser


def _run(command: str, rest: list[str]) -> int:
    module, parser = command_of(command)
    code: int = module.run(parser.parse_args(rest))
    return code


def _notice(message: str, *, as_json: bool) -> int:
    """Say that there is no figure, and why; the command has done what could be done."""
    from evalkit.cli.output import emit_json, note

    if as_json:
        emit_json({"figure": None, "notice": message})
    note(f"NOTICE: no figure: {message}")
    return EXIT_DONE


def _complain(message: str, code: int = EXIT_USAGE) -> int:
    from evalkit.shown import shown_on_one_line

    sys.stderr.write(f"evalkit: {shown_on_one_line(message)}\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
