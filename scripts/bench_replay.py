"""Time `evalkit replay` on 100,000 recorded seconds, in a process of its own, table and plots included.

    PYTHONPATH=. python scripts/bench_replay.py                # times of 20 tokens a second on record
    PYTHONPATH=. python scripts/bench_replay.py --tokens 0     # without them
    PYTHONPATH=. python scripts/bench_replay.py --paced        # with arrivals, lags and backlogs of a paced run

Prints one JSON object: wall and CPU seconds, peak resident memory in MiB.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from evalkit.records import PacedTick, TickRecord
from tests.run_folders import manifest, tick, write_run

SAMPLES, SECONDS = 20, 5000


def ticks(tokens: int, paced: bool) -> Iterator[TickRecord]:
    """Yield the seconds of twenty streams, each about half a second of work."""
    rng = random.Random(0)
    for sample in (f"game-{number}" for number in range(SAMPLES)):
        for second in range(SECONDS):
            one = tick(sample, second, 0.0, rng, bounded=True)
            more: dict[str, object] = {}
            if tokens:
                gaps = [0.13, *(0.01 + 0.002 * rng.random() for _ in range(tokens - 1))]
                times = [round(sum(gaps[: place + 1]), 6) for place in range(tokens)]
                more = {"token_times": times, "generated": tokens}
            if paced:
                arrival = second + 1.0
                end = arrival + one.stages.total
                more["pace"] = PacedTick(arrival=arrival, start=arrival, end=end, lag=one.stages.total)
            yield one.model_copy(update=more)


def main() -> None:
    """Write the run, replay it, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=20, help="token times a second (20)")
    parser.add_argument("--paced", action="store_true", help="with the clock of a paced run on record")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = write_run(Path(folder) / "run", manifest("inf-streams", "m"), ticks=ticks(args.tokens, args.paced))
        size = (run / "ticks.jsonl").stat().st_size
        began = time.perf_counter()
        command = [
            sys.executable,
            "-c",
            "import sys; from evalkit.cli.main import main; sys.exit(main())",
            "replay",
            str(run),
        ]
        shown = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout  # noqa: S603
        wall = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {
        "seconds": SAMPLES * SECONDS,
        "megabytes": round(size / 1e6, 1),
        "wall": round(wall, 2),
        "cpu": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mib": round(usage.ru_maxrss / 1024),
        "table_lines": len(shown.splitlines()),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
