"""Bring a benchmark's files from where they are published into a folder that runs: what is needed, once, whole."""

from __future__ import annotations

__all__ = ["FetchReport", "FetchRequest", "fetch"]

import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, pairwise, takewhile
from pathlib import Path, PurePosixPath
from typing import Any, cast

from tqdm import tqdm

from evalkit.errors import DataError, UsageError, suggest
from evalkit.fetch.archives import PartedStream, RemoteFile, Unpacked, Wanted, list_zip, unpack_tar, unpack_zip
from evalkit.fetch.download import download, of_transport
from evalkit.fetch.hub import HubFile, HubTree, read_tree, url_of
from evalkit.fetch.sources import Archives, Needed, PlainFiles, Source, WebFiles
from evalkit.fetch.web import WebRequest, fetch_pages
from evalkit.records import hold_folder, write_atomic
from evalkit.records.data_files import FileState, Manifest, data_files, read_manifest, state_of, write_manifest
from evalkit.tasks import Task, folder_settings

_AT_ONCE = 8
_SPARE = 1 << 28
"""Bytes of the disk that stay free."""
_STATE = ".evalkit-fetch"
"""Folder of what is under way: archives, and how far each tar has been unpacked."""


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What is asked for.

    Args:
        task: The benchmark.
        out: The data folder.
        revision: Commit, tag or branch; the data sheet's, or the one already there, by default.
        limit: The first N samples only.
        samples: These samples only.
        keep_archives: Whether archives stay once they are unpacked.
        dry_run: Whether to say what would be fetched, and stop.
        web: How to ask pages for videos that the data set does not have; not at all by default.
    """

    task: Task
    out: Path
    revision: str | None = None
    limit: int | None = None
    samples: tuple[str, ...] = ()
    keep_archives: bool = False
    dry_run: bool = False
    web: WebRequest | None = None


@dataclass(slots=True)
class FetchReport:
    """What was fetched, or would be.

    Args:
        folder: The data folder.
        repo: Hub data set.
        revision: Commit.
        files: Path and bytes of what is to come, or came.
        videos: Videos that the chosen samples need.
        absent: Those that are not there in the end, with the reason.
        notes: What else a person should know.
        bytes: What was read from the network.
    """

    folder: Path
    repo: str
    revision: str
    files: list[tuple[str, int]] = field(default_factory=list)
    videos: int = 0
    absent: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    bytes: int = 0


def fetch(request: FetchRequest) -> FetchReport:
    """Fetch a benchmark.

    Args:
        request: What is asked for.

    Returns:
        What came. A folder that has everything already is left as it is.

    Raises:
        UsageError: The task does not say where its files are, there is no such sample, the folder is a file, or
            another process fetches into it.
        DataError: The hub refuses or is not there, an archive is damaged, or the disk is too small.
        UsageError: The disk became full.
    """
    source = getattr(request.task, "published_at", None)
    if not isinstance(source, Source):
        raise UsageError(f"task {request.task.name} does not say where its files are: make its folder by hand")
    if request.out.exists() and not request.out.is_dir():
        raise UsageError(f"--out {request.out} is a file: name the folder that is to be filled")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if request.dry_run and not request.out.exists() else request.out
        fresh = not folder.exists()
        try:
            with hold_folder(folder), _full_disk_explained(folder):
                return _Fetcher(request, source, folder).run()
        finally:
            if fresh and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()  # nothing came: an empty folder would look like one with its files lost


@contextmanager
def _full_disk_explained(folder: Path) -> Iterator[None]:
    """Name the folder and the way to go on where it cannot be written any more.

    Raises:
        UsageError: The disk, a quota or the limit on file sizes is full, or the disk gave way.
    """
    try:
        yield
    except OSError as error:
        if error.strerror is None or of_transport(error):
            raise
        raise UsageError(
            f"{folder}: cannot write ({error.strerror}); what came is kept: see to the disk, then the same "
            "command goes on"
        ) from error


@dataclass(frozen=True, slots=True)
class _Way:
    """How far a tar has been unpacked.

    Args:
        behind: Bytes of it that were read.
        passed: Keys of members before that which were not needed then.
    """

    behind: int = 0
    passed: list[str] = field(default_factory=list)


class _Fetcher:
    """One fetch: the tree, what is needed of it, and the bytes that came."""

    def __init__(self, request: FetchRequest, source: Source, folder: Path) -> None:
        self.request, self.source, self.folder = request, source, folder
        self.known = read_manifest(folder) or Manifest(task=request.task.name)
        self.tree = self._read_tree()
        if self.known.revision and self.known.revision != self.tree.revision:
            raise DataError(
                f"{folder} holds revision {self.known.revision[:12]} of {source.repo}, and "
                f"{self.tree.revision[:12]} is asked for: fetch it into another folder with --out"
            )
        self.report = FetchReport(folder, source.repo, self.tree.revision)
        self._bar: Any = None

    def _revision(self) -> str:
        return self.request.revision or self.known.revision or self.source.revision

    def _read_tree(self) -> HubTree:
        """Ask the hub; where it is not there and the folder came from it before, what is here may be enough."""
        try:
            return read_tree(self.source.repo, self._revision())
        except DataError:
            if not self.known.revision or self.request.revision or self._missing(self._needed()):
                raise
            return HubTree(self.source.repo, self.known.revision, ())

    def _missing(self, needed: Sequence[Needed]) -> list[str]:
        """Return the videos that are not here and not known to be nowhere."""
        names = dict.fromkeys(one.video for one in needed)
        return [name for name in names if not (self.folder / name).is_file() and name not in self.known.absent]

    def run(self) -> FetchReport:
        """Fetch annotations, see what they need, fetch that, and write down what is there."""
        self._sweep()
        with self._progress():
            for files in self.source.annotations:
                self._plain(self.tree.matching(files.patterns), files)
            for web in self.source.web:
                self._web(web)
            needed = self._needed()
            self.report.videos = len({one.video for one in needed})
            sets = [self._first_published(self.source.videos), *self.source.others]
            missing = self._missing(needed)
            self._fetch_sets([one for one in sets if one is not None], missing)
            if not self.request.dry_run:
                self._pages(needed)
                self._write_manifest(self._needed())
        return self.report

    def _first_published(self, kinds: Sequence[PlainFiles | Archives]) -> PlainFiles | Archives | None:
        return next((kind for kind in kinds if self.tree.matching(kind.patterns)), None)

    def _sweep(self) -> None:
        """Remove what hub clients that were killed left behind: this folder is held, so nobody writes it."""
        for orphan in (self.folder / ".cache" / "huggingface").rglob("*.incomplete"):
            orphan.unlink(missing_ok=True)

    def _needed(self) -> list[Needed]:
        """Return the videos of the chosen samples.

        Raises:
            UsageError: There is no such sample.
        """
        if self.source.needed is not None:
            needed = list(self.source.needed(self.folder))
        else:
            task = self.request.task
            samples = task.load(self.folder, task.settings(**folder_settings(self.folder))).samples
            root = self.folder.resolve()
            needed = [Needed(one.id, one.video.resolve().relative_to(root).as_posix()) for one in samples]
        if self.request.samples:
            known = {one.sample for one in needed}
            for name in self.request.samples:
                if name not in known:
                    raise UsageError(f"there is no sample {name!r}{suggest(name, known)}")
            needed = [one for one in needed if one.sample in set(self.request.samples)]
        return needed[: self.request.limit]

    @property
    def _part(self) -> bool:
        return bool(self.request.samples) or self.request.limit is not None

    def _pages(self, needed: Sequence[Needed]) -> None:
        """Ask web pages for what the data set does not have."""
        if self.request.web is None:
            return
        if self.source.address is None:
            raise UsageError(f"the videos of task {self.request.task.name} have no web page: leave --web out")
        missing = [one.video for one in needed if not (self.folder / one.video).is_file()]
        pages = {self.folder / name: self.source.address(name) for name in missing}
        known = {target: page for target, page in pages.items() if page}
        gone = fetch_pages(known, self.folder, self.request.web, self.report.notes.append)
        self.known.absent |= {path.relative_to(self.folder).as_posix(): why for path, why in gone.items()}
        self.report.files += [
            (target.relative_to(self.folder).as_posix(), target.stat().st_size)
            for target in known
            if target.is_file()
        ]

    def _fetch_sets(self, sets: Sequence[PlainFiles | Archives], missing: Sequence[str]) -> None:
        keys = {self.source.key(name) for name in missing}

        def needed(place: PurePosixPath) -> bool:
            return self.source.key(str(place)) in keys

        for kind in sets:
            files = self.tree.matching(kind.patterns)
            if kind in self.source.others:
                self._fetch_set(kind, files, _everything)
            elif missing:
                self._fetch_set(kind, files, needed if self._part or self.known.revision else _everything)

    def _fetch_set(self, kind: PlainFiles | Archives, files: Sequence[HubFile], wanted: Wanted) -> None:
        if isinstance(kind, PlainFiles):
            chosen = [file for file in files if wanted(_place_of(file, kind))]
            self._require_space(sum(file.size for file in chosen))
            self._plain(chosen, kind)
        elif kind.kind == "zip":
            self._zips(files, kind, wanted)
        else:
            self._tar(files, kind, wanted)

    def _plain(self, files: Sequence[HubFile], kind: PlainFiles) -> None:
        jobs = []
        for file in files:
            target = self.folder / _place_of(file, kind)
            if target.is_file() and target.stat().st_size == file.size:
                continue
            self.report.files.append((file.path, file.size))
            jobs.append((file, target))
        if self.request.dry_run and kind not in self.source.annotations:
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda job: self._bring(*job), jobs):
                pass

    def _bring(self, file: HubFile, target: Path) -> None:
        download(url_of(self.tree, file), target, size=file.size, sha256=file.sha256, progress=self._came)

    def _web(self, web: WebFiles) -> None:
        for name in web.names:
            if not (self.folder / name).is_file():
                self.report.files.append((name, 0))
                download(web.base + name, self.folder / name, progress=self._came)

    def _zips(self, files: Sequence[HubFile], kind: Archives, wanted: Wanted) -> None:
        """Unpack zips: one after the other, or member by member over the network where not all are needed."""
        into, whole = PurePosixPath(kind.into), wanted is _everything
        if not whole:
            self.report.notes.append(f"of {len(files)} zip files only the members that are needed are read")
        for file in files:
            done = self._state(file) / "done"
            if self.request.dry_run and whole:
                self.report.files += [] if done.exists() else [(file.path, file.size)]
            elif not whole:
                with RemoteFile(url_of(self.tree, file), file.size) as remote:
                    if self.request.dry_run:
                        members = list_zip(cast(Any, remote), self.folder, into, kind.strip, wanted)
                        self.report.files += members
                        continue
                    self._note(unpack_zip(cast(Any, remote), self.folder, into, kind.strip, wanted))
                    self._came(remote.fetched)
            elif not done.exists():
                self._require_space(2 * file.size)
                here = self._bring_part(file)
                self._note(unpack_zip(here, self.folder, into, kind.strip, wanted))
                done.touch()
                self._release_part(file)

    def _tar(self, files: Sequence[HubFile], kind: Archives, wanted: Wanted) -> None:
        """Unpack one tar that comes in parts, read in a row; a killed fetch goes on behind the last member."""
        _require_row(files)
        if not files:
            return
        total = sum(file.size for file in files)
        state = self._state(files[0]) / "progress.json"
        way = self._way_so_far(state, wanted)
        if way.behind < total and wanted is not _everything:
            self.report.notes.append(
                f"{files[0].path} is the first of one tar in {len(files)} parts, {_gb(total)}, which is read from "
                f"{_gb(way.behind)} on until all that is needed has come"
            )
        if self.request.dry_run:
            ends = accumulate(file.size for file in files)
            self.report.files += [
                (file.path, file.size) for file, end in zip(files, ends, strict=True) if end > way.behind
            ]
        elif way.behind < total:
            self._require_space(total - way.behind + max(file.size for file in files))
            self._unpack_parts(files, kind, wanted, state, way)

    def _way_so_far(self, state: Path, wanted: Wanted) -> _Way:
        """Return how far a tar was unpacked; nowhere, where what is missing lies before that.

        It does where a fetch of a part passed it over, or where it came and was deleted since.
        """
        if not state.exists():
            return _Way()
        way = _Way(**json.loads(state.read_text()))
        if wanted is _everything:
            return way
        passed = set(way.passed)
        missing = self._missing(self._needed())
        return _Way() if any(self.source.key(one) in passed or one in self.known.files for one in missing) else way

    def _unpack_parts(
        self, files: Sequence[HubFile], kind: Archives, wanted: Wanted, state: Path, way: _Way
    ) -> None:
        def noted(place: PurePosixPath) -> bool:
            taken = wanted(place)
            if not taken:
                way.passed.append(self.source.key(str(place)))
            return taken

        sizes = [file.size for file in files]
        stream = PartedStream(
            files[0].path,
            sizes,
            lambda k: self._bring_part(files[k]),
            lambda k: self._release_part(files[k]),
            way.behind,
        )
        with io.BufferedReader(stream, 1 << 20) as parts:
            into = PurePosixPath(kind.into)
            for member in unpack_tar(parts, self.folder, into, kind.strip, noted, begin=way.behind):
                self._note([member])
                write_atomic(state, json.dumps({"behind": member.behind, "passed": way.passed}))
                if wanted is not _everything and not self._missing(self._needed()):
                    return
        write_atomic(state, json.dumps({"behind": sum(sizes), "passed": way.passed}))
        for file in files:
            self._release_part(file)

    def _bring_part(self, file: HubFile) -> Path:
        here = self._state(file) / PurePosixPath(file.path).name
        if not (here.is_file() and here.stat().st_size == file.size):
            self._bring(file, here)
        return here

    def _release_part(self, file: HubFile) -> None:
        if not self.request.keep_archives:
            (self._state(file) / PurePosixPath(file.path).name).unlink(missing_ok=True)

    def _state(self, file: HubFile) -> Path:
        folder = self.folder / _STATE / file.path.replace("/", "--")
        if not self.request.dry_run:
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _note(self, members: Iterator[Unpacked] | Sequence[Unpacked]) -> None:
        for member in members:
            if member.new:
                self.report.files.append((str(member.path), member.size))

    def _require_space(self, wanted: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if wanted + _SPARE > free and not self.request.dry_run:
            raise DataError(
                f"{self.folder}: the next step needs {_gb(wanted)} and {_gb(free)} are free; what came is kept"
            )

    def _came(self, count: int) -> None:
        self.report.bytes += count
        if self._bar is not None:
            self._bar.update(count)

    @contextmanager
    def _progress(self) -> Iterator[None]:
        with tqdm(unit="B", unit_scale=True, desc=self.request.task.name, disable=None) as bar:
            self._bar = bar
            yield

    def _write_manifest(self, needed: Sequence[Needed]) -> None:
        """Write down every file that is there; digests the hub gave are kept with the files they are of."""
        digests = {
            _place_of(file, kind).as_posix(): file.sha256
            for kind in (*self.source.annotations, *self.source.videos, *self.source.others)
            if isinstance(kind, PlainFiles)
            for file in self.tree.matching(kind.patterns)
        }
        files: dict[str, FileState] = {}
        for name in data_files(self.folder):
            path = self.folder / name
            before = self.known.files.get(name)
            files[name] = before if before and before.unchanged(path) else state_of(path)
            if files[name].sha256 is None:
                files[name].sha256 = digests.get(name)
        absent = {
            one.video: self.known.absent.get(one.video, "not among the published files")
            for one in needed
            if not (self.folder / one.video).is_file()
        }
        self.report.absent = absent
        write_manifest(
            self.folder,
            Manifest(
                task=self.request.task.name,
                repo=self.source.repo,
                revision=self.tree.revision,
                videos=self.report.videos,
                absent=absent,
                files=files,
            ),
        )


def _everything(_: PurePosixPath) -> bool:
    return True


def _place_of(file: HubFile, kind: PlainFiles | Archives) -> PurePosixPath:
    """Return where a plain file goes below the data folder."""
    return PurePosixPath(kind.into).joinpath(*PurePosixPath(file.path).parts[kind.strip :])


def _require_row(files: Sequence[HubFile]) -> None:
    """Refuse parts of one archive of which some are missing: what is behind a gap would be lost without a word.

    Raises:
        DataError: Their names are no row.
    """
    if len(files) < 2:
        return
    ends = [file.path[len(_common(files)) :] for file in files]
    for before, after in pairwise(ends):
        if len(before) != len(after) or _rank(after) != _rank(before) + 1:
            raise DataError(f"{files[0].path} and its fellows are no whole row: {after!r} follows {before!r}")


def _common(files: Sequence[HubFile]) -> str:
    """Return what all names begin with."""
    letters = zip(*(file.path for file in files), strict=False)
    return "".join(row[0] for row in takewhile(lambda row: len(set(row)) == 1, letters))


def _rank(end: str) -> int:
    """Return a part's number: ``a``, ``b`` ...; ``aa``, ``ab`` ...; ``00``, ``01`` ..."""
    if end.isdigit():
        return int(end)
    value = 0
    for char in end:
        value = 26 * value + ord(char) - ord("a")
    return value


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
