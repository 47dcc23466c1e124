"""Strengths of more than two models from pairwise games: Bradley-Terry and Davidson, resampled by video."""

from __future__ import annotations

__all__ = [
    "DAVIDSON_ABOVE",
    "DisconnectedModels",
    "Games",
    "RankedModel",
    "Ranking",
    "UnboundedStrength",
    "WinProbability",
    "rank_models",
]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.errors import UsageError, suggest
from evalkit.stats.bootstrap import BOOTSTRAP_DRAWS, percentile_interval, resampled_sums, stretched
from evalkit.stats.clusters import Clusters, FloatArray, Labels, checked_confidence, checked_scores
from evalkit.stats.one import ONE_VIDEO, Estimate, mean_by_cluster
from evalkit.stats.places import Place, places

DAVIDSON_ABOVE = 0.10
"""Share of ties above which ties are modelled (Davidson) instead of counted as half a win each."""

# A resample may let one model win every game; its strength is then held here rather than at infinity
# (log odds of 12 are a win probability of 0.999994).
_STRENGTH_LIMIT = 12.0

Method = Literal["bradley-terry", "davidson"]


class DisconnectedModels(UsageError):
    """The models fall into groups that never met, so that no scale holds them all."""


class UnboundedStrength(UsageError):
    """Some models won every game against all the others, so that no finite strength fits."""


@dataclass(frozen=True, slots=True, eq=False)
class Games:
    """Judged pairs between any two models, one entry each.

    Args:
        first: Name of one model, length n.
        second: Name of the other.
        scores: 1 where `first` won, one half for a tie, 0 where `second` won.
        clusters: The video of each game.
    """

    first: Sequence[str]
    second: Sequence[str]
    scores: ArrayLike
    clusters: Labels | Clusters


@dataclass(frozen=True, slots=True)
class RankedModel:
    """One model's place.

    Args:
        name: The model.
        strength: theta, log odds against the anchor (0 for the anchor itself).
        low: Lower end of its interval by video bootstrap; None where there is none.
        high: Upper end.
        games: Games it played.
        place: What holds of its place and strength for all models at once; None where there is no interval.
        win_bound: Lower one-sided bound of its probability to beat the anchor, of all models at once.
    """

    name: str
    strength: float
    low: float | None
    high: float | None
    games: int
    place: Place | None = None
    win_bound: float | None = None


@dataclass(frozen=True, slots=True)
class WinProbability:
    """Probability that `model` beats `against`, a tie counted as one half."""

    model: str
    against: str
    probability: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """Models from strongest to weakest, and what each would win against each other.

    Args:
        models: Sorted by strength.
        probabilities: One per ordered pair of models.
        method: ``bradley-terry`` (ties one half) or ``davidson``.
        tie_rate: Share of games that were ties.
        tie_parameter: Davidson's nu; None under Bradley-Terry.
        anchor: The model whose strength is 0.
        games: Games in all.
        clusters: Videos.
        note: What a reader must know; empty when there is nothing.
    """

    models: tuple[RankedModel, ...]
    probabilities: tuple[WinProbability, ...]
    method: Method
    tie_rate: float
    tie_parameter: float | None
    anchor: str
    games: int
    clusters: int
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Design:
    """The multinomial logit behind both models.

    Args:
        features: Shape ``(P, O, K)``: feature of outcome o (win, loss, and under Davidson tie) of pair p.
        pairs: The P pairs of model numbers ``(i, j)``, i < j.
        free: Numbers of the models that are not the anchor, one column each; Davidson adds log nu.
    """

    features: FloatArray
    pairs: tuple[tuple[int, int], ...]
    free: tuple[int, ...]


