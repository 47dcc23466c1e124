"""What a cacher saves and costs on a tower: encode time against feature error, frame by frame in one run."""

from __future__ import annotations

__all__ = ["ChunkComparison", "EncodingComparison", "compare_encoding"]

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from evalkit.compress.cacher import CacherState, EncodedFrames
from evalkit.errors import UsageError


class StreamEncoder(Protocol):
    """A cacher of any host."""

    @property
    def encode(self) -> Callable[..., EncodedFrames]:
        """Encode with the cacher: the host's inputs, then the state."""
        ...

    @property
    def encode_full(self) -> Callable[..., Tensor]:
        """Encode the host's inputs without the cacher."""
        ...

    def new_state(self) -> CacherState:
        """Return the empty state of a stream."""
        ...


@dataclass(frozen=True, slots=True)
class ChunkComparison:
    """One call of the stream, with and without the cacher.

    Args:
        index: Number of the call.
        reference_frames: Frames computed fully because they are references.
        reused_share: Share of token computations taken from the reference.
        full_seconds: Median wall seconds without the cacher.
        cached_seconds: Median wall seconds with it.
        time_ratio: Median of cached over full time of the pairs taken back to back, which a machine that slows
            down in between does not move.
        relative_error: ``|cached - full| / |full|`` of the features (Frobenius norms).
    """

    index: int
    reference_frames: int
    reused_share: float
    full_seconds: float
    cached_seconds: float
    time_ratio: float
    relative_error: float


@dataclass(frozen=True, slots=True)
class EncodingComparison:
    """All calls of the stream."""

    chunks: tuple[ChunkComparison, ...]

    @property
    def saved(self) -> float:
        """Share of the encode time saved over the stream, references included."""
        cached = sum(chunk.full_seconds * chunk.time_ratio for chunk in self.chunks)
        return 1.0 - cached / sum(chunk.full_seconds for chunk in self.chunks)

    @property
    def between_references(self) -> float | None:
        """Median time ratio of the calls without a reference, ``None`` where all have one."""
        ratios = [chunk.time_ratio for chunk in self.chunks if chunk.reference_frames == 0]
        return statistics.median(ratios) if ratios else None

    @property
    def relative_error(self) -> float:
        """Mean relative error of the features over the stream."""
        return statistics.fmean(chunk.relative_error for chunk in self.chunks)

    @property
    def reused_share(self) -> float:
        """Mean reused share over the stream."""
        return statistics.fmean(chunk.reused_share for chunk in self.chunks)


def compare_encoding(
    cacher: StreamEncoder,
    chunks: Sequence[tuple[Any, ...]],
    repeats: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> EncodingComparison:
    """Encode a stream with and without the cacher, interleaved call by call, and compare.

    Both ways meet the same load of the machine because each call is timed both ways before the next; which
    comes first alternates. The stream is run once more than ``repeats``; the first pass warms up.

    Args:
        cacher: The wrapped tower.
        chunks: The host's inputs of each call, in stream order (``(pixel_values,)`` or
            ``(pixel_values, grid_thw)``).
        repeats: Timed passes over the stream, >= 1; times are medians over them.
        clock: Wall clock, seconds.

    Raises:
        UsageError: No chunks, or no repeats.
    """
    if not chunks or repeats < 1:
        raise UsageError("a comparison needs at least one chunk of frames and one repeat")
    pairs: list[list[tuple[float, float]]] = [[] for _ in chunks]
    outcomes: list[tuple[float, EncodedFrames]] = []
    for turn in range(repeats + 1):
        state = cacher.new_state()
        outcomes = []
        for index, inputs in enumerate(chunks):
            times: dict[bool, float] = {}
            results: dict[bool, Any] = {}
            for cached in (False, True) if (turn + index) % 2 else (True, False):
                start = _settled(clock, inputs)
                results[cached] = cacher.encode(*inputs, state) if cached else cacher.encode_full(*inputs)
                times[cached] = _settled(clock, inputs) - start
            if turn:
                pairs[index].append((times[False], times[True]))
            outcomes.append((_relative_error(results[True].features, results[False]), results[True]))
    return EncodingComparison(
        tuple(_comparison(index, pairs[index], encoded, error) for index, (error, encoded) in enumerate(outcomes))
    )


def _comparison(
    index: int, pairs: Sequence[tuple[float, float]], encoded: EncodedFrames, error: float
) -> ChunkComparison:
    return ChunkComparison(
        index=index,
        reference_frames=encoded.report.reference_frames,
        reused_share=encoded.report.reused_share or 0.0,
        full_seconds=statistics.median(full for full, _ in pairs),
        cached_seconds=statistics.median(cached for _, cached in pairs),
        time_ratio=statistics.median(cached / full for full, cached in pairs),
        relative_error=error,
    )


def _settled(clock: Callable[[], float], inputs: tuple[Any, ...]) -> float:
    # A GPU returns before it has finished; wait, or the clock reads only the launch.
    if any(isinstance(value, Tensor) and value.is_cuda for value in inputs):
        torch.cuda.synchronize()
    return clock()


def _relative_error(cached: Tensor, full: Tensor) -> float:
    full = full.reshape(cached.shape).float()
    return float((cached.float() - full).norm() / full.norm().clamp_min(1e-30))
