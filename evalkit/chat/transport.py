"""Carries one request to a chat server and back, through the openai package; whatever comes back is cleaned here.

Nothing a server sent leaves this module before every known secret is out of it: replies, chunks, error bodies and
the texts of failed connections. Asking again is left to `evalkit.chat.client`.
"""

from __future__ import annotations

__all__ = ["ChatTransport", "RequestFailedError"]

import asyncio
import json
import math
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from evalkit.chat.failures import Failure, classify, classify_stream_error
from evalkit.chat.reply import ChatReply, NotACompletionError, completion_of_chunks, read_completion
from evalkit.chat.secrets import Secrets
from evalkit.chat.settings import DEFAULT_BASE_URL, Endpoint

if TYPE_CHECKING:
    from openai import AsyncOpenAI, AsyncStream

_PLACEHOLDER_KEY: Final = "no-key-needed"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_CONNECT_SECONDS: Final = 10.0
_CONNECTIONS_PER_POOL: Final = 8
_COMPLETIONS: Final = "/chat/completions"
_CUT: Final = Failure("again", "the reply's body is cut or is no chat completion")
_WHOLE: Final = Failure("parameter", "the reply came whole, not streamed", parameter="stream")


class RequestFailedError(Exception):
    """A request brought no reply; `failure` says what that means."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


@dataclass(slots=True)
class ChatTransport:
    """Connections to one server; those of one event loop.

    Args:
        endpoint: Server and key.
        concurrency: Requests under way at once.
        timeout: Longest wait for one reply, seconds.
        whom: Who is asked, in one word, for messages.
    """

    endpoint: Endpoint
    concurrency: int
    timeout: float
    whom: str = "model"
    secrets: Secrets = field(init=False, repr=False)
    _clients: list[AsyncOpenAI] = field(default_factory=list, init=False, repr=False)
    _turn: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self.secrets = Secrets.of(self.endpoint.api_key, self.endpoint.base_url)

    async def complete(self, body: Mapping[str, Any]) -> ChatReply:
        """Send one request and return the reply; one whose body says ``stream`` is read chunk by chunk.

        Args:
            body: The request's JSON.

        Raises:
            RequestFailedError: No reply came.
        """
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self.timeout):
                if body.get("stream"):
                    return await self._streamed(body, began)
                # The typed `chat.completions.create` spends half of the client's time on walking through the
                # messages and building a model of the reply; this is the same request, read by hand.
                text = await self._connected().post(_COMPLETIONS, body=body, cast_to=str)
            return self._read(_json(text), body, time.perf_counter() - began)
        except Exception as error:
            raise self._failed(error, body) from None

    async def models(self) -> list[str]:
        """Return the names of the models the server has; none where it does not tell.

        Raises:
            RequestFailedError: The server is not there, or refuses.
        """
        try:
            async with asyncio.timeout(self.timeout):
                listed = self.secrets.clean_json(_json(await self._connected().get("/models", cast_to=str)))
        except Exception as error:
            raise self._failed(error, {}) from None
        rows = listed.get("data") if isinstance(listed, dict) else None
        rows = rows if isinstance(rows, list) else []
        return [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]

    async def beside(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return what a path beside ``/v1`` says to a request, as JSON.

        Args:
            path: The path, from the server's root: ``/tokenize``.
            body: The request's JSON.

        Raises:
            RequestFailedError: Nothing came.
        """
        root = (self.endpoint.base_url or DEFAULT_BASE_URL).rstrip("/").removesuffix("/v1")
        try:
            async with asyncio.timeout(self.timeout):
                text = await self._connected().post(root + path, body=body, cast_to=str)
            return self.secrets.clean_json(_json(text))
        except Exception as error:
            raise self._failed(error, body) from None

    def _failed(self, error: Exception, body: Mapping[str, Any]) -> Exception:
        if isinstance(error, RequestFailedError):
            return error
        failure = _CUT if isinstance(error, NotACompletionError) else self._classified(error, body)
        return error if failure is None else RequestFailedError(failure)

    def _classified(self, error: Exception, body: Mapping[str, Any]) -> Failure | None:
        return classify(error, self.secrets, _parameters(body), self.whom)

    def _read(self, completion: Any, body: Mapping[str, Any], seconds: float) -> ChatReply:
        cleaned = self.secrets.clean_json(completion)
        if isinstance(cleaned, dict) and cleaned.get("error"):
            raise RequestFailedError(classify_stream_error(cleaned, _parameters(body), self.whom))
        reply = read_completion(cleaned)
        if reply.finish == "error":
            raise RequestFailedError(_CUT)
        return replace(reply, seconds=seconds)

    async def _streamed(self, body: Mapping[str, Any], began: float) -> ChatReply:
        from openai import AsyncStream

        stream: AsyncStream[object] = await self._connected().post(
            _COMPLETIONS, body=body, cast_to=object, stream=True, stream_cls=AsyncStream[object]
        )
        chunks: list[Any] = []
        first: dict[str, float] = {}
        async with stream:
            async for chunk in stream:
                chunks.append(chunk)
                if len(first) < 2:
                    _note_first(first, chunk, time.perf_counter() - began)
        if not chunks and "json" in stream.response.headers.get("content-type", ""):
            raise RequestFailedError(_WHOLE)
        # A secret may be cut by the chunks, so it is looked for in what they make together.
        reply = self._read(completion_of_chunks(chunks), body, time.perf_counter() - began)
        return replace(reply, first_token=first.get("text"), first_thought=first.get("thought"))

    def _connected(self) -> AsyncOpenAI:
        """Return one of the clients in turn, opening all of them at first use."""
        if not self._clients:
            # A pool looks through all its connections at every request, so a few small pools cost less than one.
            pools = math.ceil(self.concurrency / _CONNECTIONS_PER_POOL)
            self._clients = [self._open() for _ in range(pools)]
        self._turn = (self._turn + 1) % len(self._clients)
        return self._clients[self._turn]

    def _open(self) -> AsyncOpenAI:
        import openai

        base_url = self.endpoint.base_url or DEFAULT_BASE_URL
        target = urlsplit(base_url)
        limits = type(openai.DEFAULT_CONNECTION_LIMITS)(
            max_connections=self.concurrency, max_keepalive_connections=self.concurrency, keepalive_expiry=60.0
        )
        timeout = openai.Timeout(self.timeout, connect=min(_CONNECT_SECONDS, self.timeout))
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

    async def close(self) -> None:
        """Close the connections."""
        clients, self._clients = self._clients, []
        for client in clients:
            await client.close()


def _parameters(body: Mapping[str, Any]) -> list[str]:
    """Return the names of a request's parameters: all but the question itself."""
    return [name for name in body if name not in ("model", "messages")]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotACompletionError("no JSON") from error


def _note_first(first: dict[str, float], chunk: object, now: float) -> None:
    """Note when the first piece of text and of reasoning came; the piece that only names the role is none."""
    try:
        delta = chunk["choices"][0]["delta"]  # type: ignore[index]
    except (KeyError, IndexError, TypeError):
        return
    if not isinstance(delta, dict):
        return
    if delta.get("content"):
        first.setdefault("text", now)
    if delta.get("reasoning_content") or delta.get("reasoning"):
        first.setdefault("thought", now)
