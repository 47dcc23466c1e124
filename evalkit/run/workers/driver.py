"""The driver of a run with workers: it alone writes the folder, and gives out the samples."""

from __future__ import annotations

__all__ = ["DEATHS", "drive"]

import socket
import time
from dataclasses import dataclass, field

from evalkit.models.protocol import StopRun
from evalkit.records import AnswerRecord, FailedSample, TickRecord
from evalkit.run.failures import put_failed
from evalkit.run.stop import Interrupted
from evalkit.run.work import Work
from evalkit.run.workers.contract import (
    Assignment,
    Died,
    Ended,
    Event,
    Executor,
    Halted,
    Passed,
    PutAnswer,
    PutTick,
    Saved,
    Stopped,
    Warned,
)
from evalkit.run.workers.crew import Crew, Member
from evalkit.run.workers.order import clock_time, length, longest_first, makespan
from evalkit.stream import StreamSample

DEATHS = 2
"""So many workers may die with a sample in hand, without a step forward in between, before it is failed."""
_TRIAL = 10.0
"""Seconds of work after which the time of the whole is told."""


def drive(work: Work, crew: Crew, executor: Executor) -> None:
    """Run samples, the longest first, until each is done or failed.

    Args:
        work: What runs, and where its records go.
        crew: The workers, started.
        executor: Where they live.

    Raises:
        Interrupted: The run was asked to stop, and no sample is in work any more.
        StopRun: A session ended the run in good order.
        EvalkitError: The run cannot go on.
    """
    _Driver(work, crew, executor).run()


@dataclass
class _Hold:
    """How a sample stands.

    Args:
        deaths: Why workers died with it in hand, since it last came a step forward.
        reached: Number of the second at which its last checkpoint goes on.
        passed: Seconds of stream that its present worker has told of.
        trusted: Whether they were all worked on, and not gone over from a checkpoint.
        last_tick: Line of the second before its words, for who watches.
    """

    deaths: list[str] = field(default_factory=list)
    reached: int = 0
    passed: float = 0.0
    trusted: bool = True
    last_tick: bytes = b""


