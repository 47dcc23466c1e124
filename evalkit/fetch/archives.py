"""Unpack published archives: as a stream where they come in parts, member by member, never outside their folder.

A member is written under another name and renamed when it is whole, so that a file that has its name is all there.
"""

from __future__ import annotations

__all__ = ["PartedStream", "RemoteFile", "Unpacked", "list_zip", "unpack_tar", "unpack_zip"]

import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from evalkit.errors import DataError
from evalkit.fetch.download import read_range

Wanted = Callable[[PurePosixPath], bool]
"""Whether a member is needed, by its path below the data folder."""

_BLOCK = 1 << 20
_READ_AHEAD = 1 << 20


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A member that was written.

    Args:
        path: Below the data folder.
        size: Bytes.
        new: Whether it was written now, and not there before with this size.
        behind: Offset in the archive behind the member, for a tar.
    """

    path: PurePosixPath
    size: int
    new: bool
    behind: int = 0


def unpack_zip(
    source: Path | IO[bytes], folder: Path, into: PurePosixPath, strip: int, wanted: Wanted
) -> Iterator[Unpacked]:
    """Write the members of a zip that are wanted.

    Args:
        source: The file, here or elsewhere (`RemoteFile`).
        folder: The data folder.
        into: Folder below it.
        strip: Leading folders of a name that are left out.
        wanted: Which members.

    Raises:
        DataError: The archive is damaged, or a member would leave the folder.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            for member, place in _members(archive, into, strip, wanted):
                if (member.external_attr >> 16) & 0o170000 == 0o120000:
                    raise DataError(f"{_name(source)}: {member.filename!r} is a link; nothing of it was unpacked")
                new = not _there(folder / place, member.file_size)
                if new:
                    with archive.open(member) as file:
                        _write(file, folder / place, member.file_size)
                yield Unpacked(place, member.file_size, new)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{_name(source)}: {error}") from error


def list_zip(
    source: Path | IO[bytes], folder: Path, into: PurePosixPath, strip: int, wanted: Wanted
) -> list[tuple[str, int]]:
    """Return path and bytes of the members of a zip that `unpack_zip` would write.

    Raises:
        DataError: The archive is damaged, or a member would leave the folder.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            found = _members(archive, into, strip, wanted)
            sizes = [(place, member.file_size) for member, place in found]
    except zipfile.BadZipFile as error:
        raise DataError(f"{_name(source)}: {error}") from error
    return [(str(place), size) for place, size in sizes if not _there(folder / place, size)]


def _members(
    archive: zipfile.ZipFile, into: PurePosixPath, strip: int, wanted: Wanted
) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    for member in archive.infolist():
        place = None if member.is_dir() else _place(member.filename, into, strip)
        if place is not None and wanted(place):
            yield member, place


def unpack_tar(
    stream: IO[bytes], folder: Path, into: PurePosixPath, strip: int, wanted: Wanted, *, begin: int = 0
) -> Iterator[Unpacked]:
    """Write the members of a tar that are wanted, as they come.

    Args:
        stream: The tar, from a member's beginning on; it is read once, forwards.
        folder: The data folder.
        into: Folder below it.
        strip: Leading folders of a name that are left out.
        wanted: Which members.
        begin: Offset in the tar at which the stream begins.

    Raises:
        DataError: The archive is damaged or ends early, or a member would leave the folder.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                place = _place(member.name, into, strip) if not member.isdir() else None
                if place is not None and not member.isfile():
                    raise DataError(f"{_name(stream)}: {member.name!r} is a link or no file; it was not unpacked")
                if place is None or not wanted(place):
                    continue
                new = not _there(folder / place, member.size)
                if new:
                    file = archive.extractfile(member)
                    if file is None:
                        raise DataError(f"{_name(stream)}: {member.name!r} cannot be read")
                    _write(file, folder / place, member.size)
                behind = begin + member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                yield Unpacked(place, member.size, new, behind)
    except tarfile.TarError as error:
        raise DataError(f"{_name(stream)}: {error}") from error


def _place(name: str, into: PurePosixPath, strip: int) -> PurePosixPath | None:
    """Return where a member goes, ``None`` for what macOS adds.

    Raises:
        DataError: It would leave the folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or ":" in (path.parts or ("",))[0]:
        raise DataError(f"member {name!r} would leave the folder it is unpacked into: the archive is not taken")
    if "__MACOSX" in path.parts or path.name.startswith("._") or not path.parts:
        return None
    kept = path.parts[strip:]
    return into.joinpath(*kept) if kept else None


def _there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _write(source: IO[bytes], target: Path, size: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    with part.open("wb") as file:
        shutil.copyfileobj(source, file, _BLOCK)
        written = file.tell()
    if written != size:
        part.unlink()
        raise DataError(f"{target.name}: the archive holds {written} bytes of {size}")
    os.replace(part, target)


def _name(source: Path | IO[bytes]) -> str:
    return str(source) if isinstance(source, Path) else str(getattr(source, "name", "archive"))


class PartedStream(io.RawIOBase):
    """Files that are the parts of one, read in a row, each brought when its turn comes and let go of behind it.

    Args:
        name: What errors call it.
        sizes: Bytes of each part.
        bring: Returns the path of a part by its place.
        release: Told the place of a part that has been read to its end.
        begin: Offset to start from.
    """

    def __init__(
        self,
        name: str,
        sizes: Sequence[int],
        bring: Callable[[int], Path],
        release: Callable[[int], None],
        begin: int = 0,
    ) -> None:
        self.name, self._sizes, self._bring, self._release = name, sizes, bring, release
        self._place = 0
        while self._place < len(sizes) and begin >= sizes[self._place]:
            begin -= sizes[self._place]
            self._place += 1
        self._skip = begin
        self._file: IO[bytes] | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the part whose turn it is."""
        while self._place < len(self._sizes):
            if self._file is None:
                self._file = self._bring(self._place).open("rb")
                self._file.seek(self._skip)
                self._skip = 0
            count = self._file.readinto(buffer)  # type: ignore[attr-defined]
            if count:
                return int(count)
            self._file.close()
            self._file = None
            self._release(self._place)
            self._place += 1
        return 0

    def close(self) -> None:
        """Close the part that is open."""
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()


class RemoteFile(io.RawIOBase):
    """A file on a server, read by ranges: the list of a zip's members and single members without the rest.

    Args:
        url: Where it is.
        size: Its bytes.
    """

    def __init__(self, url: str, size: int) -> None:
        self.name, self._size, self._at = url, size, 0
        self._begin, self._held = 0, b""
        self.fetched = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Return the offset."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, from what is held or by a request that reads ahead."""
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        if not self._begin <= self._at < self._begin + len(self._held):
            stop = min(self._size, self._at + max(wanted, _READ_AHEAD))
            self._begin, self._held = self._at, read_range(self.name, self._at, stop)
            self.fetched += len(self._held)
        held = self._held[self._at - self._begin :][:wanted]
        buffer[: len(held)] = held
        self._at += len(held)
        return len(held)
