"""Chat requests to any OpenAI-compatible server, through the openai package; what is asked is left to others."""

from __future__ import annotations

__all__ = ["ChatClient", "ChatTally", "NoReplyError"]

import asyncio
import json
import math
import random
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from evalkit.errors import JudgeError
from evalkit.judge.contract import Endpoint, JudgeSettings
from evalkit.judge.retry import RetryPolicy

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from evalkit.judge.failures import Failure

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"
_PLACEHOLDER_KEY: Final = "no-key-needed"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_CONNECT_SECONDS: Final = 10.0
_CONNECTIONS_PER_POOL: Final = 8
_FAILURES_IN_A_ROW: Final = 20
_MOST_TOKENS: Final = 2**40
"""So many questions without any reply, none answered between them, and the judge is given up."""


@dataclass(slots=True)
class ChatTally:
    """What one question has cost so far.

    Args:
        attempts: Requests sent.
        prompt_tokens: Tokens read, over all of them.
        completion_tokens: Tokens written, over all of them.
        uncounted: Replies that did not say how many tokens they took.
        served: Model name in the last reply.
        with_temperature: Whether the last request named a temperature.
    """

    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    served: str = ""
    with_temperature: bool = True

    def cost(self, settings: JudgeSettings) -> float | None:
        """Return the price of the tokens, or ``None`` where no prices are given or not all tokens are known."""
        return None if self.uncounted else settings.cost(self.prompt_tokens, self.completion_tokens)


class NoReplyError(Exception):
    """All attempts at one question are spent, or it was refused; the text says why."""


