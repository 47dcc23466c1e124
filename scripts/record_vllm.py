"""Record what a real vLLM answers: replies, chunks of streams, usage and errors, one file that tests replay.

    .venv-vllm/bin/python scripts/record_vllm.py CHECKPOINT tests/recordings/vllm.json

CHECKPOINT is a folder that `evalkit export --checkpoint tiny-wide --out DIR` made. Two servers are started in
turn: one with every flag that evalkit uses, and one without them, which refuses what the first takes. Texts are
of a network that has learnt nothing; what counts is their form. Times and names that change with every request are
written as fixed ones.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PORT = 8179
LONGEST, SHORTEST = 32768, 2048
"""Tokens of context of the two servers."""
KEY = "recorded"
ALL_FLAGS = (
    *("--enable-prompt-tokens-details", "--trust-request-mm-kwargs", "--block-size", "32"),
    *("--limit-mm-per-prompt", '{"image": 8, "video": 128}', "--max-model-len", str(LONGEST)),
)
NO_FLAGS = (
    "--api-key",
    KEY,
    "--limit-mm-per-prompt",
    '{"image": 8, "video": 8}',
    "--max-model-len",
    str(SHORTEST),
)
ENVIRONMENT = {
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}


def frame(seed: int, side: int = 112) -> str:
    """Return a noisy square frame as base64 PNG."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.repeat(8, axis=0).repeat(8, axis=1)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def image(seed: int, **more: Any) -> dict[str, Any]:
    """Return a frame as an image part."""
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{frame(seed)}"}, **more}


def video(*seeds: int, side: int = 112, **more: Any) -> dict[str, Any]:
    """Return frames as a video part."""
    url = "data:video/jpeg;base64," + ",".join(frame(seed, side) for seed in seeds)
    return {"type": "video_url", "video_url": {"url": url}, **more}


def chat(*parts: dict[str, Any], text: str = "Who scores?", **more: Any) -> dict[str, Any]:
    """Return a chat request of one user turn."""
    content = [*parts, {"type": "text", "text": text}]
    body = {"model": "m", "messages": [{"role": "user", "content": content}], "temperature": 0}
    return body | {"max_completion_tokens": 6} | more


STREAM = {"stream": True, "stream_options": {"include_usage": True}}
RATE = {"media_io_kwargs": {"video": {"num_frames": -1, "fps": 2.0, "do_sample_frames": False}}}
IDS = {"return_token_ids": True}
OPTIONS = {"logprobs": True, "logprob_token_ids": [32, 33], "return_tokens_as_token_ids": True}
OPENED = {"continue_final_message": True, "add_generation_prompt": False}
ANSWER = {"role": "assistant", "content": "Answer:"}


def with_answer(body: dict[str, Any]) -> dict[str, Any]:
    """Put a beginning into the assistant's mouth."""
    return {**body, "messages": [*body["messages"], ANSWER], "max_completion_tokens": 1, **OPENED}


