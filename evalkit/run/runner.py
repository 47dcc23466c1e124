"""A run from plan to finished folder: made or resumed, locked, every sample run, every failure on record."""

from __future__ import annotations

__all__ = ["RunResult", "execute"]

import datetime
import errno
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Never

from tqdm import tqdm

from evalkit.compress import check_shares, unclaimed_lines
from evalkit.errors import ModelError, UsageError
from evalkit.memory.proof import check_budget
from evalkit.models.protocol import StopRun
from evalkit.records import (
    AnswerRecord,
    FailedSample,
    RunFolder,
    RunManifest,
    TickRecord,
    hold_folder,
    read_jsonl,
    read_run,
    refuse_held,
)
from evalkit.run.alone import Alone
from evalkit.run.check import check_out
from evalkit.run.checkpoint import SessionCheckpoints
from evalkit.run.fingerprint import fingerprint_digest
from evalkit.run.media import media_digests
from evalkit.run.plan import RunPlan
from evalkit.run.provenance import git_revision, versions
from evalkit.run.recorder import Recorder
from evalkit.run.reopen import reopen_failed
from evalkit.run.stop import Interrupted, StopRequest
from evalkit.run.surroundings import ALONE, Surroundings
from evalkit.run.work import Hands, Watch, Work
from evalkit.shown import shown_on_one_line
from evalkit.stream import StreamSample


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Args:
        folder: Its folder.
        manifest: Its ``run.json``.
        interrupted: It was asked to stop and can be resumed.
    """

    folder: RunFolder
    manifest: RunManifest
    interrupted: bool = False


def execute(
    plan: RunPlan,
    notify: Callable[[str], None],
    watch: Watch | None = None,
    done: Callable[[Path], None] | None = None,
    around: Surroundings = ALONE,
) -> RunResult:
    """Run a plan and leave its records.

    Args:
        plan: What to run.
        notify: Told warnings and failures, one line each.
        watch: Told each spoken second as it is put on record.
        done: Given the folder when all samples are on record, to report them while nobody else can go on with it.
        around: What it shares with runs beside it.

    Raises:
        EvalkitError: The run cannot start, or cannot go on.
    """
    if plan.options.out:
        check_out(Path(plan.options.out), resume=plan.options.resume)
        refuse_held(Path(plan.options.out))
    with _hands(plan, notify, around) as hands:
        path = _folder_path(plan, fingerprint_digest(hands.fingerprint))
        with _full_disk_explained(path), hold_folder(path):
            folder, manifest = _open_folder(plan, path, hands)
            return _report(
                _run_samples(plan, hands, _Journal(folder, manifest, notify), watch, around.listening), done
            )


def _hands(plan: RunPlan, notify: Callable[[str], None], around: Surroundings) -> AbstractContextManager[Hands]:
    """Return whoever runs the samples: this process, or workers.

    Raises:
        UsageError: Workers are wanted of a run that shares its process with others.
    """
    if not plan.options.workers:
        return Alone(plan, around)
    if around.in_turns:
        raise UsageError("--workers are processes of their own, and these runs share one: leave --workers out")
    from evalkit.run.workers.spread import Spread

    return Spread(plan, notify)


def _report(result: RunResult, done: Callable[[Path], None] | None) -> RunResult:
    """Report a run that has all its records, while its folder is held."""
    if done is not None and not result.interrupted:
        done(result.folder.path)
    return result


@contextmanager
def _full_disk_explained(path: Path) -> Iterator[None]:
    """Name the folder and the way to go on where it cannot be written any more.

    Raises:
        UsageError: The disk, a quota or the limit on file sizes is full, or the disk gave way.
    """
    try:
        yield
    except BrokenPipeError:  # nobody reads what is printed: not the folder's fault
        raise
    except OSError as error:
        reason = error.strerror
        if reason is None or (error.filename is not None and error.errno not in _FULL):
            raise
        advice = _FULL.get(error.errno or 0, "see to the disk")
        again = f"run again with --resume --out {path}" if path.is_dir() else "run again"
        kept = "what is on record is kept; " if (path / "run.json").exists() else ""
        raise UsageError(f"{path}: cannot write ({reason}); {kept}{advice}, then {again}") from error


_FULL = {
    errno.ENOSPC: "free space",
    errno.EDQUOT: "free space in your quota",
    errno.EFBIG: "lift the limit on file sizes (ulimit -f)",
}
"""What to do where nothing more fits, by error number."""


def _run_samples(
    plan: RunPlan,
    hands: Hands,
    journal: _Journal,
    watch: Watch | None,
    listening: Callable[[], AbstractContextManager[StopRequest]],
) -> RunResult:
    folder = journal.folder
    with journal, Recorder(folder, repeats=hands.repeats) as recorder:
        for warning in recorder.warnings:
            journal.warn(warning)
        for sample in recorder.gone:
            journal.warn(f"{sample}: was finished, but records of it are gone: run again")
        with listening() as stop, _progress(plan) as advanced:
            work = Work(
                samples=plan.samples,
                state=folder.state_path,
                recorder=recorder,
                checkpoints=SessionCheckpoints(folder.state_path),
                fail=journal.fail,
                warn=journal.warn,
                notify=journal.tell,
                stop=stop,
                advanced=advanced,
                watch=watch,
            )
            try:
                hands.run(work)
            except Interrupted:
                journal.end("interrupted")
                return RunResult(folder, journal.manifest, interrupted=True)
            except StopRun as halt:
                journal.warn(halt.reason)
                journal.end("interrupted")
                return RunResult(folder, journal.manifest, interrupted=True)
        for difference in recorder.differences:
            journal.warn(difference)
        _prove_compression(plan, folder, journal)
        if plan.model.tells_budget:
            _prove_memory(folder)
        journal.manifest.recorded = recorder.recorded()
        journal.end("done")
    return RunResult(folder, journal.manifest)


def _prove_compression(plan: RunPlan, folder: RunFolder, journal: _Journal) -> None:
    """Fail the run where a compressor did not do what its settings claim; name the seconds where it cannot."""
    if not plan.model.compression.parts:
        return
    ticks = _worked_on(folder)
    for line in unclaimed_lines(ticks):
        journal.warn(line)
    problems = [str(problem) for problem in check_shares(ticks, compressors=len(plan.model.compression.parts))]
    if problems:
        more = f" (and {len(problems) - 1} more seconds)" if len(problems) > 1 else ""
        raise ModelError(f"compression was not what it claims: {problems[0]}{more}")


def _prove_memory(folder: RunFolder) -> None:
    """Fail the run where its memory did not keep to its budget."""
    problems = list(check_budget(_worked_on(folder), read_jsonl(folder.answers_path, AnswerRecord)[0]))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ModelError(f"the memory was not what it claims: {problems[0]}{more}")


def _worked_on(folder: RunFolder) -> list[TickRecord]:
    """Return the seconds that the overload rule of a paced run did not drop."""
    ticks = read_jsonl(folder.ticks_path, TickRecord)[0]
    return [one for one in ticks if one.pace is None or not one.pace.dropped]


def _folder_path(plan: RunPlan, digest: str) -> Path:
    """Return where the run is to lie."""
    options = plan.options
    if options.out:
        return Path(options.out)
    parent = Path("runs") / plan.task.name / plan.model.name
    if options.resume:
        return _latest_unfinished(parent, digest)
    return parent / f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}-{digest[:8]}"


def _open_folder(plan: RunPlan, path: Path, hands: Hands) -> tuple[RunFolder, RunManifest]:
    """Return the folder and its ``run.json``, written anew or, on resuming, marked as running again."""
    options, fingerprint = plan.options, hands.fingerprint
    latency = hands.latency if plan.latency == "alone" else plan.latency
    folder = RunFolder(path)
    begun = check_out(path, resume=options.resume)
    if begun:
        manifest = folder.read_manifest()
        _check_resumable(folder, manifest, fingerprint)
    for part in path.rglob(".*.part"):  # of a process that was killed while it replaced a file
        part.unlink()
    if begun:
        manifest.status, manifest.error, manifest.finished = "running", None, None
        manifest.latency = manifest.latency if latency == "alone" else latency
        reopen_failed(folder, manifest)
        folder.write_manifest(manifest)
        return folder, manifest
    manifest = RunManifest(
        task=plan.task.name,
        model=plan.model.name,
        started=_now(),
        options=options.model_dump(mode="json"),
        fingerprint=fingerprint,
        fingerprint_digest=fingerprint_digest(fingerprint),
        versions=versions(),
        git=git_revision(),
        host=hands.host,
        seeds={"run": options.seed},
        latency=latency,
        data={
            "path": str(plan.data_path.resolve()),
            "revision": plan.data.revision,
            "problems": len(plan.data.problems),
            **plan.data.facts,
        },
        media=_media(plan.samples),
        media_digests=media_digests(plan.samples),
        planned=[sample.id for sample in plan.samples],
        warnings=[str(problem) for problem in plan.data.problems],
    )
    folder.write_manifest(manifest)
    return folder, manifest


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _media(samples: tuple[StreamSample, ...]) -> dict[str, str]:
    return {sample.cluster or sample.id: str(sample.video.resolve()) for sample in samples}


def _latest_unfinished(parent: Path, digest: str) -> Path:
    found = sorted(path for path in parent.glob(f"*-{digest[:8]}") if (path / "run.json").exists())
    unfinished = [folder for folder in map(RunFolder, found) if not _is_finished(folder)]
    if not unfinished:
        raise UsageError(f"there is no unfinished run of these options below {parent}; name one with --out")
    return unfinished[-1].path


def _is_finished(folder: RunFolder) -> bool:
    """Whether a run has all its records and was reported; it can be killed between the two."""
    if folder.read_manifest().status != "done" or not folder.reported:
        return False
    run = read_run(folder.path, ticks=False)
    return not (run.missing or run.verdicts_gone)


def _check_resumable(folder: RunFolder, manifest: RunManifest, fingerprint: dict[str, object]) -> None:
    differing = sorted(
        key
        for key in manifest.fingerprint.keys() | fingerprint.keys()
        if manifest.fingerprint.get(key) != fingerprint.get(key)
    )
    if differing:
        was = ", ".join(f"{k}={manifest.fingerprint.get(k)!r} (now {fingerprint.get(k)!r})" for k in differing[:3])
        raise UsageError(f"{folder.path} was run with other settings and cannot be resumed: {was}")


class _Journal:
    """Keeps ``run.json`` up to date and tells the person at the terminal."""

    def __init__(self, folder: RunFolder, manifest: RunManifest, notify: Callable[[str], None]) -> None:
        self.manifest = manifest
        self.folder = folder
        self._notify = notify
        self._held = threading.RLock()  # samples may be under way at once

    def tell(self, message: str) -> None:
        """Tell something that is not for the record."""
        self._notify(message)

    def warn(self, message: str) -> None:
        """Put a warning on record, once."""
        with self._held:
            if message not in self.manifest.warnings:
                self.manifest.warnings.append(message)
                self.folder.write_manifest(self.manifest)
                self._notify(f"warning: {message}")

    def fail(self, failure: FailedSample) -> None:
        """Put a failed sample on record, once: a run killed here meets the failure again."""
        with self._held:
            self.manifest.failed = [known for known in self.manifest.failed if known.sample != failure.sample]
            self.manifest.failed.append(failure)
            self._notify(f"failed: {failure.sample}: {failure.reason}")
            self.folder.write_manifest(self.manifest)

    def end(self, status: Literal["done", "failed", "interrupted"]) -> None:
        """Write how the run ended."""
        self.manifest.status = status
        self.manifest.finished = _now()
        self.folder.write_manifest(self.manifest)

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        self.manifest.error = f"{type(error).__name__}: {' '.join(str(error).split())}"
        with suppress(OSError):  # a full disk: the error in hand is the one to tell
            self.end("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")


@contextmanager
def _progress(plan: RunPlan) -> Iterator[Callable[[float], None]]:
    bar: tqdm[Never] = tqdm(
        total=round(plan.stream_seconds),
        unit="s",
        desc=shown_on_one_line(f"{plan.task.name} / {plan.model.name}"),
        disable=not sys.stderr.isatty(),
    )

    held = threading.Lock()

    def advanced(seconds: float) -> None:
        with held:
            bar.update(seconds)

    with bar:
        yield advanced
