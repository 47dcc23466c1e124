"""The vision side of one session: pack, encode, compress, and report what the compressors did."""

from __future__ import annotations

__all__ = ["SessionVision", "VisionSide"]

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evalkit.compress import CompressionSpec, CompressorSpec
from evalkit.compress.contract import SideProducts, checked_rows
from evalkit.errors import ModelError, UsageError
from evalkit.models.backbone import Backbone, Features, Packed
from evalkit.models.foreign import call_foreign
from evalkit.records import CompressorReport
from evalkit.timing import StageClock


@dataclass(frozen=True, slots=True)
class TokenCompressor:
    """A compressor before the language model, and what it was made of.

    Args:
        built: What `CompressorKind.build` returned.
        spec: Its name and settings.
    """

    built: Any
    spec: CompressorSpec

    @property
    def merges(self) -> bool:
        """Whether it puts new vectors in place of tokens."""
        return self.spec.kind.merges(self.spec.settings)

    @property
    def asks(self) -> bool:
        """Whether it asks the vision tower for more than features."""
        return bool(self.spec.kind.needs)

    def compress(self, features: torch.Tensor, state: Any, side: SideProducts | None) -> Any:
        """Return what goes on of features ``(frames, tokens, dim)``."""
        given = (side,) if self.asks else ()
        return call_foreign(f"compressor {self.spec.kind.name}: prune", self.built.prune, features, state, *given)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """What the encoder gave: tokens, where they stand if it merged some, and what gives its side products."""

    tokens: torch.Tensor
    rows: torch.Tensor | None = None
    side: Callable[[], SideProducts] | None = None


class VisionSide:
    """The vision encoder of a model with its compressors, from which each session gets its own.

    Args:
        backbone: The network.
        compression: Compressors by name and settings.

    Raises:
        UsageError: No cacher wraps the backbone's vision encoder.
    """

    def __init__(self, backbone: Backbone, compression: CompressionSpec) -> None:
        self._backbone = backbone
        vision, tokens = compression.vision, compression.tokens
        self._cacher = None if vision is None else _built(vision, "encode", backbone.tower)
        self._pruner = None if tokens is None else TokenCompressor(_built(tokens, "prune"), tokens)

    def open(self, watch: Callable[[Features], None] | None = None) -> SessionVision:
        """Return the vision side of a new session, with the state a new stream starts with.

        Args:
            watch: Shown the features of each second.
        """
        return SessionVision(self._backbone, self._cacher, self._pruner, watch)


def _built(spec: CompressorSpec, works_by: str, *given: Any) -> Any:
    """Build a compressor, which may be somebody else's code.

    Raises:
        ModelError: It cannot be built, or what was built lacks a method that a session calls.
    """
    label = f"compressor {spec.kind.name}"
    built = call_foreign(f"{label}: build", spec.kind.build, *given, spec.settings)
    lacks = [method for method in ("new_state", works_by) if not callable(getattr(built, method, None))]
    if not lacks:
        state = call_foreign(f"{label}: new_state", built.new_state)
        lacks = [f"{method} of its state" for method in ("snapshot", "restore") if not hasattr(state, method)]
    if lacks:
        raise ModelError(f"{label} lacks {', '.join(lacks)} (see docs/adding-a-compressor.md)")
    return built


