"""List tasks, models, judges or compressors; of one task or model, what it can and every setting."""

from __future__ import annotations

__all__ = ["configure", "protocols_of", "run"]

import argparse
import dataclasses
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.cli.main import EXIT_DONE
from evalkit.cli.output import emit_json, say

if TYPE_CHECKING:
    from evalkit.models.protocol import Capabilities
    from evalkit.settings import SettingLine


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("what", choices=("tasks", "models", "judges", "compressors"))
    parser.add_argument("name", nargs="?", metavar="NAME", help="of tasks or models: show this one")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")


def run(args: argparse.Namespace) -> int:
    """Print what there is."""
    if args.name is not None:
        from evalkit.errors import UsageError

        if args.what not in ("models", "tasks"):
            raise UsageError(f"evalkit list {args.what} takes no name: it shows all there are")
        return _show_model(args) if args.what == "models" else _show_task(args)
    rows = {"tasks": _tasks, "models": _models, "judges": _judges, "compressors": _compressors}[args.what]()
    if args.json:
        emit_json({args.what: [{"name": name, "summary": text} for name, text in rows.items()]})
    else:
        width = max(map(len, rows), default=0)
        for name, text in rows.items():
            say(f"{name:<{width}}  {text}")
    return EXIT_DONE


def _show_task(args: argparse.Namespace) -> int:
    """Print what a task asks, its protocols, its settings and the layouts of predictions it reads."""
    from evalkit.settings import describe_settings
    from evalkit.tasks.catalog import task_named

    task = task_named(args.name)
    lines = describe_settings({"task": task.settings}, {})
    protocols = protocols_of(task.settings)
    if args.json:
        emit_json(
            {
                "name": task.name,
                "summary": task.summary,
                "protocols": protocols,
                "formats": list(task.formats),
                "settings": [dataclasses.asdict(line) for line in lines],
            }
        )
        return EXIT_DONE
    say(f"{task.name}: {task.summary}")
    say(f"--protocol: {', '.join(protocols) if protocols else 'it has one'}")
    say(f"evalkit score --format: {', '.join(task.formats) if task.formats else 'judged, not scored'}")
    _say_settings(lines)
    return EXIT_DONE


def _show_model(args: argparse.Namespace) -> int:
    from evalkit.models.catalog import catalog
    from evalkit.settings import describe_settings

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
    _say_settings(lines)
    return EXIT_DONE


def _say_settings(lines: Sequence[SettingLine]) -> None:
    if not lines:
        say("settings: none")
        return
    say("\nsettings (--set KEY=VALUE):")
    rows = [(line.key, line.kind, line.default, line.meaning) for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for key, kind, default, meaning in rows:
        say(f"  {key:<{widths[0]}}  {kind:<{widths[1]}}  {default:<{widths[2]}}  {meaning}".rstrip())


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
        "several streams as one batch (--streams)" if can.together else "",
    ]
    return ", ".join(part for part in parts if part)


def protocols_of(settings: type[Any]) -> list[str]:
    """Return the words that ``--protocol`` takes for a task's settings; none where it has one protocol."""
    field = settings.model_fields.get("protocol")
    return [] if field is None else [str(word) for word in typing.get_args(field.annotation)]


def _tasks() -> dict[str, str]:
    from evalkit.tasks.catalog import TASKS, task_named

    return _summaries(TASKS.names(), lambda name: task_named(name).summary)


def _models() -> dict[str, str]:
    from evalkit.models.catalog import MODELS, catalog

    return _summaries(MODELS.names(), lambda name: catalog(name).summary)


def _summaries(names: Iterable[str], summary: Callable[[str], str]) -> dict[str, str]:
    """Return a line for each name; one that cannot be loaded is listed with the reason, and hides no other."""
    from evalkit.cli.faults import describe_fault
    from evalkit.errors import EvalkitError

    found = {}
    for name in names:
        try:
            found[name] = summary(name)
        except EvalkitError as error:
            found[name] = f"BROKEN: {error}"
        except Exception as error:
            found[name] = f"BROKEN: {describe_fault(error)}"
    return found


def _judges() -> dict[str, str]:
    from evalkit.judge import judge_names

    known = {"openai": "openai:MODEL, any OpenAI-compatible server", "overlap": "reference overlap, not an LLM"}
    return {name: known.get(name, "from another package") for name in judge_names()}


def _compressors() -> dict[str, str]:
    from evalkit.compress import PRESETS, broken_compressors, compressor_kinds

    kinds = {name: kind.summary for name, kind in compressor_kinds().items()}
    kinds |= {name: f"BROKEN: {why}" for name, why in broken_compressors().items() if name not in kinds}
    return kinds | {name: f"preset: {spec}" for name, spec in PRESETS.items()}
