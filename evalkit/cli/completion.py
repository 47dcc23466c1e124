"""Let a shell complete commands, options, and the names that tasks, models, compressors and settings have here."""

from __future__ import annotations

__all__ = ["complete", "configure", "run"]

import argparse
import typing
from collections.abc import Callable, Iterable
from typing import Any

from evalkit.cli.listing import protocols_of
from evalkit.cli.main import COMMANDS, EXIT_DONE, add_arguments, with_actions
from evalkit.cli.output import say

Completer = Callable[..., Iterable[str]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the shell."""
    parser.add_argument(
        "shell", choices=("bash", "zsh", "fish"), help='such as: eval "$(evalkit completion bash)"'
    )


def run(args: argparse.Namespace) -> int:
    """Print what the shell has to evaluate."""
    from argcomplete.shell_integration import shellcode

    say(shellcode(["evalkit"], shell=args.shell))
    return EXIT_DONE


def complete() -> None:
    """Answer the shell that asks how its line could go on, and end the process."""
    import argcomplete

    argcomplete.autocomplete(parser_of_all())


def parser_of_all() -> argparse.ArgumentParser:
    """Return one parser of every command, whose options know what may stand behind them."""
    front = argparse.ArgumentParser(prog="evalkit")
    front.add_argument("--version", action="store_true")
    front.add_argument("--debug", action="store_true")
    commands = front.add_subparsers()
    for name, (_, summary) in COMMANDS.items():
        parser = commands.add_parser(name, help=summary.replace("%", "%%"))
        add_arguments(parser, name)
        for one in with_actions(parser):
            _know_names(one, name)
    return front


def _know_names(parser: argparse.ArgumentParser, command: str) -> None:
    for action in parser._actions:
        completer = _COMPLETERS.get(action.dest)
        if completer is not None and action.option_strings:
            action.completer = completer  # type: ignore[attr-defined]
        elif command == "run" and (words := _literal(action.dest)):
            action.completer = lambda words=words, **_: words  # type: ignore[attr-defined]
        elif command == "score" and action.dest == "format":
            action.completer = _formats  # type: ignore[attr-defined]
        elif command == "list" and action.dest == "name":
            action.completer = _listed  # type: ignore[attr-defined]


def _literal(name: str) -> tuple[str, ...]:
    """Return the words an option of a run can take, where they are few and fixed."""
    from evalkit.run.options import RunOptions

    field = RunOptions.model_fields.get(name)
    return (
        typing.get_args(field.annotation)
        if field and typing.get_origin(field.annotation) is typing.Literal
        else ()
    )


def _tasks(**_: Any) -> list[str]:
    from evalkit.tasks.catalog import TASKS

    return TASKS.names()


def _models(**_: Any) -> list[str]:
    from evalkit.models.catalog import MODELS

    return MODELS.names()


def _compressors(**_: Any) -> list[str]:
    from evalkit.compress import PRESETS, compressor_kinds

    return sorted({*compressor_kinds(), *PRESETS})


def _judges(**_: Any) -> list[str]:
    from evalkit.judge import judge_names

    return [f"{name}:" if name == "openai" else name for name in judge_names()]


def _data(prefix: str, **_: Any) -> list[str]:
    from argcomplete.completers import DirectoriesCompleter

    return ["demo", *DirectoriesCompleter()(prefix)]


def _protocols(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    from evalkit.tasks.catalog import task_named

    if not parsed_args.task:
        return []
    return protocols_of(task_named(parsed_args.task).settings)


def _formats(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    from evalkit.tasks.catalog import task_named

    task = getattr(parsed_args, "task", None)
    return list(task_named(task).formats) if task else []


def _settings(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Return every ``group.key=`` of the task and the model that stand on the line already."""
    from evalkit.models.catalog import catalog
    from evalkit.settings import describe_settings
    from evalkit.tasks.catalog import task_named

    lines = []
    if getattr(parsed_args, "task", None):
        lines += describe_settings({"task": task_named(parsed_args.task).settings}, {})
    if getattr(parsed_args, "model", None):
        entry = catalog(parsed_args.model)
        lines += describe_settings(entry.groups, entry.defaults)
    return [f"{line.key}=" for line in lines]


def _listed(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    return {"models": _models, "tasks": _tasks}.get(parsed_args.what, list)()


_COMPLETERS: dict[str, Completer] = {
    "task": _tasks,
    "model": _models,
    "compress": _compressors,
    "judge": _judges,
    "data": _data,
    "protocol": _protocols,
    "set": _settings,
}
"""By the name of an option: what may stand behind it."""
