"""One model's figures against statsmodels and values worked by hand."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats as distributions
from statsmodels.stats.proportion import proportion_confint

from evalkit.errors import UsageError
from evalkit.stats import (
    average_repeats,
    bootstrap_by_cluster,
    macro_average,
    mean_by_cluster,
    nested_weights,
    repeat_noise,
    wilson_interval,
)

PUBLISHED = Path(
    os.environ.get("EVALKIT_PUBLISHED_DIR", Path(__file__).parents[2].parent / "shared" / "published")
)
REKV = PUBLISHED / "streamingbench" / "real_output_rekv.json"

RNG = np.random.default_rng(3)
VIDEOS = RNG.integers(0, 60, 800)
SCORES = (RNG.random(800) < 0.3 + 0.4 * (VIDEOS % 2)).astype(float)


def test_the_clustered_error_is_that_of_statsmodels_up_to_its_small_sample_factor():
    estimate = mean_by_cluster(SCORES, VIDEOS)
    fit = sm.OLS(SCORES, np.ones(800)).fit(cov_type="cluster", cov_kwds={"groups": VIDEOS}, use_t=True)
    # statsmodels multiplies CR1 by (n - 1) / (n - k) as well, which is 1 for a mean.
    assert estimate.se == pytest.approx(fit.bse[0], abs=1e-12)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(fit.conf_int()[0]), abs=1e-9)
    assert estimate.method == "cr1-t"


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
    estimate = mean_by_cluster([1, 1, 0, 0, 0.5], ["a", "a", "b", "b", "c"])
    # mean 1/2; sums of residuals 1, -1, 0; CR1 = 3/2 * 2 / 25; CLT = (4 * 1/4) / 4 / 5
    assert estimate.value == 0.5
    assert estimate.se == pytest.approx(math.sqrt(0.12), abs=1e-12)
    assert estimate.deff == pytest.approx(0.12 / 0.05, abs=1e-12)
    assert estimate.effective_n == pytest.approx(5 / 2.4, abs=1e-12)
    assert (estimate.n, estimate.clusters) == (5, 3)
    assert "3 videos" in estimate.note


def test_with_one_question_per_video_the_design_effect_is_one():
    estimate = mean_by_cluster(SCORES, np.arange(800))
    assert estimate.deff == pytest.approx(1.0, abs=1e-9)


def test_wilson_is_that_of_statsmodels():
    interval = wilson_interval(7 / 90, 90, float(distributions.norm.ppf(0.975)))
    assert (interval.low, interval.high) == pytest.approx(proportion_confint(7, 90, method="wilson"), abs=1e-12)


def test_a_share_near_zero_takes_wilson_on_the_effective_n_and_says_so():
    scores = np.zeros(500)
    scores[[3, 77, 200]] = 1
    estimate = mean_by_cluster(scores, np.arange(500))
    assert estimate.method == "wilson"
    assert "3.0 effective successes" in estimate.note
    assert (estimate.low, estimate.high) == pytest.approx(proportion_confint(3, 500, method="wilson"), abs=1e-9)


def test_all_correct_takes_the_videos_as_effective_n():
    estimate = mean_by_cluster(np.ones(1000), np.repeat(np.arange(50), 20))
    assert estimate.value == 1.0
    assert estimate.high == 1.0
    assert estimate.low == pytest.approx(proportion_confint(50, 50, method="wilson")[0], abs=1e-9)
    assert "50 videos" in estimate.note


def test_all_ties_have_no_interval_and_say_why():
    estimate = mean_by_cluster(np.full(40, 0.5), np.arange(40))
    assert (estimate.value, estimate.low, estimate.high) == (0.5, None, None)
    assert "no spread" in estimate.note


def test_videos_that_agree_by_accident_have_no_interval():
    estimate = mean_by_cluster([1, 0, 0, 1], ["a", "a", "b", "b"])
    assert (estimate.se, estimate.low, estimate.high) == (None, None, None)
    assert "no two videos differ" in estimate.note


@pytest.mark.parametrize("questions", [1, 30])
def test_one_video_has_no_interval_and_says_so(questions):
    estimate = mean_by_cluster(np.arange(questions) % 2, ["v"] * questions)
    assert (estimate.se, estimate.low, estimate.high, estimate.deff) == (None, None, None, None)
    assert "one video only" in estimate.note


def test_an_interval_of_shares_stays_between_zero_and_one():
    estimate = mean_by_cluster([0.9, 1.0, 1.0, 0.5], ["a", "b", "c", "d"])
    assert estimate.high == 1.0


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


def test_a_bootstrap_t_stands_beside_few_videos_and_not_beside_many():
    few = mean_by_cluster(SCORES, VIDEOS % 20)
    assert few.bootstrap_t is not None
    assert few.bootstrap_t.low < few.value < few.bootstrap_t.high
    assert few.bootstrap_t.low == pytest.approx(few.low, abs=0.03)
    assert mean_by_cluster(SCORES, VIDEOS).bootstrap_t is None
    assert mean_by_cluster([1, 0, 1], ["a", "b", "c"]).bootstrap_t is None


def test_the_same_seed_gives_the_same_bootstrap_and_another_does_not():
    first, again, other = (mean_by_cluster(SCORES, VIDEOS % 20, seed=seed).bootstrap_t for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_bootstrapped_mean_agrees_with_the_clustered_error():
    sums = np.stack([np.bincount(VIDEOS, weights=SCORES, minlength=60), np.bincount(VIDEOS, minlength=60)], axis=1)
    resampled = bootstrap_by_cluster(sums, lambda totals: totals[:, 0] / totals[:, 1], n=800, draws=20_000)
    exact = mean_by_cluster(SCORES, VIDEOS)
    assert resampled.value == pytest.approx(exact.value, abs=1e-12)
    assert resampled.se == pytest.approx(exact.se, rel=0.04)
    assert resampled.low == pytest.approx(exact.low, abs=0.01)


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


def test_the_error_of_a_macro_average_adds_covariances_by_shared_video():
    rng = np.random.default_rng(11)
    videos, tasks = rng.integers(0, 50, 600), rng.integers(0, 3, 600)
    scores = (rng.random(600) < 0.2 + 0.6 * (videos % 3 == 0)).astype(float)
    design = np.eye(3)[tasks]
    fit = sm.OLS(scores, design).fit(cov_type="cluster", cov_kwds={"groups": videos, "use_correction": False})
    # Group means are regression coefficients; w' V w with statsmodels' V, times the CR1 factor C/(C-1).
    weights = np.array([0.5, 0.25, 0.25])
    expected = math.sqrt(weights @ fit.cov_params() @ weights * 50 / 49)
    estimate = macro_average(scores, tasks.tolist(), videos, weights=dict(enumerate(weights)))
    assert estimate.se == pytest.approx(expected, abs=1e-9)
    assert estimate.method == "percentile"
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * estimate.se, rel=0.1)


def test_a_macro_average_of_one_group_is_the_mean_with_its_error():
    macro, plain = macro_average(SCORES, ["x"] * 800, VIDEOS), mean_by_cluster(SCORES, VIDEOS)
    assert (macro.value, macro.se, macro.deff) == pytest.approx((plain.value, plain.se, plain.deff), abs=1e-12)


def test_a_macro_average_over_few_videos_takes_the_bootstrap_t():
    estimate = macro_average(SCORES, (["x", "y"] * 400), VIDEOS % 15)
    assert estimate.method == "bootstrap-t"
    assert estimate.low < estimate.value < estimate.high


def test_a_macro_average_on_one_video_or_without_spread_has_no_interval():
    assert macro_average([1, 0], ["x", "y"], ["v", "v"]).low is None
    flat = macro_average([1, 1, 1], ["x", "y", "y"], ["a", "b", "c"])
    assert (flat.value, flat.low, flat.method) == (1.0, None, "none")


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
