"""Measure what workers bring and what their driver costs.

Speed: two workers on two cores against one, one torch thread each, on demo samples, as a ratio of what the driver
took from the first sample given out to the last one done; the start of the workers is told apart. The sides take
turns, so that a noisy machine troubles them alike. On a machine that others load, two workers may get no more of
it than one: processor seconds then say what two cores of one's own would give, ``times_as_fast_by_cpu`` (the
samples are equally long, so two workers share them evenly).

Driver: the records of 64 simulated workers at one second of stream a second each, taken in by one driver over
sockets as from real workers: processor seconds of the driver a second of wall time. Each worker's second is a
message of a second's record, its words, and that it passed; every 60 seconds comes a checkpoint.

    python scripts/bench_workers.py speed --samples 8 --seconds 60 --turns 2
    python scripts/bench_workers.py driver --workers 64 --seconds 120
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOAD = "load_1_min"


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    speed = commands.add_parser("speed")
    speed.add_argument("--samples", type=int, default=8)
    speed.add_argument("--seconds", type=int, default=60, help="length of each")
    speed.add_argument("--turns", type=int, default=2, help="how often each side runs")
    speed.add_argument("--model", default="streamingvlm")
    speed.add_argument("--checkpoint", default="tiny")
    driver = commands.add_parser("driver")
    driver.add_argument("--workers", type=int, default=64)
    driver.add_argument("--seconds", type=int, default=120, help="seconds of stream of each worker")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="bench-workers-") as folder:
        measure = {"speed": measure_speed, "driver": measure_driver}[args.command]
        found = measure(args, Path(folder))
    json.dump(found, sys.stdout, indent=2)
    sys.stdout.write("\n")


def measure_speed(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the same samples with one and with two workers, in turns."""
    from evalkit.tasks.catalog import task_named
    from evalkit.tasks.made import DemoSize

    task_named("inf-streams").make_demo(folder / "data", DemoSize(args.samples, args.seconds, 0))
    took: dict[int, list[float]] = {1: [], 2: []}
    spent: dict[int, list[float]] = {1: [], 2: []}
    starts: dict[int, list[float]] = {1: [], 2: []}
    loads = [os.getloadavg()[0]]
    for turn in range(args.turns):
        for workers in (1, 2):
            out = folder / f"{workers}-{turn}"
            for found, seconds in zip(
                (starts, took, spent), timed_run(args, folder / "data", out, workers), strict=True
            ):
                found[workers].append(round(seconds, 2))
            loads.append(os.getloadavg()[0])
    medians = {workers: statistics.median(times) for workers, times in took.items()}
    cpu = {workers: statistics.median(times) for workers, times in spent.items()}
    return {
        "samples": args.samples,
        "seconds_each": args.seconds,
        "start_seconds": starts,
        "run_seconds": took,
        "run_cpu_seconds": spent,
        "times_as_fast": round(medians[1] / medians[2], 3),
        "times_as_fast_by_cpu": round(2 * cpu[1] / cpu[2], 3),
        LOAD: [round(load, 1) for load in loads],
        "cores": len(os.sched_getaffinity(0)),
    }


def timed_run(args: argparse.Namespace, data: Path, out: Path, workers: int) -> tuple[float, float, float]:
    """Run once; return the seconds of the start, those of the samples, and what processors spent on these."""
    from evalkit.records import RunFolder
    from evalkit.run.options import merge_options
    from evalkit.run.runner import execute
    from evalkit.run.start import prepare

    options = merge_options([{
        "task": "inf-streams", "model": args.model, "checkpoint": args.checkpoint, "data": str(data),
        "out": str(out), "workers": workers, "device": "cpu",
    }])  # fmt: skip
    plan, moments = prepare(options), [(time.monotonic(), 0.0)]

    def notify(line: str) -> None:
        if "ready after" in line:
            moments.append((time.monotonic(), spent_by_all()))
        elif not line.startswith("expected"):
            raise SystemExit(f"the run went wrong: {line}")

    execute(plan, notify, done=lambda _: moments.append((time.monotonic(), spent_by_all())))
    if RunFolder(out).read_manifest().failed:
        raise SystemExit("samples failed: nothing was measured")
    (begun, _), (ready, before), (ended, after) = moments
    return ready - begun, ended - ready, after - before


def spent_by_all() -> float:
    """Return the processor seconds of this process and of its workers, as long as they are there."""
    import psutil

    process = psutil.Process()
    times = [one.cpu_times() for one in (process, *process.children())]
    return sum(one.user + one.system for one in times)


