"""When a gate fails, passes, or cannot tell: the rule on plain numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as distributions

from evalkit.errors import UsageError
from evalkit.leaderboard.gate_rule import error_of_look, judge_score, judge_speed, overall
from evalkit.leaderboard.slowdown import Slowdown
from evalkit.stats import Composition

RANK = {"fail": 0, "cannot tell": 1, "pass": 2}


def scores(drop: float, videos: int, seed: int = 0, per_video: int = 5):
    """Return correlated base and head scores whose true difference is -drop."""
    rng = np.random.default_rng(seed)
    n = videos * per_video
    base = (rng.random(n) < 0.6).astype(float)
    changed = rng.random(n) < 0.1
    head = np.where(changed, (rng.random(n) < 0.6).astype(float), base)
    lost = (rng.random(n) < drop / 0.6) & (head == 1)
    return base, np.where(lost, 0.0, head), np.repeat(np.arange(videos), per_video)


def test_a_drop_that_is_shown_to_exceed_the_margin_fails():
    check = judge_score(*scores(0.10, 500), 0.01)
    assert check.outcome == "fail"
    assert check.high < -0.01
    assert check.videos_needed is None


def test_a_drop_that_is_ruled_out_passes():
    check = judge_score(*scores(0.0, 3000), 0.01)
    assert check.outcome == "pass"
    assert check.low > -0.01


def test_too_few_videos_cannot_tell_and_say_how_many_are_needed():
    check = judge_score(*scores(0.0, 30), 0.01)
    assert check.outcome == "cannot tell"
    assert check.resolution > 0.01
    assert check.videos_needed > 30
    assert f"about {check.videos_needed} needed" in check.reason


@pytest.mark.parametrize("broken", [0, 1, 3, 20])
@pytest.mark.parametrize("videos", [20, 200])
def test_the_bounds_are_clopper_and_pearsons_where_whole_videos_are_lost(videos, broken):
    head = [0.0] * broken + [1.0] * (videos - broken)
    check = judge_score([1.0] * videos, head, list(range(videos)), 0.01)
    exact = 1.0 if broken == videos else distributions.beta.ppf(0.95, broken + 1, videos - broken)
    assert check.low == pytest.approx(-exact, rel=1e-6)
    assert check.high > check.change


def test_what_these_videos_could_rule_out_at_best_is_the_rule_of_three():
    check = judge_score(*scores(0.0, 60), 0.01)
    assert check.resolution == pytest.approx(1 - 0.05 ** (1 / 60), rel=1e-6)


def test_few_videos_that_agree_are_no_proof():
    same = [1.0, 0.0] * 3
    check = judge_score(same, same, [0, 0, 1, 1, 2, 2], 0.01)
    assert check.outcome == "cannot tell"
    assert check.videos_needed == pytest.approx(299, abs=1)


def test_as_many_agreeing_videos_as_the_rule_of_three_asks_for_pass():
    same = [1.0] * 299
    assert judge_score(same, same, list(range(299)), 0.01).outcome == "pass"
    assert judge_score(same[1:], same[1:], list(range(298)), 0.01).outcome == "cannot tell"


def test_one_spoilt_answer_passes_no_sooner_than_none():
    """An equal head once ended with "cannot tell" where the same head with one answer spoilt passed."""
    base = [1.0, 0.0] * 60
    videos = [number // 2 for number in range(120)]
    spoilt = [0.0, *base[1:]]
    for margin in (0.01, 0.03, 0.05, 0.08, 0.2):
        verdicts = [judge_score(base, head, videos, margin).outcome for head in (base, spoilt)]
        assert RANK[verdicts[1]] <= RANK[verdicts[0]]


def test_a_head_that_loses_every_question_fails_although_nothing_spreads():
    assert judge_score([1.0] * 20, [0.0] * 20, list(range(20)), 0.01).outcome == "fail"


def test_one_video_alone_cannot_tell():
    check = judge_score([1.0, 0.0, 1.0], [0.0, 0.0, 0.0], ["a"] * 3, 0.5)
    assert check.outcome == "cannot tell"
    assert "2 videos at least" in check.reason
    assert (check.low, check.high, check.resolution) == (None, None, None)


def test_a_part_of_the_score_on_one_video_alone_cannot_tell_and_is_named():
    videos = [*range(200), "only"]
    parts = Composition.of({"many": range(200), "lone": [200]}, {"many": 0.5, "lone": 0.5})
    check = judge_score([1.0] * 201, [0.0] * 201, videos, 0.1, composition=parts)
    assert check.outcome == "cannot tell"
    assert "lone on one video only" in check.reason


def test_a_weighted_score_is_judged_and_not_the_mean_over_questions():
    """90 questions of one part get better, 30 of a part with the same weight get worse by far."""
    base = [0.0] * 900 + [1.0] * 300
    head = [1.0] * 180 + [0.0] * 720 + [0.0] * 90 + [1.0] * 210
    videos = list(range(1200))
    parts = Composition.of({"a": range(900), "b": range(900, 1200)}, {"a": 0.2, "b": 0.8})
    assert judge_score(base, head, videos, 0.05).outcome == "pass"
    check = judge_score(base, head, videos, 0.05, composition=parts)
    assert check.change == pytest.approx(0.2 * 0.2 - 0.8 * 0.3)
    assert check.outcome == "fail"


def test_a_later_look_at_a_series_asks_for_more_and_all_together_err_no_more_than_one():
    assert error_of_look(None) == 0.05
    assert sum(error_of_look(look) for look in range(1, 10_000)) < 0.05
    assert [error_of_look(look) for look in (1, 2, 3)] == [0.05 / 2, 0.05 / 6, 0.05 / 12]
    data = scores(0.06, 300)
    first, hundredth = (judge_score(*data, 0.03, error=error_of_look(look)) for look in (1, 100))
    assert hundredth.low < first.low < first.high < hundredth.high
    with pytest.raises(UsageError, match="from 1"):
        error_of_look(0)


def measured(low: float | None, high: float | None, ratio: float = 1.0) -> Slowdown:
    return Slowdown(ratio, low, high, 0.02, 0.1, 0.1 * ratio, 3, 600, 4, "" if low else "one run")


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (measured(1.15, 1.25, 1.2), "fail"),
        (measured(0.97, 1.03), "pass"),
        (measured(1.02, 1.14, 1.08), "cannot tell"),
        (measured(None, None), "cannot tell"),
        (Slowdown(None, None, None, None, None, None, 1, 0, 0, "no second in common"), "cannot tell"),
    ],
)
def test_speed_is_judged_by_the_bounds_of_the_ratio(found, outcome):
    check = judge_speed(found, 0.10)
    assert check.outcome == outcome
    assert found.why in check.reason


def test_a_failure_outweighs_doubt_and_doubt_a_pass():
    failing, passing = judge_speed(measured(1.9, 2.1, 2.0), 0.1), judge_speed(measured(0.99, 1.01), 0.1)
    unsure = judge_speed(measured(None, None), 0.1)
    assert overall([passing, unsure, failing]) == "fail"
    assert overall([passing, unsure]) == "cannot tell"
    assert overall([passing]) == "pass"
