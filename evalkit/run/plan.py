"""From options to a plan: task, samples, policy and settings resolved and checked before any weights load."""

from __future__ import annotations

__all__ = ["TASKS", "RunPlan", "check_out", "data_folder", "make_plan", "task_named"]

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evalkit import env
from evalkit.compress import CompressionSpec, parse_compression
from evalkit.errors import DataError, UsageError, suggest
from evalkit.memory.policies import MemoryPolicy
from evalkit.memory.shortcuts import FrameView
from evalkit.models.catalog import CatalogEntry, catalog
from evalkit.models.settings import GenerationSettings
from evalkit.parse import PARSER_VERSION
from evalkit.records import RunFolder
from evalkit.registry import Registry
from evalkit.run.code_change import code_change
from evalkit.run.fingerprint import git_revision, sample_digest
from evalkit.run.options import RunOptions, apply_settings
from evalkit.stream import Elicitation, Query, StreamSample
from evalkit.tasks import Task, TaskData, TaskSettings
from evalkit.tasks.planned import expect_planned

TASKS = Registry("evalkit.tasks", "task")


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything a run needs to know before its weights are loaded.

    Args:
        options: As asked for.
        task: The benchmark.
        task_settings: Its settings.
        entry: Catalog entry of the model.
        policy: Memory policy with its parameters.
        generation: How replies are decoded.
        compression: Token compression.
        checkpoint: Weights to load.
        data_path: The benchmark's folder.
        data: What was loaded from it.
        samples: What runs, in order.
    """

    options: RunOptions
    task: Task
    task_settings: TaskSettings
    entry: CatalogEntry
    policy: MemoryPolicy
    generation: GenerationSettings
    compression: CompressionSpec
    checkpoint: str
    data_path: Path
    data: TaskData
    samples: tuple[StreamSample, ...]

    @property
    def stream_seconds(self) -> float:
        """Media seconds that run."""
        return sum(sample.end - sample.start for sample in self.samples)

    def setting_fingerprint(self) -> dict[str, Any]:
        """Return the part of the fingerprint that two compared runs must share."""
        prompts = hashlib.sha256()
        for sample in self.samples:
            texts = (
                [] if sample.narration is None else [sample.narration.instruction, sample.narration.previous_text]
            )
            texts += [part for query in sample.queries for part in _wording(query)]
            for text in [*texts, *(text for _, text in sample.texts)]:
                prompts.update(text.encode() + b"\0")
        options = self.options
        return {
            "task": self.task.name,
            "data.revision": self.data.revision,
            "data.samples": sample_digest(sample.id for sample in self.samples),
            "frames.fps": ",".join(sorted({f"{sample.fps:g}" for sample in self.samples})),
            "frames.presets": ",".join(sorted({sample.tags.get("frames", "schedule") for sample in self.samples})),
            "prompt.digest": prompts.hexdigest()[:16],
            "parser": PARSER_VERSION,
            **{
                f"task.{key}": value
                for key, value in self.task_settings.model_dump(mode="json").items()
                if key != "instruction"
            },
            **{f"generation.{key}": value for key, value in self.generation.model_dump().items()},
            "positions.after_vision": options.after_vision,
            "attention": options.attention,
            "seed": options.seed,
            "code.revision": git_revision(),
            "code.change": code_change(),
        }

    def model_fingerprint(self) -> dict[str, Any]:
        """Return the part that says which model is under test."""
        return {
            "model.name": self.entry.name,
            "model.compress": self.compression.canonical(),
            "model.compat": self.options.compat,
        }


def _wording(query: Query) -> Iterator[str]:
    """Yield everything that words a question and draws its reply out."""
    drawn = query.elicitation
    yield query.prompt
    if drawn != Elicitation():
        yield "|".join([*drawn.options, drawn.lead, drawn.prefix, str(drawn.max_tokens)])
    if query.follow_up is not None:
        yield query.follow_up.word
        yield query.follow_up.query.prompt


def task_named(name: str) -> Task:
    """Return a benchmark.

    Raises:
        UsageError: There is no such task.
    """
    task: Task = TASKS.get(name)
    return task


def data_folder(task: Task, data: str | None) -> Path:
    """Return the folder of a benchmark's files; ``demo`` is generated on first use.

    Args:
        task: The benchmark.
        data: A folder, ``demo``, or ``None`` for ``data/TASK`` below the working directory.

    Raises:
        DataError: The folder does not exist.
    """
    if data == "demo":
        folder = env.cache_dir() / "demo" / task.name
        task.make_demo(folder)
        return folder
    folder = Path("data") / task.name if data is None else Path(data)
    if not folder.is_dir():
        hint = "pass --data DIR, or --data demo for made-up data" if data is None else "is it spelled right?"
        raise DataError(f"no data folder {folder}: {hint}", path=folder)
    return folder


def check_out(path: Path, *, resume: bool) -> bool:
    """Refuse a folder that a run cannot be written into, or gone on with.

    A run that was killed, or met a full disk, before its ``run.json`` was whole leaves a folder with nothing in it
    but a part of that file: it is written into as an empty one, and ``--resume`` begins there at the beginning.

    Args:
        path: The run folder.
        resume: Whether a run is to go on there.

    Returns:
        Whether there is a run to go on with.

    Raises:
        UsageError: There is a run already, or something else.
        DataError: There is nothing to go on with.
    """
    bare = path.is_dir() and set(path.iterdir()) == set(path.glob(".run.json.*.part"))
    if resume and not bare:
        RunFolder(path).read_manifest()
        return True
    if (path / "run.json").exists():
        raise UsageError(f"{path} holds a run already: pass --resume to go on with it, or another --out")
    if path.exists() and not bare:
        raise UsageError(f"--out {path} exists and is not an empty folder")
    return False


def make_plan(options: RunOptions) -> RunPlan:
    """Resolve options.

    Raises:
        UsageError: A name or setting does not exist or does not fit.
        DataError: The benchmark's files are missing.
    """
    task, entry = task_named(options.task), catalog(options.model)
    given = dict(options.settings)
    if options.protocol is not None:
        if "protocol" not in task.settings.model_fields:
            raise UsageError(f"task {task.name} has one protocol only; leave --protocol out")
        given["task.protocol"] = options.protocol
    groups: dict[str, type[Any]] = {
        "memory": entry.memory,
        "generation": GenerationSettings,
        "task": task.settings,
    }
    values = apply_settings(given, groups)
    policy = entry.memory(**(entry.memory_defaults | values["memory"]))
    generation = _validated(GenerationSettings, "generation", entry.generation | values["generation"])
    defaults = task.demo_settings if options.data == "demo" else {}
    settings = _validated(task.settings, "task", dict(defaults) | values["task"])
    folder = data_folder(task, options.data)
    data = task.load(folder, settings)
    if isinstance(policy, FrameView) and any(sample.narration is not None for sample in data.samples):
        raise UsageError(f"model {entry.name} answers questions only, and task {task.name} narrates")
    return RunPlan(
        options=options,
        task=task,
        task_settings=settings,
        entry=entry,
        policy=policy,
        generation=generation,
        compression=parse_compression(entry.compress if options.compress is None else options.compress),
        checkpoint=options.checkpoint or entry.checkpoint,
        data_path=folder,
        data=data,
        samples=_chosen(data.samples, options),
    )


def _validated(model: type[Any], group: str, values: dict[str, Any]) -> Any:
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"setting {group}.{first['loc'][0]}: {first['msg']}") from error


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
