"""One request that is several runs: other seeds of one model, or one or two settings timed in turns.

Each run is a run folder like any other. They lie side by side in one folder with nothing else in it, which every
reader takes in place of a run (`evalkit.records.run_folders`):

* ``--seeds 3``: ``OUT/seed-42``, ``OUT/seed-43``, ``OUT/seed-44``
* ``--repeat 3``: ``OUT/run-1``, ``OUT/run-2``, ``OUT/run-3``
* ``--repeat 3 --beside B.toml``: ``OUT/a/run-1``, ``OUT/b/run-1``, ``OUT/a/run-2`` ... in this order, so that a
  drift of the machine meets both sides alike
"""

from __future__ import annotations

__all__ = ["is_finished", "is_several", "placed", "single_runs"]

import datetime
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.records import RunFolder, read_run
from evalkit.run.options import RunOptions, merge_options, read_config


def is_several(options: RunOptions) -> bool:
    """Say whether options ask for more than one run."""
    return options.seeds is not None or options.repeat is not None or options.beside is not None


def single_runs(options: RunOptions) -> list[RunOptions]:
    """Return the runs that options ask for, in the order in which they are to run.

    With ``resume`` those that are finished are left out, and only those that were begun are gone on with.

    Raises:
        UsageError: Options that do not go together, a second side that changes nothing, a folder that holds a run,
            or nothing left to do.
    """
    if options.seeds is not None and (options.repeat is not None or options.beside is not None):
        raise UsageError("--seeds is for scores, --repeat and --beside are for speed: ask for one of the two")
    if options.beside is not None and options.repeat is None:
        raise UsageError("--beside wants --repeat N: how often the two run in turns")
    if options.resume and options.out is None:
        raise UsageError("--resume of several runs wants their folder: --out")
    parent = Path(options.out) if options.out else _default(options)
    if RunFolder(parent).manifest_path.exists():
        raise UsageError(f"{parent} is a run: several runs go into a folder of their own")
    one = options.model_copy(update={"seeds": None, "repeat": None, "beside": None})
    if options.seeds is not None:
        seeds = range(options.seed, options.seed + options.seeds)
        runs = [placed(one, parent / f"seed-{seed}", seed=seed) for seed in seeds]
    else:
        sides = {"": one} if options.beside is None else {"a": one, "b": _beside(one, Path(options.beside))}
        turns = range(1, (options.repeat or 0) + 1)
        runs = [placed(side, parent / name / f"run-{turn}") for turn in turns for name, side in sides.items()]
    left = [run for run in runs if not (options.resume and is_finished(Path(run.out or "")))]
    if not left:
        raise UsageError(f"all {len(runs)} runs in {parent} are finished: nothing to resume")
    return left


def _default(options: RunOptions) -> Path:
    kind = "seeds" if options.seeds is not None else "repeats"
    return (
        Path("runs")
        / options.task
        / options.model
        / f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}-{kind}"
    )


def placed(options: RunOptions, out: Path, **changes: Any) -> RunOptions:
    """Return the options of a run that is to lie in a folder, and to go on there where it was begun.

    Args:
        options: Of the run.
        out: The folder.
        **changes: What else is its own, such as ``seed``.
    """
    begun = options.resume and RunFolder(out).manifest_path.exists()
    return options.model_copy(update={"out": str(out), "resume": begun, **changes})


def _beside(options: RunOptions, path: Path) -> RunOptions:
    """Return the second side: the options of the first with those of a TOML file laid over them."""
    names = [name for name in RunOptions.model_fields if name != "settings"]
    changes = read_config(path, names, "--beside")
    odd = sorted(
        set(changes) & {"task", "data", "out", "seeds", "repeat", "beside", "resume", "dry_run", "limit", "sample"}
    )
    if odd:
        raise UsageError(
            f"--beside {path}: {', '.join(odd)} must be the same on both sides; name what differs only"
        )
    merged = merge_options([options.model_dump(), changes])
    if merged == options:
        raise UsageError(f"--beside {path} changes nothing: both sides would be the same")
    return merged


def is_finished(path: Path) -> bool:
    """Whether a folder holds a run that has all its records and was reported."""
    folder = RunFolder(path)
    if not folder.manifest_path.exists() or folder.read_manifest().status != "done" or not folder.reported:
        return False
    return not read_run(path, ticks=False).missing
