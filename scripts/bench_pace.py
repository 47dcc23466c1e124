"""Measure what a paced run adds: how far arrivals are from the wall clock, and what recording a second costs.

    python scripts/bench_pace.py                       # about a minute, most of it asleep

Pacing error: a stream of `--chunks` chunks of `--chunk` seconds whose session does nothing; how long after its
arrival work on each chunk could begin. Recording: CPU time of the records of a second with 20 tokens (tick,
answer, memory), with and without the time of each token, beside a second of a session with the checkpoint `tiny`
(504x280, 2 fps, 20 tokens). Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from evalkit.bench import SyntheticFrames
from evalkit.bench.measure import BenchRequest, models_of
from evalkit.models.protocol import SessionRequest, Spoken
from evalkit.records import AnswerRecord, RunFolder
from evalkit.run.pace import Pace, PacedStream
from evalkit.run.recorder import Recorder
from evalkit.run.sample import tick_record
from evalkit.stream import Chunk, FrameFeed, FrameSchedule, Narration

TOKENS = 20


def pacing_errors(chunks: int, chunk_seconds: float) -> list[float]:
    """Return the seconds between each chunk's arrival and when it could be worked on."""
    schedule = FrameSchedule(0, chunks * chunk_seconds, min(30, 1 / chunk_seconds), chunk_seconds)
    found = []
    with SyntheticFrames((28, 28), 0) as source, FrameFeed(schedule, source) as feed:
        stream = PacedStream(feed, Pace(), lambda tick, paced: None, lambda line: None)
        for chunk in stream:
            found.append(stream.record(chunk.tick, None).lag or 0.0)
    return found


def cpu_seconds(work: Callable[[int], None], repeats: int) -> float:
    """Return the CPU seconds of one repeat, the median of five rounds."""
    rounds = []
    for number in range(5):
        began = time.process_time()
        for place in range(repeats):
            work(number * repeats + place)
        rounds.append((time.process_time() - began) / repeats)
    return statistics.median(rounds)


def recording(folder: Path, chunk: Chunk, spoken: Spoken, peak: Callable[[], float]) -> dict[str, float]:
    """Return the CPU seconds that the records of one second take, with and without token times."""
    figures = {}
    bare = SimpleNamespace(**{name: getattr(spoken.step, name) for name in spoken.step.__slots__})
    bare.token_times = ()
    for name, step in (("recording", spoken.step), ("recording_without_token_times", bare)):
        target = RunFolder(folder / name)
        target.path.mkdir()
        with Recorder(target) as recorder:

            def record(number: int, step: object = step, recorder: Recorder = recorder) -> None:
                tick = tick_record(str(number), chunk, step, peak())  # type: ignore[arg-type]
                recorder.tick(tick)
                recorder.answer(
                    AnswerRecord(
                        sample=str(number), query=f"{number}@0", kind="narration", at=1, start=0, end=1,
                        text=spoken.text, tokens=len(spoken.ids), seconds=tick.stages.total,
                    )
                )  # fmt: skip

            figures[name] = cpu_seconds(record, 200)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=1000, help="chunks of the paced stream (1000)")
    parser.add_argument("--chunk", type=float, default=0.05, help="seconds of a chunk (0.05)")
    args = parser.parse_args()
    errors = 1e3 * np.array(pacing_errors(args.chunks, args.chunk))
    p50, p99 = np.percentile(errors, (50, 99))
    request = BenchRequest(("streamingvlm",), "tiny", 30, (504, 280), tokens=TOKENS)
    ((_, model),) = models_of(request)
    session = model.open(SessionRequest("s", 2.0, 0, Narration("Describe what happens.", " and" * 1100)))
    source = SyntheticFrames(model.frame_size(504, 280), 0)
    spent = []
    with FrameFeed(FrameSchedule(0, request.seconds, 2), source) as feed:
        for chunk in feed:
            began = time.process_time()
            spoken = session.speak(chunk)
            spent.append(time.process_time() - began)
    second = statistics.median(spent[20:])
    with tempfile.TemporaryDirectory() as folder:
        costs = recording(Path(folder), chunk, spoken, model.peak_mib)
    with_times, without = costs["recording"], costs["recording_without_token_times"]
    print(
        json.dumps(
            {
                "pacing_error_ms": {"n": len(errors), "p50": p50, "p99": p99, "max": errors.max()},
                "second_cpu_ms": 1e3 * second,
                "recording_cpu_ms": 1e3 * with_times,
                "token_times_cpu_ms": 1e3 * (with_times - without),
                "recording_over_second": with_times / second,
                "token_times_over_second": (with_times - without) / second,
            },
            default=float,
        )
    )


if __name__ == "__main__":
    main()
