"""The scorer of the made-up matches: hand-made narrations, right and wrong, fact by fact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.records import AnswerRecord, Metric
from evalkit_tasks.demo import line, make_match
from evalkit_tasks.demo.score import FACTS, mark_narration, narration_facts, narration_metrics


def second(at: int, gold: str, said: str, stream: str = "a", **changes: object) -> AnswerRecord:
    values = {
        "sample": stream,
        "query": f"{stream}@{at}",
        "kind": "narration",
        "at": at + 1.0,
        "start": float(at),
        "end": at + 1.0,
        "text": said,
        "gold": gold,
        "cluster": f"{stream}.mp4",
        "tags": {"reference": "exact"},
    }
    return AnswerRecord.model_validate(values | changes)


def facts(*seconds: AnswerRecord) -> list[tuple[str, int, bool]]:
    return [
        (mark.fact, mark.second, mark.right)
        for mark in mark_narration(seconds)
        if mark.fact not in ("sight", "line")
    ]


def test_a_whole_narration_is_scored_by_hand() -> None:
    told = [
        second(0, "here Eastgate", " here Eastgate ..."),
        second(1, "board 0 -0", " board 0 -0 ..."),
        second(2, "goal Red 1 -0", " goal Red 2 -0 ..."),  # added wrongly
        second(3, "score 1 -0", " score 2 -0 ..."),  # wrong, and kept
        second(4, "goal Blue 1 -1", " goal Blue 2 -1 ..."),  # added rightly to what was said
        second(5, "last Blue", " last Red ..."),
        second(6, "board 1 -1", " board 1 -1 ..."),
        second(7, "score 1 -1", " score 1 -1 ..."),
        second(8, "here Eastgate", " here Harbour ..."),
    ]
    assert facts(*told) == [
        ("board", 1, True),
        ("score", 1, True),
        ("score", 2, False),
        ("added", 2, False),
        ("score", 3, False),
        ("kept", 3, True),
        ("score", 4, False),
        ("added", 4, True),
        ("scorer", 5, False),
        ("board", 6, True),
        ("score", 6, True),
        ("score", 7, True),
        ("kept", 7, True),
        ("venue", 8, False),
    ]


@pytest.mark.parametrize(
    ("gold", "said", "seen", "whole"),
    [
        ("red left", "red left", True, True),
        ("red left", "red right", False, False),
        ("foul red left", "foul red left", True, True),
        ("foul red left", "corner red left", False, False),
        ("goal Red 1 -0", "goal Red 4 -4", True, False),
        ("goal Red 1 -0", "goal Blue 1 -0", False, False),
        ("score 1 -0", "score", True, False),
        ("here Eastgate", "here Lakeside", True, False),
        ("red left", "", False, False),
        ("red left", "red left again", True, False),
    ],
)
def test_sight_asks_for_what_is_on_screen_and_line_for_every_word(
    gold: str, said: str, seen: bool, whole: bool
) -> None:
    marks = {mark.fact: mark.right for mark in mark_narration([second(4, gold, f" {said} ...")])}
    assert (marks["sight"], marks["line"]) == (seen, whole)


def test_a_score_said_under_another_word_is_none() -> None:
    told = [second(1, "board 2 -2", " score 2 -2 ..."), second(2, "score 2 -2", " red left ...")]
    assert facts(*told) == [("board", 1, False), ("score", 1, False), ("score", 2, False), ("kept", 2, False)]


def test_the_fifth_point_of_a_side_begins_a_set() -> None:
    told = [second(1, "board 4 -3", "board 4 -3 ..."), second(2, "goal Red 0 -3", "goal Red 0 -3 ...")]
    assert ("added", 2, True) in facts(*told)


def test_the_last_score_said_is_that_of_the_same_stream() -> None:
    told = [second(1, "board 2 -2", "board 2 -2 ..."), second(2, "score 2 -2", "score 2 -2 ...", stream="b")]
    assert not [mark for mark in facts(*told) if mark[0] == "kept"]


def test_records_without_an_exact_reference_are_not_scored() -> None:
    commentary = second(1, "a fine pass", "a fine pass", tags={})
    question = second(2, "A", "A", kind="choice")
    assert narration_metrics([commentary, question]) == []


@given(st.integers(0, 500))
def test_a_narration_of_gold_is_right_in_everything(seed: int) -> None:
    match = make_match(seed, 150)
    told = [second(m.at, " ".join(line(match, m)), f" {' '.join(line(match, m))} ...") for m in match.moments]
    rows = narration_metrics(told)
    assert all(row.value == 100 for row in rows)
    assert {row.name for row in rows} <= {f"demo.{fact}" for fact in FACTS}


@given(st.integers(0, 200), st.integers(0, 2**16))
def test_what_a_narration_is_scored_on_depends_on_the_data_alone(seed: int, noise: int) -> None:
    match = make_match(seed, 60)
    gold = [second(m.at, " ".join(line(match, m)), f" {' '.join(line(match, m))} ...") for m in match.moments]
    noises = [("", "score 3 -3", "goal Red 1 -0")[noise // 3**place % 3] for place in range(len(gold))]
    spoilt = [one.model_copy(update={"text": text}) for one, text in zip(gold, noises, strict=True)]
    right, other = narration_facts(gold), narration_facts(spoilt)
    assert all(fact.correct for fact in right)
    assert {(f.id, f.name, f.cluster) for f in right} == {(f.id, f.name, f.cluster) for f in other}
    assert len({fact.id for fact in right}) == len(right)
    assert {fact.name for fact in right} <= {f"demo.{fact}" for fact in FACTS}


def test_metrics_give_n_interval_and_minutes_of_the_stream() -> None:
    told = [second(at, "red left", "red left" if at < 90 or stream == "b" else "", stream=stream)
            for stream in "abc" for at in range(120)]  # fmt: skip
    rows: dict[tuple[str, str], Metric] = {(row.name, row.group): row for row in narration_metrics(told)}
    over_all, second_minute = rows["demo.sight", ""], rows["demo.sight", "minute 2"]
    assert (over_all.n, over_all.clusters) == (360, 3)
    assert over_all.value == pytest.approx(100 * 300 / 360)
    assert over_all.low is not None
    assert over_all.high is not None
    assert over_all.low < 100 * 300 / 360 < over_all.high
    assert (rows["demo.sight", "minute 1"].value, second_minute.n) == (100, 180)
    assert second_minute.value == pytest.approx(100 * 120 / 180)
