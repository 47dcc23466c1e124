"""Paired comparisons, tables of them and power against statsmodels and values worked by hand."""

import itertools
import math

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from evalkit.errors import NothingCountedError, UsageError
from evalkit.stats import (
    CompareOptions,
    Composition,
    Estimate,
    compare_all,
    compare_pair,
    exact_bounds,
    flip_rate,
    holm,
    mcnemar_exact,
    mean_by_cluster,
    minimal_detectable_effect,
    sign_flip_p,
    unpaired_difference,
    videos_needed,
    videos_to_decide,
)
from evalkit.stats.exact import unseen_share

RNG = np.random.default_rng(5)
VIDEOS = RNG.integers(0, 70, 900)
B = (RNG.random(900) < 0.55).astype(float)
A = np.where(RNG.random(900) < 0.8, B, (RNG.random(900) < 0.7).astype(float))


def test_with_equal_videos_the_paired_difference_is_that_of_statsmodels_with_clustered_errors():
    videos = np.arange(900) % 45
    result = compare_pair(A, B, videos)
    fit = sm.OLS(A - B, np.ones(900)).fit(cov_type="cluster", cov_kwds={"groups": videos}, use_t=True)
    assert result.difference == pytest.approx(fit.params[0], abs=1e-12)
    assert result.se == pytest.approx(fit.bse[0], abs=1e-12)
    assert result.p_value == pytest.approx(fit.pvalues[0], abs=1e-9)
    assert (result.low, result.high) == pytest.approx(tuple(fit.conf_int()[0]), abs=1e-9)


def test_a_comparison_stands_at_the_level_of_the_headline():
    # B gains 20 questions of the large task and loses 4 of the small one, which weighs as much.
    a, b = np.zeros(220), np.zeros(220)
    b[:20], a[200:204] = 1, 1
    videos = np.arange(220) % 44
    made = Composition.of({"large": range(200), "small": range(200, 220)}, {"large": 0.5, "small": 0.5})
    micro, macro = compare_pair(a, b, videos), compare_pair(a, b, videos, composition=made)
    assert micro.difference == pytest.approx(-16 / 220)
    assert macro.difference == pytest.approx(0.5 * -0.1 + 0.5 * 0.2)
    assert (macro.mean_a, macro.mean_b) == pytest.approx((0.1, 0.05))
    assert macro.low < macro.difference < macro.high


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


def test_few_videos_take_every_flip_of_signs():
    sums = np.array([3.0, -1.0, 2.0, 2.0, 0.5, 1.0])
    flips = np.array(list(itertools.product([-1, 1], repeat=6))) @ sums
    exact = np.mean(np.abs(flips) >= abs(sums.sum()) - 1e-12)
    assert sign_flip_p(sums[:, None], draws=64)[0] == exact
    assert sign_flip_p(sums[:, None], draws=63)[0] == pytest.approx(exact, abs=0.15)


def test_random_flips_come_to_the_exact_share_of_all_flips():
    sums = np.array([3.0, -1.0, 2.0, 2.0, 0.5, 1.0, 2.5, -0.5, 1.5, 1.0, 0.5, 2.0])
    exact = sign_flip_p(sums[:, None], draws=5000)[0]
    assert sign_flip_p(np.append(sums, np.zeros(8))[:, None], draws=40_000)[0] == pytest.approx(exact, abs=0.005)


def test_sign_flips_never_give_zero_and_a_wash_gives_one():
    assert sign_flip_p(np.ones((60, 1)), draws=999)[0] == pytest.approx(1 / 1000)
    assert sign_flip_p(np.array([[1.0], [-1.0]]), draws=500)[0] == 1.0


def test_the_permutation_flips_whole_videos():
    scores = np.repeat([1.0, 1.0, 0.0, 1.0], 50)
    by_video = compare_pair(scores, 0.5 + 0 * scores, np.repeat(np.arange(4), 50)).permutation_p
    by_question = compare_pair(scores, 0.5 + 0 * scores, np.arange(200)).permutation_p
    assert by_video > 0.3
    assert by_question < 0.01


