"""Workers as actors of a Ray cluster, for several machines and GPUs (extra ``[ray]``).

An actor here is never started again by Ray, and no call of it is made twice (``max_restarts=0``,
``max_task_retries=0``): a new process under an old name would go on with an empty memory, untold.
Each actor has one long call, `_Actor.serve`, which yields its events as they come; words of the driver reach it on
other threads. States go by wire to machines other than the driver's.
"""

from __future__ import annotations

__all__ = ["RayExecutor", "ray_executor"]

import contextlib
import queue
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import psutil

from evalkit import env
from evalkit.errors import UsageError
from evalkit.run.plan import RunPlan
from evalkit.run.workers.contract import Assignment, Died, Event, Ready, WorkerSpec
from evalkit.run.workers.layout import gpus_each, worker_options

_END = 5.0
_STORE = 100 * 2**20
"""Bytes of the object store of a cluster that is started here; what does not fit is spilled to disk."""


def ray_executor(plan: RunPlan) -> tuple[RayExecutor, float]:
    """Join the cluster that the options name, or start one on this machine.

    Args:
        plan: What runs.

    Returns:
        Where its workers live, and how many GPUs each has.

    Raises:
        UsageError: Ray is not installed, the cluster cannot be joined or is of another version, or has too few
            GPUs or cores.
    """
    ray = _import_ray()
    workers = plan.options.workers or 0
    # Ray tells of dead actors on stdout, which is for what a command gives.
    quiet = contextlib.ExitStack()
    quiet.enter_context(contextlib.redirect_stdout(sys.stderr))
    # Sockets of a cluster of one's own lie in this folder, and their names may have 107 bytes.
    own = tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True)
    folder = quiet.enter_context(own)
    quiet.callback(ray.shutdown)
    try:
        _join(ray, plan.options.ray_address, workers, folder)
        there = ray.cluster_resources()
        each = gpus_each(plan.options, int(there.get("GPU", 0)))
        cores = int(there.get("CPU", 0))
        if cores < workers:
            raise UsageError(f"{workers} workers want a core each, and the Ray cluster has {cores} in all")
    except BaseException:
        quiet.close()
        raise
    return RayExecutor(ray, WorkerSpec(worker_options(plan), plan.entry), each, quiet), each


def _import_ray() -> ModuleType:
    env.keep_ray_quiet()
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UsageError("--engine ray needs Ray: pip install 'evalkit[ray]', wherever a worker runs") from error
    module: ModuleType = ray
    return module


def _reach(address: str) -> None:
    """Look whether anybody listens at an address: Ray itself looks for minutes.

    Raises:
        UsageError: It is one of Ray's client, whose calls cannot stream, or nobody listens there.
    """
    if address.startswith("ray://"):
        raise UsageError(
            f"--ray-address {address} is of Ray's client, which streams nothing: start evalkit on a machine of "
            "the cluster, with --ray-address auto"
        )
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdigit()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_END).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"no Ray at {address}: {error}") from error


