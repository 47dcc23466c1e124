"""Where StreamingBench's videos lie: moved to ``videos/sample_N_<folder>.mp4``, or in the unzipped folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["SbVideos", "bare_name", "find_videos"]

_ENDINGS = (".mp4", ".mkv", ".webm", ".avi", ".mov")
_PART = re.compile(r"_\d+-\d+$")
_SAMPLE = re.compile(r"sample_\d+")
_FOLDERS = {
    **{"real": "real", "sqa": "sqa", "proactive": "proactive"},
    **{"Real_Time_Visual_Understanding": "real", "Sequential_Question_Answering": "sqa"},
    **{"Proactive_Output": "proactive"},
}
_DEEPEST = 5


@dataclass(frozen=True, slots=True)
class SbVideos:
    """The video files found, by name without ending and without the zip's part (``_1-25``).

    Args:
        expected: Folder in which a video that was not found would be.
        by_name: Files found.
    """

    expected: Path
    by_name: Mapping[str, Path] = field(default_factory=dict)

    def path(self, video: str) -> Path:
        """Return where a video is, or where it would be."""
        return self.by_name.get(bare_name(video), self.expected / f"{video}.mp4")


def bare_name(video: str) -> str:
    """Return a moved video's name without the part of the zip it came from (``_26-50``)."""
    return _PART.sub("", video)


def find_videos(data: Path) -> SbVideos:
    """Look through a data folder for moved videos and unzipped ``sample_N/video.mp4``.

    ``__MACOSX`` and the clips that the official code leaves behind (``tmp_60``) are passed over.

    Args:
        data: Data folder, or an annotation file in it.
    """
    root = data if data.is_dir() else data.parent
    found: dict[str, Path] = {}
    for file in _video_files(root):
        name = _name_of(file, root)
        if name is not None:
            found.setdefault(name, file)
    expected = next((root / name for name in ("videos", "data/videos") if (root / name).is_dir()), root / "videos")
    return SbVideos(expected, found)


def _video_files(root: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(root):
        depth = len(Path(where).relative_to(root).parts)
        kept = [name for name in folders if name != "__MACOSX" and not name.startswith((".", "tmp_"))]
        folders[:] = sorted(kept) if depth < _DEEPEST else []
        for name in sorted(names):
            if name.lower().endswith(_ENDINGS) and not name.startswith("."):
                yield Path(where) / name


def _name_of(file: Path, root: Path) -> str | None:
    """Return the moved name of a file: its own, or that of an unzipped ``<folder>/sample_N/video.mp4``."""
    if _SAMPLE.match(file.stem):
        return bare_name(file.stem)
    sample = file.parent.name
    if file.stem != "video" or not _SAMPLE.fullmatch(sample):
        return None
    for folder in file.parent.parent.relative_to(root).parts[::-1]:
        plain = bare_name(folder.replace(" ", "_").replace("-Time", "_Time"))
        if plain in _FOLDERS:
            return f"{sample}_{_FOLDERS[plain]}"
        if plain not in ("data", "omni", "videos"):
            return f"{sample}_{plain}"
    return None
