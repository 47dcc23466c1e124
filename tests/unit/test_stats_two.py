"""Paired comparisons, tables of them and power against statsmodels and values worked by hand."""

import itertools
import math

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from evalkit.errors import UsageError
from evalkit.stats import (
    CompareOptions,
    Estimate,
    compare_all,
    compare_pair,
    flip_rate,
    holm,
    mcnemar_exact,
    mean_by_cluster,
    minimal_detectable_effect,
    questions_needed,
    sign_flip_p,
    unpaired_difference,
    videos_needed,
)

RNG = np.random.default_rng(5)
VIDEOS = RNG.integers(0, 70, 900)
B = (RNG.random(900) < 0.55).astype(float)
A = np.where(RNG.random(900) < 0.8, B, (RNG.random(900) < 0.7).astype(float))


def test_the_paired_difference_is_that_of_statsmodels_with_clustered_errors():
    result = compare_pair(A, B, VIDEOS)
    fit = sm.OLS(A - B, np.ones(900)).fit(cov_type="cluster", cov_kwds={"groups": VIDEOS}, use_t=True)
    assert result.difference == pytest.approx(fit.params[0], abs=1e-12)
    assert result.se == pytest.approx(fit.bse[0], abs=1e-12)
    assert result.p_value == pytest.approx(fit.pvalues[0], abs=1e-9)
    assert (result.low, result.high) == pytest.approx(tuple(fit.conf_int()[0]), abs=1e-9)


def test_rho_ties_the_paired_error_to_the_two_single_errors():
    result = compare_pair(A, B, np.arange(900))
    se_a, se_b = (mean_by_cluster(one, np.arange(900)).se for one in (A, B))
    assert result.se**2 == pytest.approx(se_a**2 + se_b**2 - 2 * result.rho * se_a * se_b, abs=1e-12)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 9), (20, 20), (3, 40)])
def test_mcnemar_is_that_of_statsmodels(b, c):
    assert mcnemar_exact(b, c) == pytest.approx(mcnemar([[0, b], [c, 0]], exact=True).pvalue, abs=1e-12)


def test_discordant_counts_and_flip_rate_are_counted_by_question():
    result = compare_pair([1, 1, 0, 1, 0], [0, 0, 1, 1, 0], list("abcde"))
    assert (result.only_a, result.only_b, result.flip_rate) == (2, 1, 0.6)
    assert result.mcnemar_p == pytest.approx(1.0)


def test_graded_scores_have_no_mcnemar():
    assert compare_pair([0.5, 1, 0], [0, 1, 0], list("abc")).mcnemar_p is None


def test_sign_flips_come_to_the_exact_share_of_all_flips():
    sums = np.array([3.0, -1.0, 2.0, 2.0, 0.5, 1.0])
    flips = np.array(list(itertools.product([-1, 1], repeat=6))) @ sums
    exact = np.mean(np.abs(flips) >= abs(sums.sum()) - 1e-12)
    assert sign_flip_p(sums[:, None], draws=40_000, seed=1)[0] == pytest.approx(exact, abs=0.005)


def test_sign_flips_never_give_zero_and_a_wash_gives_one():
    assert sign_flip_p(np.ones((60, 1)), draws=999)[0] == pytest.approx(1 / 1000)
    assert sign_flip_p(np.array([[1.0], [-1.0]]), draws=500)[0] == 1.0


def test_the_permutation_flips_whole_videos():
    scores = np.repeat([1.0, 1.0, 0.0, 1.0], 50)
    by_video = compare_pair(scores, 0.5 + 0 * scores, np.repeat(np.arange(4), 50)).permutation_p
    by_question = compare_pair(scores, 0.5 + 0 * scores, np.arange(200)).permutation_p
    assert by_video > 0.3
    assert by_question < 0.01


