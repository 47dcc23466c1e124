"""A worker: makes the model of a run once, runs the samples it is given, and tells everything as events.

It writes nothing into the run folder; where it has the driver's disk it lays checkpoints aside there, which the
driver puts in place.
"""

from __future__ import annotations

__all__ = ["Words", "Worker", "broke"]

import contextlib
import queue
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import psutil

from evalkit.errors import EvalkitError
from evalkit.models.protocol import StopRun, StreamingModel
from evalkit.records import AnswerRecord, TickRecord, json_line
from evalkit.run.alone import settings_of, together
from evalkit.run.checkpoint import SessionCheckpoints, pack_state, unpack_state
from evalkit.run.failures import costs_a_sample, reason_of
from evalkit.run.fingerprint import full_fingerprint
from evalkit.run.memory import memory_readers
from evalkit.run.plan import make_plan
from evalkit.run.provenance import host_facts, versions
from evalkit.run.recorder import Said, moment_of
from evalkit.run.sample import SampleRunner
from evalkit.run.stop import Interrupted, StopRequest
from evalkit.run.workers.contract import (
    Alive,
    Assignment,
    Broke,
    Ended,
    Event,
    Halted,
    Passed,
    PutAnswer,
    PutTick,
    Ready,
    Saved,
    Stopped,
    Warned,
    WorkerSpec,
)
from evalkit.timing import MemorySampler

Send = Callable[[Sequence[Event]], None]

Words = Assignment | Literal["leave"] | Exception
"""What reaches a worker at work: a sample, that it may go, or what one of its own threads met."""

_NAMED = 5
_SIGN_EVERY = 1.0
"""Seconds between signs of life in long work."""


class Worker:
    """The model of a run, and the samples it is given.

    Args:
        spec: What it is started with.
        send: Where events go, in order; called from several threads where several samples are under way.
    """

    def __init__(self, spec: WorkerSpec, send: Send) -> None:
        self._spec, self._send = spec, send
        self._stop = StopRequest()
        self._ending = contextlib.ExitStack()

    def prepare(self) -> Ready:
        """Make plan and model.

        Returns:
            What the driver has to know; it is not sent.

        Raises:
            EvalkitError: The run cannot be made here.
        """
        begun = time.monotonic()
        if self._spec.threads is not None:
            import torch

            torch.set_num_threads(self._spec.threads)
        plan = make_plan(self._spec.options, self._spec.entry)
        self._plan = plan
        self._samples = {sample.id: sample for sample in plan.samples}
        plan.model.check()
        self._model = self._ending.enter_context(contextlib.closing(plan.model.make()))
        self._group, self._streams = together(plan, self._model)
        device = self._model.placement.device
        self._memory = self._ending.enter_context(MemorySampler(memory_readers(device)))
        videos = dict.fromkeys(sample.video for sample in plan.samples)
        missing = [str(video) for video in videos if not video.is_file()]
        process = psutil.Process()
        return Ready(
            host=socket.gethostname(),
            pid=process.pid,
            born=process.create_time(),
            seconds=time.monotonic() - begun,
            device=device,
            facts=host_facts(device),
            versions=versions(),
            fingerprint=full_fingerprint(plan, self._model),
            missing=tuple(missing[:_NAMED]),
            lacks=len(missing),
            streams=self._at_once,
        )

    @property
    def _at_once(self) -> int:
        """Samples under way at once: on threads, or as streams of one batch."""
        return self._plan.concurrency if self._group is None else self._plan.options.streams

    def work(self, said: queue.SimpleQueue[Words]) -> None:
        """Run samples as they come, until told to leave.

        Args:
            said: What the driver says, as it comes.

        Raises:
            Exception: Something that costs more than one sample.
        """
        if self._group is not None:
            self._group.run(self._jobs(said), self._at_once)
        elif self._at_once == 1:
            while isinstance(word := said.get(), Assignment):
                self._run(word)
        else:
            self._on_threads(said)

    def _jobs(self, said: queue.SimpleQueue[Words]) -> Iterator[Callable[[], None] | None]:
        """Yield samples to be run as streams, ``None`` where none has come; wait only where none is under way."""
        under_way = [0]

        def job(assignment: Assignment) -> None:
            try:
                self._run(assignment)
            finally:
                under_way[0] -= 1

        while True:
            try:
                word = said.get(block=under_way[0] == 0)
            except queue.Empty:
                yield None
                continue
            if not isinstance(word, Assignment):
                return
            under_way[0] += 1
            yield partial(job, word)

    def _on_threads(self, said: queue.SimpleQueue[Words]) -> None:
        def one(assignment: Assignment) -> None:
            try:
                self._run(assignment)
            except Exception as error:
                said.put(error)

        with ThreadPoolExecutor(self._at_once, thread_name_prefix="sample") as pool:
            while isinstance(word := said.get(), Assignment):
                pool.submit(one, word)
            if isinstance(word, Exception):
                self._stop.ask()
                raise word

    def _run(self, assignment: Assignment) -> None:
        """Run one sample; all that comes of it is sent."""
        outbox = _Outbox(self._send, assignment.sample)
        sample = self._samples[assignment.sample]
        runner = SampleRunner(
            model=self._streams,
            recorder=_SentRecords(outbox, assignment),
            checkpoints=_SentCheckpoints(outbox, assignment),
            stopping=self._stop,
            heartbeat=lambda: self._beat(outbox),
            advanced=outbox.passed,
            warn=lambda text: outbox.put(Warned(text)),
            memory=self._memory,
            **settings_of(self._plan, self._group),
        )
        outbox.put(Alive())
        try:
            runner.run(sample)
        except Interrupted:
            outbox.put(Stopped(sample.id))
        except StopRun as stop:
            outbox.put(Halted(stop.reason), Stopped(sample.id))
        except Exception as error:
            if not costs_a_sample(error):
                raise
            failed = Ended(sample.id, "failed", reason_of(error), type(error).__name__)
            outbox.put(*_warnings(self._model), failed)
        else:
            outbox.put(*_warnings(self._model), Ended(sample.id, "done"))

    def _beat(self, outbox: _Outbox) -> None:
        outbox.sign()
        self._stop.give_up_long_work()

    def stop(self) -> None:
        """Leave the samples in hand after the second that is in work."""
        self._stop.ask()

    def close(self) -> None:
        """Free the model."""
        self._ending.close()


