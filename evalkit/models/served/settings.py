"""What can be set of a served model: ``--set model.KEY=VALUE`` (no torch)."""

from __future__ import annotations

__all__ = ["ServedSettings"]

import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evalkit.video import streamingvlm_size

# What changes nothing about a reply: a run may be gone on with under another value.
_NO_PART_OF_THE_REPLY = frozenset({"timeout", "attempts", "probe", "price_in", "price_out"})


class ServedSettings(BaseModel):
    """How a model behind a chat server is shown a stream and asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: Literal["openai", "vllm"] = Field(
        default="openai",
        description="vllm: what vLLM adds is used: frames by content hash, options by token id, ids on record.",
    )
    schedule: Literal["window", "chunked", "growing"] = Field(
        default="window",
        description="What is sent each second: the last window_seconds, all since the last restart, or all.",
    )
    window_seconds: int = Field(default=16, ge=1, description="window: seconds of frames in a request.")
    chunk_seconds: int = Field(default=100, ge=1, description="chunked: seconds after which it starts afresh.")
    said_characters: int = Field(
        default=2000, ge=0, description="Of what was said in seconds no longer sent, so many last characters stay."
    )
    narrate: Literal["seconds", "windows"] = Field(
        default="seconds", description="Speak every second, or once for each window that is scored."
    )
    frames_as: Literal["images", "video"] = Field(
        default="images",
        description="images: one image each; video: one video of JPEG frames a second (vLLM's video_url).",
    )
    image_format: Literal["jpeg", "png"] = Field(default="jpeg", description="How frames are encoded.")
    jpeg_quality: int = Field(default=85, ge=1, le=100, description="Quality of JPEG frames (4:2:0).")
    long_side: int | None = Field(default=None, ge=28, description="Longest side of a frame, pixels; none: as is.")
    max_height: int | None = Field(default=None, ge=28, description="Largest height of a frame, pixels.")
    fit: str | None = Field(
        default=None,
        pattern=r"^(qwen|[1-9]\d{1,3}x[1-9]\d{1,3})$",
        description="Size to which the model's processor would bring frames, so that the server leaves them be: "
        "qwen (multiples of 28), or WIDTHxHEIGHT (LLaVA-OneVision: 384x384); none: no such size.",
    )
    image_detail: Literal["low", "high", "auto"] | None = Field(
        default=None, description="OpenAI's detail of an image; none sends none."
    )
    system_prompt: str = Field(default="You are a helpful assistant.", description="System message.")
    previous_role: Literal["system", "user", "previous text"] = Field(
        default="system", description="Role of the message with what was said before the seconds that are sent."
    )
    silent_turns: bool = Field(
        default=False, description="Send an empty assistant's turn for a second in which nothing was said."
    )
    temperature: float | None = Field(default=0.0, ge=0, description="Sampling temperature; none sends none.")
    narration_tokens: int | None = Field(
        default=20, ge=1, description="Most tokens spoken at once; none: no limit."
    )
    answer_tokens: int | None = Field(default=128, ge=1, description="Most tokens of an answer; none: no limit.")
    reasoning_effort: str | None = Field(default=None, description="Of reasoning models; none sends none.")
    send_seed: bool = Field(default=True, description="Send the run's seed with each request.")
    logprobs: bool = Field(default=True, description="Whether the server gives log-probabilities.")
    extra: tuple[str, ...] = Field(
        default=(),
        description="Further fields of every request: FIELD=VALUE,... (top_k=20,a.b=false).",
    )
    streamed: bool = Field(default=True, description="Have replies streamed, so that first tokens are timed.")
    timeout: float = Field(default=120.0, gt=0, description="Longest wait for a reply, seconds.")
    attempts: int = Field(default=8, ge=1, description="Requests spent on one reply before giving it up.")
    probe: bool = Field(default=True, description="Ask two small requests first, to see whether images are seen.")
    price_in: float | None = Field(default=None, ge=0, description="Price of a million prompt tokens.")
    price_out: float | None = Field(default=None, ge=0, description="Price of a million completion tokens.")

    @field_validator("extra")
    @classmethod
    def _are_fields(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [line for line in lines if not re.fullmatch(r"[\w.]+=.*", line)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not FIELD=VALUE")
        return lines

    @model_validator(mode="after")
    def _both_prices(self) -> ServedSettings:
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("a cost needs two prices: set both price_in and price_out")
        return self

    @property
    def further(self) -> dict[str, Any]:
        """Further fields of every request; dots lead into objects, and a value that is JSON is taken as such."""
        fields: dict[str, Any] = {}
        for line in self.extra:
            path, _, text = line.partition("=")
            *outer, last = path.split(".")
            place = fields
            for name in outer:
                place = place.setdefault(name, {})
            try:
                place[last] = json.loads(text)
            except (ValueError, RecursionError):
                place[last] = text
        return fields

    def of_the_reply(self) -> dict[str, Any]:
        """Return the settings that can change a reply, by name."""
        values = self.model_dump(mode="json")
        return {name: value for name, value in values.items() if name not in _NO_PART_OF_THE_REPLY}

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the ``(width, height)`` at which frames of such a video are sent.

        Never larger than the video, but for ``fit``.
        """
        scale = 1.0
        if self.max_height is not None:
            scale = min(scale, self.max_height / height)
        if self.long_side is not None:
            scale = min(scale, self.long_side / max(width, height))
        columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
        if self.fit is None:
            return columns, rows
        if self.fit == "qwen":
            return streamingvlm_size(columns, rows)
        exact_columns, _, exact_rows = self.fit.partition("x")
        return int(exact_columns), int(exact_rows)
