"""Where OVO-Bench's videos lie below a data folder: whole videos, or the official chunks cut at each query."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from evalkit_tasks.ovobench.annotations import Question

__all__ = ["OvoVideos", "find_videos"]

_SOURCES = ("src_videos", "videos", "")
_CHUNKS = ("chunked_videos",)


@dataclass(frozen=True, slots=True)
class OvoVideos:
    """The video folders found.

    Args:
        sources: Folder of whole videos (``Ego4D/clips/...``), if there.
        chunks: Folder of ``{query id}.mp4`` files, each ``[0, ceil(t)]`` of its source, if there.
        by_name: Whole videos by file name, for annotation files with other people's absolute paths.
    """

    sources: Path | None
    chunks: Path | None
    by_name: Mapping[str, Path] = field(default_factory=dict)

    def whole(self, video: str) -> Path:
        """Return where a source video is, or where it would be."""
        path = PurePosixPath(video)
        if path.is_absolute():
            return self.by_name.get(path.name, Path(self.sources or "src_videos") / path.name)
        return (self.sources or Path("src_videos")) / path

    def chunk(self, question: Question) -> Path | None:
        """Return the official chunk of a query where it is on disk."""
        if self.chunks is None:
            return None
        path = self.chunks / f"{question.id}.mp4"
        return path if path.is_file() else None

    def for_stream(self, video: str, questions: Sequence[Question]) -> Path:
        """Return one file that shows everything the questions may see: the source, else the longest chunk."""
        whole = self.whole(video)
        if whole.is_file() or self.chunks is None:
            return whole
        last = max(questions, key=lambda question: question.at)
        return self.chunk(last) or whole


def find_videos(data: Path, annotation_file: Path, videos: Sequence[str]) -> OvoVideos:
    """Find the video folders.

    Args:
        data: Data folder as given.
        annotation_file: The annotation file; videos may lie beside it.
        videos: Paths of the annotation file; decide which folder is the one.
    """
    roots = list(dict.fromkeys([data if data.is_dir() else data.parent, annotation_file.parent, data / "data"]))
    tops = {PurePosixPath(video).parts[0] for video in videos if not PurePosixPath(video).is_absolute()}
    places = [root / name for root in roots for name in _SOURCES]
    sources = next((place for place in places if any((place / top).is_dir() for top in tops)), None)
    if sources is None:
        sources = next(
            (place for place in places if place.is_dir() and place.name == "src_videos"), roots[0] / "src_videos"
        )
    chunk_places = [root / name for root in roots for name in _CHUNKS]
    chunks = next((place for place in chunk_places if place.is_dir()), None)
    absolute = any(PurePosixPath(video).is_absolute() for video in videos)
    return OvoVideos(sources, chunks, _by_name(sources) if absolute else {})


def _by_name(folder: Path) -> dict[str, Path]:
    return {name: Path(where) / name for where, _, names in os.walk(folder) for name in names}
