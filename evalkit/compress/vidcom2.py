"""VidCom2: keep the tokens of a clip that are unlike it, more of them in frames that are unlike the others.

Liu et al., arXiv 2505.14454; rules as in `token_compressor/vidcom2/vidcom2.py` of the authors' repository. The
clip rule looks at all frames of a call, so it is causal only where a call is what has been seen. STC's authors
ran other forms under this name, with a fixed budget a frame and a memory over calls: `StreamScorer` has them.
"""

from __future__ import annotations

__all__ = ["STC_MODES", "ClipChoice", "StreamScorer", "choose_in_clip"]

from dataclasses import dataclass, field
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from evalkit.compress.novelty import calm_channels, kernel_sum, lowest
from evalkit.compress.settings import StcMode

_TEMPERATURE = 0.01

STC_MODES: tuple[StcMode, ...] = get_args(StcMode)
"""Names under which STC's released code scores (`PRUNE_STRATEGY`), as it spells them. Its ``dart`` is not DART."""


@dataclass(frozen=True, slots=True)
class ClipChoice:
    """What stays of a clip.

    Args:
        kept: Rows of the flattened clip, ascending.
        counts: ``(frames,)`` tokens kept of each frame.
        scales: ``(frames,)`` share of a frame that its budget is.
        video_score: ``(frames, tokens)`` nearness to the clip's centre.
        frame_score: ``(frames, tokens)`` nearness to the frame's centre.
    """

    kept: Tensor
    counts: Tensor
    scales: Tensor
    video_score: Tensor
    frame_score: Tensor


def choose_in_clip(features: Tensor, share: float) -> ClipChoice:
    """Choose the tokens of a clip that go on.

    Args:
        features: ``(frames, tokens, dim)``, after projector and pooling.
        share: Share of tokens kept on average, above 0 and at most 1.
    """
    _, tokens, dim = features.shape
    unit = _calm_unit(features.float(), dim)
    video = kernel_sum(unit, unit.mean(dim=(0, 1)))
    frame = kernel_sum(unit, unit.mean(dim=1, keepdim=True))
    unlike = -video.mean(dim=1)
    weight = F.softmax((unlike - unlike.max()) / _TEMPERATURE, dim=0)
    scales = (share * (1 + weight - weight.mean())).clamp(max=1.0)
    counts = (scales * tokens).round().long().clamp(min=1)
    total = video + frame
    rows = [lowest(total[k], int(count)) + k * tokens for k, count in enumerate(counts)]
    return ClipChoice(torch.cat(rows), counts, scales, video, frame)


def _calm_unit(features: Tensor, dim: int) -> Tensor:
    channels = calm_channels(features.flatten(0, 1), int(dim / 2))
    return F.normalize(features[..., channels], dim=-1)


@dataclass(slots=True)
class StreamScorer:
    """The forms that STC's authors ran in ReKV: a memory of chunk means, and as many tokens of every frame.

    Each chunk chooses its own channels, calmest first, and means are averaged rank by rank, as released.

    Args:
        mode: One of `STC_MODES`.
        keep: Tokens kept of each frame.
        means: Mean of each chunk so far.
    """

    mode: StcMode
    keep: int
    means: list[Tensor] = field(default_factory=list)

    def choose(self, features: Tensor) -> Tensor:
        """Return the places kept of each frame, ``(frames, keep)``, ascending; remembers the chunk.

        Args:
            features: ``(frames, tokens, dim)`` of one call.
        """
        features = features.float()
        calm = features[..., calm_channels(features.flatten(0, 1), int(features.shape[-1] / 2))]
        unit = F.normalize(calm, dim=-1)
        self.means.append(calm.mean(dim=(0, 1)))
        frame = kernel_sum(unit, unit.mean(dim=1, keepdim=True))
        if self.mode == "dart":
            return lowest(frame, self.keep)
        if self.mode == "vidcom2_orignal":
            return lowest(kernel_sum(unit, unit.mean(dim=(0, 1))) + frame, self.keep)
        memory = kernel_sum(unit, F.normalize(torch.stack(self.means).mean(dim=0), dim=-1))
        return lowest(memory if self.mode == "vidcom2_only_memory" else memory + frame, self.keep)
