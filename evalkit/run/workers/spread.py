"""A run spread over workers, as the runner makes one: started, driven, and closed whatever happens."""

from __future__ import annotations

__all__ = ["STALL_SECONDS", "Spread", "planned_shares"]

import pickle
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from evalkit.errors import UsageError
from evalkit.records import Latency
from evalkit.run.failures import reason_of
from evalkit.run.plan import RunPlan
from evalkit.run.work import Work
from evalkit.run.workers.contract import Executor
from evalkit.run.workers.crew import Crew
from evalkit.run.workers.driver import drive
from evalkit.run.workers.layout import (
    gpus_each,
    gpus_of_this_machine,
    local_specs,
    shares_device,
    starting_workers,
)
from evalkit.run.workers.order import length, makespan, shares

STALL_SECONDS = 600.0
"""Silence that is taken for a hang unless ``--stall-seconds`` says otherwise."""


class Spread:
    """The workers of a plan.

    Attributes:
        repeats: A worker may die, and its sample goes on elsewhere.
        latency: ``loaded`` where two of them compute on one device.

    Args:
        plan: What runs.
        notify: Told how the start went, and how long the run is expected to take.

    Raises:
        UsageError: There are fewer GPUs or cores than the workers want, or Ray is not there.
    """

    repeats = True

    def __init__(self, plan: RunPlan, notify: Callable[[str], None]) -> None:
        workers, stall = starting_workers(plan), plan.options.stall_seconds or STALL_SECONDS
        if workers < (plan.options.workers or 0):
            notify(f"{plan.options.workers} workers were asked for: {workers} start, one for each sample")
        self._executor, each = executor_of(plan, stall)
        self._check = plan.model.check  # before every worker says so
        self._crew = Crew(self._executor, workers, stall, notify)
        self.latency: Latency = "loaded" if shares_device(plan, each) else "alone"

    def __enter__(self) -> Self:
        """Start the workers.

        Raises:
            EvalkitError: None can be started, or they would make different runs.
        """
        try:
            self._check()
            self._first = self._crew.start()
        except BaseException:
            self._executor.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers; on an error nobody waits for what they have in hand."""
        if error is not None:
            for member in self._crew.members:
                self._executor.kill(member.number)
        self._executor.close()

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The fingerprint of the run, the same at every worker."""
        return self._first.fingerprint

    @property
    def host(self) -> dict[str, Any]:
        """The machine of the first worker, and how many workers there are on how many machines."""
        there = [member.ready for member in self._crew.members if member.ready is not None]
        hosts = list(dict.fromkeys(one.host for one in there))
        return self._first.facts | {"workers": len(there), **({"hosts": hosts} if len(hosts) > 1 else {})}

    def run(self, work: Work) -> None:
        """Run samples until each is done or failed; see `drive`."""
        drive(work, self._crew, self._executor)


def executor_of(plan: RunPlan, stall: float) -> tuple[Executor, float]:
    """Return where the workers of a plan live, and how many GPUs each of them has.

    Raises:
        UsageError: There are fewer GPUs or cores than they want, or Ray is not there.
    """
    if plan.options.engine == "ray":
        from evalkit.run.workers.ray import ray_executor

        require_portable(plan)
        return ray_executor(plan)
    from evalkit.run.workers.local import LocalExecutor

    gpus = gpus_of_this_machine(plan.options.device)
    each = gpus_each(plan.options, len(gpus))
    require_portable(plan)
    return LocalExecutor(local_specs(plan, each, gpus), stall), each


def require_portable(plan: RunPlan) -> None:
    """Refuse a model of one's own that cannot be sent to another process: a notebook's cells are no module.

    Raises:
        UsageError: It cannot.
    """
    try:
        pickle.dumps(plan.entry)
        source = getattr(plan.entry, "source", None)
        kind = source if isinstance(source, type) else type(source)
        if kind.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__"):
            raise pickle.PicklingError(f"{kind.__qualname__} stands in no file")
    except Exception as error:  # whatever an object of somebody else's raises
        raise UsageError(
            f"model {plan.model.name} cannot be given to workers ({reason_of(error)}): let it be a class at the "
            "top of a module"
        ) from error


def planned_shares(plan: RunPlan) -> dict[str, str]:
    """Return in words who would get what, by worker, if every second of stream took the same everywhere.

    Raises:
        UsageError: Workers of this machine want more GPUs than it has.
    """
    workers = plan.options.workers or 0
    if plan.options.engine != "ray":
        gpus_each(plan.options, len(gpus_of_this_machine(plan.options.device)))
    found = {"workers": str(workers)}
    for number, share in enumerate(shares(plan.samples, workers), start=1):
        named = ", ".join(sample.id for sample in share[:4]) + (" ..." if len(share) > 4 else "")
        seconds = sum(map(length, share))
        count = f"{len(share)} sample{'' if len(share) == 1 else 's'}"
        found[f"worker_{number}"] = f"{count}, {seconds:g} s of stream: {named}" if share else "nothing"
    lengths = [length(sample) for sample in plan.samples]
    part = makespan(lengths, workers) / sum(lengths) if sum(lengths) else 1.0
    found["expected"] = (
        f"{part:.2f} of the time of one worker (where each second takes the same; the run tells its time after a "
        "short trial)"
    )
    return found
