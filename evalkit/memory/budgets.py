"""Settings of memories that cut a cache to a budget of frames (no torch)."""

from __future__ import annotations

__all__ = ["InfiniPotSettings"]

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evalkit.errors import UsageError
from evalkit.memory.tensors import LayerTokens, TensorMemory

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class InfiniPotSettings(TensorMemory):
    """How a cache is cut (InfiniPot-V, arXiv 2506.15745; defaults of the authors' README).

    Args:
        frames: Frames' worth of tokens that stay.
        tar_ratio: Share of them chosen by being unlike the newest frames; the others have the largest values.
        query_ratio: Share of the frames that count as newest.
        pooling: Whether value norms are averaged over neighbours, in other ways by depth.
        between: Frames taken in between two cuts; the released code's block is ``frames + between``.
    """

    frames: int = 24
    tar_ratio: float = 0.5
    query_ratio: float = 0.25
    pooling: bool = False
    between: int = 8

    def __post_init__(self) -> None:
        if self.frames < 1 or self.between < 1:
            raise UsageError(
                f"memory.frames={self.frames} and memory.between={self.between}: a budget is one frame or more, "
                "and so is what comes between two cuts"
            )
        for name, share in (("tar_ratio", self.tar_ratio), ("query_ratio", self.query_ratio)):
            if not 0 <= share <= 1:
                raise UsageError(f"memory.{name} is a share from 0 to 1, not {share:g}")
        newest = int(self.most_frames * self.query_ratio)
        if self.tar_ratio > 0 and not 1 <= newest <= self.tar_ratio * self.frames + 0.5:
            raise UsageError(
                f"memory.query_ratio={self.query_ratio:g} of {self.most_frames} frames are {newest} newest frames "
                f"and memory.tar_ratio={self.tar_ratio:g} leaves room for {self.tar_ratio * self.frames:g}: 1 or "
                "more are needed, and no more than fit"
            )

    @property
    def most_frames(self) -> int:
        """What stays and what comes until the next cut."""
        return self.frames + self.between

    def select(self, held: LayerTokens) -> Tensor:
        """Return the tokens of the newest frames, what is least like them, and what has the largest values."""
        from evalkit.memory.infinipot import select_in_layer

        return select_in_layer(held, self)
