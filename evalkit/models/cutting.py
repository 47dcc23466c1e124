"""One stream under a memory that cuts its keys and values: each layer and head chooses what of frames stays."""

from __future__ import annotations

__all__ = ["CuttingSession"]

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evalkit.errors import ModelError, UsageError
from evalkit.memory import Ledger, Span, assign
from evalkit.memory.tensors import LayerTokens, TensorMemory
from evalkit.models.backbone import Backbone
from evalkit.models.protocol import Answer, StepReport
from evalkit.models.session import PREFILL_BLOCK, CachedSession
from evalkit.records import HeldTokens
from evalkit.stream import Chunk, Elicitation

_GO_WITH_FRAMES = ("time", "vision_open", "vision_close")


@dataclass(frozen=True, slots=True)
class _Cut:
    """Which cached tokens stay before and behind the frames', and which are the frames'.

    Args:
        before: Places of text that stands before the first frame.
        vision: Places of all frames' tokens.
        after: Places of text that stands behind.
        opening: Spans of ``before``.
        closing: Spans of ``after``; the last may hold tokens that are not cached yet.
    """

    before: NDArray[np.int64]
    vision: NDArray[np.int64]
    after: NDArray[np.int64]
    opening: list[Span]
    closing: list[Span]

    @classmethod
    def of(cls, ledger: Ledger, cached: int, per_frame: int) -> _Cut:
        """Sort a ledger's spans: of the marks and time stamps of frames the outermost marks stay alone.

        The released code knows one run of frames between one pair of marks, with no text inside. Frames that are
        not cached yet stay, and so does a token that ends a clip.
        """
        starts = np.cumsum([0, *(len(span) for span in ledger)])
        frames = [one for one, span in enumerate(ledger) if starts[one] < cached and _of_frames(span, per_frame)]
        kinds = [span.kind for span in ledger]
        outermost = (_first(kinds, "vision_open"), _last(kinds, "vision_close"))
        gone = {one for one, kind in enumerate(kinds) if kind in _GO_WITH_FRAMES and one not in outermost}
        places = [np.arange(starts[one], starts[one + 1]) for one in range(len(ledger))]
        text = [one for one in range(len(ledger)) if one not in gone and one not in frames]
        before, after = [one for one in text if one < frames[0]], [one for one in text if one > frames[0]]
        joined = [
            np.concatenate([np.empty(0, dtype=np.int64), *(places[one] for one in some)])
            for some in (before, frames, after)
        ]
        behind = joined[2][joined[2] < cached]
        return cls(joined[0], joined[1], behind, [ledger[one] for one in before], [ledger[one] for one in after])


