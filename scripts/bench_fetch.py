"""Time `evalkit data fetch` against a bare `snapshot_download` of the same files from the same loopback server.

    python scripts/bench_fetch.py --mib 128

The server, in a process of its own, speaks the hub's API. The two take turns; each starts with an empty folder.
`fetch` also checks every file's digest and writes its record. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import huggingface_hub
import huggingface_hub.constants
import numpy as np
from hub_server import HubServer

from evalkit.fetch.fetch import FetchRequest, fetch
from evalkit.fetch.sources import PlainFiles
from evalkit.tasks.catalog import data_folder, task_named

REPO = "lmms-lab/Video-MME"


def serve(folder: Path, mib: int, pipe: Connection) -> None:
    """Serve a data set's tables, and noise in place of its videos, until told to stop."""
    files = {}
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if path.suffix == ".mp4":
            content = np.random.default_rng(number).bytes(mib * 2**20)
        elif path.suffix in (".parquet", ".srt"):
            content = path.read_bytes()
        else:
            continue
        files[path.relative_to(folder).as_posix()] = content
    with HubServer(files, repo=REPO) as server:
        pipe.send((server.url, sum(map(len, files.values()))))
        pipe.recv()


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=128, help="size of each of the three files")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    task = task_named("videomme")
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(data_folder(task, "demo"), args.mib, there)
    )
    server.start()
    url, size = here.recv()
    public = huggingface_hub.constants.ENDPOINT
    source = dataclasses.replace(
        task.published_at, videos=(PlainFiles(("data/*.mp4",)),), others=(PlainFiles(("subtitle/*.srt",)),)
    )
    type(task).published_at = source
    ours, theirs = [], []
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            huggingface_hub.constants.ENDPOINT = public  # replaced by `endpoint`
            began = time.perf_counter()
            huggingface_hub.snapshot_download(REPO, repo_type="dataset", local_dir=folder, endpoint=url)
            theirs.append(time.perf_counter() - began)
        with tempfile.TemporaryDirectory() as folder:
            huggingface_hub.constants.ENDPOINT = url
            began = time.perf_counter()
            report = fetch(FetchRequest(task, Path(folder) / "set"))
            ours.append(time.perf_counter() - began)
            assert report.bytes == size, (report.bytes, size)
    here.send("stop")
    server.join()
    result = {
        "mib": round(size / 2**20, 1),
        "fetch_s": round(statistics.median(ours), 3),
        "snapshot_download_s": round(statistics.median(theirs), 3),
        "ratio": round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3),
        "load": round(os.getloadavg()[0], 1),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