def test_non_inferiority_needs_the_one_sided_bound_above_the_margin():
    result = compare_pair(A, B, VIDEOS, options=CompareOptions(margin=0.05))
    tail = result.difference - 1.667238549 * result.se  # t(69), one-sided 5 %
    assert result.non_inferiority.bound == pytest.approx(tail, abs=1e-6)
    assert result.non_inferiority.holds is bool(tail > -0.05)
    worse = compare_pair(B - 0.06, B + RNG.normal(0, 0.01, 900), VIDEOS, options=CompareOptions(margin=0.05))
    assert worse.non_inferiority.holds is False


def test_no_margin_means_no_verdict_on_non_inferiority():
    assert compare_pair(A, B, VIDEOS).non_inferiority is None


def test_identical_runs_differ_by_zero_and_say_how_much_that_shows():
    result = compare_pair(A, A, VIDEOS, options=CompareOptions(margin=0.01))
    assert (result.difference, result.se, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 0.0, 1.0)
    assert result.identical
    assert result.mde is None
    assert result.non_inferiority.bound == pytest.approx(-(1 - 0.05 ** (1 / 70)))
    assert result.non_inferiority.holds is False, "70 videos that agree leave room for a loss of 4.2 points"
    assert compare_pair(A, A, VIDEOS, options=CompareOptions(margin=0.05)).non_inferiority.holds is True
    assert f"{100 * (1 - 0.05 ** (1 / 70)):.1f} %" in result.note


def test_a_constant_difference_has_no_error_and_so_no_p_value():
    result = compare_pair(np.ones(30), np.zeros(30), np.arange(30))
    assert (result.difference, result.se, result.low, result.p_value, result.rho) == (1.0, None, None, None, None)
    assert result.permutation_p < 0.01
    assert "no spread" in result.note


def test_one_video_gives_a_difference_and_nothing_that_needs_two():
    result = compare_pair([1, 1, 0], [0, 1, 0], ["v"] * 3, options=CompareOptions(margin=0.01))
    assert result.difference == pytest.approx(1 / 3)
    assert (result.se, result.low, result.p_value, result.permutation_p, result.mcnemar_p) == (None,) * 5
    assert result.non_inferiority.holds is None
    assert "one video only" in result.note


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [([1, 0], [1], "same questions"), ([1, float("nan")], [1, 0], "scores of A"), ([], [], "without answers")],
)
def test_runs_that_cannot_be_paired_are_refused(a, b, says):
    with pytest.raises(UsageError, match=says):
        compare_pair(a, b, ["v", "w"][: len(a)])


