"""How far a narration lags its reference transcript: the shift at which what was said fits what is told best."""

from __future__ import annotations

__all__ = ["LEAST_SECONDS", "Alignment", "alignment_lag", "narration_lag"]

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evalkit.records import AnswerRecord
from evalkit.report.emission import paced_alike
from evalkit.report.replay import Replay
from evalkit.report.runs import Run

EARLIEST, LATEST = -10, 60
"""Shifts looked at, seconds: a narration may be ahead of its reference too."""
_SHIFTS = range(EARLIEST, LATEST + 1)
LEAST_SECONDS = 30
"""Seconds with words below which no shift is told."""
MOST_SECONDS = 7200
"""Seconds with words that are looked at on either side: more make the shift no surer."""
_STANDS_OUT = 4.0
"""By how many standard deviations of all other shifts the best must stand out to be told."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """The shift between a narration and its reference.

    Args:
        lag: Seconds from what is told to what was said of it; ``None`` where no shift stands out, or where fewer
            than `LEAST_SECONDS` have words: a single one fits somewhere by chance.
        similarity: Similarity at each shift from `EARLIEST` to `LATEST`, 1 where both sides say the same.
        seconds: Seconds with words, of the side that has fewer.
    """

    lag: int | None
    similarity: tuple[float, ...]
    seconds: int


def alignment_lag(
    said: Iterable[tuple[str, float, str]], told: Iterable[tuple[str, float, str]]
) -> Alignment | None:
    """Return the shift at which what was said, second by second, is most like the reference.

    Similarity at a shift is the cosine of the words of all seconds, each word weighted by how rare it is among the
    reference's seconds (inverse document frequency): whatever is said in every second tells no time.

    Args:
        said: ``(stream, second at which it was out, words)``.
        told: ``(stream, second at which it begins, words)`` of the reference.

    Returns:
        ``None`` where either side has no words.
    """
    mine, theirs = _by_second(said), _by_second(told)
    if not mine or not theirs:
        return None
    seen = Counter(word for words in theirs.values() for word in set(words))
    weight = {word: math.log((1 + len(theirs)) / (1 + count)) for word, count in seen.items()}
    numbers = {word: number for number, word in enumerate(weight)}
    streams = {stream: number for number, stream in enumerate(dict.fromkeys(key[0] for key in (*mine, *theirs)))}
    left, right = (_Entries.of(side, weight, numbers, streams) for side in (mine, theirs))
    norm = math.sqrt(left.squares(mine, weight) * right.squares(theirs, weight))
    found = np.array([left.product(right, shift) / norm if norm else 0.0 for shift in _SHIFTS])
    best = int(found.argmax())
    others = np.delete(found, slice(max(0, best - 2), best + 3))
    enough = min(len(mine), len(theirs)) >= LEAST_SECONDS
    stands_out = enough and bool(found[best] > others.mean() + _STANDS_OUT * others.std())
    return Alignment(_SHIFTS[best] if stands_out else None, tuple(found.tolist()), min(len(mine), len(theirs)))


_Seconds = Mapping[tuple[str, int], Counter[str]]
_STRIDE = 2**32
"""Room for the seconds of all streams behind one another, within one word's keys."""
_APART = 2**20
"""Room for one stream's seconds; more than any shift lies between two streams."""


@dataclass(frozen=True, slots=True)
class _Entries:
    """The known words of one side as weighted entries of (word, stream, second), sorted.

    Args:
        keys: Shape ``(n,)``, ascending: word, then stream, then second.
        values: Shape ``(n,)``, count times weight.
    """

    keys: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(
        cls, side: _Seconds, weight: Mapping[str, float], numbers: Mapping[str, int], streams: Mapping[str, int]
    ) -> _Entries:
        entries = [
            (numbers[word] * _STRIDE + streams[stream] * _APART + second - EARLIEST, count * weight[word])
            for (stream, second), words in side.items()
            for word, count in words.items()
            if word in numbers
        ]
        entries.sort()
        keys = np.array([key for key, _ in entries], dtype=np.int64)
        return cls(keys, np.array([value for _, value in entries], dtype=np.float64))

    def squares(self, side: _Seconds, weight: Mapping[str, float]) -> float:
        """Return the sum of squares, words that the reference never says weighted as the rarest of it."""
        rarest = max(weight.values())
        unknown = sum(
            (count * rarest) ** 2 for words in side.values() for word, count in words.items() if word not in weight
        )
        return float(self.values @ self.values) + unknown

    def product(self, other: _Entries, shift: int) -> float:
        """Return the inner product with another side's entries that lie so many seconds earlier."""
        if not self.keys.size or not other.keys.size:
            return 0.0
        wanted = self.keys - shift
        places = np.minimum(np.searchsorted(other.keys, wanted), other.keys.size - 1)
        same = other.keys[places] == wanted
        return float(self.values[same] @ other.values[places[same]])


def _by_second(lines: Iterable[tuple[str, float, str]]) -> dict[tuple[str, int], Counter[str]]:
    found: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for stream, time, text in lines:
        if len(found) >= MOST_SECONDS:
            break
        words = [word.strip(".,!?;:\"'()[]").casefold() for word in text.split()]
        counted = Counter(word for word in words if any(char.isalnum() for char in word))
        if counted:
            found[stream, math.floor(time)] += counted
    return found


def narration_lag(run: Run, replay: Replay) -> Alignment | None:
    """Return the shift between what a run said, when it was out, and its reference transcript.

    Args:
        run: The run; the reference of each second is its answer's gold.
        replay: It behind the clock. On the wall clock where the run was paced as it is replayed.

    Returns:
        ``None`` where nothing was narrated, there is no reference, or the clock's figures are withheld.
    """
    spoken = [one for one in run.records.answers if one.kind == "narration" and one.status == "ok"]
    if not any(one.gold for one in spoken):
        return None
    out = _emissions(run, replay, spoken)
    said = ((one.sample, out[one.sample, one.query], one.text) for one in spoken if (one.sample, one.query) in out)
    return alignment_lag(said, ((one.sample, one.start, one.gold) for one in spoken if one.gold))


def _emissions(run: Run, replay: Replay, spoken: Sequence[AnswerRecord]) -> dict[tuple[str, str], float]:
    """Return the media time at which each second's words were out, by sample and query."""
    if paced_alike(run, replay) and all(one.emitted is not None for one in spoken):
        rows = replay.ticks.by_sample()
        begun = {sample: float(replay.ticks.start[place].min()) for sample, place in rows.items()}
        return {
            (one.sample, one.query): begun[one.sample] + (one.emitted or 0.0)
            for one in spoken
            if one.sample in begun
        }
    ended: dict[tuple[str, float], float] = {}
    for stream in replay.streams:
        begin = float(stream.ticks.start[0])
        times = begin + stream.times.end / replay.stretch
        starts = stream.ticks.start.tolist()
        ended |= {
            (stream.sample, start): time
            for start, time in zip(starts, times.tolist(), strict=True)
            if math.isfinite(time)
        }
    found = ((one, ended.get((one.sample, one.start))) for one in spoken)
    return {(one.sample, one.query): time for one, time in found if time is not None}
