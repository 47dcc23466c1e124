"""Whether intervals hold the truth as often as they say and tests cry wolf as rarely, with fixed seeds."""

import numpy as np
import pytest
from scipy.special import expit

from evalkit.stats import (
    Clusters,
    CompareOptions,
    Games,
    compare_pair,
    mean_by_cluster,
    prediction_powered_win_rate,
    rank_models,
)

pytestmark = pytest.mark.slow
"""What the quick suite holds of intervals and tests is in test_tables.py, on fewer samples."""

VIDEOS, SEGMENTS = 20, 70
BY_VIDEO = Clusters.of(np.repeat(np.arange(VIDEOS), SEGMENTS), VIDEOS * SEGMENTS)
REPLICATES = 2500


def right_or_wrong(rng, share, icc, videos=VIDEOS, segments=SEGMENTS):
    """Return scores ``(videos, segments)`` whose correlation within a video is `icc` (beta-binomial)."""
    size = 1 / icc - 1
    chance = rng.beta(share * size, (1 - share) * size, videos)
    return (rng.random((videos, segments)) < chance[:, None]).astype(float)


def holds(low, high, truth):
    return low is not None and low <= truth <= high


@pytest.mark.parametrize("icc", [0.1, 0.3])
@pytest.mark.parametrize("share", [0.5, 0.3])
def test_clustered_intervals_cover_93_to_97_percent_and_naive_ones_do_not(icc, share):
    rng = np.random.default_rng([7, int(100 * icc), int(100 * share)])
    clustered = naive = 0
    for _ in range(REPLICATES):
        scores = right_or_wrong(rng, share, icc).ravel()
        estimate = mean_by_cluster(scores, BY_VIDEO)
        clustered += holds(estimate.low, estimate.high, share)
        half = 1.96 * np.sqrt(estimate.value * (1 - estimate.value) / scores.size)
        naive += holds(estimate.value - half, estimate.value + half, share)
    assert 0.93 <= clustered / REPLICATES <= 0.97
    assert naive / REPLICATES < 0.65


def test_intervals_cover_when_videos_are_of_unequal_length():
    rng = np.random.default_rng(9)
    sizes = np.array([5, 10, 20, 40] * 15)
    labels = Clusters.of(np.repeat(np.arange(60), sizes), int(sizes.sum()))
    keep = np.arange(40)[None, :] < sizes[:, None]
    covered = 0
    for _ in range(2000):
        estimate = mean_by_cluster(right_or_wrong(rng, 0.5, 0.2, 60, 40)[keep], labels)
        covered += holds(estimate.low, estimate.high, 0.5)
    assert 0.93 <= covered / 2000 <= 0.97


@pytest.mark.parametrize("icc", [0.1, 0.3])
def test_compare_cries_wolf_in_4_to_6_percent_and_mcnemar_far_more_often(icc):
    rng = np.random.default_rng([11, int(100 * icc)])
    student = permutation = mcnemar = covered = 0
    for seed in range(REPLICATES):
        a, b = (right_or_wrong(rng, 0.5, icc).ravel() for _ in range(2))
        result = compare_pair(a, b, BY_VIDEO, options=CompareOptions(draws=500, seed=seed))
        student += result.p_value < 0.05
        permutation += result.permutation_p < 0.05
        mcnemar += result.mcnemar_p < 0.05
        covered += holds(result.low, result.high, 0.0)
    assert 0.04 <= student / REPLICATES <= 0.06
    assert 0.04 <= permutation / REPLICATES <= 0.06
    assert 0.93 <= covered / REPLICATES <= 0.97
    assert mcnemar / REPLICATES > 0.3


def test_a_difference_as_large_as_the_mde_is_found_four_times_out_of_five():
    rng = np.random.default_rng(12)
    labels = Clusters.of(np.repeat(np.arange(100), 10), 1000)
    # Differences with a shared part per video: variance 0.06 + 0.2 on one question, so SE^2 = 0.06/100 + 0.2/1000.
    effect = (1.959963984540054 + 0.8416212335729143) * np.sqrt(0.06 / 100 + 0.2 / 1000)
    found = 0
    for seed in range(1500):
        d = effect + rng.normal(0, np.sqrt(0.06), 100).repeat(10) + rng.normal(0, np.sqrt(0.2), 1000)
        result = compare_pair(d, np.zeros(1000), labels, options=CompareOptions(draws=1, seed=seed))
        found += result.p_value < 0.05
    assert 0.77 <= found / 1500 <= 0.83


def test_non_inferiority_is_declared_in_no_more_than_5_percent_when_the_loss_is_just_the_margin():
    rng = np.random.default_rng(13)
    labels = Clusters.of(np.repeat(np.arange(50), 10), 500)
    options = CompareOptions(margin=0.02, draws=1)
    declared = 0
    for _ in range(2000):
        d = -0.02 + rng.normal(0, 0.1, 50).repeat(10) + rng.normal(0, 0.3, 500)
        declared += compare_pair(d, np.zeros(500), labels, options=options).non_inferiority.holds
    # The exact bound assumes no normal distribution, which costs power where there is one.
    assert declared / 2000 <= 0.06


def test_prediction_powered_intervals_cover_the_human_rate_although_the_judge_is_biased():
    rng = np.random.default_rng(14)
    videos = np.repeat(np.arange(60), 20)
    covered = judge_alone = 0
    for _ in range(1500):
        human = right_or_wrong(rng, 0.5, 0.1, 60, 20).ravel()
        judge = np.where(rng.random(1200) < 0.2, 1.0, human)
        labels = np.where(rng.permutation(1200) < 200, human, np.nan)
        estimate = prediction_powered_win_rate(judge, labels, videos)
        covered += holds(estimate.low, estimate.high, 0.5)
        alone = mean_by_cluster(judge, videos)
        judge_alone += holds(alone.low, alone.high, 0.5)
    assert 0.93 <= covered / 1500 <= 0.97
    assert judge_alone / 1500 < 0.2


def test_intervals_of_bradley_terry_strengths_cover():
    rng = np.random.default_rng(15)
    first, second = np.repeat([0, 0, 1], 400), np.repeat([1, 2, 2], 400)
    names = np.array(["a", "b", "c"])
    videos = np.tile(np.arange(80), 15)
    covered = 0
    for seed in range(400):
        # A video shifts the odds of all its games at random, sign by game, so strengths stay as they are.
        shift = rng.normal(0, 0.5, 80)[videos] * np.where(np.arange(1200) % 2 == 0, 1, -1)
        chance = expit(np.array([0.0, -0.5, -1.0])[first] - np.array([0.0, -0.5, -1.0])[second] + shift)
        games = Games(names[first].tolist(), names[second].tolist(), (rng.random(1200) < chance) * 1.0, videos)
        ranking = rank_models(games, anchor="a", draws=300, seed=seed)
        last = next(model for model in ranking.models if model.name == "b")
        covered += holds(last.low, last.high, -0.5)
    assert 0.92 <= covered / 400 <= 0.98