class SessionVision:
    """Encodes and compresses the frames of one stream.

    Args:
        backbone: The network.
        cacher: Compressor around the vision encoder, as `CompressorKind.build` returns it, if any.
        pruner: Compressor before the language model, if any.
        watch: Shown the features of each second.
    """

    def __init__(
        self,
        backbone: Backbone,
        cacher: Any = None,
        pruner: TokenCompressor | None = None,
        watch: Callable[[Features], None] | None = None,
    ) -> None:
        self._backbone = backbone
        self._watch = watch
        self._cacher = cacher
        self._pruner = pruner
        self._states: dict[str, Any] = {
            name: compressor.new_state()
            for name, compressor in (("cacher", cacher), ("pruner", None if pruner is None else pruner.built))
            if compressor is not None
        }
        self._reports: dict[str, CompressorReport] = {}

    def pack(self, frames: NDArray[np.uint8]) -> Packed:
        """Normalise frames and lay them out for the encoder."""
        return self._backbone.pack(frames)

    def encode(self, packed: Packed, clock: StageClock) -> Features:
        """Return what the language model is to see of one second of frames.

        Raises:
            ModelError: A compressor returned what does not fit the features.
        """
        clock.enter("vision_encode")
        encoded = self._encoded(packed, self._states.get("cacher"))
        tokens, rows = encoded.tokens, None
        if encoded.rows is not None:
            rows = encoded.rows.cpu().numpy()
        elif self._pruner is not None:
            clock.enter("compress")
            tokens, rows = self._compressed(self._pruner, encoded, packed.grid)
        clock.enter("other")
        features = Features(tokens, packed.grid, rows)
        if self._watch is not None:
            self._watch(features)
        return features

    def _compressed(
        self, pruner: TokenCompressor, encoded: _Encoded, grid: tuple[int, int, int]
    ) -> tuple[torch.Tensor, NDArray[np.int64] | None]:
        """Return the tokens that go on and the rows they stand at, ``None`` for all."""
        frames, height, width = grid
        features = encoded.tokens.view(frames, height * width, -1)
        side = None if encoded.side is None else encoded.side()
        result = pruner.compress(features, self._states["pruner"], side)
        rows, merged = checked_rows(result, features, pruner.spec.kind.name)
        self._note(result.report)
        if merged is not None:
            return merged.to(features.dtype), rows
        if len(rows) == len(encoded.tokens):
            return encoded.tokens, None
        return encoded.tokens.index_select(0, torch.from_numpy(rows).to(features.device)), rows

    def encode_window(
        self, seconds: Iterable[tuple[Packed, NDArray[np.int64] | None]], clock: StageClock
    ) -> Iterator[Features]:
        """Encode earlier seconds again, for a policy that computes its window anew.

        The cacher starts afresh with the first of them and the stream's own reference stays as it is. Which
        tokens stand in the context was decided when a second was new, so these are kept, and no others.

        Args:
            seconds: Packed frames in stream order, each with the rows of its tokens that were kept.
            clock: Clock of the second in hand.

        Raises:
            UsageError: A compressor merges tokens, which rows alone do not bring back.
        """
        state = None if self._cacher is None else self._cacher.new_state()
        for packed, rows in seconds:
            clock.enter("vision_encode")
            encoded = self._encoded(packed, state)
            merged = rows is not None and self._pruner is not None and self._pruner.merges
            if merged or encoded.rows is not None:
                raise UsageError("tokens that were merged are not encoded again: keep their features")
            tokens = encoded.tokens
            if rows is not None:
                tokens = tokens.index_select(0, torch.from_numpy(rows).to(tokens.device))
            yield Features(tokens, packed.grid, rows)
        clock.enter("other")

    def _encoded(self, packed: Packed, state: Any) -> _Encoded:
        asks = self._pruner is not None and self._pruner.asks
        if self._cacher is None:
            with self._backbone.watch_tower() if asks else nullcontext() as watched:
                tokens = self._backbone.encode(packed)
            return _Encoded(tokens, side=None if watched is None else partial(watched, packed))
        encoded = self._cacher.encode(*self._backbone.tower_inputs(packed), state)
        self._note(encoded.report)
        # One's own encoder need not know of what it does not give.
        places, side = getattr(encoded, "places", None), getattr(encoded, "side", None)
        if places is not None:
            return _Encoded(*self._backbone.from_merged(encoded.features, places))
        return _Encoded(self._backbone.from_tower(encoded.features), side=None if side is None else lambda: side)

    def _note(self, report: CompressorReport) -> None:
        before = self._reports.get(report.name)
        self._reports[report.name] = report if before is None else _joined(before, report)

    def reports(self) -> tuple[CompressorReport, ...]:
        """Return what each compressor did since the last call, one report each."""
        reports = tuple(self._reports.values())
        self._reports = {}
        return reports

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs: tensors, and plain JSON values under ``"json"``."""
        tensors: dict[str, torch.Tensor] = {}
        plain: dict[str, Any] = {}
        for name, state in self._states.items():
            held, plain[name] = state.snapshot()
            tensors |= {f"{name}.{key}": value for key, value in held.items()}
        return {"tensors": tensors, "json": plain}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what ``state`` returned."""
        device = self._backbone.device
        for name, mine in self._states.items():
            prefix = f"{name}."
            held = {
                key.removeprefix(prefix): value.to(device)
                for key, value in state["tensors"].items()
                if key.startswith(prefix)
            }
            mine.restore(held, state["json"][name])


def _joined(first: CompressorReport, second: CompressorReport) -> CompressorReport:
    """Return one report for two calls of a compressor; a share neither can be held to is claimed by neither."""
    notes = dict.fromkeys(note for note in (first.note, second.note) if note)
    return CompressorReport(
        name=first.name,
        tokens_in=first.tokens_in + second.tokens_in,
        tokens_out=first.tokens_out + second.tokens_out,
        reused_share=_mean((first.reused_share, first.tokens_in), (second.reused_share, second.tokens_in)),
        claimed_share=_mean((first.claimed_share, first.tokens_in), (second.claimed_share, second.tokens_in)),
        reference_frames=first.reference_frames + second.reference_frames,
        note="; ".join(notes),
    )


def _mean(first: tuple[float | None, int], second: tuple[float | None, int]) -> float | None:
    total = first[1] + second[1]
    if first[0] is None or second[0] is None or total == 0:
        return None
    return (first[0] * first[1] + second[0] * second[1]) / total
