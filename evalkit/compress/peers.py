"""The token compressors that STC is compared with, as a session uses them: features in, rows and a report out."""

from __future__ import annotations

__all__ = ["DyCoke", "FrameStride", "StcBaseline", "StcVisionZip", "VidCom2", "VisionZip"]

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from evalkit.compress.contract import Compressed, NoState, SideProducts
from evalkit.compress.dycoke import TemporalMemory
from evalkit.compress.novelty import lowest
from evalkit.compress.settings import (
    DyCokeSettings,
    FrameStrideSettings,
    StcBaselineSettings,
    StcVisionZipSettings,
    VidCom2Settings,
    VisionZipSettings,
)
from evalkit.compress.vidcom2 import StreamScorer, choose_in_clip
from evalkit.compress.visionzip import zip_without_class_token
from evalkit.records import CompressorReport


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
    def prune(self, features: Tensor, state: NoState) -> Compressed:
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
        return Compressed(kept, _report("vidcom2", frames * tokens, len(kept), None if adapts else each, note))


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
    def prune(self, features: Tensor, state: DyCokeState) -> Compressed:
        """Choose the tokens that go on; see `evalkit.compress.pruner.Pruner.prune`."""
        frames, tokens, _ = features.shape
        promised, parts = 0, []
        for number, frame in enumerate(features):
            promised += tokens if state.memory.phase == 0 else int((1 - self.settings.pruned) * tokens)
            parts.append(state.memory.choose(frame).to(features.device) + number * tokens)
        kept = torch.cat(parts)
        return Compressed(kept, _report("dycoke-ttm", frames * tokens, len(kept), promised / (frames * tokens)))


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
    def prune(self, features: Tensor, state: ScorerState) -> Compressed:
        """Choose the tokens that go on; see `evalkit.compress.pruner.Pruner.prune`."""
        return _places(state.scorer.choose(features), features.shape[1], "stc-baseline")


class VisionZip:
    """VisionZip on towers without a class token: what receives attention, and the rest merged into a few.

    Args:
        settings: Tokens of a frame, and how many of them are chosen.
    """

    def __init__(self, settings: VisionZipSettings) -> None:
        self.settings = settings

    def new_state(self) -> NoState:
        """Return the memory of a new stream: none."""
        return NoState()

    @torch.no_grad()
    def prune(self, features: Tensor, state: NoState, side: SideProducts) -> Compressed:
        """Choose and merge; see `evalkit.compress.spec.CompressorKind.build`."""
        frames, tokens, dim = features.shape
        keep = self.settings.kept(tokens)
        if keep == tokens:
            note = f"{tokens} tokens a frame are not above the {self.settings.keep or tokens} kept: nothing goes"
            return _places(
                torch.arange(tokens, device=features.device).expand(frames, -1), tokens, "visionzip", note
            )
        zipped = zip_without_class_token(
            side.attention, features, side.keys, keep, dominant=self.settings.dominants(keep)
        )
        order = zipped.places.argsort(dim=-1)
        chosen = _places(zipped.places.gather(1, order), tokens, "visionzip")
        if not self.settings.merges:
            return chosen
        merged = zipped.out.gather(1, order.unsqueeze(-1).expand(-1, -1, dim)).flatten(0, 1)
        return Compressed(chosen.kept, chosen.report, merged)


class StcVisionZip:
    """What STC's released code has under VisionZip's name: the least attended tokens, none merged.

    Args:
        settings: Share that stays.
    """

    def __init__(self, settings: StcVisionZipSettings) -> None:
        self.settings = settings

    def new_state(self) -> NoState:
        """Return the memory of a new stream: none."""
        return NoState()

    @torch.no_grad()
    def prune(self, features: Tensor, state: NoState, side: SideProducts) -> Compressed:
        """Choose the tokens that go on; see `evalkit.compress.spec.CompressorKind.build`."""
        tokens = features.shape[1]
        return _places(lowest(side.attention, max(1, int(tokens * self.settings.share))), tokens, "stc-visionzip")


@dataclass(slots=True)
class StrideState:
    """How far a stream's frames are counted."""

    frames: int = 0

    def snapshot(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the count."""
        return {}, {"frames": self.frames}

    def restore(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Go back to what `snapshot` returned."""
        self.frames = plain["frames"]


class FrameStride:
    """One frame of so many, whole; of the others nothing.

    Args:
        settings: Of how many.
    """

    def __init__(self, settings: FrameStrideSettings) -> None:
        self.settings = settings

    def new_state(self) -> StrideState:
        """Return the memory of a new stream."""
        return StrideState()

    def prune(self, features: Tensor, state: StrideState) -> Compressed:
        """Choose the frames that go on; see `evalkit.compress.spec.CompressorKind.build`."""
        frames, tokens, _ = features.shape
        whole = [number for number in range(frames) if (state.frames + number) % self.settings.every == 0]
        state.frames += frames
        starts = torch.tensor(whole, dtype=torch.long, device=features.device).unsqueeze(1) * tokens
        kept = (starts + torch.arange(tokens, device=features.device)).flatten()
        return Compressed(kept, _report("frame-stride", frames * tokens, len(kept), len(whole) / frames))


def _places(places: Tensor, tokens: int, name: str, note: str = "") -> Compressed:
    """Return a choice of places ``(frames, keep)``; it claims its share unless something is noted."""
    frames, keep = places.shape
    kept = (places + torch.arange(frames, device=places.device).unsqueeze(1) * tokens).flatten()
    return Compressed(kept, _report(name, frames * tokens, len(kept), None if note else keep / tokens, note))


def _report(name: str, tokens_in: int, tokens_out: int, claimed: float | None, note: str = "") -> CompressorReport:
    return CompressorReport(
        name=name, tokens_in=tokens_in, tokens_out=tokens_out, claimed_share=claimed, note=note
    )
