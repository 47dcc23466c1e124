"""A checkpoint in vLLM's engine as a StreamingModel: the chat layout, frame sizes and seeds of a local session."""

from __future__ import annotations

__all__ = ["VllmModel", "VllmSession"]

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evalkit.errors import ModelError
from evalkit.memory import Ledger, Span
from evalkit.models.generation import seed_of
from evalkit.models.layout import ChatLayout, ChatTokens, VisionBlock
from evalkit.models.load import checkpoint_revision
from evalkit.models.protocol import Answer, Placement, SessionRequest, Spoken, StepReport
from evalkit.models.settings import GenerationSettings
from evalkit.models.text import HuggingFaceText, single_token
from evalkit.models.vllm.engine import Engine, Reply, Turn
from evalkit.models.vllm.entry import VllmRecipe
from evalkit.stream import Chunk, Elicitation
from evalkit.timing import Stage, process_peak_mib
from evalkit.video import STREAMINGVLM_LIMITS, smart_resize


class _Weights:
    """What `checkpoint_revision` asks of a network."""

    def __init__(self, config: Any) -> None:
        self.config = config


class VllmModel:
    """A checkpoint in vLLM's engine.

    Args:
        recipe: Checkpoint and settings.

    Raises:
        ModelError: The engine does not start.
    """

    def __init__(self, recipe: VllmRecipe) -> None:
        self.name = recipe.name
        self.generation = recipe.generation
        self.limit = recipe.engine.max_model_len
        self.engine = Engine(recipe.checkpoint, recipe.dtype, recipe.engine.engine_arguments())
        config = self.engine.config
        self.placement = Placement(self.engine.device, self.engine.dtype)
        self._revision = checkpoint_revision(recipe.checkpoint, _Weights(config))
        self._vision = config.vision_config
        text = HuggingFaceText(self.engine.tokenizer)
        tokens = ChatTokens(
            turn_open=single_token(text, "<|im_start|>"),
            turn_close=single_token(text, "<|im_end|>"),
            vision=config.video_token_id,
            vision_open=config.vision_start_token_id,
            vision_close=config.vision_end_token_id,
        )
        self.layout = ChatLayout(text, tokens)

    @property
    def _factor(self) -> int:
        return int(self._vision.patch_size * self._vision.spatial_merge_size)

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the ``(width, height)`` to which the decoder scales a video: that of a local session."""
        limits = STREAMINGVLM_LIMITS
        rows, columns = smart_resize(
            height, width, self._factor, min_pixels=limits.min_pixels, max_pixels=limits.frame_pixels
        )
        return columns, rows

    def block(self, frames: NDArray[np.uint8]) -> VisionBlock:
        """Return the tokens that some frames become."""
        temporal = int(self._vision.temporal_patch_size)
        height, width = frames.shape[1:3]
        return VisionBlock((-(-len(frames) // temporal), height // self._factor, width // self._factor))

    def open(self, request: SessionRequest) -> VllmSession:
        """Open a session for one sample."""
        return VllmSession(self, request)

    def identity(self) -> dict[str, Any]:
        """Return what identifies the weights, and vLLM's version."""
        import vllm

        return {"model.revision": self._revision, "model.vllm": vllm.__version__}

    def peak_mib(self) -> float:
        """Return the peak memory of this process since the last call, MiB; the engine's is its own."""
        return process_peak_mib()

    def close(self) -> None:
        """Stop the engine."""
        self.engine.close()


