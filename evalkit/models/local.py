"""Local models: a memory policy over a checkpoint that is loaded into this process (no torch until it is)."""

from __future__ import annotations

__all__ = ["LiveCCEntry", "LiveCCRecipe", "PolicyEntry", "PolicyRecipe"]

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from evalkit.compress import CompressionSpec, parse_compression
from evalkit.errors import UsageError
from evalkit.memory import MemoryPolicy
from evalkit.memory.events import StreamForestSettings
from evalkit.memory.shortcuts import FrameView
from evalkit.memory.tensors import TensorMemory, WindowBlocks
from evalkit.models.card import read_card
from evalkit.models.checkpoints import check_checkpoint, tokens_of
from evalkit.models.entry import ModelChoice, ModelEntry, ModelRecipe, PreviousText
from evalkit.models.protocol import Capabilities
from evalkit.models.settings import GenerationSettings
from evalkit.settings import SettingGroups, validated
from evalkit.stream import StreamSample

if TYPE_CHECKING:
    from evalkit.models.backbone import Backbone
    from evalkit.models.cached import CachedModel


@dataclass(frozen=True, slots=True)
class PolicyRecipe(ModelRecipe):
    """A memory policy with its parameters over a checkpoint of this machine.

    Args:
        name: Its name in tables.
        policy: Memory policy.
        generation: How replies are decoded.
        compress: Token compression.
        checkpoint: Weights to load.
        choice: Where and how they compute.
    """

    kind: ClassVar[Literal["local"]] = "local"

    name: str
    policy: MemoryPolicy
    generation: GenerationSettings
    compress: CompressionSpec
    checkpoint: str
    choice: ModelChoice
    concurrency: int = 1

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """Frame views and memories that retrieve answer only; one that cuts takes no whole clip; others do all."""
        return _capabilities(type(self.policy))

    @property
    def compression(self) -> CompressionSpec:
        """Token compression, with the released code's leak across streams where that is asked for."""
        return self.compress.with_compat() if self.choice.compat else self.compress

    @property
    def _thins(self) -> bool:
        return self.compress.tokens is not None or self.compress.merging is not None

    @property
    def tells_budget(self) -> bool:
        """Whether the memory sees tensors."""
        return isinstance(self.policy, TensorMemory | StreamForestSettings)

    def facts(self) -> dict[str, str]:
        """Return weights, memory and compression."""
        return {
            "checkpoint": self.checkpoint,
            "memory": repr(self.policy),
            "compression": self.compress.canonical(),
        }

    def previous_text(self, text: str) -> PreviousText | None:
        """Count the tokens of a previous text, and those that outlive the first second."""
        if self.capabilities.narrate is None:  # nothing was said before
            return None
        counted = tokens_of(self.checkpoint, text)
        tokens = -(-len(text) // 4) if counted is None else counted
        kept = self.policy.previous_text_kept
        trimmed = kept is not None and self.policy.trims_opening
        return PreviousText(
            min(tokens, kept) if trimmed and kept is not None else tokens, counted is not None, kept
        )

    def doubt(self, samples: Sequence[StreamSample]) -> str | None:
        """Say what a checkpoint of few words was trained on, where the run is something else."""
        trained = read_card(self.checkpoint).trained
        found = None if trained is None else trained.unlike(samples, self.choice.frame_pixels)
        return None if found is None else f"checkpoint {self.checkpoint}: {found}"

    def setting(self) -> dict[str, Any]:
        """Return decoding, positions, attention kernel and the frames' pixel budget."""
        return {
            **{f"generation.{key}": value for key, value in self.generation.model_dump().items()},
            "positions.after_vision": self.choice.after_vision,
            "attention": self.choice.attention,
            **({} if self.choice.decode_step == "plain" else {"decode_step": self.choice.decode_step}),
            "frames.pixels": self.choice.frame_pixels,
        }

    def identity(self) -> dict[str, Any]:
        """Return weights, policy with its parameters, and compression."""
        return {
            "model.checkpoint": self.checkpoint,
            "model.policy": type(self.policy).__name__,
            **{f"model.memory.{key}": value for key, value in _parameters(self.policy).items()},
            **({"model.memory.stands": self.policy.stands} if isinstance(self.policy, TensorMemory) else {}),
            "model.compress": self.compress.canonical(),
            "model.compat": self.choice.compat,
        }

    def check(self) -> None:
        """Look at the checkpoint's folder."""
        check_checkpoint(self.checkpoint)

    def make(self) -> CachedModel:
        """Load the weights and put the policy over them."""
        return self.over(self.load())

    @property
    def weights(self) -> tuple[object, ...]:
        """Return what says whether two recipes can share one loaded network: checkpoint and where it computes."""
        how = self.choice
        where = how.device, how.dtype, how.attention, how.after_vision, how.frame_pixels, how.decode_step
        return self.checkpoint, *where

    def load(self) -> Backbone:
        """Load the weights."""
        from evalkit.models.load import LoadRequest, load_backbone

        how = self.choice
        request = LoadRequest(
            self.checkpoint,
            how.device,
            how.dtype,
            how.attention,
            how.after_vision,
            how.frame_pixels,
            how.decode_step,
        )
        return load_backbone(request)

    def over(self, backbone: Backbone) -> CachedModel:
        """Put the policy over a network that is loaded already, for several policies on one."""
        from evalkit.models.cached import CachedModel
        from evalkit.models.load import checkpoint_revision

        if isinstance(self.policy, StreamForestSettings):
            from evalkit.models.forest import check_forest

            check_forest(backbone)
        block = getattr(backbone, "frame_tokens", None)  # Qwen's towers have as many as a video's size gives
        if isinstance(self.policy, WindowBlocks) and block is not None and not self._thins:
            from evalkit.models.retrieval import require_room

            require_room(self.policy, block)
        revision = checkpoint_revision(self.checkpoint, backbone.network)
        return CachedModel(self.name, backbone, self.policy, self.generation, revision, self.compression)


@dataclass(frozen=True, slots=True)
class PolicyEntry(ModelEntry):
    """A memory policy over a checkpoint. An entry point of ``evalkit.models`` gives one.

    Args:
        name: Its name on the command line.
        summary: One line for ``evalkit list models``.
        memory: Policy class (`MemoryPolicy`), or settings of another memory; its fields are the keys of ``--set
            memory.KEY=VALUE``.
        checkpoint: Weights it runs on unless ``--checkpoint`` names others.
        memory_defaults: Values of the policy's fields where they differ from the class's own.
        generation: Generation settings where they differ from the defaults.
        compress: Compression, as ``--compress`` would say it.
    """

    name: str
    summary: str
    memory: type[Any]
    checkpoint: str
    memory_defaults: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    compress: str = "none"

    def __post_init__(self) -> None:
        """Refuse what is no policy.

        Raises:
            UsageError: The memory is an object and no class, no `MemoryPolicy`, or lacks a method.
        """
        if not isinstance(self.memory, type):
            raise UsageError(
                f"model {self.name}: memory is an object of {type(self.memory).__name__}: name the class itself"
            )
        if not issubclass(self.memory, (MemoryPolicy, TensorMemory, FrameView)):
            raise UsageError(
                f"model {self.name}: {self.memory.__name__} is no memory policy: derive it from "
                "evalkit.memory.MemoryPolicy (docs/adding-a-policy.md)"
            )
        if lacking := sorted(getattr(self.memory, "__abstractmethods__", ())):
            raise UsageError(f"model {self.name}: {self.memory.__name__} lacks {', '.join(lacking)}()")

    @property
    def groups(self) -> SettingGroups:
        """The policy's parameters and how replies are decoded."""
        return {"memory": self.memory, "generation": GenerationSettings}

    @property
    def defaults(self) -> Mapping[str, Mapping[str, Any]]:
        """Where the entry differs from the policy's and the decoding's own defaults."""
        return {"memory": self.memory_defaults, "generation": self.generation}

    @property
    def capabilities(self) -> Capabilities:
        """Frame views and memories that retrieve answer only; one that cuts takes no whole clip; others do all."""
        return _capabilities(self.memory)

    @property
    def default_checkpoint(self) -> str:
        """Weights it runs on unless ``--checkpoint`` names others."""
        return self.checkpoint

    def recipe(self, choice: ModelChoice) -> PolicyRecipe:
        """Put policy, weights and options together.

        Raises:
            UsageError: A setting is out of range, the compression is none, or does not go with the policy.
        """
        compress = parse_compression(self.compress if choice.compress is None else choice.compress)
        if compress.parts and issubclass(self.memory, FrameView):
            raise UsageError(
                f"{self.name} encodes frames anew for each question and takes no --compress; leave it out"
            )
        if compress.parts and issubclass(self.memory, StreamForestSettings):
            raise UsageError(f"{self.name} merges the tower's own features and takes no --compress; leave it out")
        if (
            compress.tokens is not None
            and issubclass(self.memory, TensorMemory)
            and not issubclass(self.memory, WindowBlocks)
        ):
            raise UsageError(
                f"{self.name} scores tokens by their place in a frame and takes no pruned ones: --compress cacher "
                "or none goes with it"
            )
        if choice.compat and choice.resume and compress.tokens is not None:
            raise UsageError(
                "--compat lets the pruner remember finished samples, which no checkpoint holds: start anew"
            )
        checkpoint = choice.checkpoint or self.checkpoint
        card = read_card(checkpoint)
        known: dict[str, Any] = getattr(self.memory, "__dataclass_fields__", {})
        memory = self.memory_defaults | {name: value for name, value in card.memory.items() if name in known}
        generation = self.generation | card.generation | choice.of("generation")
        policy = self.memory(**(memory | choice.of("memory")))
        if getattr(policy, "reencodes", False):
            compress.refuse_encoding_again(self.name)
        return PolicyRecipe(
            name=self.name,
            policy=policy,
            generation=validated(GenerationSettings, "generation", generation),
            compress=compress,
            checkpoint=checkpoint,
            choice=choice,
        )


@dataclass(frozen=True, slots=True)
class LiveCCRecipe(PolicyRecipe):
    """LiveCC's loop over a checkpoint of this machine."""

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """It narrates."""
        return _NARRATES

    def over(self, backbone: Backbone) -> CachedModel:
        """Put the loop over a network that is loaded already."""
        from evalkit.models.livecc import LiveCCModel
        from evalkit.models.load import checkpoint_revision

        revision = checkpoint_revision(self.checkpoint, backbone.network)
        return LiveCCModel(self.name, backbone, self.policy, self.generation, revision, self.compression)


class LiveCCEntry(PolicyEntry):
    """LiveCC's loop over a checkpoint."""

    @property
    def capabilities(self) -> Capabilities:
        """It narrates."""
        return _NARRATES

    def recipe(self, choice: ModelChoice) -> LiveCCRecipe:
        """Put loop, weights and options together; see `PolicyEntry.recipe`."""
        plain = PolicyEntry.recipe(self, choice)
        return LiveCCRecipe(**{field.name: getattr(plain, field.name) for field in fields(plain)})


_NARRATES = Capabilities(answer=False, options=False, together=True, why="its loop is asked nothing")
_RETRIEVES = Capabilities(narrate=None, why="it keeps frames and is asked about them")
_MERGES = Capabilities(narrate=None, why="it merges frames and is asked about them")
_CUTS = Capabilities()


def _parameters(policy: MemoryPolicy) -> dict[str, Any]:
    return asdict(policy) if is_dataclass(policy) else {}


def _capabilities(memory: type[Any]) -> Capabilities:
    if issubclass(memory, WindowBlocks):
        return _RETRIEVES
    if issubclass(memory, StreamForestSettings):
        return _MERGES
    if issubclass(memory, TensorMemory):
        return replace(_CUTS, together=not memory.wants_queries)
    return Capabilities(narrate=None if issubclass(memory, FrameView) else "seconds", together=True)
