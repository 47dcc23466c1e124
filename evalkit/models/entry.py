"""What makes a model: an entry of the catalog, what the options say of it, and the recipe of both (no torch)."""

from __future__ import annotations

__all__ = ["DecodeStep", "ModelChoice", "ModelEntry", "ModelRecipe", "PreviousText"]

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from evalkit.compress import CompressionSpec
from evalkit.errors import UsageError
from evalkit.models.protocol import Capabilities, StreamingModel
from evalkit.settings import SettingGroups
from evalkit.stream import StreamSample

DecodeStep = Literal["plain", "recorded"]
"""How a local model does the steps of one token: as any other, or as work that is recorded once per stream."""
_PLACE = {
    "device": "auto",
    "dtype": "auto",
    "attention": "sdpa",
    "decode_step": "plain",
    "after_vision": "max",
    "frame_pixels": None,
}


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What the options say of the model.

    Args:
        checkpoint: Weights, or the name by which a server knows its model; ``None`` for the entry's own.
        base_url: Address of the model's server.
        compress: Token compression as text; ``None`` for the entry's own.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        attention: Attention kernel of transformers.
        decode_step: How steps of one token are done.
        after_vision: Position rule for text after a video.
        frame_pixels: Most pixels of a frame; ``None`` for the model's own.
        compat: Reproduce faults of the released code.
        resume: The model goes on with a run.
        settings: By group of the entry, the keys that were set, typed.
        max_cost: Spend no more than this on a server.
        concurrency: Samples under way at once; ``None`` for the model's own number.
    """

    checkpoint: str | None = None
    base_url: str | None = None
    compress: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    attention: str = "sdpa"
    decode_step: DecodeStep = "plain"
    after_vision: Literal["max", "spatial"] = "max"
    frame_pixels: int | None = None
    compat: bool = False
    resume: bool = False
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    max_cost: float | None = None
    concurrency: int | None = None

    def of(self, group: str) -> dict[str, Any]:
        """Return what was set of a group."""
        return dict(self.settings.get(group, {}))

    def refuse_local(self, name: str, why: str) -> None:
        """Refuse options that say how weights compute on this machine.

        Args:
            name: Model that has no weights here.
            why: What it is instead, such as ``runs on a server``.

        Raises:
            UsageError: One of them is given.
        """
        given = [option for option, usual in _PLACE.items() if getattr(self, option) != usual]
        given += ["compress"] if self.compress not in (None, "none") else []
        given += ["compat"] if self.compat else []
        if given:
            flags = ", ".join("--" + option.replace("_", "-") for option in given)
            raise UsageError(f"model {name} {why}; leave {flags} out")


@dataclass(frozen=True, slots=True)
class PreviousText:
    """How much a text that was said before the stream starts is for a model.

    Args:
        tokens: What is prefilled before the first second.
        counted: Whether the model's tokenizer was at hand; else the tokens are estimated at four characters each.
        kept: Tokens of it that outlive the first second; ``None`` for all of them.
    """

    tokens: int
    counted: bool
    kept: int | None


class ModelRecipe(ABC):
    """A model with all its settings, of which nothing is loaded yet.

    Attributes:
        name: Its name in tables.
        kind: ``local`` (weights of this process), ``served`` or ``own``; see `evalkit.leaderboard.fingerprint`.
        capabilities: What it can under these settings.
        concurrency: Samples under way at once, unless ``--concurrency`` says otherwise.
    """

    name: str
    kind: ClassVar[Literal["local", "served", "own"]]
    capabilities: Capabilities
    concurrency: int = 1

    @property
    def compression(self) -> CompressionSpec:
        """Token compression whose claims the run has to prove; none unless a kind of model has some."""
        return CompressionSpec()

    @property
    def tells_budget(self) -> bool:
        """Whether every second says what its memory holds, by which the run proves that it kept to a budget."""
        return False

    def facts(self) -> dict[str, str]:
        """Return what ``--dry-run`` prints of the model, by name."""
        return {}

    def previous_text(self, text: str) -> PreviousText | None:
        """Measure a previous text; ``None`` where this process does not prefill it."""
        return None

    def doubt(self, samples: Sequence[StreamSample]) -> str | None:
        """Say in one line why the model cannot be expected to do what it is run on; ``None`` without a reason."""
        return None

    def setting(self) -> dict[str, Any]:
        """Return the fingerprint fields that two compared runs must share, such as ``attention``."""
        return {}

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return the fingerprint fields that say what is under test; all begin with ``model.``."""

    @abstractmethod
    def check(self) -> None:
        """Look at all that can be looked at without weights: files, keys, the server.

        Raises:
            EvalkitError: The model cannot be made; one line says why and what to do.
        """

    @abstractmethod
    def make(self) -> StreamingModel:
        """Load the weights, or connect.

        Raises:
            ModelError: It cannot be loaded.
            UsageError: It cannot be loaded as asked for.
        """


class ModelEntry(ABC):
    """What stands behind a name of ``--model``. An entry point of ``evalkit.models`` gives one.

    Attributes:
        name: Its name on the command line.
        summary: One line for ``evalkit list models``.
    """

    name: str
    summary: str

    @property
    @abstractmethod
    def groups(self) -> SettingGroups:
        """Its settings: group name to a pydantic model or dataclass whose fields are the keys.

        What is the model's own is the group ``model``: its fields are ``--set model.KEY=VALUE``.
        """

    @property
    def defaults(self) -> Mapping[str, Mapping[str, Any]]:
        """By group, values that stand in for the defaults of the group's class."""
        return {}

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What it can with the settings it has by itself."""

    @property
    def default_checkpoint(self) -> str | None:
        """Weights or served model it is unless ``--checkpoint`` names others."""
        return None

    @abstractmethod
    def recipe(self, choice: ModelChoice) -> ModelRecipe:
        """Put entry and options together; loads nothing and asks no server.

        Raises:
            UsageError: An option or setting does not fit this model.
        """