@pytest.mark.parametrize(
    "options", [{"margin": 0.0}, {"margin": float("nan")}, {"power": 0.1}, {"draws": 0}, {"confidence": 95}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(UsageError):
        CompareOptions(**options)


def test_few_videos_get_a_bootstrap_t_beside_students_interval():
    result = compare_pair(A, B, VIDEOS % 20)
    assert result.bootstrap_t.low < result.difference < result.bootstrap_t.high


def test_holm_is_monotone_and_passes_over_missing_tests():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx((0.03, None, 0.06, 0.06), abs=1e-12)
    assert holm([None]) == (None,)
    assert holm([]) == ()
    p = [0.001, 0.2, 0.03, 0.04, 0.5]
    assert holm(p) == pytest.approx(tuple(multipletests(p, method="holm")[1]), abs=1e-12)
    with pytest.raises(UsageError, match="between 0 and 1"):
        holm([1.2])


def test_a_table_holds_every_pair_as_compared_alone():
    runs = {"a": A, "b": B, "c": 1 - A}
    table = compare_all(runs, VIDEOS)
    assert [(row.a, row.b) for row in table] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert table[0].comparison == compare_pair(A, B, VIDEOS)
    assert tuple(row.p_holm for row in table) == holm([row.comparison.p_value for row in table])


def test_a_table_against_a_reference_has_it_as_model_b_of_every_row():
    rows = compare_all({"a": A, "b": B, "c": 1 - A}, VIDEOS, reference="b")
    assert [(row.a, row.b) for row in rows] == [("a", "b"), ("c", "b")]
    with pytest.raises(UsageError, match="did you mean 'streaming'"):
        compare_all({"streaming": A, "b": B}, VIDEOS, reference="streeming")
    with pytest.raises(UsageError, match="at least two"):
        compare_all({"a": A}, VIDEOS)
    with pytest.raises(UsageError, match="same questions"):
        compare_all({"a": A, "b": B[:5]}, VIDEOS)


def test_the_flip_rate_counts_changed_answers():
    estimate = flip_rate(["A", "B", "C", None], ["A", "C", "C", "D"], list("wxyz"))
    assert (estimate.value, estimate.n, estimate.clusters) == (0.5, 4, 4)
    with pytest.raises(UsageError, match="same questions"):
        flip_rate(["A"], [], ["v"])


def test_an_unpaired_difference_adds_the_variances():
    a, b = mean_by_cluster(A, VIDEOS), mean_by_cluster(B, VIDEOS)
    result = unpaired_difference(a, b)
    assert result.se == pytest.approx(math.hypot(a.se, b.se), abs=1e-12)
    assert result.high - result.low > compare_pair(A, B, VIDEOS).high - compare_pair(A, B, VIDEOS).low
    published = Estimate(0.5, None, None, None, 100, 100, None, None, "none")
    assert unpaired_difference(a, published).low is None


@pytest.mark.parametrize(
    ("n", "rho", "points"), [(2500, 0.5, 2.69), (2500, 0.81, 1.66), (1640, 0.5, 3.32), (1640, 0.81, 2.05)]
)
def test_the_minimal_detectable_effect_of_the_benchmarks_is_as_computed_by_hand(n, rho, points):
    assert round(100 * minimal_detectable_effect(n, 2 * 0.48**2 * (1 - rho)), 2) == points


def test_the_mde_of_a_comparison_is_2_8_clustered_errors():
    result = compare_pair(A, B, VIDEOS)
    assert result.mde == pytest.approx((1.959963984540054 + 0.8416212335729143) * result.se, abs=1e-12)


def test_questions_needed_and_mde_are_inverse():
    n = questions_needed(0.01, 0.12, deff=1.4)
    assert n == math.ceil((1.959963984540054 + 0.8416212335729143) ** 2 * 0.12 * 1.4 / 0.01**2)
    assert minimal_detectable_effect(n, 0.12, deff=1.4) == pytest.approx(0.01, rel=1e-4)


def test_a_pilot_as_large_as_its_own_answer_detects_just_the_effect():
    needed = videos_needed(A - B, VIDEOS, compare_pair(A, B, VIDEOS).mde)
    assert needed.videos == pytest.approx(70, abs=1)
    assert needed.pilot_mde == pytest.approx(compare_pair(A, B, VIDEOS).mde, rel=1e-9)


def test_half_the_effect_needs_four_times_the_videos():
    small, large = (videos_needed(A - B, VIDEOS, effect).videos for effect in (0.01, 0.02))
    assert small == pytest.approx(4 * large, rel=0.01)


def test_one_pilot_run_takes_an_assumed_rho_and_says_so():
    needed = videos_needed(A, VIDEOS, 0.01, rho=0.5)
    assert needed.variance == pytest.approx(np.var(A, ddof=1), abs=1e-12)
    assert "correlation of 0.5" in needed.note
    assert "20 pilot videos" in videos_needed(A, VIDEOS % 20, 0.01, rho=0.5).note


@pytest.mark.parametrize(
    ("pilot", "videos", "effect", "rho", "says"),
    [
        ([1, 0], ["v", "v"], 0.01, None, "one video"),
        ([0, 0], ["v", "w"], 0.01, None, "no spread"),
        ([1, 0], ["v", "w"], 0.0, None, "must be positive"),
        ([1, 0], ["v", "w"], 0.01, 1.0, "rho"),
    ],
)
def test_a_pilot_that_cannot_tell_is_refused(pilot, videos, effect, rho, says):
    with pytest.raises(UsageError, match=says):
        videos_needed(pilot, videos, effect, rho=rho)


def test_more_draws_than_any_digit_needs_are_refused():
    with pytest.raises(UsageError, match=r"1 to 1,000,000 draws, got 10,000,000"):
        CompareOptions(draws=10_000_000)
