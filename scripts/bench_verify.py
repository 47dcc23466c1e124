"""Time `evalkit data verify` of 1,000 videos: read for the first time, and again with the record of them fresh.

    python scripts/bench_verify.py

The folder has EgoSchema's published layout; its questions and clips are those of the demo over and over, each clip
a file of its own. Prints one JSON object: wall and CPU seconds of each whole command, start of the program too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from evalkit.tasks import DemoSize
from evalkit.tasks.catalog import task_named

TASK = "egoschema"


def make_folder(folder: Path, videos: int, seconds: int) -> int:
    """Write a folder of that many clips in the published layout.

    Returns:
        Bytes of all its clips.
    """
    demo = folder / "demo"
    task_named(TASK).make_demo(demo, DemoSize(seconds=seconds))
    target = folder / TASK
    (target / "videos").mkdir(parents=True)
    questions = json.loads((demo / "questions.json").read_text())
    golds = json.loads((demo / "subset_answers.json").read_text())
    clips = json.loads((demo / "uid_to_ego4d.json").read_text())
    rows, size = [], 0
    more_golds, more_clips = {}, {}
    for number in range(videos):
        row = questions[number % len(questions)]
        old, new = row["q_uid"], f"{row['q_uid']}-{number:04}"
        video = shutil.copyfile(demo / "videos" / f"{old}.mp4", target / "videos" / f"{new}.mp4")
        size += video.stat().st_size
        rows.append({**row, "q_uid": new})
        more_clips[new] = clips[old]
        if old in golds:
            more_golds[new] = golds[old]
    for name, content in (
        ("questions.json", rows),
        ("subset_answers.json", more_golds),
        ("uid_to_ego4d.json", more_clips),
    ):
        (target / name).write_text(json.dumps(content))
    return size


def timed_verify(folder: Path) -> dict[str, float]:
    """Return the seconds that one `evalkit data verify` took, and how many files it read."""
    program = Path(sys.executable).with_name("evalkit")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command = [str(program), "data", "verify", TASK, "--data", str(folder), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(done.stdout)
    wrong = [one for one in (*report["problems"], *report["rows"]) if one["kind"] != "other-version"]
    assert not wrong, wrong[:3]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "files_read": report["looked_at"]}


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=180, help="length of each clip")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = make_folder(Path(folder), args.videos, args.seconds)
        first, again = (timed_verify(Path(folder) / TASK) for _ in range(2))
    result = {
        "videos": args.videos,
        "mb": round(size / 1e6, 1),
        "first": first,
        "again": again,
        "load": round(os.getloadavg()[0], 1),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
