"""Bradley-Terry, Davidson, length control and prediction-powered inference against known truths."""

import re

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit

from evalkit.errors import UsageError
from evalkit.stats import (
    DisconnectedModels,
    Games,
    SpeechLength,
    UnboundedStrength,
    length_controlled_win_rate,
    mean_by_cluster,
    prediction_powered_win_rate,
    rank_models,
)

RNG = np.random.default_rng(9)
NAMES = ["full", "sliding", "stc", "streaming"]


def played(n=1200, ties=0.0):
    """Return games of four models with strengths 0, .4, .8, 1.2, on 60 videos."""
    rng = np.random.default_rng(21)
    first = rng.integers(0, 4, n)
    second = (first + rng.integers(1, 4, n)) % 4
    scores = (rng.random(n) < expit(0.4 * (first - second))).astype(float)
    scores[rng.random(n) < ties] = 0.5
    return first, second, scores, rng.integers(0, 60, n)


def named(first, second, scores, videos):
    return Games([NAMES[i] for i in first], [NAMES[i] for i in second], scores, videos)


def exact_games(strengths, nu, weight=100_000):
    """Return games in the exact proportions of Davidson's model, rounded at one in `weight`."""
    first, second, scores = [], [], []
    for i in range(len(strengths)):
        for j in range(i + 1, len(strengths)):
            pi, pj = np.exp(strengths[i]), np.exp(strengths[j])
            total = pi + pj + nu * np.sqrt(pi * pj)
            for score, share in ((1.0, pi / total), (0.0, pj / total), (0.5, nu * np.sqrt(pi * pj) / total)):
                count = round(weight * share)
                first += [NAMES[i]] * count
                second += [NAMES[j]] * count
                scores += [score] * count
    return Games(first, second, scores, np.arange(len(scores)) % 2)


def strengths_of(ranking):
    return {model.name: model.strength for model in ranking.models}


def test_bradley_terry_is_the_logit_of_statsmodels_with_ties_as_half_a_win():
    first, second, scores, videos = played(ties=0.05)
    ranking = rank_models(named(first, second, scores, videos), anchor="full", draws=50)
    design = np.eye(4)[first] - np.eye(4)[second]
    fit = sm.GLM(scores, design[:, 1:], family=sm.families.Binomial()).fit(tol=1e-14)
    assert ranking.method == "bradley-terry"
    assert [strengths_of(ranking)[name] for name in NAMES[1:]] == pytest.approx(list(fit.params), abs=1e-9)
    assert strengths_of(ranking)["full"] == 0.0


def test_davidson_recovers_the_truth_that_half_wins_shrink():
    games = exact_games([0.0, 0.4, 0.9], 0.6)
    davidson = rank_models(games, anchor="full", draws=20)
    halves = rank_models(games, anchor="full", method="bradley-terry", draws=20)
    assert davidson.method == "davidson"
    assert davidson.tie_rate > 0.2
    assert davidson.tie_parameter == pytest.approx(0.6, abs=1e-3)
    assert [strengths_of(davidson)[name] for name in NAMES[:3]] == pytest.approx([0, 0.4, 0.9], abs=1e-3)
    assert strengths_of(halves)["stc"] < 0.8


def test_davidson_is_chosen_above_ten_percent_of_ties():
    assert rank_models(named(*played(ties=0.08)), draws=20).method == "bradley-terry"
    assert rank_models(named(*played(ties=0.15)), draws=20).method == "davidson"


def test_two_models_have_the_log_odds_of_their_win_rate():
    games = Games(["a"] * 40, ["b"] * 40, [1.0] * 30 + [0.0] * 10, range(40))
    ranking = rank_models(games, anchor="b")
    assert ranking.models[0].strength == pytest.approx(np.log(3), abs=1e-9)
    first, second = ranking.probabilities
    assert (first.model, first.probability) == ("a", pytest.approx(0.75, abs=1e-9))
    assert (second.probability, second.low) == (
        pytest.approx(0.25, abs=1e-9),
        pytest.approx(1 - first.high, abs=1e-12),
    )


def test_the_order_of_the_two_models_in_a_game_does_not_matter():
    first, second, scores, videos = played(ties=0.2)
    one = rank_models(named(first, second, scores, videos), anchor="full", draws=20)
    other = rank_models(named(second, first, 1 - scores, videos), anchor="full", draws=20)
    assert strengths_of(one) == pytest.approx(strengths_of(other), abs=1e-9)


