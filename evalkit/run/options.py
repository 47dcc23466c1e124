"""Options exist once, here: the command line, the TOML file and Python calls are three views of this model."""

from __future__ import annotations

__all__ = ["RunOptions", "merge_options", "parse_assignment", "read_config", "recorded_options"]

import json
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer

from evalkit.chat.settings import public_url
from evalkit.errors import DataError, UsageError, suggest
from evalkit.records import RunFolder, require_plain
from evalkit.settings import Setting
from evalkit.timing import Overload


class RunOptions(BaseModel):
    """What `evalkit run` was asked to do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str = Field(description="benchmark to run (evalkit list tasks)")
    model: str = Field(description="model under test (evalkit list models)")
    data: str | None = Field(
        default=None, description="folder with the benchmark's files (default data/TASK), or demo: made-up ones"
    )
    checkpoint: str | None = Field(
        default=None, description="hub id or folder of the weights, or a built-in: learnt, learnt-llava, tiny"
    )
    limit: int | None = Field(default=None, ge=1, description="run the first N samples only")
    sample: tuple[str, ...] = Field(default=(), description="run these samples only (repeatable)")
    shard: str | None = Field(
        default=None, description="run part I of N of the samples, as I/N; evalkit merge puts the parts together"
    )
    out: str | None = Field(default=None, description="run folder (default runs/TASK/MODEL/STARTED-FINGERPRINT)")
    resume: bool = Field(default=False, description="go on with an unfinished run")
    dry_run: bool = Field(default=False, description="print what would run, try each video, and stop")
    protocol: str | None = Field(default=None, description="protocol of a question benchmark (streaming ...)")
    compress: str | None = Field(default=None, description="token compression: stc, cacher(...),pruner(...)")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    dtype: str = Field(default="auto", description="auto, float32, bfloat16 or float16")
    attention: str = Field(default="sdpa", description="attention kernel of transformers")
    decode_step: Literal["plain", "recorded"] = Field(
        default="plain", description="steps of one token: plain, or recorded once per stream (a CUDA graph)"
    )
    engine: Literal["transformers", "vllm", "ray"] = Field(
        default="transformers",
        description="what computes a local model: transformers, vllm (extra [vllm]), or ray: transformers in "
        "the workers of a Ray cluster (extra [ray])",
    )
    after_vision: Literal["max", "spatial"] = Field(
        default="max",
        description="Qwen positions after a video: max (as published) or spatial (5.x)",
    )
    seed: int = Field(default=42, ge=0, description="seed of every random number")
    seeds: int | None = Field(
        default=None, ge=2, description="run with so many seeds, from --seed on; readers average per question"
    )
    repeat: int | None = Field(default=None, ge=2, description="run so many times with one seed, to time it")
    beside: str | None = Field(
        default=None,
        description="TOML file with what a second side changes: with --repeat the two run in turns, A B A B",
    )
    checkpoint_seconds: int = Field(default=60, ge=1, description="save the session every so many stream seconds")
    judge: str | None = Field(default=None, description="judge the run when it is done: openai:MODEL or overlap")
    against: str | None = Field(default=None, description="run folder or merged_result.jsonl to judge against")
    base_url: str | None = Field(
        default=None,
        description="address of the server of a served model, and of the judge",
    )
    frame_pixels: int | None = Field(
        default=None,
        ge=1,
        description="most pixels of a frame, where a model scales frames (default the model's own)",
    )
    concurrency: int | None = Field(
        default=None, ge=1, description="samples under way at once (default: what the model is made for)"
    )
    streams: int = Field(
        default=1, ge=1, description="samples that advance together through one network, as one batch"
    )
    workers: int | None = Field(
        default=None, ge=0, description="processes that share the samples, each with its model; 0: this one alone"
    )
    gpus_per_worker: float | None = Field(
        default=None, ge=0, description="GPUs of each worker (default 1 where there are any; 0.5: two share one)"
    )
    stall_seconds: float | None = Field(
        default=None, gt=0, description="a worker that is silent for longer is ended (default 600)"
    )
    ray_address: str | None = Field(
        default=None, description="Ray cluster to join (default: one is started on this machine)"
    )
    compat: bool = Field(default=False, description="reproduce faults of the released code (shared state)")
    max_cost: float | None = Field(
        default=None, gt=0, description="stop a served model in good order when so much is spent (needs prices)"
    )
    judge_base_url: str | None = Field(
        default=None, description="address of the judge's server, where it is not --base-url"
    )
    pace: Literal["none", "realtime"] = Field(
        default="none", description="none: as fast as it goes; realtime: frames arrive on the wall clock"
    )
    overload: Overload = Field(
        default="queue",
        description="of seconds that come while the session works: queue, drop-new, skip-to-latest",
    )
    max_backlog: int | None = Field(
        default=None, ge=1, description="seconds that may wait; past it the sample fails (--pace realtime)"
    )
    settings: dict[str, Setting] = Field(
        default_factory=dict,
        description="group.key=value: task.*, and what evalkit list models NAME shows (repeatable)",
    )

    @field_serializer("base_url", "judge_base_url")
    def _without_secrets(self, url: str | None) -> str | None:
        """Put no user, password or query of an address on record."""
        return None if url is None else public_url(url)


def parse_assignment(text: str) -> tuple[str, Setting]:
    """Read one ``key=value``; a value that is JSON is taken as such, anything else as text (``a,b`` for a list).

    Raises:
        UsageError: There is no ``=``.
    """
    key, equals, raw = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--set wants key=value, not {text!r}")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return key.strip(), raw
    if isinstance(value, dict | list):
        raise UsageError(f"--set {key}: a number, true, false or text is wanted, not {raw}")
    return key.strip(), value


def read_config(path: Path, names: Iterable[str], flag: str = "--config") -> dict[str, Any]:
    """Read options from a TOML file: option names at the top, settings in tables by group.

    ``name`` in the table ``[task]`` is the option ``task``: TOML has no file with both a key and a table ``task``.

    Args:
        path: The file.
        names: Option names that exist.
        flag: The option that named the file, for what is said of it.

    Raises:
        UsageError: The file cannot be read, names an option that does not exist, or has a list or table where one
            value is wanted.
    """
    content = _toml(path, flag)
    known = set(names) - {"settings"}
    options: dict[str, Any] = {}
    settings: dict[str, Setting] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if isinstance(value, dict):
            table = dict(value)
            if key == "task" and "name" in table:
                options["task"] = table.pop("name")
            for inner, setting in table.items():
                settings[f"{key}.{inner}"] = _single(f"{flag} {path}: [{key}] {inner}", setting)
        elif name not in known:
            raise UsageError(f"{flag} {path}: unknown option {key!r}{suggest(name, known)}")
        else:
            options[name] = _option(f"{flag} {path}: {key}", name, value)
    return options | ({"settings": settings} if settings else {})


def recorded_options(folder: Path) -> dict[str, Any]:
    """Return the options with which an unfinished run was begun, so that nobody has to say them again.

    Args:
        folder: The run folder; nothing is returned where it holds no ``run.json`` yet.

    Returns:
        What was not left at its default, ``resume`` and ``out`` apart. ``data`` is the folder that was read, named
        so that it is found from any other place.

    Raises:
        DataError: ``run.json`` cannot be read.
    """
    if not (folder / "run.json").is_file():
        return {}
    manifest = RunFolder(folder).read_manifest()
    begun: dict[str, Any] = {"task": manifest.task, "model": manifest.model}
    for name, field in RunOptions.model_fields.items():
        value = manifest.options.get(name)
        if name not in ("resume", "out", "dry_run") and value not in (
            None,
            field.get_default(call_default_factory=True),
        ):
            begun[name] = value
    if manifest.options.get("data") != "demo" and "path" in manifest.data:
        begun["data"] = manifest.data["path"]
    return begun


def _toml(path: Path, flag: str) -> dict[str, Any]:
    try:
        if path.exists():
            require_plain(path)
        text = path.read_text(encoding="utf-8")
    except DataError as error:
        raise UsageError(f"{flag} {error}") from error
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{flag} {path}: not UTF-8 text") from error
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise UsageError(f"{flag} {path}: brackets nest too deep") from error
    except tomllib.TOMLDecodeError as error:
        top = re.split(r"(?m)^\s*\[", text, maxsplit=1)[0]
        twice = re.search(r"(?m)^\s*task\s*=", top) and re.search(r"(?m)^\s*(\[\s*task\b|task\s*\.)", text)
        hint = "; task is a table here, so name the task inside it: [task], then name = ..." if twice else ""
        raise UsageError(f"{flag} {path}: {error}{hint}") from error


def _option(place: str, name: str, value: Any) -> Any:
    field = RunOptions.model_fields.get(name)
    if field is None or typing.get_origin(field.annotation) is not tuple:
        return _single(place, value)
    if not isinstance(value, list):
        raise UsageError(f"{place} wants a list, such as {name} = [{json.dumps(str(value))}], not {value!r}")
    return tuple(value)


def _single(place: str, value: Any) -> Setting:
    if not isinstance(value, Setting):
        kind = (
            "a list" if isinstance(value, list | tuple) else "a table" if isinstance(value, dict) else str(value)
        )
        raise UsageError(f"{place} wants one number, true, false or text ('a,b' for several), not {kind}")
    return value


def merge_options(layers: Sequence[Mapping[str, Any]]) -> RunOptions:
    """Lay options over one another, later ones on top; settings are merged key by key.

    Raises:
        UsageError: An option is missing or does not fit.
    """
    merged: dict[str, Any] = {}
    settings: dict[str, Setting] = {}
    for layer in layers:
        merged |= {key: value for key, value in layer.items() if key != "settings"}
        settings |= {key: _single(f"setting {key}", value) for key, value in layer.get("settings", {}).items()}
    try:
        return RunOptions(**merged, settings=settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = "--" + str(first["loc"][0]).replace("_", "-")
        reason = " is required" if first["type"] == "missing" else f" {first['input']!r}: {first['msg']}"
        raise UsageError(f"{name}{reason}") from error
