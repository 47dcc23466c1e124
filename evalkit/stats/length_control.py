"""A win rate with the judge's taste for talkative answers taken out; the raw rate lives in `pairwise`."""

from __future__ import annotations

__all__ = ["LengthControlledWinRate", "SpeechLength", "length_controlled_win_rate"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evalkit.errors import UsageError
from evalkit.stats.bootstrap import BOOTSTRAP_DRAWS, percentile_interval, resample_clusters, stretched
from evalkit.stats.clusters import Clusters, FloatArray, Labels, checked_confidence, checked_scores
from evalkit.stats.one import NO_SPREAD, ONE_VIDEO

# Log odds of 12 are a probability of 0.999994: beyond it the data separate and no finite fit exists.
_LIMIT = 12.0
# Rows times resamples held at once: 1 M doubles, 8 MB per working array.
_CHUNK_ENTRIES = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class SpeechLength:
    """How much one model said in each pair.

    Args:
        words_per_second: Shape ``(n,)``, words over media seconds.
        silent_share: Shape ``(n,)``, share of seconds without a word, 0 to 1.
    """

    words_per_second: ArrayLike
    silent_share: ArrayLike


@dataclass(frozen=True, slots=True)
class LengthControlledWinRate:
    """The win rate at equal length.

    Args:
        win_rate: Win rate predicted with both length terms at 0; None where no finite fit exists.
        low: Lower end of its interval, refitted on resampled videos; None where there is none.
        high: Upper end.
        raw: Win rate as judged, a tie one half.
        words_effect: Log odds gained by saying far more words per second; None where lengths never differ.
        silence_effect: Log odds gained by being silent for a far larger share; None where it never differs.
        n: Pairs.
        clusters: Videos.
        note: What a reader must know; empty when there is nothing.
    """

    win_rate: float | None
    low: float | None
    high: float | None
    raw: float
    words_effect: float | None
    silence_effect: float | None
    n: int
    clusters: int
    note: str = ""


def length_controlled_win_rate(
    scores: ArrayLike,
    test: SpeechLength,
    baseline: SpeechLength,
    clusters: Labels | Clusters,
    *,
    confidence: float = 0.95,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> LengthControlledWinRate:
    """Return the win rate the model under test would have at the baseline's length.

    After AlpacaEval 2 (Dubois et al. 2024, arXiv 2404.04475; `metrics/glm_winrate.py`): logit P(test wins) =
    theta + phi_w tanh(dw / sd(dw)) + phi_s tanh(ds / sd(ds)), with dw the difference in words per second and ds
    in the share of silent seconds; the result is P with the length terms at 0. Unlike there the fit is plain
    maximum likelihood, a tie is the soft label one half, and the error is that of refitting on resampled
    videos, since the spread of the predictions alone understates it. The scales sd are those of the sample.

    Args:
        scores: Shape ``(n,)``: 1 the model under test won, one half a tie, 0 the baseline won.
        test: Lengths of the model under test.
        baseline: Lengths of the baseline.
        clusters: The video of each pair.
        confidence: Of the interval.
        draws: Resamples B.
        seed: Of the resamples.

    Raises:
        UsageError: Scores outside [0, 1], NaN, or lengths that do not match the pairs.
    """
    values = checked_scores(scores)
    if values.min() < 0 or values.max() > 1:
        raise UsageError("scores of pairs lie between 0 (baseline won) and 1 (model under test won)")
    checked_confidence(confidence)
    videos = Clusters.of(clusters, values.size)
    gaps = (
        _gap(test.words_per_second, baseline.words_per_second, values.size, "words per second"),
        _gap(test.silent_share, baseline.silent_share, values.size, "silent share"),
    )
    used = [gap for gap in gaps if gap is not None]
    rows = np.column_stack([np.ones(values.size), *used])
    weights = np.ones((1, values.size))
    point = _refit(weights, rows, values, np.zeros(rows.shape[1]))[0]
    raw = float(values.mean())
    if not np.isfinite(point[0]):
        note = "length separates wins from losses, or one side won every pair: no finite fit"
        return LengthControlledWinRate(None, None, None, raw, None, None, values.size, videos.count, note)
    effects = iter(point[1:])
    words, silence = (None if gap is None else float(next(effects)) for gap in gaps)
    low, high, note = _interval(rows, values, videos, point, confidence=confidence, draws=draws, seed=seed)
    if len(used) < len(gaps):
        note = "; ".join(filter(None, [note, "a length that never differs was left out"]))
    rate = float(_sigmoid(point[0]))
    return LengthControlledWinRate(rate, low, high, raw, words, silence, values.size, videos.count, note)


def _gap(test: ArrayLike, baseline: ArrayLike, pairs: int, name: str) -> FloatArray | None:
    """Return tanh(difference / sd), or None where the difference is the same in every pair and says nothing."""
    ours, theirs = checked_scores(test, name), checked_scores(baseline, name)
    if not ours.size == theirs.size == pairs:
        raise UsageError(f"{name}: {ours.size} and {theirs.size} values for {pairs} pairs")
    difference = ours - theirs
    spread = float(difference.std())
    if spread <= 1e-12 * max(1.0, float(np.abs(difference).max())):
        return None
    return np.tanh(difference / spread)


def _sigmoid(log_odds: FloatArray | float) -> FloatArray:
    result: FloatArray = 1 / (1 + np.exp(-np.asarray(log_odds)))
    return result


def _refit(weights: FloatArray, rows: FloatArray, scores: FloatArray, start: FloatArray) -> FloatArray:
    """Return logit parameters ``(b, K)`` for weights ``(b, n)`` of rows ``(n, K)``; NaN where none are finite."""
    size = rows.shape[1]
    squares = (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)
    parameters = np.tile(start, (len(weights), 1))
    total = weights.sum(axis=1)
    for _ in range(50):
        chance = _sigmoid(parameters @ rows.T)
        gradient = (weights * (scores - chance)) @ rows
        hessian = ((weights * chance * (1 - chance)) @ squares).reshape(-1, size, size)
        # Keeps the step defined where a resample has no variation left; it moves no maximum.
        hessian += (1e-10 * total)[:, None, None] * np.eye(size)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        step /= np.maximum(np.abs(step).max(axis=1, keepdims=True) / 2.0, 1.0)
        parameters = np.clip(parameters + step, -2 * _LIMIT, 2 * _LIMIT)
        if np.abs(step).max() < 1e-11:
            break
    parameters[np.abs(parameters).max(axis=1) > _LIMIT] = np.nan
    return parameters


def _interval(
    rows: FloatArray,
    scores: FloatArray,
    videos: Clusters,
    point: FloatArray,
    *,
    confidence: float,
    draws: int,
    seed: int,
) -> tuple[float | None, float | None, str]:
    """Return low, high and a note, by refitting on resampled videos."""
    if videos.count == 1:
        return None, None, ONE_VIDEO
    if np.all(scores == scores[0]):
        return None, None, NO_SPREAD
    block = max(1, _CHUNK_ENTRIES // len(rows))
    refitted = []
    for weights in resample_clusters(videos.count, draws, seed):
        for begin in range(0, len(weights), block):
            by_row = weights[begin : begin + block][:, videos.codes]
            refitted.append(_refit(by_row, rows, scores, point)[:, 0])
    replicates = _sigmoid(stretched(np.concatenate(refitted), point[0], videos.count, confidence))
    lost = int(np.count_nonzero(~np.isfinite(replicates)))
    note = f"{lost} of {draws} resamples had no finite fit and were left out" if lost else ""
    if lost > (1 - confidence) * draws:
        # They lie at one end, beyond any number: an interval of the others would end at the estimate.
        return None, None, f"no interval: {lost} of {draws} resamples had no finite fit"
    interval = percentile_interval(replicates, confidence)
    if interval is None:
        return None, None, note
    return interval.low, interval.high, note
