"""The largest frame rate that each model sustains on the made-up stream; every rate tried leaves a run folder."""

from __future__ import annotations

__all__ = ["RATE_STEP", "measure_rates"]

import math
from dataclasses import replace
from pathlib import Path

from evalkit.bench.measure import BenchRequest, BenchSecond, measure_stream, models_of
from evalkit.bench.sustain import Run, SustainRule, SustainSearch, Trial, largest_load
from evalkit.models.local import PolicyRecipe
from evalkit.models.protocol import StreamingModel
from evalkit.stream import MAX_FPS

RATE_STEP = 0.25
"""Frame rates that are told apart."""


def measure_rates(request: BenchRequest, rule: SustainRule, out: Path) -> dict[str, SustainSearch]:
    """Find the largest frame rate that each model sustains, to a quarter frame a second.

    Args:
        request: What is measured; its frame rate is the first one tried, the rule's horizon its length.
        rule: When a rate counts as sustained.
        out: Folder that gets a run folder per model and rate.

    Returns:
        What was tried, by model.
    """
    return {
        recipe.name: largest_load(
            _runner(model, recipe, request, rule, out / recipe.name),
            rule,
            first=request.fps,
            step=RATE_STEP,
            least=RATE_STEP,
            most=float(MAX_FPS),
        )
        for recipe, model in models_of(request)
    }


def _runner(
    model: StreamingModel, recipe: PolicyRecipe, request: BenchRequest, rule: SustainRule, out: Path
) -> Run:
    def run(fps: float, trial: Trial) -> str:
        def goes_on(second: BenchSecond) -> bool:
            tick = second.tick
            return trial.goes_on(tick.end - tick.start, tick.stages.total, tick.cache_tokens)

        wanted = replace(request, fps=fps, seconds=math.ceil(rule.most))
        manifest = measure_stream(model, recipe, wanted, out / f"{fps:g}fps", goes_on)
        return "; ".join(f"{failure.error}: {failure.reason}" for failure in manifest.failed)

    return run