def test_non_inferiority_needs_the_exact_bound_above_the_margin():
    result = compare_pair(A, B, VIDEOS, options=CompareOptions(margin=0.05))
    assert result.non_inferiority.bound == result.bound_low == exact_bounds(A - B, VIDEOS).low
    assert result.non_inferiority.holds is bool(result.bound_low > -0.05)
    worse = compare_pair(B, np.minimum(B + 0.06, 1), VIDEOS, options=CompareOptions(margin=0.02))
    assert worse.non_inferiority.holds is False


@pytest.mark.parametrize("broken", [0, 1, 3])
def test_the_bound_is_never_tighter_than_clopper_and_pearsons_where_whole_videos_are_broken(broken):
    videos = np.repeat(np.arange(200), 5)
    head = np.where(videos < broken, 0.0, 1.0)
    bound = exact_bounds(head - 1.0, videos).low
    exact = proportion_confint(broken, 200, 0.1, "beta")[1]
    assert bound == pytest.approx(-exact, abs=1e-8)


def test_one_spoilt_answer_is_never_better_than_none():
    videos = np.repeat(np.arange(30), 4)
    none = exact_bounds(np.zeros(120), videos)
    one = exact_bounds(np.where(np.arange(120) == 50, -1.0, 0.0), videos)
    assert one.low < none.low
    assert one.high < none.high
    assert none.low == pytest.approx(-unseen_share(30), abs=1e-8)


def test_bounds_on_one_video_or_of_anything_but_scores_are_refused():
    with pytest.raises(UsageError, match="one video"):
        exact_bounds([0.0, 1.0], ["v", "v"])
    with pytest.raises(UsageError, match="between -1 and 1"):
        exact_bounds([0.0, 3.0], ["v", "w"])


def test_no_margin_means_no_verdict_on_non_inferiority():
    assert compare_pair(A, B, VIDEOS).non_inferiority is None


def test_identical_scores_are_bounded_by_what_so_many_videos_cannot_show():
    videos = np.arange(900) % 75
    result = compare_pair(A, A, videos, options=CompareOptions(margin=0.01))
    assert (result.difference, result.se, result.p_value, result.permutation_p) == (0.0, 0.0, 1.0, 1.0)
    assert (-result.low, result.high) == pytest.approx((unseen_share(75, 0.975),) * 2, abs=1e-8)
    assert result.identical
    assert result.mde is None
    assert result.non_inferiority.bound == pytest.approx(-unseen_share(75), abs=1e-8)
    assert result.non_inferiority.holds is False, "75 videos that agree leave room for a loss of 3.9 points"
    assert compare_pair(A, A, videos, options=CompareOptions(margin=0.05)).non_inferiority.holds is True
    assert f"{100 * unseen_share(75):.1f} %" in result.note


def test_a_difference_on_few_videos_takes_the_exact_interval_and_says_so():
    b = A.copy()
    b[VIDEOS == 3] = 1 - b[VIDEOS == 3]
    result = compare_pair(A, b, VIDEOS)
    assert result.method == "exact"
    assert "on 1 of 70 videos only" in result.note
    assert result.high - result.low > 0.05


def test_a_constant_difference_has_no_error_but_bounds():
    result = compare_pair(np.ones(30), np.zeros(30), np.arange(30))
    assert (result.difference, result.se, result.p_value, result.rho) == (1.0, None, None, None)
    assert (result.low, result.high) == pytest.approx((1 - 2 * unseen_share(30, 0.975), 1.0), abs=1e-8)
    assert result.permutation_p < 0.01


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
    assert tuple(row.p_holm for row in table) == holm([row.comparison.permutation_p for row in table])


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
    se = math.sqrt(2 * 0.48**2 * (1 - rho) / n)
    assert round(100 * minimal_detectable_effect(se, n - 1), 2) == points


@pytest.mark.parametrize(("freedom", "errors"), [(2, 5.65), (4, 3.76), (19, 2.95), (1e6, 2.80)])
def test_few_degrees_of_freedom_make_the_detectable_effect_larger(freedom, errors):
    # Of n pairs as G*Power gives it: d = 3.26 at n = 3, 1.68 at n = 5, 0.66 at n = 20 (two-sided 5 %, power 80 %).
    assert minimal_detectable_effect(1.0, freedom) == pytest.approx(errors, abs=0.006)


