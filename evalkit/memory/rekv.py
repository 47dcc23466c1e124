"""ReKV: a stream is read under a local window, every frame's keys are kept, and a question picks what it needs.

Di et al., arXiv 2503.00540; rules as in `rekv_attention.py` and `kv_cache_manager.py` of the authors' repository.
Positions are places in a sequence, and every layer picks its own frames. None of it fits a plan over spans: the
choice is made inside the forward pass, from queries. What is kept, and where, is in `evalkit.memory.blocks`; which
blocks a question gets is the memory's own rule (`WindowBlocks.choose`).
"""

from __future__ import annotations

__all__ = ["ReKVSettings", "Retrieved", "StreamDecoder", "best_blocks"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evalkit.errors import UsageError
from evalkit.memory.blocks import BlockStore, LocalWindow, RotaryTable, attend, merge_parts
from evalkit.memory.retrieval import ReKVSettings
from evalkit.memory.tensors import BlockQuery, WindowBlocks


def best_blocks(asked: BlockQuery, topk: int, chunk: int = 1) -> tuple[list[int], Tensor | None]:
    """Return the blocks whose mean key the mean query fits best, and all scores; of equal ones the earlier blocks.

    Args:
        asked: The question at one layer.
        topk: Blocks it gets.
        chunk: Consecutive blocks that are picked together by their mean score; divides ``topk``.
    """
    count = asked.blocks
    if count <= topk:
        return list(range(count)), None
    means = asked.representatives
    by_key_head = asked.queries.float().mean(dim=1).unflatten(0, (means.shape[1], -1)).sum(dim=1)
    query = by_key_head.flatten().to(means.device)
    scores = means.flatten(1) @ query
    whole = count - count % chunk
    by_chunk = torch.cat(
        [scores[:whole].view(-1, chunk).mean(dim=1), *(s.mean()[None] for s in [scores[whole:]] if len(s))]
    )
    best = (-by_chunk).sort(stable=True).indices[: topk // chunk].sort().values
    blocks = (best.unsqueeze(1) * chunk + torch.arange(chunk, device=best.device)).flatten()
    return blocks[blocks < count].tolist(), scores


@dataclass(slots=True)
class Retrieved:
    """What a question sees: per layer the blocks it picked, and their keys and values behind the initial ones.

    Args:
        blocks: Blocks of each layer, ascending.
        scores: Score of every block in each layer; ``None`` where all were taken, or they were given.
        keys: Per layer ``(kv_heads, room, head_dim)``, rotated to their places, of which ``used`` count.
        values: As ``keys``.
        used: Tokens of each layer.
    """

    blocks: list[list[int]]
    scores: list[Tensor | None]
    keys: list[Tensor]
    values: list[Tensor]
    used: list[int]

    def lengths(self) -> list[int]:
        """Return the tokens of each layer."""
        return list(self.used)

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values behind a layer's and return all of them."""
        start = self.used[layer]
        stop = start + keys.shape[1]
        for store, new in ((self.keys, keys), (self.values, values)):
            if stop > store[layer].shape[1]:
                larger = new.new_empty(new.shape[0], 2 * stop, new.shape[2])
                larger[:, :start] = store[layer][:, :start]
                store[layer] = larger
            store[layer][:, start:stop] = new
        self.used[layer] = stop
        return self.keys[layer][:, :stop], self.values[layer][:, :stop]


class StreamDecoder:
    """Runs a Qwen2-shaped text model over a stream, and over questions with what they retrieve.

    Args:
        text: The text model: ``layers``, ``norm`` and ``rotary_emb`` as in transformers' ``Qwen2Model``.
        head: The output layer.
        settings: Window and retrieval.
        init_ids: Ids of the initial prompt.
        embed: The embedding of ids.
    """

    def __init__(
        self, text: Any, head: nn.Module, settings: WindowBlocks, init_ids: Sequence[int], embed: nn.Embedding
    ) -> None:
        self.text, self.head, self.settings, self.embed = text, head, settings, embed
        config = text.config
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.n_init = len(init_ids)
        self.tokens = 0
        layers = len(text.layers)
        self.rotary = RotaryTable(text.rotary_emb.inv_freq)
        shape = (layers, self.kv_heads, self.head_dim)
        self.window = LocalWindow(shape, settings.n_local, self.rotary, embed.weight)
        self.blocks = BlockStore(layers)
        nothing = embed.weight.new_empty(self.kv_heads, 0, self.head_dim)
        self.init_keys, self.init_values = [nothing] * layers, [nothing] * layers
        self._init_ids = list(init_ids)

    @property
    def frames(self) -> int:
        """Frames that were read, each a block."""
        return len(self.blocks)

    @torch.no_grad()
    def begin(self, piece: int) -> None:
        """Read the initial prompt, so many tokens at a time."""
        embedded = self.embed(torch.tensor(self._init_ids, device=self.embed.weight.device))
        for start in range(0, self.n_init, piece):
            self._read(embedded[start : start + piece], frame=False)

    @torch.no_grad()
    def read_frame(self, features: Tensor) -> Tensor:
        """Read a frame and keep it.

        Args:
            features: ``(tokens, hidden)``, as they enter the text model.

        Returns:
            Hidden state of its last token, normalised, ``(hidden,)``.

        Raises:
            MemoryError: The host has no room for the frame's keys and values.
        """
        hidden: Tensor = self.text.norm(self._read(features, frame=True)[-1])
        return hidden

    def _read(self, hidden: Tensor, *, frame: bool) -> Tensor:
        self.tokens += hidden.shape[0]
        initial = self.settings.initial(self.tokens, self.n_init)
        self.window.make_room(hidden.shape[0])
        kept: list[tuple[Tensor, Tensor, Tensor]] = []
        for number, layer in enumerate(self.text.layers):
            q, k, v = self._project(layer, hidden)
            missing = self.n_init - self.init_keys[number].shape[1]
            if missing > 0:
                self.init_keys[number] = torch.cat([self.init_keys[number], k[:, :missing]], dim=1)
                self.init_values[number] = torch.cat([self.init_values[number], v[:, :missing]], dim=1)
            hidden = self._finish(layer, hidden, self._attend_in_stream(number, (q, k, v), initial))
            if frame:
                kept.append((k, v, k.float().mean(dim=1)))
        self.window.advance(hidden.shape[0])
        if frame:
            self.blocks.add(kept)
        return hidden

    def _attend_in_stream(self, number: int, new: tuple[Tensor, Tensor, Tensor], initial: int) -> Tensor:
        """Attend to the window at true distances and to initial tokens at a fixed one, under one softmax."""
        q, k, v = new
        window, count = self.settings.n_local, q.shape[1]
        slots = torch.arange(self.window.used, self.window.used + count, device=q.device)
        keys, values, there = self.window.write(number, self.rotary.rotate(k, slots), v)
        near = attend(self.rotary.rotate(q, slots), keys, values, self._hidden(slots, there, initial))
        if not initial:
            return near[0]
        asked = torch.full_like(slots, window - 1)
        apart = attend(
            self.rotary.rotate(q, asked),
            self.init_keys[number][:, :initial],
            self.init_values[number][:, :initial],
        )
        return merge_parts(near, apart)

    def _hidden(self, slots: Tensor, there: Tensor, initial: int) -> Tensor:
        """Return what of the window a query does not see, ``(queries, keys)``; the same in every layer."""
        shape = (len(slots), len(there), initial)
        if self.window.mask is None or self.window.mask[0] != shape:
            distance = slots.unsqueeze(1) - there
            hidden = (distance < 0) | (distance >= self.settings.n_local)
            self.window.mask = (
                shape,
                torch.zeros_like(distance, dtype=self.embed.weight.dtype).masked_fill_(hidden, -torch.inf),
            )
        return self.window.mask[1]

    def state(self) -> dict[str, Tensor]:
        """Return every tensor that is kept, by name."""
        found = {"init_keys": torch.stack(self.init_keys), "init_values": torch.stack(self.init_values)}
        found |= {f"window.{name}": one for name, one in self.window.state().items()}
        return found | {f"blocks.{name}": one for name, one in self.blocks.state().items()}

    def restore(self, tensors: Mapping[str, Tensor], tokens: int) -> None:
        """Go back to what `state` returned, with the count of tokens."""
        self.tokens = tokens
        device = self.embed.weight.device
        self.init_keys = list(tensors["init_keys"].to(device))
        self.init_values = list(tensors["init_values"].to(device))
        self.window.restore(_below(tensors, "window."))
        self.blocks.restore(_below(tensors, "blocks."))

    @torch.no_grad()
    def retrieve(
        self, question: Sequence[int], given: Sequence[int] | None = None, *, room: int = 0
    ) -> tuple[Retrieved, Tensor]:
        """Let a question pick frames in every layer, each by its own query.

        Args:
            question: Its ids.
            given: Frames from elsewhere, the same for all layers.
            room: Tokens that are going to be written behind what is retrieved.

        Returns:
            What it picked, and the logits behind its last token. Its own keys are forgotten.

        Raises:
            UsageError: Nothing has been seen yet, or a given frame does not exist.
        """
        if not self.frames:
            raise UsageError("a question before the first frame: there is nothing to retrieve from")
        hidden = self.embed(torch.tensor(list(question), device=self.embed.weight.device))
        found = Retrieved([], [], [], [], [])
        for number, layer in enumerate(self.text.layers):
            q, k, v = self._project(layer, hidden)
            if given is None:
                means = self.blocks.means(number)
                blocks, scores = self.settings.choose(BlockQuery(number, len(self.text.layers), q, means))
            else:
                blocks, scores = self._checked(given), None
            self._place(found, number, blocks, room + len(question))
            found.blocks.append(blocks)
            found.scores.append(scores)
            before = found.used[number]
            hidden = self._finish(layer, hidden, self._attend_behind((q, k, v), found, number))
            found.used[number] = before
        logits: Tensor = self.head(self.text.norm(hidden[-1])).float()
        return found, logits

    def _place(self, found: Retrieved, number: int, blocks: Sequence[int], room: int) -> None:
        """Put the initial tokens and a layer's blocks behind one another, and turn their keys to their places."""
        first_keys, first_values = self.init_keys[number], self.init_values[number]
        parts = self.blocks.read(number, blocks)
        length = self.n_init + sum(keys.shape[1] for keys, _ in parts)
        keys, values = (
            one.new_empty(self.kv_heads, length + room, self.head_dim) for one in (first_keys, first_values)
        )
        start = 0
        for some_keys, some_values in [(first_keys, first_values), *parts]:
            stop = start + some_keys.shape[1]
            keys[:, start:stop], values[:, start:stop] = some_keys, some_values
            start = stop
        places = torch.arange(length, device=keys.device)
        keys[:, :length] = self.rotary.rotate(keys[:, :length], places)
        found.keys.append(keys)
        found.values.append(values)
        found.used.append(length)

    def _checked(self, given: Sequence[int]) -> list[int]:
        wrong = [block for block in given if not 0 <= block < self.frames]
        if wrong:
            raise UsageError(f"there is no frame {wrong[0]} among {self.frames}")
        return sorted(set(given))

    @torch.no_grad()
    def extend(self, memory: Retrieved, ids: Sequence[int]) -> Tensor:
        """Run ids behind what was retrieved, remember them there, and return the logits behind the last.

        Beyond ``n_init + n_local`` tokens the initial and the last ones stay, and places are counted anew.
        """
        hidden = self.embed(torch.tensor(list(ids), device=self.embed.weight.device))
        limit = self.n_init + self.settings.n_local
        for number, layer in enumerate(self.text.layers):
            hidden = self._finish(layer, hidden, self._attend_behind(self._project(layer, hidden), memory, number))
            over = memory.used[number] - limit
            if over > 0:
                self._cut(memory, number, over)
        logits: Tensor = self.head(self.text.norm(hidden[-1])).float()
        return logits

    def _cut(self, memory: Retrieved, number: int, over: int) -> None:
        first, used = self.n_init, memory.used[number]
        keys, values = memory.keys[number][:, first + over : used], memory.values[number][:, first + over : used]
        moved = torch.full((keys.shape[1],), -over, device=keys.device)
        memory.keys[number][:, first : used - over] = self.rotary.rotate(keys, moved)
        memory.values[number][:, first : used - over] = values.clone()
        memory.used[number] = used - over

    def _attend_behind(self, new: tuple[Tensor, Tensor, Tensor], memory: Retrieved, number: int) -> Tensor:
        """Attend to a memory and to oneself by place; initial tokens beyond the window at a fixed distance."""
        q, k, v = new
        window, before = self.settings.n_local, memory.used[number]
        asked = torch.arange(before, before + q.shape[1], device=q.device)
        keys, values = memory.append(number, self.rotary.rotate(k, asked), v)
        queries = self.rotary.rotate(q, asked)
        if len(asked) == 1 and before < window:
            rows = queries.view(self.kv_heads, -1, self.head_dim)  # a key head's queries, each behind all its keys
            one: Tensor = functional.scaled_dot_product_attention(rows[None], keys[None], values[None])[0]
            return one.reshape(queries.shape)
        distance = asked.unsqueeze(1) - torch.arange(keys.shape[1], device=q.device)
        hidden = (distance < 0) | (distance >= window)
        near = attend(queries, keys, values, _additive(hidden, q))
        if before + len(asked) <= window:
            return near[0]
        far = self.rotary.rotate(q, torch.full_like(asked, window - 1))
        close_by = distance[:, : self.n_init] < window
        apart = attend(far, self.init_keys[number], values[:, : self.n_init], _additive(close_by, q))
        return merge_parts(near, apart, ~close_by.all(dim=1))

    def _project(self, layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries ``(heads, tokens, head_dim)``, keys and values ``(kv_heads, ...)``, none rotated."""
        inside, attention = layer.input_layernorm(hidden), layer.self_attn
        q, k, v = attention.q_proj(inside), attention.k_proj(inside), attention.v_proj(inside)
        shaped = [one.unflatten(-1, (-1, self.head_dim)).transpose(0, 1) for one in (q, k, v)]
        return shaped[0], shaped[1], shaped[2]

    @staticmethod
    def _finish(layer: Any, hidden: Tensor, out: Tensor) -> Tensor:
        hidden = hidden + layer.self_attn.o_proj(out.transpose(0, 1).flatten(1))
        through: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return through


def _additive(hidden: Tensor, like: Tensor) -> Tensor:
    return torch.zeros(hidden.shape, device=like.device, dtype=like.dtype).masked_fill_(hidden, -torch.inf)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
