"""Agreement coefficients against statsmodels and published worked examples."""

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from evalkit.errors import UsageError
from evalkit.stats import cohen_kappa, gwet_ac1, krippendorff_alpha

RNG = np.random.default_rng(2)
FIRST = RNG.choice(["test", "baseline", "tie"], 400, p=[0.5, 0.3, 0.2])
SECOND = np.where(RNG.random(400) < 0.7, FIRST, RNG.choice(["test", "baseline", "tie"], 400))
VIDEOS = RNG.integers(0, 50, 400)

# The worked example of reliability data C in Krippendorff 2011 (four observers, twelve units, alpha 0.743).
_ = None
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]


def test_kappa_is_that_of_statsmodels():
    names = sorted(set(FIRST))
    table = [[int(np.sum((a == FIRST) & (b == SECOND))) for b in names] for a in names]
    assert cohen_kappa(FIRST.tolist(), SECOND.tolist(), VIDEOS).coefficient == pytest.approx(
        cohens_kappa(table).kappa, abs=1e-12
    )


def test_kappa_and_ac1_of_a_skewed_table_are_as_worked_by_hand():
    # 118 both yes, 5 and 2 split, 0 both no: kappa is negative although 94 % agree, AC1 is not.
    first = ["yes"] * 118 + ["yes"] * 5 + ["no"] * 2
    second = ["yes"] * 118 + ["no"] * 5 + ["yes"] * 2
    videos = list(range(125))
    kappa, ac1 = cohen_kappa(first, second, videos), gwet_ac1(first, second, videos)
    observed = 118 / 125
    by_margins = (123 * 120 + 2 * 5) / 125**2
    assert kappa.coefficient == pytest.approx((observed - by_margins) / (1 - by_margins), abs=1e-12)
    share = (123 + 120) / 250
    by_chance = 2 * share * (1 - share)
    assert ac1.coefficient == pytest.approx((observed - by_chance) / (1 - by_chance), abs=1e-12)
    assert kappa.coefficient < 0 < 0.9 < ac1.coefficient


def test_alpha_of_krippendorffs_worked_example_with_missing_values_is_0_743():
    result = krippendorff_alpha(KRIPPENDORFF, list(range(12)))
    assert round(result.coefficient, 3) == 0.743
    assert result.n == 11


def test_two_complete_judges_have_an_alpha_just_above_scotts_pi():
    result = krippendorff_alpha([FIRST.tolist(), SECOND.tolist()], VIDEOS)
    names = sorted(set(FIRST))
    share = np.array([(np.mean(a == FIRST) + np.mean(a == SECOND)) / 2 for a in names])
    pi = (np.mean(FIRST == SECOND) - np.sum(share**2)) / (1 - np.sum(share**2))
    # alpha = 1 - (1 - pi)(2N - 1)/(2N)
    assert result.coefficient == pytest.approx(1 - (1 - pi) * 799 / 800, abs=1e-12)


@pytest.mark.parametrize("coefficient", [cohen_kappa, gwet_ac1])
def test_intervals_hold_the_estimate_and_repeat_with_their_seed(coefficient):
    result, again = (coefficient(FIRST.tolist(), SECOND.tolist(), VIDEOS, seed=4) for _ in range(2))
    assert result == again
    assert result.low < result.coefficient < result.high
    assert 0.1 < result.high - result.low < 0.3


@pytest.mark.parametrize("coefficient", [cohen_kappa, gwet_ac1])
def test_perfect_agreement_is_one_and_labels_missing_on_one_side_are_left_out(coefficient):
    result = coefficient(["a", "b", None, "b"], ["a", "b", "a", "b"], list("wxyz"))
    assert result.coefficient == pytest.approx(1.0)
    assert (result.n, result.clusters) == (3, 3)


def test_a_single_label_leaves_agreement_beyond_chance_undefined():
    for result in (
        cohen_kappa(["a"] * 5, ["a"] * 5, range(5)),
        gwet_ac1(["a"] * 5, ["a"] * 5, range(5)),
        krippendorff_alpha([["a"] * 5] * 2, range(5)),
    ):
        assert result.coefficient is None
        assert result.observed == 1.0
        assert "only one label" in result.note


def test_one_video_has_a_coefficient_without_interval():
    result = cohen_kappa(["a", "b", "a"], ["a", "b", "b"], ["v"] * 3)
    assert result.coefficient == pytest.approx(0.4)
    assert result.low is None
    assert "one video only" in result.note


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: cohen_kappa(["a"], ["a", "b"], ["v"]), "same items"),
        (lambda: cohen_kappa(["a", None], [None, "b"], ["v", "w"]), "no item is rated by both"),
        (lambda: krippendorff_alpha([["a"]], ["v"]), "two judges"),
        (lambda: krippendorff_alpha([["a", None], [None, "b"]], ["v", "w"]), "no item has two"),
        (lambda: gwet_ac1([], [], []), "same items"),
    ],
)
def test_ratings_that_cannot_be_compared_are_refused(call, says):
    with pytest.raises(UsageError, match=says):
        call()
