"""One model's figures against statsmodels and values worked by hand."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats as distributions
from scipy.linalg import block_diag, sqrtm
from statsmodels.stats.proportion import proportion_confint

from evalkit.errors import UsageError
from evalkit.stats import (
    Composition,
    average_repeats,
    bootstrap_by_cluster,
    headline_estimate,
    macro_average,
    mean_by_cluster,
    nested_weights,
    repeat_noise,
)
from evalkit.stats.clusters import Clusters
from evalkit.stats.exact import BoundedMean, unseen_share
from evalkit.stats.robust import clustered_statistic

PUBLISHED = Path(
    os.environ.get("EVALKIT_PUBLISHED_DIR", Path(__file__).parents[2].parent / "shared" / "published")
)
REKV = PUBLISHED / "streamingbench" / "real_output_rekv.json"

RNG = np.random.default_rng(3)
VIDEOS = RNG.integers(0, 60, 800)
SCORES = (RNG.random(800) < 0.3 + 0.4 * (VIDEOS % 2)).astype(float)


def cr2_by_matrices(scores, cells, videos, weights, rho):
    """Return the CR2 variance of a weighted mean of cell means and its degrees of freedom, as papers write it."""
    order = np.argsort(videos, kind="stable")
    scores, cells, videos = scores[order], cells[order], videos[order]
    n, design = scores.size, np.eye(len(weights))[cells]
    bread = np.linalg.inv(design.T @ design)
    left = np.eye(n) - design @ bread @ design.T
    residuals, variance, columns, blocks = left @ scores, 0.0, [], []
    for video in np.unique(videos):
        mine = videos == video
        size = int(mine.sum())
        adjust = np.linalg.inv(np.real(sqrtm(left[np.ix_(mine, mine)])))
        share = adjust @ design[mine] @ bread @ weights
        variance += float(share @ residuals[mine]) ** 2
        columns.append(left[:, mine] @ share)
        blocks.append((1 - rho) * np.eye(size) + rho * np.ones((size, size)))
    columns = np.stack(columns, axis=1)
    middle = columns.T @ block_diag(*blocks) @ columns
    return variance, np.trace(middle) ** 2 / np.trace(middle @ middle)


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.25, 0.25]])
def test_error_and_degrees_of_freedom_are_those_of_the_matrix_formulas(weights):
    rng = np.random.default_rng(11)
    videos = np.repeat(np.arange(14), rng.integers(2, 17, 14))
    cells = rng.integers(0, len(weights), videos.size)
    scores = (rng.random(videos.size) < 0.2 + 0.6 * (videos % 3 == 0)).astype(float)
    positions = {str(cell): np.flatnonzero(cells == cell).tolist() for cell in range(len(weights))}
    made = Composition.of(positions, {str(cell): weight for cell, weight in enumerate(weights)})
    found = clustered_statistic(scores, Clusters.of(videos, videos.size), made)
    variance, freedom = cr2_by_matrices(scores, cells, videos, np.array(weights), found.intraclass)
    assert found.se**2 == pytest.approx(variance, rel=1e-9)
    assert found.freedom == pytest.approx(freedom, rel=1e-9)
    assert 0 < found.intraclass < 1


def test_with_equal_videos_the_error_is_that_of_statsmodels_and_the_degrees_of_freedom_are_videos_minus_one():
    videos = np.arange(800) % 40
    estimate = mean_by_cluster(SCORES, videos)
    fit = sm.OLS(SCORES, np.ones(800)).fit(cov_type="cluster", cov_kwds={"groups": videos}, use_t=True)
    # statsmodels multiplies CR1 by (n - 1) / (n - k) as well, which is 1 for a mean.
    assert estimate.se == pytest.approx(fit.bse[0], abs=1e-12)
    assert estimate.freedom == pytest.approx(39, abs=1e-9)


def test_the_interval_of_shares_is_students_on_the_logit_scale():
    estimate = mean_by_cluster(SCORES, VIDEOS)
    odds = math.log(estimate.value / (1 - estimate.value))
    reach = distributions.t.ppf(0.975, estimate.freedom) * estimate.se / (estimate.value * (1 - estimate.value))
    assert estimate.method == "cr2-logit"
    assert estimate.low == pytest.approx(1 / (1 + math.exp(reach - odds)), abs=1e-12)
    assert estimate.high == pytest.approx(1 / (1 + math.exp(-reach - odds)), abs=1e-12)


def test_scores_beyond_zero_and_one_get_the_plain_interval_of_student():
    estimate = mean_by_cluster(7 * SCORES - 3, VIDEOS)
    half = distributions.t.ppf(0.975, estimate.freedom) * estimate.se
    assert estimate.method == "cr2-t"
    assert (estimate.low + half, estimate.high - half) == pytest.approx((estimate.value,) * 2, abs=1e-12)


@pytest.mark.parametrize(("lost", "videos"), [(0, 2), (0, 20), (1, 3), (1, 200), (17, 900), (200, 200)])
def test_the_exact_bound_is_clopper_and_pearsons_where_equal_videos_are_lost_wholly_or_not_at_all(lost, videos):
    means = np.ones(videos)
    means[:lost] = 0
    bound = BoundedMean(means, np.full(videos, 1 / videos), 0.0, 1.0, 1 / videos).lower(0.95)
    assert bound == pytest.approx(proportion_confint(videos - lost, videos, 0.1, "beta")[0], abs=1e-8)


def test_the_exact_bound_is_the_quantile_of_exponential_weights():
    rng = np.random.default_rng(2)
    means, sizes = rng.random(30), rng.exponential(size=30)
    shares = sizes / sizes.sum()
    weights = rng.exponential(size=(100_000, 31)) * np.append(shares, shares @ shares)
    drawn = np.quantile(weights @ np.append(means, 0.0) / weights.sum(axis=1), 0.05)
    bound = BoundedMean(means, shares, 0.0, 1.0, float(shares @ shares)).lower(0.95)
    assert bound == pytest.approx(drawn, abs=1.5e-3)


def test_few_effective_successes_take_the_exact_interval_and_say_so():
    scores = np.zeros(500)
    scores[[3, 77, 200]] = 1
    estimate = mean_by_cluster(scores, np.arange(500))
    assert estimate.method == "exact"
    assert "3.0 effective successes" in estimate.note
    assert (estimate.low, estimate.high) == pytest.approx(proportion_confint(3, 500, method="beta"), abs=1e-8)


def test_all_correct_is_bounded_by_what_so_many_videos_cannot_show():
    estimate = mean_by_cluster(np.ones(1000), np.repeat(np.arange(50), 20))
    assert (estimate.value, estimate.high, estimate.method) == (1.0, 1.0, "exact")
    assert estimate.low == pytest.approx(0.025 ** (1 / 50), abs=1e-8)
    assert 1 - estimate.low == pytest.approx(unseen_share(50, 0.975), abs=1e-8)
    assert "50 videos" in estimate.note


def test_videos_that_all_agree_are_no_proof_that_others_would():
    ties = mean_by_cluster(np.full(40, 0.5), np.arange(40))
    accident = mean_by_cluster([1, 0, 0, 1], ["a", "a", "b", "b"])
    assert (ties.value, ties.method) == (0.5, "exact")
    assert 0.4 < ties.low < 0.5 < ties.high < 0.6
    assert accident.low == pytest.approx(1 - accident.high, abs=1e-9)
    assert accident.low < 0.1
    assert accident.deff is None


def test_a_video_that_holds_nearly_all_questions_carries_no_interval():
    videos = np.concatenate([np.zeros(1000, dtype=int), np.repeat(np.arange(1, 41), 5)])
    estimate = mean_by_cluster((np.arange(1200) % 3 > 0).astype(float), videos)
    assert (estimate.low, estimate.high, estimate.method) == (None, None, "none")
    assert "one video holds 83 % of the weight" in estimate.note


def test_unequal_videos_leave_fewer_degrees_of_freedom_and_say_so():
    videos = np.repeat(np.arange(20), [1] * 10 + [5] * 6 + [70] * 4)
    scores = (np.random.default_rng(4).random(videos.size) < 0.5).astype(float)
    estimate = mean_by_cluster(scores, videos)
    assert estimate.freedom < 6
    assert "20 videos carry" in estimate.note


def test_the_effective_n_is_never_more_than_the_questions():
    alternating = mean_by_cluster(np.arange(200) % 2 + 0.0, np.repeat(np.arange(40), 5))
    assert alternating.deff < 1
    assert alternating.effective_n == 200


def test_an_interval_of_shares_stays_between_zero_and_one():
    estimate = mean_by_cluster([0.9, 1.0, 1.0, 0.5], ["a", "b", "c", "d"])
    assert 0 < estimate.low < estimate.high <= 1.0


@pytest.mark.skipif(not REKV.exists(), reason=f"published answers are not at {REKV}")
def test_rekvs_published_answers_on_streamingbench_have_a_design_effect_of_1_34():
    scored = {}
    for record in json.loads(REKV.read_text(encoding="utf-8")):
        for question in record["questions"]:
            key = record["video_path"], question["question"], question["time_stamp"]
            scored.setdefault(key, float(question["rekv"].strip()[:1] == question["answer"]))
    estimate = mean_by_cluster(list(scored.values()), [video for video, *_ in scored])
    assert (estimate.n, estimate.clusters) == (2499, 499)
    assert (round(100 * estimate.value, 2), round(100 * estimate.se, 2), round(estimate.deff, 2)) == (
        63.83,
        1.11,
        1.34,
    )


def test_five_answers_on_three_videos_give_the_hand_worked_error():
    scores, videos = [1, 1, 0, 0, 0.5], ["a", "a", "b", "b", "c"]
    estimate = mean_by_cluster(scores, videos)
    # mean 1/2; sums of residuals 1, -1, 0; CR2 = (1 / (1 - 2/5) + 1 / (1 - 2/5)) / 25; CLT = (4 * 1/4) / 4 / 5
    assert estimate.value == 0.5
    assert estimate.se == pytest.approx(math.sqrt(2 / 0.6 / 25), abs=1e-12)
    assert estimate.deff == pytest.approx(2 / 0.6 / 25 / 0.05, abs=1e-12)
    assert estimate.effective_n == pytest.approx(5 / estimate.deff, abs=1e-12)
    assert (estimate.n, estimate.clusters) == (5, 3)


def test_with_one_question_per_video_the_design_effect_is_one():
    estimate = mean_by_cluster(SCORES, np.arange(800))
    assert estimate.deff == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("questions", [1, 30])
def test_one_video_has_no_interval_and_says_so(questions):
    estimate = mean_by_cluster(np.arange(questions) % 2, ["v"] * questions)
    assert (estimate.se, estimate.low, estimate.high, estimate.deff) == (None, None, None, None)
    assert "one video only" in estimate.note


@pytest.mark.parametrize(
    ("scores", "videos", "says"),
    [
        ([], [], "without answers"),
        ([1, float("nan")], ["a", "b"], "position 1"),
        ([1, float("inf")], ["a", "b"], "not finite"),
        ([1, 0], ["a"], "1 cluster labels for 2 questions"),
        ([1, 0], ["a", None], "position 1 has no cluster"),
        ([[1, 0]], ["a"], "shape"),
        (["yes"], ["a"], "must be numbers"),
    ],
)
def test_unusable_scores_are_refused_with_their_reason(scores, videos, says):
    with pytest.raises(UsageError, match=says):
        mean_by_cluster(scores, videos)


def test_a_confidence_of_95_is_refused():
    with pytest.raises(UsageError, match="between 0 and 1"):
        mean_by_cluster([1, 0], ["a", "b"], confidence=95)


def test_a_bootstrapped_mean_agrees_with_the_clustered_error():
    sums = np.stack([np.bincount(VIDEOS, weights=SCORES, minlength=60), np.bincount(VIDEOS, minlength=60)], axis=1)
    resampled = bootstrap_by_cluster(sums, lambda totals: totals[:, 0] / totals[:, 1], n=800, draws=20_000)
    exact = mean_by_cluster(SCORES, VIDEOS)
    assert resampled.value == pytest.approx(exact.value, abs=1e-12)
    assert resampled.se == pytest.approx(exact.se, rel=0.05)
    assert resampled.low == pytest.approx(exact.low, abs=0.02)


def test_resamples_without_a_value_are_counted_and_left_out():
    sums = np.array([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [1.0, 2.0]])
    estimate = bootstrap_by_cluster(sums, lambda totals: totals[:, 0] / totals[:, 1], n=3)
    assert "resamples left the statistic undefined" in estimate.note
    assert 0.5 <= estimate.low <= estimate.high <= 1.0


def test_a_macro_average_is_the_mean_of_group_means_of_task_means():
    weights = nested_weights({"backward": ["EPM", "ASI"], "forward": ["REC"]})
    assert weights == {"EPM": 0.25, "ASI": 0.25, "REC": 0.5}
    scores = [1, 0, 1, 1, 0, 0, 0, 1]
    tasks = ["EPM", "EPM", "ASI", "ASI", "REC", "REC", "REC", "REC"]
    estimate = macro_average(scores, tasks, list("abcdabcd"), weights=weights)
    assert estimate.value == pytest.approx(0.25 * 0.5 + 0.25 * 1 + 0.5 * 0.25, abs=1e-12)


def test_a_macro_average_of_one_group_is_the_mean_with_its_error():
    macro, plain = macro_average(SCORES, ["x"] * 800, VIDEOS), mean_by_cluster(SCORES, VIDEOS)
    assert (macro.value, macro.se, macro.deff) == pytest.approx((plain.value, plain.se, plain.deff), abs=1e-12)


def test_a_macro_average_with_a_task_on_one_video_has_no_interval_and_names_the_task():
    tasks = np.where(VIDEOS == 7, "lone", "rest")
    estimate = macro_average(SCORES, tasks.tolist(), VIDEOS)
    assert (estimate.low, estimate.high, estimate.method) == (None, None, "none")
    assert "lone on one video only" in estimate.note
    weightless = macro_average(SCORES, tasks.tolist(), VIDEOS, weights={"lone": 0.0, "rest": 1.0})
    assert weightless.low < weightless.value < weightless.high


def test_a_question_may_count_in_two_cells_of_an_average():
    made = Composition.of({"all": [0, 1, 2, 3], "hard": [2, 3]}, {"all": 0.5, "hard": 0.5})
    assert headline_estimate([1, 1, 1, 0], list("abcd"), composition=made).value == pytest.approx(0.625)


def test_weights_that_do_not_add_up_to_one_are_refused():
    with pytest.raises(UsageError, match="add up to 1"):
        Composition.of({"x": [0], "y": [1]}, {"x": 0.5, "y": 0.4})
    with pytest.raises(UsageError, match="no questions for y"):
        Composition.of({"x": [0], "y": []}, {"x": 0.5, "y": 0.5})


def test_a_macro_average_on_one_video_or_without_spread_says_so():
    assert macro_average([1, 0], ["x", "y"], ["v", "v"]).low is None
    flat = macro_average([1] * 8, ["x", "y"] * 4, list("abcdefab"))
    assert (flat.value, flat.high, flat.method) == (1.0, 1.0, "exact")
    assert flat.low < 0.7


@pytest.mark.parametrize("weights", [{"x": 1.0}, {"x": 0.5, "y": 0.25, "z": 0.25}])
def test_a_macro_average_with_a_group_or_a_weight_missing_is_refused(weights):
    with pytest.raises(UsageError, match=r"no questions or no weight for [yz]"):
        macro_average([1, 0], ["x", "y"], ["a", "b"], weights=weights)


def test_nested_weights_refuse_a_task_in_two_groups():
    with pytest.raises(UsageError, match="named twice"):
        nested_weights({"a": ["x"], "b": ["x"]})


def test_repeated_samples_are_averaged_before_clustering():
    assert average_repeats([[1, 0], [1, 1]]).tolist() == [0.5, 1.0]
    assert repeat_noise([[1, 0], [1, 1]]) == pytest.approx(0.25)
    with pytest.raises(UsageError, match="two samples"):
        repeat_noise([[1], [0]])
    with pytest.raises(UsageError, match="not finite"):
        average_repeats([[1, float("nan")]])
