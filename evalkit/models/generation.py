"""Choosing tokens: repetition penalty, transformers' logits warpers, and random numbers per second."""

from __future__ import annotations

__all__ = ["TokenChooser", "choose_together", "seed_of"]

import hashlib
from collections.abc import Sequence

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
        self._seen = _SeenIds(context, limit)
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

    @property
    def rule(self) -> float | None:
        """What two choosers share that can choose together: their penalty; ``None`` for one that draws."""
        return self._settings.repetition_penalty if self._random is None else None

    def choose(self, logits: torch.Tensor) -> torch.Tensor:
        """Choose a token and remember it.

        Args:
            logits: Shape ``(1, vocabulary)``, float32; the penalty may be written into them.

        Returns:
            The id, shape ``(1,)``.
        """
        if self._random is None:
            return choose_together([self], logits)
        seen = self._seen.row[None]
        scores = self._warp(seen, _penalised(seen, logits, self._settings.repetition_penalty))
        token = torch.multinomial(scores.softmax(dim=-1), 1, generator=self._random)[:, 0]
        _remember([self._seen], token)
        return token


def choose_together(choosers: Sequence[TokenChooser], logits: torch.Tensor) -> torch.Tensor:
    """Choose a token for each of several replies, and remember them.

    Args:
        choosers: Of each reply; all of one `TokenChooser.rule`, which is not ``None``.
        logits: Shape ``(replies, vocabulary)``, float32; the penalty may be written into them.

    Returns:
        The ids, shape ``(replies,)``.
    """
    penalty = choosers[0]._settings.repetition_penalty
    if penalty != 1.0:
        logits = _penalised(_rows([one._seen for one in choosers]), logits, penalty)
    tokens = _largest(logits)
    _remember([one._seen for one in choosers], tokens)
    return tokens


def _penalised(ids: torch.Tensor, logits: torch.Tensor, penalty: float) -> torch.Tensor:
    """Return logits ``(replies, vocabulary)`` after the penalty on ``(replies, places)`` ids.

    On the CPU it is written into them: transformers' processor copies the vocabulary three times for every token.
    """
    if penalty == 1.0:
        return logits
    if logits.device.type != "cpu" or int(ids.max()) >= logits.shape[-1]:  # embedded, and never said
        penalised: torch.Tensor = RepetitionPenaltyLogitsProcessor(penalty)(ids, logits)
        return penalised
    scores = logits.gather(1, ids)
    return logits.scatter_(1, ids, torch.where(scores < 0, scores * penalty, scores / penalty))


def _largest(logits: torch.Tensor) -> torch.Tensor:
    """Return the place of the largest of each row of ``(replies, vocabulary)``, of equals the first."""
    if logits.device.type == "cpu":  # numpy's search is vectorised: 7 us for 151,936 where torch takes 83
        return torch.from_numpy(logits.numpy().argmax(axis=-1))
    return logits.argmax(dim=-1)


class _SeenIds:
    """Ids that bear a reply's repetition penalty: a row of a table that replies of several streams may share.

    Places that hold none yet repeat the first: an id is penalised once, however often it stands there.

    Args:
        context: Ids at first, at least one.
        limit: How many may be added.
    """

    def __init__(self, context: torch.Tensor, limit: int) -> None:
        self.table = torch.cat([context, context[:1].expand(limit)])[None]
        self.number = 0
        self.known = len(context)

    @property
    def row(self) -> torch.Tensor:
        """The ids, ``(places,)``."""
        return self.table[self.number]


def _rows(seen: Sequence[_SeenIds]) -> torch.Tensor:
    """Return rows of ids ``(replies, places)``, which from now on are rows of one table."""
    table = seen[0].table
    if any(one.table is not table for one in seen):
        width = max(one.table.shape[1] for one in seen)
        rows = [torch.cat([one.row, one.row[:1].expand(width - len(one.row))]) for one in seen]
        table = torch.stack(rows)
        for number, one in enumerate(seen):
            one.table, one.number = table, number
    if [one.number for one in seen] == list(range(len(table))):
        return table
    return table[[one.number for one in seen]]


def _remember(seen: Sequence[_SeenIds], tokens: torch.Tensor) -> None:
    table = seen[0].table
    if all(one.table is table for one in seen):
        table[[one.number for one in seen], [one.known for one in seen]] = tokens
    else:
        for one, token in zip(seen, tokens, strict=True):
            one.table[one.number, one.known] = token
    for one in seen:
        one.known += 1
