"""Looks at every row and every video of an Inf-Streams-Eval folder; changes nothing."""

from __future__ import annotations

__all__ = ["check_data"]

from pathlib import Path

from evalkit.errors import DataError
from evalkit.tasks import CheckReport, Problem
from evalkit.video import probe
from evalkit_tasks.inf_streams.data import METADATA_NAME, read_data, video_path
from evalkit_tasks.inf_streams.rows import VideoRow


def check_data(data: Path) -> CheckReport:
    """Return counts, and everything that is wrong with the annotations and the videos below ``data``.

    Raises:
        DataError: An annotation file is missing or holds no usable row.
    """
    contents = read_data(data)
    faults = [fault for row in contents.metadata if (fault := _video_fault(data, row)) is not None]
    return CheckReport(
        task="inf-streams",
        data=str(data),
        counts={"videos": len(contents.metadata), "windows": len(contents.windows)},
        videos=len(contents.metadata),
        problems=(*contents.problems, *faults),
        facts={
            "revision": contents.revision,
            "score_file": contents.score_file,
            "seconds": sum(row.end for row in contents.metadata),
        },
    )


def _video_fault(data: Path, row: VideoRow) -> Problem | None:
    path = video_path(data, row.video)
    if not path.is_file():
        return _problem("missing-video", f"video {row.video} is not below the data folder", row)
    try:
        info = probe(path)
    except DataError as error:
        return _problem("unreadable-video", f"video {row.video}: {error}", row)
    if info.duration is not None and info.duration < row.end:
        message = f"video {row.video} lasts {info.duration:.1f} s, its transcript goes on to {row.end} s"
        return _problem("short-video", message, row)
    return None


def _problem(kind: str, message: str, row: VideoRow) -> Problem:
    return Problem(kind, message, file=METADATA_NAME, line=row.line, field="video", item=row.name)
