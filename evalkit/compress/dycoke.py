"""DyCoke: of frames like those before them only what changed; and its view of the cache while decoding.

Tao et al., arXiv 2411.15024; rules as in `llava/model/llava_arch.py` and `modeling_qwen2.py` of the authors'
repository. What the paper calls merging is pruning there. `strided_rows` is `dycoke_easy` of STC's code.
"""

from __future__ import annotations

__all__ = ["CacheView", "TemporalMemory", "merge_in_clip", "strided_rows", "view_of_cache"]

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from evalkit.compress.novelty import lowest

_SAME = 0.9
"""Cosine of two steps' attention from which on the original leaves the cache whole."""


def merge_in_clip(features: Tensor, ratio: float) -> Tensor:
    """Return the rows of a clip that stay, in the original's order: inside a pruned frame by rising similarity.

    Every odd frame is held against the one before it, every third of four against the first of its group; the last
    group's third frame stays whole, and an odd last frame is lost, as released.

    Args:
        features: ``(frames, tokens, dim)``, more than 4 frames.
        ratio: Share of a pruned frame that goes, 0 to 1.
    """
    frames, tokens, _ = features.shape
    keep = int((1 - ratio) * tokens)
    kept = {index: torch.arange(tokens) for index in range(0, frames - 1, 2)}
    for index in range(0, frames - 1, 2):
        kept[index + 1] = _least_alike(features[index], features[index + 1], keep)
    for index in range(0, frames - 4, 4):
        kept[index + 2] = _least_alike(features[index], features[index + 2], keep)
    return torch.cat([kept[index] + index * tokens for index in sorted(kept)])


def _least_alike(before: Tensor, now: Tensor, keep: int) -> Tensor:
    """Return the places least like the frame before, least alike first; of equal ones the first places."""
    cosine = F.cosine_similarity(before.float(), now.float(), dim=-1)
    return cosine.sort(stable=True).indices[:keep]


@dataclass(slots=True)
class TemporalMemory:
    """The same rule through a stream: no frame is lost, and the third of four is always pruned.

    Args:
        ratio: Share of a pruned frame that goes.
        phase: Number of the next frame, modulo four.
        first: Features of the group's first frame, ``(tokens, dim)``.
        before: Features of the last even frame.
    """

    ratio: float
    phase: int = 0
    first: Tensor | None = field(default=None)
    before: Tensor | None = field(default=None)

    def choose(self, frame: Tensor) -> Tensor:
        """Return the places of the next frame that stay, ascending.

        Args:
            frame: ``(tokens, dim)``.
        """
        phase, tokens = self.phase, frame.shape[0]
        against = {0: None, 1: self.before, 2: self.first, 3: self.before}[phase]
        if phase == 0:
            self.first = frame
        if phase % 2 == 0:
            self.before = frame
        self.phase = (phase + 1) % 4
        if against is None:
            return torch.arange(tokens)
        return lowest(F.cosine_similarity(against.float(), frame.float(), dim=-1), int((1 - self.ratio) * tokens))


def strided_rows(frames: int, tokens: int, stride: int) -> Tensor:
    """Return the rows of every ``stride``-th frame of a clip, whole."""
    starts = torch.arange(0, frames, stride) * tokens
    return (starts.unsqueeze(1) + torch.arange(tokens)).flatten()


@dataclass(frozen=True, slots=True)
class CacheView:
    """What the layers from one on see of the cache in a decode step.

    Args:
        similarity: Cosine of this step's attention to the image with the step before's; 0 in the first.
        kept: Rows of the cache that are seen; ``None`` where all are.
        attention: The image part of the attention, for the next step.
    """

    similarity: float
    kept: Tensor | None
    attention: Tensor


def view_of_cache(attention: Tensor, before: Tensor | None, start: int, length: int, pruned: float) -> CacheView:
    """Choose what deeper layers see while decoding, by what the layer before them looks at.

    Args:
        attention: ``(heads, cache)`` of the newest query, in the layer before.
        before: ``attention`` of the view of the step before.
        start: First row of the image.
        length: Rows of the image that may go.
        pruned: Share of them that goes.
    """
    image = attention.float().mean(dim=0)[start : start + length]
    similarity = 0.0 if before is None else float(F.cosine_similarity(image, before, dim=0))
    if similarity >= _SAME:
        return CacheView(similarity, None, image)
    chosen = lowest(-image, int(length * (1 - pruned))) + start
    rows = torch.arange(attention.shape[-1])
    return CacheView(similarity, torch.cat([rows[:start], chosen, rows[start + length :]]), image)
