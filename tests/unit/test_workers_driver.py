"""The driver of workers, against workers that do as they are told: who gets what, what is left when some die."""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import DataError, EvalkitError, ModelError, UsageError
from evalkit.models.protocol import StopRun
from evalkit.records import (
    AnswerRecord,
    FailedSample,
    RunFolder,
    StageTimes,
    TickRecord,
    json_line,
    read_jsonl,
)
from evalkit.run.checkpoint import SessionCheckpoints, pack_state, unpack_state
from evalkit.run.recorder import Recorder, Said, moment_of
from evalkit.run.stop import Interrupted, StopRequest
from evalkit.run.work import Work
from evalkit.run.workers.contract import (
    Assignment,
    Broke,
    Died,
    Ended,
    Event,
    Halted,
    Passed,
    PutAnswer,
    PutTick,
    Ready,
    Saved,
    Stopped,
)
from evalkit.run.workers.crew import Crew
from evalkit.run.workers.driver import drive
from evalkit.run.workers.worker import broke
from evalkit.stream import Narration, StreamSample

Behaviour = Callable[[Assignment, int], Iterator[Event]]


def sample(name: str, seconds: int) -> StreamSample:
    narration = Narration("say")
    return StreamSample(name, Path(f"{name}.mp4"), 0, seconds, 2, narration=narration)


def second(name: str, k: int) -> list[Event]:
    tick = TickRecord(sample=name, second=k, start=k, end=k + 1, stages=StageTimes())
    said = AnswerRecord(
        sample=name, query=f"{name}@{k}", kind="narration", at=k + 1, start=k, end=k + 1, text=f"{name} {k}"
    )
    return [
        PutTick(moment_of(tick), json_line(tick)),
        PutAnswer(Said.of(said), json_line(said)),
        Passed(name, 1.0),
    ]


def ready(host: str = "here", **changes: Any) -> Ready:
    there = Ready(socket.gethostname(), 1, 0.0, 0.1, "cpu", {}, {"evalkit": "1"}, {"seed": 42}, (), 0, 1)
    return there._replace(**({"host": host} if host != "here" else {}) | changes)


@dataclass
class Told:
    """Workers that live in this process; each step of one is a message."""

    behave: Behaviour
    starts: deque[list[Event]] = field(default_factory=deque)
    given: list[tuple[int, Assignment]] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    stopped: bool = False
    _begun: deque[tuple[int, Event]] = field(default_factory=deque)
    _running: dict[tuple[int, str], Iterator[Event]] = field(default_factory=dict)

    def start(self, worker: int) -> None:
        events = self.starts.popleft() if self.starts else [ready()]
        self._begun += [(worker, event) for event in events]

    def submit(self, worker: int, assignment: Assignment) -> bool:
        self.given.append((worker, assignment))
        self._running[worker, assignment.sample] = self.behave(assignment, len(self.given))
        return True

    def stop(self) -> None:
        self.stopped = True
        for worker, name in list(self._running):
            self._running[worker, name] = iter([Stopped(name)])

    def poll(self, seconds: float) -> list[tuple[int, Event]]:
        found = list(self._begun)
        self._begun.clear()
        for (worker, name), events in list(self._running.items()):
            event = next(events, None)
            if event is None:
                continue
            found.append((worker, event))
            if isinstance(event, Ended | Stopped):
                self._running.pop((worker, name), None)
            if isinstance(event, Died):
                self._forget(worker)
        return found

    def _forget(self, worker: int) -> None:
        for key in [key for key in self._running if key[0] == worker]:
            del self._running[key]

    def kill(self, worker: int) -> None:
        self.killed.append(worker)
        self._forget(worker)
        self._begun.append((worker, Died("killed")))

    def close(self) -> None:
        """Nothing is left."""


@dataclass
class Outcome:
    said: list[str]
    seconds: list[tuple[str, int]]
    failed: list[FailedSample]
    warnings: list[str]
    notes: list[str]
    status: dict[str, str | None]
    advanced: float