def _join(ray: ModuleType, address: str | None, workers: int, folder: str) -> None:
    """Join a cluster, or start one with as many cores as there are workers.

    Raises:
        UsageError: It cannot be joined.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is not None:
            _reach(address)
            ray.init(address=address, **quiet)
            return
        ray.init(num_cpus=workers, include_dashboard=False, object_store_memory=_STORE, _temp_dir=folder, **quiet)
    except (RuntimeError, ConnectionError, ValueError) as error:
        said = " ".join(str(error).split())
        if "ersion mismatch" in said:
            raise UsageError(
                f"the Ray cluster is of another version than this process: {said[:300]}: install the same Ray and "
                "Python everywhere"
            ) from error
        where = "a Ray cluster on this machine cannot be started" if address is None else f"no Ray at {address}"
        raise UsageError(f"{where}: {said[:300]}") from error


class RayExecutor:
    """Actors of a cluster.

    Args:
        ray: The module, joined to a cluster.
        spec: What each worker is started with.
        gpus: GPUs of each.
        joined: Closed when the workers are, to leave the cluster.
    """

    def __init__(self, ray: ModuleType, spec: WorkerSpec, gpus: float, joined: contextlib.ExitStack) -> None:
        self._ray, self._spec, self._joined = ray, spec, joined
        self._actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, max_task_retries=0, max_concurrency=4)(
            _Actor
        )
        self._ended_by = ray.remote(num_cpus=0, max_retries=0)(end_process)
        self._actors: dict[int, Any] = {}
        self._streams: dict[int, Any] = {}
        self._processes: dict[int, tuple[str, int, float]] = {}

    def start(self, worker: int) -> None:
        """Start a worker that is not there."""
        actor = self._actor.remote(self._spec)
        self._actors[worker] = actor
        self._streams[worker] = actor.serve.options(
            num_returns="streaming", _generator_backpressure_num_objects=64
        ).remote()

    def submit(self, worker: int, assignment: Assignment) -> bool:
        """Give a worker a sample; say whether it could be told."""
        if worker not in self._actors:
            return False
        self._actors[worker].hear.remote(assignment)
        return True

    def stop(self) -> None:
        """Ask all workers to leave their samples in good order."""
        for actor in self._actors.values():
            actor.stop.remote()

    def poll(self, seconds: float) -> list[tuple[int, Event]]:
        """Return what has come."""
        if not self._streams:
            time.sleep(seconds)
            return []
        by_stream = {id(stream): worker for worker, stream in self._streams.items()}
        there, _ = self._ray.wait(list(self._streams.values()), num_returns=1, timeout=seconds)
        found: list[tuple[int, Event]] = []
        for stream in there:
            worker = by_stream[id(stream)]
            found += [(worker, event) for event in self._next(worker, stream)]
        return found

    def _next(self, worker: int, stream: Any) -> list[Event]:
        try:
            events: list[Event] = self._ray.get(next(stream))
        except StopIteration:
            return [Died(self._bury(worker, "ended by itself"))]
        except self._ray.exceptions.RayError as error:
            return [Died(self._bury(worker, _why(error)))]
        for event in events:
            if isinstance(event, Ready):
                self._processes[worker] = (event.node, event.pid, event.born)
        return events

    def _bury(self, worker: int, why: str) -> str:
        """Forget a worker; its process may still be there, stopped, with a GPU in its hands: end it."""
        self._actors.pop(worker, None)
        self._streams.pop(worker, None)
        process = self._processes.pop(worker, None)
        if process is not None:
            node, pid, born = process
            at = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
            self._ended_by.options(scheduling_strategy=at).remote(pid, born)
        return why

    def kill(self, worker: int) -> None:
        """End a worker at once."""
        if worker in self._actors:
            self._ray.kill(self._actors[worker], no_restart=True)

    def close(self) -> None:
        """Let every worker end, end those that do not, and leave the cluster."""
        leaving = [actor.hear.remote("leave") for actor in self._actors.values()]
        last = time.monotonic() + _END
        streams = list(self._streams.values())
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.wait(leaving, num_returns=len(leaving), timeout=_END) if leaving else None
        while streams and time.monotonic() < last:
            there, _ = self._ray.wait(streams, timeout=max(0.0, last - time.monotonic()))
            for stream in there:
                if _is_over(self._ray, stream):
                    streams.remove(stream)
        for worker in list(self._actors):
            self.kill(worker)
            self._bury(worker, "closed")
        self._joined.close()


def _is_over(ray: ModuleType, stream: Any) -> bool:
    try:
        next(stream)
    except (StopIteration, ray.exceptions.RayError):
        return True
    return False


def _why(error: Exception) -> str:
    """Return how an actor ended, in one line: the first of what Ray says, or the error that it met at the last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    if "RayTaskError" in type(error).__name__:
        return lines[-1][:200]
    return f"{type(error).__name__}: {lines[0][:200]} Out of memory looks the same"


def end_process(pid: int, born: float) -> bool:
    """End a process on the machine this runs on, unless its number has gone to another one since.

    Args:
        pid: Its number.
        born: When it began, seconds since 1970.

    Returns:
        Whether it was there.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if abs(process.create_time() - born) < 1:
            process.kill()
            return True
    return False


class _Actor:
    """A worker in a process of Ray."""

    def __init__(self, spec: WorkerSpec) -> None:
        from evalkit.run.workers.worker import Worker

        self._events: queue.SimpleQueue[list[Event] | None] = queue.SimpleQueue()
        self._said: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._worker = Worker(spec, lambda events: self._events.put(list(events)))

    def serve(self) -> Iterator[list[Event]]:
        """Make the model and run samples until told to leave; yield what is told, as it comes."""
        threading.Thread(target=self._work, name="worker", daemon=True).start()
        while (events := self._events.get()) is not None:
            yield events

    def _work(self) -> None:
        import ray

        from evalkit.run.workers.worker import broke

        try:
            ready = self._worker.prepare()
            self._events.put([ready._replace(node=ray.get_runtime_context().get_node_id())])
            self._worker.work(self._said)
            self._worker.close()
        except Exception as error:
            self._events.put([broke(error)])
        self._events.put(None)

    def hear(self, word: Any) -> None:
        """Take a sample, or that this worker may leave."""
        self._said.put(word)

    def stop(self) -> None:
        """Leave the samples in hand after the second that is in work."""
        self._worker.stop()
