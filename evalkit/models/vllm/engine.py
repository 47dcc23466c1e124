"""vLLM's AsyncLLM behind plain calls: one event loop on a thread of its own, requests whole or growing.

Written for vLLM 0.32, whose in-process engine is marked as internal; see docs/vllm.md for what it was tried with.
"""

from __future__ import annotations

__all__ = ["Engine", "GrowingRequest", "Reply", "Turn"]

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import ModelError
from evalkit.models.protocol import StopRun

T = TypeVar("T")

_LARGER = """; --set model.extra='"{\\"max_num_batched_tokens\\": N}"' with N of as many makes room"""


@dataclass(frozen=True, slots=True)
class Turn:
    """What is put to the engine at once.

    Args:
        ids: Token ids; each video stands as one placeholder.
        videos: Frames ``(T, H, W, 3)``, uint8, in the order of their placeholders.
        fps: Frames per second shown, from which the positions in time follow.
        sampling: Fields of vLLM's SamplingParams.
    """

    ids: Sequence[int]
    videos: Sequence[NDArray[np.uint8]]
    fps: float
    sampling: dict[str, Any]


@dataclass(slots=True)
class Reply:
    """What came back.

    Args:
        ids: Tokens, the one that ended the reply included.
        first_token: Wall seconds to the first token; ``None`` without one.
        seconds: Wall seconds to the last.
        prepared: Wall seconds of them that laying out frames and prompt took, before the engine had them.
        finish: Why it ended: ``stop`` or ``length``.
        logprobs: Of the ids asked for, at the first token.
        token_times: Wall seconds to each token; those of one output share theirs.
    """

    ids: list[int] = field(default_factory=list)
    first_token: float | None = None
    seconds: float = 0.0
    prepared: float = 0.0
    finish: str | None = None
    logprobs: dict[int, float] = field(default_factory=dict)
    token_times: list[float] = field(default_factory=list)


class Engine:
    """An engine and its event loop.

    Args:
        checkpoint: Folder or hub id.
        dtype: ``auto`` or a type of weights.
        arguments: Further fields of AsyncEngineArgs.

    Raises:
        ModelError: The engine does not start.
    """

    def __init__(self, checkpoint: str, dtype: str, arguments: dict[str, Any]) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        self._numbers = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        given = {"disable_log_stats": True, "skip_mm_profiling": True, **arguments}

        async def begin() -> Any:
            return AsyncLLM.from_engine_args(AsyncEngineArgs(model=checkpoint, dtype=dtype, **given))

        try:
            self._llm = self._wait(begin())
        except Exception as error:  # whatever stands in the way: memory, a flag, an unknown architecture
            self._stop_loop()
            raise ModelError(f"vLLM does not start with {checkpoint}: {' '.join(str(error).split())}") from error

    @property
    def tokenizer(self) -> Any:
        """The checkpoint's tokenizer."""
        return self._llm.renderer.tokenizer

    @property
    def config(self) -> Any:
        """The checkpoint's configuration, as transformers has it."""
        return self._llm.model_config.hf_config

    @property
    def dtype(self) -> str:
        """Type of the weights."""
        return str(self._llm.model_config.dtype).removeprefix("torch.")

    @property
    def device(self) -> str:
        """``cuda`` or ``cpu``."""
        from vllm.platforms import current_platform

        return str(current_platform.device_type)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for something in the engine's loop.

        Raises:
            ModelError: The engine refused it.
            StopRun: The engine died, and with it every stream.
        """
        try:
            return self._wait(work)
        except ModelError:
            raise
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            if type(error).__name__ == "EngineDeadError":
                raise StopRun(f"vLLM's engine died ({said}); its lines above say why, --resume goes on") from error
            hint = _LARGER if "encoder cache size" in said else ""
            raise ModelError(f"vLLM refused the request: {said}{hint}") from error

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def ask(self, turn: Turn) -> Reply:
        """Have a whole context answered in a request of its own; what it shares with earlier ones is reused."""
        return self.run(self._whole(turn))

    async def _whole(self, turn: Turn) -> Reply:
        began = time.perf_counter()
        prompt = await self.render(turn)
        reply = Reply(prepared=time.perf_counter() - began)
        async for out in self._llm.generate(prompt, self.sampling(turn.sampling), self.name()):
            take(reply, out, began)
        return reply

    def name(self) -> str:
        """Return a name for the next request."""
        return f"evalkit-{next(self._numbers)}"

    async def render(self, turn: Turn) -> Any:
        """Lay out frames and ids for the engine."""
        prompt: dict[str, Any] = {"prompt_token_ids": list(turn.ids)}
        if turn.videos:
            metadata = [_metadata(frames, turn.fps) for frames in turn.videos]
            prompt["multi_modal_data"] = {"video": list(zip(turn.videos, metadata, strict=True))}
            prompt["mm_processor_kwargs"] = {"fps": turn.fps, "do_sample_frames": False}
        return (await self._llm.renderer.render_cmpl_async([prompt]))[0]

    def sampling(self, fields: dict[str, Any]) -> Any:
        """Return vLLM's object for fields of it; tokens come as they are made, without texts."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(output_kind=RequestOutputKind.DELTA, detokenize=False, **fields)

    def grow(self) -> GrowingRequest:
        """Open a request to which turns are appended."""
        return GrowingRequest(self, self._llm)

    def close(self) -> None:
        """Stop the engine and its loop."""
        self._llm.shutdown()
        self._stop_loop()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)