def run(
    folder: Path,
    told: Told,
    samples: tuple[StreamSample, ...],
    *,
    workers: int = 2,
    stall: float = 60.0,
    stop: StopRequest | None = None,
    error: type[Exception] | None = None,
) -> Outcome:
    files, failed, warnings, notes, advanced = RunFolder(folder), [], [], [], [0.0]
    with Recorder(files, repeats=True) as recorder:
        work = Work(
            samples=samples,
            state=files.state_path,
            recorder=recorder,
            checkpoints=SessionCheckpoints(files.state_path),
            fail=failed.append,
            warn=warnings.append,
            notify=notes.append,
            stop=stop or StopRequest(),
            advanced=lambda seconds: advanced.__setitem__(0, advanced[0] + seconds),
        )
        crew = Crew(told, workers, stall, notes.append)
        crew.start()
        if error is None:
            drive(work, crew, told)
        else:
            with pytest.raises(error):
                drive(work, crew, told)
        status = {one.id: recorder.status(one.id) for one in samples}
    answers = read_jsonl(files.answers_path, AnswerRecord)[0]
    ticks = read_jsonl(files.ticks_path, TickRecord)[0]
    return Outcome(
        [a.text for a in answers if a.status == "ok"],
        [(t.sample, t.second) for t in ticks],
        failed,
        warnings,
        notes,
        status,
        advanced[0],
    )


LENGTHS = {"a": 3, "b": 5, "c": 4}
SAMPLES = tuple(sample(name, seconds) for name, seconds in LENGTHS.items())
ALL = sorted((name, k) for name, seconds in LENGTHS.items() for k in range(seconds))


def _state(k: int) -> bytes:
    return pack_state(k, {"tensors": {}, "json": {}})


def whole(assignment: Assignment, begin: int = 0, *, save: bool = True) -> Iterator[Event]:
    """Run a sample to its end, with a checkpoint after each second."""
    name = assignment.sample
    for k in range(begin, LENGTHS[name]):
        yield from second(name, k)
        if save:
            yield Saved(name, k + 1, None, _state(k + 1))
    yield Ended(name, "done")


def test_every_sample_runs_once_the_longest_first(tmp_path: Path) -> None:
    told = Told(lambda assignment, _: whole(assignment))
    outcome = run(tmp_path, told, SAMPLES)
    assert [assignment.sample for _, assignment in told.given] == ["b", "c", "a"]
    assert sorted(outcome.seconds) == ALL
    assert len(set(outcome.said)) == len(outcome.said) == len(ALL)
    assert set(outcome.status.values()) == {"done"}
    assert (outcome.failed, outcome.warnings, outcome.advanced) == ([], [], len(ALL))
    assert outcome.notes[0].startswith("2 workers ready after ")
    assert not list(RunFolder(tmp_path).state_path.glob("*.safetensors"))


def test_a_sample_whose_worker_dies_goes_on_at_its_checkpoint_and_stands_once(tmp_path: Path) -> None:
    begins: list[int] = []

    def behave(assignment: Assignment, number: int) -> Iterator[Event]:
        if assignment.sample != "b":
            yield from whole(assignment)
        elif number == 1:
            yield from [*second("b", 0), *second("b", 1), Saved("b", 2, None, _state(2)), *second("b", 2)]
            yield Died("ended by SIGKILL")
        else:
            saved = SessionCheckpoints(assignment.checkpoints or tmp_path).load("b")
            begins.append(saved[0] if saved else 0)
            assert assignment.replies == {f"b@{k}": f"b {k}" for k in range(3)}
            yield from whole(assignment, begins[-1])

    outcome = run(tmp_path, Told(behave), SAMPLES)
    assert begins == [2]
    assert sorted(outcome.seconds) == ALL
    assert len(outcome.said) == len(ALL)
    assert outcome.advanced == len(ALL) - 2  # whoever goes on tells of the two before
    (warning,) = outcome.warnings
    assert warning.startswith("worker 1 on ")
    assert warning.endswith("died (ended by SIGKILL): b goes on at second 2")


