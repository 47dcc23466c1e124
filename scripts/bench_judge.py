"""Time a chat judge against a server that answers each call after a fixed delay, in a process of its own.

    python scripts/bench_judge.py --calls 2000 --delay 0.2

Prints one JSON object: wall and CPU seconds of all calls (pairs judged in both orders, verdicts written to disk),
the bound that delay and concurrency set, seconds to load the openai package (before), and the machine's load.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from evalkit.judge import ChatJudge, Endpoint, JudgeSettings, Pair, VerdictStore, judge_pairs

SERVER = Path(__file__).resolve().parent.parent / "tests" / "judge_server.py"
TEXT = "He drives past two defenders and scores the layup, it is 34 to 31 with two minutes left on the clock. "


def pairs(count: int) -> list[Pair]:
    """Return pairs with 6,000 characters of text each."""
    return [
        Pair(
            f"p{n}", f"v{n % 20}", 100.0 * n, 100.0 * n + 100.0, TEXT * 20, f"{n} {TEXT * 20}", f"{n} {TEXT * 19}"
        )
        for n in range(count)
    ]


def measure(base_url: str, calls: int, concurrency: int, folder: Path) -> dict[str, float]:
    """Judge ``calls // 2`` pairs and return the timings in seconds."""
    judge = ChatJudge("bench", Endpoint(base_url), settings=JudgeSettings(concurrency=concurrency))
    todo = pairs(calls // 2)
    began = time.perf_counter()
    importlib.import_module("openai")
    loaded = time.perf_counter() - began
    began, cpu = time.perf_counter(), time.process_time()
    with VerdictStore(folder / "verdicts.jsonl") as store:
        verdicts = judge_pairs(todo, judge, model_name="a", baseline_name="b", store=store)
    wall = time.perf_counter() - began
    answered = sum(verdict.vote == "first" for verdict in verdicts)
    if answered != calls:
        raise SystemExit(f"{calls - answered} of {calls} calls got no vote")
    return {
        "seconds": round(wall, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "load_package_seconds": round(loaded, 3),
        "machine_load": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    """Start the server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds the server takes for a reply")
    parser.add_argument("--concurrency", type=int, default=64)
    options = parser.parse_args()
    command = [sys.executable, str(SERVER), "--delay", str(options.delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            assert server.stdout is not None
            base_url = server.stdout.readline().strip()
            with tempfile.TemporaryDirectory() as folder:
                result = measure(base_url, options.calls, options.concurrency, Path(folder))
        finally:
            server.terminate()
    bound = options.calls * options.delay / options.concurrency
    print(json.dumps({"calls": options.calls, "delay": options.delay, "bound": bound, **result}))


if __name__ == "__main__":
    main()
