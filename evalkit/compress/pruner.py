"""STC-Pruner: choose, before the language model, the tokens of a frame that differ most from what was seen."""

from __future__ import annotations

__all__ = ["PrunedFrames", "Pruner", "PrunerState"]

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from evalkit.compress.novelty import calm_channels, highest, kernel_sum
from evalkit.compress.settings import PrunerSettings
from evalkit.errors import UsageError
from evalkit.records import CompressorReport


@dataclass(slots=True)
class PrunerState:
    """What one session's pruner remembers; empty at the start of a stream.

    Args:
        total: Sum of all means, float64 ``(width,)``, where the history is unbounded.
        count: Number of means in ``total``.
        recent: The last means, where the history has a length.
    """

    total: Tensor | None = None
    count: int = 0
    recent: deque[Tensor] = field(default_factory=deque)

    def reset(self) -> None:
        """Forget the stream."""
        self.total = None
        self.count = 0
        self.recent = deque()

    def remember(self, mean: Tensor, history: int | None) -> None:
        """Add one mean ``(width,)``; of a bounded history the oldest goes."""
        if history is None:
            self.total = mean.double() if self.total is None else self.total + mean.double()
            self.count += 1
            return
        self.recent.append(mean)
        while len(self.recent) > history:
            self.recent.popleft()

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and plain values from which `restore` rebuilds this memory exactly."""
        tensors = {f"recent.{index}": mean for index, mean in enumerate(self.recent)}
        if self.total is not None:
            tensors["total"] = self.total
        return tensors, {"count": self.count, "recent": len(self.recent)}

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Go back to what `snapshot` returned."""
        self.total = tensors.get("total")
        self.count = plain["count"]
        self.recent = deque(tensors[f"recent.{index}"] for index in range(plain["recent"]))

    def mean(self) -> Tensor | None:
        """Return the mean of what is remembered, float32 ``(width,)``, or ``None`` before the first."""
        if self.total is not None:
            return (self.total / self.count).float()
        return torch.stack(list(self.recent)).mean(dim=0) if self.recent else None


@dataclass(frozen=True, slots=True)
class PrunedFrames:
    """Which tokens of each frame go on.

    Args:
        kept: ``(frames, keep)`` token numbers within the full frame, ascending and unique in each row.
        tokens: Tokens of a full frame.
        report: For the second's record.
    """

    kept: Tensor
    tokens: int
    report: CompressorReport

    def rows(self) -> Tensor:
        """Return the kept rows of the flattened ``(frames * tokens)`` features, in order."""
        offset = torch.arange(self.kept.shape[0], device=self.kept.device).unsqueeze(1) * self.tokens
        return (self.kept + offset).flatten()


class Pruner:
    """STC-Pruner with one set of settings; the memory is the session's.

    Args:
        settings: Tokens kept, strategy and history.
    """

    def __init__(self, settings: PrunerSettings) -> None:
        self.settings = settings
        self._shared = PrunerState() if settings.across_streams else None

    def new_state(self) -> PrunerState:
        """Return the memory of a new stream: empty, or with ``across_streams`` the one all streams share."""
        return PrunerState() if self._shared is None else self._shared

    @torch.no_grad()
    def prune(self, features: Tensor, state: PrunerState) -> PrunedFrames:
        """Choose the tokens that go on to the language model.

        Args:
            features: ``(frames, tokens, dim)``, as they would enter the language model.
            state: The session's memory; changed in place.

        Raises:
            UsageError: The features are not ``(frames, tokens, dim)`` of one or more frames.
        """
        if features.ndim != 3 or 0 in features.shape:
            raise UsageError(f"the pruner takes features (frames, tokens, dim), not {tuple(features.shape)}")
        frames, tokens, _ = features.shape
        keep = self.settings.kept(tokens)
        score = self._gaussian if self.settings.strategy == "gaussian" else self._dual_anchor
        novelty = score(features.float(), state)
        if keep == tokens:
            kept = torch.arange(tokens, device=features.device).expand(frames, -1)
        else:
            kept = highest(novelty, keep)
        return PrunedFrames(kept, tokens, self._report(frames, tokens, keep))

    def _gaussian(self, features: Tensor, state: PrunerState) -> Tensor:
        pieces = features.split(self.settings.chunk or 1)
        return torch.cat([self._gaussian_chunk(piece, state) for piece in pieces])

    def _gaussian_chunk(self, features: Tensor, state: PrunerState) -> Tensor:
        """Released code: least varying channels, kernel sums to frame mean and memory mean, lowest is newest.

        The means of different chunks are averaged although each chose its own channels, as released.
        """
        _, _, dim = features.shape
        chosen = self._calm_channels(features.reshape(-1, dim))
        features = features[..., chosen]
        state.remember(features.mean(dim=(0, 1)), self.settings.history)
        memory = state.mean()
        unit = F.normalize(features, dim=-1)
        nearness = kernel_sum(unit, unit.mean(dim=1, keepdim=True))
        if memory is not None:
            nearness = nearness.add_(kernel_sum(unit, F.normalize(memory, dim=-1)))
        return nearness.neg_()

    def _dual_anchor(self, features: Tensor, state: PrunerState) -> Tensor:
        """Paper, section 3: cosine distance to the mean of past frame means and to the frame's own mean.

        A stream's first frame has no past; its own mean then serves as both anchors.
        """
        settings = self.settings
        spatial = features.mean(dim=1)
        past = []
        for mean in spatial:
            before = state.mean()
            past.append(mean if before is None else before.to(mean.device))
            state.remember(mean, settings.history)
        temporal = torch.stack(past)
        if settings.channels(features.shape[-1]) < features.shape[-1]:
            chosen = self._calm_channels(features.flatten(0, 1))
            features, spatial, temporal = features[..., chosen], spatial[:, chosen], temporal[:, chosen]
        unit = F.normalize(features, dim=-1)
        anchors = F.normalize(torch.stack((temporal, spatial), dim=-1), dim=1)
        away = 1.0 - torch.bmm(unit, anchors)
        alpha = 0.5 if settings.alpha is None else settings.alpha
        return alpha * away[..., 0] + (1.0 - alpha) * away[..., 1]

    def _calm_channels(self, rows: Tensor) -> Tensor:
        """Return the channels of ``rows (tokens, dim)`` that vary least, calmest first."""
        return calm_channels(rows, self.settings.channels(rows.shape[-1]))

    def _report(self, frames: int, tokens: int, keep: int) -> CompressorReport:
        settings, note = self.settings, ""
        claimed: float | None = keep / tokens
        if settings.keep is not None and settings.keep >= tokens:
            claimed = None
            note = f"keep={settings.keep} is not below the {tokens} tokens of a frame: nothing is pruned"
        elif settings.pruned is not None:
            promised = 1.0 - settings.pruned
            claimed = promised
            if abs(keep / tokens - promised) > 0.02:
                claimed = None
                note = f"{tokens} tokens a frame allow a kept share of {keep / tokens:.3f}, not {promised:.3f}"
        return CompressorReport(
            name="stc-pruner",
            tokens_in=frames * tokens,
            tokens_out=frames * keep,
            claimed_share=claimed,
            note=note,
        )