def test_a_sample_that_kills_two_workers_without_a_step_forward_is_failed_and_the_others_run(
    tmp_path: Path,
) -> None:
    def behave(assignment: Assignment, number: int) -> Iterator[Event]:
        if assignment.sample != "b":
            return whole(assignment)
        return iter([*second("b", 0), Died("ended by SIGSEGV")])

    outcome = run(tmp_path, Told(behave), SAMPLES)
    assert outcome.status == {"a": "done", "b": "failed", "c": "done"}
    (failure,) = outcome.failed
    assert failure.reason == "2 workers died with it in hand: ended by SIGSEGV"
    rows = read_jsonl(RunFolder(tmp_path).answers_path, AnswerRecord)[0]
    assert [(row.start, row.end, row.error) for row in rows if row.status == "failed"] == [(1, 5, failure.reason)]


def test_a_sample_that_comes_forward_between_deaths_is_not_given_up(tmp_path: Path) -> None:
    def behave(assignment: Assignment, number: int) -> Iterator[Event]:
        saved = SessionCheckpoints(assignment.checkpoints or tmp_path).load("b")
        k = saved[0] if saved else 0
        if k == LENGTHS["b"]:
            return iter([Ended("b", "done")])
        return iter([*second("b", k), Saved("b", k + 1, None, _state(k + 1)), Died("ended by SIGKILL")])

    told = Told(behave)
    outcome = run(tmp_path, told, (SAMPLES[1],), workers=1)
    assert outcome.status == {"b": "done"}
    assert len(told.given) == 6
    assert len(outcome.said) == 5


def test_a_worker_that_hangs_is_ended_and_its_sample_goes_on(tmp_path: Path) -> None:
    def behave(assignment: Assignment, number: int) -> Iterator[Event]:
        return iter(second("b", 0)) if number == 1 else whole(assignment)

    told = Told(behave)
    outcome = run(tmp_path, told, SAMPLES, stall=0.05)
    assert told.killed == [0]
    assert set(outcome.status.values()) == {"done"}
    assert "gave no sign of life for 0.05 s (--stall-seconds)" in outcome.warnings[0]


def test_a_worker_of_another_machine_is_given_states_by_wire(tmp_path: Path) -> None:
    def behave(assignment: Assignment, number: int) -> Iterator[Event]:
        assert assignment.checkpoints is None
        if number == 1:
            return iter([*second("b", 0), Saved("b", 1, None, _state(1)), Died("gone")])
        assert assignment.state is not None
        return whole(assignment, unpack_state(assignment.state)[0])

    told = Told(behave, deque([[ready("far")], [ready("far")]]))
    outcome = run(tmp_path, told, (SAMPLES[1],), workers=1)
    assert outcome.said == [f"b {k}" for k in range(5)]


def test_a_stopped_run_waits_for_what_is_in_hand_and_goes_on_with_other_workers(tmp_path: Path) -> None:
    stop = StopRequest()

    def behave(assignment: Assignment, number: int) -> Iterator[Event]:
        for event in whole(assignment):
            if isinstance(event, Saved) and event.tick == 2:
                stop.ask()
            yield event

    told = Told(behave)
    outcome = run(tmp_path, told, SAMPLES, stop=stop, error=Interrupted)
    assert told.stopped
    assert set(outcome.status.values()) == {None}

    def resume(assignment: Assignment, number: int) -> Iterator[Event]:
        saved = SessionCheckpoints(assignment.checkpoints or tmp_path).load(assignment.sample)
        return whole(assignment, saved[0] if saved else 0)

    outcome = run(tmp_path, Told(resume), SAMPLES, workers=3)
    assert sorted(outcome.seconds) == ALL
    assert len(outcome.said) == len(ALL)