@dataclass(slots=True)
class ChatClient:
    """Sends chat requests and tries again, with back-off, what may yet succeed.

    A 400 that names the temperature makes this client go on without one, as ``model_compete/judge.py`` does after
    an error, and its identity says so from then on.

    Args:
        model: Model name, as the server knows it.
        endpoint: Server and key.
        settings: How it is asked.
        retry: How long to wait after a failure.
    """

    model: str
    endpoint: Endpoint
    settings: JudgeSettings = field(default_factory=JudgeSettings)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    _clients: list[AsyncOpenAI] = field(default_factory=list, init=False, repr=False)
    _turn: int = field(default=0, init=False, repr=False)
    _send_temperature: bool = field(default=True, init=False)
    _reached: bool = field(default=False, init=False)
    _failed_in_a_row: int = field(default=0, init=False)

    def identity(self, prompt: str, tally: ChatTally | None = None) -> str:
        """Return name, prompt and temperature in one line.

        Args:
            prompt: The prompt's name and digest.
            tally: The question it is about; what the next question would be asked with, by default.
        """
        served = tally.served if tally else ""
        with_temperature = tally.with_temperature if tally else self._send_temperature
        snapshot = f"served {served}; " if served not in ("", self.model) else ""
        sent = f"temperature {self.settings.temperature:g}" if with_temperature else "no temperature sent"
        return f"openai:{self.model} ({snapshot}prompt {prompt}; {sent})"

    async def reply(self, messages: list[dict[str, str]], tally: ChatTally, jitter: random.Random) -> str:
        """Return the text of one reply, over as many requests as the settings allow.

        Args:
            messages: The chat so far.
            tally: Counts what it costs.
            jitter: Spreads the waits.

        Raises:
            NoReplyError: All attempts are spent, or this text was refused.
            JudgeError: The server cannot be reached at the first call, refuses key or model, or has failed on
                twenty questions in a row.
        """
        from evalkit.judge.failures import classify

        failures = 0
        while True:
            tally.attempts += 1
            tally.with_temperature = self._send_temperature
            try:
                text = await self._request(messages, tally)
            except Exception as error:
                failure = classify(error)
                if failure is None:
                    raise
            else:
                self._reached, self._failed_in_a_row = True, 0
                return text
            if failure.kind == "temperature" and tally.with_temperature:
                self._reached, self._send_temperature = True, False
                continue
            failures += 1
            self._give_up(failure, failures)
            await asyncio.sleep(self.retry.wait(failures, jitter, failure.asked_wait))

    def _give_up(self, failure: Failure, failures: int) -> None:
        """Raise where another try is pointless: for this question, or for the judge as a whole."""
        where = f"judge openai:{self.model} at {_public(self.endpoint.base_url or DEFAULT_BASE_URL)}"
        reason = self._without_key(failure.reason)
        if not failure.reached and not self._reached:
            raise JudgeError(f"{where}: cannot be reached: {reason}; check --base-url and that the server runs")
        self._reached = self._reached or failure.reached
        if failure.kind == "fatal":
            raise JudgeError(f"{where}: {reason}")
        if failure.kind == "again" and failures < self.settings.attempts:
            return
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= _FAILURES_IN_A_ROW:
            raise JudgeError(
                f"{where}: {self._failed_in_a_row} questions in a row got no reply, the last: {reason}"
            )
        raise NoReplyError(reason)

    async def _request(self, messages: list[dict[str, str]], tally: ChatTally) -> str:
        """Send one request; return the reply's text, count its tokens."""
        body: dict[str, Any] = {"model": self.model, "messages": messages}
        if tally.with_temperature:
            body["temperature"] = self.settings.temperature
        async with asyncio.timeout(self.settings.timeout):
            # The typed `chat.completions.create` spends half of the client's time on walking through the messages
            # and building a model of the reply; this is the same request, read by hand.
            text = await self._connected().post("/chat/completions", body=body, cast_to=str)
        return _read(text, tally)

    def _connected(self) -> AsyncOpenAI:
        """Return one of the clients in turn, opening all of them at first use."""
        if not self._clients:
            # A pool looks through all its connections at every request, so a few small pools cost less than one.
            pools = math.ceil(self.settings.concurrency / _CONNECTIONS_PER_POOL)
            self._clients = [self._open() for _ in range(pools)]
        self._turn = (self._turn + 1) % len(self._clients)
        return self._clients[self._turn]

    def _open(self) -> AsyncOpenAI:
        import openai

        base_url = self.endpoint.base_url or DEFAULT_BASE_URL
        target = urlsplit(base_url)
        at_once = self.settings.concurrency
        limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
            max_connections=at_once, max_keepalive_connections=at_once, keepalive_expiry=60.0
        )
        timeout = openai.Timeout(self.settings.timeout, connect=min(_CONNECT_SECONDS, self.settings.timeout))
        http_client = openai.DefaultAsyncHttpxClient(
            limits=limits,
            timeout=timeout,
            # A proxy meant for the internet would swallow calls to a server on this machine.
            trust_env=target.hostname not in _LOOPBACK,
            # Without TLS there is no need to load the certificates; this context trusts nobody.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if target.scheme == "http" else True,
        )
        return openai.AsyncOpenAI(
            base_url=base_url,
            api_key=self.endpoint.api_key or _PLACEHOLDER_KEY,
            max_retries=0,
            timeout=timeout,
            http_client=http_client,
        )

    def _without_key(self, text: str) -> str:
        key = self.endpoint.api_key
        return text.replace(key, "***") if key else text

    async def close(self) -> None:
        """Close the connections."""
        clients, self._clients = self._clients, []
        for client in clients:
            await client.close()


def _read(text: str, tally: ChatTally) -> str:
    """Take content, tokens and model name out of a completion's JSON; a body without choices is a cut one.

    Raises:
        ValueError: (as `json.JSONDecodeError`) what came is no chat completion.
    """
    try:
        completion = json.loads(text)
        message = completion["choices"][0]["message"]
        content = message["content"]
    except (KeyError, IndexError, TypeError, RecursionError) as error:
        raise json.JSONDecodeError("no chat completion", text[:80], 0) from error
    usage = completion.get("usage")
    counts = [_count(usage, name) for name in ("prompt_tokens", "completion_tokens")]
    tally.prompt_tokens += counts[0] or 0
    tally.completion_tokens += counts[1] or 0
    tally.uncounted += None in counts
    tally.served = str(completion.get("model") or "")
    return content if isinstance(content, str) else ""


def _count(usage: Any, name: str) -> int | None:
    """Return a number of tokens; ``None`` where the server gives none or something else."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if type(count) is int and 0 <= count < _MOST_TOKENS else None


def _public(url: str) -> str:
    """Return a URL without user name, password and query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path, "", ""))
