"""The contract of memories that see tensors: what a layer keeps, and which blocks a question gets (no torch yet).

A `MemoryPolicy` plans over spans, the same for all layers. A `TensorMemory` is asked layer by layer instead: which
of a layer's keys and values stay (`TensorMemory.select`), or which of the blocks kept outside of the window a
question is given (`WindowBlocks.choose`). Both are pure functions of tensors. Sessions carry them out, and the
ledger goes on saying how many tokens of each kind stand.
"""

from __future__ import annotations

__all__ = ["BlockQuery", "LayerTokens", "TensorMemory", "WindowBlocks"]

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from evalkit.errors import UsageError
from evalkit.memory.ledger import Ledger, Plan
from evalkit.memory.policies import MemoryPolicy

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class LayerTokens:
    """What one layer holds of a stream's frames when it is to be cut.

    Args:
        layer: Its number, from 0.
        layers: How many there are.
        keys: ``(kv_heads, frames * height * width, head_dim)``, rotated to where they stand, oldest first. After a
            cut, what stayed counts as whole frames.
        values: As ``keys``.
        queries: ``(heads, new, head_dim)`` of what was prefilled last, rotated likewise; ``None`` unless
            `TensorMemory.wants_queries`.
        grid: ``(frames, height, width)`` in tokens.
    """

    layer: int
    layers: int
    keys: Tensor
    values: Tensor
    queries: Tensor | None
    grid: tuple[int, int, int]

    @property
    def per_frame(self) -> int:
        """Tokens of a frame."""
        return self.grid[1] * self.grid[2]


@dataclass(frozen=True, slots=True, eq=False)
class BlockQuery:
    """A question at one layer, and what it may choose from.

    Args:
        layer: Its number, from 0.
        layers: How many there are.
        queries: ``(heads, tokens, head_dim)`` of the question, un-rotated. They depend already on what the layers
            below were given.
        representatives: ``(blocks, kv_heads, head_dim)``: mean un-rotated keys of each block, oldest first, in
            float32, on the host.
    """

    layer: int
    layers: int
    queries: Tensor
    representatives: Tensor

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return int(self.representatives.shape[0])


class TensorMemory(MemoryPolicy):
    """A memory that chooses by keys, values and queries; one's own overrides `select`, or is a `WindowBlocks`.

    Scores are to be taken in float32, and of equal scores the earlier place stays.

    Attributes:
        wants_queries: Whether `select` is given the queries of what was prefilled last.
        stands: Where what is kept stands: ``native``, where it was when new; ``per layer``, counted anew in each
            layer over what a question was given there.
    """

    __slots__ = ()

    positions = "native"
    wants_queries: ClassVar[bool] = False
    stands: ClassVar[Literal["native", "per layer"]] = "native"

    def plan(self, ledger: Ledger, second: int) -> Plan:
        """Drop nothing by its span."""
        return Plan()

    @property
    def rebases(self) -> bool:
        """No: a key stays where it was when new, or is kept before rotation."""
        return False

    @property
    @abstractmethod
    def most_frames(self) -> int:
        """Most frames' worth of tokens that a layer's window holds while the next second is taken in, >= 1."""

    def select(self, held: LayerTokens) -> Tensor:
        """Choose what of a layer stays; called when the next second would not fit any more.

        Returns:
            ``(kv_heads, kept)`` places in ``held.keys``, ascending in each head. Heads may choose differently but
            all equally many, and all layers as many: whole frames' worth.
        """
        raise UsageError(f"{type(self).__name__} cuts nothing: it has no `select`")


class WindowBlocks(TensorMemory):
    """A memory that reads under a local window, keeps every frame's block outside, and retrieves for questions.

    A subclass is a frozen dataclass with (at least) the fields ``n_local`` and ``topk`` and a `choose`.

    Attributes:
        n_local: Tokens of the local window.
        topk: Blocks a question gets.
        protocol: ``rekv``: the question without its options retrieves, and is asked in the chat's form;
            ``stc``: the bare prompt does both, and the first token may not end the reply.
    """

    __slots__ = ()

    stands = "per layer"
    n_local: int
    topk: int
    protocol: Literal["rekv", "stc"] = "rekv"

    @property
    def most_frames(self) -> int:
        """As many as are retrieved; the window is counted in tokens."""
        return self.topk

    def initial(self, tokens: int, n_init: int) -> int:
        """Return how many initial tokens stand apart from the window once so many tokens are in."""
        return min(n_init, max(0, tokens - self.n_local))

    @abstractmethod
    def choose(self, asked: BlockQuery) -> tuple[list[int], Tensor | None]:
        """Choose the blocks that a question gets in one layer.

        Returns:
            Numbers of at most ``topk`` blocks, ascending, and the score of every block ``(blocks,)``; no scores
            where all are taken.
        """
