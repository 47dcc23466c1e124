"""A run from plan to finished folder: made or resumed, locked, every sample run, every failure on record."""

from __future__ import annotations

__all__ = ["RunResult", "execute", "load_model"]

import datetime
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Never

import torch
from tqdm import tqdm

from evalkit.compress import check_shares
from evalkit.errors import EvalkitError, ModelError, UsageError
from evalkit.models.cached import CachedModel
from evalkit.models.load import LoadRequest, checkpoint_revision, load_backbone
from evalkit.records import (
    AnswerRecord,
    FailedSample,
    RunFolder,
    RunManifest,
    TickRecord,
    read_jsonl,
)
from evalkit.run.checkpoint import SessionCheckpoints
from evalkit.run.fingerprint import fingerprint_digest, git_revision, host_facts, versions
from evalkit.run.plan import RunPlan
from evalkit.run.recorder import Recorder
from evalkit.run.sample import Interrupted, SampleRunner
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


def load_model(plan: RunPlan) -> CachedModel:
    """Load the weights a plan names and put the policy over them."""
    options = plan.options
    backbone = load_backbone(
        LoadRequest(plan.checkpoint, options.device, options.dtype, options.attention, options.after_vision)
    )
    revision = checkpoint_revision(plan.checkpoint, backbone.network)
    compression = plan.compression.with_compat() if options.compat else plan.compression
    return CachedModel(plan.entry.name, backbone, plan.policy, plan.generation, revision, compression)


def execute(plan: RunPlan, notify: Callable[[str], None]) -> RunResult:
    """Run a plan and leave its records.

    Args:
        plan: What to run.
        notify: Told warnings and failures, one line each.

    Raises:
        EvalkitError: The run cannot start, or cannot go on.
    """
    model = load_model(plan)
    fingerprint = plan.setting_fingerprint() | plan.model_fingerprint() | model.identity()
    fingerprint["dtype"] = str(model.backbone.dtype).removeprefix("torch.")
    digest = fingerprint_digest(fingerprint)
    folder, manifest = _open_folder(plan, fingerprint, digest, str(model.backbone.device))
    with _locked(folder.path), _Journal(folder, manifest, notify) as journal, Recorder(folder) as recorder:
        for warning in recorder.warnings:
            journal.warn(warning)
        with _stop_flag() as stopping, _progress(plan) as advanced:
            runner = SampleRunner(
                model=model,
                recorder=recorder,
                checkpoints=SessionCheckpoints(folder.state_path),
                seed=plan.options.seed,
                checkpoint_seconds=plan.options.checkpoint_seconds,
                stopping=stopping,
                advanced=advanced,
                peak_mib=model.peak_mib,
            )
            try:
                for sample in plan.samples:
                    _run_sample(sample, runner, journal)
            except Interrupted:
                journal.end("interrupted")
                return RunResult(folder, manifest, interrupted=True)
        for difference in recorder.differences:
            journal.warn(difference)
        _prove_compression(plan, folder, journal)
        journal.end("done")
    return RunResult(folder, manifest)


def _run_sample(sample: StreamSample, runner: SampleRunner, journal: _Journal) -> None:
    if runner.recorder.status(sample.id) is not None:
        runner.advanced(sample.end - sample.start)
        return
    try:
        warnings = runner.run(sample)
    except (EvalkitError, MemoryError, torch.OutOfMemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        kind = type(error).__name__
        journal.fail(FailedSample(sample=sample.id, reason=reason, error=kind))
        for record in _failed_answers(sample, reason):
            if not runner.recorder.answered(sample.id, record.query):
                runner.recorder.answer(record)
        runner.recorder.finish(sample.id, "failed")
    else:
        for warning in warnings:
            journal.warn(warning)
        runner.recorder.finish(sample.id, "done")
    runner.checkpoints.drop(sample.id)


def _failed_answers(sample: StreamSample, reason: str) -> Iterator[AnswerRecord]:
    """Yield what stands in the denominator for a sample that broke."""

    def failed(query: str, kind: str, at: float, **more: Any) -> AnswerRecord:
        return AnswerRecord(
            sample=sample.id,
            query=query,
            kind=kind,
            at=at,
            start=sample.start,
            end=at,
            cluster=sample.cluster,
            status="failed",
            error=reason,
            **more,
        )

    if sample.narration is not None:
        yield failed(f"{sample.id}@failed", "narration", sample.end, tags=sample.tags)
    for query in sample.queries:
        tags = sample.tags | query.tags
        yield failed(query.id, query.kind, query.at, gold=query.answer, choices=query.choices, tags=tags)


def _prove_compression(plan: RunPlan, folder: RunFolder, journal: _Journal) -> None:
    """Fail the run where a compressor did not do what its settings claim."""
    if not plan.compression.parts:
        return
    ticks, _ = read_jsonl(folder.ticks_path, TickRecord)
    problems = [str(problem) for problem in check_shares(ticks)]
    if problems:
        more = f" (and {len(problems) - 1} more seconds)" if len(problems) > 1 else ""
        raise ModelError(f"compression was not what it claims: {problems[0]}{more}")


def _open_folder(
    plan: RunPlan, fingerprint: dict[str, object], digest: str, device: str
) -> tuple[RunFolder, RunManifest]:
    started = datetime.datetime.now(datetime.UTC)
    options = plan.options
    parent = Path("runs") / plan.task.name / plan.entry.name
    if options.resume:
        folder = RunFolder(Path(options.out) if options.out else _latest_unfinished(parent, digest))
        manifest = folder.read_manifest()
        _check_resumable(folder, manifest, fingerprint)
        manifest.status, manifest.error, manifest.finished = "running", None, None
        folder.write_manifest(manifest)
        return folder, manifest
    path = Path(options.out) if options.out else parent / f"{started:%Y%m%dT%H%M%SZ}-{digest[:8]}"
    if (path / "run.json").exists():
        raise UsageError(f"{path} holds a run already: pass --resume to go on with it, or another --out")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"--out {path} exists and is not an empty folder")
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    manifest = RunManifest(
        task=plan.task.name,
        model=plan.entry.name,
        started=started.isoformat(timespec="seconds"),
        options=options.model_dump(mode="json"),
        fingerprint=fingerprint,
        fingerprint_digest=digest,
        versions=versions(),
        git=git_revision(),
        host=host_facts(device),
        seeds={"run": options.seed},
        data={
            "path": str(plan.data_path),
            "revision": plan.data.revision,
            "problems": len(plan.data.problems),
            **plan.data.facts,
        },
        media=_media(plan.samples),
        planned=[sample.id for sample in plan.samples],
        warnings=[_problem_line(problem.file, problem.line, problem.message) for problem in plan.data.problems],
    )
    folder.write_manifest(manifest)
    return folder, manifest