class VllmSession:
    """One stream: narration in a request that grows, questions in requests of their own over the same context.

    The ledger holds what truly stands in the context. vLLM drops the last token of a turn, which it never
    computed; the next turn begins with it, so that the context is that of a local session token for token.

    Args:
        model: The model.
        request: What the session is opened for.
    """

    def __init__(self, model: VllmModel, request: SessionRequest) -> None:
        self._model = model
        self._layout = model.layout
        self._request = request
        self._growing = model.engine.grow()
        self._ledger = Ledger()
        self._videos: list[NDArray[np.uint8]] = []
        self._sent = (0, 0)  # spans and videos that the growing request has
        self._carried: list[int] = []  # what the next turn begins with: the token that vLLM drops, and the marker
        self._instruct = request.narration is not None

    def observe(self, chunk: Chunk, subtitles: tuple[str, ...] = ()) -> StepReport:
        """Remember one second of frames; they are computed with the first question that is asked after them."""
        second = chunk.tick.index
        spans = self._opening() if not self._ledger else []
        spans += self._see(chunk, second)
        spans += [self._layout.subtitle(text, second) for text in subtitles]
        self._ledger.extend(spans)
        self._check_length(0, second)
        return self._report(spans, {"decode": chunk.wait_seconds})

    def speak(self, chunk: Chunk) -> Spoken:
        """Append one second of frames to the stream's request and return what is said about it.

        Raises:
            ModelError: The stream is longer than the engine's context.
        """
        second = chunk.tick.index
        spans = self._opening() if not self._ledger else []
        if self._ledger and self._ledger[-1].kind == "assistant_close":
            spans.append(self._layout.newline(self._ledger[-1].second or 0))
        spans.append(self._layout.user_open(second))
        spans += self._see(chunk, second)
        if self._instruct and self._request.narration is not None:
            spans.append(self._layout.query(self._request.narration.instruction, second))
            self._instruct = False
        spans += self._layout.reply_open(second)
        self._ledger.extend(spans)
        limit = self._model.generation.max_new_tokens
        self._check_length(limit, second)
        reply = self._growing.say(self._turn(self._model.generation, limit, second, since=self._sent))
        said = self._layout.reply(reply.ids, second)
        self._ledger.extend(said)
        end = self._layout.tokens.turn_close
        self._carried = [*(token for token in reply.ids[-1:] if token != end), end]
        self._sent = (len(self._ledger), len(self._videos))
        text = self._text(reply.ids)
        stages = {"decode": chunk.wait_seconds, **_stages(reply)}
        before = chunk.wait_seconds
        first = None if reply.first_token is None else before + reply.first_token
        step = self._report(spans, stages, generated=len(reply.ids), first_token=first)
        step = replace(step, token_times=[before + time for time in reply.token_times])
        return Spoken(text, reply.ids, step)

    def ask(self, prompt: str, elicitation: Elicitation, *, key: str) -> Answer:
        """Answer a question over the whole context, in a request of its own; the context stays as it was."""
        if not self._ledger:
            self._ledger.extend(self._opening())
        mark = len(self._ledger)
        second = max((span.second or 0 for span in self._ledger), default=0)
        self._ledger.extend(
            [self._layout.query(prompt, second), *self._layout.reply_open(second, elicitation.prefix)]
        )
        settings = self._model.generation.of_answers
        limit = 1 if elicitation.options else elicitation.max_tokens or settings.answer_tokens
        try:
            self._check_length(limit, second)
            turn = self._turn(settings, limit, key, options=self._option_ids(elicitation))
            context = self._ledger.tokens
        finally:
            self._ledger.truncate(mark)
        reply = self._model.engine.ask(turn)
        if elicitation.options:
            text, count = self._likeliest(reply, elicitation), 0
        else:
            text, count = self._text(reply.ids), len(reply.ids)
        times = reply.token_times if count else ()
        return Answer(text, count, reply.seconds, reply.first_token, _stages(reply), context, token_times=times)

    def _opening(self) -> list[Span]:
        narration = self._request.narration
        if narration is None:
            return [self._layout.system(self._request.system), self._layout.user_open(None)]
        return [self._layout.system(), *self._layout.previous_text(narration.previous_text)]

    def _see(self, chunk: Chunk, second: int) -> list[Span]:
        spans: list[Span] = []
        if self._request.time_stamps:
            origin = 0.0 if self._request.narration is None else self._request.narration.time_origin
            start, end = chunk.tick.start_seconds - origin, chunk.tick.end_seconds - origin
            spans.append(self._layout.time(start, end, second))
        if len(chunk.frames):
            self._videos.append(np.ascontiguousarray(chunk.frames))
            spans += self._layout.vision(self._model.block(chunk.frames), second)
        return spans

    def _turn(
        self,
        settings: GenerationSettings,
        limit: int,
        key: int | str,
        *,
        since: tuple[int, int] = (0, 0),
        options: Sequence[int] = (),
    ) -> Turn:
        spans, videos = since
        ids = list(self._carried) if spans else []
        for span in self._ledger[spans:]:
            # vLLM puts as many placeholders as the frames become.
            ids += [self._layout.tokens.vision] if span.kind == "vision" else [int(i) for i in span.ids]
        return Turn(ids, self._videos[videos:], self._request.fps, self._sampling(settings, limit, key, options))

    def _sampling(
        self, settings: GenerationSettings, limit: int, key: int | str, options: Sequence[int]
    ) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "temperature": settings.temperature,
            "top_k": settings.top_k or -1,
            "top_p": settings.top_p,
            "max_tokens": limit,
            "seed": seed_of(self._request.seed, self._request.sample, key) % 2**63,
            "stop_token_ids": [self._layout.tokens.turn_close],
        }
        if settings.exact_tokens:
            fields |= {"min_tokens": limit, "ignore_eos": True, "stop_token_ids": []}
        if options:
            fields |= {"temperature": 0.0, "logprobs": len(options), "logprob_token_ids": list(options)}
        return fields

    def _option_ids(self, elicitation: Elicitation) -> list[int]:
        encode = self._layout.text.encode
        return [encode(elicitation.lead + option)[-1] for option in elicitation.options]

    def _likeliest(self, reply: Reply, elicitation: Elicitation) -> str:
        """Return the option whose last token has the largest log-probability; of equals the first."""
        found = [reply.logprobs.get(token) for token in self._option_ids(elicitation)]
        if any(value is None for value in found):
            raise ModelError("vLLM returned no log-probability of an option")
        return elicitation.options[int(np.argmax(np.asarray(found, dtype=np.float64)))]

    def _text(self, ids: Sequence[int]) -> str:
        return self._layout.text.decode([i for i in ids if i != self._layout.tokens.turn_close])

    def _check_length(self, more: int, second: int) -> None:
        if self._ledger.tokens + more > self._model.limit:
            raise ModelError(
                f"the stream holds {self._ledger.tokens} tokens in second {second}, and {more} more do not fit "
                f"into {self._model.limit}: raise --set model.max_model_len, or choose a model that forgets"
            )

    def _report(
        self,
        added: Sequence[Span],
        stages: dict[Stage, float],
        *,
        generated: int = 0,
        first_token: float | None = None,
    ) -> StepReport:
        tokens_in: dict[str, int] = {}
        for span in added:
            tokens_in[span.kind] = tokens_in.get(span.kind, 0) + len(span)
        held = self._ledger.tokens if self._sent[0] else 0
        return StepReport(stages, tokens_in, self._ledger.counts, {}, held, generated, first_token)

    def state(self) -> dict[str, Any]:
        """Return the context and its frames; the engine computes them anew on going on."""
        tensors = {f"frames.{number}": torch.from_numpy(frames) for number, frames in enumerate(self._videos)}
        plain = {"ledger": [span.to_json() for span in self._ledger], "instruct": self._instruct}
        return {"tensors": tensors, "json": plain}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what ``state`` returned."""
        self._ledger = Ledger(Span.from_json(value) for value in state["json"]["ledger"])
        self._instruct = state["json"]["instruct"]
        tensors = state["tensors"]
        self._videos = [tensors[f"frames.{number}"].numpy() for number in range(len(tensors))]
        self._sent = (0, 0)

    def close(self) -> None:
        """End the stream's request."""
        self._growing.close()
        self._videos = []


def _stages(reply: Reply) -> dict[Stage, float]:
    """Return where the time went: laying out, the way to the first token, and the rest."""
    first = reply.seconds if reply.first_token is None else reply.first_token
    return {
        "preprocess": reply.prepared,
        "prefill": max(first - reply.prepared, 0.0),
        "generate": max(reply.seconds - first, 0.0),
    }
