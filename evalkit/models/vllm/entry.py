"""The catalog's entry of vLLM's in-process engine, its settings, and what of it can be checked without vLLM."""

from __future__ import annotations

__all__ = ["VllmEntry", "VllmRecipe", "VllmSettings", "in_vllm", "vllm_session"]

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from evalkit.errors import ModelError, UsageError
from evalkit.memory import FullAttention
from evalkit.models.checkpoints import BUILT_IN, check_checkpoint
from evalkit.models.entry import ModelChoice, ModelEntry, ModelRecipe
from evalkit.models.local import PolicyEntry
from evalkit.models.protocol import Capabilities
from evalkit.models.settings import GenerationSettings
from evalkit.settings import SettingGroups, validated

if TYPE_CHECKING:
    from evalkit.models.vllm.model import VllmModel

_QWEN = ("qwen2_5_vl", "qwen2_vl")
_BATCH = 64
_CAPABILITIES = Capabilities(streams=None)


class VllmSettings(BaseModel):
    """How vLLM's engine is started."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_model_len: int = Field(default=32768, ge=64, description="Tokens a stream may hold; it ends there.")
    max_num_seqs: int = Field(default=64, ge=1, description="Most requests computed at once.")
    enforce_eager: bool = Field(default=False, description="No CUDA graphs: slower, and started sooner.")
    extra: str = Field(
        default="{}", description="Further fields of vLLM's AsyncEngineArgs, as one JSON object in quotes."
    )

    def engine_arguments(self) -> dict[str, Any]:
        """Return the fields of AsyncEngineArgs.

        Raises:
            UsageError: ``extra`` is no JSON object.
        """
        try:
            extra = json.loads(self.extra)
        except ValueError as error:
            raise UsageError(f"setting model.extra is no JSON: {error}") from error
        if not isinstance(extra, dict):
            raise UsageError(f"setting model.extra wants a JSON object, not {self.extra}")
        return self.model_dump(exclude={"extra"}) | extra


@dataclass(frozen=True, slots=True)
class VllmRecipe(ModelRecipe):
    """A checkpoint in vLLM's engine, with every setting.

    Args:
        name: Its name in tables.
        checkpoint: Folder or hub id.
        engine: How the engine is started.
        generation: How replies are decoded.
        dtype: ``auto`` or a type of weights.
        concurrency: Samples under way at once.
    """

    kind: ClassVar[Literal["local"]] = "local"

    name: str
    checkpoint: str
    engine: VllmSettings
    generation: GenerationSettings
    dtype: str = "auto"
    concurrency: int = 1
    capabilities: Capabilities = _CAPABILITIES

    def facts(self) -> dict[str, str]:
        """Return weights, memory and engine."""
        limit = self.engine.max_model_len
        return {"checkpoint": self.checkpoint, "memory": f"everything, up to {limit} tokens", "engine": "vllm"}

    def setting(self) -> dict[str, Any]:
        """Return decoding, positions and attention kernel."""
        return {
            **{f"generation.{key}": value for key, value in self.generation.model_dump().items()},
            "positions.after_vision": "max",
            "attention": "vllm",
        }

    def identity(self) -> dict[str, Any]:
        """Return weights and engine."""
        return {
            "model.checkpoint": self.checkpoint,
            "model.policy": "FullAttention",
            "model.engine": "vllm",
            **{f"model.{key}": value for key, value in self.engine.model_dump().items()},
        }

    def check(self) -> None:
        """Look for vLLM and at the checkpoint's folder.

        Raises:
            ModelError: Either is missing, or the checkpoint is no Qwen2-VL or Qwen2.5-VL.
        """
        if self.checkpoint in BUILT_IN:
            raise ModelError(
                f"vLLM reads folders: evalkit export --checkpoint {self.checkpoint} --out DIR, then "
                "--checkpoint DIR"
            )
        check_checkpoint(self.checkpoint)
        config = Path(self.checkpoint) / "config.json"
        if config.exists() and json.loads(config.read_text(encoding="utf-8"))["model_type"] not in _QWEN:
            raise ModelError(
                f"model {self.name} takes Qwen2-VL and Qwen2.5-VL checkpoints; {self.checkpoint} is none"
            )
        if importlib.util.find_spec("vllm") is None:
            raise ModelError(
                f"model {self.name} needs vLLM: install evalkit[vllm] into an environment of its own, run it there"
            )

    def make(self) -> VllmModel:
        """Start the engine."""
        from evalkit.models.vllm.model import VllmModel

        return VllmModel(self)


@dataclass(frozen=True, slots=True)
class VllmEntry(ModelEntry):
    """Full attention over a checkpoint in vLLM's engine.

    Args:
        name: Its name on the command line.
        summary: One line for ``evalkit list models``.
        checkpoint: Weights it runs on unless ``--checkpoint`` names others.
        concurrency: Samples under way at once, unless ``--concurrency`` says otherwise.
    """

    name: str
    summary: str
    checkpoint: str
    concurrency: int = 1

    @property
    def groups(self) -> SettingGroups:
        """The engine's settings, and how replies are decoded."""
        return {"model": VllmSettings, "generation": GenerationSettings}

    @property
    def defaults(self) -> Mapping[str, Mapping[str, Any]]:
        """No repetition penalty; see `recipe`."""
        return {"generation": {"repetition_penalty": 1.0}}

    @property
    def capabilities(self) -> Capabilities:
        """Everything, on any number of streams."""
        return _CAPABILITIES

    @property
    def default_checkpoint(self) -> str:
        """Weights it runs on unless ``--checkpoint`` names others."""
        return self.checkpoint

    def recipe(self, choice: ModelChoice) -> VllmRecipe:
        """Put checkpoint and options together.

        Raises:
            UsageError: An option is one of weights that transformers runs, a setting is out of range, or a
                repetition penalty is asked for: in a request that grows, vLLM counts only part of the context.
        """
        usual = {"device": "auto", "attention": "sdpa", "after_vision": "max", "frame_pixels": None}
        given = [name for name, value in usual.items() if getattr(choice, name) != value]
        given += ["compress"] if choice.compress not in (None, "none") else []
        given += ["compat"] if choice.compat else []
        if given:
            flags = ", ".join("--" + name.replace("_", "-") for name in given)
            raise UsageError(f"model {self.name} computes in vLLM's engine; leave {flags} out")
        generation = validated(
            GenerationSettings, "generation", {"repetition_penalty": 1.0, **choice.of("generation")}
        )
        if generation.repetition_penalty != 1.0:
            raise UsageError(
                f"model {self.name} takes no repetition penalty: in a request that grows vLLM counts only part of "
                "the context. Leave generation.repetition_penalty at 1"
            )
        engine = validated(VllmSettings, "model", choice.of("model"))
        engine.engine_arguments()
        return VllmRecipe(
            name=self.name,
            checkpoint=choice.checkpoint or self.checkpoint,
            engine=engine,
            generation=generation,
            dtype=choice.dtype,
            concurrency=self.concurrency,
        )


def in_vllm(entry: ModelEntry) -> VllmEntry:
    """Return the entry of the same model in vLLM's engine, with as many questions at once as the engine batches.

    Raises:
        UsageError: The model forgets or compresses, which vLLM's engine does not.
    """
    if not (isinstance(entry, PolicyEntry) and entry.memory is FullAttention and entry.compress == "none"):
        raise UsageError(f"--engine vllm keeps everything, and model {entry.name} does not: choose --model full")
    return VllmEntry(entry.name, entry.summary, entry.checkpoint, concurrency=_BATCH)


vllm_session = VllmEntry(
    name="vllm-session",
    summary="Full attention in vLLM's engine: one request per stream, to which each second is appended.",
    checkpoint="Qwen/Qwen2.5-VL-7B-Instruct",
)
