"""The efficiency figure: models under their policies on synthetic frames, each second on record."""

from __future__ import annotations

__all__ = ["BenchRequest", "bench_json", "bench_models"]

import datetime
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

from tqdm import tqdm

from evalkit.bench.frames import SyntheticFrames
from evalkit.errors import EvalkitError
from evalkit.models.backbone import Backbone
from evalkit.models.catalog import policy_recipe
from evalkit.models.entry import ModelChoice
from evalkit.models.local import PolicyRecipe
from evalkit.models.protocol import SessionRequest, StreamingModel
from evalkit.records import (
    FailedSample,
    JsonlWriter,
    RunFolder,
    RunManifest,
    StageTimes,
    TickRecord,
)
from evalkit.run.fingerprint import fingerprint_digest
from evalkit.run.provenance import git_revision, host_facts, versions
from evalkit.run.sample import tick_record
from evalkit.shown import shown_on_one_line
from evalkit.stream import FrameFeed, FrameSchedule, Narration

_INSTRUCTION = "Describe what happens."
_PREVIOUS_WORD = " and"


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What is measured.

    Args:
        models: Catalog names.
        checkpoint: Weights for all of them; ``None`` for each model's own.
        seconds: Length of the stream.
        size: ``(width, height)`` of the video; frames are what the backbone makes of it.
        fps: Frames per second.
        tokens: Exact number of tokens spoken per second.
        previous_words: Words of previous text at the start, so that text windows are full from the first second.
        device: As for a run.
        dtype: As for a run.
        attention: As for a run.
        seed: Seed of the frames.
    """

    models: tuple[str, ...]
    checkpoint: str | None
    seconds: int
    size: tuple[int, int]
    fps: float = 2.0
    tokens: int = 20
    previous_words: int = 1100
    device: str = "auto"
    dtype: str = "auto"
    attention: str = "sdpa"
    seed: int = 42


def bench_models(request: BenchRequest, out: Path) -> list[Path]:
    """Measure every model on the same frames, one after the other.

    Args:
        request: What is measured.
        out: Folder that gets a run folder per model.

    Returns:
        The run folders. A model that ran out of memory leaves the seconds it managed and its reason.

    Raises:
        UsageError: A model or checkpoint does not exist.
    """
    choice = ModelChoice(
        checkpoint=request.checkpoint,
        device=request.device,
        dtype=request.dtype,
        attention=request.attention,
        settings={"generation": {"temperature": 0, "max_new_tokens": request.tokens, "exact_tokens": True}},
    )
    folders: list[Path] = []
    loaded: dict[str, Backbone] = {}
    for recipe in [policy_recipe(name, choice) for name in request.models]:
        if recipe.checkpoint not in loaded:
            loaded.clear()
            loaded[recipe.checkpoint] = recipe.load()
        model = recipe.over(loaded[recipe.checkpoint])
        folders.append(_bench(model, recipe, request, out / recipe.name))
    return folders


def _bench(model: StreamingModel, recipe: PolicyRecipe, request: BenchRequest, path: Path) -> Path:
    # What can refuse the request comes before the folder: a refused one leaves nothing behind.
    schedule = FrameSchedule(0, request.seconds, request.fps)
    source = SyntheticFrames(model.frame_size(*request.size), request.seed)
    session = model.open(_session_request(request))
    manifest = _manifest(model, recipe, request)
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    folder.write_manifest(manifest)
    bar: tqdm[Never] = tqdm(
        total=len(schedule), desc=shown_on_one_line(model.name), unit="s", disable=not sys.stderr.isatty()
    )
    with JsonlWriter[TickRecord](folder.ticks_path) as ticks, FrameFeed(schedule, source) as feed, bar:
        try:
            for chunk in feed:
                step = session.speak(chunk).step
                ticks.append(tick_record("synthetic", chunk, step, model.peak_mib()))
                bar.update()
        except (MemoryError, RuntimeError, EvalkitError) as error:
            reason = " ".join(str(error).split())
            manifest.failed.append(FailedSample(sample="synthetic", reason=reason, error=type(error).__name__))
        finally:
            session.close()
    manifest.status = "failed" if manifest.failed else "done"
    manifest.finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    folder.write_manifest(manifest)
    return path


def _session_request(request: BenchRequest) -> SessionRequest:
    narration = Narration(_INSTRUCTION, _PREVIOUS_WORD * request.previous_words)
    return SessionRequest("synthetic", request.fps, request.seed, narration)


def _manifest(model: StreamingModel, recipe: PolicyRecipe, request: BenchRequest) -> RunManifest:
    fingerprint = {
        "task": "bench",
        "frames.size": "x".join(map(str, model.frame_size(*request.size))),
        "frames.fps": f"{request.fps:g}",
        "seconds": request.seconds,
        "tokens": request.tokens,
        "previous_words": request.previous_words,
        "attention": request.attention,
        "seed": request.seed,
        "dtype": model.placement.dtype,
        "model.name": model.name,
        **recipe.identity(),
        **model.identity(),
    }
    return RunManifest(
        task="bench",
        model=model.name,
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        options={"models": list(request.models), "seconds": request.seconds, "tokens": request.tokens},
        fingerprint=fingerprint,
        fingerprint_digest=fingerprint_digest(fingerprint),
        versions=versions(),
        git=git_revision(),
        host=host_facts(model.placement.device),
        seeds={"run": request.seed},
        planned=["synthetic"],
    )


def bench_json(folders: Sequence[Path]) -> dict[str, Any]:
    """Return the figures of bench runs, times in seconds and memory in MiB.

    ``seconds`` beside ``models`` is the length of the stream asked for; that of a model is how far it came.

    Args:
        folders: What `bench_models` returned.
    """
    from evalkit.records import read_run
    from evalkit.report import summarize_ticks

    models: dict[str, Any] = {}
    asked = 0
    for path in folders:
        run = read_run(path)
        asked = max(asked, run.manifest.fingerprint["seconds"])
        summary = summarize_ticks(run.manifest.model, run.ticks)
        stages = {
            stage: sum(getattr(tick.stages, stage) for tick in run.ticks) / len(run.ticks) if run.ticks else None
            for stage in StageTimes.model_fields
            if stage != "total"
        }
        models[run.manifest.model] = {
            "per_second": None if summary.per_second is None else summary.per_second.as_dict(),
            "per_token": None if summary.per_token is None else summary.per_token.p50,
            "per_token_percentiles": None if summary.per_token is None else summary.per_token.as_dict(),
            "stages": stages,
            "cache_tokens": run.ticks[-1].cache_tokens if run.ticks else None,
            "peak_memory_mib": summary.peak_mib,
            "seconds": len(run.ticks),
            "failed": [failure.reason for failure in run.manifest.failed],
            "records": str(path),
        }
    return {"models": models, "seconds": asked}
