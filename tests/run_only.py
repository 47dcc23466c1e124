"""Runs by the words of the command line, without the report that a run ends with."""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.cli import run as cli
from evalkit.errors import EvalkitError
from evalkit.run.plan import make_plan
from evalkit.run.runner import execute


def run_only(*words: str | Path) -> tuple[int, str, str]:
    """Do what ``evalkit run`` does but for the report, which most of these tests do not look at."""
    parser = argparse.ArgumentParser()
    cli.configure(parser)
    notes: list[str] = []
    try:
        result = execute(
            make_plan(cli.options_of(parser.parse_args([str(word) for word in words[1:]]))), notes.append
        )
    except EvalkitError as error:
        return 2, "", f"evalkit: {error}\n"
    return 130 if result.interrupted else 3 if result.manifest.failed else 0, "", "\n".join(notes)
