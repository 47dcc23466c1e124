"""List tasks, models, judges or compressors."""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse

from evalkit.cli.main import EXIT_DONE
from evalkit.cli.output import emit_json, say


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("what", choices=("tasks", "models", "judges", "compressors"))
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")


def run(args: argparse.Namespace) -> int:
    """Print what there is."""
    rows = {"tasks": _tasks, "models": _models, "judges": _judges, "compressors": _compressors}[args.what]()
    if args.json:
        emit_json({args.what: [{"name": name, "summary": text} for name, text in rows.items()]})
    else:
        width = max(map(len, rows), default=0)
        for name, text in rows.items():
            say(f"{name:<{width}}  {text}")
    return EXIT_DONE


def _tasks() -> dict[str, str]:
    from evalkit.tasks.catalog import TASKS

    return {name: TASKS.get(name).summary for name in TASKS.names()}


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
