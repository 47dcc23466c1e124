"""Where a benchmark's files are published, and in which shapes: what a task says so that they can be fetched."""

from __future__ import annotations

__all__ = ["Archives", "Needed", "PlainFiles", "Source", "WebFiles"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal


@dataclass(frozen=True, slots=True)
class PlainFiles:
    """Files of a hub data set that are used as they are.

    Args:
        patterns: Shell patterns of paths in the data set.
        into: Folder below the data folder.
        strip: Leading folders of a path that are left out.
    """

    patterns: tuple[str, ...]
    into: str = ""
    strip: int = 0


@dataclass(frozen=True, slots=True)
class Archives:
    """Archives of a hub data set that are unpacked.

    Args:
        patterns: Shell patterns of paths in the data set. Parts of one tar are read in the order of their names as
            one file, which is never written.
        kind: ``zip``: every file an archive of its own; ``tar``: a tar, whole or in parts.
        into: Folder below the data folder that members are written into.
        strip: Leading folders of a member's name that are left out.
    """

    patterns: tuple[str, ...]
    kind: Literal["zip", "tar"]
    into: str = ""
    strip: int = 0


@dataclass(frozen=True, slots=True)
class WebFiles:
    """Files that lie in a public repository of code rather than on a hub.

    Args:
        base: Address of the folder they are in, pinned to a commit, with a slash at its end.
        names: Their names.
    """

    base: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Needed:
    """A video that a sample needs.

    Args:
        sample: Id of the sample.
        video: Path of its video below the data folder.
    """

    sample: str
    video: str


def _file_name(path: str) -> str:
    return PurePosixPath(path).name


@dataclass(frozen=True, slots=True)
class Source:
    """Where a benchmark is published.

    Args:
        repo: Hub data set, ``owner/name``.
        annotations: What is read before it is known which videos are needed.
        videos: Where the videos are; of several the first whose files the data set has.
        others: Further files that every sample may need (subtitles).
        web: Annotation files from elsewhere.
        revision: Commit, tag or branch that is fetched unless another is asked for.
        terms: What has to be accepted or kept to, in a line.
        needed: Reads from annotation files, without any video, which samples there are and the video of each; the
            task's own ``load`` by default.
        key: What a video's path here and a member's path in an archive have in common; their file name by default.
        address: Web page of a video by its path below the data folder, where it has one that yt-dlp can read.
    """

    repo: str
    annotations: tuple[PlainFiles, ...] = ()
    videos: tuple[PlainFiles | Archives, ...] = ()
    others: tuple[PlainFiles | Archives, ...] = ()
    web: tuple[WebFiles, ...] = ()
    revision: str = "main"
    terms: str = ""
    needed: Callable[[Path], Sequence[Needed]] | None = None
    key: Callable[[str], str] = _file_name
    address: Callable[[str], str | None] | None = None