class _Driver:
    def __init__(self, work: Work, crew: Crew, executor: Executor) -> None:
        self._work, self._crew, self._executor = work, crew, executor
        self._samples = {sample.id: sample for sample in work.samples}
        self._waiting = longest_first(sample for sample in work.samples if work.recorder.status(sample.id) is None)
        self._holds = {sample.id: _Hold() for sample in self._waiting}
        for sample in work.samples:
            if sample.id not in self._holds:
                work.advanced(length(sample))
        self._host = socket.gethostname()
        self._halted: str | None = None
        self._stopping = False
        self._trial = _Trial(makespan(list(map(length, self._waiting)), len(crew.members)), len(crew.members))

    def run(self) -> None:
        """Give out samples and take in what comes of them, until nothing is left."""
        while self._waiting or self._in_hand:
            if (self._work.stop() or self._halted) and not self._stopping:
                self._stopping = True
                self._executor.stop()
            if self._stopping and not self._in_hand:
                break
            if not self._stopping:
                self._hand_out()
            for member, event in self._crew.events():
                self._take(member, event)
        if self._halted is not None:
            raise StopRun(self._halted)
        if self._waiting:
            raise Interrupted

    @property
    def _in_hand(self) -> bool:
        return any(member.in_hand for member in self._crew.members)

    def _hand_out(self) -> None:
        """Give what waits to whoever has the least in hand, one by one."""
        free = [member for member in self._crew.members if member.free > 0]
        while self._waiting and free:
            member, sample = min(free, key=lambda one: len(one.in_hand)), self._waiting[0]
            if self._executor.submit(member.number, self._assignment(sample, member)):
                self._holds[sample.id].trusted = not self._work.recorder.replies(sample.id)
                if not member.in_hand:  # its silence was no sign
                    member.heard = time.monotonic()
                member.in_hand.append(sample.id)
                del self._waiting[0]
                free = [one for one in free if one.free > 0]
            else:
                free.remove(member)

    def _assignment(self, sample: StreamSample, member: Member) -> Assignment:
        """Return a sample with what is on record of it; a worker of this machine has the driver's disk."""
        replies = dict(self._work.recorder.replies(sample.id))
        if member.ready is not None and member.ready.host == self._host:
            return Assignment(sample.id, replies, self._work.state.resolve())
        return Assignment(sample.id, replies, None, self._work.checkpoints.read(sample.id))

    def _take(self, member: Member, event: Event) -> None:
        match event:
            case PutTick(moment, line):
                self._work.recorder.put_tick(moment, line)
                self._holds[moment.sample].last_tick = line
            case PutAnswer():
                self._answer(event)
            case Passed():
                self._pass(event)
            case Saved():
                self._save(event)
            case Warned(text):
                self._work.warn(text)
            case Ended():
                member.in_hand.remove(event.sample)
                self._end(event)
            case Stopped(sample):
                member.in_hand.remove(sample)
                self._take_back(sample)
            case Halted(reason):
                self._halted = reason
            case Died(reason):
                self._died(member, reason)
            case _:
                pass

    def _pass(self, event: Passed) -> None:
        hold = self._holds[event.sample]
        hold.passed += event.seconds
        self._work.advanced(event.seconds)
        told = self._trial.passed(event.seconds) if hold.trusted else None
        hold.trusted = True
        if told is not None:
            self._work.notify(told)

    def _answer(self, event: PutAnswer) -> None:
        said = event.said
        self._work.recorder.put_answer(said, event.line)
        if not said.narration:
            self._step_forward(said.sample, None)
        elif self._work.watch is not None:
            tick = TickRecord.model_validate_json(self._holds[said.sample].last_tick)
            self._work.watch(AnswerRecord.model_validate_json(event.line), tick)

    def _save(self, event: Saved) -> None:
        """Put a checkpoint in place once all records before it are on the disk."""
        self._work.recorder.sync()
        if event.part is not None:
            self._work.checkpoints.take(event.sample, event.part)
        elif event.state is not None:
            self._work.checkpoints.put(event.sample, event.state)
        self._step_forward(event.sample, event.tick)

    def _step_forward(self, sample: str, tick: int | None) -> None:
        hold = self._holds[sample]
        hold.deaths.clear()
        if tick is not None:
            hold.reached = tick

    def _end(self, event: Ended) -> None:
        if event.status == "failed":
            self._fail(event.sample, event.reason, event.error)
        else:
            self._work.recorder.finish(event.sample, "done")
            self._work.checkpoints.drop(event.sample)

    def _fail(self, sample: str, reason: str, error: str) -> None:
        self._work.fail(FailedSample(sample=sample, reason=reason, error=error))
        put_failed(self._samples[sample], reason, self._work.recorder)
        self._work.checkpoints.drop(sample)

    def _died(self, member: Member, reason: str) -> None:
        """Give what a dead worker had in hand to others, or fail what workers die of."""
        self._trial.begin_again()
        for sample in reversed(member.in_hand):
            hold = self._holds[sample]
            hold.deaths.append(reason)
            if len(hold.deaths) >= DEATHS:
                why = "; ".join(dict.fromkeys(hold.deaths))
                self._fail(sample, f"{len(hold.deaths)} workers died with it in hand: {why}", "WorkerDied")
                continue
            at = (
                f"goes on at second {hold.reached}"
                if hold.reached
                else "goes on at its last checkpoint, or starts anew"
            )
            self._work.warn(f"{member} died ({reason}): {sample} {at}")
            self._take_back(sample)
        member.in_hand = []

    def _take_back(self, sample: str) -> None:
        """Let a sample be the next that is given out."""
        hold = self._holds[sample]
        self._work.advanced(-hold.passed)
        hold.passed = 0.0
        self._waiting.insert(0, self._samples[sample])


class _Trial:
    """Tells, once, how long the whole is going to take by what the first seconds took.

    Args:
        seconds: Seconds of stream that the busiest worker has before it.
        workers: How many workers share the streams.
    """

    def __init__(self, seconds: float, workers: int) -> None:
        self._seconds, self._workers = seconds, workers
        self._begun: float | None = None
        self._passed = 0.0
        self._told = False

    def begin_again(self) -> None:
        """Forget what was counted: less than all workers were at work."""
        self._begun, self._passed = None, 0.0

    def passed(self, seconds: float) -> str | None:
        """Count seconds of stream; return what is to be told when there is enough to go by."""
        now = time.monotonic()
        if self._begun is None:  # the first second of a stream has the opening in it
            self._begun = now
            return None
        self._passed += seconds
        spent = now - self._begun
        if self._told or spent < _TRIAL:
            return None
        self._told = True
        rate = spent * self._workers / self._passed
        return (
            f"expected: {clock_time(self._seconds * rate)} with {self._workers} workers, by the first "
            f"{self._passed:.0f} s of stream ({rate:.2f} s of work each)"
        )
