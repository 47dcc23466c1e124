"""Curves of replays that plots and the page draw: service time, backlog, distribution of lags, sliding RTF."""

from __future__ import annotations

__all__ = ["ReplayCurves", "lag_share", "replay_curves"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.report.curves import Curve, bin_width, binned
from evalkit.report.replay import Replay
from evalkit.timing import minute_factors

_LEVELS = np.linspace(0, 100, 201)


@dataclass(frozen=True)
class ReplayCurves:
    """What one replay looks like, each over stream time but the lag.

    Args:
        service: Service time of a chunk, seconds.
        backlog: Chunks waiting or in work when one arrives.
        minute: Real-time factor of the last 60 s.
        lag: Share of all chunks, percent, that were done within so many seconds (``x``).
    """

    service: Curve
    backlog: Curve
    minute: Curve
    lag: Curve


def replay_curves(replays: Sequence[Replay], bins: int) -> list[ReplayCurves]:
    """Return the curves of replays that have streams behind the clock, cut into at most so many bins."""
    shown = [replay for replay in replays if replay.streams]
    span = max((replay.horizon for replay in shown), default=0.0)
    width = bin_width(span, bins) if span else 1.0
    return [_curves(replay, width) for replay in shown]


def _curves(replay: Replay, width: float) -> ReplayCurves:
    times = _joined([stream.times.arrival - stream.media / 2 for stream in replay.streams])
    minutes = _joined([minute_factors(stream.media, stream.service) for stream in replay.streams])
    return ReplayCurves(
        service=binned(replay.name, times, _joined([s.service for s in replay.streams]), width),
        backlog=binned(replay.name, times, _joined([s.times.backlog for s in replay.streams]), width),
        minute=binned(replay.name, times, minutes, width),
        lag=lag_share(replay),
    )


def lag_share(replay: Replay) -> Curve:
    """Return the distribution of lags; where chunks were dropped it ends below 100 %."""
    lags = replay.lag
    reached = _LEVELS * lags.size / replay.missed.size if lags.size else _LEVELS[:0]
    x = tuple(np.percentile(lags, _LEVELS).tolist()) if lags.size else ()
    y = tuple(reached.tolist())
    return Curve(replay.name, 0.0, x, y, y, y, (lags.size,) * len(x))


def _joined(parts: Sequence[NDArray[np.float64] | NDArray[np.int64]]) -> NDArray[np.float64]:
    return np.concatenate(parts).astype(np.float64)