def _warnings(model: StreamingModel) -> list[Warned]:
    return [Warned(text) for text in getattr(model, "warnings", ())]


def broke(error: BaseException) -> Broke:
    """Return what to tell of an error that ends a worker."""
    trace = "".join(traceback.format_exception(error))
    number = error.errno if isinstance(error, OSError) else None
    return Broke(type(error).__name__, reason_of(error), trace, _lost_device(error), number)


def _lost_device(error: BaseException) -> bool:
    """Whether a device gave way: torch's own error for it, or the text of CUDA's in older ones."""
    if isinstance(error, EvalkitError):
        return False
    torch = sys.modules.get("torch")
    kind = getattr(torch, "AcceleratorError", None)
    return (kind is not None and isinstance(error, kind)) or (
        isinstance(error, RuntimeError) and "CUDA error" in str(error)
    )


class _Outbox:
    """Events of one sample, sent together once a second of its stream: a message costs more than an event."""

    def __init__(self, send: Send, sample: str) -> None:
        self._send, self._sample = send, sample
        self._waiting: list[Event] = []
        self._held = threading.Lock()
        self._sent = time.monotonic()

    def wait(self, event: Event) -> None:
        """Keep an event for the next message."""
        self._waiting.append(event)

    def put(self, *events: Event) -> None:
        """Send what waits, and these."""
        with self._held:
            message, self._waiting = [*self._waiting, *events], []
            self._sent = time.monotonic()
            self._send(message)

    def passed(self, seconds: float) -> None:
        """Send what waits, with the seconds that have passed."""
        self.put(Passed(self._sample, seconds))

    def sign(self) -> None:
        """Show, now and then, that work goes on."""
        if time.monotonic() - self._sent >= _SIGN_EVERY:
            self.put(Alive())


class _SentRecords:
    """Records of a sample, sent to the driver, which writes them."""

    def __init__(self, outbox: _Outbox, assignment: Assignment) -> None:
        self._outbox = outbox
        self._replies = dict(assignment.replies)

    def answered(self, sample: str, query: str) -> bool:
        """Whether a reply is on record."""
        return query in self._replies

    def reply(self, sample: str, query: str) -> str | None:
        """Return the reply that is on record, ``None`` where there is none."""
        return self._replies.get(query)

    def tick(self, record: TickRecord) -> None:
        """Send a second."""
        self._outbox.wait(PutTick(moment_of(record), json_line(record)))

    def answer(self, record: AnswerRecord) -> None:
        """Send a reply; an answer to a question goes at once."""
        said = Said.of(record)
        self._outbox.wait(PutAnswer(said, json_line(record)))
        if not said.narration:
            self._replies[said.query] = said.text
            self._outbox.put()

    def sync(self) -> None:
        """Leave it to the driver: it has them on disk before it puts a checkpoint in place."""


class _SentCheckpoints:
    """Checkpoints of a sample, laid aside for the driver where the disk is common, else sent."""

    def __init__(self, outbox: _Outbox, assignment: Assignment) -> None:
        self._outbox = outbox
        self._state = assignment.state
        folder = assignment.checkpoints
        self._folder = None if folder is None else SessionCheckpoints(folder)

    def save(self, sample: str, tick: int, state: dict[str, Any]) -> None:
        """Save a session."""
        blob = pack_state(tick, state)
        if self._folder is None:
            self._outbox.put(Saved(sample, tick, None, blob))
        else:
            self._outbox.put(Saved(sample, tick, self._folder.lay_aside(sample, tick, blob), None))

    def load(self, sample: str) -> tuple[int, dict[str, Any]] | None:
        """Return the next tick and the state of the sample, or ``None`` where there is no checkpoint."""
        if self._folder is not None:
            return self._folder.load(sample)
        return None if self._state is None else unpack_state(self._state)
