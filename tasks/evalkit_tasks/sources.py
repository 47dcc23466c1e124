"""Where the benchmarks are published, as their data sheets say.

Read from data sheets and code; the hubs themselves were not at hand when this was written.

Hub data sets are fetched at the commit that `main` stands at when a folder is first filled, unless `--revision`
names another; the folder keeps to it. Annotations in a repository of code are taken at the commit that was read.
"""

from __future__ import annotations

__all__ = [
    "EGOSCHEMA",
    "INF_STREAMS",
    "LIVESPORTS",
    "LONGVIDEOBENCH",
    "MLVU",
    "OVOBENCH",
    "STREAMINGBENCH",
    "VIDEOMME",
]

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from evalkit.fetch import Archives, Needed, PlainFiles, Source, WebFiles


def _games(data: Path) -> Sequence[Needed]:
    """Return the games of Inf-Streams-Eval: its loader wants at least one video."""
    from evalkit_tasks.inf_streams.data import read_data

    rows = read_data(data).metadata
    return [Needed(row.name, row.video.lstrip("/")) for row in rows]


def _sample_folder(path: str) -> str:
    """Return ``sample_7`` of ``videos/sample_7_real.mp4`` and of ``Counting_1-25/sample_7/video.mp4``."""
    found = re.search(r"sample_\d+", path)
    return found[0] if found else PurePosixPath(path).name


def _youtube(path: str) -> str:
    return f"https://www.youtube.com/watch?v={PurePosixPath(path).stem}"


INF_STREAMS = Source(
    repo="mit-han-lab/Inf-Stream-Eval",
    annotations=(PlainFiles(("*.jsonl",)),),
    videos=(PlainFiles(("*.mp4", "*.mkv", "*.webm")),),
    terms="the licence of the data set could not be verified: look before you publish",
    needed=_games,
)
OVOBENCH = Source(
    repo="JoeLeelyf/OVO-Bench",
    web=(WebFiles("https://github.com/JoeLeelyf/OVO-Bench/raw/c34093f9/data/", ("ovo_bench_new.json",)),),
    videos=(Archives(("src_videos.tar.part*",), "tar"),),
    terms="CC BY-NC-SA 4.0 and the licences of the twelve sources",
)
STREAMINGBENCH = Source(
    repo="mjuicem/StreamingBench",
    web=(
        WebFiles(
            "https://github.com/THUNLP-MT/StreamingBench/raw/8929923/src/data/",
            ("questions_real.json", "questions_omni.json", "questions_sqa.json", "questions_proactive_50.json"),
        ),
    ),
    videos=(Archives(("*.zip",), "zip"),),
    key=_sample_folder,
)
LONGVIDEOBENCH = Source(
    repo="longvideobench/LongVideoBench",
    annotations=(PlainFiles(("lvb_val.json", "lvb_test_wo_gt.json")),),
    videos=(Archives(("videos.tar.part.*",), "tar"),),
    others=(Archives(("subtitles.tar",), "tar"),),
    terms="gated: accept the terms on the data set's page; CC BY-NC-SA 4.0",
)
VIDEOMME = Source(
    repo="lmms-lab/Video-MME",
    annotations=(PlainFiles(("videomme/test-*.parquet",)),),
    videos=(Archives(("videos_chunked_*.zip",), "zip"),),
    others=(Archives(("subtitle.zip",), "zip"),),
    terms="academic research only, no redistribution",
    address=_youtube,
)
EGOSCHEMA = Source(
    repo="lmms-lab/egoschema",
    web=(
        WebFiles(
            "https://github.com/egoschema/EgoSchema/raw/main/",
            ("questions.json", "subset_answers.json", "uid_to_ego4d.json"),
        ),
    ),
    videos=(Archives(("videos_chunked_*.zip",), "zip"),),
    terms="the clips are Ego4D material: research use",
)
MLVU = Source(
    repo="MLVU/MVLU",
    annotations=(PlainFiles(("MLVU/json/*.json",), strip=1),),
    videos=(PlainFiles(("MLVU/video/*",), strip=1),),
    terms="gated: accept the terms on the data set's page; CC BY-NC-SA 4.0, research only",
)
LIVESPORTS = Source(
    repo="stdKonjac/LiveSports-3K",
    annotations=(PlainFiles(("LiveSports-3K-CC.json", "LiveSports-3K-QA.json")),),
    videos=(Archives(("videos.tar.part*",), "tar"),),
    address=_youtube,
)
