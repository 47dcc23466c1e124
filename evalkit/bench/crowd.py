"""The largest number of streams that each model sustains as one batch; every number tried leaves a run folder."""

from __future__ import annotations

__all__ = ["MOST_STREAMS", "measure_crowd"]

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evalkit.bench.measure import BenchRequest, BenchSecond, choice_of, measure_streams, models_of
from evalkit.bench.sustain import Run, SustainRule, SustainSearch, Trial, largest_load
from evalkit.models.catalog import policy_recipe
from evalkit.models.local import PolicyRecipe
from evalkit.models.protocol import StreamingModel
from evalkit.run.check import check_streams

MOST_STREAMS = 1024
"""Streams that are tried at most."""


def measure_crowd(request: BenchRequest, rule: SustainRule, out: Path) -> dict[str, SustainSearch]:
    """Find the largest number of streams that each model sustains at a frame rate.

    Seconds of all streams arrive at the same moment, and a second is done when that of the last stream is.

    Args:
        request: What is measured: each stream at its frame rate, the rule's horizon long.
        rule: When a number of streams counts as sustained.
        out: Folder that gets a run folder per model and number.

    Returns:
        What was tried, by model.

    Raises:
        UsageError: A model cannot advance several streams as one batch.
    """
    choice = choice_of(request)
    for name in request.models:
        check_streams(policy_recipe(name, choice), 2, None)
    return {
        recipe.name: largest_load(
            _runner(model, recipe, request, rule, out / recipe.name),
            rule,
            first=1,
            step=1,
            least=1,
            most=MOST_STREAMS,
        )
        for recipe, model in models_of(request)
    }


def _runner(
    model: StreamingModel, recipe: PolicyRecipe, request: BenchRequest, rule: SustainRule, out: Path
) -> Run:
    def run(load: float, trial: Trial) -> str:
        def goes_on(seconds: Sequence[BenchSecond], took: float) -> bool:
            tick = seconds[0].tick
            return trial.goes_on(tick.end - tick.start, took, sum(one.tick.cache_tokens for one in seconds))

        streams = round(load)
        wanted = replace(request, seconds=math.ceil(rule.most))
        path = out / f"{streams}streams"
        manifest = measure_streams(model, recipe, wanted, path, goes_on, streams)
        return "; ".join(dict.fromkeys(f"{failure.error}: {failure.reason}" for failure in manifest.failed))

    return run
