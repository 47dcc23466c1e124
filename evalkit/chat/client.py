"""Asks a chat server until there is a reply: back-off, parameters a model does not take, and when to give up."""

from __future__ import annotations

__all__ = ["ChatClient", "ChatTally", "NoReplyError"]

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from evalkit.chat.failures import Failure, FailureKind, one_line
from evalkit.chat.reply import ChatReply
from evalkit.chat.retry import RetryPolicy
from evalkit.chat.settings import ChatSettings, Endpoint
from evalkit.chat.transport import ChatTransport, RequestFailedError
from evalkit.errors import EvalkitError, ModelError, suggest

Message = Mapping[str, Any]

_FAILURES_IN_A_ROW: Final = 20
"""So many questions without any reply, none answered between them, and the server is given up."""

_SHOWN_MODELS: Final = 8
_OTHER_NAMES: Final = {"max_completion_tokens": "max_tokens", "max_tokens": "max_completion_tokens"}
_DROPPABLE: Final = frozenset({"temperature", "top_p", "seed", "stream_options", "stream"})
"""Parameters without which a reply is still a reply to the question; which were left out stands on record."""


@dataclass(slots=True)
class ChatTally:
    """What one question has cost so far.

    Args:
        attempts: Requests sent.
        prompt_tokens: Tokens read, over all of them.
        completion_tokens: Tokens written, over all of them.
        cached_tokens: Tokens of the prompts that came from the server's cache.
        reasoning_tokens: Tokens of hidden reasoning among those written.
        uncounted: Replies that did not say how many tokens they took.
        served: Model name in the last reply.
        waited: Seconds spent on failed tries and on waiting after them.
        queued: Seconds spent on waiting for a place among the requests under way.
        left_out: Parameters the last request went without, since the model does not take them.
    """

    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    uncounted: int = 0
    served: str = ""
    waited: float = 0.0
    queued: float = 0.0
    left_out: tuple[str, ...] = ()

    @property
    def with_temperature(self) -> bool:
        """Whether the last request could name a temperature."""
        return "temperature" not in self.left_out

    def cost(self, settings: ChatSettings) -> float | None:
        """Return the price of the tokens, or ``None`` where no prices are given or not all tokens are known."""
        return None if self.uncounted else settings.cost(self.prompt_tokens, self.completion_tokens)

    def count(self, reply: ChatReply) -> None:
        """Add what one reply took."""
        usage = reply.usage
        self.prompt_tokens += usage.prompt or 0
        self.completion_tokens += usage.completion or 0
        self.cached_tokens += usage.cached or 0
        self.reasoning_tokens += usage.reasoning or 0
        self.uncounted += usage.prompt is None or usage.completion is None
        self.served = reply.served


class NoReplyError(Exception):
    """All attempts at one question are spent, or it was refused; the text says why, `kind` what it means."""

    def __init__(self, reason: str, kind: FailureKind = "again") -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass(slots=True)
