"""How much slower one run's median second is than another's, on the seconds both have."""

from __future__ import annotations

__all__ = ["MedianSeconds", "SecondRatio", "hardware", "median_seconds", "service_times", "timed_apart"]

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.records import Latency, RunManifest, TickRecord, TickTable
from evalkit.report.latency import timed

FloatArray = NDArray[np.float64]

# Neighbouring seconds are alike (cache, garbage collection, clocks), so blocks of a minute are resampled; a short
# stream is cut finer, else it would have no blocks to resample.
_BLOCK_SECONDS, _SHORT_BLOCK_SECONDS, _SHORT_STREAM_SECONDS = 60, 10, 600
_LEAST_BLOCKS = 5
_DRAWS = 2000
# A bootstrap median is read off this many equal bins of the sorted seconds: rank error at most 0.05 %.
_BINS = 2000
_SHARED: dict[Latency, list[str]] = {
    "alone": [],
    "loaded": ["several samples at once"],
    "batched": ["streams as one batch"],
    "turns": ["models in turns"],
}
"""What more a second's time is told with than the machine, by `RunManifest.latency`."""
_HARDWARE = ("gpu", "processor", "cpu", "machine", "cores", "device")


@dataclass(frozen=True, slots=True)
class SecondRatio:
    """The median second of one run over that of another.

    Args:
        ratio: Of the medians; above 1 the first run is slower.
        low: Lower end of the interval; None where the streams are too short for one.
        high: Upper end.
        log_se: Standard error of the logarithm of the ratio; None where there is no interval.
        median: Median service time of the first run, seconds.
        reference: Median service time of the second run, seconds.
        seconds: Stream seconds both runs have.
        videos: Videos they are on.
    """

    ratio: float
    low: float | None
    high: float | None
    log_se: float | None
    median: float
    reference: float
    seconds: int
    videos: int


@dataclass(frozen=True, slots=True)
class MedianSeconds:
    """Median service times of several runs and their block bootstrap, resampled together.

    Args:
        medians: Label to median service time, seconds.
        draws: Label to the median in each resample, shape ``(B,)``; empty where there are too few blocks.
        seconds: Stream seconds that all runs have.
        videos: Videos they are on.
    """

    medians: Mapping[str, float]
    draws: Mapping[str, FloatArray]
    seconds: int
    videos: int

    def ratio(self, a: str, b: str, *, confidence: float = 0.95) -> SecondRatio:
        """Return run `a` over run `b` with its two-sided percentile interval."""
        low = high = log_se = None
        if self.draws:
            logs = np.log(self.draws[a]) - np.log(self.draws[b])
            tail = (1 - confidence) / 2
            low, high = (float(math.exp(bound)) for bound in np.quantile(logs, [tail, 1 - tail]))
            log_se = float(logs.std(ddof=1))
        one, other = self.medians[a], self.medians[b]
        return SecondRatio(one / other, low, high, log_se, one, other, self.seconds, self.videos)


def hardware(manifest: RunManifest) -> str:
    """Return the machine a run took place on, and who shared it, in words; empty where it is not on record."""
    facts = [(key, manifest.host[key]) for key in _HARDWARE if manifest.host.get(key) not in (None, "")]
    words = [f"{key} {value}" for key, value in facts]
    return ", ".join([*words, *_SHARED[manifest.latency]])


def timed_apart(manifests: Sequence[RunManifest]) -> str | None:
    """Return in what the timing of runs differs, only what does, or None where nothing does."""
    told = list(dict.fromkeys(hardware(one) for one in manifests))
    if len(told) < 2:
        return None
    parts = [words.split(", ") if words else ["unrecorded"] for words in told]
    common = set(parts[0]).intersection(*parts)
    apart = " against ".join(", ".join(p for p in one if p not in common) or "one at a time" for one in parts)
    company = {words for shared in _SHARED.values() for words in shared}
    if {p for one in parts for p in one} - common <= company:
        return f"not in the same company ({apart})"
    return f"on different machines ({apart})"


def median_seconds(
    runs: Mapping[str, Sequence[TickRecord]], *, draws: int = _DRAWS, seed: int = 0
) -> MedianSeconds | None:
    """Return the median second of each run over the seconds all of them have, or None where there are none.

    Args:
        runs: Label to ticks; seconds whose time is not a positive number are left out for all.
        draws: Resamples of whole blocks (a minute of one video; ten seconds where all streams together last
            less than ten minutes). All runs share the resamples, so that their ratio is paired.
        seed: Of the resamples.
    """
    tables = {label: service_times(ticks) for label, ticks in runs.items()}
    if not tables:
        return None
    common = sorted(set.intersection(*(set(table) for table in tables.values())))
    if not common:
        return None
    length = _BLOCK_SECONDS if len(common) >= _SHORT_STREAM_SECONDS else _SHORT_BLOCK_SECONDS
    numbers: dict[tuple[str, int], int] = {}
    blocks = np.array([numbers.setdefault((sample, second // length), len(numbers)) for sample, second in common])
    times = {label: np.array([table[key] for key in common]) for label, table in tables.items()}
    resampled: dict[str, FloatArray] = {}
    if len(numbers) >= _LEAST_BLOCKS:
        resampled = {
            label: _resampled_medians(values, blocks, len(numbers), draws, seed) for label, values in times.items()
        }
    return MedianSeconds(
        medians={label: float(np.median(values)) for label, values in times.items()},
        draws=resampled,
        seconds=len(common),
        videos=len({sample for sample, _ in common}),
    )


def service_times(ticks: Sequence[TickRecord]) -> dict[tuple[str, int], float]:
    """Return the seconds that took a measured time, by sample and number, in the order of the records."""
    table = TickTable.of(ticks)
    table = timed(table)
    names = [table.samples[place] for place in table.sample.tolist()]
    return dict(zip(zip(names, table.whole["second"].tolist(), strict=True), table.total.tolist(), strict=True))


def _resampled_medians(
    values: FloatArray, blocks: NDArray[np.intp], count: int, draws: int, seed: int
) -> FloatArray:
    """Return the median in each block resample, shape ``(draws,)``."""
    from evalkit.stats.bootstrap import resample_clusters

    order = np.argsort(values, kind="stable")
    bins = np.arange(values.size) * min(_BINS, values.size) // values.size
    width = int(bins[-1]) + 1
    centre = np.array([np.median(part) for part in np.split(values[order], np.flatnonzero(np.diff(bins)) + 1)])
    counts = np.zeros((count, width))
    np.add.at(counts, (blocks[order], bins), 1.0)
    medians = []
    for weights in resample_clusters(count, draws, seed):
        totals = np.cumsum(weights @ counts, axis=1)
        half = totals[:, -1:] / 2
        medians.append(centre[np.argmax(totals >= half, axis=1)])
    return np.concatenate(medians)
