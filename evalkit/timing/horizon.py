"""How long a session keeps up: the real-time factor of a sliding minute, and when it exceeds one (no torch)."""

from __future__ import annotations

__all__ = ["MINUTE", "first_behind", "minute_factors"]

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MINUTE = 60.0
_EXACT = 1e-9


def minute_factors(media: Floats, service: Floats, span: float = MINUTE) -> Floats:
    """Return the service time over the media time of the ``span`` seconds before each tick's end.

    Args:
        media: Media seconds of each tick of one stream, shape ``(n,)``, in order and without gaps.
        service: Its service time, seconds, shape ``(n,)``.
        span: Length of the window, media seconds.

    Returns:
        Shape ``(n,)``; NaN where less than ``span`` seconds have passed.
    """
    ends, spent = np.cumsum(media), np.cumsum(service)
    # Whole ticks only: the window begins where a tick ends, no later than span seconds back.
    before = np.searchsorted(ends, ends - span + _EXACT, side="right")
    base_media = np.append(0.0, ends)[before]
    base_spent = np.append(0.0, spent)[before]
    window = ends - base_media
    factors: Floats = np.divide(spent - base_spent, window, out=np.full(media.size, np.nan), where=window > 0)
    factors[ends < span - _EXACT] = np.nan
    return factors


def first_behind(media: Floats, service: Floats, span: float = MINUTE) -> float | None:
    """Return the stream time at which the real-time factor of the last ``span`` seconds first exceeds one.

    Args:
        media: As in `minute_factors`.
        service: As there.
        span: As there.

    Returns:
        Media seconds since the stream's start; ``None`` where it never does.
    """
    behind = np.flatnonzero(minute_factors(media, service, span) > 1 + _EXACT)
    return float(np.cumsum(media)[behind[0]]) if behind.size else None
