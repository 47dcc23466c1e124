"""One stream through a backbone under a memory policy: turns are written, evicted, prefilled and spoken."""

from __future__ import annotations

__all__ = ["PREFILL_BLOCK", "CachedSession", "PrefillTrace", "SessionTrace"]

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from evalkit.errors import ModelError
from evalkit.memory import Ledger, MemoryPolicy, Plan, PositionRule, Span, assign, follow
from evalkit.models.backbone import Backbone, Features, Packed
from evalkit.models.generation import TokenChooser, seed_of
from evalkit.models.layout import VisionBlock
from evalkit.models.protocol import Answer, SessionRequest, Spoken, StepReport
from evalkit.models.settings import GenerationSettings
from evalkit.models.vision import SessionVision
from evalkit.stream import Chunk, Elicitation
from evalkit.timing import StageClock


@dataclass(frozen=True, slots=True)
class PrefillTrace:
    """What stood in the context when a reply began.

    Args:
        ids: The whole context, ``(L,)``.
        cached: Tokens that were cached before.
        positions: Positions of the whole context, ``(3, L)``.
        logits: Raw logits at the last position, ``(vocabulary,)``.
    """

    ids: NDArray[np.int64]
    cached: int
    positions: NDArray[np.float32]
    logits: torch.Tensor


class SessionTrace(Protocol):
    """Somebody who watches a session."""

    def prefilled(self, trace: PrefillTrace) -> None:
        """Take note of a prefill."""

    def replied(self, ids: Sequence[int], cached: int) -> None:
        """Take note of a reply and of the cache length after it."""


