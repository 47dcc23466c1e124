"""Catalog entries of served models: any OpenAI-compatible server, and the paper's baseline (no torch)."""

from __future__ import annotations

__all__ = ["ServedEntry", "ServedRecipe", "api", "gpt_4o_mini", "vllm_api"]

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from evalkit import env
from evalkit.chat import ChatClient, ChatSettings, Endpoint, check_endpoint
from evalkit.errors import ModelError, UsageError
from evalkit.models.entry import ModelChoice, ModelEntry, ModelRecipe
from evalkit.models.protocol import Capabilities
from evalkit.models.served.model import ServedModel
from evalkit.models.served.settings import ServedSettings
from evalkit.settings import SettingGroups, validated


@dataclass(frozen=True, slots=True)
class ServedRecipe(ModelRecipe):
    """A model behind a chat server, with all its settings, not yet asked anything.

    Args:
        name: Its name in tables.
        checkpoint: Its name on the server.
        endpoint: Server and key.
        settings: How it is shown a stream and asked.
        max_cost: Spend no more than this.
        resume: Whether it goes on with a run.
        concurrency: Samples under way at once.
    """

    kind: ClassVar[Literal["served"]] = "served"

    name: str
    checkpoint: str
    endpoint: Endpoint
    settings: ServedSettings
    max_cost: float | None = None
    resume: bool = False
    concurrency: int = 16

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """All but what its settings say it has not."""
        can = self.settings.logprobs
        why = "" if can else "model.logprobs is off: its server gives no log-probabilities"
        return Capabilities(narrate=self.settings.narrate, options=can, streams=None, why=why)

    def facts(self) -> dict[str, str]:
        """Return server, schedule and how frames are sent."""
        one = self.settings
        lengths = {"window": f" of {one.window_seconds} s", "chunked": f" of {one.chunk_seconds} s", "growing": ""}
        schedule = (
            "one request per scoring window" if one.narrate == "windows" else one.schedule + lengths[one.schedule]
        )
        quality = f" of quality {one.jpeg_quality}" if one.image_format == "jpeg" else ""
        return {
            "checkpoint": self.checkpoint,
            "server": self.endpoint.shown,
            "schedule": schedule,
            "frames": f"{one.frames_as}, {one.image_format}{quality}",
            **({"fields": "those of vLLM"} if one.server == "vllm" else {}),
        }

    def identity(self) -> dict[str, Any]:
        """Return the model's name and every setting that can change a reply; not where the server is."""
        return {
            "model.checkpoint": self.checkpoint,
            **{f"model.{name}": value for name, value in self.settings.of_the_reply().items()},
        }

    def client(self) -> ChatClient:
        """Return the client that asks the server."""
        one = self.settings
        settings = ChatSettings(
            temperature=one.temperature,
            concurrency=self.concurrency,
            timeout=one.timeout,
            attempts=one.attempts,
            price_in=one.price_in,
            price_out=one.price_out,
        )
        return ChatClient(self.checkpoint, self.endpoint, settings, error=ModelError)

    def check(self) -> None:
        """Look whether the server is there, takes the key and has the model.

        Raises:
            ModelError: It is not, does not, or has not; the line names the models it has.
        """
        import asyncio

        client = self.client()

        async def look() -> None:
            try:
                await client.check()
            finally:
                await client.close()

        asyncio.run(look())

    def make(self) -> ServedModel:
        """Return the model; nothing is sent before the first question."""
        probing = self.settings.probe and not self.resume
        return ServedModel(self.name, self.client(), self.settings, self.max_cost, probing)


@dataclass(frozen=True, slots=True)
class ServedEntry(ModelEntry):
    """A served model as the catalog has it.

    Args:
        name: Its name on the command line.
        summary: One line for ``evalkit list models``.
        checkpoint: Name on the server; ``None`` where ``--checkpoint`` must say it.
        concurrency: Samples under way at once unless ``--concurrency`` says otherwise.
        preset: Settings that differ from the defaults of `ServedSettings`.
    """

    name: str
    summary: str
    checkpoint: str | None = None
    concurrency: int = 16
    preset: Mapping[str, Any] = field(default_factory=dict)

    @property
    def groups(self) -> SettingGroups:
        """One group, ``model``."""
        return {"model": ServedSettings}

    @property
    def defaults(self) -> Mapping[str, Mapping[str, Any]]:
        """Its preset."""
        return {"model": self.preset}

    @property
    def capabilities(self) -> Capabilities:
        """What it can with its preset."""
        return Capabilities(narrate=ServedSettings(**self.preset).narrate, streams=None)

    @property
    def default_checkpoint(self) -> str | None:
        """Its name on the server."""
        return self.checkpoint

    def recipe(self, choice: ModelChoice) -> ServedRecipe:
        """Put preset and options together.

        Raises:
            UsageError: No model is named, an option is for local weights, or there is no server to ask.
        """
        choice.refuse_local(self.name, "runs on a server")
        checkpoint = choice.checkpoint or self.checkpoint
        if checkpoint is None:
            raise UsageError(
                f"model {self.name} needs the name of a model on the server: --checkpoint NAME --base-url URL"
            )
        settings: ServedSettings = validated(ServedSettings, "model", {**self.preset, **choice.of("model")})
        if choice.max_cost is not None and settings.price_in is None:
            raise UsageError("--max-cost needs prices: --set model.price_in=P --set model.price_out=P")
        endpoint = Endpoint(choice.base_url or env.judge_base_url(), env.judge_key())
        check_endpoint(f"model {self.name}", endpoint)
        at_once = choice.concurrency or self.concurrency
        return ServedRecipe(self.name, checkpoint, endpoint, settings, choice.max_cost, choice.resume, at_once)


api = ServedEntry(
    name="api",
    summary="Any model behind an OpenAI-compatible server: --checkpoint NAME --base-url URL.",
)

vllm_api = ServedEntry(
    name="vllm-api",
    summary="A vLLM server and what it adds: videos of chosen frames, sent once; options by token; ids on record.",
    preset=MappingProxyType({"server": "vllm", "frames_as": "video", "fit": "qwen"}),
)

# generate_gpt.py and generate_gpt.sh of mit-han-lab/streaming-vlm: no temperature, no limit, three attempts, JPEG
# of quality 85 at most 360 pixels high, one request for each scoring window, 64 at once.
gpt_4o_mini = ServedEntry(
    name="gpt-4o-mini",
    summary="GPT-4o mini as the baseline of the StreamingVLM paper: one request per scoring window.",
    checkpoint="gpt-4o-mini",
    concurrency=64,
    preset=MappingProxyType(
        {
            "narrate": "windows",
            "schedule": "growing",
            "max_height": 360,
            "jpeg_quality": 85,
            "temperature": None,
            "narration_tokens": None,
            "answer_tokens": None,
            "send_seed": False,
            "attempts": 3,
        }
    ),
)