def test_intervals_come_from_resampled_videos_and_repeat_with_their_seed():
    ranking, again = (rank_models(named(*played()), anchor="full", seed=6) for _ in range(2))
    assert ranking == again
    best = ranking.models[0]
    assert best.name == "streaming"
    assert best.low < best.strength < best.high
    assert 0.2 < best.high - best.low < 1.0
    anchor = next(model for model in ranking.models if model.name == "full")
    assert (anchor.low, anchor.high) == (0.0, 0.0)
    assert sum(model.games for model in ranking.models) == 2 * ranking.games


def test_models_that_never_met_are_a_named_error():
    games = Games(["a", "c"], ["b", "d"], [1, 0], ["v", "w"])
    with pytest.raises(DisconnectedModels, match="a, b never met c, d"):
        rank_models(games)


def test_a_model_that_took_every_point_has_no_finite_strength():
    games = Games(["a", "a", "b", "c"], ["b", "c", "c", "b"], [1, 1, 1, 1], list("vwxy"))
    with pytest.raises(UnboundedStrength, match=r"^a took every point"):
        rank_models(games)


def test_one_video_ranks_without_intervals():
    ranking = rank_models(Games(["a", "a"], ["b", "b"], [1, 0], ["v", "v"]))
    assert [model.low for model in ranking.models] == [None, None]
    assert "one video only" in ranking.note


@pytest.mark.parametrize(
    ("games", "says"),
    [
        (Games(["a"], ["a"], [1], ["v"]), "cannot play itself"),
        (Games(["a"], ["b"], [0.7], ["v"]), "score of a game"),
        (Games(["a"], ["b", "c"], [1], ["v"]), "two models and one score"),
        (Games([], [], [], []), "empty"),
    ],
)
def test_malformed_games_are_refused(games, says):
    with pytest.raises(UsageError, match=says):
        rank_models(games)


def test_an_unknown_anchor_is_refused_with_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'streaming'"):
        rank_models(named(*played()), anchor="streming")


def lengths(n=900):
    rng = np.random.default_rng(12)
    words, silence = rng.normal(2.5, 0.6, (2, n)), rng.uniform(0, 0.4, (2, n))
    return SpeechLength(words[0] + 0.5, silence[0]), SpeechLength(words[1], silence[1]), rng


def test_length_control_is_the_weighted_logit_of_statsmodels():
    test, baseline, rng = lengths()
    scores = rng.integers(0, 3, 900) / 2
    dw, ds = test.words_per_second - baseline.words_per_second, test.silent_share - baseline.silent_share
    rows = np.column_stack([np.ones(900), np.tanh(dw / dw.std()), np.tanh(ds / ds.std())])
    fit = sm.GLM(scores, rows, family=sm.families.Binomial()).fit(tol=1e-14)
    result = length_controlled_win_rate(scores, test, baseline, np.arange(900) % 90, draws=50)
    assert result.win_rate == pytest.approx(expit(fit.params[0]), abs=1e-9)
    assert (result.words_effect, result.silence_effect) == pytest.approx(tuple(fit.params[1:]), abs=1e-9)


def test_length_control_takes_out_a_judges_taste_for_words():
    test, baseline, rng = lengths()
    gap = test.words_per_second - baseline.words_per_second
    scores = (rng.random(900) < expit(1.5 * np.tanh(gap / gap.std()))).astype(float)
    result = length_controlled_win_rate(scores, test, baseline, np.arange(900) % 90)
    assert result.raw > 0.57
    assert result.low < 0.5 < result.high
    assert result.words_effect == pytest.approx(1.5, abs=0.4)


def test_equal_lengths_leave_the_win_rate_as_it_is():
    same = SpeechLength(np.full(30, 2.0), np.zeros(30))
    scores = [1.0] * 18 + [0.0] * 12
    result = length_controlled_win_rate(scores, same, same, range(30))
    assert result.win_rate == pytest.approx(0.6, abs=1e-9)
    assert (result.words_effect, result.silence_effect) == (None, None)
    assert "never differs" in result.note


def test_winning_every_pair_or_on_one_video_says_what_cannot_be_told():
    test, baseline, rng = lengths(40)
    always = length_controlled_win_rate(np.ones(40), test, baseline, range(40))
    assert (always.win_rate, always.raw) == (None, 1.0)
    assert "no finite fit" in always.note
    one = length_controlled_win_rate(rng.integers(0, 2, 40), test, baseline, ["v"] * 40)
    assert one.win_rate is not None
    assert (one.low, "one video only" in one.note) == (None, True)
    ties = length_controlled_win_rate(np.full(40, 0.5), test, baseline, range(40))
    assert (ties.win_rate, ties.low) == (pytest.approx(0.5, abs=1e-9), None)


