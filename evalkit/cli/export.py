"""Write a checkpoint as a folder of transformers' files, with everything that a server such as vLLM reads.

Built-in checkpoints become folders this way; tiny-wide and tiny-llava-wide have heads that servers' kernels take.
"""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
from pathlib import Path

from evalkit.cli.main import EXIT_DONE
from evalkit.cli.output import say


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to make")
    parser.add_argument("--checkpoint", required=True, help="hub id, folder, or a built-in name such as tiny-wide")
    parser.add_argument("--format", choices=("hf",), default="hf", help="layout of the files (default hf)")


def run(args: argparse.Namespace) -> int:
    """Write the folder and name it."""
    from evalkit.models.export import export_checkpoint

    say(f"checkpoint: {export_checkpoint(args.checkpoint, Path(args.out))}")
    return EXIT_DONE
