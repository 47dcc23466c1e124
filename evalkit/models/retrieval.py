"""One stream under ReKV: frames are read under a local window and kept, questions retrieve what they need."""

from __future__ import annotations

__all__ = ["RetrievalSession", "require_room"]

from collections import Counter
from typing import Any

import numpy as np
import torch

from evalkit.errors import ModelError, UsageError
from evalkit.memory.rekv import Retrieved, StreamDecoder
from evalkit.memory.tensors import WindowBlocks
from evalkit.models.backbone import Backbone
from evalkit.models.generation import TokenChooser, seed_of
from evalkit.models.protocol import Answer, SessionRequest, Spoken, StepReport
from evalkit.models.settings import GenerationSettings
from evalkit.models.vision import SessionVision, VisionSide
from evalkit.records import HeldTokens, RetrievedBlocks
from evalkit.stream import Chunk, Elicitation
from evalkit.timing import StageClock


def require_room(settings: WindowBlocks, block: int) -> None:
    """Refuse a window that does not hold what a question retrieves.

    Args:
        settings: Window and retrieval.
        block: Tokens of a frame.

    Raises:
        UsageError: It would not fit.
    """
    wanted = settings.topk * block
    if wanted > settings.n_local:
        raise UsageError(
            f"topk={settings.topk} frames of {block} tokens are {wanted}, and n_local={settings.n_local} "
            f"holds {settings.n_local // block}: raise n_local or lower topk"
        )