PREFILL_BLOCK = 2048
"""Tokens the network is given at once. Between two blocks a stop is heard; a usual second fits into one."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """A point of the memory to go back to."""

    spans: int
    cached: int
    next_position: float


class CachedSession:
    """A session over a ledger and a SpanCache.

    Args:
        backbone: The network.
        policy: The memory policy.
        generation: How replies are decoded.
        request: What the session is opened for.
        vision: Vision encoder of this session, with its compressors' state.
        trace: Somebody who watches.
    """

    def __init__(
        self,
        backbone: Backbone,
        policy: MemoryPolicy,
        generation: GenerationSettings,
        request: SessionRequest,
        *,
        vision: SessionVision | None = None,
        trace: SessionTrace | None = None,
    ) -> None:
        self._backbone = backbone
        self._layout = backbone.layout
        self._policy = policy
        self._generation = generation
        self._request = request
        self._vision = vision or SessionVision(backbone)
        self._trace = trace
        self._cache = backbone.new_cache(rebases=policy.rebases)
        self._clock = StageClock(backbone.synchronise if backbone.device.type == "cuda" else None)
        self._ledger = Ledger()
        self._next_position = 0.0
        self._second = -1
        self._next_block = 0
        self._instruct = request.narration is not None
        self._features: dict[int, Features] = {}
        self._pixels: dict[int, Packed] = {}

    @property
    def ledger(self) -> Ledger:
        """What stands in the context."""
        return self._ledger

    @property
    def cache_tokens(self) -> int:
        """Keys per layer."""
        return self._cache.length

    @torch.inference_mode()
    def observe(self, chunk: Chunk, subtitles: tuple[str, ...] = ()) -> StepReport:
        """Take in one second of frames, as part of one long user turn."""
        self._begin(chunk)
        second = chunk.tick.index
        evicted = self._forget(second)
        spans = self._opening() if not self._ledger else []
        spans += self._see(chunk, second)
        spans += [self._layout.subtitle(text, second) for text in subtitles]
        self._ledger.extend(spans)
        if any(map(len, spans)) and not self._policy.recompute:
            self._prefill()
        return self._report(spans, evicted)

    def take(self, features: Features) -> None:
        """Take in vision tokens that were made elsewhere; they are prefilled with the next question."""
        spans = [] if self._ledger else self._opening()
        number, self._next_block = self._next_block, self._next_block + 1
        self._features[number] = features
        block = VisionBlock(features.grid, features.rows, number=number)
        self._ledger.extend([*spans, *self._layout.vision(block, max(self._second, 0))])

    @torch.inference_mode()
    def speak(self, chunk: Chunk) -> Spoken:
        """Take in one second of frames in a turn of its own and say something about it."""
        self._begin(chunk)
        second = chunk.tick.index
        evicted = self._forget(second)
        spans = self._next_turn() if self._ledger else self._opening()
        spans.append(self._layout.user_open(second))
        spans += self._see(chunk, second)
        if self._instruct and self._request.narration is not None:
            spans.append(self._layout.query(self._request.narration.instruction, second))
            self._instruct = False
        spans += self._layout.reply_open(second)
        self._ledger.extend(spans)
        logits = self._first_logits()
        limit = self._generation.max_new_tokens
        ids, times = self._generate(logits, limit, self._generation, seed=self._seed(second))
        self._ledger.extend(self._kept(ids, second))
        if self._trace is not None:
            self._trace.replied(ids, self._cache.length)
        text = self._layout.text.decode([i for i in ids if i != self._layout.tokens.turn_close])
        step = self._report(spans, evicted, token_times=times)
        return Spoken(text, ids, step)

    @torch.inference_mode()
    def ask(self, prompt: str, elicitation: Elicitation, *, key: str) -> Answer:
        """Answer a question from the memory and leave the memory as it was, token for token."""
        self._clock.start()
        if not self._ledger:
            self._ledger.extend(self._opening())
        mark = _Mark(len(self._ledger), self._cache.length, self._next_position)
        second = max(self._second, 0)
        self._ledger.extend(
            [self._layout.query(prompt, second), *self._layout.reply_open(second, elicitation.prefix)]
        )
        logits = self._first_logits()
        context = self._ledger.tokens
        if elicitation.options:
            text, count, times = self._likeliest(logits, elicitation), 0, [self._clock.elapsed()]
        else:
            limit = elicitation.max_tokens or self._generation.answer_tokens
            ids, times = self._generate(logits, limit, self._generation.of_answers, seed=self._seed(key))
            text = self._layout.text.decode([i for i in ids if i != self._layout.tokens.turn_close])
            count = len(ids)
        self._clock.enter("cache")
        self._return_to(mark)
        stages = self._clock.stop()
        said_at = times if count else ()
        return Answer(text, count, sum(stages.values()), times[0], stages, context, token_times=said_at)

    def fork(self) -> CachedSession:
        """Return a session that answers from this one's memory while other questions are asked of it, too.

        This session must not go on before the answers are there.
        """
        other = copy.copy(self)
        other._ledger = Ledger(self._ledger)
        other._cache = self._cache.fork()
        other._clock = StageClock(self._backbone.synchronise if self._backbone.device.type == "cuda" else None)
        other._features = dict(self._features)
        return other

    def _seed(self, key: int | str) -> int:
        return seed_of(self._request.seed, self._request.sample, key)

    def _begin(self, chunk: Chunk) -> None:
        self._vision.reports()  # What a question had encoded again belongs to no second.
        self._clock.start({"decode": chunk.wait_seconds})

    def _opening(self) -> list[Span]:
        narration = self._request.narration
        if narration is None:
            return [self._layout.system(self._request.system), self._layout.user_open(None)]
        opening = Ledger([self._layout.system(), *self._layout.previous_text(narration.previous_text)])
        plan = self._policy.plan_opening(opening)
        return list(opening if plan.keeps_everything else opening.apply(plan)[0])

    def _next_turn(self) -> list[Span]:
        """Return what stands between a reply and the next turn: the newline that the reply's end has not."""
        last = self._ledger[-1]
        return [self._layout.newline(last.second)] if last.kind == "assistant_close" else []

    def _kept(self, ids: Sequence[int], second: int) -> list[Span]:
        """Return what of a reply stays in the context."""
        return self._layout.reply(ids, second)

    @property
    def _rule(self) -> PositionRule:
        """How positions are counted now."""
        return self._backbone.positions

    def _planned(self, plan: Plan) -> Plan:
        """Return a plan that is one.

        Raises:
            ModelError: The policy returned something else.
        """
        if not isinstance(plan, Plan):
            raise ModelError(
                f"memory policy {type(self._policy).__name__}: plan() returned {type(plan).__name__}, "
                "not evalkit.memory.Plan"
            )
        return plan

    def _forget(self, second: int) -> dict[str, int]:
        """Carry the policy's plan out; return the tokens evicted by kind."""
        if second == self._second:
            return {}
        self._clock.enter("cache")
        self._second = second
        plan = self._planned(self._policy.plan(self._ledger, second))
        if plan.keeps_everything:
            return {}
        evicted = self._ledger.evicted(plan)
        self._ledger, index = self._ledger.apply(plan)
        cached = index[index < self._cache.length]
        if self._policy.positions == "contiguous":
            positions, self._next_position = assign(self._ledger, self._rule)
            self._next_position -= positions.shape[1] - len(cached)
            if not self._policy.recompute:
                self._cache.keep(cached, positions[:, : len(cached)])
        else:
            self._cache.keep(cached, None)
        blocks = {span.block for span in self._ledger if span.kind == "vision"}
        self._features = {block: kept for block, kept in self._features.items() if block in blocks}
        self._pixels = {block: kept for block, kept in self._pixels.items() if block in blocks}
        self._instruct = self._instruct or (plan.restart and self._request.narration is not None)
        return evicted

    def _see(self, chunk: Chunk, second: int) -> list[Span]:
        """Encode a second's frames; return its time stamp and vision spans."""
        spans: list[Span] = []
        if self._request.time_stamps:
            origin = 0.0 if self._request.narration is None else self._request.narration.time_origin
            start, end = chunk.tick.start_seconds - origin, chunk.tick.end_seconds - origin
            spans.append(self._layout.time(start, end, second))
        if len(chunk.frames):
            self._clock.enter("preprocess")
            packed = self._vision.pack(chunk.frames)
            features = self._vision.encode(packed, self._clock)
            number, self._next_block = self._next_block, self._next_block + 1
            if len(features.tokens):
                self._features[number] = features
                if self._policy.reencodes:
                    self._pixels[number] = packed
            step = self._backbone.temporal_step(self._request.fps)
            spans += self._layout.vision(VisionBlock(features.grid, features.rows, step, number), second)
            if self._request.whole_clip and self._backbone.clip_end is not None:
                spans += self._end_clip(self._backbone.clip_end, second)
        return spans

    def _end_clip(self, end: torch.Tensor, second: int) -> list[Span]:
        number, self._next_block = self._next_block, self._next_block + 1
        self._features[number] = Features(end, (1, 1, 1))
        return self._layout.vision(VisionBlock((1, 1, 1), number=number), second)

    def _first_logits(self) -> torch.Tensor:
        """Prefill what is not cached yet and return the logits of the last token, ``(1, vocabulary)``."""
        cached = self._cache.length
        hidden = self._prefill()
        logits = self._backbone.logits(hidden)
        if self._trace is not None:
            cached = 0 if self._policy.recompute else cached
            self._trace.prefilled(
                PrefillTrace(self._ledger.ids(), cached, self._cache.positions, logits[0].clone())
            )
        return logits

    def _prefill(self) -> torch.Tensor:
        """Run the model over every token that is not cached; return the last hidden state."""
        if self._policy.recompute:
            self._cache.clear()
            self._next_position = 0.0
            if self._policy.reencodes:
                self._encode_again()
        self._clock.enter("prefill")
        spans = self._pending()
        positions, after = assign(spans, self._rule, self._next_position)
        self._cache.expect(positions)
        placed = torch.from_numpy(np.ascontiguousarray(positions)).to(self._backbone.device)
        total = positions.shape[1]
        for start in range(0, total, PREFILL_BLOCK):
            if start and self._request.heartbeat is not None:
                self._request.heartbeat()
            block = slice(start, min(start + PREFILL_BLOCK, total))
            hidden = self._backbone.forward(self._embed(spans, block)[None], placed[:, block], self._cache)
        self._next_position = after
        if not self._policy.recompute:
            self._features.clear()
        return hidden

    def _embed(self, spans: Sequence[Span], block: slice) -> torch.Tensor:
        """Return the embeddings of a part of the spans' tokens, ``(tokens, hidden)``, vision from its features."""
        ids = np.concatenate([span.ids for span in spans])[block]
        embeddings = self._backbone.embed(torch.from_numpy(ids).to(self._backbone.device))
        begin = -block.start
        for span in spans:
            first, stop = max(begin, 0), min(begin + len(span), len(ids))
            if span.block is not None and first < stop:
                seen = self._features[span.block].tokens[first - begin : stop - begin]
                embeddings[first:stop] = seen.to(embeddings.dtype)
            begin += len(span)
        return embeddings

    def _pending(self) -> list[Span]:
        """Return the spans that are not cached yet; the first may be the rest of one that is in part."""
        left = self._ledger.tokens - self._cache.length
        number = len(self._ledger)
        while left > 0:
            number -= 1
            left -= len(self._ledger[number])
        first, *others = self._ledger[number:]
        return [first.cut(-left, len(first)), *others]

    def _encode_again(self) -> None:
        newest = max(self._pixels, default=-1)
        older = {number: packed for number, packed in self._pixels.items() if number != newest}
        window = ((packed, self._features[number].rows) for number, packed in older.items())
        again = list(self._vision.encode_window(window, self._clock))
        self._features |= zip(older, again, strict=True)

    def _generate(
        self, logits: torch.Tensor, limit: int, settings: GenerationSettings, *, seed: int
    ) -> tuple[list[int], list[float]]:
        """Say at most ``limit`` tokens; return them and the seconds to each.

        The ids stay a list: CPython 3.11 keeps up to 2,000 freed tuples of 20 and uses none of them again.
        """
        self._clock.enter("generate")
        device, end = self._backbone.device, self._layout.tokens.turn_close
        context = torch.from_numpy(np.unique(self._ledger.ids())).to(device)
        chooser = TokenChooser(settings, context, limit, seed)
        fed = self._cache.length
        positions = follow(self._next_position - 1, limit)
        self._cache.expect(positions)
        placed = torch.from_numpy(positions).to(device)
        ids: list[int] = []
        times: list[float] = []
        while True:
            token = self._backbone.choose(chooser, logits)
            ids.append(int(token))
            times.append(self._clock.elapsed())
            if len(ids) == limit or (ids[-1] == end and not settings.exact_tokens):
                break
            hidden = self._backbone.forward(
                self._backbone.embed(token)[None], placed[:, len(ids) - 1 : len(ids)], self._cache
            )
            logits = self._backbone.logits(hidden)
        self._cache.rewind(fed + len(ids) - 1)
        self._next_position += len(ids) - 1
        return ids, times

    def _likeliest(self, logits: torch.Tensor, elicitation: Elicitation) -> str:
        """Return the option whose last token has the largest logit; of equals the first."""
        encode = self._layout.text.encode
        ids = [encode(elicitation.lead + option)[-1] for option in elicitation.options]
        return elicitation.options[int(logits[0, ids].argmax())]

    def _return_to(self, mark: _Mark) -> None:
        self._ledger.truncate(mark.spans)
        self._cache.rewind(0 if self._policy.recompute else mark.cached)
        self._next_position = mark.next_position

    def _report(
        self,
        added: list[Span],
        evicted: dict[str, int],
        *,
        token_times: Sequence[float] = (),
    ) -> StepReport:
        tokens_in: dict[str, int] = {}
        for span in added:
            tokens_in[span.kind] = tokens_in.get(span.kind, 0) + len(span)
        return StepReport(
            stages=self._clock.stop(),
            tokens_in=tokens_in,
            kept=self._ledger.counts,
            evicted=evicted,
            cache_tokens=self._cache.length,
            generated=len(token_times),
            first_token=token_times[0] if token_times else None,
            token_times=token_times,
            compressors=self._vision.reports(),
        )

    @torch.inference_mode()
    def state(self) -> dict[str, Any]:
        """Return everything a checkpoint needs."""
        tensors = {f"cache.{name}": value for name, value in self._cache.state().items()}
        for block, features in self._features.items():
            tensors[f"features.{block}"] = features.tokens
        for block, packed in self._pixels.items():
            tensors[f"pixels.{block}"] = packed.pixels
        vision = self._vision.state()
        tensors |= {f"vision.{name}": value for name, value in vision["tensors"].items()}
        shapes = {
            "features": {
                b: [f.grid, None if f.rows is None else f.rows.tolist()] for b, f in self._features.items()
            },
            "pixels": {b: p.grid for b, p in self._pixels.items()},
        }
        plain = {
            "ledger": [span.to_json() for span in self._ledger],
            "next_position": self._next_position,
            "second": self._second,
            "next_block": self._next_block,
            "instruct": self._instruct,
            "vision": vision["json"],
            **shapes,
        }
        return {"tensors": tensors, "json": plain}

    @torch.inference_mode()
    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what ``state`` returned."""
        plain, tensors = state["json"], state["tensors"]
        self._ledger = Ledger(Span.from_json(value) for value in plain["ledger"])
        self._next_position = plain["next_position"]
        self._second = plain["second"]
        self._next_block = plain["next_block"]
        self._instruct = plain["instruct"]
        self._cache.restore(_below(tensors, "cache."))
        self._vision.restore({"tensors": _below(tensors, "vision."), "json": plain["vision"]})
        device = self._backbone.device
        for block, (grid, rows) in plain["features"].items():
            kept = None if rows is None else np.asarray(rows, dtype=np.int64)
            tokens = tensors[f"features.{block}"].to(device)
            self._features[int(block)] = Features(tokens, (grid[0], grid[1], grid[2]), kept)
        for block, grid in plain["pixels"].items():
            self._pixels[int(block)] = Packed(tensors[f"pixels.{block}"], (grid[0], grid[1], grid[2]))

    def close(self) -> None:
        """Free what the session holds."""
        self._cache.clear()
        self._features.clear()
        self._pixels.clear()


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
