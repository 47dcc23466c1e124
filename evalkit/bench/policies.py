"""The efficiency figure: models under their policies on synthetic frames, each second on record."""

from __future__ import annotations

__all__ = ["BenchRequest", "bench_json", "bench_models"]

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit.bench.measure import BenchRequest, measure_stream, models_of
from evalkit.records import StageTimes


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
    folders = []
    for recipe, model in models_of(request):
        measure_stream(model, recipe, request, out / recipe.name)
        folders.append(out / recipe.name)
    return folders


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
