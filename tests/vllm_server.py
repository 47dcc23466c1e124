"""A server that answers as a real vLLM did: every reply, chunk, count and error is a recorded one, filled in.

`tests/recordings/vllm.json` holds what `scripts/record_vllm.py` saw. What is said is the test's; tokens of a text
are its words, and frames become as many as Qwen's processor makes.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from judge_server import Call, JudgeServer, Reply
from PIL import Image

RECORDED: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "recordings" / "vllm.json").read_text(encoding="utf-8")
)
END: Final = 1016
PICTURE: Final = 1021
BLOCK: Final = 16


def verbatim(name: str) -> Reply:
    """Return a recorded answer as it was."""
    one = RECORDED[name]
    if "events" in one:
        return Reply(events=tuple((e if e == "[DONE]" else json.dumps(e)).encode() for e in one["events"]))
    return Reply(status=one["status"], raw=json.dumps(one["body"]).encode())


def tokens_of(text: str) -> list[int]:
    """Return a token for each word."""
    return [2000 + zlib.crc32(word.encode()) % 50_000 for word in re.findall(r"\s*\S+", text)]


class VllmServer(JudgeServer):
    """The server.

    Args:
        say: What is said to a call.
        forgets: Names of frames are forgotten before each of these calls.
        retokenises: Whether a reply that comes back becomes other tokens.
        first: Logit of each option, in the order asked for.
        most: Most frames it takes of a video.
        tokenize: What it answers where it is asked for the tokens of a text; those by default.
    """

    def __init__(
        self,
        say: Callable[[Call], str | Reply] = lambda call: " a goal",
        *,
        forgets: Sequence[int] = (),
        retokenises: bool = False,
        first: Sequence[float] = (),
        most: int = 10**6,
        tokenize: Callable[[Call], Reply] | None = None,
    ) -> None:
        super().__init__(self._answer, models=("m",))
        self._say = say
        self._forgets = forgets
        self._retokenises = retokenises
        self._first = first
        self._most = most
        self._tokenize = tokenize
        self._seen: dict[str, int] = {}  # names of parts, and the tokens of each
        self._before: list[int] = []

    @property
    def asked(self) -> list[dict[str, Any]]:
        """Bodies of the chat requests but for the probe's."""
        bodies = [call.body for call in self.calls if call.path.endswith("/chat/completions")]
        return [body for body in bodies if "How many pictures" not in str(body["messages"])]

    def _answer(self, call: Call) -> Reply:
        body = call.body
        if call.path == "/tokenize" and self._tokenize is not None:
            return self._tokenize(call)
        if call.path == "/tokenize":
            told = RECORDED["tokenize"]["body"] | {"tokens": tokens_of(body["prompt"])}
            return Reply(raw=json.dumps(told).encode())
        if body["model"] != "m":
            return verbatim("unknown-model")
        if len(self.asked) - 1 in self._forgets:
            self._seen.clear()
        for part in parts_of(body):
            if part.get("uuid") and part[part["type"]] is None and part["uuid"] not in self._seen:
                return verbatim("forgotten-name")
            if part.get("uuid") and part[part["type"]] is not None:
                self._seen[part["uuid"]] = pictured(part, self._most)
        said = self._say(call)
        return said if isinstance(said, Reply) else self._reply(body, said)

    def _reply(self, body: dict[str, Any], text: str) -> Reply:
        prompt = self._prompt(body)
        ids = tokens_of(text)
        limit = body.get("max_completion_tokens")
        whole = limit is None or len(ids) < limit
        ids = [*ids, END] if whole else ids[:limit]
        usage = self._usage(prompt, ids)
        words = re.findall(r"\s*\S+", text)[: len(ids) - whole]
        scored = self._logprobs(body) if "logprob_token_ids" in body else None
        shown = ids if body.get("return_token_ids") else None
        reason = "stop" if whole else "length"
        if not body.get("stream"):
            told = copy.deepcopy(RECORDED["image"]["body"])
            told["choices"][0] |= {"finish_reason": reason, "token_ids": shown, "logprobs": scored}
            told["choices"][0]["message"]["content"] = "".join(words)
            return Reply(raw=json.dumps(told | {"usage": usage, "prompt_token_ids": prompt}).encode())
        return Reply(events=self._events(words, shown, reason, scored, (prompt, usage)))

    def _events(
        self, words: list[str], ids: list[int] | None, reason: str, scored: Any, counts: tuple[list[int], Any]
    ) -> tuple[bytes, ...]:
        role, piece, *_, last, usage, done = copy.deepcopy(RECORDED["video-streamed"]["events"])
        role["prompt_token_ids"] = counts[0] if ids is not None else None
        pieces = [*words, ""] if reason == "stop" else words
        events = [role]
        for number, word in enumerate(pieces):
            event = copy.deepcopy(last if number == len(pieces) - 1 else piece)
            choice = event["choices"][0]
            choice["delta"]["content"] = word
            choice["token_ids"] = None if ids is None else [ids[number]]
            choice["logprobs"] = scored
            if choice["finish_reason"]:
                choice["finish_reason"] = reason
            events.append(event)
        events.append(usage | {"usage": counts[1]})
        return (*(json.dumps(event).encode() for event in events), done.encode())

    def _logprobs(self, body: dict[str, Any]) -> dict[str, Any]:
        recorded = RECORDED["options-streamed"]["events"][1]["choices"][0]["logprobs"]
        scored: dict[str, Any] = copy.deepcopy(recorded)
        sampled, option, *_ = scored["content"][0]["top_logprobs"]
        asked = body["logprob_token_ids"]
        logits = self._first or [-float(number) for number in range(1, len(asked) + 1)]
        rows = [
            option | {"token": f"token_id:{one}", "logprob": value}
            for one, value in zip(asked, logits, strict=True)
        ]
        scored["content"][0]["top_logprobs"] = [sampled, *rows]
        return scored

    def _prompt(self, body: dict[str, Any]) -> list[int]:
        ids: list[int] = []
        for message in body["messages"]:
            content = message["content"]
            shift = int(self._retokenises and message["role"] == "assistant")
            for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
                if part["type"] == "text":
                    ids += [one + shift for one in tokens_of(part["text"])]
                else:
                    known = self._seen.get(part.get("uuid", ""))
                    ids += [PICTURE] * (pictured(part, self._most) if known is None else known)
            ids.append(END)
        return ids

    def _usage(self, prompt: list[int], ids: list[int]) -> dict[str, Any]:
        same = next(
            (n for n, pair in enumerate(zip(prompt, self._before, strict=False)) if pair[0] != pair[1]), None
        )
        cached = min(len(prompt), len(self._before)) if same is None else same
        self._before = prompt
        usage: dict[str, Any] = copy.deepcopy(RECORDED["video-streamed"]["events"][-2]["usage"])
        usage |= {
            "prompt_tokens": len(prompt),
            "completion_tokens": len(ids),
            "total_tokens": len(prompt) + len(ids),
        }
        usage["prompt_tokens_details"] |= {
            "cached_tokens": cached // BLOCK * BLOCK,
            "multimodal_tokens": {"video": prompt.count(PICTURE)},
        }
        return usage


def parts_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a chat's messages."""
    contents = [message["content"] for message in body["messages"]]
    return [part for content in contents if isinstance(content, list) for part in content]


def pictured(part: dict[str, Any], most: int = 10**6) -> int:
    """Return the tokens of an image or a video part of which only so many frames are taken."""
    _, *frames = part[part["type"]]["url"].split(",")
    if not frames[0]:
        return 0
    width, height = Image.open(io.BytesIO(base64.b64decode(frames[0]))).size
    count = min(len(frames), most)
    return (-(-count // 2) if part["type"] == "video_url" else count) * (height // 28) * (width // 28)
