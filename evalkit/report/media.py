"""Finds the videos a run names on this machine, and the thumbnails that stand in where there is none."""

from __future__ import annotations

__all__ = ["MAX_THUMBNAILS", "Thumbnails", "find_video", "local_videos", "relative_url", "thumbnail_reader"]

import base64
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeAlias
from urllib.parse import quote

from evalkit.report.runs import Run

# One page holds so many pictures; further seconds go without, and the page says so.
MAX_THUMBNAILS = 3600
_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"RIFF": "image/webp"}

Thumbnails: TypeAlias = Callable[[str, int], bytes | None]
"""Gives the picture (JPEG, PNG or WebP bytes) of a video at a media second, or ``None``."""


def local_videos(runs: Iterable[Run]) -> dict[str, Path]:
    """Return the videos the manifests name that exist here: name to path, the first run's first.

    A manifest names a video by path or by digest; with a digest the name is looked up below the data folder.
    """
    found: dict[str, Path] = {}
    for run in runs:
        manifest = run.records.manifest
        data = manifest.options.get("data")
        for name, value in manifest.media.items():
            places = [Path(value), Path(name)]
            if isinstance(data, str) and data and not Path(name).is_absolute():
                places += [Path(data) / name, Path(data) / "videos" / name]
            path = next((place for place in places if _is_file(place)), None)
            if path is not None:
                found.setdefault(name, path.resolve())
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def find_video(names: Iterable[str], *wanted: str) -> str | None:
    """Return the first of ``names`` that is one of ``wanted``, whole, by file name or by file name's stem."""
    known = list(names)
    for want in filter(None, wanted):
        for same in (str, _base, _stem):
            for name in known:
                if same(name) == same(want):
                    return name
    return None


def _base(name: str) -> str:
    return PurePosixPath(name).name


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def relative_url(video: Path, page: Path) -> str:
    """Return a URL of ``video`` for a page opened from disk: relative, so that both can move together."""
    try:
        return quote(Path(os.path.relpath(video, page.resolve().parent)).as_posix())
    except ValueError:  # another drive
        return video.as_uri()


def thumbnail_reader(source: Path | Thumbnails | None) -> Thumbnails | None:
    """Return a reader of thumbnails.

    Args:
        source: A folder with ``<video>/<second>.jpg`` (or ``.png``, ``.webp``; the video by its stem), a callable,
            or ``None``.
    """
    if source is None or not isinstance(source, Path):
        return source
    folder = source

    def read(video: str, second: int) -> bytes | None:
        for ending in ("jpg", "png", "webp"):
            path = folder / _stem(_base(video)) / f"{second}.{ending}"
            if path.is_file():
                return path.read_bytes()
        return None

    return read


def data_url(picture: bytes) -> str | None:
    """Return a picture as a ``data:`` URL, or ``None`` where its bytes are no JPEG, PNG or WebP."""
    kind = next((name for magic, name in _TYPES.items() if picture.startswith(magic)), None)
    return f"data:{kind};base64,{base64.b64encode(picture).decode()}" if kind else None


def thumbnails_of(
    read: Thumbnails | None, videos: Mapping[str, Iterable[int]], limit: int = MAX_THUMBNAILS
) -> tuple[dict[str, dict[str, str]], int]:
    """Return ``{video: {second: data URL}}`` of at most ``limit`` pictures, and how many seconds were left out."""
    pictures: dict[str, dict[str, str]] = {}
    count = left_out = 0
    for video, seconds in videos.items() if read else ():
        for second in seconds:
            if count >= limit:
                left_out += 1
                continue
            picture = read(video, second) if read else None
            url = data_url(picture) if picture else None
            if url:
                pictures.setdefault(video, {})[str(second)] = url
                count += 1
    return pictures, left_out
