"""Timed utterances against gold windows: hand-worked cases, and properties that hold whatever was said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.utterances import (
    GradedReply,
    TimingCounts,
    UtilityRule,
    Utterance,
    Window,
    area_score,
    match,
    pauc,
    said_at,
    score_records,
    timing_counts,
    utility,
)
from evalkit.utterances.score import TimedRecord


def said(*times: float) -> list[Utterance]:
    return [Utterance(at) for at in times]


def at(*times: float) -> list[Window]:
    return [Window(time, time) for time in times]


def counts(times: list[float], golds: list[float], tolerance: float = 2.0, seconds: float = 60.0) -> TimingCounts:
    return timing_counts(said(*times), at(*golds), tolerance=tolerance, seconds=seconds)


def test_each_gold_is_used_once_and_the_earliest_first() -> None:
    found = match(said(11, 12, 13), at(10, 13), 2)
    assert [(hit.window.start, hit.utterance.at, hit.offset) for hit in found.hits] == [(10, 11, 1), (13, 12, -1)]
    assert [one.at for one in found.unmatched] == [13]
    assert found.missed == ()
    # 12 lies in both windows; the one that starts first takes it, and nothing is left for 14.
    assert [one.start for one in match(said(12), at(10, 14), 2).missed] == [14]


def test_the_bounds_of_a_window_are_inside_it() -> None:
    assert len(match(said(3, 7), [Window(5, 5), Window(5, 5)], 2).hits) == 2
    assert not match(said(2.99), at(5), 2).hits
    assert len(match(said(4, 9), [Window(4, 9), Window(4, 9)]).hits) == 2


def test_a_worked_case_of_every_count() -> None:
    # 9 answers 10; 12 lies 18 s from the nearest missed window; 25 is 5 s early for 30, 55 is 5 s late for 50.
    found = counts([9, 12, 25, 55], [10, 30, 50], seconds=1800)
    assert (found.hits, found.misses, found.early, found.late, found.false_alarms) == (1, 2, 1, 1, 3)
    assert (found.recall, found.precision) == (pytest.approx(1 / 3), pytest.approx(1 / 4))
    assert found.f1 == pytest.approx(2 / 7)
    assert found.false_alarms_per_hour == pytest.approx(6.0)


def test_silence_and_a_stream_with_nothing_due() -> None:
    silent = counts([], [10])
    assert (silent.recall, silent.precision, silent.f1, silent.false_alarms) == (0, 0, 0, 0)
    idle = counts([5], [])
    assert (idle.recall, idle.precision, idle.false_alarms_per_hour) == (0, 0, 60)


def record(task: str, video: str, times: list[float], golds: list[float]) -> TimedRecord:
    return TimedRecord(f"{task}-{video}", task, video, counts(times, golds))


def test_recall_and_precision_are_averaged_over_records_and_f1_comes_from_the_means() -> None:
    records = [
        record("REC", "a", [10, 20], [10, 20]),  # recall 1, precision 1
        record("REC", "b", [10, 40, 50], [10, 20, 30, 60]),  # recall 1/4, precision 1/3
        record("CRR", "a", [10], [10]),
    ]
    found = score_records(records)
    assert found.recall["REC"] == pytest.approx(0.625)
    assert found.precision["REC"] == pytest.approx(2 / 3)
    assert found.f1["REC"] == pytest.approx(2 * 0.625 * (2 / 3) / (0.625 + 2 / 3))
    assert found.total == pytest.approx((found.f1["REC"] + 1) / 2)
    assert found.intervals == {}
    assert (found.counts["REC"].golds, found.counts["REC"].seconds) == (6, 120)
    with pytest.raises(UsageError, match="nothing to score"):
        score_records([])


def test_intervals_resample_videos_and_hold_the_figure() -> None:
    records = [record("SSR", f"v{n}", [10.0 if n % 3 else 40.0], [10.0]) for n in range(30)]
    found = score_records(records)
    low, high = found.intervals["total"]
    assert low < found.total < high
    assert (low, high) == score_records(records[::-1]).intervals["total"]
    twins = [record("SSR", f"v{n // 3}", [10.0 if n % 3 else 40.0], [10.0]) for n in range(30)]
    assert score_records(twins).intervals["total"] == pytest.approx((found.total, found.total))


TIMES = st.lists(st.integers(0, 240).map(lambda quarter: quarter / 4), max_size=8)
EXACT = st.integers(-400, 400).map(lambda quarter: quarter / 4)


@given(TIMES, TIMES, EXACT)
def test_shifting_everything_by_a_constant_changes_nothing(
    times: list[float], golds: list[float], by: float
) -> None:
    moved = counts([time + by for time in times], [gold + by for gold in golds])
    assert moved == counts(times, golds)


@given(TIMES, TIMES)
def test_a_silent_second_more_changes_only_the_rate_of_false_alarms(
    times: list[float], golds: list[float]
) -> None:
    short, long = counts(times, golds, seconds=60), counts(times, golds, seconds=61)
    assert (short.hits, short.f1, short.early, short.late) == (long.hits, long.f1, long.early, long.late)
    assert long.false_alarms_per_hour == pytest.approx(short.false_alarms_per_hour * 60 / 61)


@given(TIMES, TIMES, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(times: list[float], golds: list[float], shuffle: object) -> None:
    other, due = list(times), list(golds)
    shuffle.shuffle(other)  # type: ignore[attr-defined]
    shuffle.shuffle(due)  # type: ignore[attr-defined]
    assert counts(other, due) == counts(times, golds)
    assert utility(said(*other), at(*due)) == utility(said(*times), at(*golds))


@given(TIMES, TIMES)
def test_every_window_and_utterance_is_used_at_most_once(times: list[float], golds: list[float]) -> None:
    found = match(said(*times), at(*golds), 2)
    assert len(found.hits) + len(found.missed) == len(golds)
    assert len(found.hits) + len(found.unmatched) == len(times)
    assert all(abs(hit.offset) <= 2 for hit in found.hits)
    wide = match(said(*times), at(*golds), 1000)
    assert len(wide.hits) == min(len(times), len(golds))


@given(TIMES, TIMES)
def test_no_other_way_of_using_each_once_answers_more_moments(times: list[float], golds: list[float]) -> None:
    """For moments of one tolerance the rule is also the best there is: checked against augmenting paths."""
    taken: dict[int, int] = {}

    def place(utterance: int, seen: set[int]) -> bool:
        for gold, due in enumerate(golds):
            if abs(times[utterance] - due) <= 2 and gold not in seen:
                seen.add(gold)
                if gold not in taken or place(taken[gold], seen):
                    taken[gold] = utterance
                    return True
        return False

    best = sum(place(number, set()) for number in range(len(times)))
    assert len(match(said(*times), at(*golds), 2).hits) == best


def test_the_area_is_under_the_grade_so_far_from_one_half_on() -> None:
    span = Window(10, 20)
    assert area_score([], span) == 0.5
    # 0.5 until 12, 1 until 15, 2 until 20: (2 * 0.5 + 3 * 1 + 5 * 2) / 10
    replies = [GradedReply(15, 2), GradedReply(12, 1)]
    assert area_score(replies, span) == pytest.approx(1.4)
    assert area_score(replies, span, 1.0) == 2
    assert area_score(replies, span, 0.5) == pytest.approx(1.7)
    assert area_score([GradedReply(3, 2)], span) == 2  # said before: it stands from the start
    assert area_score([GradedReply(21, 2)], span) == 0.5  # too late to count
    assert area_score([GradedReply(10, 0), GradedReply(20, 2)], span) == 0
    assert pauc([(replies, span), ([], span)]) == pytest.approx((1.4 + 0.5) / 2 / 2)
    assert pauc([]) is None
    with pytest.raises(UsageError, match="omega is 0 to 1"):
        area_score([], span, 1.5)
    with pytest.raises(UsageError, match="a grade is 0 to 2"):
        GradedReply(1, 3)


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from([0.0, 1.0, 2.0])), max_size=6), st.floats(0, 1))
def test_the_area_lies_between_the_lowest_and_the_highest_grade(
    replies: list[tuple[int, float]], omega: float
) -> None:
    graded = [GradedReply(second, grade) for second, grade in replies]
    low, high = min([0.5, *(grade for _, grade in replies)]), max([0.5, *(grade for _, grade in replies)])
    assert low - 1e-9 <= area_score(graded, Window(10, 30), omega) <= high + 1e-9


def test_an_answer_is_worth_less_after_the_grace_and_a_needless_one_costs() -> None:
    rule = UtilityRule(grace=2, decay=10, price=0.25)
    assert [rule.worth(delay) for delay in (-1, 0, 2, 7, 12, 20)] == [0, 1, 1, 0.5, 0, 0]
    assert utility(said(11, 37), at(10, 30), rule) == pytest.approx((1 + 0.5) / 2)
    assert utility(said(5, 11), at(10, 30), rule) == pytest.approx((1 - 0.25) / 2)
    assert utility([], at(10), rule) == 0
    assert utility(said(5), [], rule) is None
    assert UtilityRule(decay=0).worth(3) == 0


@pytest.mark.parametrize(
    ("text", "speaking", "heard"),
    [
        ("A goal!", "narrating", "A goal!"),
        (" ...", "narrating", None),
        ("</Silence>", "narrating", None),
        ("", "narrating", None),
        ("</Silence>", "decision-token", None),
        ("</Response> A goal", "decision-token", "A goal"),
        ("</Silence> hm </Response>now", "decision-token", "now"),
        ("A goal", "decision-token", None),
        ("</Response>", "decision-token", ""),
        ("Yes, now.", "polled", "Yes, now."),
        ("No. Not yes yet.", "polled", None),
        ("", "polled", None),
    ],
)
def test_what_counts_as_speaking_depends_on_how_a_model_speaks(
    text: str, speaking: str, heard: str | None
) -> None:
    assert said_at(text, speaking) == heard  # type: ignore[arg-type]