def measure_driver(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Let one driver take in what so many workers would send, as fast as it comes; count its processor time."""
    from evalkit.records import RunFolder
    from evalkit.run.checkpoint import SessionCheckpoints
    from evalkit.run.recorder import Recorder
    from evalkit.run.stop import StopRequest
    from evalkit.run.work import Work
    from evalkit.run.workers.crew import Crew
    from evalkit.run.workers.driver import drive
    from evalkit.stream import Narration, StreamSample

    samples = tuple(
        StreamSample(f"s{n}", Path("a.mp4"), 0, args.seconds, 2, narration=Narration("say"))
        for n in range(args.workers)
    )
    files = RunFolder(folder)
    executor = Simulated(args.workers, args.seconds, files.state_path)
    with Recorder(files, repeats=True) as recorder:
        work = Work(
            samples=samples,
            state=files.state_path,
            recorder=recorder,
            checkpoints=SessionCheckpoints(files.state_path),
            fail=lambda failure: sys.exit(str(failure)),
            warn=sys.exit,
            notify=lambda line: None,
            stop=StopRequest(),
            advanced=lambda seconds: None,
        )
        crew = Crew(executor, args.workers, 600, lambda line: None)
        crew.start()
        thread, begun = time.thread_time(), time.monotonic()
        drive(work, crew, executor)
        spent, wall = time.thread_time() - thread, time.monotonic() - begun
        recorded = recorder.recorded()
    executor.close()
    if {(one.ticks, one.answers) for one in recorded.values()} != {(args.seconds, args.seconds)}:
        raise SystemExit("records are missing: nothing was measured")
    return {
        "workers": args.workers,
        "stream_seconds": args.workers * args.seconds,
        "driver_cpu_seconds": round(spent, 3),
        "wall_seconds": round(wall, 3),
        "driver_share_of_a_second_at_1_hz": round(spent / args.seconds, 5),
        "microseconds_a_stream_second": round(1e6 * spent / (args.workers * args.seconds), 1),
        LOAD: round(os.getloadavg()[0], 1),
    }


class Simulated:
    """Sockets of workers that a thread writes into: a message a second of stream, in turns, one after the other.

    Args:
        workers: How many.
        seconds: Seconds of stream of each.
        state: Where checkpoints are laid aside.
    """

    def __init__(self, workers: int, seconds: int, state: Path) -> None:
        from evalkit.run.workers.channel import Channel

        self._seconds, self._state = seconds, state
        pairs = [socket.socketpair() for _ in range(workers)]
        self._channels = [Channel(mine, 60) for mine, _ in pairs]
        self._ends = [Channel(theirs, 60) for _, theirs in pairs]
        self._selector = selectors.DefaultSelector()
        for worker, channel in enumerate(self._channels):
            self._selector.register(channel, selectors.EVENT_READ, worker)
        self._given: dict[int, str] = {}
        self._waiting = threading.Semaphore(0)

    def start(self, worker: int) -> None:
        """Be ready at once."""
        from evalkit.run.workers.contract import Ready

        ready = Ready(socket.gethostname(), 1, 0.0, 0.0, "cpu", {}, {}, {}, (), 0, 1)
        self._ends[worker].send([ready])

    def submit(self, worker: int, assignment: Any) -> bool:
        """Begin to write when all have a sample."""
        self._given[worker] = assignment.sample
        if len(self._given) == len(self._channels):
            threading.Thread(target=self._write, daemon=True).start()
        return True

    def _write(self) -> None:
        from evalkit.run.checkpoint import SessionCheckpoints
        from evalkit.run.workers.contract import Ended, Saved

        state = SessionCheckpoints(self._state)
        for second in range(self._seconds):
            for worker, sample in self._given.items():
                events = second_of(sample, second)
                if second % 60 == worker % 60:
                    part = state.lay_aside(sample, second + 1, b"x" * 100_000)
                    events.append(Saved(sample, second + 1, part, None))
                self._ends[worker].send(events)
                time.sleep(0.0002)  # as at 1 Hz, the driver wakes for each message, and finds no heap of them
        for worker, sample in self._given.items():
            self._ends[worker].send([Ended(sample, "done")])

    def stop(self) -> None:
        """Nothing is stopped here."""

    def poll(self, seconds: float) -> Sequence[tuple[int, Any]]:
        """Return what has come, as `LocalExecutor` does."""
        found: list[tuple[int, Any]] = []
        for key, _ in self._selector.select(seconds):
            found += [(key.data, event) for message in self._channels[key.data].receive() for event in message]
        return found

    def kill(self, worker: int) -> None:
        """Nobody hangs here."""

    def close(self) -> None:
        """Close the sockets."""
        for channel in (*self._channels, *self._ends):
            channel.close()


def second_of(sample: str, second: int) -> list[Any]:
    """Return the events of a second as a worker sends them: with the fields of a real one."""
    from evalkit.records import AnswerRecord, StageTimes, TickRecord, json_line
    from evalkit.run.recorder import Said, moment_of
    from evalkit.run.workers.contract import Passed, PutAnswer, PutTick

    kinds = {"system": 14, "previous_text": 512, "time": 160, "vision": 2880, "query": 16, "assistant": 320}
    times = [round(0.05 + 0.003 * k, 6) for k in range(20)]
    tick = TickRecord(
        sample=sample, second=second, start=second, end=second + 1, frames=2,
        stages=StageTimes(decode=0.01, prefill=0.04, generate=0.06, total=0.11),
        tokens_in=kinds, kept=kinds, evicted=kinds, generated=20, cache_tokens=3900, peak_mib=650.5, rss_mib=650.5,
        first_token=0.05, token_times=times, memory={"rss": 650.5},
    )  # fmt: skip
    said = AnswerRecord(
        sample=sample, query=f"{sample}@{second}", kind="narration", at=second + 1, start=second, end=second + 1,
        text="number seven picks it up in midfield and looks for the wide man", tokens=20, seconds=0.11,
        first_token=0.05, cluster=sample, tags={"part": "first"},
    )  # fmt: skip
    return [
        PutTick(moment_of(tick), json_line(tick)),
        PutAnswer(Said.of(said), json_line(said)),
        Passed(sample, 1.0),
    ]


if __name__ == "__main__":
    main()