def rank_models(
    games: Games,
    *,
    anchor: str | None = None,
    method: Method | None = None,
    confidence: float = 0.95,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> Ranking:
    """Fit strengths to pairwise games; intervals by refitting on resampled videos.

    Bradley-Terry (1952): P(i beats j) = sigmoid(theta_i - theta_j), ties as one half, theta of the anchor 0.
    Davidson (1970): P(tie) proportional to nu sqrt(pi_i pi_j), pi = exp(theta); chosen when over 10 % of the
    games are ties, because counting them as halves shrinks the scale.

    Args:
        games: The judged pairs.
        anchor: The model whose strength is 0; the first named one when absent.
        method: Overrides the choice by the share of ties.
        confidence: Of the intervals.
        draws: Resamples B.
        seed: Of the resamples.

    Raises:
        DisconnectedModels: Two groups of models never met.
        UnboundedStrength: A group of models never lost to the rest.
        UsageError: Malformed games, or an anchor nobody played.
    """
    checked_confidence(confidence)
    names, home, away, scores, videos = _checked(games)
    base = _anchored(names, anchor)
    tie_rate = float(np.mean(scores == 0.5))
    chosen: Method = method or ("davidson" if tie_rate > DAVIDSON_ABOVE else "bradley-terry")
    design = _design(len(names), base, chosen)
    counts = _counts(home, away, scores, design.pairs)
    counts = counts if chosen == "davidson" else counts[:, :, :2] + counts[:, :, 2:] / 2
    by_video = videos.sums(counts.reshape(scores.size, -1))
    total = by_video.sum(axis=0).reshape(1, len(design.pairs), -1)
    _require_finite_fit(total[0], design, names)
    point = _fit(total, design, np.zeros(design.features.shape[2]))
    samples = _resampled_fits(by_video, design, point[0], draws, seed)
    played = np.bincount(home, minlength=len(names)) + np.bincount(away, minlength=len(names))
    wide = samples
    if samples.size:
        wide = stretched(samples, point[0], videos.count, confidence).clip(-_STRENGTH_LIMIT, _STRENGTH_LIMIT)
    models = _ranked(names, _strengths(point, design), _strengths(wide, design), played, confidence)
    probabilities = _probabilities(names, design, point, wide, confidence)
    tie_parameter = float(np.exp(point[0, -1])) if chosen == "davidson" else 0.0
    models = _with_places(models, point, samples, design, (base, videos.count, confidence))
    if len(names) == 2:
        won = mean_by_cluster(np.where(home == 0, scores, 1 - scores), videos, confidence=confidence)
        models, probabilities = _of_two(models, probabilities, (names[0], names[base]), won, tie_parameter)
    return Ranking(
        models=tuple(sorted(models, key=lambda model: (-model.strength, model.name))),
        probabilities=probabilities,
        method=chosen,
        tie_rate=tie_rate,
        tie_parameter=tie_parameter if chosen == "davidson" else None,
        anchor=names[base],
        games=scores.size,
        clusters=videos.count,
        note=_note(samples, videos.count),
    )


def _anchored(names: list[str], anchor: str | None) -> int:
    """Return the place of the model whose strength is 0."""
    if anchor is None:
        return 0
    if anchor not in names:
        raise UsageError(f"no games of the anchor {anchor!r}{suggest(anchor, names)}")
    return names.index(anchor)


def _note(samples: FloatArray, videos: int) -> str:
    """Return what the intervals do not rest on: resamples that could not be fitted, or a second video."""
    lost = int(np.count_nonzero(np.isnan(samples[:, 0])))
    if lost:
        return f"{lost} of {len(samples)} resamples cut the models apart and were left out"
    return ONE_VIDEO if videos == 1 else ""


def _checked(games: Games) -> tuple[list[str], NDArray[np.intp], NDArray[np.intp], FloatArray, Clusters]:
    scores = checked_scores(games.scores, "scores of games")
    if not len(games.first) == len(games.second) == scores.size:
        raise UsageError("every game needs two models and one score")
    if not np.all(np.isin(scores, (0.0, 0.5, 1.0))):
        raise UsageError("the score of a game is 1 (first model won), 0.5 (tie) or 0 (second model won)")
    names = list(dict.fromkeys([*games.first, *games.second]))
    number = {name: position for position, name in enumerate(names)}
    home = np.array([number[name] for name in games.first], dtype=np.intp)
    away = np.array([number[name] for name in games.second], dtype=np.intp)
    if np.any(home == away):
        raise UsageError(f"a model cannot play itself: {names[home[np.argmax(home == away)]]!r}")
    return names, home, away, scores, Clusters.of(games.clusters, scores.size)


def _design(models: int, anchor: int, method: Method) -> _Design:
    pairs = tuple(combinations(range(models), 2))
    free = tuple(model for model in range(models) if model != anchor)
    davidson = method == "davidson"
    features = np.zeros((len(pairs), 3 if davidson else 2, len(free) + davidson))
    for row, (i, j) in enumerate(pairs):
        for model, half in ((i, 0.5), (j, -0.5)):
            if model != anchor:
                # Dividing by sqrt(pi_i pi_j): win (theta_i - theta_j)/2, loss its negative, tie log nu.
                features[row, 0, free.index(model)] = half
                features[row, 1, free.index(model)] = -half
        if davidson:
            features[row, 2, -1] = 1.0
    return _Design(features, pairs, free)


def _counts(
    home: NDArray[np.intp], away: NDArray[np.intp], scores: FloatArray, pairs: tuple[tuple[int, int], ...]
) -> FloatArray:
    """Return one-hot outcomes ``(games, P, 3)``: win of the lower-numbered model, its loss, tie."""
    number = {pair: row for row, pair in enumerate(pairs)}
    rows = np.array([number[min(i, j), max(i, j)] for i, j in zip(home, away, strict=True)])
    as_lower = np.where(home < away, scores, 1 - scores)
    outcome = np.select([as_lower == 1.0, as_lower == 0.0], [0, 1], default=2)
    counts = np.zeros((scores.size, len(pairs), 3))
    counts[np.arange(scores.size), rows, outcome] = 1.0
    return counts


def _reachable(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the transitive closure of ``(..., M, M)`` adjacency, every model reaching itself."""
    size = edges.shape[-1]
    reach = edges | np.eye(size, dtype=bool)
    for _ in range(max(1, size.bit_length())):
        reach = np.matmul(reach.astype(np.float32), reach.astype(np.float32)) > 0
    return reach


def _beats(totals: FloatArray, design: _Design, *, met: bool) -> NDArray[np.bool_]:
    """Return who has points from whom ``(..., M, M)``, or with `met` who played whom."""
    size = len(design.free) + 1
    edges = np.zeros((*totals.shape[:-2], size, size), dtype=bool)
    ties = totals[..., 2] if totals.shape[-1] == 3 else np.zeros(totals.shape[:-1])
    for row, (i, j) in enumerate(design.pairs):
        won = totals[..., row, 0] + ties[..., row] > 0
        lost = totals[..., row, 1] + ties[..., row] > 0
        edges[..., i, j] = won | lost if met else won
        edges[..., j, i] = won | lost if met else lost
    return edges


def _require_finite_fit(total: FloatArray, design: _Design, names: Sequence[str]) -> None:
    """Raise unless a finite maximum exists (Ford 1957: every split of the models has points both ways)."""
    met = _reachable(_beats(total, design, met=True))
    if not met.all():
        group = [name for name, reached in zip(names, met[0], strict=True) if reached]
        rest = [name for name in names if name not in group]
        raise DisconnectedModels(
            f"{', '.join(group)} never met {', '.join(rest)}: judge at least one pair between the two groups"
        )
    reach = _reachable(_beats(total, design, met=False))
    if not reach.all():
        top = int(np.argmax(reach.sum(axis=1)))
        group = [name for name, back in zip(names, reach[:, top], strict=True) if back]
        raise UnboundedStrength(
            f"{', '.join(group)} took every point against the other models: no finite strength fits; "
            "read the win rates instead"
        )


def _fit(totals: FloatArray, design: _Design, start: FloatArray) -> FloatArray:
    """Return the maximum-likelihood parameters of each row of `totals`, by Newton's method on all at once.

    Args:
        totals: Shape ``(B, P, O)``: counted outcomes.
        design: Features of the outcomes.
        start: Shape ``(K,)``.

    Returns:
        Shape ``(B, K)``.
    """
    features = design.features
    size = features.shape[2]
    flat = features.reshape(-1, size)
    squares = (flat[:, :, None] * flat[:, None, :]).reshape(-1, size * size)
    parameters = np.tile(start, (len(totals), 1))
    played = totals.sum(axis=2, keepdims=True)
    scale = played.sum(axis=(1, 2))
    for _ in range(60):
        logits = (parameters @ flat.T).reshape(totals.shape)
        odds = np.exp(logits - logits.max(axis=2, keepdims=True))
        expected = played * odds / odds.sum(axis=2, keepdims=True)
        gradient = (totals - expected).reshape(len(totals), -1) @ flat
        means = np.einsum("bpo,pok->bpk", expected, features)
        share = np.where(played > 0, 1 / np.maximum(played, 1e-300), 0.0)
        hessian = (expected.reshape(len(totals), -1) @ squares).reshape(-1, size, size)
        hessian -= np.einsum("bpk,bpl->bkl", means * share, means)
        # The ridge only steers the step where a resample leaves a direction flat; it moves no maximum.
        hessian += (1e-10 * scale)[:, None, None] * np.eye(size)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        moved = np.clip(parameters + step / np.maximum(longest / 2.0, 1.0), -_STRENGTH_LIMIT, _STRENGTH_LIMIT)
        settled = bool(np.abs(moved - parameters).max() < 1e-12)
        parameters = moved
        if settled:
            break
    return parameters


def _resampled_fits(by_video: FloatArray, design: _Design, point: FloatArray, draws: int, seed: int) -> FloatArray:
    """Return parameters ``(B, K)`` refitted on resampled videos; NaN where models lost touch with each other."""
    if by_video.shape[0] < 2:
        return np.empty((0, point.size))
    totals = resampled_sums(by_video, draws, seed).reshape(draws, len(design.pairs), -1)
    whole = _reachable(_beats(totals, design, met=True)).all(axis=(1, 2))
    parameters = np.full((draws, point.size), np.nan)
    if whole.any():
        parameters[whole] = _fit(totals[whole], design, point)
    return parameters


def _strengths(parameters: FloatArray, design: _Design) -> FloatArray:
    """Return theta of every model, ``(B, M)``, the anchor's 0 put back."""
    strengths = np.zeros((len(parameters), len(design.free) + 1))
    strengths[:, list(design.free)] = parameters[:, : len(design.free)]
    return strengths


def _ends(samples: FloatArray, confidence: float) -> tuple[float | None, float | None]:
    interval = percentile_interval(samples, confidence) if samples.size else None
    return (None, None) if interval is None else (interval.low, interval.high)


def _ranked(
    names: Sequence[str],
    point: FloatArray,
    samples: FloatArray,
    played: NDArray[np.intp],
    confidence: float,
) -> tuple[RankedModel, ...]:
    return tuple(
        RankedModel(name, float(point[0, m]), *_ends(samples[:, m], confidence), int(played[m]))
        for m, name in enumerate(names)
    )


def _with_places(
    models: tuple[RankedModel, ...],
    point: FloatArray,
    samples: FloatArray,
    design: _Design,
    setting: tuple[int, int, float],
) -> tuple[RankedModel, ...]:
    """Return the models with what holds of all of them at once; `setting`: anchor, videos, confidence."""
    anchor, clusters, confidence = setting
    found = places(
        _strengths(point, design)[0],
        _strengths(samples, design),
        anchor=anchor,
        clusters=clusters,
        confidence=confidence,
    )
    if found is None:
        return models
    ties = float(np.exp(point[0, -1])) if point.shape[1] > len(design.free) else 0.0
    return tuple(
        replace(
            model,
            place=_around(place, model),
            win_bound=None if number == anchor else _win_probability(place.bound, ties),
        )
        for number, (model, place) in enumerate(zip(models, found, strict=True))
    )


def _around(place: Place, model: RankedModel) -> Place:
    """Return a place whose interval holds the model's own, since percentiles lean to a side and max-t does not."""
    if model.low is None or model.high is None:
        return place
    return replace(place, low=min(place.low, model.low), high=max(place.high, model.high))


def _win_probability(strength: float, ties: float) -> float:
    """Return P(win) + P(tie) / 2 at a difference of strengths, `ties` Davidson's nu or 0."""
    odds = np.exp(strength / 2)
    return float((odds + ties / 2) / (odds + 1 / odds + ties))


def _strength_at(probability: float, ties: float) -> float:
    """Return the difference of strengths at which `_win_probability` is `probability`, held within the limit."""
    if not 0 < probability < 1:
        return _STRENGTH_LIMIT if probability >= 1 else -_STRENGTH_LIMIT
    lean = ties * (0.5 - probability)
    odds = (-lean + np.sqrt(lean**2 + 4 * probability * (1 - probability))) / (2 * (1 - probability))
    return float(np.clip(2 * np.log(odds), -_STRENGTH_LIMIT, _STRENGTH_LIMIT))


def _of_two(
    models: tuple[RankedModel, ...],
    probabilities: tuple[WinProbability, ...],
    names: tuple[str, str],
    won: Estimate,
    ties: float,
) -> tuple[tuple[RankedModel, ...], tuple[WinProbability, ...]]:
    """Return two models with their win rate and its interval, which are all there is to know.

    Args:
        models: As fitted.
        probabilities: As fitted.
        names: The model whose win rate `won` is, and the anchor.
        won: The win rate by `mean_by_cluster`, as ``evalkit judge`` states it.
        ties: Davidson's nu, or 0.
    """
    first, anchor = names
    known = won.low is not None and won.high is not None
    low, high = (won.low or 0.0, won.high or 0.0) if known else (0.0, 0.0)
    # The fitted probability is the win rate wherever there is a finite fit; one side that never lost has none.
    of_first = replace(
        probabilities[0], probability=won.value, low=low if known else None, high=high if known else None
    )
    of_other = replace(
        of_first, probability=1 - won.value, low=1 - high if known else None, high=1 - low if known else None
    )
    chances = tuple(
        replace(of_first if one.model == first else of_other, model=one.model, against=one.against)
        for one in probabilities
    )
    against = next(one for one in chances if one.against == anchor)
    ends = [None if end is None else _strength_at(end, ties) for end in (against.low, against.high)]
    told = known and not low <= 0.5 <= high
    ranked = []
    for place, model in enumerate(sorted(models, key=lambda one: -one.strength), start=1):
        span = (0.0, 0.0) if model.name == anchor else (ends[0] or 0.0, ends[1] or 0.0)
        open_to = (place, place) if told else (1, 2)
        ranked.append(
            replace(
                model,
                low=ends[0] if model.name != anchor else model.low,
                high=ends[1] if model.name != anchor else model.high,
                place=Place(*open_to, *span, span[0]) if known else None,
                win_bound=against.low if known and model.name != anchor else None,
            )
        )
    return tuple(ranked), chances


def _probabilities(
    names: Sequence[str], design: _Design, point: FloatArray, samples: FloatArray, confidence: float
) -> tuple[WinProbability, ...]:
    def wins(parameters: FloatArray) -> FloatArray:
        odds = np.exp(np.einsum("bk,pok->bpo", parameters, design.features))
        share = odds / odds.sum(axis=2, keepdims=True)
        ties: FloatArray = share[:, :, 2] / 2 if share.shape[2] == 3 else np.zeros(share.shape[:2])
        total: FloatArray = share[:, :, 0] + ties
        return total

    at_point, resampled = wins(point), wins(samples)
    found = []
    for row, (i, j) in enumerate(design.pairs):
        value = float(at_point[0, row])
        low, high = _ends(resampled[:, row], confidence)
        found.append(WinProbability(names[i], names[j], value, low, high))
        flipped = (None, None) if low is None or high is None else (1 - high, 1 - low)
        found.append(WinProbability(names[j], names[i], 1 - value, *flipped))
    return tuple(found)
