"""What a judge is to evalkit: it decides one question at a time and says who it is."""

from __future__ import annotations

__all__ = ["Decision", "Endpoint", "Judge", "JudgeSettings", "Provenance", "Question", "judge_name", "verdict_key"]

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from evalkit.chat import ChatSettings, Endpoint
from evalkit.errors import UsageError
from evalkit.judge.pairs import Order, Pair, Vote
from evalkit.judge.prompts import JudgePrompt

Provenance = Mapping[str, str | float | int | None]


@dataclass(frozen=True, slots=True)
class JudgeSettings(ChatSettings):
    """How a chat judge is asked.

    Args:
        temperature: Sampling temperature (0.0 in ``model_compete/judge.py``).
        reasks: Further questions after a reply that is no vote, >= 0.
        prompt: What is asked; ``None`` for the prompt of Inf-Streams-Eval.
    """

    reasks: int = 2
    prompt: JudgePrompt | None = None

    def __post_init__(self) -> None:
        ChatSettings.__post_init__(self)
        if self.reasks < 0:
            raise UsageError("a judge needs reasks >= 0")


@dataclass(frozen=True, slots=True)
class Question:
    """One pair in one order, as a judge sees it: texts without model names."""

    key: str
    reference: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What a judge decided.

    Args:
        vote: The slot chosen; ``invalid`` where no vote came.
        rule: How the vote was read, or why there is none.
        judge: Who decided, with the settings really used (one line).
        reply: Raw last reply.
        attempts: Requests spent.
        prompt_tokens: Tokens read, over all attempts.
        completion_tokens: Tokens written, over all attempts.
        cost: Price of them; ``None`` where unknown.
        seconds: Wall time.
        error: Set where no reply came at all; such a verdict is asked again by the next run.
    """

    vote: Vote
    rule: str
    judge: str
    reply: str = ""
    attempts: int = 1
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    error: str | None = None


class Judge(Protocol):
    """Decides which of two texts is better."""

    @property
    def identity(self) -> str:
        """One line naming the judge: name first, details in parentheses."""
        ...

    @property
    def provenance(self) -> Provenance:
        """Everything that can change a vote; enters the verdict's key."""
        ...

    @property
    def concurrency(self) -> int:
        """Questions that may be under way at once."""
        ...

    async def decide(self, question: Question) -> Decision:
        """Decide one question.

        Raises:
            JudgeError: No further question can be decided either.
        """
        ...

    async def close(self) -> None:
        """Let go of connections; the judge can be asked again afterwards."""
        ...


def judge_name(identity: str) -> str:
    """Return the name in front of an identity's details (``openai:gpt-5``, ``overlap``)."""
    return identity.partition(" (")[0]


def verdict_key(provenance: Provenance, pair: Pair, order: Order) -> str:
    """Return the SHA-256 (hex) under which a verdict is reused.

    It covers the judge with its model, prompt and sampling settings, both texts, the reference and the order;
    neither the server's address nor the number of requests at once, which change no vote.
    """
    content = [dict(sorted(provenance.items())), pair.test, pair.baseline, pair.reference, order]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
