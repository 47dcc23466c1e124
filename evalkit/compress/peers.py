"""The token compressors that STC is compared with, as a session uses them: features in, rows and a report out."""

from __future__ import annotations

__all__ = ["DyCoke", "StcBaseline", "VidCom2"]

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from evalkit.compress.dycoke import TemporalMemory
from evalkit.compress.settings import DyCokeSettings, StcBaselineSettings, VidCom2Settings
from evalkit.compress.vidcom2 import StreamScorer, choose_in_clip
from evalkit.records import CompressorReport


@dataclass(frozen=True, slots=True)
class KeptRows:
    """Which rows of a call's flattened features go on; frames may keep different numbers of them.

    Args:
        kept: Rows, ascending.
        report: For the second's record.
    """

    kept: Tensor
    report: CompressorReport

    def rows(self) -> Tensor:
        """Return them."""
        return self.kept


class NoState:
    """The memory of a compressor that has none."""

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return nothing."""
        return {}, {}

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Go back to nothing."""


class VidCom2:
    """VidCom2 over a call's frames, one by one or together.

    Args:
        settings: Share and scope.
    """

    def __init__(self, settings: VidCom2Settings) -> None:
        self.settings = settings

    def new_state(self) -> NoState:
        """Return the memory of a new stream: none."""
        return NoState()

    @torch.no_grad()
    def prune(self, features: Tensor, state: NoState) -> KeptRows:
        """Choose the tokens that go on; see `evalkit.compress.pruner.Pruner.prune`."""
        frames, tokens, _ = features.shape
        if self.settings.keep == 1.0:  # of several frames the rule would take from the usual ones even then
            kept = torch.arange(frames * tokens, device=features.device)
        elif self.settings.scope == "call":
            kept = choose_in_clip(features, self.settings.keep).kept
        else:
            parts = [choose_in_clip(frame.unsqueeze(0), self.settings.keep).kept for frame in features]
            kept = torch.cat([part + number * tokens for number, part in enumerate(parts)])
        adapts = self.settings.scope == "call" and frames > 1 and self.settings.keep < 1.0
        each = max(1, round(self.settings.keep * tokens)) / tokens
        note = "frames of a call share their budget: unlike ones keep more" if adapts else ""
        return KeptRows(kept, _report("vidcom2", frames * tokens, len(kept), None if adapts else each, note))


@dataclass(slots=True)
class DyCokeState:
    """What a stream's DyCoke remembers: its place in a group of four, and two frames."""

    memory: TemporalMemory

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the frames and the phase."""
        held = {"first": self.memory.first, "before": self.memory.before}
        return {name: one for name, one in held.items() if one is not None}, {"phase": self.memory.phase}

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Go back to what `snapshot` returned."""
        self.memory.phase = plain["phase"]
        self.memory.first, self.memory.before = tensors.get("first"), tensors.get("before")


class DyCoke:
    """DyCoke's temporal rule through a stream.

    Args:
        settings: Share that goes of a pruned frame.
    """

    def __init__(self, settings: DyCokeSettings) -> None:
        self.settings = settings

    def new_state(self) -> DyCokeState:
        """Return the memory of a new stream."""
        return DyCokeState(TemporalMemory(self.settings.pruned))

    @torch.no_grad()
    def prune(self, features: Tensor, state: DyCokeState) -> KeptRows:
        """Choose the tokens that go on; see `evalkit.compress.pruner.Pruner.prune`."""
        frames, tokens, _ = features.shape
        promised, parts = 0, []
        for number, frame in enumerate(features):
            promised += tokens if state.memory.phase == 0 else int((1 - self.settings.pruned) * tokens)
            parts.append(state.memory.choose(frame).to(features.device) + number * tokens)
        kept = torch.cat(parts)
        return KeptRows(kept, _report("dycoke-ttm", frames * tokens, len(kept), promised / (frames * tokens)))


@dataclass(slots=True)
class ScorerState:
    """The memory of STC's baselines: a mean of each chunk."""

    scorer: StreamScorer
    names: tuple[str, ...] = field(default=())

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the means."""
        return {f"mean.{number}": mean for number, mean in enumerate(self.scorer.means)}, {
            "means": len(self.scorer.means)
        }

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Go back to what `snapshot` returned."""
        self.scorer.means = [tensors[f"mean.{number}"] for number in range(plain["means"])]


class StcBaseline:
    """What STC's released code runs under other methods' names, a call as one chunk.

    Args:
        settings: Mode and tokens kept.
    """

    def __init__(self, settings: StcBaselineSettings) -> None:
        self.settings = settings

    def new_state(self) -> ScorerState:
        """Return the memory of a new stream."""
        return ScorerState(StreamScorer(self.settings.mode, self.settings.keep))

    @torch.no_grad()
    def prune(self, features: Tensor, state: ScorerState) -> KeptRows:
        """Choose the tokens that go on; see `evalkit.compress.pruner.Pruner.prune`."""
        frames, tokens, _ = features.shape
        places = state.scorer.choose(features)
        kept = (places + torch.arange(frames, device=places.device).unsqueeze(1) * tokens).flatten()
        share = min(self.settings.keep, tokens) / tokens
        return KeptRows(kept, _report("stc-baseline", frames * tokens, len(kept), share))


def _report(name: str, tokens_in: int, tokens_out: int, claimed: float | None, note: str = "") -> CompressorReport:
    return CompressorReport(
        name=name, tokens_in=tokens_in, tokens_out=tokens_out, claimed_share=claimed, note=note
    )
