"""VisionZip: the tokens a vision tower attends to, and a few more that the rest is added into.

Yang et al., arXiv 2412.04467; rules as in `visionzip/{utils,clip_encoder}.py` of the authors' repository, and for
towers without a class token as in HoliTom's `visionzip` for LLaVA-OneVision. As coded there, a contextual token
is its target plus the mean of what was assigned to it.
"""

from __future__ import annotations

__all__ = ["Zipped", "attended_least", "pool_map", "zip_with_class_token", "zip_without_class_token"]

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from evalkit.compress.novelty import lowest


@dataclass(frozen=True, slots=True)
class Zipped:
    """What stays of each frame.

    Args:
        out: ``(frames, dominant + contextual, dim)``: dominant tokens by place, then contextual ones.
        places: ``(frames, dominant + contextual)``: a dominant token's own place, a contextual one's target's.
        dominant: ``(frames, dominant)`` places of dominant tokens: the class token first, then by falling score.
    """

    out: Tensor
    places: Tensor
    dominant: Tensor


def zip_with_class_token(
    attention: Tensor, hidden: Tensor, metric: Tensor, dominant: int, contextual: int
) -> Zipped:
    """Choose and merge the tokens of a tower whose place 0 is a class token.

    Args:
        attention: ``(frames, heads, tokens, tokens)``, softmaxed, of the second last layer.
        hidden: ``(frames, tokens, dim)``, what that layer gives.
        metric: ``(frames, tokens, head_dim)``: its keys, mean over heads.
        dominant: Dominant tokens, the class token counted.
        contextual: Contextual ones.
    """
    scores = attention.float().sum(dim=1)[:, 0, 1:]
    by_score = (-scores).sort(dim=-1, stable=True).indices[:, : dominant - 1] + 1
    chosen = F.pad(by_score, (1, 0))  # the class token stands at place 0
    return _zip(hidden, metric, chosen, contextual)


def zip_without_class_token(
    received: Tensor, features: Tensor, metric: Tensor, tokens: int, dominant: int
) -> Zipped:
    """Choose and merge the tokens of a tower without a class token.

    Args:
        received: ``(frames, places)`` attention that each place receives, mean over heads and queries.
        features: ``(frames, places, dim)``, after projector and pooling.
        metric: ``(frames, places, head_dim)``: keys, mean over heads, pooled alike.
        tokens: Tokens that stay.
        dominant: How many of them are chosen by attention.
    """
    chosen = (-received.float()).sort(dim=-1, stable=True).indices[:, :dominant]
    return _zip(features, metric, chosen, tokens - dominant)


def _zip(hidden: Tensor, metric: Tensor, chosen: Tensor, contextual: int) -> Zipped:
    frames, tokens, _ = hidden.shape
    by_place = chosen.sort(dim=-1).values
    stays = torch.zeros(frames, tokens, dtype=torch.bool, device=hidden.device).scatter_(1, chosen, value=True)
    rest = (~stays).nonzero()[:, 1].view(frames, -1)
    dominant = hidden.gather(1, _wide(by_place, hidden))
    if contextual == 0:
        return Zipped(dominant, by_place, chosen)
    others = torch.arange(rest.shape[1], device=hidden.device)
    step = max(1, rest.shape[1] // contextual)
    is_target = (others % step == 0) & (others < step * contextual)
    targets, others = others[is_target], others[~is_target]
    keys = metric.float().gather(1, _wide(rest, metric))
    keys = keys / keys.norm(dim=-1, keepdim=True)
    left = hidden.float().gather(1, _wide(rest, hidden))
    merged = left[:, targets]
    if others.numel():
        nearest = (keys[:, others] @ keys[:, targets].transpose(1, 2)).argmax(dim=-1)
        hot = F.one_hot(nearest, len(targets)).float()
        counts = hot.sum(dim=1).clamp(min=1).unsqueeze(-1)
        merged = merged + hot.transpose(1, 2) @ left[:, others] / counts
    merged = merged.to(hidden.dtype)
    places = torch.cat([by_place, rest[:, targets]], dim=1)
    return Zipped(torch.cat([dominant, merged], dim=1), places, chosen)


def _wide(index: Tensor, like: Tensor) -> Tensor:
    return index.unsqueeze(-1).expand(-1, -1, like.shape[-1])


def pool_map(values: Tensor, grid: int) -> Tensor:
    """Pool a map of values as LLaVA-OneVision pools its features: bilinear, to the rounded-up half of each side.

    Args:
        values: ``(frames, grid * grid, channels)``.
        grid: Side of the map.
    """
    side = ceil(grid / 2)
    maps = values.transpose(1, 2).reshape(values.shape[0], -1, grid, grid)
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


def attended_least(scores: Tensor, tokens: int, share: float) -> Tensor:
    """Choose as STC's code does under this name: the lowest of the scores it is given, none merged.

    Args:
        scores: ``(places,)`` on a square map.
        tokens: Tokens of a frame, a square number.
        share: Share that stays.

    Returns:
        Places on the map of tokens, ascending.
    """
    side, target = round(len(scores) ** 0.5), round(tokens**0.5)
    pooled = F.interpolate(
        scores.float().view(1, 1, side, side), size=(target, target), mode="bilinear", align_corners=False
    ).flatten()
    count = max(1, int(tokens * share)) if share > 0 else 0
    return lowest(pooled, count)
