"""A real HTTP server on loopback that speaks the OpenAI chat-completions API and misbehaves as told."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Call:
    """One request as the server saw it; `number` counts from 0."""

    number: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def user(self) -> str:
        """The user message."""
        return str(self.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Reply:
    """What the server does with a request.

    Args:
        text: Content of the assistant's message; None sends a null.
        message: The assistant's message, where it is more than a text.
        finish: Why the reply ended.
        status: HTTP status; anything but 200 sends `error` as an OpenAI error body.
        error: Fields of that error.
        headers: Extra headers.
        delay: Seconds before answering.
        hold: Answer only once so many requests have been under way together.
        raw: Body sent instead of the one made here.
        events: Events of a stream sent instead of those made here.
        cut: Send only so many bytes of the body, then close.
        reset: Reset the connection instead of answering.
        model: Model name in the completion; None repeats the one asked for.
        usage: What the completion says of its tokens; ``COUNTED`` counts words and pictures of the request.
        pieces: Chunks in which a streamed text comes; the text in one by default.
        break_after: End a streamed reply after so many pieces, without a word why.
        more: Further fields of the choice.
    """

    text: str | None = "A"
    message: dict[str, Any] | None = None
    finish: str = "stop"
    status: int = 200
    error: dict[str, Any] = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    hold: int = 0
    raw: bytes | None = None
    events: tuple[bytes, ...] = ()
    cut: int | None = None
    reset: bool = False
    model: str | None = None
    pieces: tuple[str, ...] = ()
    break_after: int | None = None
    more: dict[str, Any] = field(default_factory=dict)
    usage: Any = field(default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102})


COUNTED = "counted"
"""Usage of a server that counts what it is sent."""


def counted(body: dict[str, Any], text: str) -> dict[str, Any]:
    """Count a request as a server with eyes does: words, and pictures by their size."""
    words = pictures = 0
    for message in body["messages"]:
        parts = message["content"]
        for part in [{"type": "text", "text": parts}] if isinstance(parts, str) else parts:
            if part["type"] == "text":
                words += len(part["text"].split())
            elif part["type"] == "image_url":
                pictures += 50 + len(part["image_url"]["url"]) // 1000
            else:
                pictures += 30 * (1 + part["video_url"]["url"].count(","))
    said = len(text.split())
    return {"prompt_tokens": words + pictures, "completion_tokens": said, "total_tokens": words + pictures + said}


Script = Callable[[Call], Reply]


def _body(call: Call, reply: Reply) -> bytes:
    if reply.raw is not None:
        return reply.raw
    if reply.status != 200:
        return json.dumps({"error": {"message": f"scripted {reply.status}", **reply.error}}).encode()
    return json.dumps(
        {
            "id": f"call-{call.number}",
            "object": "chat.completion",
            "created": 1,
            "model": reply.model or call.body["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": reply.finish,
                    "message": reply.message or {"role": "assistant", "content": reply.text},
                    **reply.more,
                }
            ],
            "usage": counted(call.body, reply.text or "") if reply.usage == COUNTED else reply.usage,
        }
    ).encode()


def _events(call: Call, reply: Reply) -> list[bytes]:
    """Return a reply as the events of a stream, the usage in the last."""
    if reply.events:
        return list(reply.events)
    base = {
        "id": f"call-{call.number}",
        "object": "chat.completion.chunk",
        "model": reply.model or call.body["model"],
    }
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if reply.message is not None:
        deltas.append({key: value for key, value in reply.message.items() if key != "role"})
    else:
        deltas += [{"content": piece} for piece in reply.pieces or ((reply.text,) if reply.text else ())]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices[-1] |= reply.more
    if reply.break_after is not None:
        return [json.dumps({**base, "choices": [one]}).encode() for one in choices[: 1 + reply.break_after]]
    choices.append({"index": 0, "delta": {}, "finish_reason": reply.finish})
    usage = counted(call.body, reply.text or "") if reply.usage == COUNTED else reply.usage
    events: list[dict[str, Any]] = [{**base, "choices": [one]} for one in choices]
    if call.body.get("stream_options", {}).get("include_usage"):
        events.append({**base, "choices": [], "usage": usage})
    return [*(json.dumps(event).encode() for event in events), b"[DONE]"]


class JudgeServer:
    """The server, in a thread of its own; use it as a context manager.

    Args:
        script: Decides what happens to each call.
        port: Port to listen on; 0 takes a free one.
        models: What ``/v1/models`` lists; None refuses to tell.
        key: The key without which everything is refused; None takes any.
        down_after: So many calls are answered, then it is gone.
    """

    def __init__(
        self,
        script: Script | None = None,
        port: int = 0,
        models: Sequence[str] | None = None,
        *,
        key: str | None = None,
        down_after: int | None = None,
    ) -> None:
        self.script: Script = script or (lambda call: Reply())
        self.models = models
        self.key = key
        self.down_after = down_after
        self.user = ""
        self.calls: list[Call] = []
        self.most_at_once = 0
        self.connections = 0
        self._at_once = 0
        self._port = port
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def base_url(self) -> str:
        """What goes into --base-url."""
        return f"http://{self.user}127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.run(self.serve())

    async def serve(self) -> None:
        """Listen until told to stop."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self._port, backlog=512)
        self._port = self._server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while await self._one(reader, writer):
                pass
        with contextlib.suppress(ConnectionError, RuntimeError):
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        payload = await reader.readexactly(int(headers.get("content-length", "0")))
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            unknown = Call(0, "", headers, {})
            return await _send(writer, unknown, Reply(status=401, raw=b'{"error":"Unauthorized"}'))
        if self.down_after is not None and len(self.calls) >= self.down_after:
            self._server.close()
            return await _send(writer, Call(0, "", headers, {}), Reply(reset=True))
        if head[0].split(" ")[1].endswith("/models"):
            listing = None if self.models is None else {"data": [{"id": name} for name in self.models]}
            raw = json.dumps(listing or {"error": "not here"}).encode()
            ask = Call(0, "/v1/models", headers, {})
            return await _send(writer, ask, Reply(status=405 if listing is None else 200, raw=raw))
        call = Call(len(self.calls), head[0].split(" ")[1], headers, json.loads(payload or b"{}"))
        self.calls.append(call)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            reply = self.script(call)
            if reply.delay:
                await asyncio.sleep(reply.delay)
            while self.most_at_once < reply.hold:
                await asyncio.sleep(0.005)
        finally:
            self._at_once -= 1
        return await _send(writer, call, reply)


async def _send(writer: asyncio.StreamWriter, call: Call, reply: Reply) -> bool:
    """Answer; return whether the connection stays open."""
    if reply.reset:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False
    if call.body.get("stream") and reply.status == 200 and reply.raw is None:
        return await _stream(writer, call, reply)
    body = _body(call, reply)
    lines = [
        f"HTTP/1.1 {reply.status} Scripted",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in reply.headers),
    ]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body[: reply.cut])
    await writer.drain()
    return reply.cut is None


async def _stream(writer: asyncio.StreamWriter, call: Call, reply: Reply) -> bool:
    writer.write(b"HTTP/1.1 200 Scripted\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for event in _events(call, reply):
        line = b"data: " + event + b"\n\n"
        writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


def main() -> None:
    """Serve with a fixed delay until killed; the first line on stdout is the base URL."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds before each reply")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    server = JudgeServer(lambda call: Reply(delay=options.delay, usage=COUNTED), options.port)

    async def run() -> None:
        serving = asyncio.create_task(server.serve())
        while not server._ready.is_set():
            await asyncio.sleep(0.01)
        print(server.base_url, flush=True)
        await serving

    asyncio.run(run())


if __name__ == "__main__":
    main()
