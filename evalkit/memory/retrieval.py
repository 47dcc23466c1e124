"""Settings of ReKV: the window a stream is read under, and how a question's blocks are chosen (no torch)."""

from __future__ import annotations

__all__ = ["ReKVSettings"]

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from evalkit.errors import UsageError
from evalkit.memory.tensors import BlockQuery, WindowBlocks

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class ReKVSettings(WindowBlocks):
    """How a stream is kept and looked through.

    Args:
        n_local: Tokens of the local window.
        topk: Frames a question gets.
        chunk: Consecutive frames that are picked together; divides ``topk``.
        init_at_once: Whether the initial tokens leave the window all at once, as in STC's copy of the code; with
            usual sizes it makes no difference.
        protocol: ``rekv``: the question without its options retrieves, and is asked in the chat's form;
            ``stc``: the bare prompt does both, and the first token may not end the reply.
    """

    n_local: int = 15000
    topk: int = 64
    chunk: int = 1
    init_at_once: bool = False
    protocol: Literal["rekv", "stc"] = "rekv"

    def __post_init__(self) -> None:
        if min(self.n_local, self.topk, self.chunk) < 1:
            raise UsageError("n_local, topk and chunk are 1 or more")
        if self.topk % self.chunk:
            raise UsageError(f"topk={self.topk} is no multiple of chunk={self.chunk}")

    def initial(self, tokens: int, n_init: int) -> int:
        """Return how many initial tokens stand apart from the window once so many tokens are in."""
        over = tokens - self.n_local
        if self.init_at_once:
            return n_init if over > 0 else 0
        return min(n_init, max(0, over))

    def choose(self, asked: BlockQuery) -> tuple[list[int], Tensor | None]:
        """Return the frames whose mean key the mean query fits best; of equal scores the earlier frames."""
        from evalkit.memory.rekv import best_blocks

        return best_blocks(asked, self.topk, self.chunk)
