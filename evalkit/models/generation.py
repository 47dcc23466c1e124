"""Choosing tokens: transformers' logits processors, and random numbers per second."""

from __future__ import annotations

__all__ = ["TokenChooser", "seed_of"]

import hashlib

import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from evalkit.models.settings import GenerationSettings


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