class RetrievalSession:
    """A session over a `StreamDecoder`.

    A stream is the model's opening, then frames without marker or time stamp, as in the released code. What a
    question does leaves no trace.

    Args:
        backbone: The network; its text model is run layer by layer.
        settings: Window, retrieval and protocol.
        generation: How replies are decoded.
        request: What the session is opened for.
        vision: Vision encoder of this session, with its compressors' state.
        told: What was said already, so that a run says it once.
    """

    def __init__(
        self,
        backbone: Backbone,
        settings: WindowBlocks,
        generation: GenerationSettings,
        request: SessionRequest,
        *,
        vision: SessionVision | None = None,
        told: set[str] | None = None,
    ) -> None:
        self._backbone, self._settings, self._generation, self._request = backbone, settings, generation, request
        self._layout = backbone.layout
        self._vision = vision or VisionSide(backbone, _none()).open()
        self._clock = StageClock(backbone.synchronise if backbone.device.type == "cuda" else None)
        network = backbone.network
        text = network.model.language_model
        opening = [self._layout.system(request.system), self._layout.user_open(None)]
        ids = np.concatenate([span.ids for span in opening]).tolist()
        self._decoder = StreamDecoder(text, network.lm_head, settings, ids, text.embed_tokens)
        self._begun = False
        self._seconds: list[int] = []
        self._told = set() if told is None else told

    @property
    def decoder(self) -> StreamDecoder:
        """What stands in memory."""
        return self._decoder

    @torch.inference_mode()
    def observe(self, chunk: Chunk, subtitles: tuple[str, ...] = ()) -> StepReport:
        """Take in one second of frames; each becomes a block that a question can retrieve.

        Raises:
            ModelError: There are subtitles, which this memory has no place for.
        """
        if subtitles:
            raise ModelError("rekv keeps frames alone, no text between them: leave subtitles out")
        self._vision.reports()
        self._clock.start({"decode": chunk.wait_seconds})
        seen = 0
        if len(chunk.frames):
            self._clock.enter("preprocess")
            packed = self._vision.pack(chunk.frames)
            features = self._vision.encode(packed, self._clock)
            self._clock.enter("prefill")
            for block in features.by_frame():
                if not len(block):  # a frame of which nothing was kept is none that a question could retrieve
                    continue
                if not self._begun:
                    self._begin(block.shape[0])
                self._decoder.read_frame(block)
                self._seconds.append(chunk.tick.index)
            seen = features.tokens.shape[0]
        return StepReport(
            stages=self._clock.stop(),
            tokens_in={"vision": seen} if len(chunk.frames) else {},
            kept={"system": self._decoder.n_init, "vision": self._decoder.blocks.tokens},
            evicted={},
            cache_tokens=min(self._decoder.tokens, self._settings.n_local),
            compressors=self._vision.reports(),
            held=self._held(),
        )

    def _held(self) -> HeldTokens:
        blocks = self._decoder.blocks
        return HeldTokens(
            budget=self._settings.n_local,
            active=self._decoder.window.tokens,
            stored=blocks.tokens,
            stored_mib=round(blocks.stored_bytes / 2**20, 3),
        )

    def _begin(self, block: int) -> None:
        """Read the opening.

        Args:
            block: Tokens of a frame.

        Raises:
            UsageError: What a question retrieves would not fit into the window that it is read under.
        """
        require_room(self._settings, block)
        self._decoder.begin(block)
        self._begun = True

    def speak(self, chunk: Chunk) -> Spoken:
        """Refuse: this memory is asked questions.

        Raises:
            ModelError: Always.
        """
        raise ModelError("rekv answers questions and does not narrate")

    @torch.inference_mode()
    def ask(self, prompt: str, elicitation: Elicitation, *, key: str) -> Answer:
        """Retrieve by the question, answer from what was retrieved, and forget both."""
        self._clock.start()
        self._clock.enter("retrieve")
        self._tell_shortage()
        retrieving, asked = self._prompts(prompt, elicitation.prefix)
        limit = elicitation.max_tokens or self._generation.answer_tokens
        memory, _ = self._decoder.retrieve(retrieving, room=len(asked) + limit)
        found = self._found(memory)
        self._clock.enter("prefill")
        logits = self._decoder.extend(memory, asked)[None]
        context = max(memory.lengths())
        if elicitation.options:
            encode = self._layout.text.encode
            ids = [encode(elicitation.lead + option)[-1] for option in elicitation.options]
            text, count = elicitation.options[int(logits[0, ids].argmax())], 0
            times = [self._clock.elapsed()]
        else:
            said, times = self._generate(memory, logits, asked, limit, key)
            text = self._layout.text.decode([i for i in said if i != self._layout.tokens.turn_close])
            count = len(said)
        stages = self._clock.stop()
        spoken = times if count else ()
        return Answer(
            text, count, sum(stages.values()), times[0], stages, context, token_times=spoken, retrieved=found
        )

    def _tell_shortage(self) -> None:
        """Say once that a question gets all there is, where that is less than what is retrieved."""
        topk, stored = self._settings.topk, self._decoder.frames
        if 0 < stored < topk and "topk" not in self._told and self._request.warn is not None:
            self._told.add("topk")
            self._request.warn(
                f"topk={topk} and {stored} frames are stored: a question gets all of them (said once)"
            )

    def _found(self, memory: Retrieved) -> RetrievedBlocks:
        layers = Counter(self._seconds[block] for blocks in memory.blocks for block in blocks)
        return RetrievedBlocks(
            most=self._settings.topk,
            stored=self._decoder.frames,
            blocks=tuple(map(len, memory.blocks)),
            tokens=tuple(length - self._decoder.n_init for length in memory.lengths()),
            seconds=tuple(sorted(layers.items())),
        )

    def _prompts(self, prompt: str, prefix: str) -> tuple[list[int], list[int]]:
        """Return the ids that retrieve and the ids of the answer prompt, by the protocol's own form."""
        encode = self._layout.text.encode
        if self._settings.protocol == "stc":
            bare = encode(prompt + prefix)
            return encode(prompt), bare
        spans = [self._layout.query(prompt, 0), *self._layout.reply_open(0, prefix)]
        question = prompt.partition("\nOptions:")[0].removeprefix("Question: ")
        return encode(question), np.concatenate([span.ids for span in spans]).tolist()

    def _generate(
        self, memory: Retrieved, logits: torch.Tensor, asked: list[int], limit: int, key: str
    ) -> tuple[list[int], list[float]]:
        self._clock.enter("generate")
        end = self._layout.tokens.turn_close
        context = torch.tensor(sorted(set(asked)), device=logits.device)
        seed = seed_of(self._request.seed, self._request.sample, key)
        chooser = TokenChooser(self._generation.of_answers, context, limit, seed)
        logits = logits.clone()
        if self._settings.protocol == "stc":  # there the first token may not end the reply
            logits[:, end] = -torch.inf
        said: list[int] = []
        times: list[float] = []
        while True:
            said.append(int(chooser.choose(logits)))
            times.append(self._clock.elapsed())
            if len(said) == limit or (said[-1] == end and not self._generation.exact_tokens):
                return said, times
            logits = self._decoder.extend(memory, said[-1:])[None]

    @torch.inference_mode()
    def state(self) -> dict[str, Any]:
        """Return everything a checkpoint needs; the kept frames are the largest part of it by far."""
        tensors = self._decoder.state()
        vision = self._vision.state()
        tensors |= {f"vision.{name}": value for name, value in vision["tensors"].items()}
        plain = {
            "tokens": self._decoder.tokens,
            "seconds": self._seconds,
            "begun": self._begun,
            "vision": vision["json"],
        }
        return {"tensors": tensors, "json": plain}

    @torch.inference_mode()
    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what ``state`` returned."""
        plain, tensors = state["json"], state["tensors"]
        self._begun = plain["begun"]
        below = {name.removeprefix("vision."): one for name, one in tensors.items() if name.startswith("vision.")}
        self._vision.restore({"tensors": below, "json": plain["vision"]})
        self._seconds = list(plain["seconds"])
        self._decoder.restore(tensors, plain["tokens"])

    def close(self) -> None:
        """Free what the session holds."""
        self._decoder.blocks.clear()


def _none() -> Any:
    from evalkit.compress import CompressionSpec

    return CompressionSpec()
