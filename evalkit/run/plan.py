"""From options to a plan: task, data, samples and model resolved, with nothing loaded yet."""

from __future__ import annotations

__all__ = ["RunPlan", "make_plan", "of_shard", "shard_numbers"]

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.errors import DataError, UsageError, suggest
from evalkit.models.catalog import catalog, models_with
from evalkit.models.entry import ModelChoice, ModelEntry, ModelRecipe
from evalkit.models.vllm import in_vllm
from evalkit.records import Latency
from evalkit.run.check import check_concurrency, check_fit, check_streams, check_workers
from evalkit.run.options import RunOptions
from evalkit.run.pace import check_pace
from evalkit.settings import apply_settings, validated
from evalkit.stream import StreamSample
from evalkit.tasks import Problem, Task, TaskData, TaskSettings, WindowedTask, folder_settings
from evalkit.tasks.catalog import data_folder, task_named
from evalkit.tasks.loaded import require_loaded
from evalkit.tasks.planned import expect_planned


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything a run needs to know before its model is made.

    Args:
        options: As asked for.
        task: The benchmark.
        task_settings: Its settings.
        model: The model with all its settings.
        data_path: The benchmark's folder.
        data: What was loaded from it.
        samples: What runs, in order.
        whole: All that was chosen, of which ``samples`` are one shard; the same where there are no shards.
        entry: The model's entry where it is none of the catalog, for whoever has to make this plan again.
    """

    options: RunOptions
    task: Task
    task_settings: TaskSettings
    model: ModelRecipe
    data_path: Path
    data: TaskData
    samples: tuple[StreamSample, ...]
    whole: tuple[StreamSample, ...]
    entry: ModelEntry | None = None

    @property
    def stream_seconds(self) -> float:
        """Media seconds that run."""
        return sum(sample.end - sample.start for sample in self.samples)

    @property
    def latency(self) -> Latency:
        """What the seconds of the run are: of a stream alone, of one batch of streams, or of a loaded model."""
        if self.options.streams > 1:
            return "batched"
        return "loaded" if self.concurrency > 1 else "alone"

    @property
    def concurrency(self) -> int:
        """Samples under way at once."""
        return self.options.concurrency or self.model.concurrency


def make_plan(options: RunOptions, entry: ModelEntry | None = None) -> RunPlan:
    """Resolve options.

    Args:
        options: As asked for.
        entry: The model; the catalog's entry of that name by default.

    Raises:
        UsageError: A name or setting does not exist or does not fit, or the model cannot do what the task asks.
        DataError: The benchmark's files are missing.
    """
    own, task, entry = entry, task_named(options.task), entry or catalog(options.model)
    if options.engine == "vllm":
        entry = in_vllm(entry)
    values = apply_settings(_given(options, task), {**entry.groups, "task": task.settings}, models_with)
    model = entry.recipe(_choice(options, values))
    folder = data_folder(task, options.data)
    settings = validated(task.settings, "task", folder_settings(folder) | values["task"])
    if model.capabilities.narrate == "windows" and isinstance(task, WindowedTask):
        data = task.load_windows(folder, settings)
    else:
        data = task.load(folder, settings)
    require_loaded(task.name, data, folder)
    whole = _chosen(data.samples, options)
    samples = of_shard(whole, options.shard)
    check_fit(model, task.name, samples)
    check_concurrency(model, options.concurrency)
    check_streams(model, options.streams, options.concurrency)
    check_workers(options, model)
    check_pace(options, samples)
    doubted = _with_doubt(data, model.doubt(samples))
    return RunPlan(options, task, settings, model, folder, doubted, samples, whole, own)


def _with_doubt(data: TaskData, doubt: str | None) -> TaskData:
    """Add why the model cannot be expected to do this to what a reader of the run is told."""
    return data if doubt is None else replace(data, problems=(*data.problems, Problem("untrained", doubt)))


def _given(options: RunOptions, task: Task) -> dict[str, Any]:
    """Return the settings, ``--protocol`` among them."""
    given = dict(options.settings)
    if options.protocol is not None:
        if "protocol" not in task.settings.model_fields:
            raise UsageError(f"task {task.name} has one protocol only; leave --protocol out")
        given["task.protocol"] = options.protocol
    return given


def _choice(options: RunOptions, values: dict[str, dict[str, Any]]) -> ModelChoice:
    return ModelChoice(
        checkpoint=options.checkpoint,
        base_url=options.base_url,
        compress=options.compress,
        device=options.device,
        dtype=options.dtype,
        attention=options.attention,
        decode_step=options.decode_step,
        after_vision=options.after_vision,
        frame_pixels=options.frame_pixels,
        compat=options.compat,
        resume=options.resume,
        max_cost=options.max_cost,
        concurrency=options.concurrency,
        settings={group: value for group, value in values.items() if group != "task"},
    )


def of_shard(samples: tuple[StreamSample, ...], shard: str | None) -> tuple[StreamSample, ...]:
    """Return every N-th sample from the I-th on.

    Args:
        samples: All that were chosen.
        shard: ``I/N``; everything where there is none.

    Raises:
        UsageError: It is no shard, or has no sample.
    """
    if shard is None:
        return samples
    number, count = shard_numbers(shard)
    part = samples[number - 1 :: count]
    if not part:
        raise UsageError(f"--shard {shard}: there are {len(samples)} samples, so some shards have none")
    return part


def shard_numbers(shard: str) -> tuple[int, int]:
    """Read ``I/N``.

    Raises:
        UsageError: It is none.
    """
    number, slash, count = shard.partition("/")
    if not (slash and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise UsageError(f"--shard wants I/N, such as 2/8, not {shard!r}")
    return int(number), int(count)


def _chosen(samples: tuple[StreamSample, ...], options: RunOptions) -> tuple[StreamSample, ...]:
    chosen = samples
    if options.sample:
        by_id = {sample.id: sample for sample in samples}
        for name in options.sample:
            if name not in by_id:
                raise UsageError(f"there is no sample {name!r}{suggest(name, by_id)}")
        chosen = tuple(sample for sample in samples if sample.id in set(options.sample))
    if options.limit is not None:
        chosen = chosen[: options.limit]
    if len(chosen) < len(samples):
        chosen = expect_planned(chosen)
    if not chosen:
        raise DataError("there is nothing to run: every row was refused (evalkit data check lists why)")
    return chosen
