"""Pairwise judging: hand-counted verdicts and the votes LiveCC published."""

import json
import os
from pathlib import Path

import pytest
from scipy.stats import binomtest

from evalkit.errors import UsageError
from evalkit.stats import PairOutcome, combined_score, mean_by_cluster, summarise_pairs

PUBLISHED = Path(
    os.environ.get("EVALKIT_PUBLISHED_DIR", Path(__file__).parents[2].parent / "shared" / "published")
)
VOTES = PUBLISHED / "livesports3k" / "GPT-4o_LiveCC-7B-Base.jsonl"


def outcomes(*verdicts, cluster=None):
    return [PairOutcome(str(number), cluster or f"v{number}", ab, ba) for number, (ab, ba) in enumerate(verdicts)]


@pytest.mark.skipif(not VOTES.exists(), reason=f"published votes are not at {VOTES}")
def test_the_published_votes_of_livecc_give_its_published_figures():
    model = "LiveCC-7B-Base"
    pairs = []
    for line in VOTES.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        ab, ba = ("test" if row[key] == model else "baseline" for key in ("ab_winner", "ba_winner"))
        pairs.append(PairOutcome(row["video_event_id"], row["video_event_id"].rsplit("_", 1)[0], ab, ba))
    summary = summarise_pairs(pairs)
    assert (summary.pairs, summary.verdicts, summary.clusters) == (1702, 3404, 416)
    assert round(100 * summary.win_rate_votes, 2) == 47.21
    assert round(100 * summary.wins_shown_first, 2) == 64.69
    assert round(100 * summary.wins_shown_second, 2) == 29.73
    assert round(100 * summary.consistency, 2) == 62.69
    # Without ties or unreadable verdicts the rate by votes and the rate by pairs are the same number.
    assert summary.win_rate == pytest.approx(summary.win_rate_votes, abs=1e-12)
    assert (summary.wins, summary.losses, summary.ties) == (486, 581, 635)
    assert (summary.both_first, summary.both_second) == (615, 20)
    assert summary.position_bias_p < 1e-100
    assert summary.interval.low < summary.win_rate < summary.interval.high
    assert summary.decided_win_rate == pytest.approx(486 / 1067)
    assert any("consistency 62.7 %" in warning for warning in summary.warnings)


def test_every_figure_of_a_small_table_is_as_counted_by_hand():
    summary = summarise_pairs(
        outcomes(
            ("test", "test"),
            ("test", "baseline"),
            ("baseline", "baseline"),
            ("tie", "tie"),
            ("test", "tie"),
            ("test", "invalid"),
            ("test", None),
            (None, None),
        )
    )
    assert (summary.pairs, summary.judged_pairs, summary.verdicts) == (8, 5, 13)
    assert (summary.wins, summary.losses, summary.ties) == (1, 1, 3)
    assert (summary.invalid, summary.invalid_pairs, summary.skipped, summary.skipped_pairs) == (1, 1, 3, 2)
    assert summary.win_rate == pytest.approx(0.5)
    assert summary.decided_win_rate == 0.5
    assert summary.tie_rate == pytest.approx(0.6)
    # first order: test 5, baseline 1, tie 1; second: test 1, baseline 2, tie 2, unreadable 1
    assert summary.win_rate_votes == pytest.approx(6 / 9)
    assert summary.wins_shown_first == pytest.approx(5 / 7)
    assert summary.wins_shown_second == pytest.approx(1 / 5)
    assert summary.first_slot_rate == pytest.approx(5 / 10)
    assert summary.second_slot_rate == pytest.approx(2 / 10)
    assert (summary.both_first, summary.both_second) == (1, 0)
    assert summary.consistency == pytest.approx(3 / 5)
    # six pairs with both verdicts: the unreadable one makes its pair a tie or a win
    assert summary.bound_low == pytest.approx((1 + 0.5 + 0 + 0.5 + 0.5 + 0.5) / 6)
    assert summary.bound_high == pytest.approx((1 + 0.5 + 0 + 0.5 + 0.5 + 1) / 6)


def test_the_interval_is_the_clustered_one_of_the_pair_scores():
    verdicts = [("test", "test"), ("tie", "test"), ("baseline", "baseline")] * 20
    pairs = [PairOutcome(str(i), f"v{i % 7}", ab, ba) for i, (ab, ba) in enumerate(verdicts)]
    expected = mean_by_cluster([1, 0.5, 0] * 20, [f"v{i % 7}" for i in range(60)])
    assert summarise_pairs(pairs).interval == expected


@pytest.mark.parametrize(
    ("ab", "ba", "score"),
    [
        ("test", "test", 1.0),
        ("baseline", "baseline", 0.0),
        ("tie", "tie", 0.5),
        ("test", "baseline", 0.5),
        ("test", "tie", 0.5),
        ("tie", "baseline", 0.5),
    ],
)
def test_verdicts_that_disagree_make_a_tie(ab, ba, score):
    assert combined_score(ab, ba) == score


def test_an_unreadable_verdict_has_no_score():
    with pytest.raises(UsageError, match="no score"):
        combined_score("test", "invalid")


def test_position_bias_is_the_exact_binomial_of_both_first_against_both_second():
    verdicts = [("test", "baseline")] * 9 + [("baseline", "test")] * 2 + [("test", "test")] * 5
    summary = summarise_pairs(outcomes(*verdicts))
    assert summary.position_bias_p == pytest.approx(binomtest(9, 11).pvalue, abs=1e-12)


def test_a_judge_that_always_picks_the_first_slot_leaves_the_win_rate_at_one_half():
    summary = summarise_pairs(outcomes(*[("test", "baseline")] * 30))
    assert (summary.win_rate, summary.first_slot_rate, summary.consistency) == (0.5, 1.0, 0.0)
    assert summary.decided_win_rate is None
    assert summary.interval.method == "exact"


def test_all_ties_have_a_win_rate_of_one_half_with_the_exact_interval_and_say_so():
    summary = summarise_pairs(outcomes(*[("tie", "tie")] * 10))
    assert (summary.win_rate, summary.win_rate_votes) == (0.5, None)
    assert (summary.interval.low, summary.interval.high) == pytest.approx((0.3458, 0.6542), abs=1e-4)
    assert summary.warnings == ("every pair is a tie: nothing was decided",)


def test_only_unreadable_verdicts_leave_no_win_rate_and_the_widest_bounds():
    summary = summarise_pairs(outcomes(*[("invalid", "invalid")] * 4))
    assert (summary.win_rate, summary.interval, summary.consistency) == (None, None, None)
    assert (summary.bound_low, summary.bound_high) == (0.0, 1.0)
    assert any("no win rate" in warning for warning in summary.warnings)


def test_one_video_has_a_win_rate_and_no_interval():
    summary = summarise_pairs(outcomes(("test", "test"), ("baseline", "baseline"), cluster="v"))
    assert (summary.win_rate, summary.interval.low) == (0.5, None)
    assert "one video only" in summary.interval.note


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([], "no judged pairs"),
        ([PairOutcome("x", "v", "test", "test")] * 2, "given twice"),
        ([PairOutcome("x", "v", "A", "test")], "verdict 'A'"),
    ],
)
def test_malformed_outcomes_are_refused(pairs, says):
    with pytest.raises(UsageError, match=says):
        summarise_pairs(pairs)
