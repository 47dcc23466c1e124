"""A model behind a chat server: one client for all its sessions, what they cost, and when to stop (no torch)."""

from __future__ import annotations

__all__ = ["ModeratedError", "ServedModel", "ServedReply"]

import random
import re
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any, Final

import psutil

from evalkit.chat import ChatClient, ChatReply, ChatTally, NoReplyError
from evalkit.chat.loop import ChatLoop
from evalkit.errors import ModelError, ServerError
from evalkit.models.protocol import Placement, SessionRequest, StopRun, StreamSession
from evalkit.models.served.frames import FrameEncoder
from evalkit.models.served.probe import probe_messages, sees_images
from evalkit.models.served.settings import ServedSettings
from evalkit.models.served.vllm import stream_fields, without_known_frames
from evalkit.records import CallRecord

_PROCESS: Final = psutil.Process()
_LIMIT: Final = re.compile(r"(?:context (?:length|window)|maximum[^.]*?)\D{0,40}?(\d[\d,]{2,})", re.IGNORECASE)

_FORGOTTEN: Final = "Cache miss for"
"""In vLLM's words where a frame that was sent by name alone is no longer in its cache."""
_FIELD_OF_VIDEOS: Final = "media_io_kwargs"
_TOO_LARGE: Final = re.compile(r"HTTP 413|image (?:is )?too large|At most \d+ (?:image|video)", re.IGNORECASE)
_SMALLER: Final = "send smaller or fewer frames: --set model.long_side=N, or another --protocol"
_LARGER: Final = "start vLLM with --max-num-batched-tokens of as many"


def _what_helps(words: str) -> str:
    """Say what helps where frames were refused; nothing where it was something else."""
    if "encoder cache size" in words:
        return f"; {_LARGER}, or {_SMALLER}"
    return f"; {_SMALLER}" if _TOO_LARGE.search(words) else ""


class ModeratedError(ModelError):
    """The server's policy refuses what it was asked; other questions may pass."""


@dataclass(frozen=True, slots=True)
class ServedReply:
    """A reply with what it took.

    Args:
        reply: What the server said.
        call: What goes on record of it.
    """

    reply: ChatReply
    call: CallRecord


