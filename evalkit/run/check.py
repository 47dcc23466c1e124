"""What is refused before anything loads: a model that cannot do what a task asks, a folder that is taken."""

from __future__ import annotations

__all__ = ["check_concurrency", "check_fit", "check_out", "check_streams", "check_workers"]

from collections.abc import Sequence
from pathlib import Path

from evalkit.errors import UsageError
from evalkit.models.entry import ModelRecipe
from evalkit.records import RunFolder
from evalkit.run.options import RunOptions
from evalkit.stream import StreamSample
from evalkit.tasks import WINDOW_FRAMES


def check_fit(model: ModelRecipe, task: str, samples: Sequence[StreamSample]) -> None:
    """Refuse a model that cannot do what the samples ask for.

    Args:
        model: The model.
        task: Name of the benchmark.
        samples: What is to run.

    Raises:
        UsageError: It cannot.
    """
    can = model.capabilities
    why = f" ({can.why})" if can.why else ""
    narrated = any(sample.narration is not None for sample in samples)
    queries = [query for sample in samples for query in sample.queries]
    clips = any(sample.tags.get("frames") for sample in samples)
    if narrated and can.narrate is None:
        raise UsageError(f"model {model.name} answers questions only{why}, and task {task} narrates")
    by_second = any(sample.narration is not None and WINDOW_FRAMES not in sample.tags for sample in samples)
    if by_second and can.narrate == "windows":
        raise UsageError(
            f"model {model.name} speaks once about a window{why}, and task {task} wants words second by second"
        )
    if queries and not can.answer:
        raise UsageError(f"model {model.name} narrates only{why}, and task {task} asks questions")
    if clips and not can.whole_clip:
        raise UsageError(
            f"model {model.name} takes no finished clip at once{why}; choose another --protocol of task {task}"
        )
    if any(query.elicitation.options for query in queries) and not can.options:
        raise UsageError(
            f"model {model.name} cannot compare options by logits{why}; choose another --protocol of task {task}"
        )


def check_concurrency(model: ModelRecipe, at_once: int | None) -> None:
    """Refuse more samples at once than the model has streams.

    Raises:
        UsageError: There are more.
    """
    most = model.capabilities.streams
    if at_once is not None and most is not None and at_once > most:
        raise UsageError(
            f"model {model.name} runs {most} stream{'s' if most > 1 else ''} at once: leave --concurrency out"
        )


def check_streams(model: ModelRecipe, streams: int, at_once: int | None) -> None:
    """Refuse several streams as one batch where the model has no network that takes them.

    Raises:
        UsageError: It has none, or samples run on threads of their own.
    """
    can = model.capabilities
    if streams == 1:
        return
    if not can.together:
        why = f" ({can.why})" if can.why else ""
        more = "" if can.streams == 1 else "; it takes --concurrency"
        raise UsageError(
            f"model {model.name} cannot advance several streams as one batch{why}{more}: leave --streams out"
        )
    if at_once is not None:
        raise UsageError("--streams and --concurrency are two ways to run samples at once: leave one out")
    choice = getattr(model, "choice", None)
    if getattr(choice, "compat", False):
        raise UsageError("--compat lets streams share state in the order of samples: leave --streams out")
    kernel = getattr(choice, "attention", "sdpa")
    if kernel != "sdpa" and not kernel.startswith("flash_attention"):
        raise UsageError(f"--streams needs --attention sdpa or flash_attention_2; {kernel} takes one stream")


def check_workers(options: RunOptions, model: ModelRecipe) -> None:
    """Refuse workers that mean nothing, before anything loads.

    Raises:
        UsageError: An option of workers without any, a model that waits for a server, or one device for all.
    """
    if options.workers == 0:  # a run with workers is gone on with in this process, whatever its workers were
        return
    if options.workers is None:
        given = [
            "--" + name.replace("_", "-")
            for name in ("gpus_per_worker", "stall_seconds", "ray_address")
            if getattr(options, name) is not None
        ]
        given += ["--engine ray"] if options.engine == "ray" else []
        if given:
            raise UsageError(f"{given[0]} needs --workers N: how many processes share the samples")
        return
    if options.ray_address is not None and options.engine != "ray":
        raise UsageError("--ray-address needs --engine ray")
    if model.kind == "served":
        raise UsageError(
            f"model {model.name} waits for a server: --concurrency N asks it more at once; leave --workers out"
        )
    if options.compat:
        raise UsageError("--compat lets samples share state in their order: leave --workers out")
    each = options.gpus_per_worker
    if each is not None and each > 1 and each != round(each):
        raise UsageError(f"--gpus-per-worker {each:g}: a whole number, or a part of one GPU such as 0.5")
    if ":" in options.device and each != 0:
        raise UsageError(
            f"--device {options.device} is one device: leave it out, or have all workers share it by "
            "--gpus-per-worker 0"
        )


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
