"""Workers as processes of this machine, each on a socket of its own (no further dependency, no port)."""

from __future__ import annotations

__all__ = ["LocalExecutor"]

import multiprocessing
import os
import queue
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from evalkit import env
from evalkit.run.workers.channel import Channel
from evalkit.run.workers.contract import Assignment, Died, Event, WorkerSpec

_END = 5.0
"""Seconds a worker may take to end by itself."""

Word = Assignment | Literal["stop", "leave"]
"""What a driver says to a worker."""


class LocalExecutor:
    """Processes started anew (``spawn``), which end with their driver, however it ends.

    Args:
        specs: What each worker is started with.
        patience: Seconds a worker may leave what it is told unread before it is ended.
        serve: What the process runs; tests have workers of their own.
    """

    def __init__(
        self,
        specs: Sequence[WorkerSpec],
        patience: float,
        serve: Callable[[socket.socket, WorkerSpec], None] | None = None,
    ) -> None:
        self._specs, self._patience = specs, patience
        self._serve = serve or serve_worker
        self._processes: dict[int, BaseProcess] = {}
        self._channels: dict[int, Channel] = {}
        self._selector = selectors.DefaultSelector()

    def start(self, worker: int) -> None:
        """Start a worker that is not there."""
        mine, theirs = socket.socketpair()
        process = multiprocessing.get_context("spawn").Process(
            target=self._serve, args=(theirs, self._specs[worker]), name=f"worker {worker + 1}", daemon=True
        )
        process.start()
        theirs.close()
        self._processes[worker] = process
        self._channels[worker] = Channel(mine, self._patience)
        self._selector.register(mine, selectors.EVENT_READ, worker)

    def submit(self, worker: int, assignment: Assignment) -> bool:
        """Give a worker a sample; say whether it could be told."""
        return self._say(worker, assignment)

    def stop(self) -> None:
        """Ask all workers to leave their samples in good order."""
        for worker in list(self._channels):
            self._say(worker, "stop")

    def _say(self, worker: int, word: Word) -> bool:
        try:
            self._channels[worker].send(word)
        except TimeoutError:  # it reads no more
            self.kill(worker)
            return False
        except OSError:
            return False
        return True

    def poll(self, seconds: float) -> list[tuple[int, Event]]:
        """Return what has come."""
        found: list[tuple[int, Event]] = []
        for key, _ in self._selector.select(seconds):
            worker: int = key.data
            try:
                messages = self._channels[worker].receive()
            except EOFError:
                found.append((worker, Died(self._bury(worker))))
            else:
                found += [(worker, event) for message in messages for event in message]
        return found

    def _bury(self, worker: int) -> str:
        channel, process = self._channels.pop(worker), self._processes.pop(worker)
        self._selector.unregister(channel)
        channel.close()
        process.join(_END)
        if process.exitcode is None:  # its socket is closed and it goes on
            process.kill()
            process.join()
        return ended_by(process.exitcode)

    def kill(self, worker: int) -> None:
        """End a worker at once."""
        if worker in self._processes:
            self._processes[worker].kill()

    def close(self) -> None:
        """Let every worker end, and end those that do not."""
        for worker in list(self._channels):
            self._say(worker, "leave")
        last = time.monotonic() + _END
        for process in self._processes.values():
            process.join(max(0.0, last - time.monotonic()))
            process.kill()
            process.join()
        for channel in self._channels.values():
            self._selector.unregister(channel)
            channel.close()
        self._processes, self._channels = {}, {}
        self._selector.close()


def ended_by(code: int | None) -> str:
    """Return in words how a process ended.

    Args:
        code: Exit code, or the negative number of the signal that ended it.
    """
    if code is None:
        return "gone without a trace"
    if code == -signal.SIGKILL:
        return "ended by SIGKILL, as the system does too where memory runs out"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def serve_worker(end: socket.socket, spec: WorkerSpec) -> None:
    """Be a worker: what a process of `LocalExecutor` runs.

    Ctrl-C reaches all processes of a terminal, and a batch system signals all of a job: the driver alone decides.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    env.set_before_torch(spec.threads, spec.gpus)
    channel = Channel(end)
    said: queue.SimpleQueue[Any] = queue.SimpleQueue()
    life = _Life(channel, said)
    from evalkit.run.workers.worker import Worker, broke

    def tell(events: Sequence[Event]) -> None:
        try:
            channel.send(events)
        except OSError:  # there is no driver any more
            os._exit(1)

    worker = Worker(spec, tell)
    life.stop = worker.stop
    try:
        ready = worker.prepare()
        tell([ready])
        life.prepared = True
        worker.work(said)
    except Exception as error:
        tell([broke(error)])
        os._exit(1)  # without waiting for other samples of this worker
    worker.close()


class _Life:
    """Hears the driver on a thread of its own, and ends this process with it, whatever it is doing."""

    def __init__(self, channel: Channel, said: queue.SimpleQueue[Any]) -> None:
        self.prepared = False
        self.stop: Callable[[], None] = lambda: None
        self._channel, self._said = channel, said
        threading.Thread(target=self._listen, name="driver", daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                words = self._channel.receive()
            except (EOFError, OSError):
                os._exit(1)
            for word in words:
                if word == "stop":
                    self.stop()
                elif word == "leave" and not self.prepared:
                    os._exit(0)
                else:
                    self._said.put(word)