@dataclass(slots=True)
class ServedModel:
    """A served model with all its settings; its sessions may run on any number of threads.

    Args:
        name: Its name in tables.
        client: Asks the server; its errors are `ServerLost`.
        settings: How it is shown a stream and asked.
        max_cost: Spend no more than this, in the currency of the prices.
        probing: Whether to look, before the first question, if the server sees images at all.
    """

    name: str
    client: ChatClient
    settings: ServedSettings
    max_cost: float | None = None
    probing: bool = True
    placement: Placement = field(default_factory=lambda: Placement("server"), init=False)
    encoder: FrameEncoder = field(init=False)
    warnings: list[str] = field(default_factory=list, init=False)
    spent: float = field(default=0.0, init=False)
    salt: str = field(default_factory=lambda: uuid.uuid4().hex, init=False)
    _option_ids: dict[tuple[str, ...], tuple[int, ...]] = field(default_factory=dict, init=False)
    _loop: ChatLoop = field(default_factory=ChatLoop, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _told_of_context: bool = field(default=False, init=False)
    _per_second: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.encoder = FrameEncoder(self.settings)

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size at which frames are sent."""
        return self.settings.frame_size(width, height)

    def open(self, request: SessionRequest) -> StreamSession:
        """Open a session for one sample."""
        from evalkit.models.served.session import ServedSession

        self._probe()
        return ServedSession(self, request)

    def identity(self) -> dict[str, Any]:
        """Return nothing more: what the server calls its model stands with each reply."""
        return {}

    def peak_mib(self) -> float:
        """Return the memory of this process; what the server takes is its own business."""
        return _PROCESS.memory_info().rss / 2**20

    def close(self) -> None:
        """Close the connections and end the threads."""
        self._loop.run(self.client.close())
        self._loop.close()
        self.encoder.close()

    def ask(
        self,
        messages: Sequence[dict[str, Any]],
        key: str,
        more: Mapping[str, Any],
        seconds_sent: int = 0,
        held: set[str] | None = None,
    ) -> ServedReply:
        """Ask once; whatever has to be asked again is.

        Args:
            messages: The chat.
            key: What the request is for; the waits after failures depend on it.
            more: Further parameters of the request.
            seconds_sent: Seconds of stream in it, for what would fit where it is too long.
            held: Names of the frames that the server has: they go without their bytes. It becomes the names of
                those in this chat.

        Raises:
            ServerError: No reply came, however often it was asked.
            ModelError: This was refused.
            StopRun: No further reply can come, or the money is spent.
        """
        self._check_budget()
        tally, began = ChatTally(), time.perf_counter()
        jitter = random.Random(f"{self.client.settings.seed}:{key}")
        slim, names = without_known_frames(messages, held or set())
        try:
            try:
                reply = self._loop.run(self.client.reply(slim, tally, jitter, self._parameters(more)))
            except NoReplyError as lost:
                if not held or _FORGOTTEN not in str(lost):
                    raise
                tally.waited += time.perf_counter() - began
                reply = self._loop.run(self.client.reply(messages, tally, jitter, self._parameters(more)))
        except NoReplyError as lost:
            raise self._failed(lost, seconds_sent) from None
        except ModelError as lost:
            raise StopRun(f"{lost}; what is on record stays: go on with --resume") from None
        except CancelledError:  # closed under a second Ctrl-C
            raise StopRun("stopped while a reply was awaited") from None
        if held is not None:
            held.clear()
            held |= names
        if reply.usage.prompt and seconds_sent:
            self._per_second = reply.usage.prompt / seconds_sent
        return ServedReply(reply, self._on_record(reply, tally))

    def option_ids(self, lead: str, options: Sequence[str]) -> tuple[int, ...]:
        """Return the token of each option, the last of ``lead`` and option together, as a local session has it.

        Args:
            lead: Text before an option.
            options: Option texts.

        Raises:
            ModelError: Two options end in the same token, or the server does not tell.
            StopRun: The server is lost.
        """
        asked = (lead, *options)
        with self._lock:
            if asked not in self._option_ids:
                try:
                    told = [
                        self._loop.run(self.client.tokenize(lead + one, random.Random(one))) for one in options
                    ]
                except ModelError as lost:
                    raise StopRun(f"{lost}; what is on record stays: go on with --resume") from None
                self._option_ids[asked] = tuple(ids[-1] for ids in told)
            ids = self._option_ids[asked]
        if len(set(ids)) < len(ids):
            raise ModelError(f"options cannot be told apart: {', '.join(options)} end in the tokens {ids}")
        return ids

    def _parameters(self, more: Mapping[str, Any]) -> dict[str, Any]:
        settings = self.settings
        found: dict[str, Any] = {**settings.further, **more}
        if settings.reasoning_effort is not None:
            found.setdefault("reasoning_effort", settings.reasoning_effort)
        if settings.streamed:
            found |= {"stream": True, "stream_options": {"include_usage": True}}
        return found

    def _on_record(self, reply: ChatReply, tally: ChatTally) -> CallRecord:
        usage, cost = reply.usage, tally.cost(self.client.settings)
        with self._lock:
            self.spent += cost or 0.0
            if cost is None and self.max_cost is not None:
                self.warn("--max-cost cannot be held: the server does not say how many tokens a reply took")
        ids = reply.extra.get("token_ids", ())
        left_out = f"without {', '.join(tally.left_out)}" if tally.left_out else ""
        return CallRecord(
            requests=tally.attempts,
            retry_seconds=tally.waited,
            queue_seconds=tally.queued,
            prompt_tokens=usage.prompt,
            cached_tokens=usage.cached,
            completion_tokens=usage.completion,
            reasoning_tokens=usage.reasoning,
            finish=reply.finish or None,
            served_by=reply.served,
            cost=cost,
            token_ids=tuple(one for one in ids if isinstance(one, int)),
            note="; ".join(filter(None, [left_out, f"refused: {reply.refusal}" if reply.refusal else ""])),
        )

    def _check_budget(self) -> None:
        if self.max_cost is not None and self.spent >= self.max_cost:
            raise StopRun(
                f"--max-cost {self.max_cost:g} is spent ({self.spent:.4f} so far); what is on record stays: go on "
                "with --resume and a new --max-cost"
            )

    def _failed(self, lost: NoReplyError, seconds_sent: int) -> ModelError | StopRun:
        if _FIELD_OF_VIDEOS in str(lost):
            return StopRun(
                f"{self.name}: the server takes no frame rate and no number of frames with a request, so that it "
                "would drop frames of long clips unseen: start vLLM with --trust-request-mm-kwargs, or --set "
                f"model.frames_as=images ({lost})"
            )
        if lost.kind == "again":
            return ServerError(f"no reply from the server: {lost}")
        if lost.kind == "moderated":
            return ModeratedError(f"refused by the server's moderation: {lost}")
        if lost.kind != "too-long":
            return ModelError(f"the server refused the request: {lost}{_what_helps(str(lost))}")
        with self._lock:
            told, self._told_of_context = self._told_of_context, True
        if told:
            return ModelError("the prompt is longer than the model's context")
        return ModelError(
            f"the prompt is longer than the model's context: {lost}{self._what_fits(str(lost), seconds_sent)}"
        )

    def _what_fits(self, words: str, seconds: int) -> str:
        """Say what would fit: by the limit in the server's words and the tokens a second has taken so far."""
        if seconds < 2:
            return f"; {_SMALLER}"
        limit = _LIMIT.search(words)
        fits = seconds // 2
        if limit is not None and self._per_second:
            fits = min(seconds - 1, int(int(limit[1].replace(",", "")) / self._per_second))
        return (
            f"; {seconds} s of stream were sent, about {max(1, fits)} s would fit: --set model.schedule=window "
            f"--set model.window_seconds={max(1, fits)}"
        )

    def _probe(self) -> None:
        """Look once, before the first question, whether two frames more make the prompt longer."""
        with self._lock:
            if not self.probing:
                return
            self.probing = False
        counts: list[int | None] = []
        fields: dict[str, Any] = {"max_completion_tokens": 16}
        if self.settings.server == "vllm":
            fields |= stream_fields(self.settings, 1.0, self.salt)
        for number, messages in enumerate(probe_messages(self.settings)):
            try:
                asked = self._loop.run(
                    self.client.reply(messages, tally := ChatTally(), random.Random(number), fields)
                )
            except NoReplyError as lost:
                if lost.kind in ("moderated", "too-long"):  # says nothing of whether images are seen
                    return
                if lost.kind == "again" or _FIELD_OF_VIDEOS in str(lost):
                    raise StopRun(str(self._failed(lost, 0))) from None
                raise StopRun(f"{self.name} takes no frames: {lost}") from None
            except ModelError as lost:
                raise StopRun(str(lost)) from None
            counts.append(asked.usage.prompt)
            with self._lock:
                self.spent += tally.cost(self.client.settings) or 0.0
        if not sees_images(counts):
            self.warn(
                f"the server seems to ignore images: one small frame and two large ones took the same number of "
                f"prompt tokens ({counts[0]}); the answers may be those of a blind model"
            )

    def warn(self, text: str) -> None:
        """Put a warning on record, once."""
        if text not in self.warnings:
            self.warnings.append(text)