def _metadata(frames: NDArray[np.uint8], fps: float) -> dict[str, Any]:
    return {
        "total_num_frames": len(frames),
        "fps": fps,
        "duration": len(frames) / fps,
        "frames_indices": list(range(len(frames))),
        "do_sample_frames": False,
    }


def take(reply: Reply, out: Any, began: float) -> None:
    """Add what an output of the engine brings."""
    (completion,) = out.outputs
    new = list(completion.token_ids)
    reply.seconds = time.perf_counter() - began
    if new and reply.first_token is None:
        reply.first_token = reply.seconds
        if completion.logprobs:
            reply.logprobs = {token: found.logprob for token, found in completion.logprobs[0].items()}
    reply.ids += new
    reply.token_times += [reply.seconds] * len(new)
    reply.finish = completion.finish_reason or reply.finish


class GrowingRequest:
    """A request to which turns are appended; its context is all that was put in and said but the last tokens.

    Args:
        engine: The engine.
        llm: vLLM's object.
    """

    def __init__(self, engine: Engine, llm: Any) -> None:
        self._engine = engine
        self._llm = llm
        self._inbox: asyncio.Queue[Any] | None = None
        self._outputs: Any = None

    def say(self, turn: Turn) -> Reply:
        """Append a turn and return what is said to it."""
        return self._engine.run(self._say(turn))

    async def _say(self, turn: Turn) -> Reply:
        began = time.perf_counter()
        prompt = await self._engine.render(turn)
        reply = Reply(prepared=time.perf_counter() - began)
        sampling = self._engine.sampling(turn.sampling)
        if self._inbox is None:
            self._inbox = asyncio.Queue()
            self._outputs = self._llm.generate(self._source(self._inbox), sampling, self._engine.name())
        self._inbox.put_nowait((prompt, sampling))
        async for out in self._outputs:
            take(reply, out, began)
            if reply.finish is not None:
                return reply
        raise ModelError("vLLM ended the stream before it had answered")

    @staticmethod
    async def _source(inbox: asyncio.Queue[Any]) -> AsyncGenerator[Any, None]:
        from vllm.engine.protocol import StreamingInput

        while (item := await inbox.get()) is not None:
            yield StreamingInput(prompt=item[0], sampling_params=item[1])

    def close(self) -> None:
        """End the request."""
        if self._inbox is not None:
            self._engine.run(self._end(self._inbox))
            self._inbox = None

    async def _end(self, inbox: asyncio.Queue[Any]) -> None:
        inbox.put_nowait(None)
        await self._outputs.aclose()
