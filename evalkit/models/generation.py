"""Choosing tokens: generation settings, transformers' logits processors, and random numbers per second."""

from __future__ import annotations

__all__ = ["GenerationSettings", "TokenChooser", "seed_of"]

import hashlib

import torch
from pydantic import BaseModel, ConfigDict, Field
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


class GenerationSettings(BaseModel):
    """How replies are decoded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(0.9, ge=0, description="Sampling temperature; 0 decodes greedily.")
    top_k: int = Field(50, ge=0, description="Sample among the k likeliest tokens; 0 for all.")
    top_p: float = Field(1.0, gt=0, le=1, description="Sample among the likeliest tokens of this total mass.")
    repetition_penalty: float = Field(1.05, gt=0, description="Penalty on ids that stand in the context.")
    max_new_tokens: int = Field(20, ge=1, description="Most tokens spoken in one second.")
    answer_tokens: int = Field(128, ge=1, description="Most tokens of an answer to a question.")
    exact_tokens: bool = Field(False, description="Speak exactly max_new_tokens: for comparing speeds.")

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature == 0


def seed_of(*parts: object) -> int:
    """Return a 63-bit seed that depends on nothing but its parts."""
    digest = hashlib.blake2b("\x1f".join(str(part) for part in parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class TokenChooser:
    """Chooses the next token of one reply.

    Args:
        settings: Generation settings.
        context: Distinct ids that stand in the context, shape ``(ids,)``; they bear the repetition penalty.
        limit: Most tokens of this reply.
        seed: Seed of this reply's random numbers.
    """

    def __init__(self, settings: GenerationSettings, context: torch.Tensor, limit: int, seed: int) -> None:
        self._settings = settings
        self._known = len(context)
        self._seen = torch.cat([context, context.new_zeros(limit)])[None]
        self._penalise = (
            RepetitionPenaltyLogitsProcessor(settings.repetition_penalty)
            if settings.repetition_penalty != 1.0
            else None
        )
        self._warp = LogitsProcessorList()
        self._random: torch.Generator | None = None
        if not settings.greedy:
            if settings.temperature != 1.0:
                self._warp.append(TemperatureLogitsWarper(settings.temperature))
            if settings.top_k:
                self._warp.append(TopKLogitsWarper(settings.top_k))
            if settings.top_p < 1.0:
                self._warp.append(TopPLogitsWarper(settings.top_p))
            self._random = torch.Generator(device=context.device).manual_seed(seed)

    def choose(self, logits: torch.Tensor) -> torch.Tensor:
        """Choose a token and remember it.

        Args:
            logits: Shape ``(1, vocabulary)``, float32.

        Returns:
            The id, shape ``(1,)``.
        """
        seen = self._seen[:, : self._known]
        scores = logits if self._penalise is None else self._penalise(seen, logits)
        if self._random is None:
            token = scores.argmax(dim=-1)
        else:
            scores = self._warp(seen, scores)
            token = torch.multinomial(scores.softmax(dim=-1), 1, generator=self._random)[:, 0]
        self._seen[:, self._known] = token
        self._known += 1
        return token
