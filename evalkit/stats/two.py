"""Two models on the same questions: paired difference, tests, non-inferiority; tables of many are in `table`."""

from __future__ import annotations

__all__ = [
    "CompareOptions",
    "NonInferiority",
    "PairedComparison",
    "compare_pair",
    "compared",
    "flip_rate",
    "mcnemar_exact",
    "sign_flip_p",
    "unpaired_difference",
    "unseen_share",
]

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as distributions

from evalkit.errors import UsageError
from evalkit.stats.bootstrap import (
    BOOTSTRAP_DRAWS,
    BOOTSTRAP_T_BELOW,
    MOST_DRAWS,
    Interval,
    RatioCombination,
    bootstrap_t_interval,
)
from evalkit.stats.clusters import (
    ClusteredMean,
    Clusters,
    FloatArray,
    Labels,
    checked_confidence,
    checked_scores,
    clustered_mean,
)
from evalkit.stats.one import NO_SPREAD, ONE_VIDEO, Estimate, few_clusters_note, mean_by_cluster

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
        se: CR1 clustered error of the difference; None with one video.
        low: Lower end of the interval; None where there is none.
        high: Upper end.
        p_value: Two-sided, Student's t on C-1; None where there is no error to divide by.
        permutation_p: Two-sided, flipping the sign of whole videos; None with one video.
        mcnemar_p: Exact McNemar, which takes questions as independent; None unless every score is 0 or 1.
        only_a: b, questions A has right and B wrong (with graded scores: A higher).
        only_b: c, questions B has right and A wrong.
        flip_rate: Share of questions on which the two scores differ.
        rho: Correlation of the two models' scores over questions; None where one of them is constant.
        deff: Design effect of the difference; None where unknown.
        mde: Minimal detectable effect with the power asked for; None where there is no error.
        non_inferiority: Only where a margin was stated.
        identical: Whether the two scored the same on every question.
        note: What a reader must know; empty when there is nothing.
        bootstrap_t: A second interval where 5 to 39 videos make the first doubtful.
    """

    n: int
    clusters: int
    mean_a: float
    mean_b: float
    difference: float
    se: float | None
    low: float | None
    high: float | None
    p_value: float | None
    permutation_p: float | None
    mcnemar_p: float | None
    only_a: int
    only_b: int
    flip_rate: float
    rho: float | None
    deff: float | None
    mde: float | None
    non_inferiority: NonInferiority | None
    identical: bool
    note: str
    bootstrap_t: Interval | None


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """How two models are compared; the same for every pair of a table.

    Args:
        margin: Of non-inferiority, in score units, stated beforehand; None leaves it out.
        confidence: Of the two-sided interval; the one-sided bound uses the same.
        power: With which the minimal detectable effect would be found.
        draws: Random sign flips, and resamples of the bootstrap-t.
        seed: Of both.
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
    options: CompareOptions | None = None,
) -> PairedComparison:
    """Compare model A with model B on the same questions, question by question, clustered by video.

    Args:
        a: Scores of A, shape ``(n,)``, in the order of `b`.
        b: Scores of B.
        clusters: The video of each question.
        options: Confidence, margin, power, draws and seed.

    Raises:
        UsageError: Different numbers of questions, NaN, or nothing to compare.
    """
    chosen = options or CompareOptions()
    first, second = checked_scores(a, "scores of A"), checked_scores(b, "scores of B")
    if first.size != second.size:
        raise UsageError(f"a paired comparison needs the same questions: A has {first.size}, B has {second.size}")
    videos = Clusters.of(clusters, first.size)
    sums = videos.sums(first - second)
    flips = sign_flip_p(sums[:, None], draws=chosen.draws, seed=chosen.seed)
    return compared(first, second, videos, float(flips[0]), chosen)


