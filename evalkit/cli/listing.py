"""List tasks, models, judges or compressors; of one model, what it can and every setting."""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
import dataclasses
from typing import TYPE_CHECKING

from evalkit.cli.main import EXIT_DONE
from evalkit.cli.output import emit_json, say

if TYPE_CHECKING:
    from evalkit.models.protocol import Capabilities


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("what", choices=("tasks", "models", "judges", "compressors"))
    parser.add_argument("name", nargs="?", metavar="NAME", help="of models: show this one with its settings")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")


def run(args: argparse.Namespace) -> int:
    """Print what there is."""
    if args.name is not None:
        return _show_model(args)
    rows = {"tasks": _tasks, "models": _models, "judges": _judges, "compressors": _compressors}[args.what]()
    if args.json:
        emit_json({args.what: [{"name": name, "summary": text} for name, text in rows.items()]})
    else:
        width = max(map(len, rows), default=0)
        for name, text in rows.items():
            say(f"{name:<{width}}  {text}")
    return EXIT_DONE


def _show_model(args: argparse.Namespace) -> int:
    from evalkit.errors import UsageError
    from evalkit.models.catalog import catalog
    from evalkit.settings import describe_settings

    if args.what != "models":
        raise UsageError(f"evalkit list {args.what} takes no name: it shows all there are")
    entry = catalog(args.name)
    lines = describe_settings(entry.groups, entry.defaults)
    can = _capabilities(entry.capabilities)
    if args.json:
        emit_json(
            {
                "name": args.name,
                "summary": entry.summary,
                "checkpoint": entry.default_checkpoint,
                "capabilities": dataclasses.asdict(entry.capabilities),
                "settings": [dataclasses.asdict(line) for line in lines],
            }
        )
        return EXIT_DONE
    say(f"{args.name}: {entry.summary}")
    say(f"checkpoint: {entry.default_checkpoint or 'none of its own'}")
    say(f"can: {can}")
    if not lines:
        say("settings: none")
        return EXIT_DONE
    say("\nsettings (--set KEY=VALUE):")
    rows = [(line.key, line.kind, line.default, line.meaning) for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for key, kind, default, meaning in rows:
        say(f"  {key:<{widths[0]}}  {kind:<{widths[1]}}  {default:<{widths[2]}}  {meaning}".rstrip())
    return EXIT_DONE


def _capabilities(can: Capabilities) -> str:
    """Return what a model can, in words."""
    narrates = {"seconds": "narrate every second", "windows": "narrate each scored window", None: ""}[can.narrate]
    streams = "any number of streams at once" if can.streams is None else f"{can.streams} streams at once"
    parts = [
        narrates,
        "answer questions" if can.answer else "",
        "compare options by logits" if can.options else "",
        "take a whole clip" if can.whole_clip else "",
        streams if can.streams != 1 else "",
    ]
    return ", ".join(part for part in parts if part)


def _tasks() -> dict[str, str]:
    from evalkit.errors import UsageError
    from evalkit.tasks.catalog import TASKS, task_named

    def summary(name: str) -> str:
        try:
            return task_named(name).summary
        except UsageError as error:  # somebody else's package: the others are listed all the same
            return f"cannot be used: {error}"

    return {name: summary(name) for name in TASKS.names()}


def _models() -> dict[str, str]:
    from evalkit.models.catalog import MODELS, catalog

    return {name: catalog(name).summary for name in MODELS.names()}


def _judges() -> dict[str, str]:
    from evalkit.judge import judge_names

    known = {"openai": "openai:MODEL, any OpenAI-compatible server", "overlap": "reference overlap, not an LLM"}
    return {name: known.get(name, "from another package") for name in judge_names()}


def _compressors() -> dict[str, str]:
    from evalkit.compress import PRESETS, compressor_kinds

    kinds = {name: kind.summary for name, kind in compressor_kinds().items()}
    return kinds | {name: f"preset: {spec}" for name, spec in PRESETS.items()}