def test_lengths_that_do_not_match_the_pairs_are_refused():
    test, baseline, _ = lengths(40)
    with pytest.raises(UsageError, match="for 39 pairs"):
        length_controlled_win_rate(np.ones(39), test, baseline, range(39))
    with pytest.raises(UsageError, match="between 0"):
        length_controlled_win_rate(np.full(40, 2.0), test, baseline, range(40))


def test_prediction_powered_inference_is_as_worked_by_hand():
    judge = [1, 0, 1, 1, 1, 0]
    human = [1, 0, 0] + [np.nan] * 3
    estimate = prediction_powered_win_rate(judge, human, list("abcdef"))
    # Labels 1, 0, 0 leave 2/3, -1/3, -1/3; the judge's 1, 0, 1 there 1/3, -2/3, 1/3; on d, e, f 1/3, 1/3, -2/3.
    # CR2 of three videos: sums of products over 9 * 2/3. Cov(labels, judge) = 1/3 and Var(judge) = 2 * 2/3 of
    # those units, so lambda = (1/3) / (4/3) = 1/4 and the variance (2/3 - (1/3)^2 / (4/3)) / 6.
    assert estimate.value == pytest.approx(1 / 3 + 0.25 * (2 / 3 - 2 / 3), abs=1e-12)
    assert estimate.se == pytest.approx(np.sqrt((2 / 3 - 1 / 12) / 6), abs=1e-12)
    assert estimate.method == "ppi++-t"
    assert "with weight 0.25" in estimate.note


def test_a_judge_that_knows_nothing_costs_nothing_against_the_labels_alone():
    rng = np.random.default_rng(6)
    truth, judge = (rng.random((2, 3000)) < 0.5).astype(float)
    human = np.where(np.arange(3000) < 300, truth, np.nan)
    powered = prediction_powered_win_rate(judge, human, np.arange(3000) % 100)
    alone = mean_by_cluster(truth[:300], np.arange(300) % 100)
    assert powered.se <= alone.se
    assert powered.low <= powered.value <= powered.high


def test_a_perfect_judge_makes_many_verdicts_worth_many_labels():
    truth = (RNG.random(2000) < 0.6).astype(float)
    human = np.where(np.arange(2000) < 200, truth, np.nan)
    powered = prediction_powered_win_rate(truth, human, np.arange(2000) % 100)
    alone = mean_by_cluster(truth[:200], np.arange(200) % 100)
    assert powered.high - powered.low < 0.5 * (alone.high - alone.low)


def test_labels_that_all_agree_are_bounded_by_their_videos_alone():
    judge = np.tile([1.0, 1.0, 0.0, 0.0], 10)
    human = np.tile([np.nan, 1.0, np.nan, 1.0], 10)
    shared = prediction_powered_win_rate(judge, human, np.repeat(np.arange(20), 2))
    apart = prediction_powered_win_rate(judge, human, np.arange(40))
    # Every label is 1, so the judge adds nothing but noise, and 20 labels on 20 videos bound it exactly.
    assert shared.value == apart.value == 1.0
    assert (shared.method, apart.method) == ("exact", "exact")
    assert shared.low == apart.low == pytest.approx(0.025 ** (1 / 20), abs=1e-9)


