"""Percentiles of service times as every latency table states them: p50, p95, p99 and the maximum."""

from __future__ import annotations

__all__ = ["Percentiles", "finite", "percentiles"]

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of ``n`` values, in the values' own unit.

    Args:
        n: Values counted.
        p50: Median.
        p95: 95th percentile.
        p99: 99th percentile.
        max: Largest value.
        mean: Arithmetic mean.
    """

    n: int
    p50: float
    p95: float
    p99: float
    max: float
    mean: float

    def as_dict(self) -> dict[str, float]:
        """Return the form of ``--json``: ``{"p50": ..., "p95": ..., "p99": ..., "max": ...}``."""
        return {"p50": self.p50, "p95": self.p95, "p99": self.p99, "max": self.max}


def finite(values: Iterable[float | None] | NDArray[Any]) -> NDArray[np.float64]:
    """Return the values that are numbers, in order: ``None``, NaN and infinities are left out."""
    listed = values if isinstance(values, np.ndarray) else [np.nan if one is None else one for one in values]
    array = np.asarray(listed, dtype=np.float64)
    return array[np.isfinite(array)]


def percentiles(values: Iterable[float | None] | NDArray[Any]) -> Percentiles | None:
    """Return the percentiles of the finite values, or ``None`` where there is none.

    Percentiles interpolate linearly between order statistics, the rule of NumPy's default and of vLLM's
    ``benchmarks/serve.py``, so that figures compare with published ones.

    Args:
        values: Times or counts; ``None``, NaN and infinities are left out (``n`` says how many remain).
    """
    array = finite(values)
    if not array.size:
        return None
    p50, p95, p99 = np.percentile(array, (50, 95, 99))
    return Percentiles(
        n=int(array.size),
        p50=float(p50),
        p95=float(p95),
        p99=float(p99),
        max=float(array.max()),
        mean=float(array.mean()),
    )