def compared(
    a: FloatArray, b: FloatArray, videos: Clusters, permutation_p: float, options: CompareOptions
) -> PairedComparison:
    """Return the comparison of checked scores whose permutation test has been made already.

    Paired clustered difference: CR1 on d_i = a_i - b_i by video, t(C-1) (Miller 2024).
    """
    d = a - b
    mean = clustered_mean(d, videos)
    identical = bool(np.all(d == 0))
    only_a, only_b = int(np.count_nonzero(d > 0)), int(np.count_nonzero(d < 0))
    binary = bool(np.all((a == 0) | (a == 1)) and np.all((b == 0) | (b == 1)))
    several = videos.count > 1
    low, high, p_value, bound = _student(mean, identical, options.confidence)
    spread = mean.se is not None and not mean.without_spread
    quantiles = distributions.norm.ppf([1 - (1 - options.confidence) / 2, options.power]).sum()
    test = None
    if options.margin is not None:
        test = NonInferiority(options.margin, bound, None if bound is None else bool(bound > -options.margin))
    return PairedComparison(
        n=d.size,
        clusters=videos.count,
        mean_a=float(a.mean()),
        mean_b=float(b.mean()),
        difference=mean.value,
        se=mean.se if spread or identical else None,
        low=low,
        high=high,
        p_value=p_value,
        permutation_p=permutation_p if several else None,
        mcnemar_p=mcnemar_exact(only_a, only_b) if binary and several else None,
        only_a=only_a,
        only_b=only_b,
        flip_rate=(only_a + only_b) / d.size,
        rho=_correlation(a, b),
        deff=mean.deff if spread else None,
        mde=float(quantiles) * mean.se if spread and mean.se is not None else None,
        non_inferiority=test,
        identical=identical,
        note=_comparison_note(mean, identical),
        bootstrap_t=_second_interval(d, videos, options) if spread else None,
    )


def _student(
    mean: ClusteredMean, identical: bool, confidence: float
) -> tuple[float | None, float | None, float | None, float | None]:
    """Return low, high, two-sided p and the lower one-sided bound, each None where there is no spread."""
    if mean.se is None:
        return None, None, None, None
    if identical:
        return 0.0, 0.0, 1.0, -unseen_share(mean.clusters, confidence)
    if mean.without_spread:
        return None, None, None, None
    freedom = mean.clusters - 1
    half = float(distributions.t.ppf(1 - (1 - confidence) / 2, freedom)) * mean.se
    p_value = 2 * float(distributions.t.sf(abs(mean.value) / mean.se, freedom))
    bound = mean.value - float(distributions.t.ppf(confidence, freedom)) * mean.se
    return mean.value - half, mean.value + half, p_value, bound


def unseen_share(videos: int, confidence: float = 0.95) -> float:
    """Return the largest share of videos that could show what none of these did (the rule of three, exactly).

    Solves ``(1 - share)**videos = 1 - confidence``.
    """
    return float(1 - (1 - confidence) ** (1 / videos))


def _comparison_note(mean: ClusteredMean, identical: bool) -> str:
    if mean.se is None:
        return ONE_VIDEO
    if identical:
        share = unseen_share(mean.clusters)
        return (
            f"the same score on every question; of other such videos up to {100 * share:.1f} % could still "
            "differ (95 % bound)"
        )
    if mean.without_spread:
        return NO_SPREAD
    return few_clusters_note(mean.clusters)


def _second_interval(d: FloatArray, videos: Clusters, options: CompareOptions) -> Interval | None:
    if videos.count >= BOOTSTRAP_T_BELOW:
        return None
    combination = RatioCombination(videos.sums(d)[:, None], videos.sizes()[:, None], np.ones(1))
    return bootstrap_t_interval(combination, options.confidence, options.draws, options.seed)


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

    All differences on a video are flipped together; one draw of signs serves every column.

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


def flip_rate(
    first: Sequence[Hashable], second: Sequence[Hashable], clusters: Labels | Clusters, *, seed: int = 0
) -> Estimate:
    """Return the share of questions whose answer changed between two runs of one model.

    Args:
        first: Answers (letters, texts, scores) of one run.
        second: Answers of the other, in the same order.
        clusters: The video of each question.
        seed: Of the bootstrap-t shown below 40 videos.

    Raises:
        UsageError: Different numbers of answers, or none.
    """
    if len(first) != len(second):
        raise UsageError(f"a flip rate needs the same questions: {len(first)} and {len(second)} answers")
    changed = [float(one != other) for one, other in zip(first, second, strict=True)]
    return mean_by_cluster(changed, clusters, seed=seed)


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
