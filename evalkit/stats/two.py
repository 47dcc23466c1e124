"""Two models on the same questions: paired difference, tests, non-inferiority; tables of many are in `table`."""

from __future__ import annotations

__all__ = [
    "CompareOptions",
    "NonInferiority",
    "PairedComparison",
    "compare_pair",
    "compared",
    "difference_interval",
    "exact_bounds",
    "flip_rate",
    "mcnemar_exact",
    "sign_flip_p",
    "unpaired_difference",
]

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as distributions

from evalkit.errors import UsageError
from evalkit.stats.bootstrap import BOOTSTRAP_DRAWS, MOST_DRAWS, Interval
from evalkit.stats.clusters import Clusters, FloatArray, Labels, checked_confidence, checked_scores
from evalkit.stats.composition import Composition
from evalkit.stats.exact import BoundedMean, exact_interval, unseen_share
from evalkit.stats.one import (
    NO_SPREAD,
    Estimate,
    few_videos_note,
    mean_by_cluster,
    student_interval,
    thin_note,
    too_uneven,
)
from evalkit.stats.power import minimal_detectable_effect
from evalkit.stats.robust import ClusteredStatistic, clustered_statistic

# Signs held at once: 4 M doubles, 32 MB.
_CHUNK_SIGNS = 4_000_000


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """Whether a model is shown to be no worse than the other by more than a margin stated beforehand.

    Args:
        margin: The loss that would still be accepted, in score units (0.01 is one point of accuracy).
        bound: Lower one-sided bound of the difference; None where there is no interval.
        holds: Whether the bound lies above -margin; None where it cannot be told.
    """

    margin: float
    bound: float | None
    holds: bool | None


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Model A against model B on the same questions; every difference is A minus B.

    Args:
        n: Questions.
        clusters: Videos C.
        mean_a: Score of A.
        mean_b: Score of B.
        difference: ``mean_a - mean_b``.
        se: CR2 clustered error of the difference; None where there is none.
        freedom: Its degrees of freedom.
        low: Lower end of the interval; None where there is none.
        high: Upper end.
        method: How the interval was made: ``cr2-t``, ``exact`` or ``none``.
        permutation_p: The p to read: two-sided, flipping the sign of whole videos; None with one video.
        p_value: Two-sided, Student's t; None where there is no error to divide by.
        mcnemar_p: Exact McNemar, which takes questions as independent; None unless every score is 0 or 1.
        bound_low: Lower one-sided bound of the difference (`exact_bounds`); None with one video.
        bound_high: Upper one-sided bound.
        only_a: b, questions A has right and B wrong (with graded scores: A higher).
        only_b: c, questions B has right and A wrong.
        flip_rate: Share of questions on which the two scores differ.
        rho: Correlation of the two models' scores over questions; None where one of them is constant.
        deff: Design effect of the difference; None where unknown.
        mde: Minimal detectable effect of the t test with the power asked for; None where there is no error, or
            only that of few videos on which the two differ.
        non_inferiority: Only where a margin was stated.
        identical: Whether the two scored the same on every question.
        note: What a reader must know; empty when there is nothing.
    """

    n: int
    clusters: int
    mean_a: float
    mean_b: float
    difference: float
    se: float | None
    freedom: float | None
    low: float | None
    high: float | None
    method: str
    permutation_p: float | None
    p_value: float | None
    mcnemar_p: float | None
    bound_low: float | None
    bound_high: float | None
    only_a: int
    only_b: int
    flip_rate: float
    rho: float | None
    deff: float | None
    mde: float | None
    non_inferiority: NonInferiority | None
    identical: bool
    note: str


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """How two models are compared; the same for every pair of a table.

    Args:
        margin: Of non-inferiority, in score units, stated beforehand; None leaves it out.
        confidence: Of the two-sided interval; the one-sided bound uses the same.
        power: With which the minimal detectable effect would be found.
        draws: Random sign flips.
        seed: Of these.
    """

    margin: float | None = None
    confidence: float = 0.95
    power: float = 0.8
    draws: int = BOOTSTRAP_DRAWS
    seed: int = 0

    def __post_init__(self) -> None:
        checked_confidence(self.confidence)
        if not 0.5 <= self.power < 1:
            raise UsageError(f"power must lie between 0.5 and 1, got {self.power}")
        if self.margin is not None and not (np.isfinite(self.margin) and self.margin > 0):
            raise UsageError(f"a non-inferiority margin is a positive loss, got {self.margin}")
        if not 1 <= self.draws <= MOST_DRAWS:
            raise UsageError(f"a permutation test needs 1 to {MOST_DRAWS:,} draws, got {self.draws:,}")


def compare_pair(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Labels | Clusters,
    *,
    composition: Composition | None = None,
    options: CompareOptions | None = None,
) -> PairedComparison:
    """Compare model A with model B on the same questions, question by question, clustered by video.

    Args:
        a: Scores of A, shape ``(n,)``, in the order of `b`.
        b: Scores of B.
        clusters: The video of each question.
        composition: What the headline is made of; the mean over all questions when absent.
        options: Confidence, margin, power, draws and seed.

    Raises:
        UsageError: Different numbers of questions, NaN, or nothing to compare.
    """
    chosen = options or CompareOptions()
    first, second = checked_scores(a, "scores of A"), checked_scores(b, "scores of B")
    if first.size != second.size:
        raise UsageError(f"a paired comparison needs the same questions: A has {first.size}, B has {second.size}")
    videos = Clusters.of(clusters, first.size)
    made = composition or Composition.whole(first.size)
    found = clustered_statistic(first - second, videos, made)
    flips = sign_flip_p((found.shares * found.means)[:, None], draws=chosen.draws, seed=chosen.seed)
    return compared(PairedScores(first, second, made, found), float(flips[0]), chosen)


@dataclass(frozen=True, slots=True, eq=False)
class PairedScores:
    """Checked scores of two models with the statistic of their difference.

    Args:
        a: Shape ``(n,)``.
        b: The same questions.
        composition: What the headline is made of.
        found: Of ``a - b``.
    """

    a: FloatArray
    b: FloatArray
    composition: Composition
    found: ClusteredStatistic


def compared(scores: PairedScores, permutation_p: float, options: CompareOptions) -> PairedComparison:
    """Return the comparison of scores whose permutation test has been made already."""
    a, b, found = scores.a, scores.b, scores.found
    d = a - b
    identical = bool(np.all(d == 0))
    only_a, only_b = int(np.count_nonzero(d > 0)), int(np.count_nonzero(d < 0))
    binary = bool(np.all((a == 0) | (a == 1)) and np.all((b == 0) | (b == 1)))
    several = found.clusters > 1
    spread = found.se is not None and not found.without_spread
    interval, method, note = difference_interval(found, options.confidence)
    bounds = _one_sided(found, options.confidence) if several else None
    test = None
    if options.margin is not None:
        low = None if bounds is None else bounds.low
        test = NonInferiority(options.margin, low, None if low is None else bool(low > -options.margin))
    tested = spread and not too_uneven(found)
    p_value = 1.0 if identical and several else None
    mde = None
    if tested and found.se is not None and found.freedom is not None:
        p_value = 2 * float(distributions.t.sf(abs(found.value) / found.se, found.freedom))
        if not found.few_differ:
            mde = minimal_detectable_effect(
                found.se, found.freedom, confidence=options.confidence, power=options.power
            )
    return PairedComparison(
        n=d.size,
        clusters=found.clusters,
        mean_a=_composed_mean(a, scores.composition),
        mean_b=_composed_mean(b, scores.composition),
        difference=found.value,
        se=found.se if spread or identical else None,
        freedom=found.freedom,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        method=method,
        permutation_p=permutation_p if several else None,
        p_value=p_value,
        mcnemar_p=mcnemar_exact(only_a, only_b) if binary and several else None,
        bound_low=None if bounds is None else bounds.low,
        bound_high=None if bounds is None else bounds.high,
        only_a=only_a,
        only_b=only_b,
        flip_rate=(only_a + only_b) / d.size,
        rho=_correlation(a, b),
        deff=found.deff,
        mde=mde,
        non_inferiority=test,
        identical=identical,
        note=note,
    )


def _composed_mean(values: FloatArray, made: Composition) -> float:
    sizes = np.bincount(made.cells, minlength=made.weights.size)
    means = np.bincount(made.cells, weights=values[made.rows], minlength=made.weights.size) / sizes
    return float(means @ made.weights)


def _bounded_difference(found: ClusteredStatistic) -> BoundedMean:
    reach = max(1.0, float(np.abs(found.means).max()))
    return BoundedMean(found.means, found.shares, -reach, reach, found.random_share)


def _one_sided(found: ClusteredStatistic, confidence: float) -> Interval:
    mean = _bounded_difference(found)
    return Interval(mean.lower(confidence), mean.upper(confidence))


def exact_bounds(
    differences: ArrayLike,
    clusters: Labels | Clusters,
    *,
    composition: Composition | None = None,
    confidence: float = 0.95,
) -> Interval:
    """Return the lower and the upper one-sided bound of a mean difference of scores in [0, 1].

    Nothing is assumed but that videos are drawn alike (`BoundedMean.lower`): the lower bound is never tighter than
    Clopper and Pearson's where videos are lost wholly or not at all, and making any difference worse never
    raises either bound. Each holds with `confidence`.

    Args:
        differences: Shape ``(n,)``, A minus B per question, between -1 and 1.
        clusters: The video of each question.
        composition: What the headline is made of; the mean over all questions when absent.
        confidence: Of each bound.

    Raises:
        UsageError: One video only, a difference outside [-1, 1], NaN, or labels that do not match.
    """
    values = checked_scores(differences, "differences")
    videos = Clusters.of(clusters, values.size)
    if np.abs(values).max() > 1:
        raise UsageError("differences of scores in [0, 1] lie between -1 and 1")
    if videos.count == 1:
        raise UsageError("one video bounds nothing: nothing tells how much videos differ")
    return _one_sided(clustered_statistic(values, videos, composition), checked_confidence(confidence))


def difference_interval(found: ClusteredStatistic, confidence: float) -> tuple[Interval | None, str, str]:
    """Return the two-sided interval, its method and a note."""
    refused = too_uneven(found)
    if refused:
        return None, "none", refused
    if found.without_spread or found.thin_cells or found.few_differ:
        note = _sparse_note(found) if found.differing else _identical_note(found, confidence)
        return exact_interval(_bounded_difference(found), confidence), "exact", note
    return student_interval(found, confidence), "cr2-t", few_videos_note(found)


def _identical_note(found: ClusteredStatistic, confidence: float) -> str:
    share = unseen_share(found.effective_videos, confidence)
    return (
        f"the same score on every question; of other such videos up to {100 * share:.1f} % could still "
        f"differ ({100 * confidence:g} % bound)"
    )


def _sparse_note(found: ClusteredStatistic) -> str:
    if found.without_spread:
        return f"{NO_SPREAD[: NO_SPREAD.index(':')]}: exact interval"
    if found.thin_cells:
        return thin_note(found)
    return f"exact interval: the two differ on {found.differing} of {found.clusters} videos only"


def _correlation(a: FloatArray, b: FloatArray) -> float | None:
    """Return Pearson's rho over questions: SE_d^2 = SE_A^2 + SE_B^2 - 2 rho SE_A SE_B."""
    if np.all(a == a[0]) or np.all(b == b[0]):
        return None
    return float(np.corrcoef(a, b)[0, 1])


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Return the exact two-sided McNemar p: min(1, 2 P(Bin(b+c, 1/2) <= min(b, c))) (McNemar 1947).

    It takes questions as independent; with clusters the permutation test or the clustered t is the one to read.

    Args:
        only_a: b, questions only A has right.
        only_b: c, questions only B has right.
    """
    return min(1.0, 2 * float(distributions.binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)))


def sign_flip_p(sums: FloatArray, *, draws: int = BOOTSTRAP_DRAWS, seed: int = 0) -> FloatArray:
    """Return the video-level sign-flip permutation p of each column: (1 + #{|D*| >= |D|}) / (1 + B).

    All differences on a video are flipped together; one draw of signs serves every column. With so few videos
    that there are no more sign vectors than `draws`, all of them are taken instead and p is their exact share.

    Args:
        sums: Shape ``(C, P)``: sum of the differences on each video, for P comparisons.
        draws: Random sign vectors B.
        seed: Of the random generator.

    Returns:
        Shape ``(P,)``.
    """
    count = sums.shape[0]
    observed = np.abs(sums.sum(axis=0))
    # Sums of graded scores differ in the last bits with the order of adding; ties must still count.
    threshold = observed - 1e-9 * np.abs(sums).sum(axis=0)
    if 2**count <= draws:
        # Every assignment of signs, the observed one among them.
        heads = ((np.arange(2**count)[:, None] >> np.arange(count)) & 1).astype(np.float64)
        every: FloatArray = np.mean(np.abs(2 * (heads @ sums) - sums.sum(axis=0)) >= threshold, axis=0)
        return every
    rng = np.random.default_rng(seed)
    extreme = np.zeros(sums.shape[1], dtype=np.int64)
    block = max(1, _CHUNK_SIGNS // count)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        bits = np.frombuffer(rng.bytes((rows * count + 7) // 8), dtype=np.uint8)
        heads = np.unpackbits(bits, count=rows * count).reshape(rows, count).astype(np.float64)
        flipped = np.abs(2 * (heads @ sums) - sums.sum(axis=0))
        extreme += np.count_nonzero(flipped >= threshold, axis=0)
    p_values: FloatArray = (1 + extreme) / (1 + draws)
    return p_values


def flip_rate(first: Sequence[Hashable], second: Sequence[Hashable], clusters: Labels | Clusters) -> Estimate:
    """Return the share of questions whose answer changed between two runs of one model.

    Args:
        first: Answers (letters, texts, scores) of one run.
        second: Answers of the other, in the same order.
        clusters: The video of each question.

    Raises:
        UsageError: Different numbers of answers, or none.
    """
    if len(first) != len(second):
        raise UsageError(f"a flip rate needs the same questions: {len(first)} and {len(second)} answers")
    changed = [float(one != other) for one, other in zip(first, second, strict=True)]
    return mean_by_cluster(changed, clusters)


def unpaired_difference(a: Estimate, b: Estimate, *, confidence: float = 0.95) -> Estimate:
    """Return A minus B from two summaries, for rows whose answers are not at hand.

    SE = sqrt(SE_A^2 + SE_B^2), t with Welch and Satterthwaite's degrees of freedom over videos. It ignores
    that both may have met the same questions, so it is wider than `compare_pair`; use that where answers exist.

    Args:
        a: Summary of A.
        b: Summary of B.
        confidence: Of the interval.
    """
    difference = a.value - b.value
    n, clusters = min(a.n, b.n), min(a.clusters, b.clusters)
    variances = [None if one.se is None else one.se**2 for one in (a, b)]
    first, second = variances
    if first is None or second is None or first + second <= 0:
        note = "no interval: one of the two has no standard error"
        return Estimate(difference, None, None, None, n, clusters, None, None, "none", note)
    freedom = (first + second) ** 2 / (first**2 / (a.clusters - 1) + second**2 / (b.clusters - 1))
    se = float(np.sqrt(first + second))
    half = float(distributions.t.ppf(1 - (1 - checked_confidence(confidence)) / 2, freedom)) * se
    note = "unpaired: from summaries, not from the answers"
    return Estimate(difference, se, difference - half, difference + half, n, clusters, None, None, "welch-t", note)
