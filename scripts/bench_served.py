"""Time a served model against a server that answers each request after a fixed delay, in a process of its own.

    python scripts/bench_served.py --questions 1000 --delay 0.2 --concurrency 64

Questions are asked of sessions as a run asks them, each on a thread with frames of its own, replies streamed.
Prints one JSON object: wall and CPU seconds of asking, seconds of encoding alone, the bound that delay and
concurrency set, and the machine's load. Decoding of videos is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np

from evalkit.models.catalog import catalog
from evalkit.models.entry import ModelChoice
from evalkit.models.protocol import SessionRequest
from evalkit.models.served import ServedModel
from evalkit.stream import Chunk, Elicitation, Tick

SERVER = Path(__file__).resolve().parent.parent / "tests" / "judge_server.py"


def seconds_of_stream(count: int, height: int) -> list[Chunk]:
    """Return seconds of two noisy frames each, 16:9."""
    draw = np.random.default_rng(0)
    chunks = []
    for second in range(count):
        coarse = draw.integers(0, 256, (2, height // 8, height * 2 // 9, 3), dtype=np.uint8)
        frames = coarse.repeat(8, axis=1).repeat(8, axis=2)
        times = (Fraction(second), Fraction(2 * second + 1, 2))
        chunks.append(
            Chunk(Tick(second, Fraction(second), Fraction(second + 1), times), frames, times, times, 0.0, 0.0)
        )
    return chunks


def ask(model: ServedModel, number: int, chunks: list[Chunk]) -> str:
    """Ask one question about a stream."""
    session = model.open(SessionRequest(f"s{number}", 2.0))
    try:
        for chunk in chunks:
            session.observe(chunk)
        return session.ask("Which?\nA. one\nB. two", Elicitation(), key=str(number)).text
    finally:
        session.close()


def measure(base_url: str, options: argparse.Namespace) -> dict[str, float]:
    """Ask all questions and return the timings in seconds."""
    choice = ModelChoice("bench", base_url, concurrency=options.concurrency, settings={"model": {"probe": False}})
    model = catalog("api").recipe(choice).make()
    assert isinstance(model, ServedModel)
    chunks = seconds_of_stream(options.seconds, options.height)
    began = time.perf_counter()
    for chunk in chunks:
        for one in model.encoder.encode(chunk.frames):
            one.result()
    encoding = (time.perf_counter() - began) * options.questions
    ask(model, -1, chunks)  # loads the openai package, opens the connections' pools
    began, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(options.concurrency) as pool:
        said = list(pool.map(lambda number: ask(model, number, chunks), range(options.questions)))
    wall, spent = time.perf_counter() - began, time.process_time() - cpu
    model.close()
    if set(said) != {"A"}:
        raise SystemExit("not every question got its reply")
    return {
        "seconds": round(wall, 3),
        "cpu_seconds": round(spent, 3),
        "encoding_alone_seconds": round(encoding, 3),
        "machine_load": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    """Start the server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds the server takes for a reply")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=1, help="seconds of stream before each question")
    parser.add_argument("--height", type=int, default=144, help="height of the frames, pixels")
    options = parser.parse_args()
    command = [sys.executable, str(SERVER), "--delay", str(options.delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            assert server.stdout is not None
            result = measure(server.stdout.readline().strip(), options)
        finally:
            server.terminate()
    bound = -(-options.questions // options.concurrency) * options.delay
    print(json.dumps({"questions": options.questions, "delay": options.delay, "bound": round(bound, 3), **result}))


if __name__ == "__main__":
    main()
