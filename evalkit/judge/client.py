"""The chat judge: puts a pair to a chat model and reads its vote; the requests are `evalkit.chat`'s."""

from __future__ import annotations

__all__ = ["ChatJudge"]

import random
import time
from dataclasses import dataclass, field

from evalkit.chat import ChatClient, ChatReply, ChatTally, NoReplyError, RetryPolicy
from evalkit.judge.chat import identity_of, judge_client
from evalkit.judge.contract import Decision, Endpoint, JudgeSettings, Provenance, Question
from evalkit.judge.parse import GRAMMARS, ParsedVote, UnparsedVote, parse_commentary, parse_vote
from evalkit.judge.prompts import INF_STREAMS_PROMPT, JudgePrompt


@dataclass(slots=True)
class ChatJudge:
    """Asks a chat model which of two texts is better.

    Transport failures are tried again with back-off; a reply that is no vote is asked again
    ``settings.reasks`` times and then counts as ``invalid``. A 400 that names the temperature makes this judge go
    on without one, as ``model_compete/judge.py`` does after an error, and its identity says so from then on.

    Args:
        model: Model name, as the server knows it.
        endpoint: Server and key.
        prompt: What is asked.
        settings: How it is asked.
        retry: How long to wait after a failure.
    """

    model: str
    endpoint: Endpoint
    prompt: JudgePrompt = INF_STREAMS_PROMPT
    settings: JudgeSettings = field(default_factory=JudgeSettings)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    _client: ChatClient = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._client = judge_client(self.model, self.endpoint, self.settings, self.retry)

    @property
    def identity(self) -> str:
        """Name, prompt and temperature in one line."""
        return identity_of(self._client, self.prompt.label)

    @property
    def provenance(self) -> Provenance:
        """Model, prompt, grammar and sampling: what a verdict depends on."""
        return {
            "judge": "openai",
            "model": self.model,
            "prompt": self.prompt.digest,
            "grammar": GRAMMARS[self.prompt.grammar],
            "temperature": self.settings.temperature,
            "reasks": self.settings.reasks,
        }

    @property
    def concurrency(self) -> int:
        """Questions under way at once."""
        return self.settings.concurrency

    async def decide(self, question: Question) -> Decision:
        """Ask until there is a vote, or the tries are spent.

        Raises:
            JudgeError: The server cannot be reached at the first call, refuses key or model, or has failed on
                twenty questions in a row.
        """
        began = time.perf_counter()
        tally = ChatTally()
        jitter = random.Random(f"{self.settings.seed}:{question.key}")
        messages = self.prompt.messages(question.reference, question.first, question.second)
        said, error = "", None
        parsed: ParsedVote | UnparsedVote = UnparsedVote("empty")
        try:
            for _ in range(1 + self.settings.reasks):
                reply = await self._client.reply(messages, tally, jitter)
                said, parsed = reply.raw or reply.text or reply.refusal, self._vote_in(reply)
                # A filter that held the text back does so again.
                if isinstance(parsed, ParsedVote) or reply.lack == "content_filter":
                    break
        except NoReplyError as lost:
            parsed = UnparsedVote("moderated" if lost.kind == "moderated" else "no-reply")
            error = str(lost)
        rule = parsed.rule if isinstance(parsed, ParsedVote) else parsed.reason
        return Decision(
            vote=parsed.slot if isinstance(parsed, ParsedVote) else "invalid",
            rule=rule if tally.with_temperature else f"{rule}, without-temperature",
            judge=identity_of(self._client, self.prompt.label, tally),
            reply=said,
            attempts=tally.attempts,
            prompt_tokens=tally.prompt_tokens,
            completion_tokens=tally.completion_tokens,
            cost=tally.cost(self.settings),
            seconds=time.perf_counter() - began,
            error=error,
        )

    def _vote_in(self, reply: ChatReply) -> ParsedVote | UnparsedVote:
        """Read the vote in a reply; where it holds no text, say what it holds instead."""
        if reply.lack:
            return UnparsedVote(reply.lack.replace("_", "-"))
        return parse_vote(reply.text) if self.prompt.grammar == "letter" else parse_commentary(reply.text)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