class CuttingSession(CachedSession):
    """A session whose frames' keys and values are cut to a budget; see `CachedSession` for its arguments.

    Nothing is cut until the next second would not fit; then each layer and head keeps what its memory chooses.
    Questions see what stands, and leave it so. Text stays, but for what marks the frames.
    """

    _policy: TensorMemory

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._gone: Counter[str] = Counter()
        self._frames = 0
        self._newest = 0
        self._queries: list[torch.Tensor] = []
        self._grid: tuple[int, int] | None = None

    def _forget(self, second: int) -> dict[str, int]:
        super()._forget(second)
        if self._frames + self._newest <= self._policy.most_frames or self._request.whole_clip:
            return {}
        self._clock.enter("cache")
        return self._cut(second)

    def _cut(self, second: int) -> dict[str, int]:
        """Have every layer choose, and carry it out; return the tokens evicted by kind."""
        assert self._grid is not None
        cut = _Cut.of(self._ledger, self._cache.length, self._grid[0] * self._grid[1])
        chosen = self._chosen(cut.vision)
        self._cache.keep_by_head(cut.before, chosen, cut.after)
        before = self._ledger.counts
        kept = chosen.shape[2]
        pool = Span("vision", np.full(kept, self._layout.tokens.vision, dtype=np.int64), second - 1)
        self._ledger = Ledger([*cut.opening, pool, *cut.closing])
        self._frames = kept // (self._grid[0] * self._grid[1])
        gone = {kind: count - self._ledger.counts.get(kind, 0) for kind, count in before.items()}
        return {kind: count for kind, count in gone.items() if count}

    def _chosen(self, vision: NDArray[np.int64]) -> torch.Tensor:
        """Return the cached places that stay of the frames, ``(layers, kv_heads, kept)``.

        Raises:
            ModelError: The memory's choice is none that can be carried out.
        """
        assert self._grid is not None
        layers = len(self._cache.layers)
        places = torch.from_numpy(vision).to(self._backbone.device)
        grid = (self._frames, *self._grid)
        found: list[torch.Tensor] = []
        for layer in range(layers):
            keys, values = self._cache.keys[layer][:, places], self._cache.values[layer][:, places]
            queries = self._queries[layer] if self._queries else None
            picked = self._policy.select(LayerTokens(layer, layers, keys, values, queries, grid))
            self._check(picked, found[0].shape if found else None, keys)
            found.append(places[picked])
        return torch.stack(found)

    def _check(self, picked: torch.Tensor, others: torch.Size | None, keys: torch.Tensor) -> None:
        assert self._grid is not None
        name, per_frame = type(self._policy).__name__, self._grid[0] * self._grid[1]
        if picked.ndim != 2 or picked.shape[0] != keys.shape[0] or others not in (None, picked.shape):
            raise ModelError(
                f"{name}.select gave {tuple(picked.shape)}: as many in each head and layer are wanted"
            )
        kept = picked.shape[1]
        room = self._policy.most_frames - self._newest
        if kept % per_frame or not 0 < kept <= room * per_frame:
            raise ModelError(
                f"{name}.select keeps {kept} tokens: whole frames of {per_frame} are wanted, 1 to {room} of them"
            )
        inside = (picked[:, 0] >= 0) & (picked[:, -1] < keys.shape[1])
        if not bool(inside.all() and (picked.diff(dim=1) > 0).all()):
            raise ModelError(f"{name}.select gave places out of order, or beyond the {keys.shape[1]} there are")

    def _see(self, chunk: Chunk, second: int) -> list[Span]:
        spans = super()._see(chunk, second)
        for span in spans:
            if span.grid is not None and (self._grid is None or _of_frames(span, self._grid[0] * self._grid[1])):
                self._refuse_pruned(span)
                self._count(span.grid)
        return spans

    def _refuse_pruned(self, span: Span) -> None:
        full = 0 if span.grid is None else int(np.prod(span.grid))
        if span.rows is not None and len(span.rows) < full:
            raise UsageError(
                f"{len(span.rows)} of {full} tokens of a second's frames are left, and this memory scores them by "
                "their place in a frame: --compress cacher or none goes with it"
            )

    def _count(self, grid: tuple[int, int, int]) -> None:
        frames, height, width = grid
        if self._grid not in (None, (height, width)):
            raise ModelError(
                f"frames of {height}x{width} tokens after ones of {self._grid}: a stream has one size"
            )
        self._grid = (height, width)
        if self._request.whole_clip:  # counted as they are prefilled
            self._newest = 1
            return
        if not self._frames and 2 * frames > self._policy.most_frames:
            raise UsageError(
                f"a second brings {frames} frames, and the memory holds {self._policy.most_frames}: raise "
                "memory.frames and memory.between, or lower the frame rate"
            )
        self._frames += frames
        self._newest = frames

    def _prefill(self) -> torch.Tensor:
        if not self._policy.wants_queries:
            return self._in_pieces()
        with watched_queries(self._backbone) as watched:
            hidden = self._in_pieces()
        count = sum(part.shape[1] for part in watched[0])
        positions = self._cache.positions[:, -count:]
        self._queries = [self._cache.turned(torch.cat(parts, dim=1), positions) for parts in watched]
        return hidden

    def _in_pieces(self) -> torch.Tensor:
        """Prefill what is not cached; of a whole clip as many frames at once as fit, cutting in between.

        Every token stands where it would in one prefill, as in the released code.
        """
        if not self._request.whole_clip:
            return super()._prefill()
        spans = self._pending()
        positions, after = assign(spans, self._rule, self._next_position)
        begun = 0
        for stop in self._stops(spans):
            hidden = self._run(spans, positions, slice(begun, stop))
            if stop < positions.shape[1]:
                self._clock.enter("cache")
                self._ledger = self._parted()
                self._gone.update(self._cut(self._second + 1))
            begun = stop
        self._next_position = after
        self._features.clear()
        return hidden

    def _stops(self, spans: Sequence[Span]) -> Iterator[int]:
        """Yield how many of the spans' tokens are prefilled before each cut, and at last all of them."""
        reached = 0
        for span in spans:
            frames = 0
            if (
                self._grid is not None
                and span.grid is not None
                and _of_frames(span, self._grid[0] * self._grid[1])
            ):
                frames = span.grid[0]
            per_frame = len(span) // frames if frames else 0
            while frames:
                if self._frames == self._policy.most_frames:
                    yield reached
                taken = min(frames, self._policy.most_frames - self._frames)
                reached += taken * per_frame
                self._frames += taken
                frames -= taken
            reached += 0 if per_frame else len(span)
        yield reached

    def _run(self, spans: Sequence[Span], positions: NDArray[np.float32], part: slice) -> torch.Tensor:
        self._clock.enter("prefill")
        self._cache.expect(positions[:, part])
        placed = torch.from_numpy(np.ascontiguousarray(positions)).to(self._backbone.device)
        for start in range(part.start, part.stop, PREFILL_BLOCK):
            if start and self._request.heartbeat is not None:
                self._request.heartbeat()
            block = slice(start, min(start + PREFILL_BLOCK, part.stop))
            hidden = self._backbone.forward(self._embed(spans, block)[None], placed[:, block], self._cache)
        return hidden

    def _parted(self) -> Ledger:
        """Return the ledger with the span that is cached in part as two."""
        spans: list[Span] = []
        begin, cached = 0, self._cache.length
        for span in self._ledger:
            left = cached - begin
            inside = 0 < left < len(span)
            spans += [span.cut(0, left), span.cut(left, len(span))] if inside else [span]
            begin += len(span)
        return Ledger(spans)

    def ask(self, prompt: str, elicitation: Elicitation, *, key: str) -> Answer:
        """Answer a question from what stands, and leave it as it was; see `CachedSession.ask`."""
        queries = self._queries
        try:
            return super().ask(prompt, elicitation, key=key)
        finally:
            self._queries = queries

    def _report(
        self, added: list[Span], evicted: dict[str, int], *, token_times: Sequence[float] = ()
    ) -> StepReport:
        evicted = dict(self._gone + Counter(evicted))
        self._gone.clear()
        report = super()._report(added, evicted, token_times=token_times)
        per_frame = 0 if self._grid is None else self._grid[0] * self._grid[1]
        active = sum(len(span) for span in self._ledger if _of_frames(span, per_frame))
        held = HeldTokens(budget=self._policy.most_frames * per_frame, active=active)
        return replace(report, held=held)

    def state(self) -> dict[str, Any]:
        """Return everything a checkpoint needs."""
        state = super().state()
        state["tensors"] |= {f"queries.{layer}": one for layer, one in enumerate(self._queries)}
        state["json"] |= {"frames": self._frames, "newest": self._newest, "frame_grid": self._grid}
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what ``state`` returned."""
        super().restore(state)
        plain, tensors = state["json"], state["tensors"]
        self._frames, self._newest = plain["frames"], plain["newest"]
        self._grid = None if plain["frame_grid"] is None else (plain["frame_grid"][0], plain["frame_grid"][1])
        layers = sum(name.startswith("queries.") for name in tensors)
        self._queries = [tensors[f"queries.{layer}"].to(self._backbone.device) for layer in range(layers)]


@contextmanager
def watched_queries(backbone: Backbone) -> Iterator[list[list[torch.Tensor]]]:
    """Collect the queries of every layer while the network runs, by each query projection's forward hook.

    Yields:
        Per layer what each call gave, ``(heads, new, head_dim)``, un-rotated.
    """
    layers = backbone.network.model.language_model.layers
    found: list[list[torch.Tensor]] = [[] for _ in layers]

    def hook(number: int, width: int) -> Any:
        def collect(module: Any, inputs: Any, output: torch.Tensor) -> None:
            found[number].append(output[0].unflatten(-1, (-1, width)).transpose(0, 1))

        return collect

    handles = [
        layer.self_attn.q_proj.register_forward_hook(hook(number, layer.self_attn.head_dim))
        for number, layer in enumerate(layers)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _of_frames(span: Span, per_frame: int) -> bool:
    """Whether a span holds frames, and not the one token that ends a clip."""
    return span.kind == "vision" and (span.grid != (1, 1, 1) or per_frame == 1)


def _first(kinds: Sequence[str], kind: str) -> int:
    return kinds.index(kind) if kind in kinds else -1


def _last(kinds: Sequence[str], kind: str) -> int:
    return max((place for place, one in enumerate(kinds) if one == kind), default=-1)
