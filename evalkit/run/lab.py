"""Several models on the same samples: what runs, where it lies, and which runs go on side by side."""

from __future__ import annotations

__all__ = ["LAB_FILE", "LabRequest", "lab_runs", "read_lab", "run_lab", "write_lab"]

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalkit.errors import DataError, EvalkitError, UsageError
from evalkit.records import NotJsonError, RunFolder, decode_json, read_plain, write_atomic
from evalkit.run.fingerprint import model_fingerprint, setting_fingerprint
from evalkit.run.options import RunOptions
from evalkit.run.plan import RunPlan
from evalkit.run.several import is_finished, placed
from evalkit.run.start import start
from evalkit.run.stop import listening

LAB_FILE = "lab.json"
"""What was asked for, in the folder of all runs, so that a lab goes on without being told again."""
_OWN = ("model", "compress", "judge", "against", "out", "resume", "dry_run")


class LabRequest(BaseModel):
    """What `evalkit lab` was asked to do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[str, ...] = Field(min_length=1)
    compress: tuple[str, ...] = ()
    judge: str | None = None
    against: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)


def write_lab(out: Path, request: LabRequest, options: RunOptions) -> None:
    """Write down what was asked for.

    Args:
        out: Folder of all runs.
        request: What was asked for.
        options: Its options, which are those of every run.
    """
    plain = options.model_dump(mode="json", exclude_defaults=True, exclude_none=True, exclude=set(_OWN))
    if options.data not in (None, "demo"):
        plain["data"] = str(Path(options.data or "").resolve())  # found from any other place, too
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / LAB_FILE, request.model_copy(update={"options": plain}).model_dump_json(indent=1) + "\n")


def read_lab(out: Path) -> LabRequest:
    """Read what was asked for.

    Raises:
        UsageError: There is no lab to go on with.
        DataError: Its file cannot be read.
    """
    path = out / LAB_FILE
    if not path.exists():
        raise UsageError(f"{out} holds no lab to go on with")
    try:
        return LabRequest.model_validate(decode_json(read_plain(path)))
    except (NotJsonError, ValidationError) as error:
        raise DataError(f"{path} is not what evalkit lab wrote; start anew in another --out", path=path) from error


def lab_runs(request: LabRequest, options: RunOptions, out: Path) -> list[dict[str, RunOptions]]:
    """Return the runs, in rounds: those of one round have one seed and may go on side by side.

    Args:
        request: Which models, with which compression.
        options: What all runs have in common; with ``resume`` each goes on where it was begun.
        out: Folder of all runs.

    Returns:
        For each round the runs by label: the model, with its compression where there are several.

    Raises:
        UsageError: Two runs would be the same.
    """
    chosen = [(model, spec) for model in request.models for spec in request.compress or (None,)]
    several = len(request.compress) > 1
    labels = [_label(model, spec if several else None) for model, spec in chosen]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is named twice")
    one = options.model_copy(update={"seeds": None})
    seeds = [options.seed + number for number in range(options.seeds or 1)]
    return [
        {
            label: placed(
                one.model_copy(update={"model": model, **({} if spec is None else {"compress": spec})}),
                out / label if options.seeds is None else out / label / f"seed-{seed}",
                seed=seed,
            )
            for label, (model, spec) in zip(labels, chosen, strict=True)
        }
        for seed in seeds
    ]


def _label(model: str, compress: str | None) -> str:
    """Return a name that can be a folder's."""
    name = model if compress is None else f"{model}+{compress}"
    return re.sub(r"[^\w.+=-]+", "-", name).strip("-")


def run_lab(plans: Mapping[str, RunPlan], notify: Callable[[str], None]) -> tuple[dict[str, EvalkitError], bool]:
    """Run plans, side by side where they can take turns, one after the other where not; finished ones are left.

    A run on the wall clock cannot stand aside for others, and one with several samples on threads or in processes
    of their own takes no turns.

    Args:
        plans: By label.
        notify: Told warnings and failures, one line each.

    Returns:
        What runs ended with that could not go on, by label, and whether all were asked to stop.

    Raises:
        UsageError: A finished run is of another setting than is asked for.
    """
    from evalkit.run.side_by_side import SideBySide

    failed: dict[str, EvalkitError] = {}

    def tell(label: str, line: str) -> None:
        notify(f"{label}: {line}")

    left = {label: plan for label, plan in plans.items() if not _is_done(plan)}
    turns = {label: plan for label, plan in left.items() if _takes_turns(plan)}
    with listening() as stop:
        together = SideBySide(stop)

        def run(label: str, plan: RunPlan, *, beside: bool) -> None:
            around = together.surroundings(plan) if beside else together.alone()
            try:
                if start(plan, partial(tell, label), around).interrupted and not stop():
                    tell(label, "stopped: it goes on with --resume")
            except EvalkitError as error:
                failed[label] = error
                tell(label, f"failed: {error}")

        if len(turns) > 1:
            together.run([partial(run, label, plan, beside=True) for label, plan in turns.items()])
        for label, plan in left.items():
            if not stop() and not (len(turns) > 1 and label in turns):
                run(label, plan, beside=False)
        return failed, stop()


def _is_done(plan: RunPlan) -> bool:
    """Whether the run has ended already.

    Raises:
        UsageError: It did, in another setting.
    """
    path = Path(plan.options.out or "")
    if not is_finished(path):
        return False
    ran = RunFolder(path).read_manifest().fingerprint
    wanted = setting_fingerprint(plan) | model_fingerprint(plan)
    differing = sorted(key for key, value in wanted.items() if ran.get(key) != value)
    if differing:
        was = ", ".join(f"{key}={ran.get(key)!r} (now {wanted[key]!r})" for key in differing[:3])
        raise UsageError(f"{path} was run with other settings, so others cannot be held to it: {was}")
    return True


def _takes_turns(plan: RunPlan) -> bool:
    return plan.concurrency == 1 and plan.options.pace == "none" and not plan.options.workers
