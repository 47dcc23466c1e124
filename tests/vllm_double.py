"""An engine that keeps vLLM's contract by the plainest means: the whole context computed anew for every token.

A growing request's context is what was put in and said but the last token of each turn, as vLLM 0.32 has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from evalkit.memory import Span, assign
from evalkit.models.vllm.engine import Reply, Turn


class PlainEngine:
    """Stands in for `evalkit.models.vllm.engine.Engine`.

    Args:
        backbone: A loaded Qwen network.
    """

    def __init__(self, backbone: Any) -> None:
        self.backbone = backbone
        self.tokenizer = backbone.layout.text._tokenizer
        self.config = backbone.network.config
        self.device, self.dtype = "cpu", "float32"
        self.turns: list[Turn] = []
        self.closed = False

    def ask(self, turn: Turn) -> Reply:
        self.turns.append(turn)
        return self.reply(list(turn.ids), list(turn.videos), turn)

    def grow(self) -> PlainStream:
        return PlainStream(self)

    def close(self) -> None:
        self.closed = True

    @torch.inference_mode()
    def reply(self, ids: list[int], videos: Sequence[Any], turn: Turn) -> Reply:
        sampling = turn.sampling
        assert sampling["temperature"] == 0
        reply = Reply(first_token=0.2, seconds=0.5, prepared=0.1, finish="length")
        for _ in range(sampling["max_tokens"]):
            logits = self._logits([*ids, *reply.ids], videos, turn.fps)
            if not reply.ids:
                spread = logits.log_softmax(-1)
                reply.logprobs = {token: float(spread[token]) for token in sampling.get("logprob_token_ids", ())}
            reply.ids.append(int(logits.argmax()))
            if reply.ids[-1] in sampling["stop_token_ids"]:
                reply.finish = "stop"
                break
        return reply

    def _logits(self, ids: list[int], videos: Sequence[Any], fps: float) -> torch.Tensor:
        backbone = self.backbone
        pad, spans, features, text = backbone.layout.tokens.vision, [], [], []
        left = list(videos)
        for token in [*ids, None]:
            if token is not None and token != pad:
                text.append(token)
                continue
            if text:
                spans.append(Span("query", np.asarray(text, dtype=np.int64)))
                text = []
            if token == pad:
                packed = backbone.pack(left.pop(0))
                step = backbone.temporal_step(fps)
                count = int(np.prod(packed.grid))
                spans.append(Span("vision", np.full(count, pad), grid=packed.grid, temporal_step=step))
                features.append(backbone.encode(packed))
        assert not left, "more videos than placeholders"
        everything = np.concatenate([span.ids for span in spans])
        embeddings = backbone.embed(torch.from_numpy(everything)).clone()
        if features:
            embeddings[torch.from_numpy(everything == pad)] = torch.cat(features)
        positions, _ = assign(spans, backbone.positions)
        cache = backbone.new_cache(rebases=False)
        cache.expect(positions)
        hidden = backbone.forward(embeddings[None], torch.from_numpy(np.ascontiguousarray(positions)), cache)
        logits: torch.Tensor = backbone.logits(hidden)[0]
        return logits


class PlainStream:
    """A growing request."""

    def __init__(self, engine: PlainEngine) -> None:
        self._engine = engine
        self._ids: list[int] = []
        self._videos: list[Any] = []

    def say(self, turn: Turn) -> Reply:
        self._engine.turns.append(turn)
        self._ids += turn.ids
        self._videos += turn.videos
        reply = self._engine.reply(self._ids, self._videos, turn)
        self._ids += reply.ids[:-1]
        return reply

    def close(self) -> None:
        self._ids = []
