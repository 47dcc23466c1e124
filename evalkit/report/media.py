"""Finds the videos a run names on this machine, and the thumbnails that stand in where there is none."""

from __future__ import annotations

__all__ = [
    "MAX_THUMBNAILS",
    "Thumbnails",
    "find_video",
    "local_videos",
    "looks_like_video",
    "open_video",
    "relative_url",
    "servable_videos",
    "sought_videos",
    "thumbnail_reader",
]

import base64
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeAlias
from urllib.parse import quote

from evalkit.report.runs import Run

# One page holds so many pictures; further seconds go without, and the page says so.
MAX_THUMBNAILS = 3600
_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"RIFF": "image/webp"}

_HEAD = 512
# How the containers of video begin; ISO media (mp4, mov) are told by their first box.
_MAGIC = (b"\x1aE\xdf\xa3", b"OggS", b"FLV\x01", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"0&\xb2u\x8ef\xcf\x11")
_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"})
_TS_PACKET = 188

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
            path = next((place for place in places if _is_kind(place, stat.S_ISREG)), None)
            if path is not None:
                found.setdefault(name, path.resolve())
    return found


def sought_videos(runs: Iterable[Run]) -> dict[str, str]:
    """Return where the videos that are not here were looked for: name to the path that the run says.

    Args:
        runs: The runs.
    """
    listed = list(runs)
    here = local_videos(listed)
    return {
        name: value
        for run in listed
        for name, value in run.records.manifest.media.items()
        if name not in here and "/" in value
    }


def servable_videos(runs: Iterable[Run]) -> dict[str, Path]:
    """Return those of `local_videos` that may be served to whoever asks.

    A manifest may name any file there is, so only those count that lie in the data folder it names, or where links
    in that folder lead, and whose content is a video's.
    """
    listed = list(runs)
    manifests = [run.records.manifest for run in listed]
    folders = _data_folders(said for one in manifests for said in (one.data.get("path"), one.options.get("data")))
    homes = [home for folder in folders for home in _homes(folder)]
    return {name: path for name, path in local_videos(listed).items() if _is_video_in(path, homes)}


def _data_folders(said: Iterable[object]) -> list[Path]:
    """Return the folders a manifest says its data lie in; ``demo`` and the like are none."""
    paths = [Path(one) for one in said if isinstance(one, str) and one]
    return [path for path in paths if _is_kind(path, stat.S_ISDIR)]


def _homes(folder: Path) -> list[Path]:
    """Return where videos of a data folder may lie: in it, and where links in it or in its ``videos`` lead."""
    found = [folder.resolve()]
    for place in (folder, folder / "videos"):
        if _is_kind(place, stat.S_ISDIR):
            with os.scandir(place) as entries:
                found += [Path(entry.path).resolve() for entry in entries if entry.is_symlink()]
    return found


def _is_kind(path: Path, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _is_video_in(path: Path, homes: Iterable[Path]) -> bool:
    if not any(path.is_relative_to(home) for home in homes):
        return False
    try:
        open_video(path).close()
    except OSError:
        return False
    return True


def open_video(path: Path) -> BinaryIO:
    """Open a video for reading.

    Raises:
        OSError: It is gone, or is no video by its content (``FileNotFoundError``).
    """
    # Without blocking, so that a pipe put in a video's place hangs nobody.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    file = os.fdopen(descriptor, "rb")
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not looks_like_video(file.read(_HEAD), status.st_size):
            raise FileNotFoundError(f"{path} is no video")
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def looks_like_video(head: bytes, size: int) -> bool:
    """Tell by its first bytes whether a file is a video: ISO media, Matroska, AVI, MPEG, Ogg, FLV or ASF.

    Args:
        head: The first 512 bytes, or all there are.
        size: Length of the file, bytes.
    """
    if head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return True
    if head[4:8] in _BOXES:
        length = int.from_bytes(head[:4], "big")
        return length in (0, 1) or 8 <= length <= size
    return len(head) > 2 * _TS_PACKET and head[0] == head[_TS_PACKET] == head[2 * _TS_PACKET] == 0x47


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
