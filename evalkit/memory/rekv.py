"""ReKV: a stream is read under a local window, every frame's keys are kept, and a question picks what it needs.

Di et al., arXiv 2503.00540; rules as in `rekv_attention.py` and `kv_cache_manager.py` of the authors' repository.
Keys are kept before rotation, positions are places in a sequence, and every layer picks its own frames. None of it
fits a plan over spans: the choice is made inside the forward pass, from queries.
"""

from __future__ import annotations

__all__ = ["BlockStore", "ReKVSettings", "Retrieved", "StreamDecoder"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from evalkit.errors import UsageError
from evalkit.memory.retrieval import ReKVSettings


@dataclass(slots=True)
class BlockStore:
    """What one layer keeps; all keys are un-rotated.

    Args:
        init_keys: ``(kv_heads, initial, head_dim)``.
        init_values: As ``init_keys``.
        local_keys: ``(kv_heads, window, head_dim)``: the last tokens, the initial ones among them at first.
        local_values: As ``local_keys``.
        keys: ``(kv_heads, block, head_dim)`` of every frame, where ``storage`` says.
        values: As ``keys``.
        representatives: ``(heads * head_dim,)`` of every frame: its mean key, repeated for its query heads.
        storage: Device that frames are kept on.
    """

    init_keys: Tensor
    init_values: Tensor
    local_keys: Tensor
    local_values: Tensor
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    representatives: list[Tensor] = field(default_factory=list)
    storage: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def empty(cls, kv_heads: int, head_dim: int, like: Tensor) -> BlockStore:
        """Return a store of nothing, on the device and in the type of a tensor."""
        nothing = like.new_empty(kv_heads, 0, head_dim)
        return cls(nothing, nothing, nothing, nothing)

    def add_block(self, keys: Tensor, values: Tensor, groups: int) -> None:
        """Keep a frame.

        Args:
            keys: ``(kv_heads, block, head_dim)``.
            values: As ``keys``.
            groups: Query heads of a key head.
        """
        self.representatives.append(keys.float().mean(dim=1).repeat_interleave(groups, dim=0).flatten())
        self.keys.append(keys.to(self.storage))
        self.values.append(values.to(self.storage))

    def chosen(self, blocks: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return keys and values of the initial tokens and of some frames, in their order."""
        device = self.init_keys.device
        keys = [self.init_keys, *(self.keys[b].to(device) for b in blocks)]
        values = [self.init_values, *(self.values[b].to(device) for b in blocks)]
        return torch.cat(keys, dim=1), torch.cat(values, dim=1)

    @property
    def stored_bytes(self) -> int:
        """Bytes of the frames that are kept."""
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))


@dataclass(slots=True)
class Retrieved:
    """What a question sees: per layer the frames it picked, and their keys and values behind the initial ones.

    Args:
        blocks: Frames of each layer, ascending.
        scores: Score of every frame in each layer; ``None`` where all were taken, or they were given.
        keys: Per layer ``(kv_heads, tokens, head_dim)``.
        values: As ``keys``.
    """

    blocks: list[list[int]]
    scores: list[Tensor | None]
    keys: list[Tensor]
    values: list[Tensor]

    def lengths(self) -> list[int]:
        """Return the tokens of each layer."""
        return [keys.shape[1] for keys in self.keys]


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
        self, text: Any, head: nn.Module, settings: ReKVSettings, init_ids: Sequence[int], embed: nn.Embedding
    ) -> None:
        self.text, self.head, self.settings, self.embed = text, head, settings, embed
        config = text.config
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.groups = self.heads // self.kv_heads
        self.n_init = len(init_ids)
        self.tokens = 0
        self.frames = 0
        sample = embed.weight
        self.stores = [BlockStore.empty(self.kv_heads, self.head_dim, sample) for _ in text.layers]
        self._init_ids = list(init_ids)

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
        """
        hidden = self._read(features, frame=True)
        self.frames += 1
        return self.text.norm(hidden[-1])

    def _read(self, hidden: Tensor, *, frame: bool) -> Tensor:
        start = self.tokens
        self.tokens += hidden.shape[0]
        initial = self.settings.initial(self.tokens, self.n_init)
        for layer, store in zip(self.text.layers, self.stores, strict=True):
            q, k, v = self._project(layer, hidden)
            missing = self.n_init - store.init_keys.shape[1]
            if missing > 0:
                store.init_keys = torch.cat([store.init_keys, k[:, :missing]], dim=1)
                store.init_values = torch.cat([store.init_values, v[:, :missing]], dim=1)
            keys = torch.cat([store.local_keys, k], dim=1)
            values = torch.cat([store.local_values, v], dim=1)
            out = self._attend_in_stream(q, keys, values, store, start, initial)
            hidden = self._finish(layer, hidden, out)
            store.local_keys = keys[:, -self.settings.n_local :].contiguous()
            store.local_values = values[:, -self.settings.n_local :].contiguous()
            if frame:
                store.add_block(k, v, self.groups)
        return hidden

    def state(self) -> dict[str, Tensor]:
        """Return every tensor that is kept, by name."""
        found: dict[str, Tensor] = {}
        for number, store in enumerate(self.stores):
            name = f"layer.{number}"
            found |= {
                f"{name}.init_keys": store.init_keys,
                f"{name}.init_values": store.init_values,
                f"{name}.local_keys": store.local_keys,
                f"{name}.local_values": store.local_values,
            }
            if store.keys:
                found |= {
                    f"{name}.keys": torch.cat(store.keys, dim=1),
                    f"{name}.values": torch.cat(store.values, dim=1),
                    f"{name}.lengths": torch.tensor([keys.shape[1] for keys in store.keys]),
                    f"{name}.representatives": torch.stack(store.representatives),
                }
        return found

    def restore(self, tensors: Mapping[str, Tensor], tokens: int, frames: int) -> None:
        """Go back to what `state` returned, with the counts of tokens and frames."""
        self.tokens, self.frames = tokens, frames
        device = self.embed.weight.device
        for number, store in enumerate(self.stores):
            name = f"layer.{number}"
            store.init_keys = tensors[f"{name}.init_keys"].to(device)
            store.init_values = tensors[f"{name}.init_values"].to(device)
            store.local_keys = tensors[f"{name}.local_keys"].to(device)
            store.local_values = tensors[f"{name}.local_values"].to(device)
            store.keys, store.values, store.representatives = [], [], []
            if f"{name}.keys" in tensors:
                lengths = tensors[f"{name}.lengths"].tolist()
                store.keys = list(tensors[f"{name}.keys"].to(store.storage).split(lengths, dim=1))
                store.values = list(tensors[f"{name}.values"].to(store.storage).split(lengths, dim=1))
                store.representatives = list(tensors[f"{name}.representatives"].to(device))

    def _attend_in_stream(
        self, q: Tensor, keys: Tensor, values: Tensor, store: BlockStore, start: int, initial: int
    ) -> Tensor:
        """Attend to the window at true distances and to initial tokens at a fixed one, under one softmax."""
        window, count = self.settings.n_local, q.shape[1]
        first = start + count - keys.shape[1]  # stream place of the oldest key at hand
        asked = torch.arange(start, start + count, device=q.device)
        there = torch.arange(first, start + count, device=q.device)
        distance = asked.unsqueeze(1) - there
        scores = self._rotate(q, asked - first) @ self._repeat(self._rotate(keys, there - first)).transpose(1, 2)
        scores = scores.masked_fill((distance < 0) | (distance >= window), -torch.inf)
        if initial:
            far = self._rotate(q, torch.full_like(asked, window - 1))
            apart = far @ self._repeat(store.init_keys[:, :initial]).transpose(1, 2)
            scores = torch.cat([apart, scores], dim=-1)
            values = torch.cat([store.init_values[:, :initial], values], dim=1)
        return self._weigh(scores, values)

    @torch.no_grad()
    def retrieve(self, question: Sequence[int], given: Sequence[int] | None = None) -> tuple[Retrieved, Tensor]:
        """Let a question pick frames in every layer, each by its own query.

        Args:
            question: Its ids.
            given: Frames from elsewhere, the same for all layers.

        Returns:
            What it picked, and the logits behind its last token. Its own keys are forgotten.

        Raises:
            UsageError: Nothing has been seen yet, or a given frame does not exist.
        """
        if not self.frames:
            raise UsageError("a question before the first frame: there is nothing to retrieve from")
        hidden = self.embed(torch.tensor(list(question), device=self.embed.weight.device))
        found = Retrieved([], [], [], [])
        for layer, store in zip(self.text.layers, self.stores, strict=True):
            q, k, v = self._project(layer, hidden)
            blocks, scores = self._pick(q, store) if given is None else (self._checked(given), None)
            keys, values = store.chosen(blocks)
            found.blocks.append(blocks)
            found.scores.append(scores)
            found.keys.append(keys)
            found.values.append(values)
            hidden = self._finish(layer, hidden, self._attend_behind(q, k, v, keys, values)[0])
        return found, self.head(self.text.norm(hidden[-1])).float()

    def _checked(self, given: Sequence[int]) -> list[int]:
        wrong = [block for block in given if not 0 <= block < self.frames]
        if wrong:
            raise UsageError(f"there is no frame {wrong[0]} among {self.frames}")
        return sorted(set(given))

    def _pick(self, q: Tensor, store: BlockStore) -> tuple[list[int], Tensor | None]:
        """Return the frames whose mean key the mean query fits best; of equal scores the earlier frames."""
        count, topk, chunk = len(store.representatives), self.settings.topk, self.settings.chunk
        if count <= topk:
            return list(range(count)), None
        query = q.float().mean(dim=1).flatten()
        scores = torch.stack(store.representatives) @ query
        by_chunk = torch.stack([piece.mean() for piece in scores.split(chunk)])
        best = (-by_chunk).sort(stable=True).indices[: topk // chunk].sort().values
        blocks = (best.unsqueeze(1) * chunk + torch.arange(chunk, device=best.device)).flatten()
        return blocks[blocks < count].tolist(), scores

    @torch.no_grad()
    def extend(self, memory: Retrieved, ids: Sequence[int]) -> Tensor:
        """Run ids behind what was retrieved, remember them there, and return the logits behind the last.

        Beyond ``n_init + n_local`` tokens the initial and the last ones stay, and places are counted anew.
        """
        hidden = self.embed(torch.tensor(list(ids), device=self.embed.weight.device))
        limit = self.n_init + self.settings.n_local
        for number, layer in enumerate(self.text.layers):
            q, k, v = self._project(layer, hidden)
            out, keys, values = self._attend_behind(q, k, v, memory.keys[number], memory.values[number])
            hidden = self._finish(layer, hidden, out)
            if keys.shape[1] > limit:
                keys, values = (
                    torch.cat([one[:, : self.n_init], one[:, -self.settings.n_local :]], dim=1)
                    for one in (keys, values)
                )
            memory.keys[number], memory.values[number] = keys, values
        return self.head(self.text.norm(hidden[-1])).float()

    def _attend_behind(
        self, q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend to a memory and to oneself by place; initial tokens beyond the window at a fixed distance."""
        window, before = self.settings.n_local, keys.shape[1]
        keys, values = torch.cat([keys, k], dim=1), torch.cat([values, v], dim=1)
        places = torch.arange(keys.shape[1], device=q.device)
        asked = places[before:]
        distance = asked.unsqueeze(1) - places
        scores = self._rotate(q, asked) @ self._repeat(self._rotate(keys, places)).transpose(1, 2)
        scores = scores.masked_fill((distance < 0) | (distance >= window), -torch.inf)
        if int(distance[:, : self.n_init].max()) >= window:
            far = self._rotate(q, torch.full_like(asked, window - 1))
            apart = far @ self._repeat(keys[:, : self.n_init]).transpose(1, 2)
            beyond = distance[:, : self.n_init] >= window
            scores[..., : self.n_init] = torch.where(beyond, apart, scores[..., : self.n_init])
        return self._weigh(scores, values), keys, values

    def _project(self, layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries ``(heads, tokens, head_dim)``, keys and values ``(kv_heads, ...)``, none rotated."""
        inside, attention = layer.input_layernorm(hidden), layer.self_attn
        q, k, v = attention.q_proj(inside), attention.k_proj(inside), attention.v_proj(inside)
        shaped = [one.unflatten(-1, (-1, self.head_dim)).transpose(0, 1) for one in (q, k, v)]
        return shaped[0], shaped[1], shaped[2]

    @staticmethod
    def _finish(layer: Any, hidden: Tensor, out: Tensor) -> Tensor:
        hidden = hidden + layer.self_attn.o_proj(out.transpose(0, 1).flatten(1))
        return hidden + layer.mlp(layer.post_attention_layernorm(hidden))

    def _weigh(self, scores: Tensor, values: Tensor) -> Tensor:
        weights = (scores.float() * self.head_dim**-0.5).softmax(dim=-1).to(values.dtype)
        return weights @ self._repeat(values)

    def _repeat(self, of_key_heads: Tensor) -> Tensor:
        return of_key_heads.repeat_interleave(self.groups, dim=0)

    def _rotate(self, vectors: Tensor, places: Tensor) -> Tensor:
        """Rotate ``(heads, tokens, head_dim)`` to places ``(tokens,)`` (halves layout)."""
        angle = places.float().unsqueeze(1) * self.text.rotary_emb.inv_freq.float()
        cos, sin = angle.cos().to(vectors.dtype), angle.sin().to(vectors.dtype)
        first, second = vectors.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
