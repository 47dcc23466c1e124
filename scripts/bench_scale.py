"""Time what has to stay quick: `evalkit --help`, and the statistics of the largest runs. Prints one JSON object.

    PYTHONPATH=. python scripts/bench_scale.py

`help`: least wall seconds of five starts; the others: CPU seconds of this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from evalkit.stats import CompareOptions, compare_all, macro_average, mean_by_cluster


def help_seconds() -> float:
    """Return the least wall seconds of five times `evalkit --help`."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        program = Path(sys.executable).with_name("evalkit")
        subprocess.run([program, "--help"], check=True, capture_output=True)  # noqa: S603
        times.append(time.perf_counter() - began)
    return min(times)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of some work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Measure and print."""
    draw = np.random.default_rng(0)
    videos = [f"video-{number}" for number in draw.integers(0, 5000, 100_000)]
    tasks = [f"task-{number}" for number in draw.integers(0, 12, 100_000)]
    scores = (draw.random(100_000) < 0.6).astype(float)
    runs = {f"run-{k}": (draw.random(10_000) < 0.6).astype(float) for k in range(10)}
    found = {
        "help": help_seconds(),
        "mean of 100,000 answers in 5,000 videos": cpu_seconds(lambda: mean_by_cluster(scores, videos)),
        "macro average of them": cpu_seconds(lambda: macro_average(scores, tasks, videos)),
        "ten runs of 10,000 answers compared": cpu_seconds(
            lambda: compare_all(runs, videos[:10_000], options=CompareOptions(margin=0.01))
        ),
        "machine load": os.getloadavg()[0],
    }
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main()