@pytest.mark.parametrize(
    ("judge", "human", "says"),
    [
        ([1, 0], [np.nan, np.nan], "no pair has a human label"),
        ([1, 0], [1, 1], "every pair has"),
        ([1, 0], [1], "1 human entries"),
        ([1, np.nan], [1, np.nan], "judge scores"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(judge, human, says):
    with pytest.raises(UsageError, match=says):
        prediction_powered_win_rate(judge, human, ["v", "w"])


def test_labels_from_one_video_leave_the_interval_out():
    estimate = prediction_powered_win_rate([1, 0, 1, 0], [1, 0, np.nan, np.nan], ["v", "v", "w", "x"])
    assert estimate.low is None
    assert "one video" in estimate.note


def test_two_models_have_the_interval_of_their_win_rate_and_no_other():
    rng = np.random.default_rng(9)
    scores = rng.choice([1.0, 0.5, 0.0], 120, p=[0.5, 0.2, 0.3])
    videos = np.arange(120) % 12
    ranking = rank_models(Games(["a"] * 120, ["b"] * 120, scores, videos), anchor="b")
    won = mean_by_cluster(scores, videos)
    chance = next(one for one in ranking.probabilities if one.model == "a")
    assert (chance.probability, chance.low, chance.high) == pytest.approx((won.value, won.low, won.high), abs=1e-9)
    mirrored = next(one for one in ranking.probabilities if one.model == "b")
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - won.high, 1 - won.low), abs=1e-12)
    assert ranking.method == "davidson"
    first = next(model for model in ranking.models if model.name == "a")
    assert first.low < first.strength < first.high
    # Davidson's own formula at the lower strength gives back the lower win rate.
    odds, nu = np.exp(first.low / 2), ranking.tie_parameter
    assert (odds + nu / 2) / (odds + 1 / odds + nu) == pytest.approx(won.low, abs=1e-9)


def test_a_model_that_only_won_and_tied_has_its_win_rate_for_a_probability():
    scores = [1, 1, 1, *[0.5] * 9]
    ranking = rank_models(Games(["a"] * 12, ["b"] * 12, scores, ["v", "w"] * 6), anchor="b")
    chance = {one.model: one.probability for one in ranking.probabilities}
    # Without a loss there is no finite fit: the fitted probability would be another figure for the same thing.
    assert chance == pytest.approx({"a": 0.625, "b": 0.375})


def test_two_models_on_two_videos_are_not_told_apart_and_both_places_stay_open():
    ranking = rank_models(Games(["a"] * 4, ["b"] * 4, [1, 1, 0.5, 1], ["v", "v", "w", "w"]), anchor="b")
    assert [(model.place.best, model.place.worst) for model in ranking.models] == [(1, 2), (1, 2)]


def test_places_are_open_where_models_are_close_and_closed_where_they_are_not():
    rng = np.random.default_rng(10)
    first, second, strengths = [], [], {"a": 0.0, "b": 0.05, "c": -3.0}
    scores = []
    for one, other in [("a", "b"), ("a", "c"), ("b", "c")] * 200:
        first.append(one)
        second.append(other)
        scores.append(float(rng.random() < 1 / (1 + np.exp(strengths[other] - strengths[one]))))
    ranking = rank_models(Games(first, second, scores, np.arange(600) // 3 % 50), anchor="a", draws=400)
    places = {model.name: (model.place.best, model.place.worst) for model in ranking.models}
    assert places == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}
    for model in ranking.models:
        if model.name != "a":
            assert model.place.low <= model.low < model.strength < model.high <= model.place.high
            assert model.place.low < model.place.bound
    close = next(model for model in ranking.models if model.name == "b")
    assert 0.3 < close.win_bound < 0.5


def test_places_hold_for_all_models_at_once_in_95_percent_of_samples():
    from evalkit.stats.places import places

    rng = np.random.default_rng(12)
    wrong = 0
    for _ in range(200):
        videos = rng.normal(size=(25, 4))
        drawn = rng.integers(0, 25, (300, 25))
        found = places(videos.mean(axis=0), videos[drawn].mean(axis=1), anchor=0, clusters=25, confidence=0.95)
        wrong += any((place.best, place.worst) != (1, 4) for place in found)
    assert wrong / 200 <= 0.09


def test_strengths_of_two_videos_say_as_little_as_two_videos_can():
    games = Games(
        ["a", "b", "a"] * 20, ["b", "c", "c"] * 20, [1.0, 0.0, 1.0, 0.0, 1.0, 0.0] * 10, np.arange(60) % 2
    )
    ranking = rank_models(games, anchor="a", draws=400)
    against = [one for one in ranking.probabilities if one.against == "a"]
    # Student's t on one degree of freedom: nearly everything stays open.
    assert len(against) == 2
    assert all(one.low is not None and one.high - one.low > 0.9 for one in against)


def test_where_many_resamples_have_no_fit_the_win_rate_at_equal_length_has_no_interval() -> None:
    scores = np.array([1.0] * 6 + [1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    words = SpeechLength(np.array([3.0, 2, 4, 3, 5, 2, 3, 4, 2, 5, 3, 2]), np.zeros(12))
    baseline = SpeechLength(np.array([2.0, 3, 3, 4, 2, 3, 2, 2, 3, 3, 4, 3]), np.zeros(12))
    result = length_controlled_win_rate(scores, words, baseline, np.repeat([0, 1], 6), draws=200)
    assert result.win_rate is not None
    assert (result.low, result.high) == (None, None)
    assert re.match(r"no interval: \d+ of 200 resamples had no finite fit", result.note)
