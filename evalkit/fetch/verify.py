"""Look at every file of a data folder once: its digest, length and a second of every video, every row."""

from __future__ import annotations

__all__ = ["VerifyReport", "verify"]

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from evalkit.errors import DataError, DecodeError
from evalkit.fetch.download import digest
from evalkit.records import hold_folder
from evalkit.records.data_files import (
    MANIFEST,
    FileState,
    Manifest,
    data_files,
    read_manifest,
    state_of,
    write_manifest,
)
from evalkit.tasks import Problem, Task
from evalkit.video import probe, read_frames

_AT_ONCE = 2
_VIDEO_SUFFIXES = frozenset({".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm"})


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found.

    Args:
        folder: The data folder.
        files: How many files there are.
        looked_at: How many were read now; the others are unchanged since they were read last.
        videos: How many are videos.
        problems: What is wrong, by file.
        rows: What the benchmark's own check found.
        absent: Videos that could not be had when the data were fetched, with the reason.
        needed: How many videos the samples need, where that is on record.
    """

    folder: Path
    files: int
    looked_at: int
    videos: int
    problems: tuple[Problem, ...]
    rows: tuple[Problem, ...]
    absent: dict[str, str]
    needed: int


def verify(task: Task, folder: Path, *, anew: bool = False) -> VerifyReport:
    """Verify a data folder and write down what was found.

    Args:
        task: The benchmark.
        folder: Its files.
        anew: Whether to read files again that are unchanged since they were read last.

    Raises:
        UsageError: Another process is at work in the folder.
        DataError: The benchmark's annotation files are not there.
    """
    with hold_folder(folder):
        before = read_manifest(folder)
        known = before or Manifest(task=task.name)
        names = data_files(folder)
        stale = [name for name in names if anew or not _settled(known.files.get(name), folder / name)]
        with ThreadPoolExecutor(_AT_ONCE) as pool, tqdm(total=len(stale), unit="file", disable=None) as bar:
            states = {}
            for name, state in zip(stale, pool.map(lambda name: _look(folder / name), stale), strict=True):
                states[name] = state
                bar.update()
        problems = _problems(known, states, names, folder)
        changed = {problem.file for problem in problems if problem.kind == "changed-file"}  # until they are right
        read = {name: state for name, state in states.items() if name not in changed}
        files = {name: read.get(name) or known.files[name] for name in names}
        write_manifest(folder, known.model_copy(update={"files": files}))
        try:
            report = task.check(folder)  # takes what is known of the videos from the record
        except DataError:
            if before is None:  # it is no folder of the benchmark, and gets no record of being one
                (folder / MANIFEST).unlink()
            raise
    return VerifyReport(
        folder=folder,
        files=len(names),
        looked_at=len(stale),
        videos=sum(_is_video(name) for name in names),
        problems=tuple(problems),
        rows=report.problems,
        absent=known.absent,
        needed=known.videos,
    )


def _is_video(name: str) -> bool:
    return Path(name).suffix.lower() in _VIDEO_SUFFIXES


def _settled(state: FileState | None, path: Path) -> bool:
    """Whether a file was read wholly before and has not changed since."""
    if state is None or state.sha256 is None or (_is_video(path.name) and state.video is None):
        return False
    return state.unchanged(path)


def _look(path: Path) -> FileState:
    state = state_of(path)
    state.sha256 = digest(path)
    if _is_video(path.name):
        state.video = _video_facts(path)
    return state


def _video_facts(path: Path) -> dict[str, Any]:
    """Open a video and decode a second from its middle."""
    try:
        info = probe(path)
        middle = max(0.0, (info.duration or 0) / 2 - 0.5)
        read_frames(path, times=[middle + k / 4 for k in range(4) if middle + k / 4 < (info.duration or 1)])
    except DecodeError as error:
        return {"error": str(error)}
    return info.to_record()


def _problems(known: Manifest, states: dict[str, FileState], names: Sequence[str], folder: Path) -> list[Problem]:
    """Compare what was read now with what is on record, and name what is gone."""
    found = [
        Problem("missing-file", f"{name} was there and is gone: fetch it again", file=name)
        for name in known.files
        if name not in set(names)
    ]
    for name in names:
        before, now = known.files.get(name), states.get(name)
        if before and now and before.sha256 and now.sha256 != before.sha256:
            sizes = f"{now.size} bytes, {before.size} then"
            text = f"{name} is not the file that it was ({sizes}): delete it and fetch it again"
            found.append(Problem("changed-file", text, file=name))
        video = (now or before).video if (now or before) else None  # type: ignore[union-attr]
        if video and "error" in video:
            found.append(Problem("bad-video", video["error"].removeprefix(f"{folder}/"), file=name))
    return found