class ChatClient:
    """Sends chat requests and tries again, with back-off, what may yet succeed.

    The first request goes alone until the server has said something: what the model does not take (a temperature,
    a name of the token limit) is learnt once, by one request, and left out from then on.

    Args:
        model: Model name, as the server knows it.
        endpoint: Server and key.
        settings: How it is asked.
        retry: How long to wait after a failure.
        whom: Who is asked, in one word, for messages.
        error: What is raised where the server is given up.
    """

    model: str
    endpoint: Endpoint
    settings: ChatSettings = field(default_factory=ChatSettings)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    whom: str = "model"
    error: type[EvalkitError] = ModelError
    transport: ChatTransport = field(init=False, repr=False)
    _left_out: list[str] = field(default_factory=list, init=False)
    _settled: bool = field(default=False, init=False)
    _first: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    _reached: bool = field(default=False, init=False)
    _failed_in_a_row: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self.transport = ChatTransport(self.endpoint, settings.concurrency, settings.timeout, self.whom)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Parameters the model was found not to take."""
        return tuple(self._left_out)

    async def reply(
        self,
        messages: Sequence[Message],
        tally: ChatTally,
        jitter: random.Random,
        more: Mapping[str, Any] | None = None,
    ) -> ChatReply:
        """Return one reply, over as many requests as the settings allow.

        Args:
            messages: The chat so far.
            tally: Counts what it costs.
            jitter: Spreads the waits.
            more: Further parameters of the request; ``stream`` has the reply streamed and its first token timed.

        Raises:
            NoReplyError: All attempts are spent, or this text was refused.
            EvalkitError: (as `error`) The server cannot be reached at the first call, refuses key or model, or has
                failed on twenty questions in a row.
        """
        asked: dict[str, Any] = {"model": self.model, "messages": messages, **(more or {})}
        if self.settings.temperature is not None:
            asked["temperature"] = self.settings.temperature
        failures = 0
        while True:
            began = time.perf_counter()
            try:
                reply = await self._settling(asked, tally)
            except RequestFailedError as lost:
                failure = lost.failure
            else:
                self._reached, self._failed_in_a_row = True, 0
                tally.count(reply)
                return reply
            if failure.kind == "parameter" and self._leave_out(failure.parameter, asked):
                self._reached = True
                tally.waited += time.perf_counter() - began
                continue
            failures += 1
            await self._give_up(failure, failures)
            await asyncio.sleep(self.retry.wait(failures, jitter, failure.asked_wait))
            tally.waited += time.perf_counter() - began

    async def _settling(self, asked: Mapping[str, Any], tally: ChatTally) -> ChatReply:
        """Send a request; as long as nothing is known of the server, one at a time."""
        if self._settled:
            return await self._send(asked, tally)
        began = time.perf_counter()
        async with self._first:
            tally.queued += time.perf_counter() - began
            if not self._settled:
                try:
                    reply = await self._send(asked, tally)
                except RequestFailedError as lost:
                    self._settled = lost.failure.kind != "parameter"
                    raise
                self._settled = True
                return reply
        return await self._send(asked, tally)

    async def _send(self, asked: Mapping[str, Any], tally: ChatTally) -> ChatReply:
        body, left_out = self._body(asked)
        tally.attempts += 1
        tally.left_out = left_out
        return await self.transport.complete(body)

    def _body(self, asked: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the request without what the model does not take, and the names of that."""
        body = {name: value for name, value in asked.items() if name not in self._left_out}
        gone = tuple(name for name in self._left_out if name in asked)
        for name in gone:
            other = _OTHER_NAMES.get(name)
            if other and other not in self._left_out:
                body[other] = asked[name]
        if "stream" not in body:
            body.pop("stream_options", None)
        return body, gone

    def _leave_out(self, name: str, asked: Mapping[str, Any]) -> bool:
        """Go on without a parameter, where the question stays the same without it."""
        if name in self._left_out:
            return True  # refused of a request that was under way when this was learnt
        other = _OTHER_NAMES.get(name)
        if name in _DROPPABLE or (other and other not in self._left_out):
            self._left_out.append(name)
            return True
        return False

    async def _give_up(self, failure: Failure, failures: int) -> None:
        """Raise where another try is pointless: for this question, or for the server as a whole."""
        where = f"{self.whom} openai:{self.model} at {self.endpoint.shown}"
        reason = failure.reason
        if not failure.reached and not self._reached:
            raise self.error(f"{where}: cannot be reached: {reason}; check --base-url and that the server runs")
        self._reached = self._reached or failure.reached
        if failure.kind == "fatal":
            raise self.error(f"{where}: {reason}")
        if failure.kind == "unknown":
            raise self.error(f"{where}: {reason}{await self._names_there()}")
        if failure.kind == "again" and failures < self.settings.attempts:
            return
        if failure.kind != "moderated":  # a server that judges what it is asked is there, however often it says no
            self._failed_in_a_row += 1
        if self._failed_in_a_row >= _FAILURES_IN_A_ROW:
            raise self.error(
                f"{where}: {self._failed_in_a_row} questions in a row got no reply, the last: {reason}"
            )
        raise NoReplyError(reason, failure.kind)

    async def check(self) -> None:
        """Look whether the server is there, takes the key and has the model, without asking anything.

        Raises:
            EvalkitError: (as `error`) It is not, does not, or has not. A server that lists no models passes.
        """
        where = f"{self.whom} openai:{self.model} at {self.endpoint.shown}"
        try:
            names = await self.transport.models()
        except RequestFailedError as lost:
            if not lost.failure.reached:
                hint = "check --base-url and that the server runs"
                raise self.error(f"{where}: cannot be reached: {lost}; {hint}") from None
            if lost.failure.kind == "fatal":
                raise self.error(f"{where}: {lost}") from None
            return
        self._reached = True
        if names and self.model not in names:
            raise self.error(f"{where}: the server has no such model{self._listed(names)}")

    async def tokenize(self, text: str, jitter: random.Random) -> list[int]:
        """Return the tokens of a text by the server's own tokenizer (vLLM's ``/tokenize``).

        Args:
            text: The text.
            jitter: Spreads the waits after failures.

        Raises:
            EvalkitError: (as `error`) The server does not tell.
        """
        body = {"model": self.model, "prompt": text, "add_special_tokens": False}
        where = f"{self.whom} openai:{self.model} at {self.endpoint.shown}"
        failures = 0
        while True:
            try:
                told = await self.transport.beside("/tokenize", body)
                break
            except RequestFailedError as lost:
                failures += 1
                if lost.failure.kind != "again" or failures >= self.settings.attempts:
                    raise self.error(f"{where}: cannot say which tokens a text has: {lost}") from None
                await asyncio.sleep(self.retry.wait(failures, jitter, lost.failure.asked_wait))
        ids = told.get("tokens") if isinstance(told, dict) else None
        if not isinstance(ids, list) or not ids or not all(type(one) is int for one in ids):
            raise self.error(f"{where}: /tokenize gave no tokens of {text!r}")
        return ids

    async def _names_there(self) -> str:
        """Return the models the server has, for somebody who asked for another; empty where it does not tell."""
        try:
            names = await self.transport.models()
        except RequestFailedError:
            return ""
        return self._listed(names) if names and self.model not in names else ""

    def _listed(self, names: Sequence[str]) -> str:
        more = f" and {len(names) - _SHOWN_MODELS} more" if len(names) > _SHOWN_MODELS else ""
        near = suggest(self.model, names)
        return f"{near}; it has: {one_line(', '.join(names[:_SHOWN_MODELS]))}{more}"

    async def close(self) -> None:
        """Close the connections; the server can be asked again afterwards, from another event loop too."""
        self._first = asyncio.Lock()
        await self.transport.close()