COMPLETIONS = "/v1/chat/completions"
FLAGGED: dict[str, tuple[str, dict[str, Any] | None]] = {
    "models": ("/v1/models", None),
    "tokenize": ("/tokenize", {"model": "m", "prompt": "\nA", "add_special_tokens": False}),
    "image": (COMPLETIONS, chat(image(1), **IDS)),
    "image-streamed": (COMPLETIONS, chat(image(1), **STREAM, **IDS)),
    "two-images": (COMPLETIONS, chat(image(1), image(2), **STREAM)),
    "video-streamed": (COMPLETIONS, chat(video(1, 2, uuid="v1"), **STREAM, **IDS, **RATE)),
    "video-by-name": (COMPLETIONS, chat(video(1, 2, uuid="v1") | {"video_url": None}, **STREAM, **IDS, **RATE)),
    "cut": (COMPLETIONS, chat(video(1, 2), max_completion_tokens=2, **STREAM, **IDS, **RATE)),
    "silent-streamed": (COMPLETIONS, chat(text="Hi", allowed_token_ids=[1016], **STREAM, **IDS)),
    "silent": (COMPLETIONS, chat(text="Hi", allowed_token_ids=[1016], **IDS)),
    "likeliest-streamed": (
        COMPLETIONS,
        chat(logprobs=True, top_logprobs=20, **STREAM) | {"max_completion_tokens": 1},
    ),
    "options-streamed": (COMPLETIONS, with_answer(chat(video(1, 2), **OPTIONS, **STREAM, **IDS, **RATE))),
    "forgotten-name": (COMPLETIONS, chat(video(uuid="never-sent") | {"video_url": None}, **STREAM, **RATE)),
    "unknown-model": (COMPLETIONS, chat() | {"model": "other"}),
    "too-long": (COMPLETIONS, chat(text="goal " * LONGEST, **STREAM)),
    "too-many-images": (COMPLETIONS, chat(*(image(one) for one in range(9)))),
    "larger-than-encoder-cache": (COMPLETIONS, chat(video(*range(60), side=616), **STREAM, **RATE)),
    "broken-frame": (
        COMPLETIONS,
        chat({"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}}),
    ),
    "no-such-option": (COMPLETIONS, chat(logprobs=True, logprob_token_ids=[10**6])),
    "too-many-logprobs": (COMPLETIONS, chat(logprobs=True, top_logprobs=21)),
    "no-tokens": (COMPLETIONS, chat(max_completion_tokens=0)),
}
PLAIN: dict[str, tuple[str, dict[str, Any] | None]] = {
    "no-rate-taken": (COMPLETIONS, chat(video(1, 2), **STREAM, **RATE)),
    "longer-than-context": (COMPLETIONS, chat(*(video(*range(32)) for _ in range(8)), **STREAM)),
    "no-details": (COMPLETIONS, chat(image(1), **STREAM)),
}


def ask(path: str, body: dict[str, Any] | None, *, key: str = KEY, port: int = PORT) -> dict[str, Any]:
    """Send a request; return status, and the JSON or the events of the stream."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:  # noqa: S310
            status, text = reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    if status == 200 and body is not None and body.get("stream"):
        events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
        return {"status": status, "events": [one if one == "[DONE]" else json.loads(one) for one in events]}
    return {"status": status, "body": json.loads(text)}


def settled(value: Any) -> Any:
    """Write what changes with every request as something fixed."""
    if isinstance(value, dict):
        fixed = {"id": "chatcmpl-recorded", "created": 1}
        return {
            name: fixed[name]
            if name in fixed and isinstance(one, type(fixed[name])) and one != "m"
            else settled(one)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [settled(one) for one in value]
    return re.sub(r"/\S*/tiny-wide\S*", "/checkpoints/tiny-wide", value) if isinstance(value, str) else value


@contextmanager
def serving(checkpoint: str, flags: tuple[str, ...], port: int = PORT) -> Iterator[None]:
    """Run a server until it has answered everything."""
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", checkpoint]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "m", "--dtype", "float32"]
    environment = {**os.environ, **ENVIRONMENT}
    with subprocess.Popen([*command, "--enforce-eager", *flags], env=environment) as server:  # noqa: S603
        try:
            for _ in range(300):
                time.sleep(1)
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                    break
                except OSError:
                    if server.poll() is not None:
                        raise SystemExit("the server did not start") from None
            yield
        finally:
            server.terminate()


def main() -> None:
    """Start, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    recorded: dict[str, Any] = {}
    with serving(options.checkpoint, ALL_FLAGS):
        version = ask("/version", None)["body"]["version"]
        recorded |= {name: ask(path, body) for name, (path, body) in FLAGGED.items()}
    with serving(options.checkpoint, NO_FLAGS):
        recorded |= {name: ask(path, body) for name, (path, body) in PLAIN.items()}
        recorded["wrong-key"] = ask(COMPLETIONS, chat(), key="another")
    lines = [
        f"{json.dumps(name)}: {json.dumps(settled(one), ensure_ascii=False)}" for name, one in recorded.items()
    ]
    head = f'"vllm": {json.dumps(version)}'
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("{\n" + ",\n".join([head, *lines]) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
