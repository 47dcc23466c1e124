"""The JSON of ``evalkit judge``, and agreement of judges."""

from __future__ import annotations

import json

import pytest

from evalkit.errors import NothingCountedError, UsageError
from evalkit.judge import agreement_of_judges, summarise_verdicts
from evalkit.records import VerdictRecord

PROMISED = [
    "pairs",
    "verdicts",
    "win_rate",
    "win_rate_votes",
    "decided_win_rate",
    "ties",
    "invalid",
    "consistency",
    "first_slot_rate",
    "interval",
    "clusters",
    "judge",
    "usage",
    "wins_shown_first",
    "wins_shown_second",
]


def verdict(pair: str, order: str, winner: str, **more: object) -> VerdictRecord:
    vote = "first" if (winner == "test") == (order == "ab") else "second"
    fields = {
        "key": f"{pair}{order}",
        "pair": pair,
        "cluster": pair[0],
        "start": 0.0,
        "end": 1.0,
        "order": order,
        "vote": winner if winner in ("tie", "invalid") else vote,
        "winner": winner,
        "rule": "letter",
        "reply": "A",
        "attempts": 1,
        "judge": "overlap (not an LLM: x)",
        "model_name": "mine",
        "baseline_name": "base",
        "prompt_tokens": 100,
        "completion_tokens": 2,
        "cost": 0.5,
        **more,
    }
    return VerdictRecord.model_validate(fields)


def both(pair: str, ab: str, ba: str, **more: object) -> list[VerdictRecord]:
    return [verdict(pair, "ab", ab, **more), verdict(pair, "ba", ba, **more)]


def test_hand_worked_figures() -> None:
    verdicts = [
        *both("a1", "test", "test"),
        *both("a2", "test", "baseline"),  # the first slot twice: a tie
        *both("b1", "baseline", "baseline"),
        *both("b2", "test", "test", cached=True),
        *both("c1", "invalid", "test", rule="not-one-letter"),
    ]
    found = summarise_verdicts(verdicts, uncovered=["game 3 [900, 1000)"]).to_json()
    assert json.loads(json.dumps(found)) == found
    assert set(PROMISED) <= set(found)
    assert (found["pairs"], found["verdicts"], found["ties"], found["invalid"]) == (5, 10, 1, 1)
    assert found["win_rate"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert found["win_rate_votes"] == pytest.approx(6 / 9)
    assert found["decided_win_rate"] == pytest.approx(2 / 3)
    assert found["consistency"] == pytest.approx(3 / 4)
    assert found["first_slot_rate"] == pytest.approx(5 / 8)
    assert found["bounds"] == pytest.approx([3 / 5, 3.5 / 5])
    assert (found["skipped"], found["skipped_windows"]) == (1, ["game 3 [900, 1000)"])
    assert found["invalid_reasons"] == {"not-one-letter": 1}
    assert found["usage"] == {
        "calls": 8,
        "prompt_tokens": 800,
        "completion_tokens": 16,
        "cost": 4.0,
        "reused": 2,
    }
    assert "not an LLM" in found["judge"]


def test_one_video_has_no_interval_and_says_so() -> None:
    found = summarise_verdicts([*both("a1", "test", "test"), *both("a2", "baseline", "baseline")]).to_json()
    assert found["interval"] is None
    assert found["interval_note"]
    assert found["clusters"] == 1


def test_pairs_decided_by_rule_are_counted_and_do_not_name_the_judge() -> None:
    ruled = both("a1", "baseline", "baseline", rule="empty-test", attempts=0, judge="x (temperature 0)")
    summary = summarise_verdicts([*ruled, *both("b1", "test", "test", judge="x (no temperature sent)")])
    assert summary.judge == "x (no temperature sent)"
    assert summary.decided_by_rule == {"empty-test": 1}
    assert summary.notes == ("1 pairs decided by rule empty-test, not by the judge",)
    assert summarise_verdicts(ruled).judge == "x (temperature 0)"


def test_a_judge_that_changed_on_the_way_is_noted() -> None:
    summary = summarise_verdicts([*both("a1", "test", "test"), *both("b1", "test", "test", judge="x (served y)")])
    assert any(note.startswith("the judge changed on the way") for note in summary.notes)


def test_a_cost_is_given_only_where_every_call_has_a_price() -> None:
    verdicts = [verdict("a1", "ab", "test"), verdict("a1", "ba", "test", cost=None)]
    assert summarise_verdicts(verdicts).usage.cost is None


def test_nothing_to_judge_and_a_doubled_verdict_are_errors() -> None:
    with pytest.raises(
        NothingCountedError, match="no pairs to judge: none of 2 windows is covered by both sides; let"
    ):
        summarise_verdicts([], uncovered=["w1", "w2"])
    with pytest.raises(UsageError, match="two verdicts on pair 'a1' in order ab"):
        summarise_verdicts([verdict("a1", "ab", "test")] * 2)


def test_judges_that_say_the_same_agree_fully_and_a_missing_vote_is_left_out() -> None:
    votes = [*both("a1", "test", "baseline"), *both("b1", "baseline", "tie"), *both("c1", "test", "test")]
    unsure = [verdict("a1", "ab", "invalid"), *votes[1:]]
    found = agreement_of_judges({"one": votes, "two": unsure}, draws=50)
    assert found.items == 6
    assert found.kappa["one", "two"].n == 5
    assert found.kappa["one", "two"].coefficient == pytest.approx(1.0)
    assert found.alpha.coefficient == pytest.approx(1.0)
    assert set(found.to_json()) == {"judges", "items", "kappa", "ac1", "alpha"}


def test_kappa_of_two_judges_is_the_hand_worked_one() -> None:
    one = [v for pair, w in zip("abcd", ["test"] * 2 + ["baseline"] * 2, strict=True) for v in both(pair, w, w)]
    two = [v for pair, w in zip("abcd", ["test"] + ["baseline"] * 3, strict=True) for v in both(pair, w, w)]
    # p_o = 6/8; p_e = 1/2 * 1/4 + 1/2 * 3/4 = 1/2
    assert agreement_of_judges({"one": one, "two": two}, draws=50).kappa[
        "one", "two"
    ].coefficient == pytest.approx(0.5)


def test_one_judge_alone_has_nobody_to_agree_with() -> None:
    with pytest.raises(UsageError, match="at least two judges"):
        agreement_of_judges({"one": both("a1", "test", "test")})
