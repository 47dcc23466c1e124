"""The cores and GPUs that each worker of a run gets, and what is refused where there are too few."""

from __future__ import annotations

__all__ = [
    "gpus_each",
    "gpus_of_this_machine",
    "local_specs",
    "shares_device",
    "starting_workers",
    "worker_options",
]

import os
from collections.abc import Sequence

from evalkit import env
from evalkit.errors import UsageError
from evalkit.run.options import RunOptions
from evalkit.run.plan import RunPlan
from evalkit.run.workers.contract import WorkerSpec


def worker_options(plan: RunPlan) -> RunOptions:
    """Return the options of a run as its workers are given them."""
    data = plan.options.data if plan.options.data == "demo" else str(plan.data_path.resolve())
    alone = {"workers": None, "gpus_per_worker": None, "stall_seconds": None, "ray_address": None, "out": None}
    engine = "transformers" if plan.options.engine == "ray" else plan.options.engine
    return plan.options.model_copy(update={**alone, "engine": engine, "data": data})


def gpus_each(options: RunOptions, there: int) -> float:
    """Return how many GPUs each worker gets: what was asked for, else one where there are any.

    Args:
        options: Of the run.
        there: GPUs on the machine, or in the cluster.

    Raises:
        UsageError: There are fewer than that takes.
    """
    if options.gpus_per_worker is not None:
        each = options.gpus_per_worker
    else:
        each = 1.0 if there and options.device != "cpu" else 0.0
    workers, most = options.workers or 0, _fitting(each, there)
    if most < workers:
        gpus = f"{each:g} GPU{'' if each == 1 else 's'}"
        asked = f"{workers} workers with {gpus} each" if workers > 1 else f"1 worker with {gpus}"
        there_are = f"there {'is 1 GPU' if there == 1 else f'are {there} GPUs'}" if there else "there is no GPU"
        fewer = "take a smaller --gpus-per-worker" if there else "leave --gpus-per-worker out"
        advice = f"take --workers {most} or another --gpus-per-worker" if most else fewer
        raise UsageError(f"{asked}, and {there_are}: {advice}")
    return each


def _fitting(each: float, there: int) -> int:
    """Return how many workers find their GPUs; a part of one is no part of two."""
    if each == 0:
        return 1 << 30
    return there // max(1, round(each)) if each >= 1 else there * int(1 / each + 1e-9)


def starting_workers(plan: RunPlan) -> int:
    """Return how many workers are started: those asked for, but none that would find no sample."""
    return min(plan.options.workers or 0, len(plan.samples))


def shares_device(plan: RunPlan, each: float) -> bool:
    """Whether workers disturb each other: two of them compute on one device."""
    return starting_workers(plan) > 1 and each < 1


def local_specs(plan: RunPlan, each: float, gpus: Sequence[str]) -> list[WorkerSpec]:
    """Return what each worker of this machine is started with.

    Args:
        plan: What runs.
        each: GPUs of one worker, see `gpus_each`.
        gpus: The GPUs there are, as ``CUDA_VISIBLE_DEVICES`` names them.
    """
    workers, options = plan.options.workers or 0, worker_options(plan)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = None if env.chosen_threads() else max(1, cores // workers)
    return [WorkerSpec(options, plan.entry, threads, _gpus_of(worker, each, gpus)) for worker in range(workers)]


def _gpus_of(worker: int, each: float, gpus: Sequence[str]) -> tuple[str, ...] | None:
    """Return the GPUs of one worker; ``None`` where all see what this process sees."""
    if each == 0:
        return None
    if each < 1:
        return (gpus[worker // int(1 / each + 1e-9)],)
    size = round(each)
    return tuple(gpus[worker * size : (worker + 1) * size])


def gpus_of_this_machine(device: str) -> tuple[str, ...]:
    """Return the GPUs that this process sees, as ``CUDA_VISIBLE_DEVICES`` names them; none for ``cpu``."""
    if device == "cpu":
        return ()
    import torch

    count = torch.cuda.device_count()  # by the driver's management library: no context is made here
    named = env.visible_gpus()
    return tuple(str(number) for number in range(count)) if named is None else named[:count]
