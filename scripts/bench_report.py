"""Time what reads large runs: the report and its page in a browser, `compare`, `rank` and `leaderboard add`.

    PYTHONPATH=. python scripts/bench_report.py                  # narration: 201,600 ticks, 100,800 answers, ...
    PYTHONPATH=. python scripts/bench_report.py --kind questions

Makes two runs of `--videos` videos (every tick a second; every other one narrated, every eight seconds judged in
both orders) or of as many questions, runs each command in a process of its own, and prints one JSON object a line:
wall and CPU seconds, the process's peak resident memory, the page's size, and the seconds until a Chromium has
loaded the page from disk and shown its first list, with the size of the page's JavaScript heap then.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from evalkit.records import AnswerRecord, VerdictRecord
from tests.e2e.devtools import Browser, find_chromium
from tests.run_folders import PHRASES, counted, manifest, question, question_metrics, tick, write_run

SECONDS, WINDOW = 7200, 8
ALIKE = {"policy": "one"}  # so that the two runs differ in the model alone
READY = {"narration": "#timelines .picker tbody tr", "questions": "#questions tbody tr"}
WORDS = ("wide", "keeper", "corner", "midfield", "header", "replay", "bench", "referee", "crowd", "penalty")


def sentence(second: int, rng: random.Random) -> str:
    """Return a narrated sentence; hardly two are alike."""
    return f"{rng.choice(PHRASES)} {' '.join(rng.choices(WORDS, k=4))} {second // 60}"


def answers(model: str, videos: int) -> Iterator[AnswerRecord]:
    """Return one answer for every second tick of every video."""
    rng, reference = random.Random(model), random.Random("reference")
    for sample in (f"game-{video}" for video in range(videos)):
        for second in range(0, SECONDS, 2):
            text = sentence(second, rng)
            yield AnswerRecord(
                sample=sample, query=f"{sample}@{second}", kind="narration", at=second + 1, start=second,
                end=second + 1, text=text, parsed=text, rule="ending cut", gold=sentence(second, reference),
                cluster=sample, tokens=len(text.split()), seconds=0.3,
            )  # fmt: skip


def verdicts(model: str, videos: int) -> Iterator[VerdictRecord]:
    """Return both orders of every window of every video, with replies as a chat model writes them."""
    rng = random.Random(f"judge {model}")
    orders: tuple[Literal["ab", "ba"], ...] = ("ab", "ba")
    for sample in (f"game-{video}" for video in range(videos)):
        for start in range(0, SECONDS, WINDOW):
            for order in orders:
                won = rng.random() < 0.6
                slot = "A" if won == (order == "ab") else "B"
                why = " ".join(rng.choices(WORDS, k=12))
                yield VerdictRecord(
                    key=f"{rng.getrandbits(256):064x}", pair=f"{sample}@{start}-{start + WINDOW}", cluster=sample,
                    start=start, end=start + WINDOW, order=order, vote="first" if slot == "A" else "second",
                    winner="test" if won else "baseline", rule="letter", attempts=1, judge="judge-model (t=0)",
                    reply=f"Commentary {slot} follows the play more closely: {why}. [[{slot}]]",
                    model_name=model, baseline_name="baseline", baseline_id="0123abcd", prompt_tokens=900,
                    completion_tokens=40, seconds=0.6,
                )  # fmt: skip


def make_run(folder: Path, model: str, kind: str, videos: int) -> Path:
    """Write one large run."""
    clock = random.Random(f"clock {model}")
    samples = [f"game-{video}" for video in range(videos)]
    ticks = (tick(one, second, 0.0, clock, bounded=True) for one in samples for second in range(SECONDS))
    if kind == "narration":
        run = manifest("inf-streams", model, planned=samples, fingerprint=ALIKE)
        said, judged = answers(model, videos), verdicts(model, videos)
        return counted(write_run(folder, run, answers=said, ticks=ticks, verdicts=judged)).path
    rng = random.Random(model)
    asked = [question(number, rng, 0.65) for number in range(videos * SECONDS // 2)]
    planned = sorted({one.sample for one in asked})
    run = manifest("ovobench", model, planned=planned, fingerprint=ALIKE)
    return counted(write_run(folder, run, answers=asked, ticks=ticks, metrics=question_metrics(asked))).path


def measured(name: str, *arguments: str | Path) -> dict[str, object]:
    """Run one command of evalkit and return what it took."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "evalkit.cli.main", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{name}: exit {process.returncode}: {(process.stderr or sys.stderr).read()!r}")
    return {
        "what": name,
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
    }


def opened(page: Path, kind: str) -> dict[str, object]:
    """Open a page in a browser and return its size and the time until its list stands."""
    facts: dict[str, object] = {"page_mb": round(page.stat().st_size / 1e6, 1)}
    program = find_chromium()
    if program is None:
        return facts | {"opened_seconds": "no Chromium on this machine"}
    with Browser(program) as browser:
        tab = browser.tab()
        began = time.perf_counter()
        tab.open(page.as_uri())
        tab.wait(f"document.querySelector('{READY[kind]}')")
        facts["opened_seconds"] = round(time.perf_counter() - began, 2)
        facts["heap_mb"] = round(tab.run("performance.memory.usedJSHeapSize") / 1e6)
        tab.close()
    return facts


def main() -> None:
    """Make the runs, measure every command, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=tuple(READY), default="narration")
    parser.add_argument("--videos", type=int, default=28, help="of two hours each (%(default)s)")
    parser.add_argument("--folder", type=Path, help="keep the runs here, and use those already made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        top = options.folder or Path(scratch)
        runs = [top / options.kind / model for model in ("streamingvlm", "sliding")]
        for run in runs:
            if not (run / "metrics.json").exists():
                make_run(run, run.name, options.kind, options.videos)
        for given in (runs[:1], runs):
            page = top / f"{options.kind}-{len(given)}.html"
            took = measured(f"report of {len(given)}", "report", *given, "--out", page)
            print(json.dumps(took | opened(page, options.kind)), flush=True)
        print(json.dumps(measured("compare", "compare", *runs)), flush=True)
        if options.kind == "narration":
            print(json.dumps(measured("rank", "rank", *runs)), flush=True)
        board = ("--leaderboards", Path(scratch) / "boards")
        print(json.dumps(measured("leaderboard add", "leaderboard", "add", runs[0], *board)), flush=True)
        print(json.dumps({"machine_load": round(os.getloadavg()[0], 2)}))


if __name__ == "__main__":
    main()