def test_a_session_that_ends_the_run_ends_it_for_all_workers(tmp_path: Path) -> None:
    def behave(assignment: Assignment, number: int) -> Iterator[Event]:
        if assignment.sample == "c":
            return iter([Halted("enough was spent"), Stopped("c")])
        return whole(assignment)

    told = Told(behave)
    outcome = run(tmp_path, told, SAMPLES, error=StopRun)
    assert told.stopped
    assert outcome.status["c"] is None


def test_a_sample_that_broke_is_failed_with_the_words_of_its_error(tmp_path: Path) -> None:
    def behave(assignment: Assignment, number: int) -> Iterator[Event]:
        if assignment.sample == "c":
            return iter([*second("c", 0), Ended("c", "failed", "c.mp4 cannot be decoded", "DecodeError")])
        return whole(assignment)

    outcome = run(tmp_path, Told(behave), SAMPLES)
    assert [(f.sample, f.reason, f.error) for f in outcome.failed] == [
        ("c", "c.mp4 cannot be decoded", "DecodeError")
    ]
    assert outcome.status["c"] == "failed"


def test_a_lost_device_costs_the_worker_and_not_the_run(tmp_path: Path) -> None:
    lost = Broke("AcceleratorError", "CUDA error: device lost", "", device=True)

    def behave(assignment: Assignment, number: int) -> Iterator[Event]:
        return iter([*second("b", 0), lost, Died("ended with exit code 1")]) if number == 1 else whole(assignment)

    told = Told(behave, deque([[ready()], [ready()], [lost, Died("x")], [lost, Died("x")]]))
    outcome = run(tmp_path, told, SAMPLES)
    assert set(outcome.status.values()) == {"done"}
    assert outcome.warnings[0].split("(")[1].startswith("lost its device: CUDA error: device lost)")
    assert outcome.notes[-1].startswith("warning: worker 1 cannot be started and is given up: lost its device")


def test_an_error_that_is_no_samples_own_ends_the_run_as_it_would_alone(tmp_path: Path) -> None:
    def behave(assignment: Assignment, number: int) -> Iterator[Event]:
        return iter([Broke("ZeroDivisionError", "division by zero", "Traceback ...", device=False)])

    run(tmp_path, Told(behave), SAMPLES, error=RuntimeError)


def test_a_disk_that_a_worker_found_full_is_told_as_the_drivers_own_would_be(tmp_path: Path) -> None:
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError as error:
        event = broke(error)
    told = Told(lambda assignment, _: iter([event]))
    with pytest.raises(OSError, match="No space left") as met:
        run(tmp_path, told, SAMPLES)
    assert met.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("starts", "kind", "text"),
    [
        ([[Died("x")], [Died("x")]], ModelError, "no worker could be started: x"),
        ([[Broke("ModelError", "no such checkpoint", "", False)]], ModelError, "no such checkpoint"),
        ([[ready()], [ready(versions={"evalkit": "2"})]], UsageError, "different versions: evalkit '1' on"),
        (
            [[ready()], [ready("far", fingerprint={"seed": 7})]],
            UsageError,
            "different runs: seed 42 on .*, 7 on",
        ),
        (
            [[ready()], [ready("far", missing=("/d/a.mp4",), lacks=3, fingerprint={"data.media": "unreadable"})]],
            DataError,
            "host far lacks /d/a.mp4 and 2 more: put the data there",
        ),
    ],
)
def test_workers_that_would_make_another_run_or_none_are_one_line(
    starts: list[list[Event]], kind: type[EvalkitError], text: str
) -> None:
    told = Told(lambda assignment, _: whole(assignment), deque(starts))
    with pytest.raises(kind, match=text):
        Crew(told, 1 if len(starts) < 3 and starts[0] != [ready()] else 2, 60, lambda line: None).start()


def test_a_worker_that_takes_several_samples_is_given_several_when_all_have_one(tmp_path: Path) -> None:
    told = Told(lambda assignment, _: whole(assignment), deque([[ready(streams=2)], [ready()]]))
    outcome = run(tmp_path, told, SAMPLES)
    assert [worker for worker, _ in told.given[:3]] == [0, 1, 0]
    assert sorted(outcome.seconds) == ALL
