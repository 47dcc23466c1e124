"""What must hold for any scores, any videos and any verdicts."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evalkit.stats import (
    PairOutcome,
    cohen_kappa,
    compare_pair,
    exact_bounds,
    gwet_ac1,
    holm,
    krippendorff_alpha,
    mcnemar_exact,
    mean_by_cluster,
    sign_flip_p,
    summarise_pairs,
)

graded = st.sampled_from([0.0, 0.25, 0.5, 1.0])
answers = st.lists(st.tuples(graded, graded, st.integers(0, 8)), min_size=2, max_size=60)
winners = st.sampled_from(["test", "baseline", "tie", "invalid", None])
SWAPPED = {"test": "baseline", "baseline": "test", "tie": "tie", "invalid": "invalid", None: None}


def columns(rows):
    return (np.array(column) for column in zip(*rows, strict=True))


@given(answers, st.randoms(use_true_random=False))
def test_the_order_of_questions_and_the_names_of_videos_do_not_matter(rows, random):
    shuffled = rows[:]
    random.shuffle(shuffled)
    scores, _, videos = columns(rows)
    mixed, _, names = columns(shuffled)
    one = mean_by_cluster(scores, videos)
    other = mean_by_cluster(mixed, [f"video {name}" for name in names])
    assert (one.value, one.n, one.clusters) == (pytest.approx(other.value, abs=1e-12), other.n, other.clusters)
    if one.se is not None and other.se is not None:
        assert one.se == pytest.approx(other.se, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(answers)
def test_an_interval_holds_its_estimate_and_stays_on_the_scale(rows):
    scores, _, videos = columns(rows)
    estimate = mean_by_cluster(scores, videos)
    if estimate.low is None:
        assert estimate.note
        assert estimate.method == "none"
    else:
        assert 0 <= estimate.low <= estimate.value + 1e-12
        assert estimate.value - 1e-12 <= estimate.high <= 1


@settings(max_examples=25, deadline=None)
@given(answers)
def test_swapping_the_models_turns_the_difference_around(rows):
    a, b, videos = columns(rows)
    one, other = compare_pair(a, b, videos), compare_pair(b, a, videos)
    assert one.difference == pytest.approx(-other.difference, abs=1e-12)
    assert (one.only_a, one.only_b) == (other.only_b, other.only_a)
    assert one.permutation_p == other.permutation_p
    if one.low is not None:
        assert one.low == pytest.approx(-other.high, abs=1e-9)
        assert one.p_value == pytest.approx(other.p_value, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(answers, st.data())
def test_spoiling_an_answer_of_the_head_never_raises_a_bound(rows, data):
    head, base, videos = columns(rows)
    assume(len(set(videos.tolist())) > 1)
    position = data.draw(st.integers(0, head.size - 1))
    spoilt = head.copy()
    spoilt[position] = data.draw(st.floats(0, head[position]))
    before, after = exact_bounds(head - base, videos), exact_bounds(spoilt - base, videos)
    assert after.low <= before.low + 1e-9
    assert after.high <= before.high + 1e-9
    assert before.low <= np.mean(head - base) + 1e-9 <= before.high + 2e-9


@settings(max_examples=25, deadline=None)
@given(answers)
def test_p_values_are_probabilities(rows):
    a, b, videos = columns(rows)
    result = compare_pair(a, b, videos)
    for p in (result.p_value, result.permutation_p, result.mcnemar_p):
        assert p is None or 0 <= p <= 1


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_symmetric_and_never_above_one(b, c):
    assert mcnemar_exact(b, c) == mcnemar_exact(c, b)
    assert 0 < mcnemar_exact(b, c) <= 1


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_only_raises_p_values_and_keeps_their_order(p_values):
    corrected = holm(p_values)
    assert all(after >= before - 1e-15 for before, after in zip(p_values, corrected, strict=True))
    assert all(after <= 1 for after in corrected)
    ranked = [after for _, after in sorted(zip(p_values, corrected, strict=True))]
    assert ranked == sorted(ranked)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.integers(0, 99))
def test_a_sign_flip_p_counts_itself(differences, seed):
    p = sign_flip_p(np.array(differences, dtype=float)[:, None], draws=99, seed=seed)[0]
    assert 1 / 100 <= p <= 1


@given(st.lists(st.tuples(winners, winners, st.integers(0, 5)), min_size=1, max_size=40))
def test_verdicts_are_all_counted_once_and_bounds_hold_the_win_rate(rows):
    pairs = [PairOutcome(str(i), f"v{video}", ab, ba) for i, (ab, ba, video) in enumerate(rows)]
    summary = summarise_pairs(pairs)
    assert summary.judged_pairs + summary.invalid_pairs + summary.skipped_pairs == summary.pairs
    assert summary.wins + summary.losses + summary.ties == summary.judged_pairs
    assert summary.verdicts + summary.skipped == 2 * summary.pairs
    if summary.bound_low is not None:
        assert 0 <= summary.bound_low <= summary.bound_high <= 1
    if summary.win_rate is not None and not summary.invalid:
        assert summary.bound_low == pytest.approx(summary.win_rate) == pytest.approx(summary.bound_high)


@given(st.lists(st.tuples(winners, winners, st.integers(0, 5)), min_size=1, max_size=40))
def test_swapping_model_and_baseline_mirrors_every_rate(rows):
    def summary(swap):
        # The other model under test is shown first in what used to be the second order.
        return summarise_pairs(
            [
                PairOutcome(str(i), f"v{v}", SWAPPED[ba] if swap else ab, SWAPPED[ab] if swap else ba)
                for i, (ab, ba, v) in enumerate(rows)
            ]
        )

    one, other = summary(False), summary(True)
    assert (one.wins, one.losses, one.ties) == (other.losses, other.wins, other.ties)
    assert (one.both_first, one.both_second) == (other.both_first, other.both_second)
    assert (one.consistency, one.first_slot_rate) == (other.consistency, other.first_slot_rate)
    for mine, theirs in ((one.win_rate, other.win_rate), (one.bound_low, other.bound_high)):
        assert (mine is None) == (theirs is None)
        assert mine is None or mine == pytest.approx(1 - theirs)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=40))
def test_agreement_is_at_most_one_and_one_only_without_disagreement(rows):
    first, second = ([*column] for column in zip(*rows, strict=True))
    videos = [i % 7 for i in range(len(rows))]
    for result in (
        cohen_kappa(first, second, videos, draws=100),
        gwet_ac1(first, second, videos, draws=100),
        krippendorff_alpha([first, second], videos, draws=100),
    ):
        if result.coefficient is not None:
            assert result.coefficient <= 1 + 1e-12
            assert (result.coefficient > 1 - 1e-9) == (first == second)