def _problem_line(file: str | None, line: int | None, message: str) -> str:
    place = ":".join(str(part) for part in (file, line) if part is not None)
    return f"{place}: {message}" if place else message


def _media(samples: tuple[StreamSample, ...]) -> dict[str, str]:
    return {sample.cluster or sample.id: str(sample.video.resolve()) for sample in samples}


def _latest_unfinished(parent: Path, digest: str) -> Path:
    found = sorted(path for path in parent.glob(f"*-{digest[:8]}") if (path / "run.json").exists())
    unfinished = [path for path in found if RunFolder(path).read_manifest().status != "done"]
    if not unfinished:
        raise UsageError(f"there is no unfinished run of these options below {parent}; name one with --out")
    return unfinished[-1]


def _check_resumable(folder: RunFolder, manifest: RunManifest, fingerprint: dict[str, object]) -> None:
    differing = sorted(
        key
        for key in manifest.fingerprint.keys() | fingerprint.keys()
        if manifest.fingerprint.get(key) != fingerprint.get(key)
    )
    if differing:
        was = ", ".join(f"{k}={manifest.fingerprint.get(k)!r} (now {fingerprint.get(k)!r})" for k in differing[:3])
        raise UsageError(f"{folder.path} was run with other settings and cannot be resumed: {was}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the folder for this process."""
    lock = path / ".lock"
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"another process is writing into {path}") from error
        file.write(str(os.getpid()))
        file.flush()
        yield
    lock.unlink(missing_ok=True)


class _Journal:
    """Keeps ``run.json`` up to date and tells the person at the terminal."""

    def __init__(self, folder: RunFolder, manifest: RunManifest, notify: Callable[[str], None]) -> None:
        self._folder = folder
        self._manifest = manifest
        self._notify = notify

    def warn(self, message: str) -> None:
        """Put a warning on record, once."""
        if message not in self._manifest.warnings:
            self._manifest.warnings.append(message)
            self._notify(f"warning: {message}")

    def fail(self, failure: FailedSample) -> None:
        """Put a failed sample on record."""
        self._manifest.failed.append(failure)
        self._notify(f"failed: {failure.sample}: {failure.reason}")
        self._folder.write_manifest(self._manifest)

    def end(self, status: Literal["done", "failed", "interrupted"]) -> None:
        """Write how the run ended."""
        self._manifest.status = status
        self._manifest.finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._folder.write_manifest(self._manifest)

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        self._manifest.error = f"{type(error).__name__}: {' '.join(str(error).split())}"
        try:
            self.end("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        except OSError as also:
            self._notify(f"run.json could not be updated: {also.strerror}")


@contextmanager
def _stop_flag() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a flag; the second one acts at once."""
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        sys.stderr.write("\nevalkit: stopping after this second (again to stop at once)\n")

    before: dict[signal.Signals, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, note)
    except ValueError:  # not the main thread: whoever called handles signals
        before.clear()
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(plan: RunPlan) -> Iterator[Callable[[float], None]]:
    bar: tqdm[Never] = tqdm(
        total=round(plan.stream_seconds),
        unit="s",
        desc=f"{plan.task.name} / {plan.entry.name}",
        disable=not sys.stderr.isatty(),
    )

    def advanced(seconds: float) -> None:
        bar.update(seconds)

    with bar:
        yield advanced