def test_the_mde_of_a_comparison_is_that_of_its_own_error_and_degrees_of_freedom():
    result = compare_pair(A, B, VIDEOS)
    assert result.mde == pytest.approx(minimal_detectable_effect(result.se, result.freedom), abs=1e-12)
    assert result.mde > 2.8016 * result.se


def test_few_videos_on_which_two_differ_tell_no_detectable_effect_and_make_the_plan_a_guess():
    # At the 0.78 points that this error would give, two of 240 videos differ: no test of whole videos tells two.
    one = np.zeros(240)
    one[7] = 1.0
    videos = np.arange(240)
    result = compare_pair(one, np.zeros(240), videos)
    assert (result.method, result.mde) == ("exact", None)
    needed = videos_needed(one, videos, 0.01)
    assert needed.pilot_mde is None
    assert needed.note == "the spread is a guess: the pilots differ on 1 of 240 videos"
    several = np.where(videos < 12, 1.0, 0.0)
    assert compare_pair(several, np.zeros(240), videos).mde is not None


def test_a_pilot_as_large_as_its_own_answer_detects_just_the_effect():
    needed = videos_needed(A - B, VIDEOS, compare_pair(A, B, VIDEOS).mde * 1.0001)
    assert needed.videos == 70
    assert needed.pilot_mde == pytest.approx(compare_pair(A, B, VIDEOS).mde, rel=1e-9)


def test_half_the_effect_needs_four_times_the_videos():
    small, large = (videos_needed(A - B, VIDEOS, effect).videos for effect in (0.01, 0.02))
    assert small == pytest.approx(4 * large, rel=0.02)


def test_one_pilot_run_takes_an_assumed_rho_and_says_so():
    alone, paired = videos_needed(A, VIDEOS, 0.01, rho=0.5), videos_needed(A, VIDEOS, 0.01)
    assert (alone.videos, alone.pilot_mde) == (paired.videos, paired.pilot_mde), "2 (1 - 0.5) is 1"
    assert videos_needed(A, VIDEOS, 0.01, rho=0.875).videos == pytest.approx(alone.videos / 4, rel=0.02)
    assert "correlation of 0.5" in alone.note
    assert "20 pilot videos" in videos_needed(A, VIDEOS % 20, 0.01, rho=0.5).note


def test_identical_runs_need_as_many_videos_as_the_rule_of_three_says():
    assert videos_to_decide(np.zeros(60), np.arange(60) % 12, 0.01) == 299
    assert unseen_share(298) > 0.01 > unseen_share(299)


def test_an_observed_loss_makes_the_videos_needed_many_more():
    rng = np.random.default_rng(8)
    d = rng.choice([-1.0, 0.0, 1.0], 1000, p=[0.05, 0.9, 0.05])
    worse = np.where(np.arange(1000) % 100 == 0, -1.0, d)
    videos = np.arange(1000) % 100
    assert videos_to_decide(worse, videos, 0.05) > 1.5 * videos_to_decide(d, videos, 0.05)
    assert videos_to_decide(-np.ones(20), np.arange(20), 0.5) < 20, "a loss of 100 points is shown by few"
    assert videos_to_decide([-1.0, 0.0], ["v", "w"], 0.5) is None, "the drop is the margin"


@pytest.mark.parametrize(
    ("pilot", "videos", "effect", "rho", "says"),
    [
        ([1, 0], ["v", "v"], 0.01, None, "one video"),
        ([1, 0], ["v", "w"], 0.0, None, "must be positive"),
        ([1, 0], ["v", "w"], 0.01, 1.0, "rho"),
    ],
)
def test_a_pilot_that_cannot_tell_is_refused(pilot, videos, effect, rho, says):
    with pytest.raises(UsageError, match=says):
        videos_needed(pilot, videos, effect, rho=rho)


def test_a_pilot_without_spread_has_nothing_to_plan_from():
    with pytest.raises(NothingCountedError, match="no spread"):
        videos_needed([0, 0], ["v", "w"], 0.01)


def test_more_draws_than_any_digit_needs_are_refused():
    with pytest.raises(UsageError, match=r"1 to 1,000,000 draws, got 10,000,000"):
        CompareOptions(draws=10_000_000)
