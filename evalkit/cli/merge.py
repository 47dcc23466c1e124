"""Put the shards of a run together, as ``evalkit run --shard I/N`` left them on machines or in a Slurm array."""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
from pathlib import Path

from evalkit.cli.main import EXIT_DONE, EXIT_FAILED_SAMPLES
from evalkit.cli.output import emit_json, note, say


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, every shard once")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="run folder to make")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")


def run(args: argparse.Namespace) -> int:
    """Merge and report.

    Returns:
        0, or 3 where samples failed.
    """
    from evalkit.cli.run import terminal_report
    from evalkit.run.finish import finish_run
    from evalkit.run.merge import merge_runs

    folder = merge_runs(args.runs, args.out)
    finish_run(folder.path)
    manifest = folder.read_manifest()
    if args.json:
        emit_json(
            {
                "folder": str(folder.path),
                "samples": len(manifest.planned),
                "failed": [failure.model_dump() for failure in manifest.failed],
                "fingerprint": manifest.fingerprint_digest,
            }
        )
    else:
        say(terminal_report([folder.path]))
        say(f"run folder: {folder.path}")
    if manifest.failed:
        note(f"{len(manifest.failed)} of {len(manifest.planned)} samples failed")
    return EXIT_FAILED_SAMPLES if manifest.failed else EXIT_DONE
